"""`stepmark label`: step labels without people."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import Db, Json, open_db
from .output import fields_of, print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from stepmark.flows.rollout_labels import RolloutLabels

app = typer.Typer(help="Make step labels of what models said.", no_args_is_help=True)

RunId = Annotated[int | None, typer.Option("--run", help="The run of `generate rollouts` [default: the latest].")]
Rule = Annotated[
    Literal["hard", "relative"],
    typer.Option(
        help="A step is wrong where no rollout from it is right (hard), or where less than 0.8 of the value "
        "before it is left (relative; needs rollouts of every step)."
    ),
]


@app.command()
def rollouts(run_id: RunId = None, rule: Rule = "hard", db: Db = None, json: Json = False) -> None:
    """Labels solutions up to the first error that their rollouts show, as annotator rollouts:RUN:RULE.

    A solution of a problem that no rollout solved is left out: its values say nothing of its steps.
    """
    from stepmark.flows.rollout_labels import label_by_rollouts

    with progress_bar("label") as show:
        report = label_by_rollouts(open_db(db), run_id=run_id, rule=rule, progress=show)
    _print(report, json=json)


@app.command()
def consensus(
    run_id: RunId = None,
    rule: Rule = "hard",
    critic: Annotated[
        str | None, typer.Option(help="Only verdicts by this model; * matches anything [default: all judges].")
    ] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Labels solutions of which rollouts and judges name the same first error, as annotator consensus.

    The judges' verdicts are the critiques of kind judge; several of one solution are votes.
    """
    from stepmark.flows.rollout_labels import label_by_consensus

    with progress_bar("label") as show:
        report = label_by_consensus(open_db(db), run_id=run_id, rule=rule, critic=critic, progress=show)
    _print(report, json=json)


def _print(report: "RolloutLabels", *, json: bool) -> None:
    if json:
        print_json(fields_of(report))
        return
    print_counts("solutions", read=report.n_read, kept=report.n_kept, dropped=report.dropped)
    print(
        f"  by {report.annotator} on run {report.run_id}: {report.n_wrong} with a first error, "
        f"{report.n_kept - report.n_wrong} without"
    )
    print(f"  new: {report.n_new} annotations, {report.n_step_labels} step labels")
