"""Writes a best-of-N evaluation as files and as tables: the library call behind `stepmark evaluate
best-of-n`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from .best_of_n import best_of_n, read_problems
from .plot import STYLES, plot_best_of_n


def write_best_of_n(
    file: Path, out: Path, *, ns: Sequence[int], n_trials: int = 400, n_boot: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Evaluates a JSONL file of problems, writes `best_of_n.json`, `.png` and `.svg` under `out`, returns the
    report.
    """
    report = best_of_n(read_problems(file), ns=ns, n_trials=n_trials, n_boot=n_boot, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "best_of_n.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for ending in ("png", "svg"):
        plot_best_of_n(report, out / f"best_of_n.{ending}")
    return report


def best_of_n_table(report: dict[str, Any]) -> list[Table]:
    """Returns the accuracies (with their deviation over seeds) and the paired differences as tables."""
    table = report["best_of_n"]
    methods = [method for method in STYLES if method in next(iter(table.values()))]
    accuracy = Table("N", *(method.replace("_", " + ") for method in methods), title="share of problems solved")
    for n, cells in table.items():
        accuracy.add_row(n, *(_cell(cells[method]) for method in methods))
    names = list(next(iter(report["differences"].values())))
    difference = Table("N", *names, title="differences with 95 % intervals, paired by problem")
    for n, cells in report["differences"].items():
        difference.add_row(n, *(_interval(cells[name]) for name in names))
    return [accuracy, difference] if names else [accuracy]


def _cell(cell: dict[str, Any]) -> str:
    return f"{cell['mean']:.3f}" if cell["std"] is None else f"{cell['mean']:.3f} ±{cell['std']:.3f}"


def _interval(cell: dict[str, Any]) -> str:
    return f"{cell['mean']:+.3f} [{cell['interval'][0]:+.3f}, {cell['interval'][1]:+.3f}]"
