"""`stepmark generate variants`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stepmark.cli.flags import with_flags
from stepmark.cli.options import Db, Json, open_db
from stepmark.cli.output import fields_of, print_counts, print_json
from stepmark.cli.progress import progress_bar
from stepmark.errors import SettingsError

from .asking import Asking

if TYPE_CHECKING:
    from generator.asking import Report
    from generator.variants import Solving, VariantsTask, Way


Kind = Literal["template", "program", "rephrased", "backward"]


@dataclass(frozen=True)
class VariantAsking(Asking):
    """The flags of asking, with a model only where one is asked."""

    model: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL", help="As for solutions; none is needed for template, nor for backward unchecked."
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True)
class Checking:
    """The flags of checking variants by solutions."""

    check_samples: Annotated[
        int | None,
        typer.Option(min=0, help="Solutions sampled of each variant to check it [default: rephrased 4, others 0]."),
    ] = None
    check_agree: Annotated[
        int | None,
        typer.Option(min=1, help="So many must agree on its answer [default: 1; program: more than half]."),
    ] = None
    check_prompt: Annotated[str, typer.Option(help="Prompt of these solutions, as in generate solutions.")] = "steps"


@with_flags
def variants(
    asking: VariantAsking,
    checking: Checking,
    kind: Annotated[Kind, typer.Option(help="How variants are made, in the order of trust.")],
    n: Annotated[
        int, typer.Option(min=1, help="Variants wanted of each problem, those that are there included.")
    ] = 1,
    templates: Annotated[
        Path | None, typer.Option(help="File of templates (JSONL); problems of the embedded domain need none.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="File in the place of the kind's own prompt (backward: the form of the problem)."),
    ] = None,
    programs: Annotated[int, typer.Option(min=1, help="Programs sampled of each problem (program).")] = 2,
    silver: Annotated[
        bool, typer.Option("--silver", help="Take the majority's answer where no program gives it; never a test.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Only problems of this source; * matches anything: 'gsm8k/*'.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many original problems.")] = None,
    db: Db = None,
    json: Json = False,
) -> None:
    """Makes new problems of problems, each with its own answer and how far that is trusted.

    template changes the numbers by a template (or the embedded domain), program by two programs of a model that
    must agree, rephrased changes the words, backward hides a number and asks for it. The same command makes only
    what is missing.
    """
    from db.runs import ProblemSelection
    from generator.variants import VariantsTask

    way = _way(kind, asking, checking, templates=templates, prompt=prompt, programs=programs, silver=silver)
    task = VariantsTask(way, n, ProblemSelection(source, limit))
    if _solving(kind, asking, checking) is not None or kind == "program":
        if not asking.model:
            raise SettingsError(f"variants of the kind {kind} are made or checked by a model; give --model")
        asking.run(task, db=db, json=json)
    else:
        _make(task, db=db, json=json)


def _way(
    kind: Kind,
    asking: Asking,
    checking: Checking,
    *,
    templates: Path | None,
    prompt: str | None,
    programs: int,
    silver: bool,
) -> "Way":
    from generator.variants import Backward, Programs, Rephrased, Templates, read_templates
    from stepmark.prompts import read_prompt

    solving = _solving(kind, asking, checking)
    if templates is not None and kind != "template":
        raise SettingsError(f"--templates {templates} is for --kind template, not {kind}")
    if silver and (kind != "program" or solving is None):
        raise SettingsError("--silver takes answers of the majority: give it with --kind program and --check-samples")
    if kind == "template":
        return Templates([] if templates is None else read_templates(templates), asking.seed)
    if kind == "backward":
        form = read_prompt(prompt or "backward", places=("problem", "answer", "unknown"))
        return Backward(form, asking.seed, solving)
    if kind == "program":
        return Programs(
            read_prompt(prompt or "program"),
            asking.sampling(),
            programs,
            asking.seed,
            solving,
            is_silver_allowed=silver,
        )
    if solving is None:
        raise SettingsError("a rewriting is kept only where solutions still reach the answer; give --check-samples")
    return Rephrased(read_prompt(prompt or "rephrase"), asking.sampling(), solving)


def _solving(kind: Kind, asking: Asking, checking: Checking) -> "Solving | None":
    from generator.variants import Solving
    from stepmark.prompts import read_prompt

    n = checking.check_samples
    if n is None:
        n = 4 if kind == "rephrased" else 0
    if not n:
        return None
    if kind == "template":
        raise SettingsError("a template's answers are exact; --check-samples is for the other kinds")
    n_agreeing = checking.check_agree or (n // 2 + 1 if kind == "program" else 1)
    if n_agreeing > n:
        raise SettingsError(f"--check-agree {n_agreeing} of --check-samples {n} can never be; ask for fewer")
    return Solving(read_prompt(checking.check_prompt), asking.sampling(), n, n_agreeing)


def _make(task: "VariantsTask", *, db: str | None, json: bool) -> None:
    """Makes variants without a model, and prints the report."""
    from generator.variants import make_variants

    with progress_bar(task.kind) as show:
        report = make_variants(
            open_db(db),
            task,
            on_progress=lambda report: show(report.n_items_over, report.n_items, ""),
        )
    if json:
        print_json(fields_of(report))
    else:
        _print(report)
    if report.status == "stopped":
        raise typer.Exit(130)


def _print(report: "Report") -> None:
    left = report.n_items - report.n_items_over
    print_counts(
        report.unit, read=report.n_items, kept=report.n_items_done, dropped={**report.dropped, "not reached": left}
    )
    if report.counts:
        print("stored: " + ", ".join(f"{count:,} {what}" for what, count in report.counts.items()))
