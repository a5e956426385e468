"""Record page tables of running processes, here or on a phone, for `fleetswap census` (docs/census.md).

    sudo python record_pagemap.py OUT.npz PID...
    python record_pagemap.py --adb OUT.npz PID...      # a phone with root, over adb

Only private anonymous regions are recorded. Needs NumPy, and on the phone nothing but `cat` and `dd`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

PAGE = 4096
# address range, permissions (p: private), offset, device, inode 0: no file
REGION = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) ...p [0-9a-f]+ \S+ 0(?:\s+(.*))?$")


def on_this_machine(path: str, first: int, count: int) -> bytes:
    """Bytes of a file; all of it if `count` is 0."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a stream of /proc)
        file.seek(first)
        return file.read(count) if count else b"".join(iter(lambda: file.read(1 << 16), b""))


def over_adb(path: str, first: int, count: int) -> bytes:
    """The same on a phone; `first` and `count` are multiples of 8."""
    part = f"dd if={path} bs=8 skip={first // 8} count={count // 8} 2>/dev/null" if count else f"cat {path}"
    return subprocess.run(["adb", "exec-out", "su", "-c", part], capture_output=True, check=True).stdout  # noqa: S603, S607


def regions(maps: bytes) -> Iterator[tuple[int, int]]:
    """First page and number of pages of the private anonymous regions of /proc/PID/maps."""
    for line in maps.splitlines():
        found = REGION.match(line)
        if found and not (found[3] or b"").startswith((b"[vvar", b"[vdso", b"[vsyscall")):
            start, end = int(found[1], 16) // PAGE, int(found[2], 16) // PAGE
            yield start, end - start


def main(out: str, pids: list[str], read=on_this_machine) -> None:
    """Record processes one after the other; those that end meanwhile are left out."""
    words, offsets, starts, process = [np.zeros(0, np.uint64)], [0], [], []
    for pid in pids:
        try:
            for start, pages in list(regions(read(f"/proc/{pid}/maps", 0, 0))):
                part = np.frombuffer(read(f"/proc/{pid}/pagemap", start * 8, pages * 8), np.uint64)
                words.append(part)
                offsets.append(offsets[-1] + len(part))
                starts.append(start)
                process.append(int(pid))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"process {pid}: {error}", file=sys.stderr)
    if not process:
        sys.exit(f"{out}: is not written, since no process could be read")
    np.savez(
        out, pte=np.concatenate(words), offsets=offsets, start=np.array(starts, int), process=np.array(process, int)
    )
    print(f"{out}: {offsets[-1]} pages in {len(starts)} regions")


if __name__ == "__main__":
    phone = sys.argv[1] == "--adb"
    main(sys.argv[1 + phone], sys.argv[2 + phone :], over_adb if phone else on_this_machine)
