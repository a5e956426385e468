"""`fleetswap bench --backend`: whole fleets on a backend beside the CPU. How fast anything is, no test says."""

from __future__ import annotations

import json

import pytest

from fleetswap.cli import main
from fleetswap_kernels.backend.cuda import state as gpu_state


def test_json_carries_every_load(backend_words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *backend_words, "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["backend"] == backend_words[1]
    assert set(told["loads"]) == {"allocator-test on", "allocator-test off", "phones"}
    for found in told["loads"].values():
        assert found["equal"] is True
        assert found["devices"] == 128
        assert found["cpu"]["devices"] == 4
        assert found["events"] > found["cpu"]["events"] > 0
        assert found["events_per_s"] == pytest.approx(found["events"] / found["run_s"])
        assert found["over_cpu"] == pytest.approx(found["events_per_s"] / found["cpu"]["events_per_s"])
        # A load tells its own transfer; the CPU has none.
        assert found["cpu"]["spent"] == {}
        assert (found["spent"] == {}) == (backend_words[1] == "cpu")
    assert {"events", "spent", "equal"} <= told["definitions"].keys()


def test_transfer_is_shown_for_people(fake_gpu: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert fake_gpu
    assert main(["bench", "--backend", "cuda", "--quick"]) == 0
    told = capsys.readouterr().out
    assert told.count("every counter equal to the CPU") == 3
    assert told.count("bytes came back") == 3
    # Counters of 128 devices, 8 bytes each, after laying out, after init, and after each of three steps; four words.
    from fleetswap_kernels.layout.counters import N_COUNTERS

    assert f"{5 * (128 * 8 * N_COUNTERS + 4 * 8):,} bytes came back" in told


def test_a_difference_from_the_cpu_fails(
    fake_gpu: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fake_gpu
    real = gpu_state.CudaState.counters

    def wrong(self: gpu_state.CudaState):
        found = real(self)
        found[-125, 3] += 1
        return found

    monkeypatch.setattr(gpu_state.CudaState, "counters", wrong)
    assert main(["bench", "--backend", "cuda", "--quick"]) == 1
    assert "FAIL: differs from the CPU" in capsys.readouterr().out
