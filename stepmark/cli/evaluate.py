"""`stepmark evaluate`: measures of reward models on files of scored solutions."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Json
from .output import print_json

app = typer.Typer(no_args_is_help=True, help="Measure reward models.")


@app.callback()
def evaluate() -> None:
    """Measure reward models."""


@app.command("best-of-n")
def best_of_n(
    file: Annotated[Path, typer.Option("--file", help="JSONL of problems with scored solutions.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for best_of_n.json, .png and .svg.")],
    n: Annotated[list[int] | None, typer.Option("--n", help="Sizes [default: 1 2 4 8 16 32].")] = None,
    trials: Annotated[int, typer.Option("--trials", help="Random subsets of each size.")] = 400,
    boot: Annotated[int, typer.Option("--boot", help="Bootstrap samples of the problems.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of subsets and bootstrap.")] = 0,
    json: Json = False,
) -> None:
    """How often each method picks a right solution among N (the protocol of PRM800K's eval.py)."""
    from trainer.evaluate.report import best_of_n_table, write_best_of_n

    report = write_best_of_n(file, out, ns=n or (1, 2, 4, 8, 16, 32), n_trials=trials, n_boot=boot, seed=seed)
    if json:
        print_json(report)
        return
    from rich.console import Console

    console = Console()
    for table in best_of_n_table(report):
        console.print(table)
