"""Looking through what the database holds, page by page: problems, solutions, labels, critiques, runs.

Pages go by key, newest first: the next page begins below the last row's id, so the millionth row costs what the
first does. Text is searched by substring, which reads rows one after the other until the page is full.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .annotations import labels_of
from .connect import reading
from .models import (
    Annotation,
    Annotator,
    Critique,
    Problem,
    ProblemSource,
    Project,
    Run,
    Score,
    Solution,
    StepValue,
    Task,
)
from .queue import answered_how
from .selection import first_source, in_source, name_like, solution_in_source

NOUNS = ("solutions", "problems", "labels", "critiques", "runs")
PAGE = 25


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty fields match everything."""

    text: str = ""
    """Part of the statement, in upper or lower case; or an id, written as a number."""
    source: str = ""
    """A source's name; `*` stands for any text."""
    maker: str = ""
    """Who made it: a generator, critic, labeller or model; `*` stands for any text."""
    outcome: str = ""
    """Of solutions: `right`, `wrong`, `unknown`; of critiques, the verdict; of runs, the kind."""
    is_labelled: bool | None = None
    """Of solutions and problems: whether a person, model or program labelled its steps."""


@dataclass(frozen=True, slots=True)
class PageOfRows:
    """Rows of one page, newest first."""

    rows: list[dict[str, Any]]
    next_below: int | None
    """Where the next page begins; None on the last one."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a labeller said of a solution, once."""

    annotation_id: int
    annotator: str
    annotator_kind: str
    task_id: int | None
    finish_reason: str | None
    comment: str | None
    guideline: str | None
    is_current: bool
    created_at: dt.datetime
    labels: Mapping[int, int]
    unsure: frozenset[int]
    has_own_segments: bool
    """Whether the steps were split or merged, so that the labels count other steps."""


@dataclass(frozen=True, slots=True)
class SolutionView:
    """A solution with everything that was said of it."""

    solution_id: int
    problem_id: int
    statement: str
    reference_answer: str | None
    sources: tuple[str, ...]
    source: str | None
    generator: str | None
    run_id: int | None
    licence: str | None
    steps: tuple[str, ...]
    answer: str | None
    outcome: bool | None
    outcome_rule: str | None
    said: tuple[Said, ...]
    scores: tuple[tuple[str, str, float, tuple[float, ...]], ...]
    """Reward model, kind, value, and its values of the segments."""
    step_values: Mapping[int, tuple[int, int]]
    """Rollouts that were right, and all, by step; -1 is the problem itself."""
    critiques: tuple[tuple[int, str, str, str, int | None, bool | None, str], ...]
    """Id, kind, critic, verdict, first error, whether the verdict is confirmed, text."""
    tasks: tuple["TaskOf", ...]
    """The oldest first."""


@dataclass(frozen=True, slots=True)
class TaskOf:
    """A task about a solution: its steps, a pair that it stands in, or a critique of it."""

    task_id: int
    project: str | None
    kind: str
    mode: str
    purpose: str
    is_open: bool
    n_wanted: int
    n_answers: int


def browse(
    engine: sa.Engine, noun: str, wanted: Wanted | None = None, *, below: int | None = None, n: int = PAGE
) -> PageOfRows:
    """One page of what is looked for.

    Args:
        engine: The database.
        noun: One of `NOUNS`.
        wanted: What is looked for.
        below: Only ids below this one; None for the first page.
        n: Rows of a page.
    """
    query, key = _QUERIES[noun](wanted or Wanted())
    if below is not None:
        query = query.where(key < below)
    with reading(engine) as session:
        rows = [dict(row._mapping) for row in session.execute(query.order_by(key.desc()).limit(n + 1))]
    more = len(rows) > n
    rows = rows[:n]
    return PageOfRows(rows, rows[-1]["id"] if more else None)


def view_solution(engine: sa.Engine, solution_id: int) -> SolutionView | None:
    """A solution with all that was said of it; None where there is none of this id."""
    with reading(engine) as session:
        row = session.get(Solution, solution_id)
        if row is None:
            return None
        problem = session.get_one(Problem, row.problem_id)
        return SolutionView(
            solution_id=solution_id,
            problem_id=problem.problem_id,
            statement=problem.statement,
            reference_answer=problem.reference_answer,
            sources=tuple(
                session.scalars(
                    sa.select(ProblemSource.source).where(ProblemSource.problem_id == problem.problem_id).distinct()
                )
            ),
            source=row.source,
            generator=row.generator,
            run_id=row.run_id,
            licence=row.licence,
            steps=tuple(row.steps),
            answer=row.answer,
            outcome=row.outcome,
            outcome_rule=row.outcome_rule,
            said=_said(session, solution_id),
            scores=tuple(
                (found.reward_model, found.kind, found.value, tuple(found.step_values or ()))
                for found in session.scalars(
                    sa.select(Score).where(Score.solution_id == solution_id).order_by(Score.score_id.desc()).limit(20)
                )
            ),
            step_values={
                found.step_index: (found.n_right, found.n_rollouts)
                for found in session.scalars(
                    sa.select(StepValue).where(StepValue.solution_id == solution_id).order_by(StepValue.step_value_id)
                )
            },
            critiques=tuple(
                (
                    found.critique_id,
                    found.kind,
                    found.critic or "",
                    found.verdict,
                    found.first_error,
                    found.is_confirmed,
                    found.text,
                )
                for found in session.scalars(
                    sa.select(Critique)
                    .where(Critique.solution_id == solution_id)
                    .order_by(Critique.critique_id.desc())
                    .limit(20)
                )
            ),
            tasks=_tasks(session, solution_id),
        )


def _tasks(session: Session, solution_id: int) -> tuple[TaskOf, ...]:
    n_answers = (
        sa.select(sa.func.count())
        .select_from(Annotation)
        .where(Annotation.task_id == Task.task_id, Annotation.superseded_by_id.is_(None))
        .correlate(Task)
        .scalar_subquery()
    )
    rows = session.execute(
        sa.select(Task, Project.name, n_answers)
        .outerjoin(Project, Project.project_id == Task.project_id)
        .where(sa.or_(Task.solution_id == solution_id, Task.other_solution_id == solution_id))
        .order_by(Task.task_id)
        .limit(50)
    )
    return tuple(
        TaskOf(row.task_id, name, row.kind, row.mode, row.purpose, row.is_open, row.n_wanted, n)
        for row, name, n in rows
    )


def solutions_of_problem(engine: sa.Engine, problem_id: int, *, n: int = 50) -> list[int]:
    """Ids of a problem's solutions, newest first."""
    with reading(engine) as session:
        return list(
            session.scalars(
                sa.select(Solution.solution_id)
                .where(Solution.problem_id == problem_id)
                .order_by(Solution.solution_id.desc())
                .limit(n)
            )
        )


def _said(session: Session, solution_id: int) -> tuple[Said, ...]:
    rows = session.execute(
        sa.select(Annotation, Annotator.name, Annotator.kind)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(Annotation.solution_id == solution_id, Annotation.kind == "steps")
        .order_by(Annotation.annotation_id.desc())
        .limit(50)
    ).all()
    labels, unsure = labels_of(session, [row.annotation_id for row, _, _ in rows])
    return tuple(
        Said(
            annotation_id=row.annotation_id,
            annotator=name,
            annotator_kind=kind,
            task_id=row.task_id,
            finish_reason=row.finish_reason,
            comment=row.comment,
            guideline=row.guideline,
            is_current=row.superseded_by_id is None,
            created_at=row.created_at,
            labels=labels.get(row.annotation_id, {}),
            unsure=frozenset(unsure.get(row.annotation_id, ())),
            has_own_segments=row.segments is not None,
        )
        for row, name, kind in rows
    )


_Found = tuple[sa.Select[*tuple[Any, ...]], Any]


def _matches(wanted: Wanted, key: Any) -> list[sa.ColumnElement[bool]]:
    text = wanted.text.strip()
    if not text:
        return []
    if text.isdecimal() and len(text) <= 15:
        return [sa.or_(key == int(text), _contains(Problem.statement, text))]
    return [_contains(Problem.statement, text)]


def _contains(column: Any, text: str) -> sa.ColumnElement[bool]:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found: sa.ColumnElement[bool] = column.ilike(f"%{escaped}%", escape="\\")
    return found


def _excerpt(column: Any) -> Any:
    return sa.func.substr(column, 1, 240)


def _has_labels(solution_id: Any) -> sa.Exists:
    return sa.exists().where(
        Annotation.solution_id == solution_id, Annotation.superseded_by_id.is_(None), Annotation.kind == "steps"
    )


_OUTCOMES = {"right": Solution.outcome.is_(True), "wrong": Solution.outcome.is_(False)}


def _solutions(wanted: Wanted) -> _Found:
    n_labellers = (
        sa.select(sa.func.count(sa.distinct(Annotation.annotator_id)))
        .where(
            Annotation.solution_id == Solution.solution_id,
            Annotation.superseded_by_id.is_(None),
            Annotation.kind == "steps",
        )
        .correlate(Solution)
        .scalar_subquery()
    )
    query = (
        sa.select(
            Solution.solution_id.label("id"),
            _excerpt(Problem.statement).label("problem"),
            sa.func.coalesce(Solution.source, sa.literal("run ") + sa.cast(Solution.run_id, sa.String)).label(
                "source"
            ),
            Solution.generator.label("by"),
            Solution.answer.label("answer"),
            Solution.outcome.label("outcome"),
            n_labellers.label("labellers"),
        )
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(*_matches(wanted, Solution.solution_id))
    )
    if wanted.source:
        query = query.where(solution_in_source(wanted.source))
    if wanted.maker:
        query = query.where(name_like(Solution.generator, wanted.maker))
    if wanted.outcome:
        query = query.where(_OUTCOMES.get(wanted.outcome, Solution.outcome.is_(None)))
    if wanted.is_labelled is not None:
        has = _has_labels(Solution.solution_id).correlate(Solution)
        query = query.where(has if wanted.is_labelled else ~has)
    return query, Solution.solution_id


def _problems(wanted: Wanted) -> _Found:
    source = first_source()
    n_solutions = (
        sa.select(sa.func.count())
        .select_from(Solution)
        .where(Solution.problem_id == Problem.problem_id)
        .correlate(Problem)
        .scalar_subquery()
    )
    query = sa.select(
        Problem.problem_id.label("id"),
        _excerpt(Problem.statement).label("problem"),
        source.label("source"),
        Problem.kind.label("kind"),
        Problem.reference_answer.label("answer"),
        n_solutions.label("solutions"),
    ).where(*_matches(wanted, Problem.problem_id))
    if wanted.source:
        query = query.where(in_source(Problem.problem_id, wanted.source))
    if wanted.is_labelled is not None:
        has = sa.exists().where(
            Solution.problem_id == Problem.problem_id, _has_labels(Solution.solution_id).correlate(Solution)
        )
        query = query.where(has if wanted.is_labelled else ~has)
    return query, Problem.problem_id


def _labels(wanted: Wanted) -> _Found:
    query = (
        sa.select(
            Annotation.annotation_id.label("id"),
            Annotation.solution_id.label("solution"),
            Annotator.name.label("by"),
            Annotation.kind.label("kind"),
            answered_how().label("ended"),
            (Annotation.first_error + 1).label("first error"),
            Annotation.superseded_by_id.is_(None).label("current"),
            Annotation.created_at.label("when"),
            _excerpt(Problem.statement).label("problem"),
        )
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(*_matches(wanted, Annotation.annotation_id))
    )
    if wanted.source:
        query = query.where(solution_in_source(wanted.source))
    if wanted.maker:
        query = query.where(name_like(Annotator.name, wanted.maker))
    return query, Annotation.annotation_id


def _critiques(wanted: Wanted) -> _Found:
    query = (
        sa.select(
            Critique.critique_id.label("id"),
            Critique.solution_id.label("solution"),
            Critique.critic.label("by"),
            Critique.kind.label("kind"),
            Critique.verdict.label("verdict"),
            (Critique.first_error + 1).label("first error"),
            Critique.is_confirmed.label("confirmed"),
            _excerpt(Problem.statement).label("problem"),
        )
        .join(Problem, Problem.problem_id == Critique.problem_id)
        .where(*_matches(wanted, Critique.critique_id))
    )
    if wanted.source:
        query = query.where(in_source(Critique.problem_id, wanted.source))
    if wanted.maker:
        query = query.where(name_like(Critique.critic, wanted.maker))
    if wanted.outcome:
        query = query.where(Critique.verdict == wanted.outcome)
    return query, Critique.critique_id


def _runs(wanted: Wanted) -> _Found:
    query: sa.Select[*tuple[Any, ...]] = sa.select(
        Run.run_id.label("id"),
        Run.kind.label("kind"),
        Run.model.label("by"),
        Run.engine.label("engine"),
        Run.status.label("status"),
        Run.n_samples.label("samples"),
        Run.cost_usd.label("USD"),
        Run.created_at.label("when"),
    )
    if wanted.text.strip().isdecimal():
        query = query.where(Run.run_id == int(wanted.text.strip()[:15]))
    if wanted.maker:
        query = query.where(name_like(Run.model, wanted.maker))
    if wanted.outcome:
        query = query.where(Run.kind == wanted.outcome)
    return query, Run.run_id


_QUERIES = {
    "solutions": _solutions,
    "problems": _problems,
    "labels": _labels,
    "critiques": _critiques,
    "runs": _runs,
}
