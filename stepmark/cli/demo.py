"""`stepmark demo`: one turn of the loop on embedded defaults."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from stepmark.progress import Progress

from .options import Json
from .output import print_json
from .progress import progress_bar


def demo(
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the database, sets, models and report.")
    ] = Path("demo"),
    seeds: Annotated[int, typer.Option(min=1, max=10, help="Reward models of each kind.")] = 1,
    json: Json = False,
) -> None:
    """Imports, samples, verifies, labels, exports, trains, scores and reports; run again, it goes on where it was."""
    from stepmark.flows.demo import DemoPlan, run_demo
    from stepmark.flows.report import summary

    report = run_demo(out, DemoPlan(n_seeds=seeds), watch=_watch)
    if json:
        print_json(report)
        return
    for name, seconds in report["timings_s"].items():
        print(f"{seconds:>8.1f} s  {name}")
    print(summary(report))
    print(f"Look at {out / 'report.html'}; label with: stepmark annotate --db sqlite:///{out / 'stepmark.db'}")


@contextmanager
def _watch(stage: str) -> Iterator[Progress]:
    started = time.perf_counter()
    with progress_bar(stage) as show:
        yield show
    if not sys.stderr.isatty():
        print(f"demo: {stage}, {time.perf_counter() - started:.1f} s", file=sys.stderr)
