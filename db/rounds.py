"""Rounds of a loop, stored and listed; what a round does is the flow's."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .bulk import is_among
from .connect import reading, writing
from .models import Annotation, Annotator, Problem, Round, Run, Score, Solution, Task
from .schema import utc_now
from .selection import solution_in_source, tells_first_error


@dataclass(frozen=True, slots=True)
class RoundState:
    """A round as a listing shows it."""

    round_id: int
    loop: str
    number: int
    """0-based."""
    started_at: dt.datetime
    finished_at: dt.datetime | None
    """None while it is under way, or was interrupted."""
    plan: dict[str, Any]
    selected: list[dict[str, Any]]
    """What was chosen and why: `reason`, `n`, `examples` (ids of solutions)."""
    metrics: dict[str, float]
    guards: list[dict[str, Any]]
    """`name`, `value`, `bound`, `direction` (`min` or `max`), `tripped`, `words`."""
    counts: dict[str, dict[str, Any]]
    """By stage: `read`, `kept`, `dropped`."""
    stop_reason: str | None


@dataclass(frozen=True, slots=True)
class LoopState:
    """A loop as a listing shows it."""

    loop: str
    n_rounds: int
    """Rounds that were begun."""
    n_finished: int
    started_at: dt.datetime
    finished_at: dt.datetime | None
    """When its latest round ended; None while that one is under way."""
    stop_reason: str | None


def start_round(engine: sa.Engine, loop: str, number: int, *, plan: Mapping[str, Any]) -> int:
    """Opens a round and returns its id; one that was begun before keeps its time and plan."""
    with writing(engine) as session:
        found = session.scalar(sa.select(Round.round_id).where(Round.loop == loop, Round.number == number))
        if found is not None:
            return found
        opened = Round(loop=loop, number=number, plan=dict(plan))
        session.add(opened)
        session.flush()
        return opened.round_id


def finish_round(
    engine: sa.Engine,
    round_id: int,
    *,
    selected: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, float],
    guards: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Mapping[str, Any]],
    stop_reason: str | None = None,
) -> None:
    """Stores what a round came to, and that it has ended."""
    values = {
        "selected": [dict(one) for one in selected],
        "metrics": dict(metrics),
        "guards": [dict(one) for one in guards],
        "counts": {stage: dict(one) for stage, one in counts.items()},
        "stop_reason": stop_reason,
        "finished_at": utc_now(),
    }
    with writing(engine) as session:
        session.execute(sa.update(Round).where(Round.round_id == round_id).values(**values))


def list_rounds(engine: sa.Engine, loop: str) -> list[RoundState]:
    """The rounds of a loop in order; none where no loop has this name."""
    with reading(engine) as session:
        found = session.scalars(sa.select(Round).where(Round.loop == loop).order_by(Round.number)).all()
        return [
            RoundState(
                row.round_id,
                row.loop,
                row.number,
                row.started_at,
                row.finished_at,
                row.plan,
                row.selected,
                row.metrics,
                row.guards,
                row.counts,
                row.stop_reason,
            )
            for row in found
        ]


def list_loops(engine: sa.Engine) -> list[LoopState]:
    """All loops, the one that was begun last first."""
    with reading(engine) as session:
        rows = session.scalars(sa.select(Round).order_by(Round.loop, Round.number)).all()
        by_loop: dict[str, list[Round]] = {}
        for row in rows:
            by_loop.setdefault(row.loop, []).append(row)
        loops = [
            LoopState(
                name,
                len(rounds),
                sum(row.finished_at is not None for row in rounds),
                rounds[0].started_at,
                rounds[-1].finished_at,
                rounds[-1].stop_reason,
            )
            for name, rounds in by_loop.items()
        ]
    return sorted(loops, key=lambda loop: loop.started_at, reverse=True)


@dataclass(frozen=True, slots=True)
class Generation:
    """The round that something was made in."""

    loop: str
    number: int


def generation_of(engine: sa.Engine, *, solution_id: int) -> Generation | None:
    """The round in which a solution was sampled; None of one that no loop made.

    What is said of a solution (critiques, labels, scores) names it, and so its round.
    """
    query = (
        sa.select(Round.loop, Round.number)
        .join(Run, Run.round_id == Round.round_id)
        .join(Solution, Solution.run_id == Run.run_id)
        .where(Solution.solution_id == solution_id)
    )
    with reading(engine) as session:
        row = session.execute(query).one_or_none()
    return None if row is None else Generation(row.loop, row.number)


@dataclass(frozen=True, slots=True)
class RunSample:
    """A sampled solution as a round looks at it."""

    solution_id: int
    problem_id: int
    text_hash: str
    """Equal texts of one problem share it."""
    answer: str | None
    outcome: bool | None
    steps: tuple[str, ...]
    is_truncated: bool
    score: float | None
    """By the reward model that was asked for; None where it gave none."""


def run_samples(engine: sa.Engine, run_id: int, *, reward_model: str | None = None) -> list[RunSample]:
    """What a run sampled, ordered by problem and solution; read whole: a round is some ten thousand rows."""
    query = (
        sa.select(
            Solution.solution_id,
            Solution.problem_id,
            Solution.text_hash,
            Solution.answer,
            Solution.outcome,
            Solution.steps,
            Solution.extra,
            Score.value,
        )
        .outerjoin(
            Score,
            sa.and_(Score.solution_id == Solution.solution_id, Score.reward_model == reward_model),
        )
        .where(Solution.run_id == run_id)
        .order_by(Solution.problem_id, Solution.solution_id)
    )
    with reading(engine) as session:
        return [
            RunSample(
                row.solution_id,
                row.problem_id,
                row.text_hash,
                row.answer,
                row.outcome,
                tuple(row.steps),
                bool((row.extra or {}).get("is_truncated")),
                row.value,
            )
            for row in session.execute(query)
        ]


def runs_of_round(engine: sa.Engine, round_id: int, *, kind: str = "solutions") -> list[int]:
    """The runs that a round began, of one kind, in the order in which it began them."""
    query = sa.select(Run.run_id).where(Run.round_id == round_id, Run.kind == kind).order_by(Run.run_id)
    with reading(engine) as session:
        return list(session.scalars(query))


def step_scores(engine: sa.Engine, reward_model: str, *, run_id: int) -> dict[int, tuple[float, ...]]:
    """What a PRM gave each segment of what a run sampled, by solution; those it did not score are left out."""
    query = (
        sa.select(Score.solution_id, Score.step_values)
        .join(Solution, Solution.solution_id == Score.solution_id)
        .where(Solution.run_id == run_id, Score.reward_model == reward_model, Score.step_values.is_not(None))
    )
    with reading(engine) as session:
        return {solution_id: tuple(values or ()) for solution_id, values in session.execute(query)}


def n_open_tasks(engine: sa.Engine, solution_ids: Collection[int]) -> int:
    """How many of these solutions still wait for somebody to label their steps, in no project."""
    query = sa.select(sa.func.count(sa.distinct(Task.solution_id))).where(
        Task.kind == "steps", Task.is_open.is_(True), Task.project_id.is_(None), Task.purpose == "label"
    )
    with reading(engine) as session:
        return session.scalar(query.where(is_among(session, Task.solution_id, list(solution_ids)))) or 0


def solution_texts(
    engine: sa.Engine, solution_ids: Collection[int]
) -> list[tuple[int, str, tuple[str, ...], str | None]]:
    """Id, problem, steps and answer of these solutions, by id."""
    query = (
        sa.select(Solution.solution_id, Problem.statement, Solution.steps, Solution.answer)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .order_by(Solution.solution_id)
    )
    with reading(engine) as session:
        wanted = is_among(session, Solution.solution_id, list(solution_ids))
        return [
            (solution_id, statement, tuple(steps), answer)
            for solution_id, statement, steps, answer in session.execute(query.where(wanted))
        ]


def first_errors(
    engine: sa.Engine,
    solution_ids: Collection[int] | None,
    *,
    annotators: Sequence[str] = (),
    annotator_kinds: Sequence[str] = (),
) -> dict[int, int | None]:
    """Where these labellers see the first error of these solutions; None where they see none.

    Solutions that none of them has labelled are left out; of several labels the latest counts.

    Args:
        engine: The database.
        solution_ids: As many as you like; None: all that there are.
        annotators: Only labels by these; empty: by all.
        annotator_kinds: Only labels by `person`, `program` or `model`; empty: by all.
    """
    query = (
        sa.select(Annotation.solution_id, Annotation.first_error)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(Annotation.superseded_by_id.is_(None), tells_first_error(), _judges_all())
        .order_by(Annotation.annotation_id)
    )
    if annotators:
        query = query.where(Annotator.name.in_(annotators))
    if annotator_kinds:
        query = query.where(Annotator.kind.in_(annotator_kinds))
    with reading(engine) as session:
        if solution_ids is not None:
            query = query.where(is_among(session, Annotation.solution_id, list(solution_ids)))
        return {solution_id: first_error for solution_id, first_error in session.execute(query)}


def judged_and_scored(
    engine: sa.Engine, reward_model: str, *, source: str
) -> list[tuple[int, int | None, tuple[float, ...]]]:
    """The labelled solutions of a source that a PRM scored: problem, first error, the PRM's step scores.

    One for each annotation, whoever made it, in the order of the annotations.
    """
    query = (
        sa.select(Solution.problem_id, Annotation.first_error, Score.step_values)
        .join(Annotation, Annotation.solution_id == Solution.solution_id)
        .join(Score, Score.solution_id == Solution.solution_id)
        .where(
            Annotation.superseded_by_id.is_(None),
            tells_first_error(),
            _judges_all(),
            Score.reward_model == reward_model,
            Score.step_values.is_not(None),
            solution_in_source(source),
        )
        .order_by(Annotation.annotation_id)
    )
    with reading(engine) as session:
        return [(problem, first, tuple(values or ())) for problem, first, values in session.execute(query)]


def _judges_all() -> sa.ColumnElement[bool]:
    """Whether an annotation went to the end or to an error; one that was given up says nothing."""
    return sa.or_(Annotation.finish_reason.is_(None), Annotation.finish_reason.in_(("solution", "found_error")))
