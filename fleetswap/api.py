"""The Python interface: load a scenario, run it, read its results, compare two policies.

Examples
--------
>>> import fleetswap
>>> phones = fleetswap.Scenario.load("phones", {"policy.large_swapin": "off"}, devices=100)
>>> result = fleetswap.run(phones)  # doctest: +SKIP
>>> result.summary["metrics"]["all"]["pgmajfault"]["p50"]  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .analysis.comparison import Comparison, Source
from .analysis.sweep import DEFAULT_METRICS, DEFAULT_PARETO, Axis, Sweep
from .errors import InputError
from .execution.comparison import ask_comparison
from .execution.display import Display
from .execution.question import Question
from .execution.run import ask_run
from .execution.run_result import RunResult
from .execution.sweep import ask_sweep
from .execution.work import answer_question, resume_job
from .execution.workforce import Workforce
from .scenario.kinds import AnyScenario, load_any_scenario
from .scenario.units import setting_word

if TYPE_CHECKING:
    from distributed import Client

Settings = Mapping[str, Any] | Sequence[str]
"""Changed parameters by dotted key, or texts ``KEY=VALUE`` as the command line has them."""


@dataclass(frozen=True)
class Scenario:
    """A fleet, what its people do, and the policy of its devices; or an experiment on a fleet.

    Parameters
    ----------
    fleet : AnyScenario
        Every value, checked.
    """

    fleet: AnyScenario

    @classmethod
    def load(
        cls, name_or_path: str | os.PathLike[str], settings: Settings = (), devices: int | None = None, seed: int = 0
    ) -> Scenario:
        """Read a scenario.

        Parameters
        ----------
        name_or_path : str or path
            A built-in scenario, such as "phones" or "allocator-test", or a .toml file.
        settings : mapping or sequence of str
            Changed parameters: ``{"policy.large_swapin": "off"}`` or ``["policy.large_swapin=off"]``.
        devices : int, optional
            Devices of the fleet; the scenario's own number by default.
        seed : int

        Raises
        ------
        InputError
            If something cannot be used: one line with every problem.
        """
        return cls(load_any_scenario(os.fspath(name_or_path), _words(settings), devices, seed))

    @property
    def resolved(self) -> dict[str, Any]:
        """Every key, defaults included."""
        return self.fleet.resolved()

    @property
    def digest(self) -> str:
        """Hash of the resolved scenario."""
        return self.fleet.digest()


def run(
    scenario: Scenario | str,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    shards: int | None = None,
    progress: bool = False,
    backend: str = "auto",
    cluster: str | Client | None = None,
    workers: int | None = None,
) -> RunResult:
    """Simulate a fleet.

    Parameters
    ----------
    scenario : Scenario or str
        A scenario, or what `Scenario.load` takes.
    out : path, optional
        Run directory to write, or an object store's address; by default a temporary one that lives as long as the
        result. Of a cluster all workers must see it under this name.
    threads, shards : int, optional
        CPU threads, all usable cores by default, and pieces of the fleet; results do not depend on them.
    progress : bool
        Whether lines and a bar with the time left are shown on stderr.
    backend : str
        "cpu", "cuda", or "auto": a GPU where one can be used. Results do not depend on it.
    cluster : str or distributed.Client, optional
        Work on a Dask cluster: "local", "cuda", "slurm", "kubernetes", the address of a scheduler, or a client.
    workers : int, optional
        Workers of the cluster to start or wait for.

    Raises
    ------
    InputError
        If the scenario or the backend cannot be used, the directory cannot be written, or work ends early: `resume`
        then goes on.
    """
    question = ask_run((scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)).fleet)
    workforce = Workforce(cluster, workers, backend, threads)
    with _folder_for(out) as (folder, temporary):
        answer_question(question, folder, workforce, _display(progress), shards or 0)
        result = RunResult.open(folder)
    if temporary is not None:
        weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result


def compare(
    a: Scenario | RunResult | str | os.PathLike[str],
    b: Scenario | RunResult | str | os.PathLike[str],
    *,
    reference: Scenario | None = None,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    shards: int | None = None,
    progress: bool = False,
    backend: str = "auto",
    cluster: str | Client | None = None,
    workers: int | None = None,
) -> Comparison:
    """Compare two policies on the same devices, with the same random numbers.

    Parameters
    ----------
    a, b : Scenario, RunResult, str or path
        What is not a finished run, or the directory of one, is simulated.
    reference : Scenario, optional
        A third policy; the pages that A reads beyond it are told as extra pages.
    out : path, optional
        Result folder to write; by default none is kept.
    threads, shards, progress, backend, cluster, workers
        See `run`.

    Raises
    ------
    InputError
        If they are different fleets, naming what differs.
    """
    question = ask_comparison(_source(a), _source(b), reference.fleet if reference else None)
    comparison: Comparison = _result(question, out, Workforce(cluster, workers, backend, threads), progress, shards)
    return comparison


def sweep(
    scenario: str | os.PathLike[str],
    over: Mapping[str, Sequence[Any]],
    settings: Settings = (),
    devices: int | None = None,
    seed: int = 0,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    pareto: Sequence[str] = DEFAULT_PARETO,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    shards: int | None = None,
    progress: bool = False,
    backend: str = "auto",
    cluster: str | Client | None = None,
    workers: int | None = None,
) -> Sweep:
    """Simulate a grid of policies on the same devices; every point is compared with the first one.

    Parameters
    ----------
    scenario : str or path
        A built-in fleet, or a .toml file.
    over : mapping of str to sequence
        Values by dotted key; every combination is a point, the last key changes fastest.
    settings : mapping or sequence of str
        Changed parameters of all points, as `Scenario.load` takes them.
    devices, seed : int
        See `Scenario.load`.
    metrics, pareto : sequence of str
        Metrics to report, and those of the Pareto front.
    out : path, optional
        Result folder to write; by default none is kept.
    threads, shards, progress, backend, cluster, workers
        See `run`.

    Raises
    ------
    InputError
        With the problems of all points.
    """
    axes = [Axis(key, tuple(setting_word(value) for value in values)) for key, values in over.items()]
    question = ask_sweep(os.fspath(scenario), axes, _words(settings), devices, seed, metrics, pareto)
    found: Sweep = _result(question, out, Workforce(cluster, workers, backend, threads), progress, shards)
    return found


def resume(
    out: str | os.PathLike[str],
    threads: int | None = None,
    progress: bool = False,
    backend: str = "auto",
    cluster: str | Client | None = None,
    workers: int | None = None,
) -> RunResult | dict[str, Any]:
    """Go on with a run, comparison or sweep that did not finish; nothing that is done is done again.

    Parameters
    ----------
    out : path
        Its directory.
    threads, progress, backend, cluster, workers
        See `run`.

    Returns
    -------
    RunResult
        Of a run; of a comparison or sweep the content of its summary.json.
    """
    answer = resume_job(out, "", Workforce(cluster, workers, backend, threads), _display(progress))
    return RunResult.open(out) if answer.kind == "run" else {**answer.summary}


def _result(
    question: Question, out: str | os.PathLike[str] | None, workforce: Workforce, progress: bool, shards: int | None
) -> Any:
    """What came of a question whose files need not be kept."""
    with _folder_for(out) as (folder, temporary):
        answer = answer_question(question, folder, workforce, _display(progress), shards or 0)
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
    return answer.result


@contextlib.contextmanager
def _folder_for(out: str | os.PathLike[str] | None) -> Iterator[tuple[str, Path | None]]:
    """Where results are written, and the temporary folder that it is in, if it is; that one goes if work ends early."""
    if out is not None:
        yield os.fspath(out), None
        return
    temporary = Path(tempfile.mkdtemp(prefix="fleetswap-"))
    try:
        yield str(temporary / "run"), temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _display(shown: bool) -> Display:
    """Lines and a bar on stderr, or nothing."""
    if not shown:
        return Display()
    from .console import Console

    return Display(Console(stderr=True))


def _source(side: Scenario | RunResult | str | os.PathLike[str]) -> Source:
    if isinstance(side, RunResult):
        return side.folder
    if isinstance(side, Scenario):
        return side.fleet
    return Path(side) if Path(side).is_dir() else Scenario.load(side).fleet


def _words(settings: Settings) -> tuple[str, ...]:
    """Settings as the command line has them."""
    if isinstance(settings, Mapping):
        return tuple(f"{key}={setting_word(value)}" for key, value in settings.items())
    if isinstance(settings, str):
        raise InputError(f"settings: {settings!r} is not possible; allowed are a table, or a list of KEY=VALUE")
    return tuple(settings)
