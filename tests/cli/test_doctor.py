"""`fleetswap doctor` says which backends there are, what their memory holds, and what is missing."""

from __future__ import annotations

import pytest

from fleetswap.cli import main
from tests.launch.fake_gpu import FakeGpu


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Lines by backend."""
    assert main(["doctor"]) == 0
    found: dict[str, list[str]] = {}
    lines = capsys.readouterr().out.splitlines()
    name = ""
    for line in lines:
        if line.startswith("backend "):
            _, name, rest = line.split(None, 2)
            found[name] = [rest]
        elif name:
            found[name].append(line.strip())
    return found


def test_a_gpu_and_its_memory_plan(fake_gpu: FakeGpu, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys)
    assert found["cuda"][0].startswith("yes: Fake GPU, compute capability 9.0, 0.7 GiB for devices")
    # 2 * 1024 stacks of 2 KiB, 256 MiB of code, a 32nd of what is free.
    kept = (4 << 20) + (256 << 20) + fake_gpu.total_bytes // 32
    assert {f"total_bytes {fake_gpu.total_bytes:,}", f"kept_bytes {kept:,}"} <= set(found["cuda"])
    assert "lanes 4" in found["cuda"]
    assert found["cuda"][1].startswith("`fleetswap run phones` takes ")
    assert found["auto"] == ["cuda (a GPU can be used)"]


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    gpu = FakeGpu()
    gpu.no_driver = True
    gpu.install(monkeypatch)
    found = told(capsys)
    assert found["cuda"] == ["no: no NVIDIA driver: libcuda.so.1 cannot be loaded"]
    assert found["cpu"][0].startswith("yes: ")
    assert found["auto"] == ["cpu (no cuda, no NVIDIA driver: libcuda.so.1 cannot be loaded)"]
