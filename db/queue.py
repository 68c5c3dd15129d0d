"""What waits to be labelled, what was labelled, and which solutions to ask about next."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from stepmark.errors import InputError

from .connect import reading
from .models import Annotation, Claim, Score, Solution, StepLabel, Task
from .schema import utc_now
from .selection import check_sources, solution_in_source
from .tasks import AddedTasks, add_tasks

ORDERS = ("random", "uncertain")


@dataclass(frozen=True, slots=True)
class QueueState:
    """One line of the queue: the tasks of one mode that one rule put in."""

    reason: str | None
    mode: str
    n_open: int
    n_closed: int
    n_leased: int
    """Open tasks in somebody's hands now."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one annotator has done, and what is left."""

    n_answered: int
    """Tasks answered, given up, skipped or called broken; corrections count once."""
    by_reason: dict[str, int]
    by_label: dict[int, int]
    n_unsure: int
    median_s: float | None
    """Median seconds on a task that was labelled; None where there is none."""
    n_left: int
    """Open tasks this annotator has not answered; some may be in others' hands."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answered task, for the annotator's own list."""

    task_id: int
    statement: str
    finish_reason: str
    first_error: int | None
    duration_ms: int | None


def queue_solutions(
    engine: sa.Engine,
    *,
    source: str = "*",
    limit: int = 100,
    mode: str = "first_error",
    order: str = "random",
    seed: int = 0,
    n_wanted: int = 1,
    reason: str | None = None,
) -> AddedTasks:
    """Chooses solutions that have no task in `mode` and puts them into the queue.

    Args:
        engine: The database.
        source: Source of an imported solution, or of a sampled one's problem; `*` stands for any text.
        limit: At most this many.
        mode: `first_error` or `all_steps`.
        order: `random`: drawn with `seed`, equal priority. `uncertain`: those whose newest PRM score is nearest to
            0.5 first; priority 1 at 0.5, 0 at 0 and 1; solutions without a score are left out.
        seed: Of the random choice.
        n_wanted: Independent annotators wanted for each.
        reason: Name of this part of the queue; by default the order.

    Raises:
        InputError: The order is unknown, no source fits the pattern, or `uncertain` finds no score.
    """
    if order not in ORDERS:
        raise InputError(f"order {order!r} is unknown; use one of {', '.join(ORDERS)}")
    if limit < 1:
        raise InputError(f"limit is {limit}; give at least 1")
    fits = solution_in_source(source)
    waiting = ~sa.exists().where(
        Task.solution_id == Solution.solution_id, Task.kind == "steps", Task.mode == mode
    ).correlate(Solution)
    with reading(engine) as session:
        check_sources(session, [source])
        if order == "random":
            ids = session.scalars(sa.select(Solution.solution_id).where(fits, waiting).order_by(Solution.solution_id))
            chosen = [(solution_id, 0.0) for solution_id in _draw(ids, limit, seed=seed)]
        else:
            newest = (
                sa.select(sa.func.max(Score.score_id))
                .where(Score.solution_id == Solution.solution_id, Score.kind == "prm")
                .correlate(Solution)
                .scalar_subquery()
            )
            distance = sa.func.abs(Score.value - 0.5)
            rows = session.execute(
                sa.select(Solution.solution_id, Score.value)
                .join(Score, Score.score_id == newest)
                .where(fits, waiting)
                .order_by(distance, Solution.solution_id)
                .limit(limit)
            )
            chosen = [(solution_id, 1.0 - 2.0 * abs(value - 0.5)) for solution_id, value in rows]
            if not chosen and not session.scalar(sa.select(sa.exists().where(Score.kind == "prm"))):
                raise InputError(
                    "no solution has a PRM score, so none is known to be uncertain; "
                    "run `stepmark score` first, or use --order random"
                )
    return add_tasks(engine, chosen, mode=mode, reason=reason or order, n_wanted=n_wanted)


def queue_state(engine: sa.Engine) -> list[QueueState]:
    """The queue by rule and mode, largest open part first."""
    leased = (
        sa.exists().where(Claim.task_id == Task.task_id, Claim.expires_at > utc_now()).correlate(Task)
    )  # a submission ends its lease
    n_open = sa.func.sum(sa.case((Task.is_open, 1), else_=0))
    with reading(engine) as session:
        rows = session.execute(
            sa.select(
                Task.reason,
                Task.mode,
                n_open,
                sa.func.count(),
                sa.func.sum(sa.case((sa.and_(Task.is_open, leased), 1), else_=0)),
            )
            .where(Task.kind == "steps")
            .group_by(Task.reason, Task.mode)
            .order_by(n_open.desc(), Task.reason, Task.mode)
        )
        return [
            QueueState(reason, mode, int(is_open), int(total) - int(is_open), int(held))
            for reason, mode, is_open, total, held in rows
        ]


def progress(engine: sa.Engine, annotator_id: int, *, reason: str | None = None) -> Progress:
    """What an annotator has done, and how much of the queue (or of the part `reason`) is left for them."""
    mine = sa.and_(
        Annotation.annotator_id == annotator_id,
        Annotation.superseded_by_id.is_(None),
        Annotation.task_id.is_not(None),
        Annotation.kind == "steps",
    )
    with reading(engine) as session:
        by_reason = {
            why: count
            for why, count in session.execute(
                sa.select(Annotation.finish_reason, sa.func.count()).where(mine).group_by(Annotation.finish_reason)
            )
            if why is not None
        }
        labels = (
            sa.select(StepLabel.label, sa.func.count(), sa.func.sum(sa.case((StepLabel.is_unsure, 1), else_=0)))
            .join(Annotation, Annotation.annotation_id == StepLabel.annotation_id)
            .where(mine)
            .group_by(StepLabel.label)
        )
        by_label: dict[int, int] = {}
        n_unsure = 0
        for label, count, unsure in session.execute(labels):
            by_label[label] = count
            n_unsure += int(unsure)
        durations = session.scalars(
            sa.select(Annotation.duration_ms)
            .where(
                mine, Annotation.duration_ms.is_not(None), Annotation.finish_reason.in_(("found_error", "solution"))
            )
            .order_by(Annotation.duration_ms)
        ).all()
        n_left = _n_left(session, annotator_id, reason=reason)
    middle = [value for value in durations if value is not None]
    return Progress(
        n_answered=sum(by_reason.values()),
        by_reason=by_reason,
        by_label=by_label,
        n_unsure=n_unsure,
        median_s=middle[len(middle) // 2] / 1000 if middle else None,
        n_left=n_left,
    )


def counts_for(engine: sa.Engine, annotator_id: int, *, reason: str | None = None) -> tuple[int, int]:
    """How many tasks an annotator has answered, and how many open ones are left; what the page shows all the time."""
    with reading(engine) as session:
        n_answered = session.scalar(
            sa.select(sa.func.count())
            .select_from(Annotation)
            .where(
                Annotation.annotator_id == annotator_id,
                Annotation.superseded_by_id.is_(None),
                Annotation.task_id.is_not(None),
            )
        )
        return n_answered or 0, _n_left(session, annotator_id, reason=reason)


def recently_answered(engine: sa.Engine, annotator_id: int, *, n: int = 20) -> list[Answered]:
    """The tasks an annotator answered last, newest first."""
    from .models import Problem

    with reading(engine) as session:
        rows = session.execute(
            sa.select(Annotation, Problem.statement)
            .join(Solution, Solution.solution_id == Annotation.solution_id)
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .where(
                Annotation.annotator_id == annotator_id,
                Annotation.superseded_by_id.is_(None),
                Annotation.task_id.is_not(None),
            )
            .order_by(Annotation.annotation_id.desc())
            .limit(n)
        )
        return [
            Answered(row.task_id or 0, statement, row.finish_reason or "", row.first_error, row.duration_ms)
            for row, statement in rows
        ]


def _n_left(session: sa.orm.Session, annotator_id: int, *, reason: str | None) -> int:
    part = [Task.is_open, Task.kind == "steps", *([] if reason is None else [Task.reason == reason])]
    n_open = session.scalar(sa.select(sa.func.count()).select_from(Task).where(*part)) or 0
    n_mine = (
        session.scalar(
            sa.select(sa.func.count())
            .select_from(Annotation)
            .join(Task, Task.task_id == Annotation.task_id)
            .where(*part, Annotation.annotator_id == annotator_id, Annotation.superseded_by_id.is_(None))
        )
        or 0
    )
    return n_open - n_mine


def _draw(ids: Iterator[int] | sa.ScalarResult[int], limit: int, *, seed: int) -> list[int]:
    """A uniform sample in random order, from a stream (reservoir sampling, algorithm R)."""
    rng = random.Random(seed)
    kept: list[int] = []
    for index, solution_id in enumerate(ids):
        if index < limit:
            kept.append(solution_id)
        elif (place := rng.randrange(index + 1)) < limit:
            kept[place] = solution_id
    rng.shuffle(kept)
    return kept
