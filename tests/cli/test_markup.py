"""What users give and what is read is shown as it is: brackets and colons mean nothing to whatever prints it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from fleetswap.cli import main
from fleetswap.conformance.tables import Check
from fleetswap.console import Console, Table, progress_bar
from fleetswap.fleet import backend
from fleetswap_kernels.backend.contract import BackendMissingError
from fleetswap_kernels.backend.cuda import gpu as launch_gpu

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "tiny-phones.toml"
BOLD, END, SMILE = "[bold]x[/bold]", "[/]", ":smile:"
ODD = f"{BOLD}{END}{SMILE}"
STEM = "[bold]x[bold]:smile:"
"""A name of a file, which has no slash."""


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """All that a command prints."""
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    return out + err


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / f"{STEM}.toml"
    path.write_text(TINY.read_text().replace('title = "Tiny phones"', f'title = "{ODD}"'))
    return str(path)


def test_run(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, "run", scenario, "--out", str(tmp_path / ODD), "--set", f"description={ODD}")
    assert f"{STEM}: 2 devices" in told
    assert f"written to {tmp_path / ODD} (" in told
    assert f"{tmp_path / ODD}: is finished already" in shown(capsys, "run", "--resume", str(tmp_path / ODD))


def test_a_broken_device(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetswap.fleet.shard.Checker.violations", lambda _: [f"swap_map[7] {ODD}"])
    told = shown(capsys, "run", scenario, "--out", str(tmp_path / "run"), "--check", code=1)
    assert f"swap_map[7] {ODD}" in told


def test_sweep(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    over = ("--over", f"title={BOLD},{END},{SMILE}")
    told = shown(capsys, "sweep", scenario, *over, "--metrics", "kills", "--out", str(tmp_path / ODD))
    assert f"{STEM}: 3 policies on" in told
    for value in (BOLD, END, SMILE):
        assert f" {value} " in told
    assert f"written to {tmp_path / ODD} (" in told


def test_compare(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / f"{SMILE}.toml"
    other.write_text(Path(scenario).read_text())
    told = shown(capsys, "compare", scenario, str(other), "--out", str(tmp_path / ODD))
    assert f"A: {STEM}" in told.replace(str(tmp_path), "").replace("/", "")
    assert f"written to {tmp_path / ODD} (" in told


def test_plan_and_show(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{STEM}: the run" in shown(capsys, "plan", scenario)
    assert f'title = "{ODD}"' in shown(capsys, "show", scenario)


def test_census(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"{STEM}.npz"
    np.savez(path, slot=np.arange(32, dtype=np.int64))
    told = shown(capsys, "census", str(path), "--threads", "1")
    assert STEM in told.replace("\n", "")


@pytest.mark.parametrize("words", [["--set", f"{ODD}=1"], ["--set", f"policy.large_swapin={ODD}"], ["--devices", ODD]])
def test_what_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ODD in shown(capsys, "run", "phones", *words, code=2)


def test_tables_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    from fleetswap.conformance.print import print_checks

    print_checks(Console(columns=100), [Check(ODD, SMILE, [(1, 2)], [(1, 3)], [f"1: {ODD}"])], full=False)
    told = capsys.readouterr().out
    assert f"FAIL  {ODD}: 1 iterations" in told
    assert f"from {SMILE}" in told
    assert f"      1: {ODD}\n" in told
    assert told.count("differs") == 1


def test_every_place_of_a_table_and_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(f"title {ODD}")
    table.caption = f"caption {ODD}"
    table.add_column(f"head {ODD}", no_wrap=True)
    table.add_row(f"cell {ODD}")
    Console(columns=80).print(table)
    told = capsys.readouterr().out
    for place in ("title", "caption", "head", "cell"):
        assert f"{place} {ODD}" in told
    with progress_bar(Console(stderr=True, columns=160), f"unit {ODD}") as bar:
        bar.add_task(f"task {ODD}", total=1)
        bar.console.print(f"line {ODD}")
    told = capsys.readouterr().err
    for place in ("unit", "task", "line"):
        assert f"{place} {ODD}" in told


def test_a_long_line_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    Console(stderr=True).print(f"written to /{'folder/' * 50}")
    assert capsys.readouterr().err.count("\n") == 1


# Why no GPU is used: of interest to who asks, or has one.


@pytest.mark.parametrize(("words", "gpu", "told"), [([], False, False), ([], True, True), (["auto"], False, True)])
def test_why_there_is_no_gpu(
    words: list[str],
    gpu: bool,
    told: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise BackendMissingError(f"cupy not installed: {ODD}")

    monkeypatch.setattr(launch_gpu, "open_gpu", missing)
    monkeypatch.setattr(backend, "gpu_is_there", lambda: gpu)
    asked = [word for name in words for word in ("--backend", name)]
    first = shown(capsys, "run", str(TINY), "--out", str(tmp_path / "run"), *asked).splitlines()
    line = next(line for line in first if line.startswith("backend cpu: "))
    assert line.endswith(f"(auto: no cuda, cupy not installed: {ODD})") == told
    assert ("cuda" in line) == told
    assert ODD in shown(capsys, "doctor")


@pytest.mark.parametrize(
    ("devices", "there"),
    [
        ([("0x10de", "0x030200")], True),  # a 3D controller of NVIDIA
        ([("0x8086", "0x060000"), ("0x10de", "0x030000")], True),
        ([("0x10de", "0x0c0330")], False),  # its USB
        ([("0x1002", "0x030000")], False),  # another vendor's display
        ([], False),
    ],
)
def test_a_gpu_shows(
    devices: list[tuple[str, str]], there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (vendor, kind) in enumerate(devices):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "vendor").write_text(f"{vendor}\n")
        (tmp_path / str(number) / "class").write_text(f"{kind}\n")
    monkeypatch.setattr(backend, "DRIVER_FILES", ())
    monkeypatch.setattr(backend, "PCI", tmp_path)
    assert backend.gpu_is_there() == there
    monkeypatch.setattr(backend, "PCI", tmp_path / "none")
    assert not backend.gpu_is_there()
    monkeypatch.setattr(backend, "DRIVER_FILES", (str(tmp_path),))
    assert backend.gpu_is_there()


def test_rich_has_one_user() -> None:
    users = set()
    for path in (p for room in ("fleetswap", "kernels", "cluster") for p in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.partition(".")[0] == "rich" for name in names):
                users.add(path.relative_to(ROOT).as_posix())
    assert users == {"fleetswap/console.py"}
