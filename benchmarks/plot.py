"""Draw the report of a benchmark: python -m benchmarks.plot REPORT PNG"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

BASELINE = "torch, nn.Dropout"
BOUND = "dense products"

# The colours of Okabe and Ito, which people with any colour vision can distinguish.
COLOURS = {
    "this library": "#0072B2",
    "torch by hand": "#E69F00",
    "other libraries": "#CC79A7",
    "bound: the matrix products alone": "#999999",
}

# Ours is first.
SERVER_COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#56B4E9")


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw latencies if the report has some, else speeds of training."""
    if "latency" in report:
        draw_latencies(report, path)
    else:
        draw_speeds(report, path)


def draw_speeds(report: dict[str, Any], path: Path) -> None:
    """Draw rows a second of every contender relative to the plain torch loop, one panel a case."""
    cases = {n: s for n, s in report["sections"].items() if BASELINE in s["rows_per_second"]}
    names = list(dict.fromkeys(n for s in cases.values() for n in (*s["ratios"], *s["skipped"])))
    num_rows = min(2, len(cases))
    num_columns = -(-len(cases) // num_rows)
    figure, grid = plt.subplots(
        num_rows,
        num_columns,
        figsize=(3.0 + 4.2 * num_columns, 1.6 + (0.6 + 0.31 * len(names)) * num_rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    panels = list(grid.T.flat)  # cases come in pairs, and a column has one width
    for panel, (title, section) in zip(panels, cases.items(), strict=False):
        _draw_case(panel, title, section, names)
    for panel in panels[len(cases) :]:
        panel.set_visible(False)
    figure.suptitle(_title(report), fontsize=13)
    for panel in grid[-1]:
        panel.set_xlabel(f"rows/s relative to {BASELINE}")
    patches = [Patch(color=colour, label=family) for family, colour in COLOURS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_case(panel: Axes, title: str, section: dict[str, Any], names: list[str]) -> None:
    one = {"low": 1.0, "median": 1.0, "high": 1.0}
    panel.set_title(title, fontsize=10)
    panel.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
    for height, name in enumerate(names):
        if name not in section["rows_per_second"]:
            panel.text(0.02, height, "skipped", va="center", fontsize=8, style="italic")
            continue
        ratio = one if name == BASELINE else section["ratios"][name][BASELINE]
        middle = ratio["median"]
        whiskers = [[middle - ratio["low"]], [ratio["high"] - middle]]
        panel.barh(height, middle, height=0.72, color=COLOURS[_family(name)])
        panel.errorbar(middle, height, xerr=whiskers, color="black", capsize=2.5, linewidth=1)
        panel.annotate(
            f"{middle:.2f}",
            (ratio["high"], height),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.margins(x=0.12)
    panel.spines[["top", "right"]].set_visible(False)


def _family(name: str) -> str:
    if name.startswith("library"):
        return "this library"
    if name.startswith("torch"):
        return "torch by hand"
    return "bound: the matrix products alone" if name == BOUND else "other libraries"


def _title(report: dict[str, Any]) -> str:
    how = f"{report['threads']} threads, {report['num_rounds']} interleaved rounds"
    return f"Rows trained a second on {report['data']}, {how}: medians and quartiles"


def draw_latencies(report: dict[str, Any], path: Path) -> None:
    """Draw which share of the requests took longer, at half of each server's maximum rate."""
    figure, panel = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    slower = [1 - quantile for quantile in report["quantiles"]]
    for colour, (name, latency) in zip(SERVER_COLOURS, report["latency"].items(), strict=False):
        panel.plot(latency["quantiles_ms"], slower, color=colour, label=name)
    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis, unit in ((panel.xaxis, ""), (panel.yaxis, " %")):
        factor = 100 if unit else 1
        axis.set_major_formatter(FuncFormatter(lambda x, _, f=factor, u=unit: f"{f * x:g}{u}"))
    panel.axhline(0.01, color="black", linewidth=0.8, linestyle=":")
    panel.set_xlabel("milliseconds since the request was due")
    panel.set_ylabel("requests that took longer")
    rounds = f"{report['num_rounds']} interleaved rounds"
    panel.set_title(f"1 row, each server at half of its maximum rate, {rounds}", fontsize=11)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
