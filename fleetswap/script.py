"""Replay scripts: the `.ops` language of the corpus, parsed and checked line by line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .codec import ALGORITHMS
from .patterns import Pattern, parse_pattern

SIZES_KB = (16, 32, 64, 128, 256, 512, 1024, 2048)
"""Folio sizes of anonymous memory, KiB."""
SETTINGS = ("always", "madvise", "inherit", "never")
KERNELS = ("6.12", "v7")
ADVICE = ("hugepage", "nohugepage", "none")
MAX_PAGES = 32768
"""Pages of a region; regions are 1 GiB apart."""
MAX_REGIONS = 24
MAX_PROCESSES = 62
"""Live processes: more could refer to a swap entry more often than a swap_map byte counts."""
MAX_CPUS = 64
MAX_SLOTS = 1 << 24
PAGE_BYTES = 4096
MAX_WORDS = 63


class ScriptError(ValueError):
    """A script cannot be used; the message names file, line, bad value and an allowed one."""

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")


@dataclass
class Config:
    """The `cfg` lines of a script."""

    cpus: int = 1
    thp: dict[int, str] = field(default_factory=dict)
    page_cluster: int = 3
    large_swapin: bool = True
    zram_bytes: int = 0
    algorithm: str = "lz4"
    mem_limit_bytes: int = 0
    kernel: str = "6.12"
    swapcache_prepare: bool = True


@dataclass(frozen=True)
class Op:
    """One operation of a script.

    Parameters
    ----------
    line : int
        Line of the script, from 1.
    process : str
        Name of the process it runs in.
    name : str
        Operation.
    region : str
        Region it works on; empty if none.
    numbers : tuple of int
        Numeric arguments, in the order of the language.
    pattern : Pattern or None
    text : str
        Label of a dump, child of a fork, advice.
    thp : dict of int to str
        Sizes set by `thp`.
    """

    line: int
    process: str
    name: str
    region: str = ""
    numbers: tuple[int, ...] = ()
    pattern: Pattern | None = None
    text: str = ""
    thp: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Script:
    """A parsed script."""

    path: str
    config: Config
    ops: tuple[Op, ...]
    lines: tuple[str, ...]


def parse_size(text: str) -> int:
    """Bytes of a size such as ``64M`` or ``1600K``.

    Raises
    ------
    ValueError
        If it is not a number with an optional suffix K, M or G.
    """
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)([kKmMgG]?)", text)
    if not match:
        raise ValueError(f"bad size {text!r}; expected a number with an optional K, M or G, such as 64M")
    return int(match[1], 0) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def load_script(path: str | Path) -> Script:
    """Read and check a script.

    Raises
    ------
    ScriptError
        If it cannot be read or contains an error.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ScriptError(str(path), 0, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScriptError(str(path), 0, "is not a text file") from None
    return parse_script(text, str(path))


def parse_script(text: str, path: str = "script") -> Script:
    """Parse the text of a script.

    Raises
    ------
    ScriptError
    """
    parser = _Parser(path)
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
        if words:
            try:
                parser.line(number, words)
            except ValueError as error:
                if isinstance(error, ScriptError):
                    raise
                raise ScriptError(path, number, str(error)) from None
    if not parser.config.zram_bytes:
        raise ScriptError(path, 0, "has no `cfg zram SIZE ALGORITHM` line")
    return Script(path, parser.config, tuple(parser.ops), tuple(lines))


def _number(word: str, what: str, least: int = 0, most: int = (1 << 32) - 1) -> int:
    try:
        value = int(word, 0)
    except ValueError:
        raise ValueError(f"bad {what} {word!r}; expected a number from {least} to {most}") from None
    if not least <= value <= most:
        raise ValueError(f"{what} {value} is out of range; allowed are {least} to {most}")
    return value


def _choice(word: str, what: str, allowed: tuple[str, ...]) -> str:
    if word not in allowed:
        raise ValueError(f"bad {what} {word!r}; allowed are {', '.join(allowed)}")
    return word


def _thp(words: list[str]) -> dict[int, str]:
    sizes: dict[int, str] = {}
    for word in words:
        size, _, setting = word.partition("=")
        if not size.isdigit() or int(size) not in SIZES_KB:
            raise ValueError(f"bad folio size {size!r} in {word!r}; allowed are {', '.join(map(str, SIZES_KB))} (KiB)")
        sizes[int(size)] = _choice(setting, f"setting of {size} KiB folios", SETTINGS)
    return sizes


class _Parser:
    def __init__(self, path: str) -> None:
        self.path = path
        self.config = Config()
        self.ops: list[Op] = []
        self.regions: dict[str, dict[str, int]] = {}
        self.halted: set[str] = set()

    def line(self, number: int, words: list[str]) -> None:
        if words[0] == "cfg":
            if self.ops:
                raise ValueError("cfg lines must come before the first operation")
            self._need(words, 3, "cfg KEY VALUE ...", MAX_WORDS)
            self._cfg(words[1], words[2:])
            return
        process = "0"
        if words[0].startswith("@"):
            process, words = words[0][1:], words[1:]
            if not process or not words:
                raise ValueError("expected @PROCESS OPERATION ...")
        reader: Callable[[int, str, list[str]], Op] | None = getattr(self, f"_op_{words[0]}", None)
        if reader is None:
            known = ", ".join(sorted(n[4:] for n in dir(self) if n.startswith("_op_")))
            raise ValueError(f"unknown operation {words[0]!r}; known are {known}")
        if words[0] not in ("dump", "summary", "thp", "zswap", "verdict"):
            self._process(process)
        self.ops.append(reader(number, process, words))

    def _process(self, name: str) -> None:
        if name not in self.regions:
            if len(self.regions) == MAX_PROCESSES:
                raise ValueError(f"too many processes; at most {MAX_PROCESSES} can be alive")
            self.regions[name] = {}

    @staticmethod
    def _need(words: list[str], least: int, form: str, most: int = 0) -> None:
        if not least <= len(words) <= max(least, most):
            raise ValueError(f"expected `{form}`, got `{' '.join(words)}`")

    def _region(self, process: str, name: str) -> int:
        regions = self.regions[process]
        if name not in regions:
            have = ", ".join(regions) or "none"
            raise ValueError(f"process {process} has no region {name!r}; it has {have}")
        return regions[name]

    def _range(self, process: str, words: list[str]) -> tuple[int, int]:
        pages = self._region(process, words[1])
        page = _number(words[2], "page")
        count = _number(words[3], "page count")
        if page + count > pages:
            raise ValueError(f"pages {page} to {page + count - 1} are outside region {words[1]!r} of {pages} pages")
        return page, count

    def _cfg(self, key: str, values: list[str]) -> None:
        config = self.config
        if key == "cpus":
            config.cpus = _number(values[0], "number of CPUs", 1, MAX_CPUS)
        elif key == "thp":
            config.thp = _thp(values)
        elif key == "page_cluster":
            config.page_cluster = _number(values[0], "page_cluster", 0, 31)
        elif key == "swapin":
            config.large_swapin = _choice(values[0], "swapin", ("large", "small")) == "large"
        elif key == "kernel":
            config.kernel = _choice(values[0], "kernel", KERNELS)
        elif key == "swapcache_prepare":
            config.swapcache_prepare = _choice(values[0], "swapcache_prepare", ("on", "off")) == "on"
        elif key == "zram":
            self._cfg_zram(values)
        else:
            _choice(key, "cfg key", ("cpus", "thp", "page_cluster", "swapin", "zram", "kernel", "swapcache_prepare"))

    def _cfg_zram(self, values: list[str]) -> None:
        if self.config.zram_bytes:
            raise ValueError("a second `cfg zram`; one zram device is modelled")
        size = parse_size(values[0])
        slots = -(-size // PAGE_BYTES)
        if not 10 <= slots <= MAX_SLOTS:
            raise ValueError(f"zram size {values[0]!r} cannot be; allowed are 40K (10 pages) to {MAX_SLOTS >> 18}G")
        self.config.zram_bytes = slots * PAGE_BYTES
        for value in values[1:]:
            if value.startswith("mem_limit="):
                self.config.mem_limit_bytes = parse_size(value.removeprefix("mem_limit="))
            else:
                self.config.algorithm = _choice(value, "compression algorithm", ALGORITHMS)

    def _op_map(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 5, "map REGION PAGES ALIGN hugepage|nohugepage")
        regions = self.regions[process]
        if words[1] in regions:
            raise ValueError(f"process {process} has a region {words[1]!r} already; unmap it first")
        if len(regions) == MAX_REGIONS:
            raise ValueError(f"process {process} has {MAX_REGIONS} regions, the most there can be")
        pages = _number(words[2], "number of pages", 1, MAX_PAGES)
        align = _number(words[3], "alignment", 0, 17)
        regions[words[1]] = pages
        return Op(line, process, "map", words[1], (pages, align), text=_choice(words[4], "advice", ADVICE))

    def _op_write(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 5, "write REGION PAGE COUNT PATTERN")
        return Op(line, process, "write", words[1], self._range(process, words), parse_pattern(words[4]))

    def _ranged(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 4, f"{words[0]} REGION PAGE COUNT")
        return Op(line, process, words[0], words[1], self._range(process, words))

    _op_read = _op_poke = _op_pageout = _op_dontneed = _ranged

    def _op_advise(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 3, "advise REGION hugepage|nohugepage|uffd|nouffd")
        self._region(process, words[1])
        advice = _choice(words[2], "advice", ("hugepage", "nohugepage", "uffd", "nouffd"))
        return Op(line, process, "advise", words[1], text=advice)

    def _op_unmap(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "unmap REGION")
        self._region(process, words[1])
        del self.regions[process][words[1]]
        return Op(line, process, "unmap", words[1])

    def _op_exit(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, "exit")
        del self.regions[process]
        return Op(line, process, "exit")

    def _op_fork(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "fork PROCESS")
        if words[1] in self.regions:
            raise ValueError(f"process {words[1]} exists already; fork needs a new name")
        self._process(words[1])
        self.regions[words[1]] = dict(self.regions[process])
        return Op(line, process, "fork", text=words[1])

    def _op_cpu(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "cpu NUMBER")
        return Op(line, process, "cpu", numbers=(_number(words[1], "CPU", 0, self.config.cpus - 1),))

    def _op_thp(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "thp SIZEKB=SETTING ...", MAX_WORDS)
        return Op(line, process, "thp", thp=_thp(words[1:]))

    def _op_srand(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "srand SEED")
        return Op(line, process, "srand", numbers=(_number(words[1], "seed"),))

    def _random(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 5, f"{words[0]} REGION ALIGN COUNT PATTERN")
        pages = self._region(process, words[1])
        align = _number(words[2], "step in pages", 1, pages)
        count = _number(words[3], "number of steps")
        return Op(line, process, words[0], words[1], (align, count), parse_pattern(words[4]))

    _op_randwrite = _op_randdontneed = _random

    def _op_fault_begin(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 4, "fault_begin REGION PAGE read|write")
        pages = self._region(process, words[1])
        page = _number(words[2], "page", 0, pages - 1)
        return Op(line, process, "fault_begin", words[1], (page,), text=_choice(words[3], "access", ("read", "write")))

    def _op_fault_end(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, "fault_end")
        return Op(line, process, "fault_end")

    def _op_zswap(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, "zswap")
        return Op(line, process, "zswap")

    def _op_verdict(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 4, "verdict folio|charge|swap SIZEKB BITS")
        _choice(words[1], "request", ("folio", "charge", "swap"))
        size = _number(words[2], "folio size", 4, 2048)
        if size not in (4, *SIZES_KB):
            raise ValueError(f"bad folio size {size}; allowed are 4, {', '.join(map(str, SIZES_KB))} (KiB)")
        if not re.fullmatch(r"[01]{1,63}", words[3]):
            raise ValueError(f"bad verdicts {words[3]!r}; expected up to 63 digits 0 (refused) or 1 (granted)")
        return Op(line, process, "verdict", numbers=(size, len(words[3]), int(words[3][::-1], 2)), text=words[1])

    def _labelled(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, f"{words[0]} LABEL", 2)
        return Op(line, process, words[0], text=words[1] if len(words) > 1 else "")

    _op_dump = _op_summary = _labelled
