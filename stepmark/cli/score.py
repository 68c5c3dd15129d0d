"""`stepmark score`: scores of a reward model into the database."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from stepmark.errors import SettingsError

from .critiquing import Critiquing
from .flags import with_flags
from .options import Db, Json, open_db
from .output import fields_of, print_counts, print_json
from .progress import progress_bar


@with_flags
def score(
    model: Annotated[Path, typer.Option(help="Folder of a reward model that `stepmark train` wrote.")],
    critiquing: Critiquing,
    db: Db = None,
    name: Annotated[
        str | None, typer.Option(help="Store the scores under this name [default: the folder's].")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only solutions of sources named so; * is any text.")] = None,
    how: Annotated[
        Literal["product", "min", "mean", "last"], typer.Option(help="How a PRM's steps make the solution's score.")
    ] = "product",
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Store calibrated scores (stepmark evaluate calibration --save).")
    ] = False,
    engine: Annotated[
        Literal["transformers", "vllm-server"], typer.Option(help="Compute here, or ask a vLLM server at --base-url.")
    ] = "transformers",
    base_url: Annotated[str | None, typer.Option(help="URL of the server, such as http://127.0.0.1:8000/v1.")] = None,
    served_name: Annotated[str | None, typer.Option(help="The model's name there, where it serves several.")] = None,
    critiques_by: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Score behind the critiques of the database by critics named so; * is any text; without --critic.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; small models are fastest with one.")] = 1,
    json: Json = False,
) -> None:
    """Scores the solutions that this reward model has not scored yet; run again, it goes on where it stopped.

    A model that weighs critiques gives a solution the mean reward over several: a CLoud model writes them itself, a
    critique-rm is given those of --critic or --critiques-by.
    """
    import torch

    from stepmark.flows.scores import score_solutions

    if (engine == "vllm-server") != (base_url is not None):
        raise SettingsError("--engine vllm-server needs --base-url URL, and only it takes one")
    if critiques_by is not None and critiquing.critic is not None:
        raise SettingsError("--critic writes critiques and --critiques-by reads stored ones; choose one")
    is_stored = critiques_by is not None and critiquing.critiques is None
    torch.set_num_threads(threads)
    database = open_db(db)
    with progress_bar("score") as show:
        report = score_solutions(
            database,
            model,
            name=name,
            source=source,
            how=how,
            device=device,
            is_calibrated=calibrated,
            server=base_url,
            served_name=served_name,
            critic=critiquing.critic,
            critiques_by=critiques_by,
            sampled=None if is_stored else critiquing.sampled(),
            progress=show,
        )
    if json:
        print_json(fields_of(report))
        return
    print_counts(f"score {report.reward_model}", read=report.n_read, kept=report.n_scored, dropped=report.dropped)
    behind = f" behind {report.n_critiques} critiques" if report.n_critiques else ""
    print(f"  {report.n_forwarded} different texts went through the {report.kind.upper()}{behind}")
