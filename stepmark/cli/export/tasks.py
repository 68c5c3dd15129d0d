"""`stepmark export sft` and `rl`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags

from .critiques import CritiqueFormat
from .flags import Rows, Text, Writing

RlFormat = Literal["verl", "trl"]

SolvePrompt = Annotated[
    str, typer.Option("--prompt", help="What is asked of who solves: a prompt that comes with stepmark, or a file.")
]


@with_flags
def sft(
    writing: Writing,
    rows: Rows,
    format: Annotated[CritiqueFormat, typer.Option(help="For whom: docs/formats.md.")] = "messages",
    prompt: SolvePrompt = "steps",
    text: Text = "steps",
    without_wrong_steps: Annotated[
        bool, typer.Option("--without-wrong-steps", help="Leave out those in which a labeller found a wrong step.")
    ] = False,
) -> None:
    """Right solutions for supervised fine-tuning: what is asked, and a solution with the right answer."""
    from exports.queries.task_rows import SftOptions, sft_set

    options = SftOptions(prompt, text, without_wrong_steps)
    writing.write(sft_set(rows.selection(), options), format)


@with_flags
def rl(
    writing: Writing,
    rows: Rows,
    format: Annotated[RlFormat, typer.Option(help="For whom: docs/formats.md; verl wants Parquet.")] = "verl",
    tasks: Annotated[
        Literal["both", "solve", "judge"], typer.Option(help="Solve problems, judge solutions.")
    ] = "both",
    prompt: SolvePrompt = "steps",
    judge_prompt: Annotated[
        str | None,
        typer.Option(help="What is asked of who judges: a file [default: what generate critiques asks]."),
    ] = None,
    problems: Annotated[
        Literal["all", "originals", "variants"], typer.Option(help="Which problems are to be solved.")
    ] = "all",
    judge_on: Annotated[
        Literal["variant", "problem"],
        typer.Option(help="Judge by carrying a solution over to a variant, or by stepping through its own input."),
    ] = "variant",
    n_variants: Annotated[int, typer.Option(min=1, help="Variants to judge one solution on, at most.")] = 1,
) -> None:
    """Tasks for reinforcement learning with a verifier: solve a problem, judge a solution."""
    from exports.queries.task_rows import RlOptions, rl_set

    options = RlOptions(
        tasks=("solve", "judge") if tasks == "both" else (tasks,),
        solve_prompt=prompt,
        judge_prompt=judge_prompt,
        problems=problems,
        judge_on=judge_on,
        n_variants=n_variants,
    )
    writing.write(rl_set(rows.selection(), options), format)
