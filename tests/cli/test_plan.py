"""`fleetswap plan`: exact bytes, and an estimate that says that it is one."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from fleetswap import cli
from fleetswap.bench.probe import DEVICES
from fleetswap.commands.plan import GROUPS, groups_of
from fleetswap.fleet.shard import STEPS_AT_ONCE, run_shard
from fleetswap.job.plan import plan_fleet
from fleetswap.scenario.file import load_fleet_scenario
from fleetswap.scenario.kinds import load_any_scenario
from fleetswap.workload.lay_out import lay_out
from fleetswap_kernels.backend.arena import device_bytes
from fleetswap_kernels.backend.cpu.state import SHARD_BYTES, CpuBackend
from fleetswap_kernels.backend.tally import FOLD_BYTES
from fleetswap_kernels.layout.device import OFFSETS, Sizes

SETTINGS = ("page_scale=512", "steps_per_day=3", "behaviour.switches_per_day=45")
SMALL = [word for one in SETTINGS for word in ("--set", one)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["plan", *words, "--json", "--threads", "2"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_every_array_of_a_device_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(OFFSETS)


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(slots=1000, ptes=512, pmds=1, frames=100),
        Sizes(slots=5000, ptes=640, pmds=4, frames=999, procs=3, vmas=2, cpus=2, zspages=50, zclasses=9, block_order=4),
        Sizes(slots=5000, ptes=640, pmds=4, frames=999, zclasses=9, pressure=True, habits=7, phone=11),
    ],
)
def test_groups_sum_up_to_the_device(sizes: Sizes) -> None:
    found = groups_of(sizes)
    assert sum(found.values()) == device_bytes(sizes)
    assert min(found.values()) >= 0
    # A PTE has 4 bytes, and 4 of what is read there; a 2 MiB range has a byte, and so have 16 PTEs with a generation.
    ptes = sizes.ptes * sizes.procs
    assert found["PTEs"] == 8 * ptes + sizes.pmds * sizes.procs + (-(-ptes // 16) if sizes.pressure else 0)


def test_the_plan_of_a_fleet_is_what_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    told = planned(capsys, "phones", "--devices", "20", *SMALL, "--shards", "3")
    scenario = load_fleet_scenario("phones", SETTINGS, 20)
    laid_out = lay_out(scenario)
    pieces = plan_fleet([laid_out], shards=3).pieces
    assert told["shards"] == len(pieces)
    counts = dict.fromkeys(laid_out.classes, 0)
    for piece in pieces:
        for number in run_shard(laid_out, piece, CpuBackend(2)).classes:
            counts[laid_out.classes[number]] += 1
    assert {one["class"]: one["devices"] for one in told["classes"]} == counts
    for one, blueprint in zip(told["classes"], laid_out.blueprints, strict=True):
        assert one["device_bytes"] == device_bytes(blueprint.sizes) == sum(one["groups"].values())
        assert one["bytes"] == one["devices"] * one["device_bytes"]
        assert one["processes"] == blueprint.sizes.procs
    assert told["bytes"] == sum(one["bytes"] for one in told["classes"])
    assert told["processes"] == sum(one["devices"] * one["processes"] for one in told["classes"])
    assert told["steps"] == 3


def test_time_is_an_estimate_from_a_probe(capsys: pytest.CaptureFixture[str]) -> None:
    told = planned(capsys, "phones", "--devices", "20", *SMALL)
    assert told["time"]["estimate"] is True
    assert told["time"]["seconds"] > 0
    probe = told["time"]["probe"]
    assert probe["devices"] == DEVICES * 2 * len([one for one in told["classes"] if one["devices"]])
    assert 1 <= probe["steps"] <= probe["of_steps"] == 3
    memory = told["memory"]
    assert memory["peak_estimate"] == sum(n for name, n in memory.items() if name != "peak_estimate")
    assert memory["devices_of_a_shard"] == told["bytes"]
    assert list(Path().iterdir()) == []


def test_the_probe_stops(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetswap.bench.probe.ENOUGH_S", 0.0)
    told = planned(capsys, "phones", "--devices", "20", *SMALL, "--set", f"steps_per_day={2 * STEPS_AT_ONCE}")
    assert told["time"]["probe"]["steps"] == STEPS_AT_ONCE
    assert told["time"]["probe"]["of_steps"] == 2 * STEPS_AT_ONCE
    assert told["time"]["seconds"] > 0


def test_more_devices_take_more_work_and_no_more_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The probe runs to its end, on machines of any speed: what it counts is the same for all.
    monkeypatch.setattr("fleetswap.bench.probe.ENOUGH_S", 1e9)
    few, many = (planned(capsys, "phones", "--devices", n, *SMALL) for n in ("1000", "1000000"))
    assert 990 * few["time"]["page_events"] < many["time"]["page_events"] < 1010 * few["time"]["page_events"]
    assert many["memory"]["devices_of_a_shard"] < 600 << 20


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "phones", "--devices", "20", *SMALL]) == 0
    shown = capsys.readouterr().out
    for text in ("Bytes of a device, exact", "phone-16g", "folio contents", "ESTIMATE", "peak memory", "shards"):
        assert text.split()[0] in shown


def test_the_allocator_test(capsys: pytest.CaptureFixture[str]) -> None:
    small = ("region_mib=4", "zram_mib=8", "swapin_mib=1", "dontneed_mib=1", "iterations=2")
    told = planned(capsys, "allocator-test", "--devices", "9", *(w for one in small for w in ("--set", one)))
    # Every device under both policies; the warm-up and two iterations.
    assert [one["class"] for one in told["classes"]] == ["off", "on"]
    assert (told["devices"], told["steps"]) == (18, 3)
    for one in told["classes"]:
        assert (one["devices"], one["processes"]) == (9, 1)
        assert sum(one["groups"].values()) == one["device_bytes"]
    assert told["time"]["estimate"] is True


def test_breakeven(capsys: pytest.CaptureFixture[str]) -> None:
    small = ("memory_mib=4", "rounds=1", "step_percent=100")
    told = planned(capsys, "breakeven", "--devices", "3", *(w for one in small for w in ("--set", one)))
    # Three codecs: single pages, and two sizes of blocks with and without small folios at both rates.
    assert len(told["classes"]) == 3 * (1 + 4 * 2)
    assert {one["devices"] for one in told["classes"]} == {3}
    # mkswap, swapped out, read again.
    assert told["steps"] == 3
    assert told["time"]["page_events"] == sum(told["time"]["page_events_of_classes"].values())
    # Every page of every point is written, swapped out and read.
    assert told["time"]["page_events"] >= 27 * 3 * 3 * 1024


def test_a_gpu_is_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    told = planned(capsys, "phones", "--devices", "5000000", *SMALL, "--gpu", "rtx4090")
    gpu = told["gpu"]
    (one,) = gpu["workloads"].values()
    each = told["bytes"] / told["devices"]
    # 24 GB, a tenth left free.
    assert gpu["devices_of_a_shard"] == int(24e9 * 0.9 / each)
    assert gpu["shards"] == -(-5_000_000 // gpu["devices_of_a_shard"])
    assert one["page_events"] == told["time"]["page_events"]
    assert one["events_per_s"] == min(one["ceilings"].values()) == one["ceilings"][one["limit"]]
    assert gpu["seconds"] == pytest.approx(one["page_events"] / one["events_per_s"])
    assert gpu["device_hours_per_s"] == pytest.approx(5_000_000 * 24 / gpu["seconds"])
    assert 0 < one["resident_devices"] <= 128 * 1536


def test_an_allocator_test_is_predicted_under_both_policies(capsys: pytest.CaptureFixture[str]) -> None:
    small = ("region_mib=4", "zram_mib=8", "swapin_mib=1", "dontneed_mib=1", "iterations=2")
    words = [w for one in small for w in ("--set", one)]
    told = planned(capsys, "allocator-test", "--devices", "9", *words, "--gpu", "h100")
    parts = told["gpu"]["workloads"]
    assert set(parts) == {"allocator-test on", "allocator-test off"}
    assert all(one["resident_devices"] == 9 for one in parts.values())
    seconds = sum(one["page_events"] / one["events_per_s"] for one in parts.values())
    assert told["gpu"]["seconds"] == pytest.approx(seconds)
    assert told["gpu"]["events_per_s"] == pytest.approx(told["time"]["page_events"] / seconds)
    assert "device_hours_per_s" not in told["gpu"]


def test_the_prediction_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "phones", "--devices", "20", *SMALL, "--gpu", "h100"]) == 0
    shown = capsys.readouterr().out
    for text in ("NVIDIA H100", "PREDICTED, not measured", "page events/s, bound by", "device-hours a second"):
        assert text in shown


def test_a_device_larger_than_the_gpu_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = resources.files("fleetswap").joinpath("data", "gpus", "h100.toml").read_text()
    small = tmp_path / "small.toml"
    small.write_text(text.replace("value = 80000000000\n", "value = 1000\n"))
    told = planned(capsys, "phones", "--devices", "20", *SMALL, "--gpu", str(small))
    assert told["gpu"]["devices_of_a_shard"] == 0
    assert cli.main(["plan", "phones", "--devices", "20", *SMALL, "--gpu", str(small)]) == 0
    assert "a device is larger than its memory" in capsys.readouterr().out


def test_runs_are_cut_as_planned(capsys: pytest.CaptureFixture[str]) -> None:
    # Just more devices than fit a shard with the memory that their counters are folded in, but not without it.
    words = ("allocator-test", "--devices", "20", "--set", "iterations=1")
    each = planned(capsys, *words)["classes"][0]["device_bytes"]
    devices = SHARD_BYTES // each - 1
    fleet = plan_fleet([lay_out(load_any_scenario(words[0], ("iterations=1",), devices // 2))])
    assert fleet.devices * each <= SHARD_BYTES < fleet.devices * (each + FOLD_BYTES)
    assert fleet.shards == planned(capsys, words[0], "--devices", str(devices // 2), *words[3:])["shards"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["phones", "--gpu", "h1000"], "GPU 'h1000': unknown; allowed are a100, h100, h200, rtx4090, or a .toml file"),
        (["phones", "--gpu", "none.toml"], "none.toml: cannot be read"),
        (["breakeven", "--gpu", "h100"], "--gpu: what breakeven asks of a GPU was not counted; allowed are"),
        (["phone"], "unknown scenario 'phone'; did you mean phones?"),
        (["phones", "--set", "dayz=1"], "phones --set: dayz: unknown key"),
        (["allocator-test", "--set", "folio_kib=3"], "folio_kib: 3 is not possible"),
        (["phones", "--devices", "0"], "devices: 0 is not possible"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert cli.main(["plan", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
