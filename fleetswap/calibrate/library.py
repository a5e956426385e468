"""Files made of a measurement: a class of content and a cost profile, which scenarios can name.

The arrays of a class are those of a content library with one class. A 64 KiB block of simulated content is one of 256
*prototypes*, real blocks with the sizes of all their parts. Other blocks have the size of their pages times a *gain*,
in 2^-15: quantile knots i/16, to be read with linear interpolation, by *bin* of the pages' mean size, rounded down. The
bin of a mean is the number of edges below it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fleetswap_kernels.layout.codecs import CODECS
from fleetswap_kernels.layout.content_model import resemblance_q16
from fleetswap_kernels.layout.pages import PAGE_BYTES, PAGE_KIB

from .. import __version__
from ..errors import InputError
from ..staging import staged_file
from .measure import ORDERS, REPLACEABLE, SAME_FILLED, ZERO, CodecTimes, PageSizes, load_codecs
from .ranks import intraclass_correlation, mean_ranks, quantiles_at_knots, rank_correlation
from .source import PageSource, Run

PROTOTYPES = 256
PROTOTYPE_ORDER = 4
UINT16_MAX = (1 << 16) - 1
BINS, KNOTS = 8, 17
ONE_Q15 = 1 << 15
MIN_BLOCKS = 8
"""Fewer 64 KiB blocks are refused, and orders with fewer blocks have the gains of the order below."""
FEW_BLOCKS = 64
"""Fewer 64 KiB blocks are worth a warning."""
MIN_BIN_BLOCKS = 16
"""Bins with fewer blocks have the spread of all blocks of the order, as those of the measured library have."""
BASE_PROFILE = "x86-server"
"""The profile that has the costs which cannot be measured here."""


def class_arrays(sizes: PageSizes, name: str, provenance: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Arrays of a content library with one class.

    Parameters
    ----------
    sizes : PageSizes
        With `MIN_BLOCKS` blocks of 64 KiB at least.
    name : str
        Of the class.
    provenance : mapping
        Kept as JSON.
    """
    edges, gain = gain_table(sizes)
    prototypes, same = _prototypes(sizes)
    zstd = _columns(sizes)[CODECS.index("zstd")]
    blocks = sizes.blocks(PROTOTYPE_ORDER)[zstd]
    regions, place = sizes.places(PROTOTYPE_ORDER)
    level = mean_ranks(blocks)
    follows = np.flatnonzero((np.diff(regions) == 0) & (np.diff(place) == 1))
    adjacent = rank_correlation(blocks[follows], blocks[follows + 1])
    region, run = resemblance_q16(intraclass_correlation(level, regions), adjacent)
    return {
        "classes": np.array([name], dtype="U32"),
        "algos": np.array(CODECS),
        "sizes": prototypes[np.newaxis],
        "same": same[np.newaxis],
        "edges": edges[np.newaxis],
        "gain_q15": gain[np.newaxis],
        "region_q16": np.array([region], dtype=np.uint32),
        "run_q16": np.array([run], dtype=np.uint32),
        "provenance": np.array(json.dumps(provenance)),
    }


def _columns(sizes: PageSizes) -> list[int]:
    """Index of the measured codec for each of `CODECS`: itself, or lz4 where it could not be measured."""
    return [sizes.codecs.index(name if name in sizes.codecs else "lz4") for name in CODECS]


def _prototypes(sizes: PageSizes) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Sizes of all parts of 256 blocks of 64 KiB, shape (256, 3, 31), and kinds of their pages, shape (256, 16)."""
    columns = _columns(sizes)
    zstd = sizes.blocks(PROTOTYPE_ORDER)[columns[CODECS.index("zstd")]]
    chosen = np.argsort(zstd, kind="stable")[(2 * np.arange(PROTOTYPES) + 1) * len(zstd) // (2 * PROTOTYPES)]
    parts = [sizes.members(PROTOTYPE_ORDER, order)[columns][:, chosen] for order in range(PROTOTYPE_ORDER + 1)]
    together = np.concatenate(parts, axis=2).transpose(1, 0, 2)
    kinds = sizes.block_kinds(PROTOTYPE_ORDER)[chosen]
    return np.minimum(together, UINT16_MAX).astype(np.uint16), kinds


def gain_table(sizes: PageSizes) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Edges of the bins, shape (3, 7), and gains of all orders, shape (3, 10, 8, 17).

    The gains of a bin are scaled so that its blocks keep their total size.
    """
    edges = np.zeros((len(CODECS), BINS - 1), dtype=np.uint16)
    gain = np.full((len(CODECS), len(ORDERS), BINS, KNOTS), ONE_Q15, dtype=np.uint16)
    for i, column in enumerate(_columns(sizes)):
        sums = sizes.members(PROTOTYPE_ORDER)[column].sum(axis=1)
        edges[i] = quantiles_at_knots(sums, BINS)[1:-1] >> PROTOTYPE_ORDER
        for order in ORDERS[1:]:
            blocks, sums = sizes.blocks(order)[column], sizes.members(order)[column].sum(axis=1)
            if len(blocks) < MIN_BLOCKS:
                gain[i, order] = gain[i, order - 1]
            else:
                gain[i, order] = _gains(blocks, sums, np.searchsorted(edges[i], sums >> order))
    return edges, gain


def _gains(blocks: NDArray[np.int64], sums: NDArray[np.int64], bins: NDArray[np.intp]) -> NDArray[np.uint16]:
    """Gains of one order, shape (8, 17), from sizes of blocks, sums of their pages and bins."""
    few = np.bincount(bins, minlength=BINS) < MIN_BIN_BLOCKS
    in_few = few[bins]
    knots = np.empty((BINS, KNOTS))
    for i in range(BINS):
        members = in_few if few[i] else bins == i
        spread = quantiles_at_knots((blocks / sums)[... if few[i] else members], KNOTS - 1)
        level = members if members.any() else np.ones(len(blocks), dtype=np.bool_)
        mean = (spread[:-1] + spread[1:]).mean() / 2  # of a rank drawn evenly
        knots[i] = spread * (blocks[level].sum() / (sums[level].sum() * mean))
    return np.clip(np.rint(knots * ONE_Q15), 1, UINT16_MAX).astype(np.uint16)


def describe_origin(
    source: PageSource, sizes: PageSizes, pages_found: int, max_mib: int, when: datetime
) -> dict[str, Any]:
    """Describe the origin of a calibration's numbers, without folders and without contents of memory.

    Parameters
    ----------
    source : PageSource
    sizes : PageSizes
        What was measured of it.
    pages_found : int
        Pages of the source, before some were chosen.
    max_mib : int
        Most memory that was measured, MiB.
    when : datetime
        When it was measured.
    """
    versions = {codec.name: codec.version for codec in load_codecs()}
    if REPLACEABLE not in versions:
        versions[REPLACEABLE] = "not measured: these are the sizes of lz4"
    return {
        "fleetswap": __version__,
        "date": when.isoformat(timespec="seconds"),
        "source": {"kind": source.kind, "names": list(source.names), "notes": list(source.notes)},
        "pages_found": pages_found,
        "pages": sizes.pages(),
        "sampling": f"whole 2 MiB regions by hash of their number, at most {max_mib} MiB",
        "blocks": {str(order): len(sizes.places(order)[0]) for order in ORDERS},
        "codecs": {name: versions[name] for name in CODECS},
        "machine": {"system": platform.platform(), "cpu": _cpu(), "python": platform.python_version()},
    }


def _cpu() -> str:
    """Model of the CPU, or only its architecture where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.machine()


def profile_text(name: str, origin: Mapping[str, Any], times: Mapping[str, CodecTimes]) -> str:
    """Text of a cost profile: measured times of codecs, the rest inherited.

    Parameters
    ----------
    name : str
        Of the profile.
    origin : mapping
        From `describe_origin`.
    times : mapping of str to CodecTimes
        By codec; every one has a time for order 0.
    """
    codecs = ", ".join(origin["codecs"][codec] for codec in times)
    source = (
        f"fleetswap calibrate {origin['fleetswap']}, {origin['date']}, on {origin['machine']['cpu']}, "
        f"{origin['machine']['system']}: CPU time of {codecs}, called from Python in user space on "
        f"{origin['pages']} pages; everything else is from {BASE_PROFILE}"
    )
    lines = [f"name = {_quoted(name)}", f"inherits = {_quoted(BASE_PROFILE)}", f"source = {_quoted(source)}"]
    for codec in CODECS:
        if codec in times:
            lines += [
                "",
                f"[codec.{codec}]",
                f"compress_ns = {_filled(times[codec].compress_ns)}",
                f"decompress_ns = {_filled(times[codec].decompress_ns)}",
            ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A string of TOML, whose escapes include those of JSON."""
    return json.dumps("".join(c if c.isprintable() else " " for c in text), ensure_ascii=False)


def _filled(times: Sequence[int | None]) -> list[int]:
    """Times of all orders: those without blocks take twice that of the order below, and none is 0."""
    filled: list[int] = []
    for measured in times:
        filled.append(2 * filled[-1] if measured is None else max(1, measured))
    return filled


def totals(sizes: PageSizes) -> dict[str, list[dict[str, Any]]]:
    """Totals of every measured codec and order."""
    totals_by_codec: dict[str, list[dict[str, Any]]] = {codec: [] for codec in sizes.codecs}
    for order in ORDERS:
        blocks, members = sizes.blocks(order), sizes.members(order)
        for i, codec in enumerate(sizes.codecs):
            original = blocks.shape[1] * (PAGE_BYTES << order)
            raw, apart = int(blocks[i].sum()), int(members[i].sum())
            totals_by_codec[codec].append(
                {
                    "order": order,
                    "kib": PAGE_KIB << order,
                    "blocks": blocks.shape[1],
                    "original_bytes": original,
                    "raw_bytes": raw,
                    "ratio": original / raw if raw else None,
                    "size_vs_4k": raw / apart if apart else None,
                }
            )
    return totals_by_codec


def fill_fractions(sizes: PageSizes) -> dict[str, float]:
    """Shares of all pages that are zero, and that are filled with another word."""
    pages = sizes.pages()
    return {"zero_fraction": sizes.pages(ZERO) / pages, "same_filled_fraction": sizes.pages(SAME_FILLED) / pages}


def check_outputs(paths: Sequence[Path], source: PageSource, force: bool) -> None:
    """Refuse to write files where something would be lost, before anything is measured.

    Parameters
    ----------
    paths : sequence of Path
        What is to be written.
    source : PageSource
    force : bool
        Whether files that exist may be replaced.

    Raises
    ------
    InputError
        If one exists already, is to be written twice, is what is measured, or cannot be written where it is to be.
    """
    for i, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:i]]:
            raise InputError(f"{path}: would be written twice; name another file")
        if any(path.exists() and space.exists() and path.samefile(space) for space in source.spaces):
            raise InputError(f"{path}: is what is measured; name another file")
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file")
        above = next(folder for folder in path.absolute().parents if folder.exists())
        try:
            with tempfile.TemporaryFile(dir=above):  # Permissions alone do not tell, least of all root's.
                pass
        except OSError as error:
            why = f"may not be written to ({error.strerror})" if above.is_dir() else "is no folder"
            raise InputError(f"{path}: cannot be written: {above} {why}; name another place") from None
        if path.exists() and not force:
            raise InputError(f"{path}: exists already; choose another name, or replace it with --force")


def write_files(writers: Mapping[Path, Callable[[BinaryIO], None]]) -> None:
    """Write all files in full before the first of them gets its name.

    Raises
    ------
    InputError
        If one cannot be written; then none is left half written.
    """
    with contextlib.ExitStack() as stack:
        for path, write in writers.items():
            partial = stack.enter_context(staged_file(path))
            partial.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as file:
                write(file)


def write_class(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays of a class."""
    np.savez_compressed(file, allow_pickle=False, **arrays)


def write_text(file: BinaryIO, text: str) -> None:
    """Write text."""
    file.write(text.encode())


def write_pages(file: BinaryIO, runs: Sequence[Run]) -> None:
    """Write pages as a raw dump without their addresses, for its owner alone to read."""
    os.fchmod(file.fileno(), 0o600)
    file.writelines(run.pages.data for run in runs)
