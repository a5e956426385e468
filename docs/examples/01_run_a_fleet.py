"""Run a fleet of phones and look at what came out."""

# %% [markdown]
# # Run a fleet
#
# A scenario says which devices there are, what people do with them and which policy the kernel follows. `phones` is
# built in; every number of it can be changed, here by dotted key. A page scale of 256 makes the phones small enough for
# an example: what counts pages, bytes or time is multiplied by it, so that figures are those of real phones.

# %%
from fleetswap.api import Scenario, run

phones = Scenario.load("phones", {"page_scale": 256, "policy.large_swapin": "on"}, devices=40, seed=1)
print(f"{phones.fleet.title}: {phones.fleet.devices} devices, digest {phones.digest[:12]}")

# %% [markdown]
# Without a folder the run directory is a temporary one, which lives as long as the result. With `out=` it stays, and
# `RunResult.open` reads it again.

# %%
result = run(phones, threads=2)
print(result)

# %% [markdown]
# The summary has every metric by device class: what all devices have together, and quantiles over the devices. The
# whole run counts here; `summary["series"]` has the same for every step.

# %%
for metric in ("pgmajfault", "fallback_permyriad", "kills"):
    figures = result.summary["metrics"]["all"][metric]
    print(f"{metric:20} median device {figures['p50']:>12,}   95 % of devices up to {figures['p95']:>12,}")

# %% [markdown]
# How often the page allocator could give a large folio, over uptime: the more memory is fragmented, the less.

# %%
for size, steps in result.summary["allocation"].items():
    for step in (steps[0], steps[len(steps) // 2], steps[-1]):
        share = 100 * step["granted"] / max(step["wanted"], 1)
        print(f"{size} folios, hour {step['step'] + 1:2}: {step['wanted']:>10,} wanted, {share:5.1f} % granted")

# %% [markdown]
# One row per device, with the kernel's counters under the kernel's names. `result.devices` is the same as a pandas
# DataFrame, `result.series()` and `result.to_xarray()` are metrics over uptime.

# %%
table = result.devices_table
print(f"{table.num_rows} devices, {table.num_columns} columns, for instance {', '.join(table.column_names[:6])}")
