"""Made-up summaries of runs and comparisons, and the same with something harmful in every text."""

from __future__ import annotations

from typing import Any

EVIL = '<script src="http://evil.example/x.js">&"\'$x^2$'


def quantiles(total: int, p5: int, p50: int, p95: int, p99: int) -> dict[str, int]:
    return {"total": total, "p5": p5, "p50": p50, "p95": p95, "p99": p99}


def point(step: int, total: int, p5: int, p50: int, p95: int) -> dict[str, int]:
    return {"step": step, "total": total, "p5": p5, "p50": p50, "p95": p95}


def sample(large_swapin: str = "on") -> dict[str, Any]:
    """A run of 30 devices of two classes over three steps of 8 hours."""
    small = {
        "fallback_permyriad": quantiles(7011, 1201, 7405, 8831, 9102),
        "pgmajfault": quantiles(123_456, 1003, 4117, 9871, 12_007),
        "memory_saved_bytes": quantiles(9 << 30, 300_000_001, 900_000_007, 1_500_000_011, 1_700_000_013),
        "ratio_permille": quantiles(2799, 2411, 2803, 3199, 3307),
        "stall_ns": quantiles(10**12, 11_000_000_019, 33_000_000_023, 99_000_000_029, 120_000_000_031),
        "kills": quantiles(57, 0, 3, 11, 14),
        "nr_vmscan_write": quantiles(1, 0, 0, 1, 1),
    }
    large = {name: {key: value // 2 for key, value in cell.items()} for name, cell in small.items()}
    steps = {
        "fallback_permyriad": [
            point(0, 9000, 11, 312, 1507),
            point(1, 50_000, 907, 4211, 6103),
            point(2, 70_000, 1201, 7405, 8831),
        ],
        "stall_ns": [point(0, 10**11, 10**9, 3_000_000_001, 8 * 10**9), point(1, 2, 1, 1, 2), point(2, 3, 1, 2, 3)],
        "kills": [point(0, 5, 0, 0, 1), point(1, 19, 0, 1, 2), point(2, 33, 0, 1, 4)],
    }
    return {
        "scenario": {
            "scenario": "sample",
            "title": "Two classes of phones",
            "description": "Made up",
            "devices": 30,
            "seed": 41,
            "days": 1,
            "page_scale": 64,
            "policy": {
                "kernel": "6.12",
                "large_swapin": large_swapin,
                "swapin_sizes": {},
                "zeromap": "on",
                "thp": "madvise",
                "mthp": {"16K": "inherit", "64K": "always", "128K": "never"},
                "margin_rule": False,
                "large_pool": {"share_percent": 10, "size": "64K"},
                "compaction": {"enabled": True},
                "lmkd": {"enabled": False},
            },
            "device_class": {
                "phone-2g": {"share": 2, "ram": "2G", "zram": "50p", "codec": "lz4", "block": "4K", "cpus": 8},
                "phone-12g": {"share": 1, "ram": "12G", "zram": "4G", "codec": "zstd", "block": "64K", "cpus": 8},
            },
        },
        "digest": "0123abcd",
        "versions": {"fleetswap": "0.1.0", "numpy": "2.4.6"},
        "backend": "cpu",
        "metrics": {"all": small, "phone-2g": small, "phone-12g": large},
        "devices": {"all": 30, "phone-2g": 20, "phone-12g": 10},
        "series": {"all": steps, "phone-2g": steps, "phone-12g": steps},
        "hours_per_step": 8.0,
        "fallback": {
            "swapin": {"policy": 0, "allocation": 5121, "order_mismatch": 733, "of a later version": 29},
            "swapout": {"swap_full": 17, "no_aligned_hole": 48_611, "order_mismatch": 2003},
        },
        "allocation": {
            "16K": [
                {"step": 0, "wanted": 1009, "granted": 1001},
                {"step": 1, "wanted": 2003, "granted": 1511},
                {"step": 2, "wanted": 0, "granted": 0},
            ],
            "64K": [
                {"step": 0, "wanted": 503, "granted": 499},
                {"step": 1, "wanted": 701, "granted": 307},
                {"step": 2, "wanted": 809, "granted": 101},
            ],
        },
        "census": {"0": 90_007, "2": 10_009, "4": 50_021},
        "quantile_error": "1/64",
        "warnings": ["phone-2g: hardly meant"],
        "assumptions": ["shares of classes are assumed", "policy stands for itself"],
    }


def sample_comparison() -> dict[str, Any]:
    def row(
        metric: str, device_class: str, effect: tuple[float, float, float], better: str, worse: int
    ) -> dict[str, Any]:
        relative, low, high = effect
        return {
            "metric": metric,
            "class": device_class,
            "a": 4117,
            "b": 3905,
            "relative": relative,
            "low": low,
            "high": high,
            "better": better,
            "pairing_gain": 7.25,
            "worse_devices_permille": worse,
        }

    return {
        "a": sample("off"),
        "b": sample("on"),
        "label_a": "large swap-in off",
        "label_b": "large swap-in on",
        "rows": [
            row("nr_vmscan_write", "all", (0.0, -0.02, 0.02), "unclear", 421),
            row("pgmajfault", "all", (-0.4321, -0.4502, -0.4117), "b", 12),
            row("pgmajfault", "phone-2g", (-0.5103, -0.5507, -0.4709), "b", 7),
            row("pgmajfault", "phone-12g", (0.0211, -0.0103, 0.0507), "unclear", 318),
            row("pswpin", "all", (1.75, 1.5, 2.1), "a", 991),
        ],
        "explanations": [
            {"title": "Fewer faults, more pages", "text": "One fault brings 16 pages.\n\nNot all are needed."}
        ],
    }


def evil(value: Any) -> Any:
    """The same structure with something harmful in every name and text but the keys that the report looks up."""
    known = {"all", "p5", "p50", "p95", "p99", "total", "step", "wanted", "granted"}
    if isinstance(value, dict):
        return {key: evil(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [evil(inner) for inner in value]
    return value if not isinstance(value, str) or value in known else value + EVIL


def evil_summary() -> dict[str, Any]:
    summary = sample()
    for name in ("metrics", "devices", "series"):
        summary[name] = {key if key == "all" else key + EVIL: value for key, value in summary[name].items()}
    summary["allocation"] = {key + EVIL: value for key, value in summary["allocation"].items()}
    summary["fallback"] = {
        kind: {key + EVIL: n for key, n in reasons.items()} for kind, reasons in summary["fallback"].items()
    }
    summary["versions"] = {key + EVIL: value + EVIL for key, value in summary["versions"].items()}
    classes = summary["scenario"]["device_class"]
    summary["scenario"] = evil(summary["scenario"])
    summary["scenario"]["device_class"] = {key + EVIL: evil(value) for key, value in classes.items()}
    for key in ("digest", "backend", "warnings", "assumptions", "quantile_error"):
        summary[key] = evil(summary[key])
    return summary


def evil_comparison() -> dict[str, Any]:
    comparison = sample_comparison()
    comparison |= {"a": evil_summary(), "b": evil_summary(), "label_a": "off" + EVIL, "label_b": "on" + EVIL}
    comparison["explanations"] = evil(comparison["explanations"])
    for row in comparison["rows"]:
        row["class"] += "" if row["class"] == "all" else EVIL
        row["metric"] += EVIL if row["metric"] == "nr_vmscan_write" else ""
    return comparison
