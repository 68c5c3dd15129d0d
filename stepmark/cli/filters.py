"""`stepmark filter`: problems that repeat others, pass rates, diversity."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Db, Json, open_db
from .output import fields_of, print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from stepmark.flows.filters import FilterReport

app = typer.Typer(
    help="Flag problems that repeat others or a test set; measure difficulty and diversity.", no_args_is_help=True
)

Clear = Annotated[bool, typer.Option("--clear", help="Remove the flags that this filter set, and set none.")]
Source = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Only solutions of sources named so; * is any text.")
]
Generator = Annotated[str | None, typer.Option(help="Only solutions by this model; * matches anything.")]


@app.command()
def duplicates(
    threshold: Annotated[
        float, typer.Option(help="Least similarity (Jaccard, word 5-grams) of duplicates with the same numbers.")
    ] = 0.7,
    clear: Clear = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Flags problems that repeat an earlier one: the same numbers, and the same or almost the same words.

    Problems that differ in their numbers are variants of one family, and stay. Flagged problems stay in the
    database; `generate` leaves them out. Running it again changes nothing.
    """
    from stepmark.flows.filters import DUPLICATE, clear_flags, flag_duplicates

    engine = open_db(db)
    if clear:
        _print_cleared(clear_flags(engine, DUPLICATE), json=json)
        return
    with progress_bar("duplicates") as show:
        report = flag_duplicates(engine, threshold=threshold, progress=show)
    _print(report, "duplicates", json=json)
    if not json and report.n_families_joined:
        print(f"  {report.n_families_joined} families joined another one, so that no split parts duplicates")


@app.command()
def contamination(
    against: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="A test set's source; * is any text. May be repeated.")
    ],
    clear: Clear = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Flags problems that repeat one of a test set: its words, its family, or thirteen words in a row.

    Problems of the test sets themselves are never flagged. Running it again changes nothing; flags against other
    test sets stay.
    """
    from stepmark.flows.filters import CONTAMINATED, clear_flags, flag_contaminated

    engine = open_db(db)
    if clear:
        _print_cleared(clear_flags(engine, CONTAMINATED, against), json=json)
        return
    with progress_bar("contamination") as show:
        report = flag_contaminated(engine, against, progress=show)
    _print(report, "contamination", json=json)
    if not json:
        print(f"  {report.n_in_test_sets} problems of the test sets, {report.n_in_both} of them in other sources too")


@app.command()
def difficulty(
    source: Source = None,
    generator: Generator = None,
    min_pass: Annotated[float, typer.Option(min=0.0, max=1.0, help="Least pass rate of what is listed.")] = 0.0,
    max_pass: Annotated[float, typer.Option(min=0.0, max=1.0, help="Highest pass rate of what is listed.")] = 1.0,
    db: Db = None,
    json: Json = False,
) -> None:
    """Shows how often problems were solved; --json lists each with its pass rate and 95 % interval.

    `stepmark generate solutions` takes the same range by --min-pass and --max-pass.
    """
    from stepmark.flows.filters import measure_difficulty

    report = measure_difficulty(open_db(db), source=source, generator=generator, min_pass=min_pass, max_pass=max_pass)
    if json:
        print_json({**fields_of(report), "problems": [asdict(one) for one in report.problems]})
        return
    print_counts("difficulty", read=report.n_read, kept=len(report.problems), dropped=report.dropped)
    most = max(report.histogram.values(), default=0)
    for name, n in report.histogram.items():
        print(f"  {name:<14} {n:>8,} {'#' * (40 * n // most if most else 0)}")


@app.command()
def diversity(source: Source = None, generator: Generator = None, db: Db = None, json: Json = False) -> None:
    """Shows how much the solutions of a problem differ; --json lists each problem."""
    from stepmark.flows.filters import measure_diversity

    report = measure_diversity(open_db(db), source=source, generator=generator)
    if json:
        problems = [{"problem_id": id_, **asdict(one)} for id_, one in report.problems.items()]
        print_json({**fields_of(report), "problems": problems})
        return
    print_counts("diversity", read=report.n_read, kept=len(report.problems), dropped=report.dropped)
    for name, mean in report.means.items():
        per = "" if name == "distinct 4-grams" else " for each solution"
        print(f"  {name + per:<38} {'-' if mean is None else f'{mean:.3f}'}")


def _print(report: "FilterReport", title: str, *, json: bool) -> None:
    if json:
        print_json({**fields_of(report), "n_kept": report.n_kept})
        return
    print_counts(title, read=report.n_read, kept=report.n_kept, dropped=report.dropped)
    print(f"  {report.n_new} flags are new, {report.n_removed} no longer hold and are gone")


def _print_cleared(n: int, *, json: bool) -> None:
    if json:
        print_json({"n_removed": n})
    else:
        print(f"{n} flags are gone")
