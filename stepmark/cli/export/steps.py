"""`stepmark export prm`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags

from .flags import Labellers, Rows, Writing


@with_flags
def prm(
    writing: Writing,
    rows: Rows,
    labellers: Labellers,
    neutral: Annotated[
        Literal["positive", "negative", "drop"],
        typer.Option(help="What a step labelled 0 becomes; drop ends the row before it."),
    ] = "positive",
    after_first_error: Annotated[
        Literal["stop", "all"], typer.Option(help="End a row at its first wrong step, or keep all that was labelled.")
    ] = "stop",
    by: Annotated[
        Literal["each", "majority"],
        typer.Option("--labellers", help="A row for each labeller, or one by their majority."),
    ] = "each",
    answer_segment: Annotated[
        bool, typer.Option(help="End solutions without a wrong step in their answer, labelled with the outcome.")
    ] = True,
) -> None:
    """Step labels for a process reward model: prompt, completions, labels."""
    from exports.queries.prm_rows import PrmOptions, prm_set

    options = PrmOptions(
        neutral=neutral,
        after_first_error=after_first_error,
        annotators=tuple(labellers.annotator),
        annotator_kinds=tuple(map(str, labellers.annotator_kind)),
        labellers=by,
        answer_segment=answer_segment,
    )
    writing.write(prm_set(rows.selection(), options))
