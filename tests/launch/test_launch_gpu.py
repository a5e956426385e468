"""The host's side of the backend cuda, on a GPU that is not there: what is missing, memory, streams, errors."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fleetswap.cli import main
from fleetswap.errors import InputError
from fleetswap.fleet.backend import open_backend
from fleetswap.fleet.pieces import Shard, cut
from fleetswap.fleet.shard import fleet_bytes
from fleetswap.job.plan import plan_fleet
from fleetswap.script.language import parse_script
from fleetswap.script.program import compile_script
from fleetswap.workload.laid_out import LaidOut
from fleetswap.workload.lay_out import lay_out
from fleetswap.workload.metrics import METRICS
from fleetswap_kernels.backend.arena import Arena, DeviceError, device_bytes
from fleetswap_kernels.backend.choose import BACKENDS, ONE_THREAD, choose
from fleetswap_kernels.backend.contract import Backend, BackendMissingError, DeviceMemoryError
from fleetswap_kernels.backend.cuda import gpu as launch_gpu
from fleetswap_kernels.backend.tally import FOLD_BYTES
from fleetswap_kernels.device.figures.fold import N_FACTS
from fleetswap_kernels.device.figures.log_bin import BINS
from fleetswap_kernels.layout import errors
from fleetswap_kernels.layout.counters import N_COUNTERS
from tests.fleet.shards import run_shards
from tests.launch.fake_gpu import FakeGpu
from tests.properties.phones import tiny

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed")
SCRIPT = "cfg thp 64=always\ncfg zram 4M lz4\nmap A 64 9 hugepage\nwrite A 0 64 mix:1\npageout A 0 64\nread A 0 64\n"


# What is missing


@pytest.fixture
def gpu() -> FakeGpu:
    """A GPU to be changed before it is installed."""
    return FakeGpu()


@pytest.mark.parametrize(
    ("absent", "named"),
    [
        (["cupy"], "cupy not installed: .* -m pip install -e"),
        (["numba_cuda"], "numba-cuda not installed: .* -m pip install -e"),
        (["cupy", "numba_cuda"], "cupy and numba-cuda not installed: .* -m pip install -e"),
    ],
)
@pytest.mark.usefixtures("fake_gpu")
def test_packages_that_are_missing(absent: list[str], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else real(name))
    with pytest.raises(BackendMissingError, match=named):
        choose("cuda")


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"no_driver": True}, "no NVIDIA driver: libcuda.so.1"),
        ({"no_answer": "cudaErrorInsufficientDriver: CUDA driver version is insufficient"}, "InsufficientDriver"),
        ({"no_answer": "cudaErrorNoDevice: no CUDA-capable device is detected"}, "shows no device: cudaErrorNoDevice"),
        ({"devices": 0}, "no device"),
        ({"no_compiler": True}, "no CUDA compiler: libNVVM is not available: "),
        ({"total_bytes": 200 << 20}, "too little memory: 209,715,200 of 209,715,200 bytes are free"),
    ],
)
def test_what_is_missing_is_named(
    state: dict[str, object], named: str, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    vars(gpu).update(state)
    gpu.install(monkeypatch)
    with pytest.raises(BackendMissingError, match=named):
        choose("cuda")
    # auto goes on without it, and says why.
    backend, why = choose("auto", 3)
    assert (backend.name, backend.threads) == ("cpu", 3)
    assert why.startswith("auto: no cuda, ")
    assert named in why
    with pytest.raises(InputError, match=r"^backend cuda: .*; allowed here are auto, cpu$"):
        open_backend("cuda")


@pytest.mark.usefixtures("fake_gpu")
def test_auto_takes_a_gpu_and_says_so() -> None:
    chosen = open_backend("auto", 2)
    assert chosen.backend.name == "cuda"
    assert chosen.line().startswith("backend cuda: Fake GPU, compute capability 9.0, ")
    assert chosen.line().endswith("(auto: a GPU can be used)")


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="'tpu' is not possible; allowed are auto, cpu, cuda"):
        open_backend("tpu")


# The command line


def fleet(folder: Path, *words: str) -> dict[str, object]:
    """Run a small fleet; its manifest."""
    small = ("--devices", "90", "--set", "page_scale=512", "--set", "steps_per_day=2")
    assert main(["run", "phones", *small, "--out", str(folder), *words]) == 0
    told: dict[str, object] = json.loads((folder / "manifest.json").read_text())
    return told


@pytest.mark.usefixtures("fake_gpu")
def test_the_manifest_tells_where_it_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = fleet(tmp_path / "run")
    assert (told["backend"], told["threads"]) == ("cuda", 1)
    device = told["device"]
    assert isinstance(device, dict)
    assert device["name"] == "Fake GPU"
    assert device["cuda_driver"] == "13.1"
    assert device["why"] == "auto: a GPU can be used"
    assert device["out_of_memory"] == []
    assert device["spent"]["result_bytes"] > 0
    assert "backend cuda: Fake GPU" in capsys.readouterr().err


def test_a_backend_that_is_missing_is_one_line(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu.no_driver = True
    gpu.install(monkeypatch)
    assert main(["run", "--backend", "cuda"]) == 2
    assert capsys.readouterr().err == (
        "fleetswap: backend cuda: no NVIDIA driver: libcuda.so.1 cannot be loaded; allowed here are auto, cpu\n"
    )


# Memory


def room_for(devices: int, laid_out: LaidOut) -> int:
    """Bytes of a GPU whose memory ends at so many devices."""
    kind = laid_out.blueprints[0]
    assert kind.model is not None
    # State, counters, start, number, what is folded; the model; an empty tally and a lane's (bins, sums, counters of
    # one class); tables of prices and counters, a program, the lanes' words and what is lost to rounding.
    tally = 2 * 8 * (len(METRICS) * (BINS + N_FACTS) + N_COUNTERS)
    return (
        devices * (device_bytes(kind.sizes) + 8 * N_COUNTERS + 16 + FOLD_BYTES) + kind.model.nbytes + tally + 40 * 512
    )


def test_shards_are_cut_to_free_memory(fake_gpu: FakeGpu) -> None:
    scenario = tiny(devices=1000)
    laid_out = lay_out(scenario)
    backend, _ = choose("cuda")
    assert plan_fleet([laid_out], backend.devices_at_once).shards == 1
    # Another program takes all but 400 MiB; 4 MiB are stacks (2 * 1024 of 2 KiB), 256 code, 12.5 margin: 127.5 remain.
    fake_gpu.used_bytes = fake_gpu.total_bytes - (400 << 20)
    each = -(-fleet_bytes(laid_out) // 1000)
    at_once = int(127.5 * (1 << 20)) // (each + 8 * N_COUNTERS + 16 + FOLD_BYTES)
    large = tiny(devices=20_000)
    assert plan_fleet([lay_out(large)], backend.devices_at_once).shards == -(-20_000 // at_once)


def test_a_shard_that_does_not_fit_is_halved(fake_gpu: FakeGpu) -> None:
    scenario = tiny("steps_per_day=2", devices=40)
    laid_out = lay_out(scenario)
    backend, _ = choose("cuda")
    expected = next(run_shards(laid_out, cut(40, 1), ONE_THREAD)).counters
    each = device_bytes(laid_out.blueprints[0].sizes)
    fake_gpu.total_bytes = room_for(12, laid_out)
    told: list[int] = []
    found = list(run_shards(laid_out, cut(40, 2), backend, told.append))
    # 20 do not fit, nor may 10 and 10 at a time be more than 12; the second shard is not even tried whole.
    assert [(r.shard.number, r.shard.first, r.shard.end) for r in found] == [
        (0, 0, 10),
        (0, 10, 20),
        (1, 20, 30),
        (1, 30, 40),
    ]
    assert sum(told) == 40 * 2
    assert np.array_equal(np.concatenate([r.counters for r in found]), expected)
    refused = backend.facts()["out_of_memory"]
    assert [r["devices"] for r in refused] == [20]
    assert refused[0]["asked_bytes"] == 20 * each
    assert refused[0]["free_bytes"] <= fake_gpu.total_bytes


def test_no_room_for_stacks_at_a_launch_halves_too(fake_gpu: FakeGpu) -> None:
    # Queued work, and the progress told, are those of a shard that is thrown away.
    scenario = tiny("steps_per_day=2", devices=64)
    laid_out = lay_out(scenario)
    backend, _ = choose("cuda")
    expected = next(run_shards(laid_out, cut(64, 1), ONE_THREAD)).counters
    # Two lanes: two launches to gather, four to initialise, four for the first step; the second step fails.
    fake_gpu.out_of_memory_at_launch = 11
    told: list[int] = []
    found = list(run_shards(laid_out, cut(64, 1), backend, told.append))
    assert [r.shard for r in found] == [Shard(0, 0, 32), Shard(0, 32, 64)]
    assert told == [32, 32, -64, 32, 32, 32, 32]
    assert np.array_equal(np.concatenate([r.counters for r in found]), expected)


def test_memory_that_runs_out_while_laying_out_is_told_once(fake_gpu: FakeGpu) -> None:
    compiled = compile_script(parse_script(SCRIPT))
    backend, _ = choose("cuda")
    fake_gpu.out_of_memory_at_launch = 1
    with pytest.raises(DeviceMemoryError, match=r"^7 devices of .* bytes do not fit: CUDA_ERROR_OUT_OF_MEMORY"):
        Arena([(compiled.blueprint, 7)], backend=backend)
    assert [one["devices"] for one in backend.facts()["out_of_memory"]] == [7]


def test_one_device_that_does_not_fit_is_an_error(fake_gpu: FakeGpu) -> None:
    scenario = tiny(devices=3)
    laid_out = lay_out(scenario)
    backend, _ = choose("cuda")
    fake_gpu.total_bytes = device_bytes(laid_out.blueprints[0].sizes) // 2
    with pytest.raises(DeviceMemoryError, match=r"1 devices of .* bytes do not fit: Out of memory"):
        list(run_shards(laid_out, cut(3, 1), backend))


@pytest.mark.usefixtures("fake_gpu")
def test_other_errors_are_not_taken_for_exhausted_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, _ = choose("cuda")

    def broken(**_: object) -> None:
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

    monkeypatch.setattr(backend.cupy.cuda, "Stream", broken)
    with pytest.raises(RuntimeError, match="IllegalAddress"):
        Arena([(compile_script(parse_script(SCRIPT)).blueprint, 2)], backend=backend)
    assert backend.facts()["out_of_memory"] == []


def test_memory_is_given_back(fake_gpu: FakeGpu) -> None:
    scenario = tiny(devices=50)
    laid_out = lay_out(scenario)
    backend, _ = choose("cuda")
    list(run_shards(laid_out, cut(50, 5), backend))
    assert fake_gpu.used_bytes == 0
    # One shard at a time.
    assert fake_gpu.most_bytes <= room_for(10, laid_out)


# What crosses the bus


def test_one_device_of_each_kind_is_uploaded(fake_gpu: FakeGpu) -> None:
    compiled = [compile_script(parse_script(SCRIPT.replace("4M", size))).blueprint for size in ("4M", "7M")]
    backend, _ = choose("cuda")
    arena = Arena([(compiled[0], 37), (compiled[1], 100)], backend=backend)
    uploads = [args[0].nbytes for name, args, _ in fake_gpu.calls if name == "ndarray.set"]
    small, large = (device_bytes(one.sizes) for one in compiled)
    # Starts and numbers of 137 devices, the model, the images, and what no lane has failed of.
    assert uploads == [138 * 8, 137 * 8, arena.models.nbytes, small, large, 4 * 8]
    # 37 from 1: 1, 2, 4, 8, 16, then 5 more; 100: 1, 2, 4, 8, 16, 32, then 36.
    copies = [args[1] for name, args, _ in fake_gpu.calls if name == "cuda.MemoryPointer.copy_from_device_async"]
    assert copies == [n * small for n in (1, 2, 4, 8, 16, 5)] + [n * large for n in (1, 2, 4, 8, 16, 32, 36)]


def test_only_results_come_back(fake_gpu: FakeGpu) -> None:
    compiled = compile_script(parse_script(SCRIPT))
    backend, _ = choose("cuda")
    arena = Arena([(compiled.blueprint, 100)], backend=backend)
    for work in (arena.init, lambda: arena.run(compiled.program, 0, len(compiled.program))):
        before = fake_gpu.copied_to_host
        work()
        arena.counters()
        arena.check()
        # Counters of every device, and a word of each of the four lanes.
        assert fake_gpu.copied_to_host - before == 100 * 8 * N_COUNTERS + 4 * 8


def test_a_program_is_uploaded_once(fake_gpu: FakeGpu) -> None:
    compiled = compile_script(parse_script(SCRIPT))
    backend, _ = choose("cuda")
    arena = Arena([(compiled.blueprint, 2)], backend=backend)
    arena.init()
    for first in range(len(compiled.program)):
        arena.run(compiled.program, first, first + 1)
    sets = [args[0] for name, args, _ in fake_gpu.calls if name == "ndarray.set"]
    assert sum(one.shape == compiled.program.shape for one in sets) == 1


# Streams and launches


def test_lanes_have_streams_and_copies_overlap_kernels(fake_gpu: FakeGpu) -> None:
    scenario = tiny(devices=130)
    backend, _ = choose("cuda")
    arena, _ = lay_out(scenario).arena(backend=backend)
    fake_gpu.launches.clear()
    fake_gpu.calls.clear()
    arena.init()
    kernels = [(name, stream) for name, _, _, stream in fake_gpu.launches]
    lanes = [stream for name, stream in kernels if name == "init_devices"]
    assert len(set(lanes)) == 4
    # Everything is queued before anything is waited for: a lane's results can come while others compute.
    assert kernels == [(name, stream) for stream in lanes for name in ("init_devices", "gather_counters")]
    order = [name for name, _, _ in fake_gpu.calls if name in ("ndarray.get", "cuda.Stream.synchronize")]
    assert order == ["ndarray.get"] * 8 + ["cuda.Stream.synchronize"] * 4


@pytest.mark.parametrize(("devices", "lanes"), [(1, 1), (32, 1), (33, 2), (96, 3), (97, 4), (1000, 4)])
def test_a_lane_is_a_warp_at_least(devices: int, lanes: int, fake_gpu: FakeGpu) -> None:
    compiled = compile_script(parse_script(SCRIPT))
    backend, _ = choose("cuda")
    Arena([(compiled.blueprint, devices)], backend=backend)
    assert len({stream for name, _, _, stream in fake_gpu.launches if name == "gather_counters"}) == lanes


@pytest.mark.parametrize(
    ("blocks", "block", "grid"),
    [
        # 100 devices in 4 lanes of 25. All sizes hold 256 threads: the smallest.
        ({32: 8, 64: 4, 128: 2, 256: 1}, 32, 1),
        # 32 * 6 = 192, 64 * 4 = 256, 128 * 2 = 256: at most so many blocks fit, however small.
        ({32: 6, 64: 4, 128: 2}, 64, 1),
        ({32: 1, 64: 1, 128: 1, 256: 1}, 256, 1),
    ],
)
def test_blocks_from_occupancy(
    blocks: dict[int, int], block: int, grid: int, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.blocks = blocks
    gpu.install(monkeypatch)
    compiled = compile_script(parse_script(SCRIPT))
    backend, _ = choose("cuda")
    arena = Arena([(compiled.blueprint, 100)], backend=backend)
    arena.init()
    found = {(name, g, b) for name, g, b, _ in gpu.launches}
    # A loop takes as many blocks as the GPU, of two multiprocessors, holds at once.
    assert found == {("init_devices", grid, block), ("gather_counters", 2 * blocks[block], block)}


@pytest.mark.parametrize(
    ("devices", "per_warp"), [(1, 1), (16, 1), (17, 2), (32, 2), (33, 4), (65, 8), (100, 8), (128, 8), (1000, 8)]
)
def test_devices_share_a_warp_if_they_must(devices: int, per_warp: int, fake_gpu: FakeGpu) -> None:
    # Two multiprocessors of eight warps.
    compiled = compile_script(parse_script(SCRIPT))
    backend, _ = choose("cuda")
    arena = Arena([(compiled.blueprint, devices)], backend=backend)
    arena.init()
    fake_gpu.launches.clear()
    arena.run(compiled.program, 0, len(compiled.program))
    warps = [grid * block // 32 for name, grid, block, _ in fake_gpu.launches if name == "run_devices"]
    lanes = [devices * (i + 1) // len(warps) - devices * i // len(warps) for i in range(len(warps))]
    assert warps == [-(-n // per_warp) for n in lanes]


# Errors of devices


@pytest.mark.parametrize("broken", [[0], [99], [40, 70], [25, 24, 99]])
@pytest.mark.usefixtures("fake_gpu")
def test_the_first_device_that_failed_is_named(broken: list[int]) -> None:
    # Only those devices have a program that they cannot run: the others have frames for it.
    compiled = compile_script(parse_script(SCRIPT))
    short = replace(compiled.blueprint, sizes=replace(compiled.blueprint.sizes, frames=40))
    backend, _ = choose("cuda")
    kinds = [(short if d in broken else compiled.blueprint, 1) for d in range(100)]
    for chosen in (ONE_THREAD, backend):
        arena = Arena(kinds, backend=chosen)
        arena.init()
        with pytest.raises(DeviceError) as error:
            arena.run(compiled.program, 0, len(compiled.program))
        assert (error.value.device, error.value.code) == (min(broken), errors.NO_FRAMES)


def test_devices_that_were_kept_come_back(backend: Backend) -> None:
    compiled = compile_script(parse_script(SCRIPT))
    arena = Arena([(compiled.blueprint, 70)], backend=backend)
    arena.init()
    before, counted = arena.memory.copy(), arena.counters()
    arena.run(compiled.program, 0, len(compiled.program))
    assert not np.array_equal(arena.memory, before)
    arena.memory = before
    assert np.array_equal(arena.memory, before)
    assert np.array_equal(arena.counters(), counted)


def test_an_error_is_forgotten_with_the_devices_that_had_it(backend: Backend) -> None:
    compiled = compile_script(parse_script(SCRIPT))
    short = replace(compiled.blueprint, sizes=replace(compiled.blueprint.sizes, frames=40))
    arena = Arena([(short, 70)], backend=backend)
    arena.init()
    before = arena.memory.copy()
    with pytest.raises(DeviceError):
        arena.run(compiled.program, 0, len(compiled.program))
    # An error stays until then, also over a launch that does nothing.
    with pytest.raises(DeviceError):
        arena.run(compiled.program, 0, 0)
    arena.memory = before
    arena.run(compiled.program, 0, 0)


def test_names_that_the_backend_goes_by() -> None:
    assert BACKENDS == ("auto", "cpu", "cuda")
    assert launch_gpu.CudaBackend.name == "cuda"
