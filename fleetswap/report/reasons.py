"""The reasons of fallbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .panel import MAX_ROWS, Panel, cut_note
from .plots import bar_figure
from .runs import Run
from .table import DASH, Cell, Table, exact_cell
from .units import COUNT, SPACE
from .wording import quoted

SWAPIN_REASONS = {
    "policy": "Switched off by the policy",
    "order_mismatch": "Swap slots not aligned like the pages",
    "vma_bounds": "Reaches beyond the memory region",
    "not_contiguous": "Neighbours not in neighbouring slots",
    "zeromap_mixed": "Zero pages and others mixed",
    "swap_cache": "Shared, or parts in the swap cache",
    "allocation": "Page allocator had no large folio",
    "charge": "Limit of the memory group",
    "margin": "Margin rule: too little free memory",
}
SWAPOUT_REASONS = {
    "swap_full": "Fewer slots free than pages",
    "no_aligned_hole": "Free slots are scattered",
    "order_mismatch": "Holes only among other folio sizes",
    "not_reached": "The hole appeared behind the search",
    "charge": "Limit of the memory group",
}


def reason_panels(runs: Sequence[Run], kind: str, title: str, known: Mapping[str, str]) -> list[Panel]:
    """Reasons of fallbacks as bars, the most frequent first."""
    counts = [(run.summary.get("fallback") or {}).get(kind) or {} for run in runs]
    if not any(counts):
        return []
    totals = [sum(count.values()) for count in counts]
    names = sorted(
        (name for name in dict.fromkeys(name for count in counts for name in count)),
        key=lambda name: -max(count.get(name, 0) for count in counts),
    )
    shown = [name for name in names if any(count.get(name) for count in counts)][:MAX_ROWS]
    title_of = {name: known.get(name, name.replace("_", " ")) for name in names}
    ident = f"reasons-{kind}"
    meaning = "Over the whole fleet and run; for each fallback, the first test that ruled the large folio out."
    meaning += cut_note(sum(any(count.get(name) for count in counts) for name in names))
    parts = []
    for run, count, total in zip(runs, counts, totals, strict=True):
        who = f"{run.name}: " if run.name else ""
        if total:
            first = max(count, key=lambda name: count[name])
            text = title_of[first]
            share = f"{100 * count[first] / total:.1f}{SPACE}% of {COUNT.human(total)}"
            parts.append(f"{who}{quoted(text)}, {share}.")
        else:
            parts.append(f"{who}none.")
    lead = "Most frequent: " + " ".join(parts) if any(totals) else "None happened."
    size, name = COUNT.step(max((count.get(n, 0) for count in counts for n in names), default=0))
    svg = bar_figure(
        ident,
        title,
        f"{lead} {meaning}",
        [(title_of[n], [count.get(n, 0) / size for count in counts]) for n in shown or names[:MAX_ROWS]],
        [run.name for run in runs],
        x_label=f"fallbacks, {name}" if name else "fallbacks",
        show=lambda value: COUNT.human(round(value * size)),
    )
    head = ["reason", "name"]
    for run in runs:
        head += [f"{run.name} count".strip(), f"{run.name} share, %".strip()]
    rows = []
    for n in names:
        row = [Cell(title_of[n]), Cell(n)]
        for count, total in zip(counts, totals, strict=True):
            row += [exact_cell(count.get(n), COUNT), Cell(f"{100 * count.get(n, 0) / total:.2f}" if total else DASH)]
        rows.append(row)
    return [Panel(ident, title, lead, meaning, svg, Table(head, rows))]
