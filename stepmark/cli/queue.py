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
    limit: Annotated[int, typer.Option(min=1, help="At most this many solutions.")] = 100,
    mode: Annotated[str, typer.Option(help="first_error or all_steps.")] = "first_error",
    order: Annotated[
        str, typer.Option(help="random, or uncertain (newest PRM score nearest to 0.5 first).")
    ] = "random",
    seed: Annotated[int, typer.Option(help="Seed of the random choice.")] = 0,
    n_wanted: Annotated[int, typer.Option("--n-wanted", min=1, help="Independent annotators for each.")] = 1,
    name: Annotated[
        str | None, typer.Option(metavar="RULE", help="Name of this part of the queue [default: the order].")
    ] = None,
    json: Json = False,
) -> None:
    """Puts solutions that have no task yet into the labelling queue."""
    from db.connect import open_database
    from db.queue import queue_solutions

    added = queue_solutions(
        open_database(database_url(db)),
        source=source,
        limit=limit,
        mode=mode,
        order=order,
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
    """Lists the queue by rule and mode: open, in somebody's hands, done."""
    from db.connect import open_database
    from db.queue import queue_state

    states = queue_state(open_database(database_url(db)))
    if json:
        print_json([fields_of(state) for state in states])
    elif not states:
        print("the queue is empty; fill it with `stepmark queue add`")
    else:
        print(f"{'rule':<24} {'mode':<12} {'open':>10} {'leased':>8} {'done':>10}")
        for state in states:
            print(
                f"{state.reason or '-':<24} {state.mode:<12} {state.n_open:>10,} {state.n_leased:>8,} "
                f"{state.n_closed:>10,}"
            )
