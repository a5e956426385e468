"""Random replay scripts: small devices, every switch and every operation of the language."""

from __future__ import annotations

from random import Random

from fleetswap.script.config import SETTINGS
from fleetswap_kernels.layout.pages import SIZES_KIB

_MAX_PROCESSES = 5
_MAX_REGIONS = 3
_NAMES = tuple(str(i) for i in range(_MAX_PROCESSES))

# How often an operation is tried; what cannot be done just then is drawn again.
_WEIGHTS = {
    "pageout": 22, "write": 20, "read": 13, "dontneed": 9, "poke": 6, "map": 3, "fork": 4, "exit": 2, "unmap": 2,
    "advise": 3, "cpu": 4, "thp": 3, "randwrite": 2, "randdontneed": 3, "srand": 1, "fault_begin": 5, "fault_end": 5,
    "zswap": 1, "verdict": 3, "race": 2, "churn": 2, "regrow": 2, "hole": 5,
}  # fmt: skip
_CLASSES = ("java_app", "game_native", "gpu_raster", "media")
_DRAW = tuple(name for name, weight in _WEIGHTS.items() for _ in range(weight))


class _Writer:
    """A script in the making, with what it needs to know to stay valid."""

    def __init__(self, random: Random, blocks: bool) -> None:
        self.random = random
        self.blocks = blocks
        self.lines: list[str] = []
        self.processes: dict[str, dict[str, int]] = {}
        self.cpu: dict[str, int] = {}
        self.halted: dict[int, str] = {}

    def one_in(self, n: int) -> bool:
        return self.random.randrange(n) == 0

    def config(self) -> None:
        """The `cfg` lines: most devices are tiny, some have a few clusters, some have every large order."""
        random = self.random
        self.cpus = random.choice((1, 1, 1, 2, 3, 4))
        if self.cpus > 1:
            self.lines.append(f"cfg cpus {self.cpus}")
        # Blocks that zram compresses as one: then with folios that cover them, and room for clusters of their order.
        self.block_order = random.choice((1, 2, 2, 3, 4, 4, 5, 6, 9)) if self.blocks or self.one_in(3) else 0
        covering = f" {4 << max(2, self.block_order)}=always" if self.block_order else ""
        sizes = self.thp(random.randrange(1, 8))
        if covering and covering[1:].split("=", maxsplit=1)[0] + "=" not in sizes:
            sizes += covering
        self.lines.append(f"cfg thp {sizes}")
        if not self.one_in(3):
            self.lines.append(f"cfg page_cluster {random.randrange(6)}")
        if self.one_in(7):
            self.lines.append("cfg swapin small")
        if self.one_in(5):
            self.lines.append("cfg kernel v7")
        if self.one_in(5):
            self.lines.append("cfg swapcache_prepare off")
        tiny, small, below_two, most_orders = (10, 63), (64, 330), (320, 1023), (2048, 4500)
        least, most = random.choice((tiny, small, below_two, (1024, 1600), most_orders, most_orders, most_orders))
        if self.block_order and not self.one_in(4):
            least, most = most_orders
        self.slots = random.randrange(least, most + 1)
        if self.block_order:
            options = "".join(f" {word}" for word in ("rewrite", "fallback") if self.one_in(2))
            self.lines.append(f"cfg blocks {self.block_order}{options}")
        if self.one_in(4):
            self.lines.append("cfg pool packed")
        if self.one_in(3):
            self.lines.append(f"cfg content seed={random.randrange(100)}{random.choice((' scaled', ''))}")
        limit = f" mem_limit={4 * random.randrange(1, random.choice((8, 40, 120)))}K" if self.one_in(4) else ""
        self.lines.append(f"cfg zram {4 * self.slots}K lz4{limit}")

    def thp(self, n: int) -> str:
        # Small sizes more often: they fit into small regions.
        sizes = set(self.random.choices((*SIZES_KIB, 16, 32, 64), k=n))
        return " ".join(f"{kb}={self.random.choice(('always', 'always', 'always', *SETTINGS))}" for kb in sorted(sizes))

    def pattern(self) -> str:
        random = self.random
        kind = random.choice(("zero", "zero", "fill", "rand", "text", "mix", "mix", "class", "class"))
        if kind == "class":
            return f"class:{random.choice(_CLASSES)}:{random.randrange(4)}"
        return kind if kind == "zero" else f"{kind}:{random.randrange(1, 4)}"

    def span(self, pages: int) -> str:
        """A range of a region: all of it, an aligned block, one page, or anything."""
        random = self.random
        form = random.randrange(4)
        if form == 0:
            return f"0 {pages}"
        if form == 1:
            block = 1 << random.randrange(min(9, pages.bit_length()))
            first = random.randrange(-(-pages // block)) * block
            return f"{first} {min(block, pages - first)}"
        first = random.randrange(pages)
        return f"{first} {1 if form == 2 else random.randrange(1, pages - first + 1)}"

    def region_pages(self) -> int:
        random = self.random
        if self.one_in(9):
            return random.randrange(512, 1100)
        most = max(random.choice((8, 24, 96, 96, 300)), 2 << self.block_order)
        # Often more than fits into swap, so that devices fill up; never so much that a script gets slow.
        return random.randrange(1, min(most, 2 * self.slots) + 1)

    def operation(self) -> bool:
        """Append one operation; whether the one that was drawn is possible now."""
        random = self.random
        name = random.choice(_DRAW)
        if name in ("thp", "zswap", "verdict"):
            if name == "thp":
                self.lines.append(f"thp {self.thp(random.randrange(1, 4))}")
            elif name == "zswap":
                if not self.one_in(4):
                    return False
                self.lines.append("zswap")
            else:
                bits = "".join(random.choice("001") for _ in range(random.randrange(1, 9)))
                size = random.choice((4, *SIZES_KIB))
                self.lines.append(f"verdict {random.choice(('folio', 'charge', 'swap'))} {size} {bits}")
            return True
        if not self.processes or (name == "map" and self.one_in(3)):
            fresh = [p for p in _NAMES if p not in self.processes]
            if not fresh:
                return False
            return self.act(fresh[0], "map")
        return self.act(random.choice(tuple(self.processes)), name)

    def act(self, p: str, name: str) -> bool:
        random = self.random
        regions = self.processes.get(p, {})
        halted = p in self.halted.values()
        cpu = self.cpu.get(p, 0)
        tail = ""
        if name == "map":
            free = [r for r in "ABC" if r not in regions]
            if not free:
                return False
            pages = self.region_pages()
            advice = random.choice(("hugepage",) * 6 + ("nohugepage", "none"))
            self.processes.setdefault(p, {})[free[0]] = pages
            self.cpu.setdefault(p, 0)
            # Slots are handed out from 1 or from a multiple of 512 on: such starts let large swap-ins happen.
            align = 9 if pages > 512 else random.choice((0, 9, 9, random.randrange(10)))
            tail = f"{free[0]} {pages} {align} {advice}"
        elif name == "fork":
            fresh = [q for q in _NAMES if q not in self.processes]
            if halted or not fresh or not regions:
                return False
            self.processes[fresh[0]] = dict(regions)
            self.cpu[fresh[0]] = cpu
            tail = fresh[0]
        elif name == "exit":
            if halted or not self.one_in(2):
                return False
            del self.processes[p], self.cpu[p]
        elif name == "cpu":
            if self.cpus == 1:
                return False
            self.cpu[p] = random.randrange(self.cpus)
            tail = str(self.cpu[p])
        elif name == "srand":
            tail = str(random.randrange(4))
        elif name == "fault_end":
            if self.halted.get(cpu) != p:
                return False
            del self.halted[cpu]
        elif not regions:
            return False
        elif name in ("race", "churn", "regrow", "hole"):
            return getattr(self, name)(p, random.choice(tuple(regions)))
        else:
            r = random.choice(tuple(regions))
            pages = regions[r]
            if name in ("pageout", "read", "poke", "dontneed"):
                tail = f"{r} {self.span(pages)}"
            elif name == "write":
                tail = f"{r} {self.span(pages)} {self.pattern()}"
            elif name in ("randwrite", "randdontneed"):
                step = min(pages, 1 << random.randrange(6))
                tail = f"{r} {step} {random.randrange(1, 5)} {self.pattern()}"
            elif name == "advise":
                tail = f"{r} {random.choice(('hugepage', 'nohugepage', 'uffd', 'nouffd'))}"
            elif name == "fault_begin":
                if cpu in self.halted:
                    return False
                self.halted[cpu] = p
                tail = f"{r} {random.randrange(pages)} {random.choice(('read', 'write'))}"
            elif name == "unmap":
                if halted:
                    return False
                del regions[r]
                tail = r
        self.add(p, f"{name} {tail}".rstrip())
        return True

    def add(self, p: str, line: str) -> None:
        self.lines.append(line if p == "0" else f"@{p} {line}")

    def race(self, p: str, r: str) -> bool:
        """A fault that halts while other threads work on the pages around it."""
        random = self.random
        cpu = self.cpu[p]
        if cpu in self.halted:
            return False
        pages = self.processes[p][r]
        page = random.randrange(pages)
        first = max(0, page - random.choice((0, 0, 1, 8)))
        span = f"{r} {first} {min(pages - first, page - first + random.choice((1, 1, 4, 16)))}"
        if self.one_in(3) and self.act(p, "fork"):
            # Entries used twice around one used once: some faults read ahead, some do not.
            self.add(tuple(self.processes)[-1], f"dontneed {r} {page} 1")
        self.add(p, f"fault_begin {r} {page} {random.choice(('read', 'write'))}")
        for _ in range(random.randrange(1, 4)):
            name = random.choice(("read", "write", "poke", "dontneed", "pageout", "pageout"))
            self.add(p, f"{name} {span} {self.pattern()}" if name == "write" else f"{name} {span}")
        if self.one_in(3):
            # The slot that the fault has read may be handed out again, even to the same page.
            for _ in range(random.randrange(min(12, self.slots // 2))):
                self.add(p, f"write {span} {self.pattern()}")
                self.add(p, f"pageout {span}")
        self.add(p, "fault_end")
        return True

    def hole(self, p: str, r: str) -> bool:
        """A block swapped out together that then loses a page and is touched on both sides of it."""
        random = self.random
        pages = self.processes[p][r]
        block = 1 << self.block_order if self.block_order > 1 else random.choice((4, 16, 64))
        first = random.randrange(-(-pages // block)) * block
        n = min(pages - first, block)
        if not self.one_in(3):
            self.add(
                p, f"write {r} 0 {pages} {random.choice(('rand:1', 'text:1', 'mix:1', 'zero', 'class:game_native'))}"
            )
            self.add(p, f"pageout {r} 0 {pages}")
        if self.one_in(3):
            self.act(p, "fork")
        for name in random.sample(("dontneed", "poke", "read", "pageout", "dontneed"), random.randrange(2, 5)):
            q = random.choice([one for one in self.processes if self.processes[one].get(r) == pages])
            at = random.choice((0, n - 1, random.randrange(n)))
            self.add(q, f"{name} {r} {first + at} {random.choice((1, random.randrange(1, n - at + 1)))}")
        return True

    def end(self) -> None:
        """Every process ends, after the fault it may be halted in."""
        for cpu, p in tuple(self.halted.items()):
            if self.cpu[p] != cpu:
                self.add(p, f"cpu {cpu}")
            self.add(p, "fault_end")
            self.cpu[p] = cpu
        for p in tuple(self.processes):
            self.add(p, "exit")

    def churn(self, p: str, r: str) -> bool:
        """The same pages written and swapped out again and again: new slots each time, until they come round."""
        span = f"{r} {self.span(self.processes[p][r])}"
        for _ in range(self.random.randrange(2, 6)):
            self.add(p, f"write {span} {self.pattern()}")
            self.add(p, f"pageout {span}")
        return True

    def regrow(self, p: str, r: str) -> bool:
        """Swap-out in small folios, swap-in in large ones, which may meet mixed contents and slots."""
        random = self.random
        self.lines.append("thp " + " ".join(f"{kb}=never" for kb in SIZES_KIB))
        span = f"{r} 0 {self.processes[p][r]}"
        self.add(p, f"write {span} {random.choice(('mix:1', 'mix:2', 'mix:3', 'zero', 'text:1'))}")
        if self.one_in(2):
            span = f"{r} {self.span(self.processes[p][r])}"
            self.add(p, f"write {span} {self.pattern()}")
        self.add(p, f"pageout {r} 0 {self.processes[p][r]}")
        self.lines.append(f"thp {self.thp(random.randrange(1, 6))}")
        self.add(p, f"advise {r} hugepage")
        self.add(p, f"{random.choice(('read', 'poke'))} {span}")
        return True


def random_script(random: Random, operations: int, blocks: bool = False) -> str:
    """Text of a script with that many operations.

    Its first operations map, fill and swap out a region, without which few of the others have anything to do.

    Parameters
    ----------
    random : Random
        Source of all choices; one of Hypothesis' makes scripts shrink.
    operations : int
        Length of the script, cfg lines and the processes' ends not counted.
    blocks : bool
        Whether zram compresses blocks of several pages in any case.
    """
    writer = _Writer(random, blocks)
    writer.config()
    heading = len(writer.lines)
    writer.act("0", "map")
    start = (("write", "pageout"), ("write", "pageout"), ("regrow",), ())
    for name in random.choice(start + (("hole", "hole"),) * (4 if writer.block_order else 0)):
        writer.act("0", name)
    attempts = 0
    while len(writer.lines) < heading + operations and attempts < 8 * operations:
        writer.operation()
        attempts += 1
    if writer.one_in(3) or blocks:
        writer.end()
    return "\n".join(writer.lines) + "\n"
