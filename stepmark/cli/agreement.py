"""`stepmark agreement`: how far labellers agree, and what their labels say together."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stepmark.errors import SettingsError

from .export.flags import AnnotatorKind
from .options import Db, Json, open_db
from .output import fields_of, print_counts, print_json
from .progress import progress_bar

if TYPE_CHECKING:
    from db.agreement import LabelSelection
    from db.decisions import WithDecisions
    from stepmark.agreement.report import AgreementReport, AnnotatorAgreement, StepAgreement
    from stepmark.flows.agreement import PosteriorReport

app = typer.Typer(help="Measure how far labellers agree.", invoke_without_command=True)

Kind = Annotated[Literal["steps"], typer.Option(help="What was labelled.")]
Source = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Only solutions of sources named so; * is any text.")
]
Kinds = Annotated[
    list[AnnotatorKind] | None,
    typer.Option("--annotator-kind", help="Whose labels; may be repeated [default: person]."),
]
Reason = Annotated[
    str | None, typer.Option(metavar="RULE", help="Only answers to tasks that this rule put into the queue.")
]
Since = Annotated[datetime | None, typer.Option(help="Only answers from this moment on (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only answers before this moment (UTC).")]

Suggestion = Annotated[
    Literal["shown", "hidden"] | None,
    typer.Option(help="Only answers before which a model's opinion was on screen, or was not."),
]


@app.callback()
def agreement(
    context: typer.Context,
    kind: Kind = "steps",
    by: Annotated[
        Literal["annotator", "source"], typer.Option(help="Add a line for each labeller, or for each source.")
    ] = "annotator",
    source: Source = None,
    annotator_kind: Kinds = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    suggestion: Suggestion = None,
    gold: Annotated[
        str | None, typer.Option(metavar="NAME", help="Compare all with this annotator, who counts nowhere else.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Draws for the intervals; 0: none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of these draws.")] = 0,
    db: Db = None,
    json: Json = False,
) -> None:
    """Reports how far labellers agree on steps: raw, alpha, AC2, and on the first error.

    Only current answers count. Steps that one labeller alone judged, and steps after the first error of an answer
    that stops there, are missing, not wrong. docs/agreement.md says what each figure means.
    """
    if context.invoked_subcommand is not None:
        sources = (context.get_parameter_source(name) for name in context.params)
        if any(source is not None and source.name == "COMMANDLINE" for source in sources):
            raise SettingsError(f"give the options after `{context.invoked_subcommand}`, not before it")
        return
    from db.decisions import agreement_with_decisions
    from stepmark.flows.agreement import measure_agreement

    engine = open_db(db)
    selection = _selection(source, annotator_kind, reason, since, until, suggestion, gold=gold)
    with progress_bar("agreement") as show:
        report = measure_agreement(
            engine,
            selection,
            by_source=by == "source",
            resamples=resamples,
            seed=seed,
            progress=show,
        )
    decided = agreement_with_decisions(engine, selection)
    if json:
        found = {name: _plain(one) for name, one in fields_of(report).items()}
        print_json({**found, "decisions": _plain(decided)})
    else:
        _print(report, by_annotator=by == "annotator")
        if decided and by == "annotator":
            _print_decided(decided)


@app.command()
def posteriors(
    out: Annotated[Path, typer.Option(dir_okay=False, help="The file to write, a JSON line for each step.")],
    source: Source = None,
    annotator_kind: Kinds = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    suggestion: Suggestion = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Writes what all labels of a step say together: its probabilities of -1, 0 and 1 (Dawid & Skene 1979).

    A labeller's word counts by how it errs where others labelled the same steps.
    """
    from stepmark.flows.agreement import write_posteriors

    selection = _selection(source, annotator_kind, reason, since, until, suggestion)
    with progress_bar("posteriors") as show:
        report = write_posteriors(open_db(db), selection, out, overwrite=overwrite, progress=show)
    if json:
        print_json(_plain(report))
    else:
        _print_posteriors(report)


def _selection(
    source: str | None,
    annotator_kind: list[AnnotatorKind] | None,
    reason: str | None,
    since: datetime | None,
    until: datetime | None,
    suggestion: str | None,
    *,
    gold: str | None = None,
) -> "LabelSelection":
    from db.agreement import LabelSelection

    return LabelSelection(
        source=source,
        annotator_kinds=tuple(map(str, annotator_kind or [AnnotatorKind.PERSON])),
        reason=reason,
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
        suggestion_shown=None if suggestion is None else suggestion == "shown",
        gold=gold,
    )


def _plain(value: object) -> object:
    """A report as JSON takes it: dataclasses as objects, what was counted with how much of it was kept."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {name: _plain(one) for name, one in fields_of(value).items()}
        return {**found, "n_kept": value.n_kept} if hasattr(value, "n_kept") else found
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _print(report: "AgreementReport", *, by_annotator: bool) -> None:
    total = report.total
    _print_read(report)
    n_alone = total.n_steps - total.n_shared
    print_counts("steps", read=total.n_steps, kept=total.n_shared, dropped={"with one labeller": n_alone})
    first = total.first_errors
    print_counts(
        "first errors",
        read=first.n_solutions + first.n_single,
        kept=first.n_solutions,
        dropped={"with one labeller": first.n_single},
    )
    if total.n_undecided:
        print(f"  {total.n_undecided:,} answers gave up before a first error, and leave open whether there is one")
    n = sum(total.n_labels.values())
    if not n:
        print("there are no step labels by such labellers; choose others by --annotator-kind, or label some")
        return
    shares = ", ".join(f"{name} {total.n_labels[label] / n:.0%}" for name, label in (("+1", 1), ("0", 0), ("-1", -1)))
    print(f"labels: {shares}\n")
    _print_figures({**report.by_source, "all": total})
    if by_annotator:
        print()
        _print_annotators(report.annotators)


def _print_figures(groups: "Mapping[str, StepAgreement]") -> None:
    print(
        f"{'':<24} {'labellers':>9} {'steps':>9} {'raw':>6} {'alpha':>6} {'[95 %]':<16} {'AC2':>6}  "
        f"{'solutions':>9} {'exact':>6} {'within 1':>8}"
    )
    notes = []
    for name, found in groups.items():
        first = found.first_errors
        interval = "" if found.alpha.low is None else f"[{found.alpha.low:.3f}, {found.alpha.high:.3f}]"
        print(
            f"{_short(name):<24} {found.n_labellers:>9,} {found.n_shared:>9,} {_figure(found.raw.value)} "
            f"{_figure(found.alpha.value)} {interval:<16} {_figure(found.ac2.value)}  "
            f"{first.n_solutions:>9,} {_figure(first.exact.value)} {_figure(first.within_one.value):>8}"
        )
        if found.alpha.because is not None:
            what = "alpha" if found.alpha.value is not None else "alpha is undefined"
            notes.append(f"{name}: {what}: {found.alpha.because}")
    print(*notes, sep="\n", end="\n" if notes else "")


def _print_annotators(annotators: "Sequence[AnnotatorAgreement]") -> None:
    blocks = [
        (title, [getattr(one, field) for one in annotators])
        for title, field in (("pairs with others", "others"), ("with gold", "gold"), ("with oneself", "itself"))
    ]
    shown = [(title, found) for title, found in blocks if any(one.n for one in found)]
    heads = "".join(f"  {title:>17} {'raw':>6} {'AC2':>6}" for title, _ in shown)
    print(f"{'annotator':<24} {'labels':>9} {'unsure':>7}{heads}")
    for number, one in enumerate(annotators):
        figures = (found[number] for _, found in shown)
        cells = "".join(f"  {two.n:>17,} {_figure(two.raw)} {_figure(two.ac2)}" for two in figures)
        print(f"{_short(one.annotator):<24} {one.n_labels:>9,} {one.n_unsure:>7,}{cells}")


def _print_decided(decided: "Sequence[WithDecisions]") -> None:
    kinds = [kind for kind in ("steps", "pairs", "critiques") if any(getattr(one, f"n_{kind}") for one in decided)]
    print()
    print(f"{'beside the decisions':<24}" + "".join(f" {kind:>9} {'same':>6}" for kind in kinds))
    for one in decided:
        cells = ((getattr(one, f"n_{kind}"), getattr(one, f"n_{kind}_same")) for kind in kinds)
        figures = "".join(f" {n:>9,} {_figure(n_same / n if n else None)}" for n, n_same in cells)
        print(f"{_short(one.annotator):<24}{figures}")


def _print_posteriors(report: "PosteriorReport") -> None:
    _print_read(report)
    print(f"{report.out}: {report.n_steps:,} steps of {report.n_solutions:,} solutions")
    print(f"  {report.n_single:,} of them with one labeller, whose word is all there is")
    state = "converged" if report.is_converged else "NOT converged: the posteriors are those of the last round"
    shares = ", ".join(f"{label:+d} {share:.3f}".replace("+0", "0") for label, share in sorted(report.prior.items()))
    print(f"  {report.n_rounds} rounds, {state}; shares: {shares}")
    for name, accuracy in report.accuracy.items():
        print(f"  {_short(name):<24} right in {accuracy:.3f}")


def _print_read(report: "AgreementReport | PosteriorReport") -> None:
    for title, counted in (("annotations", report.annotations), ("labels", report.labels)):
        print_counts(title, read=counted.n_read, kept=counted.n_kept, dropped=counted.dropped)


def _figure(value: float | None) -> str:
    return f"{value:6.3f}" if value is not None else "     -"


def _short(name: str) -> str:
    return name if len(name) <= 24 else "…" + name[-23:]
