"""Differences between a recorded dump and a simulated one, page by page and slot by slot."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fleetswap_kernels.layout.words import CLUSTER_SLOTS

NOT_COMPARABLE = ("pgactivate", "pgsteal_anon", "workingset_refault_anon")
"""Counters of a recorded vmstat that say nothing about the swap state or were not reproducible."""
SHOWN = 3
"""Differing pages, slots or clusters named one by one; the rest are counted."""

_ABSENT = "nothing of that name"
_END = "the end of the list"
_HEADING = ("dump", "summary", "line", "label")
_OP = ("line", "errno", "minor faults", "major faults", "wrong pages")
_MM_STAT = (
    "orig_data_size", "compr_data_size", "mem_used_total", "mem_limit", "mem_used_max", "same_pages",
    "pages_compacted", "huge_pages", "huge_pages_since",
)  # fmt: skip
_IO_STAT = ("failed_reads", "failed_writes", "invalid_io", "notify_free")
_CLUSTER_FLAGS = {0: "on no list", 1: "free", 2: "nonfull", 4: "frag", 8: "full"}
_PAGE_FLAGS = {"d": "dirty", "c": "in the swap cache", "x": "mapped exclusively"}


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Parameters
    ----------
    where : str
        Process, region and page; or slot, cluster list, counter, operation.
    expected, got : str
        What the recorded and the simulated dump have there.
    """

    where: str
    expected: str
    got: str


def differences(
    recorded: dict[str, Any], simulated: dict[str, Any], lines: Sequence[str], forked: bool
) -> list[Difference]:
    """Compare two dumps in every comparable field.

    Parameters
    ----------
    recorded, simulated : dict
        Dumps or summaries in the format of the corpus.
    lines : sequence of str
        The script, to quote its operations.
    forked : bool
        Whether the script forks: the recorded minor faults are then not comparable.
    """
    return list(_dump(recorded, simulated, lines, forked))


def _dump(a: dict[str, Any], b: dict[str, Any], lines: Sequence[str], forked: bool) -> Iterator[Difference]:
    known = dict.fromkeys((*_HEADING, "procs", "vmstat", "mthp", "mm_stat", "io_stat", "kernel", "ops"), _ABSENT)
    for name, x, y in _both({**known, **a}, b):
        if name == "procs":
            for process, p, q in _both(x, y, None):
                yield from _process(f"process {process}", p, q)
        elif name == "vmstat":
            yield from _counters("vmstat", x, y, NOT_COMPARABLE)
        elif name == "mthp":
            for size, p, q in _both(x, y, {}):
                yield from _counters(f"mthp {size} KiB", p, q)
        elif name in ("mm_stat", "io_stat"):
            yield from _columns(name, _MM_STAT if name == "mm_stat" else _IO_STAT, x, y)
        elif name == "kernel" and isinstance(x, dict) and isinstance(y, dict):
            yield from _kernel(x, y)
        elif name == "ops":
            for i, (p, q) in enumerate(zip_longest(x, y)):
                yield from _operation(i, p, q, lines, forked)
        else:
            yield from _plain(name, x, y)


def _both(a: dict[str, Any], b: dict[str, Any], absent: Any = _ABSENT) -> Iterator[tuple[str, Any, Any]]:
    """Every name in either, with what both have there."""
    for name in dict.fromkeys((*a, *b)):
        yield name, a.get(name, absent), b.get(name, absent)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(where: str, a: Any, b: Any) -> Iterator[Difference]:
    """Any two values; of two objects or lists only what differs in them."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name, x, y in _both(a, b):
            yield from _plain(f"{where} {name}", x, y)
    elif isinstance(a, list) and isinstance(b, list):
        yield from _each(where, "entry", a, b, _text)
    elif a != b:
        yield Difference(where, _text(a), _text(b))


def _each(
    where: str, noun: str, a: Sequence[Any], b: Sequence[Any], show: Callable[[Any], str]
) -> Iterator[Difference]:
    """The first elements that differ."""
    differ = [i for i, (x, y) in enumerate(zip_longest(a, b)) if x != y]
    for i in differ[:SHOWN]:
        more = f" (the first of {len(differ)} that differ)" if i == differ[0] and len(differ) > 1 else ""
        x, y = (show(values[i]) if i < len(values) else _END for values in (a, b))
        yield Difference(f"{where}, {noun} {i}{more}", x, y)


def _counters(where: str, a: dict[str, int], b: dict[str, int], skip: Sequence[str] = ()) -> Iterator[Difference]:
    """Dumps show the counters that are not 0."""
    for name, x, y in _both(a, b, 0):
        if name not in skip and x != y:
            yield Difference(f"{where} {name}", str(x), str(y))


def _columns(where: str, names: Sequence[str], a: list[int], b: list[int]) -> Iterator[Difference]:
    for i, (x, y) in enumerate(zip_longest(a, b, fillvalue="no such column")):
        if x != y:
            yield Difference(f"{where} {names[i] if i < len(names) else f'column {i + 1}'}", str(x), str(y))


def _process(where: str, a: dict[str, Any] | None, b: dict[str, Any] | None) -> Iterator[Difference]:
    if a is None or b is None:
        yield Difference(where, "alive" if a else "no such process", "alive" if b else "no such process")
        return
    for name, x, y in _both(a, b):
        if name != "regions":
            yield from _plain(f"{where} {name}", x, y)
    for region, x, y in _both(a["regions"], b["regions"], None):
        there = f"{where}, region {region}"
        if x is None or y is None:
            yield Difference(there, "mapped" if x else "not mapped", "mapped" if y else "not mapped")
            continue
        for name, p, q in _both(x, y):
            if name != "runs" or _ABSENT in (p, q):
                yield from _plain(f"{there} {name}", p, q)
            elif p != q:
                yield from _pages(there, p, q, y["pages"])


def _pages(where: str, a: list[list[Any]], b: list[list[Any]], pages: int) -> Iterator[Difference]:
    changes = list(_each(where, "page", _expanded(a, pages, _page_of, 1), _expanded(b, pages, _page_of, 1), _page))
    # Pages alike in other runs: a folio ends where the other dump goes on with it.
    yield from changes or _each(f"{where} folios", "run", a, b, _text)


def _expanded(runs: list[list[Any]], length: int, value: Callable[[list[Any], int], Any], at: int = 0) -> list[Any]:
    """The value of every page, slot or cluster of runs ``[.., start, count, ..]``; None where there is no run."""
    out = [None] * length
    for run in runs:
        for i in range(max(run[at], 0), min(run[at] + run[at + 1], length)):
            out[i] = value(run, i - run[at])
    return out


def _page_of(run: list[Any], i: int) -> tuple[Any, ...]:
    if run[0] == "s":
        return ("s", run[3] + i)
    if run[0] == "p":
        return ("p", run[3], (run[4] + i) % (1 << min(max(run[3], 0), 9)), run[5])
    return (run[0],)


def _page(page: tuple[Any, ...] | None) -> str:
    if page is None:
        return "not recorded"
    if page[0] == "s":
        return f"swap {page[1]}"
    if page[0] == "p":
        _, order, index, flags = page
        words = [f"page {index} of an order-{order} folio" if order else "present"]
        return ", ".join([*words, *(_PAGE_FLAGS.get(flag, f"flag {flag}") for flag in flags)])
    return {"n": "none", "z": "zero page"}[page[0]]


def _kernel(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    for name, x, y in _both(a, b):
        if x == y:
            continue
        if _ABSENT in (x, y):
            yield from _plain(f"kernel {name}", x, y)
        elif name in _MAPS:
            noun, slots, show = _MAPS[name]
            n = -(-b["max"] // slots)
            changes = list(_each(name, noun, _expanded(x, n, _value_of), _expanded(y, n, _value_of), show))
            yield from changes or _each(f"{name} runs", "run", x, y, _text)
        elif name in ("free", "full"):
            yield from _order(f"{name} list", "cluster", _members(x), _members(y))
        elif name in ("nonfull", "frag"):
            for order, p, q in sorted(_both(x, y, [])):
                yield from _order(f"{name} list of order {order}", "cluster", _members(p), _members(q))
        elif name == "percpu_next":
            for cpu, (p, q) in enumerate(zip_longest(x, y, fillvalue=[])):
                yield from _each(f"percpu_next of CPU {cpu}", "order", p, q, str)
        elif name == "slot_cache":
            for cpu, (p, q) in enumerate(zip_longest(x, y, fillvalue={})):
                yield from _slot_cache(f"slot_cache of CPU {cpu}", p, q)
        else:
            yield from _plain(f"kernel {name}", x, y)


def _slot_cache(where: str, a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    for name, x, y in _both(a, b):
        if isinstance(x, list) and isinstance(y, list):
            yield from _order(f"{where}, {name}", "slot", x, y)
        else:
            yield from _plain(f"{where}, {name}", x, y)


def _value_of(run: list[Any], _: int) -> Any:
    return run[2] if len(run) == 3 else tuple(run[2:])


def _map_byte(value: int | None) -> str:
    if value is None or value in (0, 63):
        return "not recorded" if value is None else "bad" if value else "free"
    words = [f"{value & 63} reference{'s' * (value & 63 != 1)}"] if value & 63 else []
    return " and ".join([*words, *(["swap cache"] if value & 64 else [])]) + f" ({value})"


def _zero_bit(state: tuple[()] | None) -> str:
    return "clear" if state is None else "set"


def _cluster(state: tuple[int, int, int] | None) -> str:
    if state is None:
        return "not recorded"
    used, flags, order = state
    return f"{used} used, {_CLUSTER_FLAGS.get(flags, f'flags {flags}')}, order {order}"


_MAPS: dict[str, tuple[str, int, Callable[[Any], str]]] = {
    "swap_map": ("slot", 1, _map_byte),
    "zeromap": ("slot", 1, _zero_bit),
    "clusters": ("cluster", CLUSTER_SLOTS, _cluster),
}
"""Fields made of runs: what an element is, how many slots it stands for, and how it is shown."""


def _members(pieces: list[list[int]]) -> list[int]:
    """The members of a list recorded as pieces ``[first, n, step]``."""
    # No device has more clusters: a corrupt count must not fill the memory.
    return [first + i * step for first, n, step in pieces for i in range(min(n, 1 << 15))]


def _order(where: str, noun: str, a: list[int], b: list[int]) -> Iterator[Difference]:
    """The first position at which two lists part, and how they go on from there."""
    if a == b:
        return
    at = next(i for i, (x, y) in enumerate(zip_longest(a, b)) if x != y)
    same = " (the same members in another order)" if sorted(a) == sorted(b) else ""
    yield Difference(f"{where}, position {at}{same}", *(_tail(noun, values[at:]) for values in (a, b)))


def _tail(noun: str, members: list[int]) -> str:
    if not members:
        return _END
    shown = ", ".join(map(str, members[1:6])) + ", ..." * (len(members) > 6)
    return f"{noun} {members[0]}" + f", then {shown}" * (len(members) > 1)


def _operation(
    i: int, a: list[int] | None, b: list[int] | None, lines: Sequence[str], forked: bool
) -> Iterator[Difference]:
    if a is None or b is None or a[0] != b[0]:
        yield Difference(f"operation {i}", *("none" if op is None else _quoted(op[0], lines) for op in (a, b)))
        return
    for k in range(1, 5):
        if a[k] != b[k] and not (k == 2 and forked):
            show = _errno if k == 1 else str
            yield Difference(f"{_quoted(a[0], lines)}, {_OP[k]}", show(a[k]), show(b[k]))


def _quoted(line: int, lines: Sequence[str]) -> str:
    text = " ".join(lines[line - 1].split("#")[0].split()) if 0 < line <= len(lines) else "?"
    return f"line {line} `{text}`"


def _errno(value: int) -> str:
    return f"{errno.errorcode.get(-value, 'error')} ({value})" if value else "no error"
