"""Work: a question becomes a job in a directory of its own, is worked off, and its results become files there."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..fleet.directory import read_finished, write_json, write_manifest
from ..job.crew import Crew
from ..job.job import Job, claim, unfinished
from ..job.ledger import FOLDER, MANIFEST, read_answer
from ..job.plan import Plan, plan_fleet
from ..job.storage import Storage
from ..staging import flush
from .comparison import merge_comparison
from .display import Display
from .question import Answer, Kind, Question
from .run import merge_run
from .sweep import merge_sweep
from .workforce import Workforce

KINDS = {
    "run": Kind("run", merge_run),
    "comparison": Kind("compare", merge_comparison),
    "sweep": Kind("sweep", merge_sweep),
}
"""Of questions, by their names in plans and manifests."""


def answer_question(
    question: Question, out: str | PathLike[str], workforce: Workforce, display: Display, shards: int = 0
) -> Answer:
    """Simulate what a question asks for, and write the answer into a new directory.

    Parameters
    ----------
    question : Question
    out : path
        A path, or an object store's address.
    workforce : Workforce
    display : Display
    shards : int
        Pieces each fleet is cut into; by default as memory and workers need. Results do not depend on them.

    Raises
    ------
    InputError
        If the directory cannot be used, the workforce cannot, or work ends early: `resume_job` then goes on.
    BrokenDeviceError
        If a recount differs.
    """
    if shards < 0:
        raise InputError(f"shards: {shards} is not possible; allowed are 0 and more")
    storage = Storage(out)
    about = {**question.about, "kind": question.kind}
    with claim(storage) as start:
        if not question.fleets:
            return publish_answer(start(Plan((), 0, question.check, about)), {})
        with workforce.ready(question.fleets, display) as crew:
            plan = plan_fleet(question.fleets, crew.at_once, crew.slots, shards, question.check, about)
            return complete_job(start(plan), crew, display)


def resume_job(out: str | PathLike[str], kind: str, workforce: Workforce, display: Display) -> Answer:
    """Go on with what is not finished; what is done is not done again. See `answer_question`.

    Parameters
    ----------
    out : path
    kind : str
        One of `KINDS`, or "" for whatever it is.
    workforce : Workforce
    display : Display
    """
    storage = Storage(out)
    commands = {name: known.command for name, known in KINDS.items()}
    with unfinished(storage, kind, commands) as job:
        if job is not None:
            if not job.plan.fleets:
                return publish_answer(job, {})
            with workforce.ready(job.plan.fleets, display) as crew:
                return complete_job(job, crew, display)
    if storage.is_local:
        read_finished(storage.path(""))  # which refuses files that are not what was written
    display.print(f"{storage.url}: is finished already")
    answered, summary = read_answer(storage)
    return Answer(summary, kind=answered)


def complete_job(job: Job, crew: Crew, display: Display) -> Answer:
    """Do what is left of a job, and write its answer."""
    plan = job.plan
    first = plan.fleets[0]
    for warning in dict.fromkeys(warning for fleet in plan.fleets for warning in fleet.scenario.warnings):
        display.print(f"warning: {warning}")
    policies = f"{len(plan.fleets):,} policies on " if len(plan.fleets) > 1 else ""
    display.print(
        f"{first.scenario.name}: {policies}{first.headline}, {plan.shards:,} shard(s), seed {first.scenario.seed}"
    )

    def work() -> Mapping[str, Any]:
        with display.bar(plan.device_steps, first.steps) as progress:
            return job.work(crew, progress, display.print)

    return job.complete(work, partial(publish_answer, job))


def publish_answer(job: Job, facts: Mapping[str, Any]) -> Answer:
    """Write the answer of a job whose tasks are done, with facts of the work.

    Raises
    ------
    CorruptShardError
        If a shard is not what was written; the job is as unfinished as before.
    """
    plan, storage = job.plan, job.ledger.storage
    kind = str(plan.about.get("kind", "run"))
    shards = [asdict(plan.task(number).shard) for number in range(0, len(plan), max(len(plan.fleets), 1))]
    results = job.results() if plan.fleets else ()
    with _scratch(storage) as folder:
        try:
            answer, manifest = KINDS[kind].merge(plan.fleets, plan.about, results, {**facts, "shards": shards}, folder)
            write_json(folder / "summary.json", answer.summary)
            write_manifest(folder, manifest)
            flush(folder)
        except OSError as error:
            raise storage.refusal(error) from None
        # The manifest is put last: with it the job is finished.
        names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == MANIFEST, name))
        for name in names:
            storage.take(folder / name, name)
        job.ledger.finish()
    return replace(answer, kind=kind)


@contextlib.contextmanager
def _scratch(storage: Storage) -> Iterator[Path]:
    """An empty folder on a disk: in the directory, or for an object store a temporary one."""
    outer = storage.path(f"{FOLDER}/merged") if storage.is_local else Path(tempfile.mkdtemp(prefix="fleetswap-"))
    try:
        with storage.refusals():
            shutil.rmtree(outer, ignore_errors=True)
            outer.mkdir(parents=True)
        yield outer
    finally:
        shutil.rmtree(outer, ignore_errors=True)
