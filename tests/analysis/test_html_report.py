"""The HTML report: self-contained, escaped, repeatable, and its tables hold the numbers of its input.

The samples are made up by hand; what is expected of a report is read off them, never off a report.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fleetswap.errors import InputError
from fleetswap.html_report import (
    BYTES,
    COUNT,
    NANOSECONDS,
    PERMYRIAD,
    RATIO,
    render_comparison,
    render_run,
    write_report,
)
from fleetswap.plots import change, grouped, label, thinned

EVIL = '<script src="http://evil.example/x.js">&"\'$x^2$'
VOID = {"meta", "link", "img", "br", "hr", "input", "source", "base", "embed"}
LOADING = ("src", "srcset", "href", "data", "action", "poster", "background", "formaction", "ping", "cite")


def quantiles(total: int, p5: int, p50: int, p95: int, p99: int) -> dict[str, int]:
    return {"total": total, "p5": p5, "p50": p50, "p95": p95, "p99": p99}


def point(step: int, total: int, p5: int, p50: int, p95: int) -> dict[str, int]:
    return {"step": step, "total": total, "p5": p5, "p50": p50, "p95": p95}


def sample(large_swapin: str = "on") -> dict[str, Any]:
    """A run of 30 devices of two classes over three steps of 8 hours."""
    small = {
        "fallback_permyriad": quantiles(7011, 1201, 7405, 8831, 9102),
        "pgmajfault": quantiles(123_456, 1003, 4117, 9871, 12_007),
        "memory_saved_bytes": quantiles(9 << 30, 300_000_001, 900_000_007, 1_500_000_011, 1_700_000_013),
        "ratio_permille": quantiles(2799, 2411, 2803, 3199, 3307),
        "stall_ns": quantiles(10**12, 11_000_000_019, 33_000_000_023, 99_000_000_029, 120_000_000_031),
        "kills": quantiles(57, 0, 3, 11, 14),
        "nr_vmscan_write": quantiles(1, 0, 0, 1, 1),
    }
    large = {name: {key: value // 2 for key, value in cell.items()} for name, cell in small.items()}
    steps = {
        "fallback_permyriad": [
            point(0, 9000, 11, 312, 1507),
            point(1, 50_000, 907, 4211, 6103),
            point(2, 70_000, 1201, 7405, 8831),
        ],
        "stall_ns": [point(0, 10**11, 10**9, 3_000_000_001, 8 * 10**9), point(1, 2, 1, 1, 2), point(2, 3, 1, 2, 3)],
        "kills": [point(0, 5, 0, 0, 1), point(1, 19, 0, 1, 2), point(2, 33, 0, 1, 4)],
    }
    return {
        "scenario": {
            "name": "sample",
            "title": "Two classes of phones",
            "description": "Made up",
            "devices": 30,
            "seed": 41,
            "days": 1,
            "page_scale": 64,
            "policy": {
                "kernel": "6.12",
                "large_swapin": large_swapin,
                "swapin_sizes": {},
                "zeromap": "on",
                "thp": "madvise",
                "mthp": {"16K": "inherit", "64K": "always", "128K": "never"},
                "margin_rule": False,
                "large_pool": {"share_percent": 10, "size": "64K"},
                "compaction": {"enabled": True},
                "lmkd": {"enabled": False},
            },
            "device_class": {
                "phone-2g": {"share": 2, "ram": "2G", "zram": "50p", "codec": "lz4", "block": "4K", "cpus": 8},
                "phone-12g": {"share": 1, "ram": "12G", "zram": "4G", "codec": "zstd", "block": "64K", "cpus": 8},
            },
        },
        "digest": "0123abcd",
        "versions": {"fleetswap": "0.1.0", "numpy": "2.4.6"},
        "backend": "cpu",
        "metrics": {"all": small, "phone-2g": small, "phone-12g": large},
        "devices": {"all": 30, "phone-2g": 20, "phone-12g": 10},
        "series": {"all": steps, "phone-2g": steps, "phone-12g": steps},
        "hours_per_step": 8.0,
        "fallback": {
            "swapin": {"policy": 0, "allocation": 5121, "order_mismatch": 733, "of a later version": 29},
            "swapout": {"swap_full": 17, "no_aligned_hole": 48_611, "order_mismatch": 2003},
        },
        "allocation": {
            "16K": [
                {"step": 0, "wanted": 1009, "granted": 1001},
                {"step": 1, "wanted": 2003, "granted": 1511},
                {"step": 2, "wanted": 0, "granted": 0},
            ],
            "64K": [
                {"step": 0, "wanted": 503, "granted": 499},
                {"step": 1, "wanted": 701, "granted": 307},
                {"step": 2, "wanted": 809, "granted": 101},
            ],
        },
        "census": {"0": 90_007, "2": 10_009, "4": 50_021},
        "quantile_error": "1/64",
        "warnings": ["phone-2g: hardly meant"],
        "assumptions": ["shares of classes are assumed", "policy stands for itself"],
    }


def sample_comparison() -> dict[str, Any]:
    def row(
        metric: str, device_class: str, effect: tuple[float, float, float], better: str, worse: int
    ) -> dict[str, Any]:
        relative, low, high = effect
        return {
            "metric": metric,
            "class": device_class,
            "a": 4117,
            "b": 3905,
            "relative": relative,
            "low": low,
            "high": high,
            "better": better,
            "pairing_gain": 7.25,
            "worse_devices_permille": worse,
        }

    return {
        "a": sample("off"),
        "b": sample("on"),
        "label_a": "large swap-in off",
        "label_b": "large swap-in on",
        "rows": [
            row("nr_vmscan_write", "all", (0.0, -0.02, 0.02), "unclear", 421),
            row("pgmajfault", "all", (-0.4321, -0.4502, -0.4117), "b", 12),
            row("pgmajfault", "phone-2g", (-0.5103, -0.5507, -0.4709), "b", 7),
            row("pgmajfault", "phone-12g", (0.0211, -0.0103, 0.0507), "unclear", 318),
            row("pswpin", "all", (1.75, 1.5, 2.1), "a", 991),
        ],
        "explanations": [
            {"title": "Fewer faults, more pages", "text": "One fault brings 16 pages.\n\nNot all are needed."}
        ],
    }


class Document(HTMLParser):
    """What a page has: elements with attributes, text, and the tables' cells."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.tables: dict[str, list[list[tuple[str, str]]]] = {}
        self._table = ""
        self._raw = ""
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = given.get("id", "")
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append(("", ""))
        elif tag == "data":
            self.tables[self._table][-1][-1] = ("", given["value"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"nothing to close: {tag}"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.styles.append(data)
            return
        self.words.append(data)
        if "td" in self.open or "th" in self.open:
            text, raw = self.tables[self._table][-1][-1]
            self.tables[self._table][-1][-1] = (text + data, raw)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def raw(self, table: str) -> list[list[int]]:
        """The numbers of a table, row by row."""
        return [[int(raw) for _, raw in row if raw] for row in self.tables[table][1:]]


@pytest.fixture(scope="module")
def run_page() -> str:
    return render_run(sample())


@pytest.fixture(scope="module")
def comparison_page() -> str:
    return render_comparison(sample_comparison())


def evil(value: Any) -> Any:
    """The same structure with something harmful in every name and text but the keys that the report looks up."""
    known = {"all", "p5", "p50", "p95", "p99", "total", "step", "wanted", "granted"}
    if isinstance(value, dict):
        return {key: evil(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [evil(inner) for inner in value]
    return value if not isinstance(value, str) or value in known else value + EVIL


def evil_summary() -> dict[str, Any]:
    summary = sample()
    for name in ("metrics", "devices", "series"):
        summary[name] = {key if key == "all" else key + EVIL: value for key, value in summary[name].items()}
    summary["allocation"] = {key + EVIL: value for key, value in summary["allocation"].items()}
    summary["fallback"] = {
        kind: {key + EVIL: n for key, n in reasons.items()} for kind, reasons in summary["fallback"].items()
    }
    summary["versions"] = {key + EVIL: value + EVIL for key, value in summary["versions"].items()}
    classes = summary["scenario"]["device_class"]
    summary["scenario"] = evil(summary["scenario"])
    summary["scenario"]["device_class"] = {key + EVIL: evil(value) for key, value in classes.items()}
    for key in ("digest", "backend", "warnings", "assumptions", "quantile_error"):
        summary[key] = evil(summary[key])
    return summary


def evil_comparison() -> dict[str, Any]:
    comparison = sample_comparison()
    comparison |= {"a": evil_summary(), "b": evil_summary(), "label_a": "off" + EVIL, "label_b": "on" + EVIL}
    comparison["explanations"] = evil(comparison["explanations"])
    for row in comparison["rows"]:
        row["class"] += "" if row["class"] == "all" else EVIL
        row["metric"] += EVIL if row["metric"] == "nr_vmscan_write" else ""
    return comparison


def assert_self_contained(html: str) -> Document:
    page = Document(html)
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img", "image", "base", "form"), tag
        for key, value in attributes.items():
            assert not key.lower().startswith("on"), f"{tag} {key}"
            name = key.rpartition(":")[2]
            if name in LOADING:
                assert value.startswith("#"), f"{tag} {key}={value}"
            for target in re.findall(r"url\(\s*([^)]*)\)", value):
                assert target.startswith("#"), f"{tag} {key}={value}"
            assert not key.startswith("xmlns"), f"{tag} {key}"
    for style in page.styles:
        assert "@import" not in style
        assert "url(" not in style
        assert "//" not in style
    return page


@pytest.mark.parametrize("page", ["run_page", "comparison_page"])
def test_page_needs_nothing_else(page: str, request: pytest.FixtureRequest) -> None:
    html = request.getfixturevalue(page)
    assert_self_contained(html)
    assert "http:" not in html
    assert "https:" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_everything_is_escaped(kind: str) -> None:
    html = render_run(evil_summary()) if kind == "run" else render_comparison(evil_comparison())
    page = assert_self_contained(html)
    assert "<script" not in html
    # Every text of the input is on the page as text.
    assert f"phone-2g{EVIL}" in page.text
    assert f"hardly meant{EVIL}" in page.text
    assert f"Two classes of phones{EVIL}" in page.text


@pytest.mark.parametrize("page", ["run_page", "comparison_page"])
def test_ids_are_unique_and_references_lead_somewhere(page: str, request: pytest.FixtureRequest) -> None:
    elements = Document(request.getfixturevalue(page)).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements:
        for key, value in attributes.items():
            targets = re.findall(r"url\(#([^)]*)\)", value)
            targets += [value[1:]] if key == "href" else []
            targets += value.split() if key == "aria-labelledby" else []
            assert set(targets) <= set(ids)


@pytest.mark.parametrize("page", ["run_page", "comparison_page"])
def test_figures_have_a_name_a_description_and_a_table(page: str, request: pytest.FixtureRequest) -> None:
    document = Document(request.getfixturevalue(page))
    figures = [attributes for tag, attributes in document.elements if tag == "svg"]
    assert len(figures) >= 8
    for attributes in figures:
        assert attributes["role"] == "img"
        ident = attributes["aria-labelledby"].split("-title")[0]
        assert len(document.tables[f"{ident}-numbers"]) >= 2
    assert [tag for tag, _ in document.elements].count("desc") == len(figures)


@pytest.mark.parametrize("what", ["render_run(sample())", "render_comparison(sample_comparison())"])
def test_same_bytes_in_another_process(what: str, tmp_path: Path) -> None:
    """Also with other hashing and the user's own settings of matplotlib."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\nsvg.fonttype: path\n")
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_html_report import *\n"
    program += f"sys.stdout.buffer.write({what}.encode())"
    settings = {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "PYTHONHASHSEED": "7"}
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(root / part) for part in (".", "kernels", "cluster"))
    other = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | settings | {"PYTHONPATH": path},
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    here = render_run(sample()) if "run(" in what else render_comparison(sample_comparison())
    assert other.stdout == here.encode()


def test_tables_over_uptime_equal_the_input(run_page: str) -> None:
    tables = Document(run_page)
    steps = sample()["series"]["all"]["fallback_permyriad"]
    # All devices with their band, then the medians of two classes, which have the same series in the sample.
    want = [[p["step"], p["p5"], p["p50"], p["p95"], p["p50"], p["p50"]] for p in steps]
    assert tables.raw("uptime-fallback_permyriad-numbers") == want
    assert tables.raw("uptime-kills-numbers") == [[0, 5], [1, 19], [2, 33]]
    stall = [
        [p["step"], p["p5"], p["p50"], p["p95"], p["p50"], p["p50"]] for p in sample()["series"]["all"]["stall_ns"]
    ]
    assert tables.raw("uptime-stall_ns-numbers") == stall
    # Steps of 8 hours end after 8, 16 and 24 hours.
    assert [row[1][0] for row in tables.tables["allocation-numbers"][1:]] == ["8", "16", "24"]
    want = [[0, 1009, 1001, 503, 499], [1, 2003, 1511, 701, 307], [2, 0, 0, 809, 101]]
    assert tables.raw("allocation-numbers") == want


@pytest.mark.parametrize(
    "metric", ["fallback_permyriad", "pgmajfault", "memory_saved_bytes", "ratio_permille", "kills"]
)
def test_tables_by_class_equal_the_input(run_page: str, metric: str) -> None:
    given = sample()
    keys = ["p5", "p50", "p95", "p99", "total"]
    want = [
        [given["devices"][name], *(given["metrics"][name][metric][key] for key in keys)]
        for name in ("all", "phone-2g", "phone-12g")
    ]
    assert Document(run_page).raw(f"classes-{metric}-numbers") == want


def test_tables_of_reasons_equal_the_input(run_page: str) -> None:
    page = Document(run_page)
    for kind, reasons in sample()["fallback"].items():
        rows = page.tables[f"reasons-{kind}-numbers"][1:]
        assert {row[1][0]: int(row[2][1]) for row in rows} == reasons
        counts = [int(row[2][1]) for row in rows]
        assert counts == sorted(counts, reverse=True)
    assert page.raw("census-numbers") == [[0, 90_007], [2, 10_009], [4, 50_021]]
    # 48,611 of 17 + 48,611 + 2,003 = 50,631
    assert page.tables["reasons-swapout-numbers"][1][3][0] == "96.01"


def test_exact_cells_write_what_they_hold(run_page: str) -> None:
    """A cell's text is its integer in the unit of the table's head."""
    page = Document(run_page)
    for rows in page.tables.values():
        for row in rows[1:]:
            for (text, raw), (head, _) in zip(row, rows[0], strict=True):
                if raw:
                    digits = text.replace(",", "").replace(".", "")
                    assert int(digits) == int(raw)
                    places = len(text.partition(".")[2])
                    unit = head.rpartition(", ")[2]
                    assert places == {"%": 2, "times": 3}.get(unit, 0)


def test_the_answer_comes_first(run_page: str) -> None:
    text = Document(run_page).text
    order = ["What was asked", "The answer", "Over uptime", "Across the fleet", "Where fallbacks come from"]
    order += ["What users feel", "Assumptions shares of", "Warnings phone-2g", "Where this comes from"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "74.0 % 9 of 10 devices: 12.0 % to 88.3 %; fleet: 70.1 %" in text  # 7405, 1201 and 8831 of 10,000
    assert "2.80 times 9 of 10 devices: 2.41 times to 3.20 times" in text
    for given in ("0123abcd", "41", "2.4.6", '"page_scale": 64'):
        assert given in text
    assert "one simulated page stands for 64 real ones" in text
    assert "up to 1/64 too low or too high" in text


def test_policy_in_one_sentence(run_page: str) -> None:
    assert (
        "Large swap-in on, large folios of 16K (inherits madvise) and 64K (always), 10 % of memory reserved for folios "
        "of 64K and larger, zero-filled pages marked instead of stored, app compaction on, low-memory killer off and "
        "kernel rules of Linux 6.12. 30 simulated devices of 2 classes over 1 day."
    ) in Document(run_page).text


def test_comparison_tables_equal_the_input(comparison_page: str) -> None:
    page = Document(comparison_page)
    assert [cell[0] for cell in page.tables["differences"][1]] == ["policy.large_swapin", "off", "on"]
    assert len(page.tables["differences"]) == 2
    rows = {row["metric"]: row for row in sample_comparison()["rows"] if row["class"] == "all"}
    names = ["pgmajfault", "pswpin", "nr_vmscan_write"]  # those with a name for people first
    keys = ("a", "b", "relative", "low", "high")
    found = [[float(raw) for _, raw in row if raw] for row in page.tables["effect-fleet-numbers"][1:]]
    assert found == [[rows[name][key] for key in keys] for name in names]
    by_class = [row for row in sample_comparison()["rows"] if row["metric"] == "pgmajfault"]
    found = [[float(raw) for _, raw in row if raw] for row in page.tables["effect-pgmajfault-numbers"][1:]]
    assert found == [[row[key] for key in keys] for row in by_class]
    assert page.raw("worse-numbers") == [[12, 7, 318], [991], [421]]
    assert [row[1][1] for row in page.tables["pairing-numbers"][1:]] == ["7.25"] * 3
    want = [
        [*(cell[key] for key in ("p5", "p50", "p95", "p99", "total"))] for cell in [sample()["metrics"]["all"]["kills"]]
    ]
    assert page.raw("classes-kills-numbers")[0] == [30, *want[0], *want[0]]


def test_comparison_says_which_is_better(comparison_page: str) -> None:
    text = Document(comparison_page).text
    assert "is better in 1 and worse in 1 than" in text
    assert "1 is not clear" in text
    assert (
        "Major faults \N{MINUS SIGN}43 % better: large swap-in on interval \N{MINUS SIGN}45 % to \N{MINUS SIGN}41 %"
        in text
    )
    assert "Pages swapped in +175 % better: large swap-in off" in text
    assert "Fewer faults, more pages" in text
    assert "The worst case is major faults in class phone-12g: 31.8 %." in text


def test_explanations_are_paragraphs(comparison_page: str) -> None:
    assert "<p>One fault brings 16 pages.</p>" in comparison_page
    assert "<p>Not all are needed.</p>" in comparison_page


@pytest.mark.parametrize("key", sample())
def test_what_is_missing_is_left_out(key: str) -> None:
    summary = sample()
    del summary[key]
    assert_self_contained(render_run(summary))


def test_what_one_of_two_runs_lacks() -> None:
    assert_self_contained(render_run({}))
    assert_self_contained(render_comparison({}))
    poor = sample()
    for name in ("series", "allocation", "fallback", "census"):
        del poor[name]
    poor["metrics"]["all"] = {"kills": {"p50": 1}}
    for pair in ({"a": poor, "b": sample()}, {"a": sample(), "b": poor}, {"b": sample()}):
        page = assert_self_contained(render_comparison(pair))
        assert {"allocation-numbers", "uptime-stall_ns-numbers", "classes-kills-numbers"} <= set(page.tables)


def test_sizes_asked_for_most_are_drawn() -> None:
    comparison = {"a": sample(), "b": sample()}
    sizes = {f"{4 << i}K": [{"step": 0, "wanted": 100 + i, "granted": 50}] for i in range(2, 10)}
    comparison["a"]["allocation"] = comparison["b"]["allocation"] = sizes
    page = Document(render_comparison(comparison))
    assert len(page.raw("allocation-numbers")[0]) == 1 + 2 * 2 * 8
    assert "the 3 sizes asked for most; the table has all 8" in page.text
    assert "Requests granted: 512K A from 46.7 % to 46.7 %" in page.text  # 50 of 107


@pytest.mark.parametrize(
    ("metric", "lost"),
    [
        ("fallback_permyriad", "Swap-out fallback"),
        ("ratio_permille", "Compression ratio"),
        ("kills", "Killed apps"),
        ("stall_ns", "Stall time"),
        ("memory_saved_bytes", "Memory saved"),
    ],
)
def test_sections_of_missing_metrics_are_left_out(metric: str, lost: str, run_page: str) -> None:
    summary = sample()
    for part in ("metrics", "series"):
        for cells in summary[part].values():
            cells.pop(metric, None)
    assert lost in run_page
    assert lost not in render_run(summary)


def test_empty_and_zero_parts() -> None:
    summary = sample()
    summary["fallback"] = {"swapin": {}, "swapout": {"swap_full": 0}}
    summary["allocation"] = {"16K": [], "64K": [{"step": 0, "wanted": 0, "granted": 0}]}
    summary["census"] = {"0": 0}
    summary["series"]["phone-2g"]["fallback_permyriad"] = []
    for metric in summary["metrics"]["all"]:
        summary["metrics"]["all"][metric] = quantiles(0, 0, 0, 0, 0)
    summary["warnings"] = summary["assumptions"] = []
    page = assert_self_contained(render_run(summary))
    assert "None happened." in page.text
    assert "allocation-numbers" not in page.tables
    assert "census-numbers" not in page.tables


def test_undefined_differences_stay_in_the_table() -> None:
    comparison = sample_comparison()
    comparison["rows"][1] |= {
        "relative": float("nan"),
        "low": float("-inf"),
        "high": None,
        "pairing_gain": float("inf"),
    }
    page = assert_self_contained(render_comparison(comparison))
    row = next(row for row in page.tables["effect-fleet-numbers"] if row[0][0] == "Major faults")
    assert "in the table only: Major faults." in page.text
    assert [text for text, _ in row[3:6]] == ["\N{EN DASH}"] * 3
    cells = [text for row in page.tables["effect-fleet-numbers"] for cell in row for text in cell]
    assert not {"nan", "inf", "-inf", "None"} & set(cells)


def test_long_runs_are_thinned_but_sums_stay_exact() -> None:
    summary = sample()
    steps = range(1, 1001)
    summary["series"] = {"all": {"fallback_permyriad": [point(i, i, i, 2 * i, 3 * i) for i in steps]}}
    summary["series"]["all"]["kills"] = [point(i, i, 0, 0, 1) for i in steps]
    summary["allocation"] = {"16K": [{"step": i, "wanted": 2 * i, "granted": i} for i in steps]}
    page = Document(render_run(summary))
    rows = page.raw("uptime-fallback_permyriad-numbers")
    assert len(rows) <= 240
    assert all(row[1:] == [row[0], 2 * row[0], 3 * row[0]] for row in rows)
    assert rows[-1][0] == 1000
    assert sum(row[1] for row in page.raw("uptime-kills-numbers")) == 500_500
    sums = page.raw("allocation-numbers")
    assert sum(row[1] for row in sums) == 1_001_000
    assert sum(row[2] for row in sums) == 500_500
    assert "Shown is every 5th step" in page.text


def test_many_classes() -> None:
    summary = sample()
    cell = summary["metrics"]["all"]
    summary["metrics"] = {"all": cell} | {f"class-{i}": copy.deepcopy(cell) for i in range(32)}
    summary["devices"] = {"all": 64} | {f"class-{i}": 2 for i in range(32)}
    page = Document(render_run(summary))
    assert len(page.tables["classes-kills-numbers"]) == 1 + 33
    assert "The figure shows the first 24 of 33" in page.text


def test_letters_that_xml_or_the_font_lack() -> None:
    summary = sample()
    summary["devices"]["\u0000a\ud800 \u4e2d"] = 3
    summary["metrics"]["\u0000a\ud800 \u4e2d"] = summary["metrics"]["all"]
    assert_self_contained(render_run(summary))
    assert label("a\u0000\ud800 \n b") == "a b"


def test_the_input_is_not_changed() -> None:
    given = sample_comparison()
    render_comparison(given)
    assert given == sample_comparison()


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(path, "caf\u00e9 \ud800")
    assert path.read_text(encoding="utf-8") == "caf\u00e9 &#55296;"
    write_report(path, "second")
    assert path.read_text(encoding="utf-8") == "second"
    assert list(tmp_path.iterdir()) == [path]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"report\.html: cannot be written: No space left on device"):
        write_report(path, "third")
    assert path.read_text(encoding="utf-8") == "second"
    with pytest.raises(InputError):
        write_report(tmp_path / "new.html", "third")
    assert list(tmp_path.iterdir()) == [path]

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path / "new.html", "third")
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "r.html", tmp_path / "file" / "r.html", tmp_path / "folder"):
        with pytest.raises(InputError, match="cannot be written: "):
            write_report(path, "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("unit", "value", "human", "exact"),
    [
        (PERMYRIAD, 7405, "74.0 %", "74.05"),
        (PERMYRIAD, 3, "0.03 %", "0.03"),
        (PERMYRIAD, 0, "0 %", "0.00"),
        (PERMYRIAD, 10_000, "100 %", "100.00"),
        (RATIO, 2874, "2.87 times", "2.874"),
        (COUNT, 123_456, "123,456", "123,456"),
        (COUNT, 4_117_000, "4.12 million", "4,117,000"),
        (COUNT, -5, "-5", "-5"),
        (PERMYRIAD, -250, "-2.50 %", "-2.50"),
        (BYTES, 1 << 30, "1.00 GiB", "1,073,741,824"),
        (BYTES, 1000, "1,000 B", "1,000"),
        (NANOSECONDS, 33_000_000_023, "33.0 s", "33,000,000,023"),
        (NANOSECONDS, 5_400_000_000_000, "1.50 h", "5,400,000,000,000"),
    ],
)
def test_how_numbers_are_written(unit: Any, value: int, human: str, exact: str) -> None:
    assert unit.human(value).replace("\N{NO-BREAK SPACE}", " ") == human
    assert unit.exact(value) == exact


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (-0.000001, "0 %"),
        (0.5, "+50 %"),
        (-0.4321, "\N{MINUS SIGN}43 %"),
        (0.0211, "+2.1 %"),
        (0.00211, "+0.21 %"),
        (12.0, "+1,200 %"),
    ],
)
def test_how_changes_are_written(value: float, text: str) -> None:
    assert change(value).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize("count", [1, 2, 239, 240, 241, 1000, 525_600])
def test_thinning_keeps_the_last_and_groups_leave_nothing_out(count: int) -> None:
    places = thinned(count, 240)
    assert len(places) <= 240
    assert places[-1] == count - 1
    assert len({b - a for a, b in pairwise(places)}) <= 1
    bounds = grouped(count, 240)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == count
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in pairwise(bounds))
