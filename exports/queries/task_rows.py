"""Rows to learn solving from, and tasks with a verifier: right solutions (`sft`), and what to ask (`rl`).

Both of the actor's tasks are rows of `rl`: solve a problem, and judge a solution by applying it to a variant. What is
asked is what `stepmark generate` asks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.critiques import variants_to_carry_to
from db.models import Annotation, Annotator, Problem, ProblemSource, Solution
from db.selection import BUILT_IN_SOURCE, in_source, tells_first_error, unindexed
from stepmark.prompts import Prompt, read_prompt
from stepmark.prompts.critics import FOLDER, PLACES, question_to_critic

from .selection import (
    Counts,
    Page,
    RowLimits,
    Selection,
    SetRow,
    TextForm,
    TrainingSet,
    is_selected,
    pages,
    source_name,
    whole_text,
)

_PROBLEMS = 1_000


@dataclass(frozen=True, slots=True)
class SftOptions:
    """Which right solutions, and what they answer."""

    prompt: str = "steps"
    """What is asked: the name of a prompt that comes with stepmark, or a file."""
    text: TextForm = "steps"
    without_wrong_steps: bool = False
    """Leave out solutions with a right answer in which a person or program found a wrong step."""


@dataclass(frozen=True, slots=True)
class RlOptions:
    """Which tasks, and what is asked."""

    tasks: tuple[Literal["solve", "judge"], ...] = ("solve", "judge")
    solve_prompt: str = "steps"
    """What is asked of who solves: the name of a prompt that comes with stepmark, or a file."""
    judge_prompt: str | None = None
    """What is asked of who judges, likewise; None: what `generate critiques` asks for `judge_on`."""
    problems: Literal["all", "originals", "variants"] = "all"
    """Which problems are to be solved."""
    judge_on: Literal["variant", "problem"] = "variant"
    """Judge a solution by carrying it over to a variant, or by stepping through its own input."""
    n_variants: int = 1
    """Variants on which one solution is to be judged, at most."""


def sft_set(selection: Selection, options: SftOptions | None = None) -> TrainingSet:
    """Solutions with the right answer."""
    chosen = options or SftOptions()
    prompt = read_prompt(chosen.prompt)
    return TrainingSet(
        "sft",
        selection,
        {**asdict(chosen), "prompt_hash": prompt.text_hash},
        lambda session, _, counts: sft_rows(session, selection, chosen, counts, prompt=prompt),
    )


def rl_set(selection: Selection, options: RlOptions | None = None) -> TrainingSet:
    """Tasks whose answers a verifier can check."""
    chosen = options or RlOptions()
    kind = "variant" if chosen.judge_on == "variant" else "concrete"
    solve, judge = (
        read_prompt(chosen.solve_prompt),
        read_prompt(chosen.judge_prompt or kind, places=PLACES[kind], folder=FOLDER),
    )

    def rows(session: Session, columns: Any, counts: Counts) -> Iterator[SetRow]:
        if "solve" in chosen.tasks:
            yield from solve_rows(session, selection, chosen, counts, prompt=solve)
        if "judge" in chosen.tasks:
            yield from judge_rows(session, selection, chosen, counts, prompt=judge)

    flags = {**asdict(chosen), "solve_prompt_hash": solve.text_hash, "judge_prompt_hash": judge.text_hash}
    class_of = _verdict_of if "judge" in chosen.tasks else None
    return TrainingSet("rl", selection, flags, rows, class_of=class_of)


def _verdict_of(row: SetRow) -> str | None:
    """The class of a task: of those to judge, the right verdict; those to solve have none."""
    return row.row["ground_truth"] if row.row["task"] == "judge" else None


def sft_rows(
    session: Session, selection: Selection, options: SftOptions, counts: Counts, *, prompt: Prompt
) -> Iterator[SetRow]:
    """Yields a row for each solution whose answer is right, ordered by problem and solution."""
    limits = RowLimits(selection, counts)
    for page in pages(session):
        for row in session.execute(_solutions(page, selection)).all():
            counts.n_read += 1
            completion = whole_text(row, options.text)
            if not row.outcome:
                counts.dropped["outcome_unknown" if row.outcome is None else "wrong"] += 1
            elif row.has_wrong_step and options.without_wrong_steps:
                counts.dropped["wrong_step"] += 1
            elif (row.extra or {}).get("is_truncated"):
                counts.dropped["truncated"] += 1
            elif not completion:
                counts.dropped["empty"] += 1
            elif limits.takes(row.problem_id, completion):
                counts.more["right_answers_with_a_wrong_step"] += bool(row.has_wrong_step)
                cells = {"prompt": prompt.fill({"problem": row.statement}), "completion": completion}
                yield SetRow(
                    row.family,
                    cells,
                    source_name(row),
                    row.licence,
                    trust=row.reference_trust,
                    trace=_trace(row, rule=row.outcome_rule or "outcome"),
                )


def solve_rows(
    session: Session, selection: Selection, options: RlOptions, counts: Counts, *, prompt: Prompt
) -> Iterator[SetRow]:
    """Yields a row for each problem with a reference answer, by id."""
    last = 0
    while True:
        found = session.execute(
            _problems(selection, options)
            .where(Problem.problem_id > last)
            .order_by(Problem.problem_id)
            .limit(_PROBLEMS)
        ).all()
        if not found:
            return
        last = found[-1].problem_id
        origins = _origins(session, [row.problem_id for row in found])
        for row in found:
            counts.n_read += 1
            if row.reference_answer is None:
                counts.dropped["no_reference_answer"] += 1
            elif row.answer_kind != "value":
                counts.dropped["answer_is_tests"] += 1
            else:
                source, licence = origins.get(row.problem_id, ("unknown", None))
                cells = {
                    "prompt": prompt.fill({"problem": row.statement}),
                    "task": "solve",
                    "ground_truth": row.reference_answer,
                    "problem": row.statement,
                    "id": f"problem/{row.problem_id}",
                    "trust": row.reference_trust or "unknown",
                    "n_steps": None,
                }
                trace = {"problem_ids": [row.problem_id], "sources": [source], "rule": cells["trust"]}
                yield SetRow(row.family, cells, source, licence, trust=row.reference_trust, trace=trace)


def judge_rows(
    session: Session, selection: Selection, options: RlOptions, counts: Counts, *, prompt: Prompt
) -> Iterator[SetRow]:
    """Yields a row for each solution of known outcome and each variant to judge it on, by problem and solution.

    The right verdict is `fail` where the answer is wrong or a person or program found a wrong step, else `pass`; a
    right answer by a chain that nobody labelled counts as right, which `trust` says (`outcome`).
    """
    limits = RowLimits(selection, counts)
    for page in pages(session):
        rows = session.execute(_solutions(page, selection)).all()
        variants = {}
        if options.judge_on == "variant":
            variants = variants_to_carry_to(session, sorted({row.problem_id for row in rows}), options.n_variants)
        for row in rows:
            on = variants.get(row.problem_id, []) if options.judge_on == "variant" else [None]
            counts.n_read += len(on) or 1
            if row.outcome is None or not row.steps:
                counts.dropped["outcome_unknown" if row.outcome is None else "no_steps"] += len(on) or 1
                continue
            if not on:
                counts.dropped["no_variant"] += 1
            for variant in on:
                asked = question_to_critic(
                    "concrete" if variant is None else "variant",
                    prompt,
                    problem=row.statement,
                    steps=row.steps,
                    answer=row.answer,
                    variant=None if variant is None else variant.statement,
                )
                if not limits.takes(row.problem_id, asked):
                    continue
                is_right = row.outcome and not row.has_wrong_step
                about = row.problem_id if variant is None else variant.problem_id
                cells = {
                    "prompt": asked,
                    "task": "judge",
                    "ground_truth": "pass" if is_right else "fail",
                    "problem": row.statement,
                    "id": f"solution/{row.solution_id}/on/{about}",
                    "trust": "step labels" if row.has_wrong_step else "outcome",
                    "n_steps": len(row.steps),
                }
                trace = _trace(row, rule=cells["trust"])
                trace["problem_ids"] = list(dict.fromkeys([row.problem_id, about]))
                yield SetRow(row.family, cells, source_name(row), row.licence, trust=row.reference_trust, trace=trace)


def _solutions(page: Page, selection: Selection) -> sa.Select[*tuple[Any, ...]]:
    wrong_step = (
        sa.exists()
        .where(
            Annotation.solution_id == Solution.solution_id,
            unindexed(Annotation.superseded_by_id).is_(None),
            Annotation.first_error.is_not(None),
            Annotation.annotator_id == Annotator.annotator_id,
            Annotator.kind.in_(("person", "program")),
            tells_first_error(),
        )
        .correlate(Solution)
    )
    return (
        sa.select(
            Solution.solution_id,
            Solution.problem_id,
            Solution.text,
            Solution.steps,
            Solution.answer,
            Solution.outcome,
            Solution.outcome_rule,
            Solution.source,
            Solution.run_id,
            Solution.licence,
            Solution.extra,
            wrong_step.label("has_wrong_step"),
            Problem.statement,
            Problem.family,
            Problem.reference_trust,
        )
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(page.holds(Solution.problem_id), is_selected(selection))
        .order_by(Solution.problem_id, Solution.solution_id)
    )


def _problems(selection: Selection, options: RlOptions) -> sa.Select[*tuple[Any, ...]]:
    query = sa.select(
        Problem.problem_id,
        Problem.statement,
        Problem.family,
        Problem.reference_answer,
        Problem.reference_trust,
        Problem.answer_kind,
    ).where(~in_source(Problem.problem_id, BUILT_IN_SOURCE))
    if selection.sources:
        query = query.where(sa.or_(*(in_source(Problem.problem_id, pattern) for pattern in selection.sources)))
    if selection.run_id is not None or selection.outcomes:
        attempt = is_selected(replace(selection, sources=()))  # a problem's sources are asked for above
        query = query.where(sa.exists().where(Solution.problem_id == Problem.problem_id, attempt))
    if options.problems != "all":
        is_original = Problem.parent_id.is_(None)
        query = query.where(is_original if options.problems == "originals" else ~is_original)
    return query


def _origins(session: Session, problem_ids: Sequence[int]) -> Mapping[int, tuple[str, str | None]]:
    """The first source of each problem, with its licence."""
    query = (
        sa.select(ProblemSource.problem_id, ProblemSource.source, ProblemSource.licence)
        .where(ProblemSource.problem_id.in_(problem_ids))
        .order_by(ProblemSource.problem_source_id.desc())
    )
    return {problem_id: (source, licence) for problem_id, source, licence in session.execute(query)}


def _trace(row: Any, *, rule: str) -> dict[str, Any]:
    return {
        "problem_ids": [row.problem_id],
        "solution_ids": [row.solution_id],
        "run_ids": [row.run_id] if row.run_id is not None else [],
        "sources": [row.source] if row.source is not None else [],
        "rule": rule,
    }
