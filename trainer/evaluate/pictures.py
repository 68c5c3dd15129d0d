"""Draws reports: a measure of several models by subset, reliability, effects of an audit. It only draws."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers; models in this order, over again after the last."""


def new_figure(width: float, height: float) -> Any:
    """An empty figure in the style of all pictures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Any, *, grid: str = "x") -> None:
    """The frame and grid of all pictures."""
    axes.grid(axis=grid, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plot_measure(report: dict[str, Any], path: Path) -> None:
    """Draws the headline of every model with its interval, one line a subset."""
    models = report["models"]
    subsets = list(next(iter(models.values())))
    figure = new_figure(8.0, 1.2 + 0.28 * len(subsets) * max(2, len(models)))
    axes = figure.add_subplot(facecolor="white")
    draw_intervals(
        axes,
        subsets,
        {model: [by_subset[subset][report["headline"]] for subset in subsets] for model, by_subset in models.items()},
    )
    axes.set_xlabel(report["headline"].replace("_", " "))
    if report["headline"] != "ece":  # a share, to be seen at its full range
        axes.set_xlim(-0.02, 1.02)
    axes.set_title(report["title"])
    figure.legend(loc="outside lower center", ncols=min(4, len(models)), frameon=False)
    figure.savefig(path)


def draw_intervals(axes: Any, labels: Sequence[str], found: dict[str, list[dict[str, Any] | None]]) -> None:
    """Draws points with intervals, one line a label, one colour a model; what has no value is left out."""
    for at, (model, cells) in enumerate(found.items()):
        shift = (at - (len(found) - 1) / 2) * 0.6 / max(1, len(found))
        colour = COLOURS[at % len(COLOURS)]
        named = False
        for place, one in enumerate(cells):
            if one is None or one["value"] is None:
                continue
            low, high = one["interval"] or (one["value"], one["value"])
            error = [[max(0.0, one["value"] - low)], [max(0.0, high - one["value"])]]
            label = None if named else model
            axes.errorbar(
                one["value"], place + shift, xerr=error, fmt="o", color=colour, capsize=3, markersize=5, label=label
            )
            named = True
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    tidy(axes)


def plot_reliability(report: dict[str, Any], path: Path) -> None:
    """Draws the share of right ones against the mean score of each bin, one panel a model."""
    models = report["reliability"]
    figure = new_figure(1.0 + 3.6 * len(models), 4.4)
    for at, (model, variants) in enumerate(models.items(), start=1):
        axes = figure.add_subplot(1, len(models), at, facecolor="white")
        axes.plot([0, 1], [0, 1], color="#777777", linestyle=":", linewidth=1)
        for colour, (variant, bins) in zip(COLOURS, variants.items(), strict=False):
            errors = [
                [max(0.0, b["right"] - b["low"]) for b in bins],
                [max(0.0, b["high"] - b["right"]) for b in bins],
            ]
            axes.errorbar(
                [b["score"] for b in bins],
                [b["right"] for b in bins],
                yerr=errors,
                color=colour,
                marker="o",
                markersize=4,
                linewidth=1,
                elinewidth=0.6,
                label=variant if at == 1 else None,
            )
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("mean score of a bin")
        axes.set_ylabel("share of right ones" if at == 1 else "")
        axes.set_title(model)
        tidy(axes, grid="both")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


_UNITS = {
    "sd": "mean shift, standard deviations of the scores",
    "correlation": "rank correlation",
    "share": "difference of shares",
}


def plot_effects(audits: dict[str, dict[str, Any]], path: Path) -> bool:
    """Draws every effect of an audit with its interval, one panel for each unit; returns whether there is any."""
    panels: dict[str, dict[str, str]] = {}
    for report in audits.values():
        for found in report["findings"]:
            panels.setdefault(found["unit"], {})[found["name"]] = found["title"]
    panels = {unit: panels[unit] for unit in _UNITS if unit in panels}
    if not panels:
        return False
    heights = [len(names) for names in panels.values()]
    figure = new_figure(10.0, 1.2 + 0.75 * len(panels) + 0.2 * sum(heights) * max(2, len(audits)))
    axes_of = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (unit, names) in zip(axes_of, panels.items(), strict=True):
        by_model = {
            model: [next((f for f in report["findings"] if f["name"] == name), None) for name in names]
            for model, report in audits.items()
        }
        axes.axvline(0, color="#777777", linewidth=1)
        draw_intervals(axes, list(names.values()), by_model)
        axes.set_xlabel(_UNITS[unit])
    handles, labels = axes_of[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(audits)), frameon=False)
    figure.savefig(path)
    return True


def plot_curves(audits: dict[str, dict[str, Any]], path: Path) -> bool:
    """Draws the best-of-N curves of an audit; returns whether there is any."""
    figure = new_figure(8.0, 4.0)
    axes = figure.add_subplot(facecolor="white")
    ns: set[int] = set()
    for at, (model, report) in enumerate(audits.items()):
        curve = next((f["details"] for f in report["findings"] if f["name"] == "best_of_n_fall"), None)
        if curve is not None:
            colour = COLOURS[at % len(COLOURS)]
            axes.plot(curve["n"], curve["accuracy"], color=colour, marker="o", markersize=5, label=model)
            ns |= set(curve["n"])
    if not ns:
        return False
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(ns), [str(n) for n in sorted(ns)])
    axes.minorticks_off()
    axes.set_xlabel("N samples, the highest score chosen")
    axes.set_ylabel("share of problems solved")
    tidy(axes, grid="both")
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)
    return True
