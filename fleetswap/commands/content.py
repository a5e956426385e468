"""`fleetswap content`: what the content model yields."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("name", metavar="[CLASS]", required=False)
@click.option("--codec", default="zstd", show_default=True, help="lz4, lzo-rle or zstd.")
@click.option("--order", type=click.IntRange(0, 9), default=4, show_default=True, help="Blocks of 2^ORDER pages.")
@click.option("--blocks", type=click.IntRange(1), help="Blocks of each class  [default: 1,048,576 pages' worth]")
@click.option(
    "--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True, help="Seed of the contents."
)
@click.option("--scaled", is_flag=True, help="Draw a size scale per process of 4 GiB; off, sizes are as measured.")
@click.option("--library", type=click.Path(path_type=Path), help="Content library  [default: the built-in one]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def content(
    name: str | None,
    codec: str,
    order: int,
    blocks: int | None,
    seed: int,
    scaled: bool,
    library: Path | None,
    as_json: bool,
) -> None:
    """Size simulated pages of a content class at a codec and block order; without CLASS an equal mix of all.

    Raw bytes are the codec's output; stored bytes what zram keeps (nothing for a same-filled block, all of one that
    does not compress); zsmalloc bytes the pool's memory, its zspages counted full. Beside them the same pages one by
    one. Contents are those of blocks that are resident as a whole.
    """
    from fleetswap_kernels.layout.codecs import CODECS

    from ..calibrate.content import describe, simulate_blocks
    from ..console import Console, progress_bar
    from ..errors import InputError
    from ..scenario.content_library import load_library

    if codec not in CODECS:
        raise InputError(f"--codec {codec}: unknown; allowed are {', '.join(CODECS)}")
    known = load_library(library)
    if name is not None and name not in known.names:
        raise InputError(f"content class {name!r}: unknown; allowed are {', '.join(known.names)}")
    block_count = blocks or (1 << 20) >> order
    with progress_bar(Console(stderr=True), transient=True) as progress:
        names = progress.track([name] if name else known.names, description="sizing blocks")
        class_results = [
            simulate_blocks(known, class_name, codec, order, block_count, seed, scaled) for class_name in names
        ]
    result = {
        "class": name,
        "codec": codec,
        "order": order,
        "seed": seed,
        "scaled": scaled,
        **describe(class_results, order),
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    from ..report.tables import content_table

    Console().print(content_table(result))
