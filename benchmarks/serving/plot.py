"""Draw the latencies of a report: python -m benchmarks.serving.plot REPORT PNG"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

# The colours of Okabe and Ito, which people with any colour vision can distinguish; ours is first.
COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#56B4E9")


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw which share of the requests took longer, at half of each server's maximum rate."""
    figure, panel = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    slower = [1 - quantile for quantile in report["quantiles"]]
    for colour, (name, latency) in zip(COLOURS, report["latency"].items(), strict=False):
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
