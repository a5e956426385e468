"""Compare two policies on the same phones."""

# %% [markdown]
# # Compare policies
#
# Does large swap-in pay? Both policies run on the same devices, whose people do the same things: only what the policy
# causes differs, so few devices are enough. Intervals hold the true value of the fleet with 95 % confidence.

# %%
from fleetswap.api import Scenario, compare

small = {"page_scale": 256}
off = Scenario.load("phones", {**small, "policy.large_swapin": "off"}, devices=40)
on = Scenario.load("phones", {**small, "policy.large_swapin": "on"}, devices=40)
comparison = compare(off, on, threads=2)

# %% [markdown]
# One row per metric and class. `relative` is the change from A to B, `low` and `high` are the ends of its interval;
# `pairing_gain` says how many times more devices it would take for an interval as narrow if each policy ran on devices
# of its own.

# %%
for row in comparison.rows:
    if row["class"] == "all" and row["relative"] is not None:
        interval = f"{row['low']:+8.1%} to {row['high']:+8.1%}" if row["low"] is not None else ""
        gain = f"gain {row['pairing_gain']:.1f}" if row["pairing_gain"] else ""
        print(f"{row['metric']:24} {row['relative']:+8.1%}  {interval}  {gain}")

# %% [markdown]
# The worst class of a metric shows who loses, and `worse_devices` how many devices get worse, however good the mean is.

# %%
for row in comparison.rows:
    if row["metric"] == "pgmajfault" and row["class"] != "all":
        mark = "  (the worst class)" if row["worst"] else ""
        print(f"{row['class']:10} {row['worse_devices']:2} of {row['devices']:2} devices have more major faults{mark}")

# %% [markdown]
# Texts say why. Each appears only if the figures show it.

# %%
for explanation in comparison.to_dict()["explanations"]:
    print(f"{explanation['title']}:\n{explanation['text']}\n")

# %% [markdown]
# `comparison.report_html("report.html")` writes a page for people who decide; `comparison.table()` is an Arrow table.
