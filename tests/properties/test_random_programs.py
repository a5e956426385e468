"""After every operation of any script the invariants hold, and what is read is what was written."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.properties.oracle import check, check_reduced
from tests.properties.programs import random_script

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
SHARES = 8
"""Parts of the many programs, so that several workers can have one each."""
BATCH = 25


@settings(max_examples=150, suppress_health_check=SLOW, derandomize=True)
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_a_program_drawn_by_hypothesis(random, operations):
    """Hypothesis makes every choice and shrinks what fails, down to numbers and patterns."""
    check(random_script(random, operations))


def run_batch(share, seed):
    """A drawn seed starts many programs: a choice by Hypothesis costs as much as running an operation."""
    random = Random(f"{share} {seed}")  # noqa: S311 (no secrets here)
    for _ in range(BATCH):
        check_reduced(random_script(random, random.randrange(4, 26)))


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
@settings(max_examples=10_000 // (SHARES * BATCH), derandomize=True, phases=[Phase.generate])
@given(seed=st.integers(0, 2**64 - 1))
def test_ten_thousand_programs(share, seed):
    run_batch(share, seed)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_blocks_of_any_order(share):
    # 100,000 random operations in all, of mixed block orders: objects, pool, live slots and swap_map agree after each.
    random = Random(f"blocks {share}")  # noqa: S311 (no secrets here)
    operations = 0
    while operations < 100_000 // SHARES:
        text = random_script(random, random.randrange(10, 40), blocks=True)
        operations += sum(not line.startswith("cfg") for line in text.splitlines())
        check_reduced(text)


@pytest.mark.long
@pytest.mark.parametrize("share", range(SHARES))
@settings(max_examples=1_000_000 // (SHARES * BATCH), phases=[Phase.generate])
@given(seed=st.integers(0, 2**64 - 1))
def test_a_million_programs(share, seed):
    run_batch(share, seed)
