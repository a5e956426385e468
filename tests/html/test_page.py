"""A page is self-contained, escaped and repeatable, and says what its input says.

The samples are made up by hand; what is expected of a page is read off them, never off a page.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fleetswap.report.page import render_comparison, render_run
from tests.html.document import Document, assert_self_contained
from tests.html.sample import EVIL, evil_comparison, evil_summary, quantiles, sample, sample_comparison


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
    assert f"phone-2g{EVIL}" in page.descriptions["classes-pgmajfault"]
    # Nothing is escaped twice.
    assert "&lt;" not in page.text
    assert "&#3" not in page.text


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


def test_same_bytes_in_another_process(run_page: str, comparison_page: str, tmp_path: Path) -> None:
    """Also with other hashing and the user's own settings of matplotlib."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\nsvg.fonttype: path\n")
    program = """
import sys
from fleetswap.report.page import render_comparison, render_run
from tests.html.sample import sample, sample_comparison
sys.stdout.buffer.write((render_run(sample()) + render_comparison(sample_comparison())).encode())
"""
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
    assert other.stdout == (run_page + comparison_page).encode()


def test_the_answer_comes_first(run_page: str) -> None:
    headings = Document(run_page).headings
    assert [*headings][:2] == ["asked", "answer"]
    assert [*headings][-3:] == ["assumptions", "warnings", "provenance"]
    sections = [text for ident, text in headings.items() if ident.startswith("section-")]
    for text, word in zip(sections, ("uptime", "fleet", "compresses", "fallbacks", "users"), strict=True):
        assert word in text


def test_big_figures_of_a_run(run_page: str) -> None:
    page = Document(run_page)
    fallback, ratio = page.cards["Swap-out fallback"], page.cards["Compression ratio"]
    assert fallback["value"] == "74.0 %"  # 7405, and 1201, 8831 and 7011 of 10,000
    assert re.findall(r"[\d.]+ %", fallback["spread"]) == ["12.0 %", "88.3 %", "70.1 %"]
    assert ratio["value"] == "2.80 times"
    assert re.findall(r"[\d.]+ times", ratio["spread"]) == ["2.41 times", "3.20 times", "2.80 times"]
    assert len(page.cards) == 6


def test_where_a_run_comes_from(run_page: str) -> None:
    page = Document(run_page)
    provenance = {row[0][0]: row[1][0] for row in page.tables["provenance-table"]}
    wanted = {"digest of the scenario": "0123abcd", "seed": "41", "numpy": "2.4.6", "computed on": "cpu"}
    assert wanted.items() <= provenance.items()
    for value in ('"page_scale": 64', "64 real", "up to 1/64", "shares of classes are assumed", "hardly meant"):
        assert value in page.text


def test_what_changes_over_uptime(run_page: str) -> None:
    texts = Document(run_page).descriptions
    # 10^11 ns of 30 devices in the first step and 3 ns in the last; of shares the fleet's own, 9000 and 70,000.
    for ident, whose, first, last in (
        ("uptime-stall_ns", "average device", "3.33 s", "0 ns"),
        ("uptime-fallback_permyriad", "fleet", "90.0 %", "700 %"),
    ):
        text = texts[ident].replace("\N{NO-BREAK SPACE}", " ")
        assert f"{whose} goes" in text
        assert f"{first} to {last};" in text


def test_policy_in_one_sentence(run_page: str) -> None:
    text = Document(run_page).text
    sentences = text[text.index("Large swap-in on") : text.index("over 1 day")]
    facts = ["16K (inherits madvise)", "64K (always)", "10 %", "of 64K only", "zero-filled", "app compaction on"]
    facts += ["low-memory killer off", "6.12", "30 simulated devices", "2 classes"]
    places = [sentences.index(fact) for fact in facts]
    assert places == sorted(places)
    # The pool serves folios of its order and no others (tests/properties/test_buddy.py).
    assert "larger" not in sentences


def test_comparison_says_which_is_better(comparison_page: str) -> None:
    page = Document(comparison_page)
    for part in ("better in 1 ", "worse in 1 ", "1 is not clear"):
        assert part in page.text
    faults, pages = page.cards["Major faults"], page.cards["Pages swapped in"]
    assert (faults["value"], faults["verdict"]) == ("\N{MINUS SIGN}43 %", "better: large swap-in on")
    assert "\N{MINUS SIGN}45 % to \N{MINUS SIGN}41 %" in faults["spread"]
    # One statistic a card: the change of the fleet, and what the fleet has.
    assert "fleet 4,117 \N{RIGHTWARDS ARROW} 3,905" in faults["spread"]
    assert (pages["value"], pages["verdict"]) == ("+175 %", "better: large swap-in off")
    worst = page.descriptions["worse"].partition("worst")[2].replace("\N{NO-BREAK SPACE}", " ")
    for part in ("major faults", "phone-12g", "31.8 %"):
        assert part in worst


def test_explanations_are_paragraphs(comparison_page: str) -> None:
    assert "<h3>Fewer faults, more pages</h3>" in comparison_page
    assert "<p>One fault brings 16 pages.</p>" in comparison_page
    assert "<p>Not all are needed.</p>" in comparison_page


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("key", sample())
def test_what_is_missing_is_left_out(key: str) -> None:
    summary = sample()
    del summary[key]
    assert_self_contained(render_run(summary))


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
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
    assert "None" in page.descriptions["reasons-swapout"]
    assert "allocation-numbers" not in page.tables
    assert "census-numbers" not in page.tables


def test_letters_that_xml_or_the_font_lack() -> None:
    summary = sample()
    summary["devices"]["\u0000a\ud800 \u4e2d"] = 3
    summary["metrics"]["\u0000a\ud800 \u4e2d"] = summary["metrics"]["all"]
    assert_self_contained(render_run(summary))


@pytest.mark.usefixtures("undrawn")
def test_the_input_is_not_changed() -> None:
    given = sample_comparison()
    render_comparison(given)
    assert given == sample_comparison()
