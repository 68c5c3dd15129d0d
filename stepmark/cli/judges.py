"""`stepmark judges`: how models judge pairs of solutions and critiques, by themselves and beside people."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepmark.errors import SettingsError

from .options import Db, Json, open_db
from .output import print_json

if TYPE_CHECKING:
    from stepmark.agreement import Coefficient
    from stepmark.agreement.judges import ChoiceReport, CritiqueJudgeReport, Likeness
    from stepmark.intervals import Correlation, Share

app = typer.Typer(help="Report how judges judge.", invoke_without_command=True)

Source = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Only solutions or problems of sources named so; * is any text.")
]
Resamples = Annotated[int, typer.Option(min=0, help="Draws of problems for the intervals of kappa; 0: none.")]
Seed = Annotated[int, typer.Option(min=0, help="Of these draws.")]


@app.callback()
def judges(context: typer.Context, db: Db = None, json: Json = False) -> None:
    """Reports how each judge of pairs judges: flips, position, length, outcomes, people, self-preference.

    Each figure stands with the number it is of and its 95 % interval.
    """
    if context.invoked_subcommand is not None:
        if db is not None or json:
            raise SettingsError(f"give the options after `{context.invoked_subcommand}`, not before it")
        return
    from stepmark.flows.judges import report_judges

    reports = report_judges(open_db(db))
    if json:
        print_json([dataclasses.asdict(report) for report in reports])
        return
    if not reports:
        print("no model has judged a pair yet; start with `stepmark generate preferences`")
    for report in reports:
        print(f"{report.judge}: {report.n_pairs:,} pairs, {report.n_ties:,} ties")
        _lines(
            ("says otherwise when the order is turned", report.flips),
            ("votes for the first solution", report.first_position),
            ("unreadable votes", report.unreadable),
            (f"right over wrong (ties: {report.n_ties_of_outcomes:,})", report.outcomes),
            ("agrees with people", report.people),
            ("prefers its own family", report.own),
            ("  within equal outcomes", report.own_same_outcome),
            ("choice ~ length (Spearman)", report.length),
            ("  within equal outcomes", report.length_same_outcome),
        )


@app.command()
def compare(
    source: Source = None, resamples: Resamples = 1000, seed: Seed = 0, db: Db = None, json: Json = False
) -> None:
    """Sets judges of pairs beside people: who chooses as whom, and what length and place have to do with it.

    Agreement of a judge with people stands beside that of people with each other on the same pairs. Kappa is
    Cohen's, ties are a choice, and 95 % intervals draw whole problems. Start with
    `stepmark generate preferences --pairs compared`, which judges the pairs that people have compared.
    """
    from stepmark.flows.judges import compare_judges

    report = compare_judges(open_db(db), source=source, resamples=resamples, seed=seed)
    if json:
        print_json(dataclasses.asdict(report))
    elif not report.habits:
        print("nobody has chosen between two solutions yet; import preferences, or label pairs")
    else:
        _print_choices(report)


def _print_choices(report: "ChoiceReport") -> None:
    for one in report.habits:
        print(f"{one.labeller}: {one.n_pairs:,} pairs, {'a person' if one.is_person else 'a model'}")
        _lines(
            ("ties", one.ties),
            ("the longer one, of those chosen", one.longer),
            ("choice ~ length (Spearman)", one.length),
            *(
                ()
                if one.is_person
                else (
                    ("says otherwise when the order is turned", one.flips),
                    ("votes for the first solution", one.first_position),
                )
            ),
        )
    for beside in report.judges:
        print(f"{beside.judge} beside people, on the pairs that both judged")
        for likeness in (beside.with_a_person, beside.with_most_people, beside.people):
            _print_likeness(likeness)
    if not report.judges:
        _print_likeness(report.people)
    if report.each_two:
        print("each two")
        for likeness in report.each_two:
            print(f"  {likeness.first} with {likeness.second}")
            _lines(("    kappa", likeness.kappa), ("    the same", likeness.same))


def _print_likeness(likeness: "Likeness") -> None:
    print(f"  {likeness.first} with {likeness.second}")
    _lines(
        ("    kappa", likeness.kappa), ("    the same", likeness.same), ("    where neither ties", likeness.decided)
    )


@app.command()
def critiques(
    source: Source = None, resamples: Resamples = 1000, seed: Seed = 0, db: Db = None, json: Json = False
) -> None:
    """Holds judges of critiques against people who judged the same critiques.

    A judge's verdicts are critiques of kind `meta`, asked for by `stepmark generate critiques --kind meta` or
    imported. People's word is the majority of their judgements; `partly` right counts as wrong.
    """
    from stepmark.flows.judges import judges_of_critiques

    reports = judges_of_critiques(open_db(db), source=source, resamples=resamples, seed=seed)
    if json:
        print_json([dataclasses.asdict(report) for report in reports])
    elif not reports:
        print("no critique was judged both by a model and by people; import mr-gsm8k, or generate critiques")
    else:
        _print_critique_judges(reports)


def _print_critique_judges(reports: Iterable["CritiqueJudgeReport"]) -> None:
    for one in reports:
        print(f"{one.judge} on {one.n:,} critiques" + (f" by {one.critic}" if one.critic else ""))
        _lines(
            ("right by people's word", one.right),
            ("its verdict is people's", one.accuracy),
            ("kappa", one.kappa),
            ("wrong critiques that it refuses", one.recall),
            ("right critiques that it refuses", one.false_alarms),
            ("unreadable", one.unreadable),
            ("right ~ length (Spearman)", one.length),
            ("  people's right ~ length", one.length_people),
            ("too kind ~ length of the critique", one.leniency_length),
            ("too kind ~ length of the solution", one.leniency_solution_length),
        )


def _lines(*figures: tuple[str, Any]) -> None:
    for what, found in figures:
        print(f"  {what:<42} {_figure(found)}")


def _figure(found: "Share | Correlation | Coefficient") -> str:
    from stepmark.agreement import Coefficient

    n = found.n_units if isinstance(found, Coefficient) else found.n
    if found.value is None:
        return f"     -  (of {n:,})"
    interval = "" if found.low is None else f"  [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:6.3f}{interval}  (of {n:,})"
