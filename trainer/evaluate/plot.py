"""Draws the best-of-N curve. It only draws: the numbers come from `best_of_n`."""

from pathlib import Path
from typing import Any

STYLES: dict[str, tuple[str, str, str, str]] = {
    "oracle": ("oracle (any right)", "#777777", ":", ""),
    "prm_vote": ("PRM-weighted vote", "#0072B2", "--", "s"),
    "prm": ("PRM, best score", "#0072B2", "-", "o"),
    "orm_vote": ("ORM-weighted vote", "#D55E00", "--", "s"),
    "orm": ("ORM, best score", "#D55E00", "-", "o"),
    "bt": ("Bradley-Terry, best score", "#009E73", "-", "D"),
    "majority": ("majority vote", "#000000", "-", "^"),
    "pass1": ("one sample", "#777777", "-", ""),
    "chance": ("chance (unique texts)", "#777777", "-.", ""),
}
"""Label, colour (Okabe and Ito's, told apart by colour-blind readers), line and marker of each method."""


def plot_best_of_n(report: dict[str, Any], path: Path, *, title: str = "") -> None:
    """Draws accuracy against N, one line for each method, with a band of one deviation over the model's
    seeds.

    Args:
        report: what `best_of_n` returned.
        path: ends in .png or .svg.
        title: above the axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table: dict[str, dict[str, dict[str, Any]]] = report["best_of_n"]
    ns = [int(n) for n in table]
    figure = Figure(figsize=(8.0, 5.0), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor="white")
    for method, (label, colour, line, marker) in STYLES.items():
        cells = [table[str(n)].get(method) for n in ns]
        if any(cell is None for cell in cells):
            continue
        means = [cell["mean"] for cell in cells if cell]
        axes.plot(ns, means, color=colour, linestyle=line, marker=marker or None, markersize=5, label=label)
        spread = [cell["std"] for cell in cells if cell]
        if all(value is not None for value in spread):
            low = [a - b for a, b in zip(means, spread, strict=True)]
            high = [a + b for a, b in zip(means, spread, strict=True)]
            axes.fill_between(ns, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ns, [str(n) for n in ns])
    axes.minorticks_off()
    axes.set_xlabel("N, solutions sampled for each problem")
    axes.set_ylabel("share of problems solved")
    axes.set_title(title)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)
