"""What a thread asks of memory: how far back it used a sector before, and which loads had to wait for each other.

Threads share the caches of a GPU, so what one of them can keep there is a few cache lines, and how many depends on the
GPU and on how many threads it holds. Reuse distances say for every size at once what would be a hit: an access is one
if the lines touched since the last use of its sector are fewer than the lines that the thread can keep.

Time is counted in loads. A load leaves when its address is known and every branch and store before it is decided; a
value is waited for when it is used (`machine`). The longest such chain is kept together with the reuse distances of
its loads, so that any GPU's latencies can be put in afterwards; which of two chains is longer is decided by nominal
latencies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LINE_SHIFT = 7
SECTOR_SHIFT = 5
"""Lines of 128 bytes in sectors of 32, in the caches of every GPU since Volta."""
EDGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Upper ends of the bins of reuse distances, in lines; the last bin has all beyond, first uses too."""
BINS = len(EDGES) + 1
NOMINAL_CYCLES = (*tuple(40 if e <= 8 else 260 if e <= 16 else 700 for e in EDGES), 700)
"""Which of two chains is the longer one is decided by these, an H100's in round numbers."""
_FIELD = 40
_COST_SHIFT = _FIELD * BINS
_STEPS = [(cycles << _COST_SHIFT) | (1 << (_FIELD * i)) for i, cycles in enumerate(NOMINAL_CYCLES)]
_BIN_OF = [next((i for i, e in enumerate(EDGES) if d <= e), BINS - 1) for d in range(EDGES[-1] + 2)]
_FAR = EDGES[-1] + 1


@dataclass
class Tally:
    """Counts of one kind of work.

    Parameters
    ----------
    loads, stores : int
        Of a device's memory.
    fetches : list of int
        Loads and stores by reuse distance of their sector: what misses in a cache of fewer lines is fetched.
    loads_by_distance : list of int
        The loads among them.
    writebacks : list of int
        Stores by the largest distance since the last store to their sector: in a cache of fewer lines the sector was
        written back between, and will be again.
    chain : list of int
        Loads of the longest chain of dependent loads, by reuse distance.
    shared, local : int
        Accesses to what all threads read (program, content model), and to local memory.
    instructions, branches : int
        PTX instructions and conditional branches.
    alu : int
        PTX instructions that had to follow each other, without loads.
    """

    loads: int = 0
    stores: int = 0
    fetches: list[int] = field(default_factory=lambda: [0] * BINS)
    loads_by_distance: list[int] = field(default_factory=lambda: [0] * BINS)
    writebacks: list[int] = field(default_factory=lambda: [0] * BINS)
    chain: list[int] = field(default_factory=lambda: [0] * BINS)
    shared: int = 0
    local: int = 0
    instructions: int = 0
    branches: int = 0
    alu: int = 0


class MemoryTrace:
    """Observer of a machine.

    Parameters
    ----------
    first, end : int
        Addresses of the devices' memory.
    stack_end : int
        End of the addresses of local memory.
    """

    def __init__(self, first: int, end: int, stack_end: int) -> None:
        self.first, self.end, self.stack_end = first, end, stack_end
        self.clock = 0
        self.runs: list[int] = []
        """How often each block ran, by its number."""
        self.tally = Tally()
        self.sectors: set[int] = set()
        """Distinct sectors touched since it was last emptied."""
        self._recent: list[int] = []
        self._known: set[int] = set()
        # By sector: largest distance of its line since its last use, and since its last store.
        self._used: dict[int, int] = {}
        self._stored: dict[int, int] = {}
        self._start = 0

    def _distance(self, address: int) -> int:
        """Reuse distance of a sector in lines, at most `_FAR`; its line is the most recent one from now on."""
        line = address >> LINE_SHIFT
        recent = self._recent
        if recent and recent[0] == line:
            passed = 1
        elif line in self._known:
            place = recent.index(line)
            del recent[place]
            recent.insert(0, line)
            passed = place + 1
        else:
            self._known.add(line)
            recent.insert(0, line)
            passed = _FAR
            if len(recent) >= _FAR:
                self._known.discard(recent.pop())
        used, stored = self._used, self._stored
        first = line << (LINE_SHIFT - SECTOR_SHIFT)
        if passed > 1:
            for sector in range(first, first + 4):
                if used.get(sector, _FAR) < passed:
                    used[sector] = passed
                if stored.get(sector, _FAR) < passed:
                    stored[sector] = passed
        sector = address >> SECTOR_SHIFT
        distance = max(used.get(sector, _FAR), passed)
        used[sector] = 0
        self.sectors.add(sector)
        return distance

    def load(self, address: int, ready: int) -> int:
        """A load; when its value is there."""
        if not self.first <= address < self.end:
            if address < self.stack_end:
                self.tally.local += 1
            else:
                self.tally.shared += 1
            # Both are near: a thread's own lines of local memory, and what all threads read over and over.
            return ready + _STEPS[0]
        place = _BIN_OF[self._distance(address)]
        tally = self.tally
        tally.loads += 1
        tally.fetches[place] += 1
        tally.loads_by_distance[place] += 1
        return ready + _STEPS[place]

    def store(self, address: int) -> None:
        """A store."""
        if not self.first <= address < self.end:
            self.tally.local += 1
            return
        tally = self.tally
        tally.stores += 1
        tally.fetches[_BIN_OF[self._distance(address)]] += 1
        sector = address >> SECTOR_SHIFT
        tally.writebacks[_BIN_OF[self._stored.get(sector, _FAR)]] += 1
        self._stored[sector] = 0

    def block(self, number: int) -> None:
        """A block is over."""
        runs = self.runs
        if number >= len(runs):
            runs.extend([0] * (number + 1 - len(runs)))
        runs[number] += 1

    def enter(self, function: str, arguments: list[int]) -> None:
        """A function is called."""

    def leave(self) -> None:
        """The function called last returns."""

    def take(self) -> tuple[Tally, list[int]]:
        """Counts since the last time, and how often each block ran."""
        passed = self.clock - self._start
        tally, runs = self.tally, self.runs
        tally.chain = [passed >> (_FIELD * i) & (1 << _FIELD) - 1 for i in range(BINS)]
        self._start = self.clock
        self.tally, self.runs = Tally(), []
        return tally, runs


def cycles_of(time: int) -> int:
    """Nominal cycles of a time."""
    return time >> _COST_SHIFT
