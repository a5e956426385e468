"""Inline SVG of matplotlib's figures, the same bytes for the same input.

Matplotlib's own defaults hold, whatever the user's matplotlibrc says, its ids come from a fixed salt, and no date is
written. Text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1d2530"
WIDTH_INCHES = 5.4
"""Narrow, so that text can be read when a phone shrinks the figure to its width."""
MAX_LABEL = 40
"""Characters of a label; longer ones are cut."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fleetswap",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#9aa3ad",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "xtick.color": "#9aa3ad",
    "ytick.color": "#9aa3ad",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_REFERENCE = re.compile(r"(?:^|url\()#([\w.-]+)")
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_CONTROLS = re.compile(r"[^\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
_TEXT_STYLES = ("font-size", "font-weight", "text-anchor", "fill")


@dataclass(frozen=True)
class Caption:
    """What a figure is for those who cannot see it.

    Parameters
    ----------
    ident : str
        Prefix of all ids in it, unique in the document.
    title, text : str
        What it is and what it shows.
    """

    ident: str
    title: str
    text: str


@contextmanager
def drawing(height_inches: float) -> Iterator[Figure]:
    """A figure, while the settings of this module hold."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        # Names in scripts that the built-in font lacks: browsers have other fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def inline(figure: Figure, caption: Caption) -> str:
    """The figure as an svg element for HTML: no namespaces, styles or metadata, ids of its own, named for readers."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written = io.StringIO()
    # `savefig` would draw everything once more, only to find the layout.
    FigureCanvasSVG(figure).print_svg(written, metadata=_METADATA)  # type: ignore[no-untyped-call] # matplotlib's
    root = ElementTree.fromstring(written.getvalue())  # noqa: S314 (written by matplotlib, just now)
    used = set()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            element.set(key.rpartition("}")[2], value)
            used.update(_REFERENCE.findall(value))
    for element in root.iter():
        for child in [c for c in element if c.tag in ("metadata", "style") or (c.tag == "defs" and _is_style(c))]:
            element.remove(child)
        _tidy(element, caption.ident, used)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    names = {f"{caption.ident}-title": ("title", caption.title), f"{caption.ident}-text": ("desc", caption.text)}
    root.attrib |= {"role": "img", "aria-labelledby": " ".join(names)}
    for place, (ident, (tag, content)) in enumerate(names.items()):
        element = ElementTree.Element(tag, {"id": ident})
        element.text = _CONTROLS.sub(" ", content)
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _is_style(defs: ElementTree.Element) -> bool:
    return all(child.tag == "style" for child in defs)


def _tidy(element: ElementTree.Element, ident: str, used: set[str]) -> None:
    """Make an element's ids unique in the document, and leave out what browsers do not need."""
    element_id = element.attrib.pop("id", None)
    for key, value in element.attrib.items():
        changed = _REFERENCE.sub(lambda match: match[0].replace("#", f"#{ident}-"), value)
        if key in ("d", "x", "y", "transform"):
            changed = _DECIMALS.sub(lambda match: f"{float(match[0]):.2f}", " ".join(changed.split()))
        element.set(key, changed)
    if element_id in used:
        element.set("id", f"{ident}-{element_id}")
    if element.tag == "text":
        rules = [rule.partition(":") for rule in element.get("style", "").split(";")]
        styles = [f"{key.strip()}:{value.strip()}" for key, _, value in rules if key.strip() in _TEXT_STYLES]
        element.set("style", ";".join(styles))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
    if not (element.text or "").strip():
        element.text = None
    element.tail = None


def label(text: str, most: int = MAX_LABEL) -> str:
    """A text for a figure: one line, nothing that XML cannot hold, at most so many characters."""
    text = " ".join(_CONTROLS.sub(" ", text).split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
