"""What the batch kernels should find, page by page and block by block, written from the spec and in no hurry."""

from __future__ import annotations


def entry(word: int) -> tuple[int, int] | None:
    """Swap type and slot of a pagemap word (Documentation/admin-guide/mm/pagemap.rst)."""
    if word >> 63 & 1 or not word >> 62 & 1:
        return None
    # 23 swap devices at most; larger types are migration, poison, markers (include/linux/swap.h).
    return (word & 31, word >> 5 & (1 << 50) - 1) if word & 31 < 23 else None


class Slots:
    """Slots of swap areas: map byte and zero-page bit, by area and slot."""

    def __init__(self, areas) -> None:
        self.known = areas.areas > 0
        self.byte, self.zero = {}, {}
        at = 0
        for area, slots in enumerate(areas.slots.tolist()):
            for slot in range(slots):
                self.byte[area, slot] = int(areas.swap_map[at + slot])
                self.zero[area, slot] = int(areas.zeromap[(at + slot) // 8]) >> (at + slot) % 8 & 1
            at += -(-slots // 512) * 512

    def count_is_one(self, where) -> bool:
        return not self.known or self.byte[where] & 0x3F == 1

    def cached(self, where) -> bool:
        return self.known and self.byte[where] & 0x40 != 0

    def zero_bit(self, where) -> int:
        return self.zero[where] if self.known else 0


def block_qualifies(words, start: int, page: int, order: int, area: int, slots: Slots) -> bool:
    """Filters 4, 5 and 7 of spec 05 §5.3 for the aligned block around a page."""
    n = 1 << order
    kind, slot = entry(words[page])
    index = (start + page) % n
    first = page - index
    if first < 0 or first + n > len(words) or slot % n != index:
        return False
    block = words[first : first + n]
    # One batch: each word is the one before it with the next slot, all other bits equal.
    if any(entry(word) is None for word in block):
        return False
    if any(entry(word)[1] != slot - index + i for i, word in enumerate(block)):
        return False
    if len({word & ~((1 << 55) - (1 << 5)) for word in block}) > 1:
        return False
    places = [(area + kind, slot - index + i) for i in range(n)]
    if len({slots.zero_bit(place) for place in places}) > 1:
        return False
    return not any(slots.cached(place) for place in places)


def page_orders(tables, areas, orders: int) -> list[int]:
    """Largest order of every page; 255 if it is not swapped out."""
    slots, found = Slots(areas), []
    for p in range(tables.processes):
        for r in range(int(tables.process_offset[p]), int(tables.process_offset[p + 1])):
            words = tables.pte[tables.region_offset[r] : tables.region_offset[r + 1]].tolist()
            start, area = int(tables.region_start[r]), int(tables.process_area[p])
            for page, word in enumerate(words):
                if entry(word) is None:
                    found.append(255)
                    continue
                kind, slot = entry(word)
                # A fault on an entry of another count does not take the direct path (spec 05 §5.1).
                direct = slots.count_is_one((area + kind, slot)) and not slots.cached((area + kind, slot))
                able = (
                    k
                    for k in range(8, 1, -1)
                    if orders >> k & 1 and block_qualifies(words, start, page, k, area, slots)
                )
                found.append(next(able, 0) if direct else 0)
    return found


def runs(tables) -> list[list[int]]:
    """Runs of consecutive slots by process and power of two."""
    found = []
    for p in range(tables.processes):
        counts = [0] * 10
        for r in range(int(tables.process_offset[p]), int(tables.process_offset[p + 1])):
            words = tables.pte[tables.region_offset[r] : tables.region_offset[r + 1]].tolist()
            length = 0
            for page, word in enumerate(words):
                here = entry(word)
                if here is None:
                    continue
                length += 1
                after = entry(words[page + 1]) if page + 1 < len(words) else None
                if after != (here[0], here[1] + 1):
                    counts[min(9, length.bit_length() - 1)] += 1
                    length = 0
        found.append(counts)
    return found


def uniform_blocks(areas) -> list[list[list[int]]]:
    """Blocks by area, order and kind: all, free, in use and alike, zero pages, no zero pages."""
    slots, found = Slots(areas), []
    for area, length in enumerate(areas.slots.tolist()):
        of_area = []
        for order in range(10):
            n, row = 1 << order, [0] * 5
            for first in range(0, length - n + 1, n):
                block = [(area, slot) for slot in range(first, first + n)]
                counts, bits = {slots.byte[one] for one in block}, {slots.zero[one] for one in block}
                row[0] += 1
                row[1] += counts == {0}
                row[2] += len(counts) == 1 and counts != {0}
                row[3] += bits == {1}
                row[4] += bits == {0}
            of_area.append(row)
        found.append(of_area)
    return found
