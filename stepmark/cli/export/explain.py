"""`stepmark export explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepmark.cli.options import Db, Json, open_db
from stepmark.cli.output import print_json, short_cell

if TYPE_CHECKING:
    from exports.queries.explaining import Explanation


def explain(
    folder: Annotated[Path, typer.Argument(help="An exported folder.", metavar="OUT")],
    row: Annotated[
        str, typer.Argument(help="A row, such as prm/train/0, or a text that stands in it.", metavar="ROW")
    ],
    most: Annotated[int, typer.Option(min=1, help="Of a text: rows at most.")] = 1,
    annotator_names: Annotated[
        bool, typer.Option("--annotator-names", help="Name annotators, who have pseudonyms otherwise.")
    ] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Shows where a row of an exported set comes from: problem, source, licence, who labelled what, by which rule."""
    from exports.queries.explaining import explain as explain_row
    from exports.queries.explaining import find_places

    places = find_places(folder, row, most=most)
    engine = open_db(db)
    found = [explain_row(engine, folder, place, with_names=annotator_names) for place in places]
    if json:
        print_json(found)
        return
    for one in found:
        _print(one)


def _print(found: "Explanation") -> None:
    place = found.place
    print(f"{place.config}/{place.split}/{place.index}: {found.rule}; licence {found.licence or 'unknown'}")
    for name, value in found.row.items():
        print(f"  {name}: {short_cell(value, 200)}")
    for problem in found.problems:
        sources = ", ".join(f"{source} {key} ({licence or 'unknown'})" for source, key, licence in problem.sources)
        print(f"  problem {problem.problem_id}: {sources or 'of no source'}")
    for solution in found.solutions:
        origin = f"{solution.source} {solution.source_key}" if solution.source else solution.run
        outcome = {True: "right", False: "wrong", None: "unknown"}[solution.outcome]
        print(
            f"  solution {solution.solution_id}: {origin}, by {solution.generator or 'nobody named'}, "
            f"licence {solution.licence or 'unknown'}, outcome {outcome}"
            + (f" ({solution.outcome_rule})" if solution.outcome_rule else "")
        )
    for critique in found.critiques:
        confirmed = {True: "confirmed", False: "refuted", None: "not confirmed"}[critique.is_confirmed]
        origin = f"{critique.source} {critique.source_key}" if critique.source else critique.run or "of no source"
        print(
            f"  critique {critique.critique_id}: {critique.kind}, {origin}, by {critique.critic or 'nobody named'}, "
            f"on problem {critique.applied_to}: {critique.verdict}, {confirmed}"
            + (f" ({critique.confirmation_rule})" if critique.confirmation_rule else "")
        )
    for said in found.annotations:
        labels = " ".join(f"{index + 1}:{label:+d}" for index, label in said.labels.items())
        print(
            f"  annotation {said.annotation_id}: {said.annotator} ({said.kind}), {said.created_at:%Y-%m-%d %H:%M}, "
            f"guideline {said.guideline or 'none'}: {said.choice or labels}"
            + (", corrected since" if said.is_superseded else "")
        )
    for line in (*found.decisions, *found.runs):
        print(f"  {line}")
