"""The C reference, against which the kernels are timed, leaves every byte of a device as they do."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from fleetswap.bench.c_reference import SOURCE, Reference, ReferenceMissingError, layout_header
from fleetswap.scenario.experiments import AllocatorTest
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap.workload.allocator_test import Plan, plan
from fleetswap_kernels.backend.arena import Arena, DeviceError
from fleetswap_kernels.backend.choose import ONE_THREAD
from fleetswap_kernels.layout import device as layout


@pytest.fixture(scope="module")
def reference() -> Reference:
    try:
        return Reference()
    except ReferenceMissingError as error:
        pytest.skip(str(error))


def assert_equal(reference: Reference, workload: Plan, devices: int = 2) -> None:
    """Run a workload both ways, step by step."""
    arenas = [Arena([(workload.blueprint, devices)], ONE_THREAD, first_id=7) for _ in range(2)]
    for arena in arenas:
        arena.init()
    for first, end in itertools.pairwise(workload.marks):
        arenas[0].run(workload.program, first, end)
        reference.run(arenas[1], workload.program, first, end)
        wrong = np.flatnonzero(arenas[0].memory != arenas[1].memory)
        assert len(wrong) == 0, f"{len(wrong)} bytes differ after operation {end}, first byte {wrong[:1]}"


@pytest.mark.parametrize("random", ["philox", "glibc"])
@pytest.mark.parametrize("small_folios", [False, True], ids=["", "-s"])
@pytest.mark.parametrize("aligned", [False, True], ids=["", "-a"])
@pytest.mark.parametrize("large_swapin", [True, False], ids=["large", "small"])
def test_eight_variants(reference, large_swapin, aligned, small_folios, random):
    test = AllocatorTest(
        large_swapin=large_swapin, aligned=aligned, small_folios=small_folios, random=random, iterations=5, seed=3
    )
    assert_equal(reference, plan(test))


@pytest.mark.parametrize("large_swapin", [True, False], ids=["large", "small"])
@pytest.mark.parametrize("folio_kib", [16, 32])
def test_folio_sizes(reference, folio_kib, large_swapin):
    # Up to 64 KiB, the alignment of the regions: larger folios would come to be partially mapped. A nearly full zram
    # device of an odd length: fallbacks, splits, slot caches that run dry. The other CPU counts for their hysteresis.
    test = AllocatorTest(
        region_mib=24, small_region_mib=2, zram_mib=25, swapin_mib=8, dontneed_mib=8, folio_kib=folio_kib,
        small_folios=True, large_swapin=large_swapin, iterations=8, cpus=2, seed=1 << 40,
    )  # fmt: skip
    assert_equal(reference, plan(test))


def test_more_than_fits(reference):
    # Pages that find no slot stay resident.
    assert_equal(reference, plan(AllocatorTest(region_mib=12, zram_mib=8, swapin_mib=4, dontneed_mib=4, iterations=5)))


def test_what_it_does_not_know_is_an_error(reference):
    compiled = compile_script(parse_script("cfg zram 1M lz4\nmap A 16 4 none\nread A 0 16\n", "read"))
    arena = Arena([(compiled.blueprint, 1)], ONE_THREAD)
    arena.init()
    with pytest.raises(DeviceError):
        reference.run(arena, compiled.program, 0, len(compiled.program))


def test_layout_header_is_the_numba_header():
    # Fields follow each other without a gap behind the eight bytes of the aliases, as a C compiler places them.
    text = layout_header()
    names = re.findall(r"^\tuint32_t (\w+);", text, re.MULTILINE)
    assert [layout.HEADER.fields[name][1] for name in names] == [8 + 4 * i for i in range(len(names))]
    assert set(names) | set(layout.ALIASES) == set(layout.HEADER.names)
    assert f"#define HEADER_BYTES {layout.HEADER_BYTES}u" in text


def test_reference_holds_no_number_of_the_layout():
    # Array offsets and bit positions come from layout.h; what may stand in the source are spec numbers and constants
    # of Philox and glibc's rand().
    assert '#include "layout.h"' in SOURCE.read_text()
    assert not re.search(r"#define (?!NOT_IN_REFERENCE)", SOURCE.read_text())
