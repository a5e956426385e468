"""Texts of figures are such as XML can hold."""

from __future__ import annotations

from fleetswap.report.svg import label


def test_labels_are_one_line_without_letters_that_xml_lacks() -> None:
    assert label("a\u0000\ud800 \n b") == "a b"
