"""`fleetswap conform`: replays scripts and compares them with what a real kernel did."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError

if TYPE_CHECKING:
    from ..conformance.scripts import Outcome


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, everything else on stderr.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes to use.  [default: one per usable core]")
@click.pass_context
def conform(context: click.Context, paths: tuple[str, ...], as_json: bool, jobs: int | None) -> None:
    """Replay scripts and compare every recorded dump with the real kernel's.

    PATH is a script NAME.ops, with the recorded dumps NAME.jsonl.gz or NAME.jsonl beside it, or a folder of scripts.
    The last line says how many match; the exit code is 0 if all do, else 1.
    """
    from fleetswap_kernels.backend.cores import usable_cores

    from ..conformance.scripts import describe, find_scripts, load_case
    from ..console import Console, progress_bar

    scripts = find_scripts(paths)
    for script in scripts:
        load_case(script)  # Bad input is reported before the first replay, not in the middle.
    err = Console(stderr=True)
    with progress_bar(err, transient=True) as progress:
        pending_outcomes = _outcomes(scripts, jobs or usable_cores())
        outcomes = list(progress.track(pending_outcomes, total=len(scripts), description="replaying scripts"))
    for outcome in outcomes:
        for line in describe(outcome):
            click.echo(line, err=as_json)
    matching = sum(not outcome.mismatches for outcome in outcomes)
    if as_json:
        results = [
            {
                "script": o.script,
                "match": not o.mismatches,
                "dumps": o.dumps,
                "mismatches": list(map(asdict, o.mismatches)),
            }
            for o in outcomes
        ]
        click.echo(json.dumps({"scripts": len(outcomes), "matching": matching, "results": results}))
    click.echo(f"{matching} of {len(outcomes)} scripts match", err=as_json)
    context.exit(0 if matching == len(outcomes) else 1)


def _outcomes(scripts: list[Path], jobs: int) -> Iterator[Outcome]:
    """Outcomes in the order of the scripts."""
    from ..conformance.scripts import conform as check

    # The first one in this process: with a cold cache it compiles the core, once and for all the others.
    yield check(scripts[0])
    rest = scripts[1:]
    if jobs == 1 or len(rest) < 2:
        yield from map(check, rest)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(rest)), context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    finished = False
    try:
        yield from pool.map(check, rest)
        finished = True
    except BrokenProcessPool:
        raise InputError(
            "a process that replayed scripts was killed, perhaps for lack of memory; try --jobs 1"
        ) from None
    finally:
        if not finished:
            for process in multiprocessing.active_children():
                process.terminate()
        # Waited for: a pool that still ends while the interpreter does prints a traceback of its own.
        pool.shutdown(cancel_futures=True)
