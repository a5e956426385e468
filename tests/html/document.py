"""An HTML page as it is read: elements, text and the cells of its tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input", "source", "base", "embed"}
LOADING = ("src", "srcset", "href", "data", "action", "poster", "background", "formaction", "ping", "cite")


class Document(HTMLParser):
    """What a page has: elements with attributes, text, headings, the big figures, figures' descriptions, tables."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.headings: dict[str, str] = {}
        self.cards: dict[str, dict[str, str]] = {}
        self.descriptions: dict[str, str] = {}
        self.tables: dict[str, list[list[tuple[str, str]]]] = {}
        self._table = ""
        self._part = ""
        self._card: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("span", "h2", "desc"):
            self._part = given.get("class") or given["id"].removesuffix("-text")
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
        if self.open and self.open[-1] == "span":
            if self._part == "name":
                self._card = self.cards.setdefault(data, {})
            self._card[self._part] = data.replace("\N{NO-BREAK SPACE}", " ")
        elif self.open and self.open[-1] in ("h2", "desc"):
            (self.headings if self.open[-1] == "h2" else self.descriptions)[self._part] = data
        if "td" in self.open or "th" in self.open:
            text, raw = self.tables[self._table][-1][-1]
            self.tables[self._table][-1][-1] = (text + data, raw)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def raw(self, table: str) -> list[list[int]]:
        """The numbers of a table, row by row."""
        return [[int(raw) for _, raw in row if raw] for row in self.tables[table][1:]]


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
