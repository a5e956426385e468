"""Draws at both ends of their range: none selects anything beyond the table it is looked up in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fleetswap.workload.laid_out import deal_classes
from tests.properties.phones import tiny

PROGRAM = Path(__file__).with_name("run_draws.py")
SHORT = ("steps_per_day=6", "behaviour.switches_per_day=6", "behaviour.session_minutes=5")
HIGHEST = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def drawn(word, *settings):
    """What a phone is whose every draw is one word."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | {"NUMBA_DISABLE_JIT": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    words = [sys.executable, str(PROGRAM), hex(word), *SHORT, *settings]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("recent", [0, 60, 100])
@pytest.mark.parametrize("word", [0, HIGHEST])
def test_a_phone_of_extreme_draws(word, recent):
    scenario = tiny(*SHORT)
    phone = drawn(word, f"behaviour.relaunch_of_recent_percent={recent}")
    apps = scenario.device_class["phone"].installed_apps
    # Classes are large and small, in this order; the system's own stands behind them.
    last = word == HIGHEST
    assert phone["classes"] == [int(last)] * apps
    # Sizes differ by up to 25 % in 1/65536; a page is 1 MiB. The highest draw is just below the whole spread.
    full = [app.anon_5min_mib for app in scenario.app_class.values()][int(last)]
    factor = 65536 + 16384 - 1 if last else 65536 - 16384
    assert phone["pages"] == [full * factor >> 16] * apps
    assert phone["activity"] == scenario.behaviour.activity_q16[-1 if last else 0]
    assert set(phone["opened"]) <= set(range(1, apps + 1))
    assert len(phone["opened"]) > 1
    if recent == 0:
        # By popularity the first or the last app; the one in the foreground gives way to the next in the circle.
        assert set(phone["opened"]) == ({apps, 1} if last else {1, 2})


@pytest.mark.parametrize("word", [0, HIGHEST])
def test_one_class_of_apps_and_one_app(word):
    shares = ("app_class.small.share=1000000", "app_class.large.share=1")
    phone = drawn(word, *shares, "device_class.phone.installed_apps=1")
    # The rarer class has the lowest of a million draws.
    assert phone["classes"] == [int(word == HIGHEST)]
    assert phone["opened"] == [1]


@pytest.mark.parametrize("place", [0, HIGHEST])
@pytest.mark.parametrize("shares", [(1,), (1, 1_000_000), (1_000_000, 1), (3, 5, 7)])
def test_the_class_of_a_device_at_both_ends(place, shares):
    # The number whose golden-ratio step lands there.
    number = place * pow(GOLDEN, -1, 1 << 32) & HIGHEST
    found = deal_classes(shares, number, number + 1)
    assert found.tolist() == [len(shares) - 1 if place else 0]
    assert found.dtype == np.int64
