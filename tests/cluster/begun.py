"""A job that is begun in a new directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fleetswap.job.job import Job, claim
from fleetswap.job.plan import Plan
from fleetswap.job.storage import Storage


@contextlib.contextmanager
def begin(storage: Storage, plan: Plan) -> Iterator[Job]:
    """Hold it until the end."""
    with claim(storage) as start:
        yield start(plan)
