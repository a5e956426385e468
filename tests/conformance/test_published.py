"""The patch's tables and those of a real kernel come out number for number."""

from __future__ import annotations

import json

import pytest

from fleetswap.cli import main
from fleetswap.conformance import tables as validate
from fleetswap.conformance.published import KERNEL_TABLES, PATCH_OFF, kernel_table


@pytest.mark.parametrize("large_swapin", [False, True])
def test_patch_tables(large_swapin: bool) -> None:
    check = validate.check_patch(large_swapin)
    assert check.differences == []
    assert check.simulated == check.expected


@pytest.mark.parametrize("name", KERNEL_TABLES)
def test_kernel_tables(name: str) -> None:
    check = validate.check_kernel(name)
    assert check.differences == []
    assert len(check.expected) == 100


def test_the_two_kernels_differ_after_the_first_iteration() -> None:
    measured = kernel_table("small").rows
    assert measured[0] == PATCH_OFF[0]
    assert measured[1] != PATCH_OFF[1]


def test_one_wrong_number_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tampered = list(PATCH_OFF)
    tampered[16] = (tampered[16][0] + 1, tampered[16][1])
    monkeypatch.setattr(validate, "PATCH_OFF", tuple(tampered))
    monkeypatch.setattr(validate, "KERNEL_TABLES", ())
    assert main(["validate", "--json"]) == 1
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert [t["passed"] for t in tables] == [False, True]
    assert tables[0]["differences"] == ["iteration 17: expected 10/220, got 9/220"]
