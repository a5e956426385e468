"""Scheduler: what all of a cluster hangs on; when it is gone, whatever was asked of it ends in one message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetswap.errors import InputError

if TYPE_CHECKING:
    from distributed import Client


class ClusterError(InputError):
    """The cluster cannot go on; the message says what to do."""


def gone(client: Client) -> ClusterError:
    """What is told when the scheduler does not answer: not what Dask says of it, which names streams and futures."""
    where = f"the scheduler at {client.scheduler.address}" if client.scheduler else "the scheduler"
    return ClusterError(f"{where} is gone or does not answer; start it, or another one")


@contextlib.contextmanager
def answering(client: Client) -> Iterator[None]:
    """Where the scheduler is asked something.

    Raises
    ------
    ClusterError
        If it is gone.
    """
    try:
        yield
    except OSError as error:  # also those of Dask's connections, and time that ran out
        raise gone(client) from error
