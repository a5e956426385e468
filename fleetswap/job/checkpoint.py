"""Checkpoint of a shard under way: memory of its devices, steps done, sums so far; another process goes on from it."""

from __future__ import annotations

import hashlib
import json
import time

import numpy as np

from fleetswap_kernels.backend.arena import Arena
from fleetswap_kernels.backend.contract import Fold
from fleetswap_kernels.layout.device import HEADER_BYTES

from ..fleet.shard import FleetShard, Keeper
from .ledger import place
from .shard_file import parquet, read_states, read_steps, states_table, steps_table
from .storage import Storage, as_json


class Checkpoint(Keeper):
    """Keeps the state of a task in the ledger, at most every so many seconds; each piece of a shard has its own.

    Memory, sums and states get names that hold the step; the record that names them comes last, and what it named
    before is removed after that. A process that dies at any moment leaves a whole state, or none.

    Parameters
    ----------
    storage : Storage
        The run directory.
    plan_digest : str
        Hash of the plan, which a state must be of.
    number : int
        The task.
    interval_s : float
        Seconds between two states; the first is kept after that time.
    """

    def __init__(self, storage: Storage, plan_digest: str, number: int, interval_s: float) -> None:
        self._storage = storage
        self._plan = plan_digest
        self._task = place("checkpoints", number)
        self._place = ""
        self._interval_s = interval_s
        self._kept_at = time.monotonic()
        self._named: list[str] = []
        self._is_used = False

    def restore(self, arena: Arena, fold: Fold, result: FleetShard) -> int:
        """Fill a new arena, its fold and the sums of a shard from the last whole state; number of steps done."""
        self._place = f"{self._task}/{result.shard.first}-{result.shard.end}"
        self._named = []
        content = self._storage.get(f"{self._place}.json")
        self._is_used |= content is not None
        try:
            record = json.loads(content or b"{}")
            self._named = [*record.get("files", {})]
            if record.get("plan") != self._plan:
                return 0
            files = {name: self._storage.get(name) or b"" for name in record["files"]}
        except (ValueError, TypeError, AttributeError):
            return 0
        for name, expected in record["files"].items():
            if hashlib.sha256(files[name]).hexdigest() != expected:
                return 0
        import pyarrow as pa

        memory, steps, states = files.values()
        plain = pa.decompress(memory, decompressed_size=int(arena.base[-1]) * HEADER_BYTES, codec="zstd")
        arena.memory = np.frombuffer(plain, np.uint8)
        read_steps(result, steps)
        sums, result.by_step = read_states(states)
        fold.resume(sums)
        return int(record["steps"])

    def keep(self, arena: Arena, fold: Fold, result: FleetShard, steps: int) -> None:
        """Write the state after a step, if the last one is old enough. See `Keeper.keep`."""
        if time.monotonic() - self._kept_at < self._interval_s:
            return
        import pyarrow as pa

        memory = pa.Codec("zstd", 1).compress(pa.py_buffer(arena.memory), asbytes=True)
        files = {
            f"{self._place}.{steps}.memory.zst": memory,
            f"{self._place}.{steps}.steps.parquet": parquet(steps_table(result)),
            f"{self._place}.{steps}.states.parquet": parquet(states_table(fold.state_sums(), result.by_step)),
        }
        for name, data in files.items():
            self._storage.put(name, data)
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        self._storage.put(f"{self._place}.json", as_json({"plan": self._plan, "steps": steps, "files": sums}))
        for name in self._named:
            if name not in files:
                self._storage.remove(name)
        self._named = [*files]
        self._is_used = True
        self._kept_at = time.monotonic()

    def drop(self) -> None:
        """Remove all states: the task is done."""
        if self._is_used:
            self._storage.remove(self._task)
