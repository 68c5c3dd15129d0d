"""The figures by which a labelling lead steers: work by day, what is left, time, quality by annotator, anchoring.

Everything is counted by the database; no label comes into memory. Only current answers to tasks count, by people.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from .connect import reading
from .models import Annotation, Annotator, Critique, Project, Run, Solution, StepLabel, Task
from .projects import WORK
from .queue import answered_how
from .tasks import COUNTING_REASONS

TOO_FAST, ALL_GOOD_BUT_WRONG = "too_fast", "all_good_but_wrong"
CONTRADICTS_EARLIER, MISSED_KNOWN = "contradicts_own_earlier", "missed_known_answer"
JUDGED = ("found_error", "solution")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which answers a dashboard is about."""

    project_id: int | None = None
    """None: all projects, and what belongs to none."""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    """Up to, without, this moment."""


@dataclass(frozen=True, slots=True)
class Day:
    """What was done on one day (UTC)."""

    day: dt.date
    n_answers: int
    n_labels: int
    hours: float


@dataclass(frozen=True, slots=True)
class Left:
    """What is to be done."""

    n_tasks: int
    """Open tasks of the work itself."""
    n_answers: int
    """Answers that they still want."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What was done, and what it took."""

    n_answers: int
    n_people: int
    n_labels: int
    """Labels of steps; pairs and critiques have none."""
    by_label: Mapping[int, int]
    by_reason: Mapping[str, int]
    """By how they ended (`db.queue.answered_how`)."""
    n_unsure: int
    n_timed: int
    """Answers that say how long they took."""
    hours: float
    """Of those."""
    median_s: float | None
    """Seconds for an answer that judged; None where none is timed."""
    n_labels_timed: int
    n_too_fast: int
    n_all_good_but_wrong: int

    @property
    def s_per_label(self) -> float | None:
        """Seconds for each step label, over timed answers; None where there is none."""
        return self.hours * 3600 / self.n_labels_timed if self.n_labels_timed else None


@dataclass(frozen=True, slots=True)
class PersonFigures:
    """One annotator's work and how far it can be trusted."""

    annotator_id: int
    annotator: str
    n_answers: int
    n_labels: int
    hours: float
    n_timed: int
    n_bad: int
    n_neutral: int
    n_unsure: int
    n_gold: int
    """Answers to gold tasks; skipped ones left out."""
    n_gold_right: int
    n_repeats: int
    """Answers to tasks that the person had answered before."""
    n_repeats_same: int
    n_too_fast: int
    n_all_good_but_wrong: int
    last_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Anchoring:
    """Answers made with, or without, a model's opinion on screen."""

    is_shown: bool
    n_answers: int
    by_label: Mapping[int, int]
    n_with_verdict: int
    """Answers on solutions of which a judge says whether they are right."""
    n_agreeing: int
    """Of these, answers that say the same."""
    n_found_error: int
    """Of `n_answers`, those that found an error."""


def work_by_day(engine: sa.Engine, scope: Scope) -> list[Day]:
    """Days on which something was answered, oldest first."""
    with reading(engine) as session:
        day = _day(session, Annotation.created_at)
        answers = session.execute(
            sa.select(day, sa.func.count(), sa.func.coalesce(sa.func.sum(Annotation.duration_ms), 0))
            .select_from(Annotation)
            .join(Task, Task.task_id == Annotation.task_id)
            .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
            .where(_in_scope(scope))
            .group_by(day)
            .order_by(day)
        ).all()
        labels = {
            _date(when): int(count)
            for when, count in session.execute(
                sa.select(day, sa.func.count())
                .select_from(StepLabel)
                .join(Annotation, Annotation.annotation_id == StepLabel.annotation_id)
                .join(Task, Task.task_id == Annotation.task_id)
                .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
                .where(_in_scope(scope))
                .group_by(day)
            )
        }
        return [
            Day(_date(when), int(count), labels.get(_date(when), 0), int(ms) / 3_600_000)
            for when, count, ms in answers
        ]


def work_left(engine: sa.Engine, project_id: int | None = None) -> Left:
    """Open tasks of open projects, and the answers that they still want."""
    n_answers = (
        sa.select(Annotation.task_id, sa.func.count().label("n"))
        .join(Task, Task.task_id == Annotation.task_id)
        .where(Task.is_open, Annotation.superseded_by_id.is_(None), Annotation.finish_reason.in_(COUNTING_REASONS))
        .group_by(Annotation.task_id)
        .subquery()
    )
    left = Task.n_wanted - sa.func.coalesce(n_answers.c.n, 0)
    query = (
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.case((left > 0, left), else_=0)), 0))
        .select_from(Task)
        .outerjoin(n_answers, n_answers.c.task_id == Task.task_id)
        .outerjoin(Project, Project.project_id == Task.project_id)
        .where(Task.is_open, Task.purpose.in_(WORK), sa.func.coalesce(Project.is_open, sa.true()))
    )
    if project_id is not None:
        query = query.where(Task.project_id == project_id)
    with reading(engine) as session:
        n_tasks, n_wanted = session.execute(query).one()
        return Left(int(n_tasks), int(n_wanted))


def totals(engine: sa.Engine, scope: Scope) -> Totals:
    """Sums over all answers of the scope."""
    with reading(engine) as session:
        row = session.execute(
            _from_answers(
                scope,
                sa.func.count(),
                sa.func.count(sa.distinct(Annotation.annotator_id)),
                sa.func.count(Annotation.duration_ms),
                sa.func.coalesce(sa.func.sum(Annotation.duration_ms), 0),
                _sum(_has(TOO_FAST)),
                _sum(_has(ALL_GOOD_BUT_WRONG)),
            )
        ).one()
        by_reason = {
            reason or "": int(count)
            for reason, count in session.execute(
                _from_answers(scope, answered_how(), sa.func.count()).group_by(answered_how())
            )
        }
        by_label: dict[int, int] = {}
        n_unsure = n_labels_timed = 0
        for label, count, unsure, timed in session.execute(
            _from_labels(
                scope,
                StepLabel.label,
                sa.func.count(),
                _sum(StepLabel.is_unsure),
                sa.func.count(Annotation.duration_ms),
            ).group_by(StepLabel.label)
        ):
            by_label[label] = int(count)
            n_unsure += int(unsure)
            n_labels_timed += int(timed)
        return Totals(
            n_answers=int(row[0]),
            n_people=int(row[1]),
            n_labels=sum(by_label.values()),
            by_label=by_label,
            by_reason=by_reason,
            n_unsure=n_unsure,
            n_timed=int(row[2]),
            hours=int(row[3]) / 3_600_000,
            median_s=_median_s(session, scope),
            n_labels_timed=n_labels_timed,
            n_too_fast=int(row[4] or 0),
            n_all_good_but_wrong=int(row[5] or 0),
        )


def figures_by_person(engine: sa.Engine, scope: Scope) -> list[PersonFigures]:
    """Every annotator with an answer in the scope, the busiest first."""
    is_gold = sa.and_(Task.purpose.in_(("gold", "entry")), Annotation.finish_reason != "skipped")
    is_repeat = sa.and_(Task.purpose == "repeat", Annotation.finish_reason.in_(JUDGED))
    with reading(engine) as session:
        rows = session.execute(
            _from_answers(
                scope,
                Annotation.annotator_id,
                Annotator.name,
                sa.func.count().label("n_answers"),
                sa.func.count(Annotation.duration_ms).label("n_timed"),
                sa.func.coalesce(sa.func.sum(Annotation.duration_ms), 0).label("ms"),
                _sum(is_gold).label("n_gold"),
                _sum(sa.and_(is_gold, ~_has(MISSED_KNOWN))).label("n_gold_right"),
                _sum(is_repeat).label("n_repeats"),
                _sum(sa.and_(is_repeat, ~_has(CONTRADICTS_EARLIER))).label("n_repeats_same"),
                _sum(_has(TOO_FAST)).label("n_too_fast"),
                _sum(_has(ALL_GOOD_BUT_WRONG)).label("n_all_good_but_wrong"),
                sa.func.max(Annotation.created_at).label("last_at"),
            )
            .group_by(Annotation.annotator_id, Annotator.name)
            .order_by(sa.func.count().desc(), Annotator.name)
        ).all()
        labels = {
            row.annotator_id: row
            for row in session.execute(
                _from_labels(
                    scope,
                    Annotation.annotator_id,
                    sa.func.count().label("n"),
                    _sum(StepLabel.label == -1).label("n_bad"),
                    _sum(StepLabel.label == 0).label("n_neutral"),
                    _sum(StepLabel.is_unsure).label("n_unsure"),
                ).group_by(Annotation.annotator_id)
            )
        }
        return [_person(row, labels.get(row.annotator_id)) for row in rows]


def anchoring(engine: sa.Engine, scope: Scope) -> list[Anchoring]:
    """Step answers by whether a model's opinion was on screen before them, hidden first.

    The opinion that an answer is held against is the newest judge's verdict on the solution, shown or not: only so
    can those who saw it be compared with those who did not.
    """
    newest = aliased(Critique)
    verdict = (
        sa.select(newest.verdict)
        .where(
            newest.solution_id == Annotation.solution_id,
            newest.kind == "judge",
            newest.verdict.in_(("pass", "fail")),
        )
        .order_by(newest.critique_id.desc())
        .limit(1)
        .correlate(Annotation)
        .scalar_subquery()
    )
    agrees = sa.or_(
        sa.and_(verdict == "fail", Annotation.finish_reason == "found_error"),
        sa.and_(verdict == "pass", Annotation.finish_reason == "solution"),
    )
    judged = sa.and_(Annotation.kind == "steps", Annotation.finish_reason.in_(JUDGED))
    with reading(engine) as session:
        rows = session.execute(
            _from_answers(
                scope,
                sa.func.coalesce(Annotation.suggestion_shown, sa.false()).label("is_shown"),
                sa.func.count().label("n"),
                sa.func.count(verdict).label("n_with_verdict"),
                _sum(agrees).label("n_agreeing"),
                _sum(Annotation.finish_reason == "found_error").label("n_found_error"),
            )
            .where(judged, Task.purpose.in_(WORK))
            .group_by(sa.func.coalesce(Annotation.suggestion_shown, sa.false()))
        ).all()
        labels: dict[bool, dict[int, int]] = {}
        for is_shown, label, count in session.execute(
            _from_labels(
                scope,
                sa.func.coalesce(Annotation.suggestion_shown, sa.false()),
                StepLabel.label,
                sa.func.count(),
            )
            .where(judged, Task.purpose.in_(WORK))
            .group_by(sa.func.coalesce(Annotation.suggestion_shown, sa.false()), StepLabel.label)
        ):
            labels.setdefault(bool(is_shown), {})[label] = int(count)
        found = [
            Anchoring(
                is_shown=bool(row.is_shown),
                n_answers=int(row.n),
                by_label=labels.get(bool(row.is_shown), {}),
                n_with_verdict=int(row.n_with_verdict),
                n_agreeing=int(row.n_agreeing or 0),
                n_found_error=int(row.n_found_error or 0),
            )
            for row in rows
        ]
        return sorted(found, key=lambda one: one.is_shown)


def model_cost(engine: sa.Engine) -> tuple[float, int]:
    """What all runs of models have cost in USD, and how many of their answers have no known price."""
    with reading(engine) as session:
        cost, unpriced = session.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(Run.cost_usd), 0.0), sa.func.coalesce(sa.func.sum(Run.n_unpriced), 0)
            )
        ).one()
        return float(cost), int(unpriced)


def answered_sources(engine: sa.Engine, scope: Scope, *, n: int = 50) -> dict[str, int]:
    """Answers by source of the solution; sampled solutions are of `run`."""
    source = sa.func.coalesce(Solution.source, "run")
    with reading(engine) as session:
        return {
            name: int(count)
            for name, count in session.execute(
                _from_answers(scope, source, sa.func.count())
                .join(Solution, Solution.solution_id == Annotation.solution_id)
                .group_by(source)
                .order_by(sa.func.count().desc())
                .limit(n)
            )
        }


def _person(row: Any, labels: Any) -> PersonFigures:
    return PersonFigures(
        annotator_id=row.annotator_id,
        annotator=row.name,
        n_answers=int(row.n_answers),
        n_labels=int(labels.n) if labels else 0,
        hours=int(row.ms) / 3_600_000,
        n_timed=int(row.n_timed),
        n_bad=int(labels.n_bad) if labels else 0,
        n_neutral=int(labels.n_neutral) if labels else 0,
        n_unsure=int(labels.n_unsure) if labels else 0,
        n_gold=int(row.n_gold),
        n_gold_right=int(row.n_gold_right),
        n_repeats=int(row.n_repeats),
        n_repeats_same=int(row.n_repeats_same),
        n_too_fast=int(row.n_too_fast),
        n_all_good_but_wrong=int(row.n_all_good_but_wrong),
        last_at=row.last_at,
    )


def _in_scope(scope: Scope) -> sa.ColumnElement[bool]:
    conditions = [Annotation.superseded_by_id.is_(None), Annotator.kind == "person"]
    if scope.project_id is not None:
        conditions.append(Task.project_id == scope.project_id)
    if scope.since is not None:
        conditions.append(Annotation.created_at >= scope.since)
    if scope.until is not None:
        conditions.append(Annotation.created_at < scope.until)
    return sa.and_(*conditions)


def _from_answers(scope: Scope, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(*columns)
        .select_from(Annotation)
        .join(Task, Task.task_id == Annotation.task_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(_in_scope(scope))
    )


def _from_labels(scope: Scope, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(*columns)
        .select_from(StepLabel)
        .join(Annotation, Annotation.annotation_id == StepLabel.annotation_id)
        .join(Task, Task.task_id == Annotation.task_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(_in_scope(scope))
    )


def _has(check: str) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = sa.func.coalesce(
        sa.cast(Annotation.checks, sa.Text).like(f'%"{check}"%'), sa.false()
    )
    return found


def _sum(condition: Any) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def _day(session: Session, column: Any) -> sa.ColumnElement[Any]:
    if session.get_bind().dialect.name == "postgresql":
        return sa.cast(sa.func.timezone("UTC", column), sa.Date)
    return sa.func.date(column, type_=sa.String)


def _date(value: dt.date | str) -> dt.date:
    return dt.date.fromisoformat(value) if isinstance(value, str) else value


def _median_s(session: Session, scope: Scope) -> float | None:
    timed = sa.and_(Annotation.duration_ms.is_not(None), Annotation.finish_reason.in_(JUDGED))
    n = session.scalar(_from_answers(scope, sa.func.count()).where(timed)) or 0
    if not n:
        return None
    value = session.scalar(
        _from_answers(scope, Annotation.duration_ms)
        .where(timed)
        .order_by(Annotation.duration_ms)
        .offset((n - 1) // 2)
        .limit(1)
    )
    return value / 1000 if value is not None else None
