"""Why a policy did what it did: texts about a comparison, each of which appears only if the figures show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..scenario.units import parse_size

Told = Mapping[str, Any]
"""A comparison in plain values (`comparison.Comparison.to_dict`), and the summary of its reference."""
POINT = 0.01
"""A success of allocation that falls by less is no finding."""
KILLS = {
    "kills_low_swap": ("for want of free swap", "lmkd kills when free swap falls below its limit, and pages fill swap"),
    "kills_thrashing": (
        "for thrashing",
        "lmkd kills when more pages come back, for the pages that are resident, than its limit allows",
    ),
    "kills_no_memory": ("for want of memory", "an app is killed when reclaim finds no page for a fault"),
}
"""Counters of kills: reason and mechanism."""
SIDES = ("a", "b")


def explain(told: Told) -> list[dict[str, str]]:
    """Explanations of a comparison.

    Parameters
    ----------
    told : mapping
        Of a comparison: `a`, `b`, `label_a`, `label_b`, `rows`, and `reference`, the summary of a third policy or None.

    Returns
    -------
    list of dict
        `title` and `text`, whose paragraphs are separated by an empty line.
    """
    finding = _Finding(told)
    texts = (
        finding.amplification(),
        finding.margin_rule(),
        finding.allocation(),
        finding.fragmented_swap(),
        finding.fragmented_memory(),
        finding.kills(),
    )
    return [{"title": title, "text": text} for title, text in filter(None, texts)]


class _Finding:
    """Looks for what the figures of a comparison show."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.rows = {row["metric"]: row for row in told["rows"] if row["class"] == "all"}
        more = self._direction("swapin_large_permyriad")
        # The side with clearly fewer large swap-ins first.
        self.order = ("a", "b") if more > 0 else ("b", "a") if more < 0 else None

    def _direction(self, metric: str) -> int:
        """1 if B clearly has more, -1 if less, 0 if that is not clear."""
        row = self.rows.get(metric)
        if row is None or row["difference_low"] is None:
            return 0
        return int(row["difference_low"] > 0) - int(row["difference_high"] < 0)

    def _clearly(self, metric: str, first: str, way: int) -> bool:
        """Whether the other side has clearly more (1) or less (-1) than the first."""
        return self._direction(metric) == (way if first == "a" else -way)

    def _label(self, side: str) -> str:
        return str(self.told[f"label_{side}"])

    def _change(self, metric: str, first: str) -> str:
        """Change from one side to the other."""
        row = self.rows[metric]
        return _change(row[first], row[_other(first)])

    def _share(self, metric: str, side: str) -> str:
        """A metric in 1/10000 or 1/1000 as percent."""
        return _percent(self.rows[metric][side] / (100 if metric.endswith("permyriad") else 10))

    def amplification(self) -> tuple[str, str] | None:
        """Large swap-in: fewer faults, and more pages or not."""
        if self.order is None or not self._clearly("pgmajfault", self.order[0], -1):
            return None
        first, large = self.order
        text = (
            f"With {self._label(large)}, {self._share('swapin_large_permyriad', large)} of the pages swapped in came by"
            f" large folios, with {self._label(first)} {self._share('swapin_large_permyriad', first)}. Major faults:"
            f" {self._change('pgmajfault', first)}; pages read from zram: {self._change('pswpin', first)}. One fault"
        )
        if not self._clearly("pswpin", first, 1):
            return (
                "Large swap-in cuts major faults",
                f"{text} brings in a whole folio, and saves those on its other pages.",
            )
        pages = [self.rows["pswpin"][side] / max(self.rows["pgmajfault"][side], 1) for side in self.order]
        text += (
            f" brings in a whole folio, and with it pages that nobody asked for: {pages[1]:.2f} pages a major fault"
            f" instead of {pages[0]:.2f}."
        )
        if self._clearly("pswpout", first, 1):
            text += (
                f" They take the memory of others, which are written out: {self._change('pswpout', first)} pages"
                " written to zram."
            )
        return "Large swap-in cuts major faults, but reads more pages", text

    def margin_rule(self) -> tuple[str, str] | None:
        """The rule that large swap-in needs free memory."""
        ruled = [side for side in SIDES if self.told[side]["scenario"]["policy"]["margin_rule"]]
        if len(ruled) != 1 or not self._clearly("pswpin", _other(ruled[0]), -1):
            return None
        side, free = ruled[0], _other(ruled[0])
        refused = self.told[side]["fallback"]["swapin"]["margin"]
        if not refused:
            return None
        pages = {s: self.rows["pswpin"][s] for s in SIDES}
        text = (
            f"With {self._label(side)}, {refused:,} large swap-ins were refused because too little memory was free"
            f" above the high watermark: pages read from zram: {_change(pages[free], pages[side])}, major faults:"
            f" {self._change('pgmajfault', free)}. Without the rule a large folio is read into memory that must be"
            " reclaimed for it at once."
        )
        reference = self.told.get("reference")
        if reference:
            base = reference["metrics"]["all"]["pswpin"]["total"]
            extra = pages[free] - base
            if extra > 0:
                text += (
                    f" Beyond the {base:,} pages that the reference reads, {self._label(free)} reads {extra:,} more,"
                    f" {self._label(side)} {pages[side] - base:,}: the rule brings back"
                    f" {_percent(100 * (pages[free] - pages[side]) / extra)} of the extra pages."
                )
        return "The margin rule takes large swap-in back when memory is short", text

    def allocation(self) -> tuple[str, str] | None:
        """Large folios that memory could give, in the first and in the last quarter of the run."""
        parts, fell = [], False
        for side in SIDES:
            for size, steps in self.told[side]["allocation"].items():
                quarter = max(len(steps) // 4, 1)
                early, late = (_granted(part) for part in (steps[:quarter], steps[-quarter:]))
                if early is None or late is None:
                    continue
                pool = self.told[side]["scenario"]["policy"]["large_pool"]
                # The pool serves one size and no other (`buddy.frames_take`).
                share = pool["share_percent"] if parse_size(pool["size"]) == parse_size(size) else 0
                text = f"{self._label(side)}: {size} folios granted in the first quarter of the run"
                text += f" {_percent(100 * early)}, in the last {_percent(100 * late)}"
                parts.append(text + (f", with {share} % of RAM reserved for them." if share else "."))
                fell |= early - late >= POINT
        if not fell:
            return None
        parts.append("Single pages that are freed and taken again leave free memory in pieces smaller than a folio.")
        return "Large folios become harder to get over uptime", "\n\n".join(parts)

    def fragmented_swap(self) -> tuple[str, str] | None:
        """Swap-out falls back more often where pages come back one by one."""
        if self.order is None or not self._clearly("fallback_permyriad", self.order[0], -1):
            return None
        small, large = self.order
        shares = [f"{self._share('fallback_permyriad', s)} with {self._label(s)}" for s in (small, large)]
        text = (
            f"Large folios that found no swap slots: {shares[0]}, {shares[1]}. Pages that come back one by one free"
            " single slots all over swap, and a large folio needs a whole aligned run of free ones."
        )
        census = {s: {int(k): n for k, n in self.told[s]["census"].items()} for s in SIDES}
        if all(sum(census[s].values()) for s in SIDES):
            could = [_percent(100 - 100 * census[s].get(0, 0) / sum(census[s].values())) for s in (small, large)]
            text += (
                f" Of the pages in swap at the end, {could[0]} lie so that a large folio could bring them back, with"
                f" {self._label(large)} {could[1]}."
            )
        return "Swap-in of single pages fragments swap", text

    def fragmented_memory(self) -> tuple[str, str] | None:
        """Free memory is in smaller pieces where pages come back one by one."""
        if self.order is None or not self._clearly("fragmentation_permille", self.order[0], -1):
            return None
        shares = [f"{self._share('fragmentation_permille', s)} with {self._label(s)}" for s in self.order]
        text = (
            f"Free memory in blocks below 64 KiB, on average over the run: {shares[0]}, {shares[1]}. Every page that"
            " comes back alone takes a frame of its own, and splits a larger free block for it."
        )
        return "Swap-in of single pages fragments memory", text

    def kills(self) -> tuple[str, str] | None:
        """More apps are killed, and what for."""
        way = self._direction("kills")
        if not way:
            return None
        first = "a" if way > 0 else "b"
        counted = {key: [self.told[s]["counters"][key] for s in (first, _other(first))] for key in KILLS}
        most = max(KILLS, key=lambda key: counted[key][1] - counted[key][0])
        text = (
            f"With {self._label(_other(first))} more apps are killed than with {self._label(first)}:"
            f" {self._change('kills', first)}, mostly {KILLS[most][0]} ({counted[most][0]:,} to"
            f" {counted[most][1]:,}): {KILLS[most][1]}."
        )
        return "More apps are killed", text


def _other(side: str) -> str:
    return "b" if side == "a" else "a"


def _granted(steps: list[dict[str, int]]) -> float | None:
    wanted = sum(step["wanted"] for step in steps)
    return sum(step["granted"] for step in steps) / wanted if wanted else None


def _change(first: int, second: int) -> str:
    return f"{100 * (second / first - 1):+.1f} %" if first > 0 else f"{first:,} to {second:,}"


def _percent(percent: float) -> str:
    return f"{percent:.1f} %"
