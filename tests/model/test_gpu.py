"""Ceilings of the GPU model against arithmetic by hand, and the files of GPUs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleetswap.bench import gpu_model
from fleetswap.bench.gpu import Figure, Gpu, gpu_names, load_gpu
from fleetswap.bench.gpu_model import Work, by_level, compiled_for, devices_that_fit, edges, predict, work_of
from fleetswap.errors import InputError


def figure(value: float) -> Figure:
    return Figure(value=value, source="made up for this test")


TOY = Gpu(
    title="toy",
    compute_capability="9.0",
    sms=figure(10),
    clock_mhz=figure(1000),
    memory_bytes=figure(1e9),
    memory_bandwidth_bytes_per_s=figure(64e9),
    l2_bytes=figure(128 * 2560 * 16),
    l1_bytes=figure(128 * 256 * 4),
    registers_per_sm=figure(65536),
    threads_per_sm=figure(2048),
    blocks_per_sm=figure(32),
    integer_results_per_clock=figure(64),
    alu_latency_cycles=figure(4),
    l1_lines_per_clock=figure(4),
    l1_latency_cycles=figure(40),
    l2_latency_cycles=figure(250),
    memory_latency_cycles=figure(500),
    l2_bytes_per_clock=figure(320),
)
"""With 256 threads an SM: 4 lines of L1 and 16 of L2 for each of 2560 threads."""


def counts(**by_edge: float) -> tuple[float, ...]:
    """Counts by reuse distance: a keyword is an upper end of a bin, ``far`` the last one."""
    found = [by_edge.get(f"to_{edge}", 0.0) for edge in edges()]
    return (*found, by_edge.get("far", 0.0))


WORK = Work(
    registers=222,
    instructions=200.0,
    depth=50.0,
    accesses=10.0,
    stores=4.0,
    chain=counts(to_4=3, to_16=1, far=0.5),
    fetches=counts(to_4=7, to_16=2, far=1),
    writebacks=counts(to_4=3, far=1),
    issue_factors={1: 1.0, 32: 4.0},
    time_factors={1: 1.0, 32: 2.0},
)


def test_every_ceiling_by_hand() -> None:
    found = predict(TOY, WORK, 1_000_000, per_warp=32)
    assert (found.threads_per_sm, found.resident_devices) == (256, 2560)
    assert (found.l1_lines, found.l2_lines) == (4, 16)
    assert found.chain == {"l1": 3, "l2": 1, "memory": 0.5}
    # (3 * 40 + 250 + 0.5 * 500 + 50 * 4) cycles, twice for the ways of a warp.
    assert found.cycles == 2 * 820
    # One sector fetched and one written back.
    assert found.memory_bytes == 64
    assert found.ceilings == {
        "latency": pytest.approx(2560 * 1e9 / 1640),
        "instruction issue": 10 * 1e9 * 64 / (200 * 4),
        "L1 lookups": 10 * 1e9 * 4 / 10,
        "memory bandwidth": 1e9,
        # 2 + 1 sectors that L1 lacks, and 4 stores that it writes through.
        "L2 bandwidth": pytest.approx(320 * 1e9 / (32 * 7)),
    }
    assert found.limit == "instruction issue"
    assert found.events_per_s == 0.8e9


def test_few_devices_leave_threads_idle_and_have_more_of_the_caches() -> None:
    found = predict(TOY, WORK, 256, per_warp=32)
    # Two blocks on two SMs, each alone there.
    assert (found.resident_devices, found.l1_lines, found.l2_lines) == (256, 8, 160)
    assert found.ceilings["instruction issue"] == 2 * 1e9 * 64 / 800
    assert found.chain == {"l1": 3, "l2": 1, "memory": 0.5}


def test_a_warp_of_one_device_parts_never_and_idles_on_31_lanes() -> None:
    found = predict(TOY, WORK, 1_000_000, per_warp=1)
    # Eight warps an SM: 128 lines of L1 and 512 of L2 for each.
    assert (found.threads_per_sm, found.resident_devices, found.l1_lines, found.l2_lines) == (256, 80, 128, 512)
    assert found.chain == {"l1": 4, "l2": 0, "memory": 0.5}
    assert found.cycles == 4 * 40 + 0.5 * 500 + 50 * 4
    assert found.ceilings["latency"] == pytest.approx(80 * 1e9 / 610)
    assert found.ceilings["instruction issue"] == 10 * 1e9 * 64 / (200 * 32)


@pytest.mark.parametrize(("devices", "per_warp"), [(1, 1), (80, 1), (81, 2), (160, 2), (161, 4), (641, 8), (10**6, 8)])
def test_a_launch_spreads_its_devices_over_the_warps_of_a_gpu(devices: int, per_warp: int) -> None:
    # Ten SMs of eight warps; more than eight devices never share one.
    work = replace(WORK, issue_factors=dict.fromkeys((1, 2, 4, 8), 1.0), time_factors=dict.fromkeys((1, 2, 4, 8), 1.0))
    found = predict(TOY, work, devices)
    assert found == predict(TOY, work, devices, per_warp)
    assert (found.per_warp, found.resident_devices) == (per_warp, min(devices, 640))


def test_a_ceiling_without_a_published_figure_is_left_out() -> None:
    without = TOY.model_copy(update={"l2_bytes_per_clock": None})
    assert "L2 bandwidth" not in predict(without, WORK, 1000, per_warp=32).ceilings


# 64 K registers: CUDA C++ Programming Guide. 222 are given as 224: 7168 a warp, nine warps, two blocks of four.
@pytest.mark.parametrize(
    ("registers", "name", "threads"), [(222, "h100", 256), (255, "h100", 256), (64, "h100", 1024), (32, "h100", 2048),
                                       (32, "rtx4090", 1536), (168, "a100", 384), (129, "a100", 384)],
)  # fmt: skip
def test_resident_threads(registers: int, name: str, threads: int) -> None:
    assert load_gpu(name).resident_threads(registers, 128) == threads


def test_a_bin_is_a_hit_only_if_all_of_it_is() -> None:
    some = counts(to_8=1, to_16=1, to_32=1)
    assert by_level(some, 15, 31) == {"l1": 1, "l2": 1, "memory": 1}
    assert by_level(some, 16, 32) == {"l1": 2, "l2": 1, "memory": 0}


def test_devices_that_fit_leave_a_tenth_free() -> None:
    assert devices_that_fit(TOY, 1e6) == 900


def test_built_in_gpus_name_a_source_for_every_figure() -> None:
    assert gpu_names() == ("a100", "h100", "h200", "rtx4090")
    for name in gpu_names():
        gpu = load_gpu(name)
        for key, value in gpu:
            if isinstance(value, Figure):
                assert "https://" in value.source, (name, key)
        assert compiled_for(gpu) in ("8.0", "9.0")


def test_a_gpu_of_ones_own(tmp_path: Path) -> None:
    text = Path("fleetswap/data/gpus/h100.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("value = 132\n", "value = 66\n"))
    assert load_gpu(str(mine)).sms.value == 66


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[sms]\nvalue = 132", "[sms]\nvalue = -1", "sms.value: -1 is not possible; allowed are numbers above 0"),
        ("[sms]", "[smz]", "smz: unknown key; did you mean sms?"),
        ("[sms]\nvalue = 132\n", "[sms]\n", "sms.value: is missing; allowed are numbers above 0"),
        (
            'compute_capability = "9.0"',
            'compute_capability = "9"',
            "compute_capability: '9' is not possible; allowed are texts",
        ),
        (
            'title = "',
            'tytle = 1\ntitle = "',
            "tytle: unknown key; did you mean title?",
        ),
        ("[sms]", "[sms", "is no TOML"),
    ],
)
def test_a_wrong_gpu_file_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = Path("fleetswap/data/gpus/h100.toml").read_text()
    assert old in text
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace(old, new))
    with pytest.raises(InputError) as raised:
        load_gpu(str(mine))
    assert message in str(raised.value)
    assert str(mine) in str(raised.value)


def test_an_unknown_gpu_names_those_that_are_known() -> None:
    with pytest.raises(
        InputError, match=r"GPU 'h900': unknown; allowed are a100, h100, h200, rtx4090, or a \.toml file"
    ):
        load_gpu("h900")


def test_a_gpu_too_old_for_the_kernels_is_refused() -> None:
    with pytest.raises(InputError, match=r"7\.0 is too old; allowed are 8\.0 and newer"):
        compiled_for(TOY.model_copy(update={"compute_capability": "7.0"}))


def test_more_registers_never_help() -> None:
    gpu = load_gpu("h100")
    threads = [gpu.resident_threads(n, 128) for n in range(16, 256)]
    assert threads == sorted(threads, reverse=True)


@pytest.mark.parametrize("name", ["a100", "h100", "h200", "rtx4090"])
def test_more_work_never_raises_a_ceiling(name: str) -> None:
    gpu = load_gpu(name)
    base = predict(gpu, WORK, 10**6, per_warp=32).ceilings
    changes = (
        {"instructions": 300.0},
        {"registers": 255},
        {"depth": 90.0},
        {"accesses": 20.0},
        {"stores": 9.0},
        {"chain": counts(far=9)},
        {"fetches": counts(far=9)},
        {"time_factors": {32: 3.0}},
        {"issue_factors": {32: 5.0}},
    )
    for change in changes:
        more = predict(gpu, replace(WORK, **change), 10**6, per_warp=32).ceilings
        assert all(more[limit] <= base[limit] for limit in base), change


def test_a_workload_is_what_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    n = len(edges())
    record = {
        "kernel": "run_devices", "page_events": 10, "instructions": 700, "alu": 300, "loads": 40, "stores": 20,
        "chain": [10] * (n + 1), "fetches": [20] * (n + 1), "writebacks": [5] * (n + 1),
        "divergence": {"together": {"32": {"issue_factor": 3.0, "time_factor": 2.0}}},
    }  # fmt: skip
    table = {"9.0": {"run_devices": {"registers": 64, "instructions": 300, "ptx_instructions": 200}}}
    monkeypatch.setattr(gpu_model, "events", lambda: {"workloads": {"some": record}})
    monkeypatch.setattr(gpu_model, "registers", lambda: table)
    found = work_of("some", TOY)
    assert found.registers == 64
    # Half as many machine instructions again as PTX instructions.
    assert found.instructions == pytest.approx(700 / 10 * 1.5)
    assert (found.depth, found.accesses, found.stores) == (30, 6, 2)
    assert (found.chain[0], found.fetches[-1], found.writebacks[0]) == (1, 2, 0.5)
    assert (found.issue_factors, found.time_factors) == ({32: 3.0}, {32: 2.0})
