"""`fleetswap calibrate`: measures the user's own memory, for scenarios with its content and this machine's costs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..calibrate.measure import CodecTimes, Region

SHOWN_ORDERS = (0, 2, 4)
"""4, 16 and 64 KiB."""
MIN_WIDTH = 100
"""Columns that the table needs."""


@click.command()
@click.argument("name")
@click.option("--dump", type=click.Path(path_type=Path), metavar="FILE", help="Measure a raw memory dump.")
@click.option(
    "--pid",
    "pids",
    type=click.IntRange(1),
    multiple=True,
    metavar="PID",
    help="Measure a process's private anonymous pages in memory; may be repeated.",
)
@click.option("--pages", type=click.Path(path_type=Path), metavar="DIR", help="Measure a folder of raw page files.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=".",
    help="Folder of the files  [default: this one]",
)
@click.option(
    "--max-mib",
    type=click.IntRange(2, 1 << 20),
    default=256,
    show_default=True,
    metavar="N",
    help="Measure at most so much: whole 2 MiB regions, chosen by a hash of their number.",
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes to use.  [default: one per usable core]")
@click.option(
    "--keep-pages", type=click.Path(path_type=Path), metavar="FILE", help="Also write the measured pages: a raw dump."
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def calibrate(
    name: str,
    dump: Path | None,
    pids: tuple[int, ...],
    pages: Path | None,
    out: Path,
    max_mib: int,
    jobs: int | None,
    keep_pages: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure how your own memory compresses, and how long that takes here.

    Writes NAME.npz, a class of content, and NAME.toml, a cost profile with the times of the codecs; scenarios can name
    both. Exactly one of --dump, --pid and --pages says what is measured. Only numbers derived from pages are written,
    unless --keep-pages asks for the pages themselves.
    """
    from fleetswap_kernels.backend.cores import usable_cores

    from ..calibrate import library as calibration
    from ..calibrate.measure import REPETITIONS, REPLACEABLE, load_codecs, measure_sizes, measure_times, regions_of
    from ..calibrate.source import open_source, read_runs, sample_regions
    from ..console import Console, progress_bar

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name):
        raise InputError(f"NAME {name!r}: is not possible; allowed are 1 to 32 letters, digits, _ and -")
    codecs = load_codecs()
    source = open_source(dump, pids, pages)
    targets = {"class": out / f"{name}.npz", "profile": out / f"{name}.toml"}
    if keep_pages is not None:
        targets["pages"] = keep_pages
    calibration.check_outputs(list(targets.values()), source, force)

    chosen = sample_regions(source.extents, max_mib)
    runs = read_runs(source, chosen)
    regions = regions_of(runs)
    found_pages, taken_pages = sum(e.pages for e in source.extents), sum(len(run.pages) for run in runs)
    notes = [*source.notes, *_check_blocks(regions, found_pages > sum(e.pages for e in chosen))]
    if REPLACEABLE not in [codec.name for codec in codecs]:
        notes.append(
            f"{REPLACEABLE} was not measured (the package python-lzo is not installed): lz4's sizes stand for it"
        )
    names = ", ".join(source.names)
    click.echo(
        f"{name}: {taken_pages:,} of {found_pages:,} pages in {len(regions)} regions of {names} ({source.kind})",
        err=True,
    )
    for note in notes:
        click.echo(f"note: {note}", err=True)

    err = Console(stderr=True)
    with progress_bar(err) as progress:
        task = progress.add_task("compressing regions", total=len(regions))
        sizes = measure_sizes(regions, jobs or usable_cores(), lambda n: progress.advance(task, n))
        timing = progress.add_task("timing repetitions", total=len(codecs) * (REPETITIONS + 1))
        times = measure_times(regions, REPETITIONS, lambda n: progress.advance(timing, n))

    origin = calibration.describe_origin(source, sizes, found_pages, max_mib, datetime.now(UTC))
    arrays = calibration.class_arrays(sizes, name, origin)
    profile = calibration.profile_text(name, origin, times)
    writers: dict[Path, Callable[[BinaryIO], None]] = {
        targets["class"]: partial(calibration.write_class, arrays=arrays),
        targets["profile"]: partial(calibration.write_text, text=profile),
    }
    if keep_pages is not None:
        writers[keep_pages] = partial(calibration.write_pages, runs=runs)
    calibration.write_files(writers)

    result: dict[str, Any] = {
        "name": name,
        **origin,
        "notes": notes,
        **calibration.fill_fractions(sizes),
        "region_correlation": int(arrays["region_q16"][0]) / (1 << 16),
        "totals": calibration.totals(sizes),
        "times": {codec: asdict(spent) for codec, spent in times.items()},
        "files": {what: str(path) for what, path in targets.items()},
    }
    if as_json:
        click.echo(json.dumps(result))
    else:
        Console(columns=MIN_WIDTH).print(_table(result["totals"], times))
        click.echo(
            f"zero pages {result['zero_fraction']:.2%}, filled with another word {result['same_filled_fraction']:.2%}; "
            f"blocks share their region's content with probability {result['region_correlation']:.2f}"
        )
    click.echo(f"written: {', '.join(map(str, targets.values()))}", err=True)


def _check_blocks(regions: list[Region], sampled: bool) -> list[str]:
    """Notes about too few 64 KiB blocks; a refusal if a class cannot be made of them."""
    from ..calibrate.library import FEW_BLOCKS, MIN_BLOCKS, PROTOTYPE_ORDER
    from ..calibrate.measure import count_blocks

    blocks = count_blocks(regions, PROTOTYPE_ORDER)
    if blocks >= FEW_BLOCKS:
        return []
    advice = "a larger --max-mib takes more" if sampled else "measure more memory"
    if blocks < MIN_BLOCKS:
        raise InputError(
            f"{blocks} full aligned 64 KiB blocks are too few; allowed are {MIN_BLOCKS} and more: {advice}"
        )
    return [f"only {blocks} full aligned 64 KiB blocks, fewer than {FEW_BLOCKS}: the class will be coarse; {advice}"]


def _table(totals: Mapping[str, list[dict[str, Any]]], times: Mapping[str, CodecTimes]) -> Any:
    from ..console import Table

    table = Table(title="Size and CPU time by codec and block")
    table.add_column("codec", no_wrap=True)
    columns = ("block", "blocks", "ratio", "size vs 4K", "compress ns/page", "decompress ns/page")
    table.add_columns(*columns, justify="right", no_wrap=True)
    for codec, orders in totals.items():
        for order in SHOWN_ORDERS:
            row = orders[order]
            spent = (times[codec].compress_ns[order], times[codec].decompress_ns[order])
            table.add_row(
                codec,
                f"{row['kib']}K",
                f"{row['blocks']:,}",
                f"{row['ratio']:.3f}",
                f"{row['size_vs_4k']:.3f}",
                *("-" if ns is None else f"{ns / (1 << order):,.0f}" for ns in spent),
            )
    return table
