"""Values of step prefixes, as the rollouts of a run found them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError
from stepmark.step_values import StepValue

from .bulk import bulk_insert, table_of
from .connect import reading
from .models import Run, Solution
from .models import StepValue as StepValueRow

_STEP_VALUES = table_of(StepValueRow)
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class ValuedSolution:
    """A solution with its values of one run, by step index."""

    solution_id: int
    n_steps: int
    values: dict[int, StepValue] = field(default_factory=dict)


def has_step_values(run_id: int) -> sa.ColumnElement[bool]:
    """The condition that a solution has values of this run; all of them are stored at once."""
    return sa.exists().where(StepValueRow.solution_id == Solution.solution_id, StepValueRow.run_id == run_id)


def add_step_values(session: Session, run_id: int, found: Mapping[int, Mapping[int, StepValue]]) -> int:
    """Adds values, by solution and step index, of solutions that have none of this run yet; returns how many.

    Args:
        session: Of one unit of writing.
        run_id: The run that found them.
        found: As many solutions as you like.
    """
    ids = list(found)
    there: set[int] = set()
    for start in range(0, len(ids), _CHUNK):
        query = sa.select(StepValueRow.solution_id).where(StepValueRow.run_id == run_id)
        there |= set(session.scalars(query.where(StepValueRow.solution_id.in_(ids[start : start + _CHUNK]))))
    rows = [
        {
            "solution_id": solution_id,
            "step_index": step_index,
            "run_id": run_id,
            "n_right": value.n_right,
            "n_rollouts": value.n_rollouts,
            "n_unreadable": value.n_unreadable,
        }
        for solution_id, values in found.items()
        if solution_id not in there
        for step_index, value in sorted(values.items())
    ]
    bulk_insert(session, _STEP_VALUES, rows)
    return len(rows)


def run_of_import(session: Session, source: str) -> int:
    """The run of rollouts under which the step values of a source stand; made on first sight, never resumed."""
    key = hashlib.sha256(f"import:{source}".encode()).hexdigest()[:32]
    found = session.scalar(sa.select(Run.run_id).where(Run.run_key == key))
    if found is not None:
        return found
    run = Run(run_key=key, kind="rollouts", engine="import", model=source, record={"import": source}, status="done")
    session.add(run)
    session.flush()
    return run.run_id


def find_rollouts_run(engine: sa.Engine, run_id: int | None) -> int:
    """The run of rollouts with this id; None finds the latest one.

    Raises:
        InputError: There is no such run, or it is of another kind.
    """
    with reading(engine) as session:
        if run_id is None:
            found = session.scalar(sa.select(sa.func.max(Run.run_id)).where(Run.kind == "rollouts"))
            if found is None:
                raise InputError("there are no rollouts yet; run `stepmark generate rollouts` first")
            return found
        kind = session.scalar(sa.select(Run.kind).where(Run.run_id == run_id))
    if kind != "rollouts":
        raise InputError(f"run {run_id} " + ("does not exist" if kind is None else f"is of {kind}, not of rollouts"))
    return run_id


def count_valued_solutions(engine: sa.Engine, run_id: int) -> int:
    """How many solutions `valued_solutions` yields."""
    query = sa.select(sa.func.count(sa.distinct(StepValueRow.solution_id))).where(StepValueRow.run_id == run_id)
    with reading(engine) as session:
        return session.scalar(query) or 0


def valued_solutions(engine: sa.Engine, run_id: int) -> Iterator[Sequence[ValuedSolution]]:
    """Yields the solutions that have values of a run, in chunks, in the order of their ids."""
    after = 0
    while True:
        ids = sa.select(Solution.solution_id).where(Solution.solution_id > after, has_step_values(run_id))
        chosen = ids.order_by(Solution.solution_id).limit(_CHUNK).subquery()
        query = (
            sa.select(
                Solution.solution_id,
                Solution.steps,
                StepValueRow.step_index,
                StepValueRow.n_right,
                StepValueRow.n_rollouts,
                StepValueRow.n_unreadable,
            )
            .join(chosen, chosen.c.solution_id == Solution.solution_id)
            .join(StepValueRow, StepValueRow.solution_id == Solution.solution_id)
            .where(StepValueRow.run_id == run_id)
            .order_by(Solution.solution_id, StepValueRow.step_index)
        )
        found: dict[int, ValuedSolution] = {}
        with reading(engine) as session:
            for solution_id, steps, step_index, n_right, n_rollouts, n_unreadable in session.execute(query):
                solution = found.setdefault(solution_id, ValuedSolution(solution_id, len(steps)))
                solution.values[step_index] = StepValue(n_right, n_rollouts, n_unreadable)
        if not found:
            return
        after = max(found)
        yield list(found.values())
