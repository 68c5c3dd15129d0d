"""`stepmark demo`: one turn of the loop on embedded defaults."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from stepmark.errors import SettingsError

from .options import Json
from .output import print_json
from .progress import stages_of


def demo(
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the database, sets, models and report.")
    ] = Path("demo"),
    seeds: Annotated[int, typer.Option(min=1, max=10, help="Reward models of each kind.")] = 1,
    full: Annotated[
        bool, typer.Option("--full", help="Run the experiments instead, about an hour on two cores.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="With --full: this experiment; may be repeated.")] = None,
    json: Json = False,
) -> None:
    """Imports, samples, verifies, labels, exports, trains, scores and reports; run again, it goes on where it was.

    With --full: the experiments on the loop instead, each into its folder in --out, with one page of results.
    """
    if only and not full:
        raise SettingsError("--only names an experiment; give --full too")
    if full:
        _full(out, only or (), as_json=json)
        return
    from stepmark.flows.demo import DemoPlan, run_demo
    from stepmark.flows.report import summary

    report = run_demo(out, DemoPlan(n_seeds=seeds), watch=stages_of("demo"))
    if json:
        print_json(report)
        return
    for name, seconds in report["timings_s"].items():
        print(f"{seconds:>8.1f} s  {name}")
    print(summary(report))
    print(f"Look at {out / 'report.html'}; label with: stepmark annotate --db sqlite:///{out / 'stepmark.db'}")


def _full(out: Path, only: Sequence[str], *, as_json: bool) -> None:
    from stepmark.flows.experiments.running import run_experiments

    found = run_experiments(out, only=only, watch=stages_of("demo"))
    if as_json:
        print_json({name: findings.as_json() for name, findings in found.items()})
        return
    for name, findings in found.items():
        print(f"{name}: {findings.reached}")
    print(f"Read {out / 'results.md'}")
