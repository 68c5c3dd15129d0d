"""`stepmark export prm`."""

from typing import Annotated, Literal

import typer

from stepmark.cli.flags import with_flags

from .flags import Labellers, Marks, Rows, Writing

PrmFormat = Literal[
    "trl", "openrlhf", "math-shepherd", "rlhflow", "qwen", "lightman", "processbench", "prmbench", "prm800k"
]


@with_flags
def prm(
    writing: Writing,
    rows: Rows,
    labellers: Labellers,
    marks: Marks,
    format: Annotated[
        PrmFormat,
        typer.Option(help="For whom: docs/formats.md. prm800k takes the ratings as they were given."),
    ] = "trl",
    neutral: Annotated[
        Literal["positive", "negative", "drop"],
        typer.Option(help="What a step labelled 0 becomes; drop ends the row before it."),
    ] = "positive",
    after_first_error: Annotated[
        Literal["stop", "all"], typer.Option(help="End a row at its first wrong step, or keep all that was labelled.")
    ] = "stop",
    by: Annotated[
        Literal["each", "majority", "share", "dawid-skene"],
        typer.Option(
            "--labellers",
            help="A row for each labeller; or one by their majority, by the share of them, or by the posterior of "
            "Dawid and Skene's model.",
        ),
    ] = "each",
    target: Annotated[
        Literal["hard", "soft"], typer.Option(help="Labels that are true or false, or probabilities.")
    ] = "hard",
    rollouts: Annotated[
        int | None,
        typer.Option(metavar="RUN", help="Take the values that this run of rollouts found, in the place of labels."),
    ] = None,
    unjudged: Annotated[
        Literal["end", "mask"],
        typer.Option(help="A step without a label ends the row before it, or has null for a label."),
    ] = "end",
    repaired: Annotated[
        Literal["wrong", "go-on", "neutral", "right"],
        typer.Option(
            help="A wrong step that a later one mends: wrong; wrong, but not the row's end; neutral; right."
        ),
    ] = "wrong",
    without_unsure: Annotated[
        bool, typer.Option("--without-unsure", help="No labels of which the labeller was unsure.")
    ] = False,
    answer_segment: Annotated[
        bool, typer.Option(help="End solutions without a wrong step in their answer, labelled with the outcome.")
    ] = True,
    alternatives: Annotated[
        Literal["chosen-path", "rows"],
        typer.Option(help="Solutions alone, or also a row for each labelled candidate for a step."),
    ] = "chosen-path",
) -> None:
    """Step labels for a process reward model: prompt, completions, labels."""
    from exports.queries.alternative_rows import with_alternatives
    from exports.queries.labels import LabelFilter
    from exports.queries.prm800k_rows import prm800k_set
    from exports.queries.prm_rows import PrmOptions, prm_set
    from stepmark.errors import SettingsError

    if rollouts is not None and (labellers != Labellers() or by != "each"):
        raise SettingsError("values of rollouts are no labeller's: leave out what chooses labels, or --rollouts")
    if format == "prm800k":
        if (neutral, after_first_error, by, alternatives) != ("positive", "stop", "each", "chosen-path"):
            raise SettingsError(
                "prm800k holds all ratings as they were given, each labeller's apart; leave out --neutral, "
                "--after-first-error, --labellers and --alternatives"
            )
        labels = LabelFilter(**labellers.filter())
        wanted = prm800k_set(rows.selection(), labels, annotator_names=writing.annotator_names)
        writing.write(wanted, format, marks)
        return
    options = PrmOptions(
        neutral=neutral,
        after_first_error=after_first_error,
        labellers=by,
        target=target,
        rollouts_run=rollouts,
        unjudged=unjudged,
        repaired=repaired,
        without_unsure=without_unsure,
        answer_segment=answer_segment,
        **labellers.filter(),
    )
    wanted = prm_set(rows.selection(), options)
    if alternatives == "rows":
        wanted = with_alternatives(wanted, neutral=neutral, labels=LabelFilter(**labellers.filter()))
    writing.write(wanted, format, marks)
