"""`stepmark export orm` and `best-of-n`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags

from .flags import Marks, Rows, Text, Writing

OrmFormat = Literal["trl", "trl-chat", "llamafactory", "rlhflow"]
BestOfNFormat = Literal["trl", "rewardbench2"]


@with_flags
def orm(
    writing: Writing,
    rows: Rows,
    format: Annotated[OrmFormat, typer.Option(help="For whom: docs/formats.md.")] = "trl",
    text: Text = "steps",
    reward_tokens: Annotated[
        str, typer.Option(metavar="RIGHT,WRONG", help="rlhflow: what stands for a right and for a wrong solution.")
    ] = "+,-",
) -> None:
    """Outcomes for an outcome reward model: prompt, completion, label."""
    from exports.queries.orm_rows import orm_set

    writing.write(orm_set(rows.selection(), text=text), format, Marks(reward_tokens=reward_tokens))


@with_flags
def best_of_n(
    writing: Writing,
    rows: Rows,
    format: Annotated[BestOfNFormat, typer.Option(help="For whom: docs/formats.md.")] = "trl",
    text: Text = "steps",
) -> None:
    """The Best-of-N test file: prompt, answers, labels; one row for each problem.

    Equal samples always stay: their number is part of what Best-of-N measures.
    """
    from exports.queries.orm_rows import best_of_n_set

    writing.write(best_of_n_set(rows.selection(), text=text), format)
