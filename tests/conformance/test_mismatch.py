"""The report about a recorded dump with one field changed is about that field."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetswap.conformance import scripts as conform_module
from fleetswap.conformance.recording import load_recording
from fleetswap.conformance.scripts import Mismatch, conform, describe
from fleetswap.errors import InputError
from fleetswap.script.language import Script, ScriptError
from fleetswap_kernels.backend.contract import Backend

CORPUS = Path(__file__).parent / "corpus"
DELETE = object()
REGION = ("procs", "0", "regions", "A")


def _tampered(folder: Path, name: str, index: int, path: tuple[Any, ...], value: Any) -> Path:
    """A copy of a script of the corpus with one field of one of its dumps changed."""
    script = folder / f"{name}.ops"
    shutil.copy(CORPUS / script.name, script)
    dumps = list(load_recording(CORPUS / script.name).dumps)
    at: Any = dumps[index]
    for key in path[:-1]:
        at = at[key]
    if value is DELETE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(d) + "\n" for d in dumps).encode()))
    return script


def _report(folder: Path, name: str, index: int, path: tuple[Any, ...], value: Any) -> list[tuple[str, str, str]]:
    outcome = conform(_tampered(folder, name, index, path, value))
    return [(m.where, m.expected, m.got) for m in outcome.mismatches]


# Dump 2, `in25`, of t09_partial_zeromap: 64 pages, of which 5 was read back alone and 16 to 31 as a 64 KiB folio.
T09 = [
    ((*REGION, "runs", 1), ["n", 5, 1], "process 0, region A, page 5", "none", "present, mapped exclusively"),
    ((*REGION, "runs", 1), ["z", 5, 1], "process 0, region A, page 5", "zero page", "present, mapped exclusively"),
    ((*REGION, "runs", 1), ["s", 5, 1, 533], "process 0, region A, page 5", "swap 533", "present, mapped exclusively"),
    ((*REGION, "runs", 1, 5), "dc", "process 0, region A, page 5", "present, dirty, in the swap cache",
     "present, mapped exclusively"),
    ((*REGION, "runs", 1, 5), "q", "process 0, region A, page 5", "present, flag q", "present, mapped exclusively"),
    ((*REGION, "runs", 2), ["s", 7, 9, 519], "process 0, region A, page 6", "not recorded", "swap 518"),
    ((*REGION, "pages"), 65, "process 0, region A pages", "65", "64"),
    ((*REGION, "vpn"), 4294967313, "process 0, region A vpn", "4294967313", "4294967312"),
    ((*REGION, "advice"), "hugepage", "process 0, region A advice", "hugepage", "nothing of that name"),
    (("procs", "0", "regions", "B"), {"pages": 1, "vpn": 1, "runs": []}, "process 0, region B", "mapped", "not mapped"),
    (REGION, DELETE, "process 0, region A", "not mapped", "mapped"),
    (("procs", "0", "majflt"), 3, "process 0 majflt", "3", "2"),
    (("procs", "0", "minflt"), 3, "process 0 minflt", "3", "nothing of that name"),
    (("procs", "7"), {"majflt": 0, "regions": {}}, "process 7", "alive", "no such process"),
    (("procs", "0"), DELETE, "process 0", "no such process", "alive"),
    (("vmstat", "pswpin"), 18, "vmstat pswpin", "18", "17"),
    (("vmstat", "pswpin"), DELETE, "vmstat pswpin", "0", "17"),
    (("vmstat", "swap_ra"), 1, "vmstat swap_ra", "1", "0"),
    (("vmstat", "pgrefill_anon"), 4, "vmstat pgrefill_anon", "4", "0"),
    (("mthp", "64", "nr_anon"), 2, "mthp 64 KiB nr_anon", "2", "1"),
    (("mthp", "64", "swpin"), 1, "mthp 64 KiB swpin", "1", "0"),
    (("mthp", "128"), {"swpout": 1}, "mthp 128 KiB swpout", "1", "0"),
    (("mm_stat", 1), 99909, "mm_stat compr_data_size", "99909", "99908"),
    (("mm_stat", 8), 1, "mm_stat huge_pages_since", "1", "0"),
    (("io_stat", 3), 1, "io_stat notify_free", "1", "0"),
    (("io_stat",), [0, 0, 0, 0, 7], "io_stat column 5", "7", "no such column"),
    (("kernel", "lowest_bit"), 2, "kernel lowest_bit", "2", "1"),
    (("kernel", "nr_swap_pages"), 16318, "kernel nr_swap_pages", "16318", "16319"),
    (("kernel", "max"), 16385, "kernel max", "16385", "16384"),
    (("kernel", "slot_cache_active"), 0, "kernel slot_cache_active", "0", "1"),
    (("kernel", "discard"), [[1, 1, 0]], "kernel discard", "[[1, 1, 0]]", "nothing of that name"),
    (("kernel", "swap_map", 3, 2), 65, "swap_map, slot 517", "1 reference and swap cache (65)", "swap cache (64)"),
    (("kernel", "swap_map", 3, 2), 2, "swap_map, slot 517", "2 references (2)", "swap cache (64)"),
    (("kernel", "swap_map", 0, 2), 0, "swap_map, slot 0", "free", "bad"),
    (("kernel", "zeromap"), [[544, 16]], "zeromap, slot 515", "clear", "set"),
    (("kernel", "zeromap", 0), [515, 2], "zeromap, slot 516", "set", "clear"),
    (("kernel", "clusters", 1), [1, 1, 63, 4, 2], "clusters, cluster 1", "63 used, frag, order 2",
     "64 used, nonfull, order 0"),
    (("kernel", "free"), [[3, 29, 1], [2, 1, 0]], "free list, position 0 (the same members in another order)",
     "cluster 3, then 4, 5, 6, 7, 8, ...", "cluster 2, then 3, 4, 5, 6, 7, ..."),
    (("kernel", "free"), [[2, 28, 1]], "free list, position 28", "the end of the list", "cluster 30, then 31"),
    (("kernel", "full"), [[9, 1, 0]], "full list, position 0", "cluster 9", "the end of the list"),
    (("kernel", "nonfull", "0"), [[0, 1, 0]], "nonfull list of order 0, position 1", "the end of the list",
     "cluster 1"),
    (("kernel", "nonfull", "0"), DELETE, "nonfull list of order 0, position 0", "the end of the list",
     "cluster 0, then 1"),
    (("kernel", "frag", "4"), [[7, 1, 0]], "frag list of order 4, position 0", "cluster 7", "the end of the list"),
    (("kernel", "frag_nr", 3), 1, "kernel frag_nr, entry 3", "1", "0"),
    (("kernel", "percpu_next", 0, 4), 528, "percpu_next of CPU 0, order 4", "528", "0"),
    (("kernel", "slot_cache", 0, "cur"), 63, "slot_cache of CPU 0, cur", "63", "64"),
    (("kernel", "slot_cache", 0, "ret", 1), 600, "slot_cache of CPU 0, ret, position 1",
     "slot 600, then 529, 530, 531, 532, 533, ...", "slot 528, then 529, 530, 531, 532, 533, ..."),
    (("ops", 0, 1), -11, "line 15 `read A 25 1`, errno", "EAGAIN (-11)", "no error"),
    (("ops", 0, 2), 1, "line 15 `read A 25 1`, minor faults", "1", "0"),
    (("ops", 0, 3), 2, "line 15 `read A 25 1`, major faults", "2", "1"),
    (("ops", 0, 4), 1, "line 15 `read A 25 1`, wrong pages", "1", "0"),
    (("ops", 0, 0), 13, "operation 0", "line 13 `read A 5 1`", "line 15 `read A 25 1`"),
    (("ops",), [], "operation 0", "none", "line 15 `read A 25 1`"),
    (("ops",), [[15, 0, 0, 1, 0], [17, 0, 0, 0, 0]], "operation 1", "line 17 `read A 40 1`", "none"),
    (("label",), "in26", "label", "in26", "in25"),
    (("line",), 17, "line", "17", "16"),
    (("dump",), 3, "dump", "3", "2"),
    (("psi",), {"some": 5}, "psi", '{"some": 5}', "nothing of that name"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "where", "expected", "got"), T09, ids=[f"{i}-{row[2]}" for i, row in enumerate(T09)]
)
def test_the_changed_field_is_named(
    tmp_path: Path, path: tuple[Any, ...], value: Any, where: str, expected: str, got: str
) -> None:
    assert _report(tmp_path, "t09_partial_zeromap", 2, path, value) == [(where, expected, got)]


def test_of_many_pages_the_first_are_named(tmp_path: Path) -> None:
    report = _report(tmp_path, "t09_partial_zeromap", 2, (*REGION, "runs", 4, 3), 600)
    assert report == [
        ("process 0, region A, page 32 (the first of 32 that differ)", "swap 600", "swap 544"),
        ("process 0, region A, page 33", "swap 601", "swap 545"),
        ("process 0, region A, page 34", "swap 602", "swap 546"),
    ]


def test_folios_that_part_elsewhere(tmp_path: Path) -> None:
    runs = [
        ["s", 0, 5, 512],
        ["p", 5, 1, 0, 0, "x"],
        ["s", 6, 10, 518],
        ["p", 16, 8, 4, 0, "x"],
        ["p", 24, 8, 4, 8, "x"],
    ]
    runs.append(["s", 32, 32, 544])
    report = _report(tmp_path, "t09_partial_zeromap", 2, (*REGION, "runs"), runs)
    assert report[0] == (
        "process 0, region A folios, run 3 (the first of 3 that differ)",
        '["p", 16, 8, 4, 0, "x"]',
        '["p", 16, 16, 4, 0, "x"]',
    )


@pytest.mark.parametrize("counter", ["pgactivate", "pgsteal_anon", "workingset_refault_anon"])
def test_counters_that_are_not_comparable(tmp_path: Path, counter: str) -> None:
    assert _report(tmp_path, "t09_partial_zeromap", 2, ("vmstat", counter), 99) == []


def test_an_unknown_counter_of_zero_says_nothing(tmp_path: Path) -> None:
    assert _report(tmp_path, "t09_partial_zeromap", 2, ("vmstat", "pgrefill_anon"), 0) == []


# p01_fork_after_out forks; its dump 3, `c_read3`, shows both processes and a page in the swap cache.
@pytest.mark.parametrize(
    ("path", "value", "report"),
    [
        (("ops", 0, 2), 9, []),
        (("ops", 0, 3), 1, [("line 14 `@1 read A 3 1`, major faults", "1", "0")]),
        (("ops", 0, 1), -14, [("line 14 `@1 read A 3 1`, errno", "EFAULT (-14)", "no error")]),
        (
            ("procs", "1", "regions", "A", "runs", 1, 5),
            "x",
            [("process 1, region A, page 3", "present, mapped exclusively", "present, in the swap cache")],
        ),
    ],
)
def test_scripts_that_fork(
    tmp_path: Path, path: tuple[Any, ...], value: Any, report: list[tuple[str, str, str]]
) -> None:
    assert _report(tmp_path, "p01_fork_after_out", 3, path, value) == report


# c01_cpus has four CPUs; in its dump 2 two of them have taken slots.
@pytest.mark.parametrize(
    ("path", "value", "report"),
    [
        (("percpu_next", 1, 0), 2113, [("percpu_next of CPU 1, order 0", "2113", "2112")]),
        (
            ("slot_cache", 1, "slots", 53),
            7,
            [("slot_cache of CPU 1, slots, position 53", "slot 7", "slot 2111")],
        ),
        (
            ("percpu_next", 3),
            DELETE,
            [(f"percpu_next of CPU 3, order {o}", "the end of the list", "0") for o in range(3)],
        ),
    ],
)
def test_cpus(tmp_path: Path, path: tuple[Any, ...], value: Any, report: list[tuple[str, str, str]]) -> None:
    found = _report(tmp_path, "c01_cpus", 2, ("kernel", *path), value)
    assert [(where.split(" (the first")[0], expected, got) for where, expected, got in found] == report


def _summaries() -> Iterator[tuple[int, dict[str, Any]]]:
    dumps = load_recording(CORPUS / "r00_tiny.ops").dumps
    return ((i, dump) for i, dump in enumerate(dumps) if "summary" in dump)


@pytest.mark.parametrize(
    ("field", "where"),
    [
        ("none", "process 0, region A none"),
        ("swapped", "process 0, region A swapped"),
        ("hash", "process 0, region A hash"),
        ("present_by_order", "process 0, region A present_by_order, entry 4"),
        ("swapped_aligned_blocks", "process 0, region A swapped_aligned_blocks, entry 4"),
    ],
)
def test_summaries(tmp_path: Path, field: str, where: str) -> None:
    index, dump = next(_summaries())
    value = dump["procs"]["0"]["regions"]["A"][field]
    changed: Any = f"{value[:-1]}x" if field == "hash" else -1
    path = (*REGION, field) if isinstance(value, str | int) else (*REGION, field, 4)
    got = value if isinstance(value, str | int) else value[4]
    assert _report(tmp_path, "r00_tiny", index, path, changed) == [(where, str(changed), str(got))]


def test_the_report_tells_where_to_look(tmp_path: Path) -> None:
    script = _tampered(tmp_path, "t09_partial_zeromap", 3, ("vmstat", "pswpin"), 1)
    outcome = conform(script)
    assert outcome.mismatches == (
        Mismatch(
            script=str(script),
            line=18,
            label="in40",
            where="vmstat pswpin",
            expected="1",
            got="17",
            matched="in25",
            matched_line=16,
            executed=("17: read A 40 1",),
        ),
    )
    assert describe(outcome) == [
        f"{script}:18: dump 'in40' differs",
        "  vmstat pswpin: expected 1, got 17",
        "  dump 'in25' (line 16) still matched; executed since:",
        "    17: read A 40 1",
    ]


def test_the_first_dump_has_none_before(tmp_path: Path) -> None:
    outcome = conform(_tampered(tmp_path, "t09_partial_zeromap", 0, ("mm_stat", 0), 0))
    (mismatch,) = outcome.mismatches
    assert (mismatch.matched, mismatch.matched_line) == (None, 0)
    assert mismatch.executed[-1] == "10: pageout A 0 64"
    assert "  no earlier dump; executed so far:" in describe(outcome)


def test_only_the_first_dump_that_differs_is_reported(tmp_path: Path) -> None:
    script = _tampered(tmp_path, "t09_partial_zeromap", 1, ("procs", "0", "regions", "A", "vpn"), 0)
    recording = script.with_suffix(".jsonl.gz")
    recording.write_bytes(gzip.compress(gzip.decompress(recording.read_bytes()).replace(b"pswpin", b"pswpon")))
    assert [m.where for m in conform(script).mismatches if m.label == "in5"] == [
        "process 0, region A vpn",
        "vmstat pswpon",
        "vmstat pswpin",
    ]
    assert {m.label for m in conform(script).mismatches} == {"in5"}


def test_a_device_that_fails_is_a_mismatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(script: Script, _: Backend) -> Iterator[dict[str, Any]]:
        yield dict(load_recording(script.path).dumps[0])
        raise ScriptError(script.path, 13, "a loop ran past its bound")

    monkeypatch.setattr(conform_module, "replay", failing)
    script = _tampered(tmp_path, "t09_partial_zeromap", 0, ("vmstat", "pgactivate"), 1)
    (mismatch,) = conform(script).mismatches
    assert (mismatch.label, mismatch.where, mismatch.got) == ("in5", "line 13", "a loop ran past its bound")


# What cannot be compared at all is bad input.
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("vmstat",), DELETE, ["vmstat: is missing", "a table"]),
        (("kernel", "free"), DELETE, ["kernel.free: is missing", "lists of 3 whole numbers"]),
        (("mm_stat",), 5, ["mm_stat: 5", "lists of whole numbers"]),
        (("mm_stat", 2), "x", ["mm_stat.2: 'x'", "whole numbers"]),
        (("mm_stat", 2), 1.0, ["mm_stat.2: 1.0", "whole numbers"]),
        (("vmstat", "pswpin"), True, ["vmstat.pswpin: true", "whole numbers"]),
        (("kernel",), None, ["kernel: null", "a table"]),
        (("kernel", "swap_map", 1), [1, 2], ["kernel.swap_map.1: a list of 2", "lists of 3 whole numbers"]),
        ((*REGION, "runs", 0), ["s", 0, 5], ["procs.0.regions.A.runs.0: a list of 3", "runs"]),
        ((*REGION, "runs", 0), ["w", 0, 5], ["procs.0.regions.A.runs.0: a list of 3", "runs"]),
        ((*REGION, "runs", 0), ["n", 0, True], ["procs.0.regions.A.runs.0: a list of 3", "runs"]),
        ((*REGION, "runs", 0), [], ["procs.0.regions.A.runs.0: a list of 0", "runs"]),
        (("ops", 0), [1, 2, 3, 4], ["ops.0: a list of 4", "lists of 5 whole numbers"]),
        (("line",), "16", ["line: '16'", "whole numbers"]),
        (("dump",), DELETE, ["expected an object with `dump` or `summary`"]),
    ],
)
def test_corrupt_dumps(tmp_path: Path, path: tuple[Any, ...], value: Any, words: list[str]) -> None:
    script = _tampered(tmp_path, "t09_partial_zeromap", 2, path, value)
    with pytest.raises(InputError) as raised:
        conform(script)
    assert str(raised.value).startswith(f"{script.with_suffix('.jsonl.gz')}:3: the dump is corrupt")
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("count", [1 << 62, -1])
def test_runs_of_impossible_length_end(tmp_path: Path, count: int) -> None:
    for path in ((*REGION, "runs", 4), ("kernel", "swap_map", 2), ("kernel", "clusters", 1), ("kernel", "free", 0)):
        value = {4: ["s", 32, count, 544], 2: [512, count, 1], 1: [1, count, 64, 2, 0], 0: [2, count, 1]}[path[-1]]
        assert _report(tmp_path, "t09_partial_zeromap", 2, path, value)
