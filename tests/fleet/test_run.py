"""A run: what it writes, that it does not depend on how it was cut, and how it refuses bad input."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fleetswap.cli import main
from fleetswap.fleet.log_histogram import LogHistogram
from fleetswap.scenario.experiments import load_scenario
from fleetswap_kernels.layout import counters
from tests.analysis.histograms import histogram

SMALL = ("--devices", "9", "--set", "iterations=2", "--set", "region_mib=4", "--set", "zram_mib=8")
AMOUNTS = ("--set", "swapin_mib=1", "--set", "dontneed_mib=1")


@dataclass
class Result:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str


def invoke(*arguments: str) -> Result:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return Result(code, out.getvalue(), err.getvalue())


def run(folder: Path, *arguments: str) -> Path:
    """Run a small fleet into a folder."""
    result = invoke("run", "allocator-test", *SMALL, *AMOUNTS, "--out", str(folder), *arguments)
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on one thread and one shard."""
    return run(tmp_path_factory.mktemp("run") / "one", "--threads", "1", "--shards", "1")


@pytest.mark.parametrize("shards", ["1", "3", "7", "9"])
def test_shards_and_backends_change_no_byte(
    finished: Path, tmp_path: Path, backend_words: tuple[str, ...], shards: str
) -> None:
    other = run(tmp_path / "other", *backend_words, "--shards", shards)
    for name in ("devices.parquet", "series.parquet", "summary.json"):
        assert (other / name).read_bytes() == (finished / name).read_bytes(), name
    assert invoke("digest", str(other)).stdout == invoke("digest", str(finished)).stdout


def test_another_seed_gives_another_digest(finished: Path, tmp_path: Path) -> None:
    other = run(tmp_path / "other", "--seed", "1")
    assert invoke("digest", str(other)).stdout != invoke("digest", str(finished)).stdout


def test_manifest_explains_the_run(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["schema_version"] == 1
    assert manifest["scenario"]["region_mib"] == 4
    assert manifest["scenario"]["dontneed_mib"] == 1
    assert manifest["seed"] == 0
    assert manifest["backend"] == "cpu"
    assert set(manifest["timings_s"]) == {"merge", "step"}
    assert [(s["first"], s["end"]) for s in manifest["shards"]] == [(0, 18)]
    for name, checksum in manifest["files"].items():
        assert hashlib.sha256((finished / name).read_bytes()).hexdigest() == checksum


def test_devices_and_series_agree(finished: Path) -> None:
    devices = pq.read_table(finished / "devices.parquet").to_pylist()
    series = pq.read_table(finished / "series.parquet").to_pylist()
    assert len(devices) == 2 * 9
    for policy in ("off", "on"):
        rows = [r for r in devices if r["policy"] == policy]
        assert [r["device"] for r in rows] == list(range(9))
        folios = sum(r["swpout_64kB"] for r in rows)
        stepped = {r["step"]: r["total"] for r in series if r["class"] == policy and r["metric"] == "swpout"}
        assert folios == sum(stepped.values())
        # The warm-up swaps out every folio of the region once.
        assert stepped[0] == 9 * 4 * 16
        for row in series:
            values = [r[f"{row['metric']}_by_step"][row["step"]] for r in devices if r["policy"] == row["class"]]
            # A share of nothing is none.
            expected = histogram([v for v in values if row["base"] or row["metric"] != "fallback_permyriad"])
            assert LogHistogram.from_dict(row).to_dict() == expected.to_dict()


def test_the_summary_has_exact_quantiles_of_every_iteration(finished: Path) -> None:
    devices = pq.read_table(finished / "devices.parquet").to_pylist()
    for policy, rows in json.loads((finished / "summary.json").read_text())["steps"].items():
        assert [row.pop("step") for row in rows] == [1, 2]
        for step, row in enumerate(rows, 1):
            for metric, told in row.items():
                values = sorted(r[f"{metric}_by_step"][step] for r in devices if r["policy"] == policy)
                # Of nine devices the first, the fifth and the last.
                quantiles = {"p5": values[0], "p50": values[4], "p95": values[8]}
                total = sum(values)
                if metric == "fallback_permyriad":  # that of all folios, not of all devices' shares
                    fallbacks, whole = (
                        sum(r[f"{name}_by_step"][step] for r in devices if r["policy"] == policy)
                        for name in ("swpout_fallback", "swpout")
                    )
                    total = fallbacks * 10_000 // (fallbacks + whole)
                assert told == {**quantiles, "total": total}, metric
                assert (metric in counters.VMSTAT) <= (sum(values) > 0)


def test_both_policies_use_the_same_random_numbers(tmp_path: Path) -> None:
    # Without swap-in nothing depends on the policy: only then must every counter be equal.
    folder = run(tmp_path / "same", "--set", "swapin_mib=0")
    table = pq.read_table(folder / "devices.parquet").to_pylist()
    own = ("class", "policy")
    off = [{k: v for k, v in r.items() if k not in own} for r in table if r["policy"] == "off"]
    on = [{k: v for k, v in r.items() if k not in own} for r in table if r["policy"] == "on"]
    assert off == on
    assert len({r["notify_free"] for r in off}) > 1, "devices should differ"


def test_every_device_draws_its_own_numbers(finished: Path) -> None:
    rows = [r for r in pq.read_table(finished / "devices.parquet").to_pylist() if r["policy"] == "off"]
    assert len({tuple(r[name] for name in counters.VMSTAT) for r in rows}) == 9


def test_json_goes_to_stdout_and_people_to_stderr(tmp_path: Path) -> None:
    result = invoke("run", "allocator-test", *SMALL, *AMOUNTS, "--out", str(tmp_path / "r"), "--json")
    summary = json.loads(result.stdout)
    assert summary["run_directory"] == str(tmp_path / "r")
    assert len(summary["steps"]["on"]) == 2
    assert "kernels ready" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "allocator"), "allocator-test"),
        (("run", "allocator-test", "--set", "zram_mb=3"), "did you mean zram_mib?"),
        (("run", "allocator-test", "--set", "zram_mib=x"), "zram_mib"),
        (("run", "allocator-test", "--set", "zram_mib"), "KEY=VALUE"),
        (("run", "allocator-test", "--set", "folio_kib=8"), "16, 32, 64"),
        (("run", "allocator-test", "--set", "aligned=yes"), "true, false"),
        (("run", "allocator-test", "--devices", "0"), "devices"),
        (("run", "allocator-test", "--seed", "-1"), "seed"),
        (("run", "--backend", "cuda"), "cuda"),
        (("run", "--threads", "0"), "0"),
        (("digest", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_an_existing_folder_is_not_touched(finished: Path) -> None:
    before = (finished / "manifest.json").read_bytes()
    result = invoke("run", "allocator-test", *SMALL, "--out", str(finished))
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert (finished / "manifest.json").read_bytes() == before


def test_digest_notices_a_changed_file(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in finished.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    text = (copy / "summary.json").read_text()
    (copy / "summary.json").write_text(text.replace('"p50"', '"p51"', 1))
    result = invoke("digest", str(copy))
    assert result.exit_code == 2
    assert "summary.json" in result.stderr


def test_problems_are_reported_together() -> None:
    with pytest.raises(ValueError, match=r"zram_mib.*folio_kib"):
        load_scenario("allocator-test", 1, 0, ("zram_mib=0", "folio_kib=5"))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("zram_mib=0", ["zram_mib: 0", "1 to 65536"]),
        ("iterations=1.5", ["iterations: '1.5'", "1 to 10000"]),
        ("folio_kib=2048", ["folio_kib: 2048", "1024"]),
        ("block_kib=5", ["block_kib: 5", "4, 16"]),
        ("aligned=1", ["aligned: 1", "true, false"]),
        ("kernel=6.6", ["kernel: '6.6'", "6.12, v7"]),
        ("random=dice", ["random: 'dice'", "philox, glibc"]),
        ("content=nothing", ["content: 'nothing'", "fill", "java_app"]),
        ("large_swapin=true", ["unknown key 'large_swapin'", "codec"]),
        ("seed=1", ["unknown key 'seed'", "codec"]),
    ],
)
def test_a_parameter_that_cannot_be(setting: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^allocator-test: ") as raised:
        load_scenario("allocator-test", 1, 0, (setting,))
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("name", ["allocator-test", "breakeven"])
@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_that_cannot_be(name: str, seed: int) -> None:
    with pytest.raises(ValueError, match=f"^{name}: seed: {seed} .* 0 to {(1 << 63) - 1}$"):
        load_scenario(name, 1, seed, ())
