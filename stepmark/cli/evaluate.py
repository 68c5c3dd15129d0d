"""`stepmark evaluate`: measures of reward models."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Db, Json, database_url
from .output import print_json

app = typer.Typer(no_args_is_help=True, help="Measure reward models.")


@app.callback()
def evaluate() -> None:
    """Measure reward models."""


@app.command("best-of-n")
def best_of_n(
    out: Annotated[
        Path,
        typer.Option("--out", file_okay=False, help="Folder for problems.jsonl and best_of_n.json, .png and .svg."),
    ],
    file: Annotated[
        Path | None, typer.Option("--file", help="JSONL of problems with scored solutions, instead of the database.")
    ] = None,
    db: Db = None,
    source: Annotated[str | None, typer.Option(help="Only solutions of sources named so; * is any text.")] = None,
    prm: Annotated[list[str] | None, typer.Option(help="Name of a PRM's scores; once for each seed.")] = None,
    orm: Annotated[list[str] | None, typer.Option(help="Name of an ORM's scores; once for each seed.")] = None,
    bt: Annotated[list[str] | None, typer.Option(help="Name of a BT model's scores; once for each seed.")] = None,
    skip_unscored: Annotated[
        bool, typer.Option("--skip-unscored", help="Leave out solutions without a score, such as those too long.")
    ] = False,
    n: Annotated[list[int] | None, typer.Option("--n", help="Sizes (default: 1 2 4 8 16 32).")] = None,
    trials: Annotated[int, typer.Option("--trials", help="Random subsets of each size.")] = 400,
    boot: Annotated[int, typer.Option("--boot", help="Bootstrap samples of the problems.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of subsets and bootstrap.")] = 0,
    json: Json = False,
) -> None:
    """How often each method picks a right solution among N (the protocol of PRM800K's eval.py)."""
    from stepmark.flows.best_of_n import evaluate_best_of_n
    from trainer.evaluate.report import best_of_n_table, write_best_of_n

    sizes = tuple(n or (1, 2, 4, 8, 16, 32))
    if file is not None:
        report = write_best_of_n(file, out, ns=sizes, n_trials=trials, n_boot=boot, seed=seed)
    else:
        from db.connect import open_database

        names = {kind: given for kind, given in (("prm", prm), ("orm", orm), ("bt", bt)) if given}
        engine = open_database(database_url(db))
        report = evaluate_best_of_n(
            engine,
            names,
            source=source,
            out=out,
            skip_unscored=skip_unscored,
            ns=sizes,
            n_trials=trials,
            n_boot=boot,
            seed=seed,
        )
    if json:
        print_json(report)
        return
    from rich.console import Console

    console = Console()
    for table in best_of_n_table(report):
        console.print(table)
