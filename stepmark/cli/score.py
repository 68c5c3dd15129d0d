"""`stepmark score`: scores of a reward model into the database."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import Db, Json, database_url
from .output import fields_of, print_counts, print_json
from .progress import progress_bar


def score(
    model: Annotated[Path, typer.Option(help="Folder of a reward model that `stepmark train` wrote.")],
    db: Db = None,
    name: Annotated[
        str | None, typer.Option(help="Store the scores under this name [default: the folder's].")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only solutions of sources named so; * is any text.")] = None,
    how: Annotated[
        Literal["product", "min", "mean", "last"], typer.Option(help="How a PRM's steps make the solution's score.")
    ] = "product",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; small models are fastest with one.")] = 1,
    json: Json = False,
) -> None:
    """Scores the solutions that this reward model has not scored yet; run again, it goes on where it stopped."""
    import torch

    from db.connect import open_database
    from stepmark.flows.scores import score_solutions

    torch.set_num_threads(threads)
    engine = open_database(database_url(db))
    with progress_bar("score") as show:
        report = score_solutions(
            engine,
            model,
            name=name,
            source=source,
            how=how,
            device=device,
            progress=show,
        )
    if json:
        print_json(fields_of(report))
        return
    print_counts(f"score {report.reward_model}", read=report.n_read, kept=report.n_scored, dropped=report.dropped)
    print(f"  {report.n_forwarded} different texts went through the {report.kind.upper()}")
