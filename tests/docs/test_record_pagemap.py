"""The recorder of docs/census.md writes what the census reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fleetswap.cli import main

PROGRAM = Path(__file__).parents[2] / "docs" / "record_pagemap.py"


def test_no_process(tmp_path):
    out = tmp_path / "none.npz"
    done = subprocess.run([sys.executable, str(PROGRAM), str(out), "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(f"{out}: is not written, since no process could be read\n")
    assert not out.exists()


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="no /proc/self/pagemap here")
def test_this_process(tmp_path, capsys):
    touched = np.ones(64 << 20, np.uint8)
    out = tmp_path / "self.npz"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(out), str(os.getpid()), "0"], capture_output=True, text=True, check=True
    )
    assert "process 0: " in done.stderr
    with np.load(out) as file:
        arrays = {name: file[name] for name in file}
    assert set(arrays["process"].tolist()) == {os.getpid()}
    # The array is in one of the regions, all of its pages present or swapped out.
    page = touched.ctypes.data // 4096 + 1
    region = int(np.searchsorted(arrays["start"], page, side="right")) - 1
    first = arrays["offsets"][region] + page - arrays["start"][region]
    assert (arrays["pte"][first : first + 1000] >> np.uint64(62)).all()
    # Where nothing is swapped out there is nothing to see; where something is, only root sees slots.
    code = main(["census", str(out), "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["pages"] == len(arrays["pte"]) if code == 0 else "CAP_SYS_ADMIN" in said.err
