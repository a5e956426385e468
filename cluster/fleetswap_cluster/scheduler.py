"""Scheduler: what all of a cluster hangs on; when it is gone, whatever was asked of it ends in one message."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from fleetswap.errors import InputError

if TYPE_CHECKING:
    from distributed import Client


LOOK_S = 0.2
"""Seconds between two looks at the connection while an answer is awaited."""


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


def ask(client: Client, question: Callable[..., Awaitable[Any]], seconds: float | None = None, **words: Any) -> Any:
    """An answer of the scheduler.

    A question has a connection of its own, for which Dask goes on trying; that the scheduler is gone shows in the
    client's other connection at once.

    Parameters
    ----------
    client : distributed.Client
    question : function that gives an awaitable
        Method of the client or of its scheduler.
    seconds : float, optional
        Time the scheduler has to answer.
    **words : Any
        Arguments of the question.

    Raises
    ------
    ClusterError
        If it is gone, or does not answer for so many seconds; without a number it is waited for as long as it lives.
    """

    async def answer() -> Any:
        asked = asyncio.ensure_future(question(**words))
        while not asked.done() and client.status == "running":
            await asyncio.wait([asked], timeout=LOOK_S)
        if not asked.done():
            asked.cancel()
            raise ConnectionError
        return asked.result()

    with answering(client):
        return client.sync(answer, callback_timeout=seconds)
