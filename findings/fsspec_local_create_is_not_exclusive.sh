#!/usr/bin/env bash
# fsspec 2026.9.0: pipe_file(..., mode="create") on a local disk asks whether the file exists and then opens it to be
# written over. Of processes that create the same name at the same moment several succeed, and none is told; the name is
# there before its content is. On S3 and GCS the same call is a conditional put, which is why programs use it as a lock.
# What open(2) promises with O_EXCL is counted beside it: one creator each round, always.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fsspec==2026.9.0

cat > "$folder/creators.py" <<'EOF'
import os
import sys
from multiprocessing import Barrier, Process, Queue

from fsspec.implementations.local import LocalFileSystem

CREATORS, ROUNDS = 4, 500
disk = LocalFileSystem()


def by_fsspec(path):
    disk.pipe_file(path, b"mine", mode="create")


def by_open(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def create(way, folder, barrier, results):
    created = []
    for number in range(ROUNDS):
        barrier.wait()
        try:
            way(f"{folder}/{way.__name__}-{number}")
        except FileExistsError:
            continue
        created.append(number)
    results.put(created)


for way in (by_open, by_fsspec):
    barrier, results = Barrier(CREATORS), Queue()
    processes = [Process(target=create, args=(way, sys.argv[1], barrier, results)) for _ in range(CREATORS)]
    for process in processes:
        process.start()
    created = sorted(number for _ in processes for number in results.get())
    for process in processes:
        process.join()
    several = len(created) - len(set(created))
    print(f"{way.__name__}: {len(set(created))} rounds, {'more than one creator in some' if several else 'one creator in each'}")
    print(f"  {several} creators too many", file=sys.stderr)
EOF
mkdir "$folder/files"
"$folder/venv/bin/python" "$folder/creators.py" "$folder/files" > "$folder/seen"
diff "$folder/seen" - <<'EOF'
by_open: 500 rounds, one creator in each
by_fsspec: 500 rounds, more than one creator in some
EOF
cat "$folder/seen"
