"""Rounds of a loop, stored and listed; what a round does is the flow's."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .connect import reading, writing
from .models import Round, Run, Solution
from .schema import utc_now


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
