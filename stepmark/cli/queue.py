"""`stepmark queue`: what is to be labelled."""

from typing import Annotated

import typer

from .options import Db, Json, database_url
from .output import fields_of, print_counts, print_json

app = typer.Typer(help="Choose what is labelled next, and see what waits.", no_args_is_help=True)


@app.command()
def add(
    db: Db = None,
    source: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only solutions of sources named so; * is any text.")
    ] = "*",
    limit: Annotated[int, typer.Option(min=1, help="At most this many tasks.")] = 100,
    project: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Into this project; kind, mode and n-wanted are its own by default."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="steps, preference (pairs of solutions) or critique [default: steps].")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="Of steps: first_error, all_steps, alternatives or verify [default: first_error]."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="Steps: random, uncertain (newest PRM score nearest to 0.5), 'convincing wrong' (wrong answer, "
            "highest score) or disagreement (labellers differ). Pairs: random or 'moderate gap' (of scores). "
            "Critiques: random or unconfirmed. [default: each rule of the project's mix, else random]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random choice.")] = 0,
    n_wanted: Annotated[
        int | None, typer.Option("--n-wanted", min=1, help="Independent annotators for each [default: 1].")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="RULE", help="Name of this part of the queue [default: the order].")
    ] = None,
    json: Json = False,
) -> None:
    """Puts solutions, pairs or critiques that have no task yet into the labelling queue."""
    from db.connect import open_database
    from db.queue import queue_tasks

    added = queue_tasks(
        open_database(database_url(db)),
        project=project,
        kind=kind,
        mode=mode,
        source=source,
        limit=limit,
        order=None if order is None else order.replace("-", " "),
        seed=seed,
        n_wanted=n_wanted,
        reason=name,
    )
    if json:
        print_json(fields_of(added))
    else:
        print_counts("queue", read=added.read, kept=added.kept, dropped=added.dropped)


@app.command()
def show(db: Db = None, json: Json = False) -> None:
    """Lists the queue by project, rule and what it asks for: open, in somebody's hands, done."""
    from db.connect import open_database
    from db.queue import queue_state

    states = queue_state(open_database(database_url(db)))
    if json:
        print_json([fields_of(state) for state in states])
    elif not states:
        print("the queue is empty; fill it with `stepmark queue add`")
    else:
        print(f"{'project':<20} {'rule':<20} {'asks for':<12} {'open':>10} {'leased':>8} {'done':>10}")
        for state in states:
            asks = state.mode if state.kind == "steps" else state.kind
            print(
                f"{state.project or '-':<20} {state.reason or '-':<20} {asks:<12} {state.n_open:>10,} "
                f"{state.n_leased:>8,} {state.n_closed:>10,}"
            )
