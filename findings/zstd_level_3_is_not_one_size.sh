#!/usr/bin/env bash
# zstandard 0.23.0 (zstd 1.5.6) and 0.25.0 (zstd 1.5.7): level 3, zram's default, gives other sizes of the same memory:
# larger ones of its pages, smaller ones of its blocks of 64 KiB. Whoever compares a device's mm_stat with sizes from a
# library needs the zstd release that its kernel has.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/sizes.py" <<'EOF'
import random

import zstandard

random.seed(1)
words = [bytes(random.choices(b"abcdefghijklmnop", k=random.randint(2, 9))) + b" " for _ in range(300)]
pages = []
for _ in range(400):
    text = b""
    while len(text) < 4096:
        text += random.choice(words)
    pages.append(text[:4096])
memory = b"".join(pages)
compressor = zstandard.ZstdCompressor(level=3)
of_pages = [len(compressor.compress(page)) for page in pages]
of_blocks = [len(compressor.compress(memory[i : i + 65536])) for i in range(0, len(memory), 65536)]
version = ".".join(map(str, zstandard.ZSTD_VERSION))
print(f"zstd {version}: pages {sum(of_pages)} bytes, blocks of 64 KiB {sum(of_blocks)} bytes")
EOF
for release in 0.23.0 0.25.0; do
    python3 -m venv "$folder/$release"
    "$folder/$release/bin/pip" install --quiet --disable-pip-version-check "zstandard==$release"
    "$folder/$release/bin/python" "$folder/sizes.py"
done | tee "$folder/seen"
diff "$folder/seen" - <<'EOF'
zstd 1.5.6: pages 660069 bytes, blocks of 64 KiB 499098 bytes
zstd 1.5.7: pages 660088 bytes, blocks of 64 KiB 499037 bytes
EOF
