"""zsmalloc's size classes against the table of a real build."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fleetswap_kernels.layout.size_classes import size_classes

# Spec 08 §8.2: distinct classes of a 64-bit kernel with 4 KiB pages and chain size 8, as size:pages/objects.
_CHAIN_8 = """
32:1/128 48:3/256 64:1/64 80:5/256 96:3/128 112:7/256 128:1/32 144:7/199 160:5/128 176:4/93
192:3/64 208:3/59 224:7/128 240:1/17 256:1/16 272:1/15 288:5/71 304:7/94 320:5/64 336:6/73
352:8/93 368:8/89 384:3/32 400:5/51 416:6/59 432:7/66 448:7/64 464:5/44 480:2/17 496:4/33
512:1/8 528:4/31 544:2/15 560:7/51 576:1/7 592:8/55 608:7/47 624:2/13 640:5/32 656:5/31
672:1/6 688:8/47 704:5/29 720:3/17 736:2/11 752:7/38 768:3/16 784:5/26 816:1/5 832:8/39
848:5/24 864:7/33 880:8/37 896:7/32 912:7/31 928:5/22 944:3/13 960:4/17 976:6/25 992:8/33
1024:1/4 1056:8/31 1072:5/19 1088:4/15 1104:3/11 1120:8/29 1136:5/18 1168:2/7 1184:7/24 1200:5/17
1216:3/10 1232:7/23 1248:4/13 1280:5/16 1296:7/22 1360:1/3 1424:8/23 1440:6/17 1456:5/14 1488:4/11
1504:7/19 1536:3/8 1552:8/21 1568:5/13 1584:7/18 1632:2/5 1680:7/17 1696:5/12 1712:8/19 1744:3/7
1792:7/16 1808:4/9 1856:5/11 1888:6/13 1904:7/15 1920:8/17 2048:1/2 2176:8/15 2192:7/13 2224:6/11
2272:5/9 2336:4/7 2384:7/12 2448:3/5 2512:8/13 2560:5/8 2592:7/11 2720:2/3 2864:7/10 2912:5/7
2976:8/11 3072:3/4 3184:7/9 3264:4/5 3408:5/6 3504:6/7 3584:7/8 3632:8/9 4096:1/1
"""

_CHAINS = range(4, 17)


def test_table_of_chain_size_8():
    classes = size_classes(8)
    rows = zip(classes.class_bytes, classes.class_pages, classes.class_objects, strict=True)
    assert [f"{size}:{pages}/{objects}" for size, pages, objects in rows] == _CHAIN_8.split()
    assert classes.class_bytes.size == 119
    assert classes.huge_threshold_bytes == 3625


def test_default_is_the_kernels_default():
    assert size_classes().chain_pages == 8


@pytest.mark.parametrize(
    ("request_bytes", "object_bytes"),
    # Spec 08 §8.1: header pages of 42, 43 bytes lie in class 64, one of 63 in class 80.
    [
        (0, 32),
        (24, 32),
        (25, 48),
        (42, 64),
        (43, 64),
        (56, 64),
        (57, 80),
        (63, 80),
        (3624, 3632),
        (3625, 4096),
        (4096, 4096),
    ],
)
def test_class_of_a_request(request_bytes, object_bytes):
    classes = size_classes(8)
    assert classes.class_bytes[classes.class_of_bytes[request_bytes]] == object_bytes


@pytest.mark.parametrize("chain", _CHAINS)
def test_invariants_of_every_chain_size(chain):
    classes = size_classes(chain)
    requests = np.arange(4097)
    sizes = classes.class_bytes[classes.class_of_bytes].astype(np.int64)
    # An object and its handle fit their class, except in the huge class, whose handle lies in the page.
    assert (sizes >= np.where(sizes == 4096, requests, requests + 8)).all()
    assert (np.diff(sizes) >= 0).all()
    assert (np.diff(classes.class_bytes.astype(np.int64)) > 0).all()
    assert (classes.class_pages <= chain).all()
    assert (classes.class_objects == classes.class_pages.astype(np.int64) * 4096 // classes.class_bytes).all()
    # The largest class that shares pages between objects ends just below the threshold.
    threshold = classes.huge_threshold_bytes
    assert classes.class_objects[classes.class_of_bytes[threshold - 1]] > 1
    assert classes.class_bytes[classes.class_of_bytes[threshold]] == 4096
    assert set(classes.class_of_bytes.tolist()) == set(range(classes.class_bytes.size))


def test_a_longer_chain_moves_the_threshold():
    assert size_classes(4).huge_threshold_bytes == 3264 - 7
    assert size_classes(16).huge_threshold_bytes == 3840 - 7


def test_tables_are_shared_and_read_only():
    assert size_classes(8) is size_classes(8)
    with pytest.raises(ValueError, match="read-only"):
        size_classes(8).class_bytes[0] = 1


@pytest.mark.parametrize("chain", [3, 17, 0, -8])
def test_impossible_chain_sizes_are_refused(chain):
    with pytest.raises(ValueError, match=f"{chain} is not allowed; allowed: 4 to 16"):
        size_classes(chain)


# Classes with blocks: what the compressibility measurement computed (tests/data/compressibility), after the proposed
# multi-page zsmalloc (linux-mm RFC v3, November 2024).
_TABLE = Path(__file__).parents[1] / "data/compressibility/zsmalloc_classes.csv"
_BLOCKS = pytest.mark.parametrize(("chain", "order"), [(chain, order) for chain in (4, 8) for order in range(10)])


@cache
def _measured_classes() -> dict[tuple[int, int], list[dict[str, int]]]:
    found = defaultdict(list)
    with _TABLE.open() as file:
        for row in csv.DictReader(file):
            numbers = {name: int(cell) for name, cell in row.items()}
            found[numbers["chain"], numbers["order"]].append(numbers)
    return found


@_BLOCKS
def test_table_of_every_block_order(chain, order):
    rows = _measured_classes()[chain, order]
    classes = size_classes(chain, order)
    assert classes.class_bytes.tolist() == [row["class_size"] for row in rows]
    pages = [row["elements_per_zspage"] * row["element_bytes"] // 4096 for row in rows]
    assert classes.class_pages.tolist() == pages
    objects = [row["objects_per_zspage"] for row in rows]
    assert classes.class_objects.tolist() == objects
    assert {row["stored_raw_from"] for row in rows} == {classes.huge_block_bytes}
    assert classes.huge_threshold_bytes == _measured_classes()[chain, 0][0]["stored_raw_from"]


@_BLOCKS
def test_an_object_and_its_handle_lie_in_the_smallest_class_that_fits(chain, order):
    rows = _measured_classes()[chain, order]
    sizes = np.array([row["class_size"] for row in rows])
    classes = size_classes(chain, order)
    # From `stored_raw_from` on nothing is stored as one object. The class of 4,096 bytes has its handle elsewhere.
    requests = np.arange(rows[0]["stored_raw_from"])
    smallest = np.searchsorted(sizes, np.where((requests > 4088) & (requests <= 4096), 4096, requests + 8))
    small = requests <= 4096
    assert (classes.class_of_bytes[requests[small]] == smallest[small]).all()
    steps = -(-(requests[~small] + 8 - 4096) // (16 << order))
    assert order == 0 or len(steps) > 0
    assert (classes.class_of_step[steps] == smallest[~small]).all()


def test_no_blocks_no_classes_above_a_page():
    assert not size_classes(8, 0).class_of_step.any()


@pytest.mark.parametrize("order", [-1, 10])
def test_impossible_block_orders_are_refused(order):
    with pytest.raises(ValueError, match=f"{order} is not allowed; allowed: 0 to 9"):
        size_classes(8, order)
