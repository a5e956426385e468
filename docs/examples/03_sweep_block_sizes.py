"""Sweep the block size of zram, and see which sizes are worth their price."""

# %% [markdown]
# # Sweep block sizes
#
# zram can compress blocks of several pages as one. A larger block can compress better, but a fault on one of its pages
# has to decompress all of it, and what is discarded of it stays in memory. A sweep simulates every combination of some
# values on the same devices. Blocks are used where a large folio covers them; `thrash` enables folios of 64K.

# %%
from fleetswap.analysis.comparison import simulate
from fleetswap.analysis.sweep import Axis, grid, sweep

axes = [
    Axis("device_class.tight-4g.block", ("4K", "16K", "64K")),
    Axis("policy.large_swapin", ("on", "off")),
]
points = grid("thrash", axes, ["page_scale=512", "behaviour.switches_per_day=60"], devices=16)
print(f"{len(points)} points: {'; '.join(point.label for point in points)}")

# %% [markdown]
# Every point is compared with the first one, device by device. The Pareto front has the points that no other point
# beats in one of two metrics without losing in the other.

# %%
metrics = ("ratio_permille", "stall_ns")
found = sweep(points, simulate([point.scenario for point in points]), metrics, pareto=metrics)
for i, point in enumerate(found.points):
    ratio, stall = (found.metrics[metric][i].overall for metric in metrics)
    hours = stall.total_b / stall.devices / 3.6e12
    print(
        f"{point.label:30} ratio {ratio.total_b / max(ratio.base_b, 1):.2f}   stall {hours:.3f} h a device"
        f"{'   on the front' if found.front[i] else ''}"
    )

# %% [markdown]
# What larger blocks change, with intervals. An interval that holds 0 leaves open which is better.

# %%
for i, point in enumerate(found.points[1:], 1):
    interval = found.metrics["stall_ns"][i].overall.relative_paired
    if interval is not None:
        print(f"{point.label:30} stall time {interval.low:+.1%} to {interval.high:+.1%} against {points[0].label}")
