"""`fleetswap census`: figures of files made by hand, and one line for every file that cannot be."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from fleetswap.cli import main
from fleetswap.commands import census as command

SWAPPED = 1 << 62


def words(slots):
    """Pagemap words, by hand."""
    return np.array([SWAPPED | slot << 5 for slot in slots], np.uint64)


@pytest.fixture
def saved(tmp_path):
    """Saves arrays; the path of the file."""

    def save(**arrays):
        path = tmp_path / "tables.npz"
        np.savez(path, **arrays)
        return str(path)

    return save


@pytest.fixture
def phone(saved):
    """Two processes: 40 pages in three regions, 33 of them swapped out.

    Process 71: 16 pages at 16 in slots 16..31, and 8 pages at 100 in slots 200..207, whose slots are congruent to
    addresses modulo 4. Process 9: 7 pages not swapped out, then 9 pages at slots 300, 302, ...
    """
    pte = np.concatenate(
        [words(range(16, 32)), words(range(200, 208)), np.zeros(7, np.uint64), words(range(300, 318, 2))]
    )
    return saved(pte=pte, offsets=[0, 16, 24, 40], start=[16, 100, 0], process=[71, 71, 9])


def run(capsys, *arguments):
    assert main(["census", *arguments]) == 0
    return capsys.readouterr().out


def test_json(capsys, phone):
    found = json.loads(run(capsys, phone, "--json"))
    assert found == {
        "file": phone,
        "backend": "cpu",
        "orders": [2, 3, 4, 5, 6, 7, 8],
        "processes": 2,
        "regions": 3,
        "pages": 40,
        "swapped_pages": 33,
        "pages_by_order": {"0": 9, "2": 8, "3": 0, "4": 16, "5": 0, "6": 0, "7": 0, "8": 0},
        "runs_by_slots": {"1": 9, "2": 0, "4": 0, "8": 1, "16": 1, "32": 0, "64": 0, "128": 0, "256": 0, "512": 0},
        "per_process": {
            "swapped_pages": {"p5": 9, "p50": 9, "p95": 24},
            "alone_permille": {"p5": 0, "p50": 0, "p95": 1000},
        },
        "blocks": None,
    }
    assert json.loads(run(capsys, phone, "--json", "--orders", "3,8"))["pages_by_order"]["3"] == 16


def test_any_cut_into_parts_and_threads(capsys, phone, monkeypatch):
    whole = run(capsys, phone, "--json", "--threads", "1")
    monkeypatch.setattr(command, "PART_PAGES", 1)
    assert run(capsys, phone, "--json", "--threads", "3") == whole


def test_the_table_for_people(capsys, phone):
    lines = [line.split() for line in run(capsys, phone).splitlines() if line.strip()]
    assert ["4K,", "alone", "9", "27.3", "%", "100.0", "%"] in lines
    assert ["64K", "16", "48.5", "%", "48.5", "%"] in lines
    assert ["8-15", "1"] in lines
    assert ["512+", "0"] in lines


def test_slots_and_what_the_kernel_knows_of_them(capsys, saved):
    swap_map = np.ones(32, np.uint8)
    swap_map[[0, 24]] = 0x3F, 2
    found = json.loads(
        run(capsys, saved(slot=[*range(16, 32), -1], swap_map=swap_map, zeromap=np.zeros(4, np.uint8)), "--json")
    )
    # Page 8's entry is shared: it comes back alone.
    assert {k: n for k, n in found["pages_by_order"].items() if n} == {"0": 1, "4": 15}
    assert found["blocks"]["3"] == {"blocks": 4, "free": 0, "used_alike": 2, "zeros": 0, "no_zeros": 4}
    assert found["blocks"]["6"]["blocks"] == 0


def test_nothing_swapped_out(capsys, saved):
    found = json.loads(run(capsys, saved(pte=np.full(5, 1 << 63, np.uint64)), "--json"))
    assert (found["swapped_pages"], found["per_process"]["swapped_pages"]["p50"]) == (0, 0)
    assert "4K, alone" in run(capsys, saved(pte=np.zeros(0, np.uint64)))


GOOD = {"pte": words(range(16, 32))}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ptes": [1]}, "array 'ptes' is unknown; allowed are pte, slot, offsets, start, process, swap_map, zeromap"),
        ({"offsets": [0, 1]}, "expected exactly one of the arrays pte and slot"),
        (GOOD | {"slot": [1]}, "expected exactly one of the arrays pte and slot"),
        ({"pte": np.zeros(3, np.int32)}, "pte has shape (3,) and type int32; expected (pages,) and uint64"),
        ({"slot": [0.5]}, "slot has shape (1,) and type float64; expected (pages,) and integers"),
        ({"slot": [1, -5]}, "slot[1] is -5; allowed are -1 (not swapped out) to 1125899906842623"),
        ({"slot": np.array([1 << 63], np.uint64)}, "slot[0] is 9223372036854775808; allowed are values below 2^63"),
        (GOOD | {"offsets": [0, 9]}, "offsets[1] is 9; expected 16, the number of pages"),
        (GOOD | {"offsets": np.zeros(0, int)}, "offsets has shape (0,) and type int64; expected (rows + 1,) and int64"),
        (GOOD | {"start": [1, 2]}, "start has shape (2,) and type int64; expected (1,) and int64"),
        (GOOD | {"start": [-1]}, "start[0] is -1; allowed are 0 to 2251799813685248"),
        (GOOD | {"process": [[1]]}, "process has shape (1, 1) and type int64; expected (regions,) and integers"),
        (GOOD | {"process": [1, 2]}, "process has shape (2,); expected (1,), one number for each region"),
        (
            GOOD | {"offsets": [0, 1, 2, 16], "process": [7, 8, 7]},
            "process[2] is 7 once more; regions of a process stand together",
        ),
        (GOOD | {"zeromap": [1]}, "zeromap without swap_map, whose length is the number of slots"),
        (GOOD | {"swap_map": [1]}, "swap_map has shape (1,) and type int64; expected one dimension and uint8"),
        (
            GOOD | {"swap_map": np.ones(32, np.uint8), "zeromap": np.ones(3, np.uint8)},
            "zeromap has shape (3,); expected (4,), a bit for each slot",
        ),
        (
            GOOD | {"swap_map": np.ones(31, np.uint8)},
            "pte[15] is 0x40000000000003e0: slot 31 of swap type 0; allowed are slots below 31 of swap areas 0 to 0",
        ),
        ({"pte": words([0, 0])}, "pte: every swapped page is in slot 0: record pagemap with CAP_SYS_ADMIN, as root"),
    ],
)  # fmt: skip
def test_files_that_cannot_be(capsys, saved, arrays, message):
    path = saved(**arrays)
    assert main(["census", path]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", f"fleetswap: {path}: {message}")


def test_a_page_is_named_by_its_place_in_the_file(capsys, saved, monkeypatch):
    monkeypatch.setattr(command, "PART_PAGES", 1)
    path = saved(slot=[1, 2, 3, 99], offsets=[0, 2, 4], swap_map=np.ones(10, np.uint8))
    assert main(["census", path]) == 2
    assert ": pte[3] is 0x4000000000000c60: slot 99 " in capsys.readouterr().err


def test_no_npz(capsys, tmp_path):
    def said(path):
        assert main(["census", str(path)]) == 2
        return capsys.readouterr().err

    assert re.search(r"nowhere.npz: cannot be read: No such file", said(tmp_path / "nowhere.npz"))
    text = tmp_path / "text.npz"
    for content in (b"", b"pte\n", b"PK\x03\x04"):
        text.write_bytes(content)
        assert f"{text}: is no .npz file: " in said(text)
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert "is no .npz file" in said(tmp_path / "one.npy")
    np.savez(text, pte=np.array([{}], object))
    assert "is no .npz file" in said(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--orders", "1,4"), "--orders '1': cannot be; allowed are 2 to 8, separated by commas"),
        (("--orders", ""), "--orders '': cannot be; allowed are 2 to 8, separated by commas"),
        (("--backend", "tpu"), "backend: 'tpu' is not possible; allowed are auto, cpu, cuda"),
    ],
)
def test_options_that_cannot_be(capsys, phone, words, message):
    assert main(["census", phone, *words]) == 2
    assert capsys.readouterr().err == f"fleetswap: {message}\n"


def test_a_gpu_that_is_not_there(capsys, phone, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["census", phone, "--backend", "cuda"]) == 2
    assert re.search(
        r"^fleetswap: backend cuda: cupy not installed: .*; allowed here are auto, cpu$", capsys.readouterr().err
    )


@pytest.mark.usefixtures("fake_gpu")
def test_a_gpu_finds_the_same(capsys, saved):
    swap_map = np.ones(64, np.uint8)
    swap_map[[5, 40]] = 2, 0x41
    file = saved(pte=words(range(64)), swap_map=swap_map, start=[0])
    found = {name: json.loads(run(capsys, file, "--json", "--backend", name)) for name in ("cpu", "cuda", "auto")}
    assert [one.pop("backend") for one in found.values()] == ["cpu", "cuda", "cuda"]
    assert found["cuda"] == found["auto"] == found["cpu"]
    assert found["cpu"]["pages_by_order"]["5"] == 31
