"""What run, compare and sweep share: options that say who works and where, and the way from question to answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InputError

if TYPE_CHECKING:
    from ..execution.question import Question

Command = TypeVar("Command", bound=Callable[..., Any])
Told = dict[str, Any]

WITH_RESUME = ("resume", "cluster", "workers", "backend", "threads", "as_json")
"""What may be said of a directory that is gone on with; all else is in it."""


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """All these options as one decorator, in the order in which the help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def backend_options(command: Command) -> Command:
    """Give a command --backend, --threads and --shards."""
    return _options(
        click.option(
            "--backend",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="What computes: auto is cuda where a GPU can be used. Results do not depend on it.",
        ),
        click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: all usable cores]"),
        click.option("--shards", type=click.IntRange(1), help="Pieces the fleet is cut into."),
    )(command)


def directory_options(out: str) -> Callable[[Command], Command]:
    """Options of commands that can work on a cluster, and write a directory (`out`) or go on with one."""
    return _options(
        click.option("--out", metavar="DIR", help=out),
        click.option(
            "--resume", metavar="DIR", help="Go on with an unfinished directory; nothing that is done is done again."
        ),
        click.option(
            "--cluster",
            metavar="local|cuda|slurm|kubernetes|tcp://HOST:PORT",
            help="Work on a Dask cluster.  [default: in this process]",
        ),
        click.option(
            "--workers", type=click.IntRange(1), help="Workers of the cluster  [default: one per usable core or GPU]"
        ),
    )


@dataclass(frozen=True)
class Work:
    """Who works for a command and where its answer is, by the options that such commands share.

    Parameters
    ----------
    backend : str
        "cpu", "cuda", or "auto".
    threads : int or None
        CPU threads of each worker; None for the default of `Workforce`.
    shards : int or None
        Pieces each fleet is cut into.
    out : str or None
        The directory that is to be.
    resume : str or None
        The one that is gone on with.
    cluster : str or None
        A kind of cluster or the address of its scheduler; None for this process.
    workers : int or None
        Workers of the cluster; None for one per usable core or GPU.
    as_json : bool
        Whether the answer is told as JSON.
    """

    backend: str
    threads: int | None
    shards: int | None
    out: str | None
    resume: str | None
    cluster: str | None
    workers: int | None
    as_json: bool

    def answer(self, kind: str, prefix: str, ask: Callable[[], Question]) -> tuple[str, Told]:
        """The directory of an answer and its summary: of a new one, or of the one that is gone on with.

        Parameters
        ----------
        kind : str
            Kind of the question.
        prefix : str
            Of the name of a new directory that nobody names; the time follows.
        ask : callable
            Gives the question.

        Raises
        ------
        InputError
            If an option cannot be, or the directory exists.
        """
        from click.core import ParameterSource

        from ..console import Console
        from ..execution.display import Display
        from ..execution.work import answer_question, resume_job
        from ..execution.workforce import Workforce
        from ..job.job import is_abandoned
        from ..job.ledger import MANIFEST, PLAN
        from ..job.storage import Storage

        context = click.get_current_context()
        source = context.get_parameter_source
        given = {p.name: p for p in context.command.params if source(p.name or "") is not ParameterSource.DEFAULT}
        workforce = Workforce(self.cluster, self.workers, self.backend, self.threads, "backend" in given)
        display = Display(Console(stderr=True))
        if self.resume:
            for name, parameter in given.items():
                if name not in WITH_RESUME:
                    word = parameter.opts[0] if parameter.opts[0].startswith("-") else str(name).upper()
                    allowed = "allowed are --cluster, --workers, --backend, --threads"
                    raise InputError(f"{word}: is in the directory of --resume; {allowed}")
            return self.resume, dict(resume_job(self.resume, kind, workforce, display).summary)
        if self.out == "":
            raise InputError("--out: '' is not possible; allowed are a path or an address")
        question = ask()
        folder = self.out or str(Path("runs") / f"{prefix}{datetime.now(UTC):%Y%m%d-%H%M%S}")
        if Path(folder).exists() and not is_abandoned(Storage(folder)):
            can_resume = any((Path(folder) / name).exists() for name in (MANIFEST, PLAN))
            how = ", or --resume it" if can_resume else ""
            raise InputError(f"--out {folder}: exists already; name a folder that does not{how}")
        return folder, dict(answer_question(question, folder, workforce, display, self.shards or 0).summary)

    def tell(self, told: Told, show: Callable[[Told], Iterable[Any]], width: int, files: str) -> None:
        """Print an answer on stdout, and where it is.

        Parameters
        ----------
        told : dict
            The directory, which is its first value, and the summary.
        show : callable
            Gives of it what people read.
        width : int
            Columns that they need.
        files : str
            Names of those that were written.
        """
        from ..console import Console

        if self.as_json:
            click.echo(json.dumps(told))
        else:
            console = Console(columns=width)
            for part in show(told):
                console.print(part)
        Console(stderr=True).print(f"written to {next(iter(told.values()))} ({files})")
