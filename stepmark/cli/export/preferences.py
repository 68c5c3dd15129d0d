"""`stepmark export preference`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags

from .flags import Labellers, Rows, Text, Writing


@with_flags
def preference(
    writing: Writing,
    rows: Rows,
    labellers: Labellers,
    origin: Annotated[
        Literal["preferences", "outcomes", "first-errors"],
        typer.Option(
            "--from",
            help="Choices of annotators, right over wrong solutions of a problem, or those whose steps are right for "
            "longer over others.",
        ),
    ] = "preferences",
    text: Text = "steps",
    max_pairs_per_problem: Annotated[
        int, typer.Option(min=1, help="--from outcomes and first-errors: pairs of one problem at most.")
    ] = 16,
    seed: Annotated[int, typer.Option(help="--from outcomes and first-errors: another seed draws other pairs.")] = 0,
) -> None:
    """Pairs for a preference model: prompt, chosen, rejected, and margin where choices have a strength."""
    from exports.queries.preference_rows import PreferenceOptions, preference_set

    options = PreferenceOptions(
        origin=origin,
        text=text,
        annotators=tuple(labellers.annotator),
        annotator_kinds=tuple(map(str, labellers.annotator_kind)),
        max_pairs_per_problem=max_pairs_per_problem,
        seed=seed,
    )
    writing.write(preference_set(rows.selection(), options))
