"""Replay scripts: the `.ops` language of the corpus, parsed and checked line by line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fleetswap_kernels.device.content.page_patterns import CLASS, FILL, ZERO
from fleetswap_kernels.layout.codecs import SIZING_CODECS
from fleetswap_kernels.layout.pages import SIZES_KIB

from ..errors import InputError
from ..scenario.content_library import class_names
from .arguments import read_choice, read_number
from .config import FORMS, MAX_WORDS, WORDS, ZRAM_FORM, Config, read_thp, set_option
from .patterns import Pattern, parse_pattern

ADVICE = ("hugepage", "nohugepage", "none")
MAX_PAGES = 32768
"""Pages of a region; regions are 1 GiB apart."""
MAX_REGIONS = 24
MAX_PROCESSES = 62
"""Live processes: more could refer to a swap entry more often than a swap_map byte counts."""

_NO_PROCESS = ("dump", "summary", "thp", "zswap", "verdict")
"""Operations that no process executes."""


class ScriptError(InputError):
    """A script cannot be used; the message names file, line, bad value and an allowed one.

    Parameters
    ----------
    path : str
    line : int
        From 1; 0 if no line is to blame.
    message : str
    """

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(path, line, message)
        self.path = path
        self.line = line
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


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


def load_script(path: str | Path) -> Script:
    """Read and check a script.

    Raises
    ------
    ScriptError
        If it cannot be read or contains an error.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ScriptError(str(path), 0, f"cannot be read: {error.strerror}") from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ScriptError(str(path), line, f"byte {data[error.start]:#x} is not UTF-8 text") from None
    return parse_script(text, str(path))


def parse_script(text: str, path: str = "script", classes: tuple[str, ...] = ()) -> Script:
    """Parse the text of a script.

    Parameters
    ----------
    text, path : str
    classes : tuple of str
        Content classes it may name; those of the built-in library by default.

    Raises
    ------
    ScriptError
        With the first line that cannot be.
    """
    parser = _Parser(classes or class_names())
    # Lines and words end where the replayer's do: splitlines() and split() know many more separators.
    lines = text.removesuffix("\n").split("\n")
    for at, line in enumerate(lines, 1):
        words = re.findall(r"[^ \t\r]+", line.split("#", 1)[0])
        if words:
            try:
                parser.line(at, words)
            except ValueError as error:
                raise ScriptError(path, at, str(error)) from None
    if "zram" not in parser.given:
        raise ScriptError(path, len(lines), f"the script ends without a line `{ZRAM_FORM}`")
    return Script(path, parser.config, tuple(parser.ops), tuple(lines))


class _Parser:
    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.config = Config()
        self.given: set[str] = set()
        self.ops: list[Op] = []
        self.regions: dict[str, dict[str, int]] = {}
        self.cpu: dict[str, int] = {}
        self.halted: dict[int, str] = {}

    def line(self, at: int, words: list[str]) -> None:
        if words[0] == "cfg":
            if self.ops:
                raise ValueError("cfg lines must come before the first operation")
            self._need(words, 3, "cfg KEY VALUE ...", MAX_WORDS)
            key = read_choice(words[1], "cfg key", tuple(FORMS))
            if key in self.given:
                raise ValueError(f"a second `cfg {key}`; each can be given once")
            self.given.add(key)
            least, most = WORDS.get(key, (1, 1))
            self._need(words, least + 2, f"cfg {key} {FORMS[key]}", most + 2)
            set_option(self.config, key, words[2:])
            return
        process = "0"
        if words[0].startswith("@"):
            process, words = words[0][1:], words[1:]
            if not process or not words:
                raise ValueError("expected `@PROCESS OPERATION ...`")
        reader: Callable[[int, str, list[str]], Op] | None = getattr(self, f"_op_{words[0]}", None)
        if reader is None:
            known = ", ".join(sorted(n[4:] for n in dir(self) if n.startswith("_op_")))
            raise ValueError(f"unknown operation {words[0]!r}; known are {known}")
        if "zram" not in self.given:
            raise ValueError(f"operation {words[0]!r} before a line `{ZRAM_FORM}`")
        if words[0] not in _NO_PROCESS:
            if words[0] in ("exit", "fork", "unmap") and process in self.halted.values():
                raise ValueError(f"process {process} has a thread halted in a fault; `{words[0]}` must wait for it")
            self._process(process)
        self.ops.append(reader(at, process, words))

    def _process(self, name: str, cpu: int = 0) -> None:
        if name not in self.regions:
            if len(self.regions) == MAX_PROCESSES:
                raise ValueError(f"too many processes; at most {MAX_PROCESSES} can be alive")
            self.regions[name] = {}
            self.cpu[name] = cpu

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
        page = read_number(words[2], "page")
        count = read_number(words[3], "page count")
        if page + count > pages:
            which = f"pages {page} to {page + count - 1} are" if count > 1 else f"page {page} is"
            raise ValueError(f"{which} outside region {words[1]!r} of {pages} pages")
        return page, count

    def _op_map(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 5, "map REGION PAGES ALIGN hugepage|nohugepage")
        regions = self.regions[process]
        if words[1] in regions:
            raise ValueError(f"process {process} has a region {words[1]!r} already; unmap it first")
        if len(regions) == MAX_REGIONS:
            raise ValueError(f"process {process} has {MAX_REGIONS} regions, the most there can be")
        pages = read_number(words[2], "number of pages", 1, MAX_PAGES)
        align = read_number(words[3], "alignment", 0, 17)
        regions[words[1]] = pages
        return Op(line, process, "map", words[1], (pages, align), text=read_choice(words[4], "advice", ADVICE))

    def _op_write(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 5, "write REGION PAGE COUNT PATTERN")
        return Op(line, process, "write", words[1], self._range(process, words), self._pattern(words[4]))

    def _pattern(self, text: str) -> Pattern:
        pattern = parse_pattern(text)
        if pattern.kind == CLASS:
            read_choice(pattern.name, "content class", self.classes)
        elif pattern.kind not in (ZERO, FILL) and self.config.algorithm not in SIZING_CODECS:
            allowed = "zero, fill:BYTE, class:NAME[:VERSION]"
            raise ValueError(f"pattern {text!r}: no compressor for {self.config.algorithm} here; allowed are {allowed}")
        return pattern

    def _ranged(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 4, f"{words[0]} REGION PAGE COUNT")
        return Op(line, process, words[0], words[1], self._range(process, words))

    _op_read = _op_poke = _op_pageout = _op_dontneed = _ranged

    def _op_advise(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 3, "advise REGION hugepage|nohugepage|uffd|nouffd")
        self._region(process, words[1])
        advice = read_choice(words[2], "advice", ("hugepage", "nohugepage", "uffd", "nouffd"))
        return Op(line, process, "advise", words[1], text=advice)

    def _op_unmap(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "unmap REGION")
        self._region(process, words[1])
        del self.regions[process][words[1]]
        return Op(line, process, "unmap", words[1])

    def _op_exit(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, "exit")
        del self.regions[process], self.cpu[process]
        return Op(line, process, "exit")

    def _op_fork(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "fork PROCESS")
        if words[1] in self.regions:
            raise ValueError(f"process {words[1]} exists already; fork needs a new name")
        if words[1].startswith("@"):
            raise ValueError(f"bad process name {words[1]!r}; fork takes it without the @")
        self._process(words[1], self.cpu[process])
        self.regions[words[1]] = dict(self.regions[process])
        return Op(line, process, "fork", text=words[1])

    def _op_cpu(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "cpu NUMBER")
        self.cpu[process] = read_number(words[1], "CPU", 0, self.config.cpus - 1)
        return Op(line, process, "cpu", numbers=(self.cpu[process],))

    def _op_thp(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "thp SIZEKB=SETTING ...", MAX_WORDS)
        return Op(line, process, "thp", thp=read_thp(words[1:]))

    def _op_srand(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 2, "srand SEED")
        return Op(line, process, "srand", numbers=(read_number(words[1], "seed"),))

    def _random(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 5, f"{words[0]} REGION ALIGN COUNT PATTERN")
        pages = self._region(process, words[1])
        align = read_number(words[2], "step in pages", 1, pages)
        count = read_number(words[3], "number of steps")
        return Op(line, process, words[0], words[1], (align, count), self._pattern(words[4]))

    _op_randwrite = _op_randdontneed = _random

    def _op_fault_begin(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 4, "fault_begin REGION PAGE read|write")
        pages = self._region(process, words[1])
        page = read_number(words[2], "page", 0, pages - 1)
        access = read_choice(words[3], "access", ("read", "write"))
        # What follows is another thread of the process, or another process; a device keeps one halted fault per CPU.
        cpu = self.cpu[process]
        if cpu in self.halted:
            raise ValueError(f"CPU {cpu} has a halted fault of process {self.halted[cpu]} already")
        self.halted[cpu] = process
        return Op(line, process, "fault_begin", words[1], (page,), text=access)

    def _op_fault_end(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, "fault_end")
        if self.halted.get(self.cpu[process]) != process:
            raise ValueError(
                f"process {process} has no halted fault on CPU {self.cpu[process]}; `fault_begin` makes one"
            )
        del self.halted[self.cpu[process]]
        return Op(line, process, "fault_end")

    def _op_zswap(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, "zswap")
        return Op(line, process, "zswap")

    def _op_verdict(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 4, "verdict folio|charge|swap SIZEKB BITS")
        read_choice(words[1], "request", ("folio", "charge", "swap"))
        size = read_number(words[2], "folio size", 4, 2048)
        if size not in (4, *SIZES_KIB):
            raise ValueError(f"bad folio size {size}; allowed are 4, {', '.join(map(str, SIZES_KIB))} (KiB)")
        if not re.fullmatch(r"[01]{1,63}", words[3]):
            raise ValueError(f"bad verdicts {words[3]!r}; expected up to 63 digits 0 (refused) or 1 (granted)")
        return Op(line, process, "verdict", numbers=(size, len(words[3]), int(words[3][::-1], 2)), text=words[1])

    def _labelled(self, line: int, process: str, words: list[str]) -> Op:
        self._need(words, 1, f"{words[0]} LABEL", 2)
        return Op(line, process, words[0], text=words[1] if len(words) > 1 else "")

    _op_dump = _op_summary = _labelled
