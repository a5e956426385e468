"""Fits the numbers of the built-in cost profiles; prints what stands in `fleetswap/data/cost`.

    .venv/bin/python docs/calibration/fit_profiles.py

patch-phone: the posting's swap times are linear in the profile's keys, with the counters of a simulated run of the same
experiment as coefficients. Fault, map and fill come from the bandwidth table; then lz4 4K, zstd 4K and lz4 64K give
three equations for each direction. zstd 64K is left out, to be predicted. x86-server: two measured sizes of folios for
each direction.
"""

import csv
from pathlib import Path

import numpy as np

import fleetswap
from fleetswap.conformance.costs import BANDWIDTH_BYTES_PER_MS, SWAP_TIMES_MS
from fleetswap.scenario.content_library import class_names
from fleetswap.workload.experiments import changes_by_dump, swap_time_script
from fleetswap_kernels.layout import counters

MIX, REGIONS = "mix_64k_blocks", "mix_2m_regions"
DIRECTIONS = ("comp", "decomp")


def read_throughput():
    """Rows of the codecs' measured speed, by (sample, codec, KiB)."""
    path = Path(fleetswap.__file__).parent / "data" / "content" / "throughput.csv"
    with path.open() as file:
        return {(row["sample"], row["algo"], int(row["kib"])): row for row in csv.DictReader(file)}


THROUGHPUT = read_throughput()


def rate(sample, codec, direction):
    """MB/s over pages of 4 KiB."""
    return float(THROUGHPUT[sample, codec, 4][f"{direction}_mb_s"])


def permille(codec, direction):
    """Time of every class against the mix."""
    return [round(1000 * rate(MIX, codec, direction) / rate(name, codec, direction)) for name in class_names()]


def time_over_4k(codec, direction, order):
    """Time a byte of a block of an order over that of a page; above 64 KiB by the ratios in whole 2 MiB regions."""

    def ratio(sample, k):
        return float(THROUGHPUT[sample, codec, 4 << k][f"{direction}_time_vs_4k"])

    return ratio(MIX, order) if order <= 4 else ratio(MIX, 4) * ratio(REGIONS, order) / ratio(REGIONS, 4)


def slower_than_lz4(codec, direction):
    """Time of a codec over that of lz4, pages of 4 KiB."""
    return rate(MIX, "lz4", direction) / rate(MIX, codec, direction)


def codec_pages(events, codec, direction):
    """Pages of lz4's work in a run, each weighed by its class, codec and block size."""
    weights = permille(codec, direction)
    total = 0.0
    for c, weight in enumerate(weights):
        pages, blocks = (
            int(events[counters.codec_index(f"{direction}ressed_{what}", c)]) for what in ("pages", "blocks")
        )
        total += (pages + 16 * blocks * time_over_4k(codec, direction, 4)) * weight / 1000
    return total * slower_than_lz4(codec, direction)


def objects(events, direction):
    """Pages and blocks the codec worked on."""
    names = (f"{direction}ressed_pages", f"{direction}ressed_blocks")
    return sum(int(events[counters.codec_index(name, c)]) for name in names for c in range(counters.N_CLASSES))


def scalar(events, name):
    """One counter."""
    return int(events[counters.SCALAR_NAMES.index(name)])


def fit_patch_phone():
    """Keys of patch-phone in ns, and lz4's time of a page in both directions."""
    by_page, by_folio = (4096e6 / BANDWIDTH_BYTES_PER_MS[large] for large in (False, True))
    fault = (by_page - by_folio) * 16 / 15
    map_and_fill = by_page - fault
    left, right, left_out, right_out = [], [], [], []
    for codec, kib in (("lz4", 4), ("zstd", 4), ("lz4", 64)):
        in_ms, out_ms, _ = SWAP_TIMES_MS[codec, kib]
        changed = changes_by_dump(swap_time_script(codec, kib))
        events = changed["in"]
        raw = scalar(events, "huge_reads")
        from_codec = objects(events, "decomp") - scalar(events, "blk_decomp") + scalar(events, "blk_pages_read")
        filled = scalar(events, "pswpin") - from_codec - raw + scalar(events, "swpin_zero")
        mapped = scalar(events, "fault_pages") - filled - 2 * raw
        left.append([codec_pages(events, codec, "decomp"), objects(events, "decomp") + raw, mapped])
        known = fault * scalar(events, "pgfault") + map_and_fill * (filled + 2 * raw)
        right.append(in_ms * 1e6 - known)
        events = changed["out"]
        pages = scalar(events, "pswpout") + scalar(events, "swpout_zero")
        left_out.append([codec_pages(events, codec, "comp"), scalar(events, "swapout_folios"), pages])
        right_out.append((out_ms * 1e6, objects(events, "comp")))
    decompress, object_ns, map_page = np.linalg.solve(left, right)
    # A write is taken to cost as much beside the codec as a read; the folio has the rest.
    compress, folio, page = np.linalg.solve(left_out, [ns - object_ns * n for ns, n in right_out])
    keys = {
        "fault_ns": fault,
        "map_page_ns": map_page,
        "fill_page_ns": map_and_fill - map_page,
        "copy_page_ns": 2 * (map_and_fill - map_page),
        "object_read_ns": object_ns,
        "object_write_ns": object_ns,
        "swapout_folio_ns": folio,
        "swapout_page_ns": page,
    }
    return keys, compress, decompress


def fit_server():
    """Keys of x86-server in ns from microseconds a page: same-filled memory by pages and by folios of 64 KiB."""
    fault = (7.7 - 1.6) * 16 / 15 * 1000
    folio = (7.6 - 3.5) * 16 / 15 * 1000
    keys = {"fault_ns": fault, "map_page_ns": 7700 - fault - 400, "fill_page_ns": 400}
    keys |= {"swapout_folio_ns": folio, "swapout_page_ns": 7600 - folio}
    return keys, 4096e3 / rate(MIX, "lz4", "comp"), 4096e3 / rate(MIX, "lz4", "decomp")


def main():
    """Print both profiles."""
    for name, (keys, compress, decompress) in {"patch-phone": fit_patch_phone(), "x86-server": fit_server()}.items():
        print(f"# {name}", *(f"{key} = {round(value)}" for key, value in keys.items()), sep="\n")
        for codec in ("lz4", "lzo-rle", "zstd"):
            print(f"[codec.{codec}]")
            for direction, lz4_ns in zip(DIRECTIONS, (compress, decompress), strict=True):
                page_ns = lz4_ns * slower_than_lz4(codec, direction)
                times = [round(page_ns * (1 << k) * time_over_4k(codec, direction, k)) for k in range(10)]
                print(f"{direction}ress_ns = {times}")


if __name__ == "__main__":
    main()
