"""Putting things into the queue: solutions, alternatives to a step, pairs, critiques; each once, the rest counted."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from ..connect import writing
from ..models import TASK_KINDS, Alternative, Critique, Project, Solution, Task

STEP_MODES = ("first_error", "all_steps", "alternatives", "verify")
"""Modes of step tasks that the labelling surface offers."""

_CHUNK = 5000


@dataclass(frozen=True, slots=True)
class AddedTasks:
    """What became of the things offered for labelling."""

    read: int
    kept: int
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to be labelled; which fields it needs depends on the kind and mode of the task."""

    solution_id: int
    priority: float = 0.0
    """Higher is shown first; equal priorities keep the order in which they are given."""
    step_index: int | None = None
    """Mode `alternatives`: the 0-based step whose alternatives are rated."""
    other_solution_id: int | None = None
    """Kind `preference`: the second solution of the pair."""
    critique_id: int | None = None
    """Kind `critique`: the critique, of that solution."""


def add_tasks(
    engine: sa.Engine,
    wanted: Iterable[Wanted | tuple[int, float]],
    *,
    project_id: int | None = None,
    kind: str | None = None,
    mode: str | None = None,
    reason: str | None = None,
    n_wanted: int | None = None,
) -> AddedTasks:
    """Puts things into the queue, one task each.

    Args:
        engine: The database.
        wanted: What is to be labelled; a solution's id and a priority stand for `Wanted(id, priority)`.
        project_id: The project that the tasks belong to; None for none.
        kind: `steps`, `preference` or `critique`; by default the project's, outside any `steps`.
        mode: How steps are labelled; by default as the project says, outside any `first_error`.
        reason: The rule that chose them.
        n_wanted: Independent annotators wanted for each; by default as the project says, outside any 1.

    Returns:
        Counts; dropped is what has such a task in the project, does not exist, or cannot be labelled, by reason.

    Raises:
        InputError: There is no such project, it labels another kind, or mode or `n_wanted` cannot be.
    """
    with writing(engine) as session:
        project = None if project_id is None else session.get(Project, project_id)
        if project_id is not None and project is None:
            raise InputError(f"there is no project {project_id}")
        if project is not None:
            if kind not in (None, project.kind):
                raise InputError(f"project {project.name!r} labels {project.kind}, not {kind}")
            kind, mode, n_wanted = project.kind, mode or project.mode, n_wanted or project.n_wanted
    kind, mode, n_wanted = kind or "steps", mode or "first_error", 1 if n_wanted is None else n_wanted
    if kind not in TASK_KINDS:
        raise InputError(f"kind {kind!r} is unknown; use one of {', '.join(TASK_KINDS)}")
    if mode not in STEP_MODES:
        raise InputError(f"mode {mode!r} cannot be labelled step by step; use one of {', '.join(STEP_MODES)}")
    if n_wanted < 1:
        raise InputError(f"n_wanted is {n_wanted}; at least one annotator must be wanted")
    read = kept = 0
    dropped: dict[str, int] = {}
    items = (item if isinstance(item, Wanted) else Wanted(*item) for item in wanted)
    while chunk := list(itertools.islice(items, _CHUNK)):
        with writing(engine) as session:
            queued = _queued(session, chunk, kind, mode, project_id)
            facts = Facts(session, chunk, kind, mode)
            rows: list[dict[str, Any]] = []
            for item in chunk:
                read += 1
                key = key_of(kind, mode, item)
                why = facts.unfit(item) or ("already queued" if key in queued else None)
                if why is not None:
                    dropped[why] = dropped.get(why, 0) + 1
                    continue
                queued.add(key)
                rows.append(
                    {
                        "project_id": project_id,
                        "purpose": "label",
                        "kind": kind,
                        "mode": mode if kind == "steps" else "first_error",
                        "step_index": item.step_index if mode == "alternatives" else None,
                        "solution_id": item.solution_id,
                        "other_solution_id": item.other_solution_id if kind == "preference" else None,
                        "critique_id": item.critique_id if kind == "critique" else None,
                        "priority": item.priority,
                        "reason": reason,
                        "n_wanted": n_wanted,
                        "is_open": True,
                    }
                )
            if rows:
                session.execute(sa.insert(Task), rows)
            kept += len(rows)
    return AddedTasks(read, kept, dropped)


def key_of(kind: str, mode: str, item: Wanted) -> Any:
    """What two tasks share that ask for the same."""
    if kind == "preference":
        return frozenset((item.solution_id, item.other_solution_id))
    if kind == "critique":
        return item.critique_id
    return (item.solution_id, item.step_index) if mode == "alternatives" else item.solution_id


def _queued(session: Session, chunk: list[Wanted], kind: str, mode: str, project_id: int | None) -> set[Any]:
    """The keys of tasks that are there: in this project; outside any, in the whole queue of this kind and mode."""
    ids = {item.solution_id for item in chunk} | {item.other_solution_id for item in chunk}
    query = sa.select(Task.solution_id, Task.other_solution_id, Task.critique_id, Task.step_index).where(
        Task.solution_id.in_(ids), Task.kind == kind, Task.purpose == "label"
    )
    if kind == "steps":
        query = query.where(Task.mode == mode)
    if project_id is not None:
        query = query.where(Task.project_id == project_id)
    return {
        key_of(kind, mode, Wanted(solution_id, 0.0, step_index, other_id, critique_id))
        for solution_id, other_id, critique_id, step_index in session.execute(query)
    }


class Facts:
    """What must be known of a chunk to tell what cannot be labelled, and why."""

    def __init__(self, session: Session, chunk: list[Wanted], kind: str, mode: str) -> None:
        self._kind, self._mode = kind, mode
        ids = {item.solution_id for item in chunk} | {item.other_solution_id for item in chunk}
        self._solutions: Mapping[int, Any] = {
            row.solution_id: row
            for row in session.execute(
                sa.select(
                    Solution.solution_id,
                    Solution.problem_id,
                    Solution.steps,
                    Solution.text_hash,
                    Solution.answer.is_not(None).label("has_answer"),
                ).where(Solution.solution_id.in_(ids))
            )
        }
        self._critiques: set[tuple[int, int]] = set()
        self._alternatives: set[tuple[int, int]] = set()
        if kind == "critique":
            critiques = [item.critique_id for item in chunk if item.critique_id is not None]
            found = sa.select(Critique.critique_id, Critique.solution_id).where(Critique.critique_id.in_(critiques))
            self._critiques = {(critique_id, solution_id) for critique_id, solution_id in session.execute(found)}
        elif kind == "steps" and mode == "alternatives":
            there = sa.select(Alternative.solution_id, Alternative.step_index).where(Alternative.solution_id.in_(ids))
            self._alternatives = {(solution_id, step) for solution_id, step in session.execute(there.distinct())}

    def n_segments(self, solution_id: int) -> int:
        """How many segments a solution of the chunk has."""
        row = self._solutions[solution_id]
        return len(row.steps) + bool(row.has_answer)

    def unfit(self, item: Wanted) -> str | None:
        """Why a thing cannot be labelled; None if it can."""
        solution = self._solutions.get(item.solution_id)
        if solution is None:
            return "no such solution"
        if self._kind == "preference":
            other = self._solutions.get(item.other_solution_id or 0)
            if other is None:
                return "no such solution"
            if other.problem_id != solution.problem_id:
                return "of different problems"
            return "equal texts" if other.text_hash == solution.text_hash else None
        if self._kind == "critique":
            return None if (item.critique_id, item.solution_id) in self._critiques else "no such critique"
        if not solution.steps:
            return "no steps"
        if self._mode == "alternatives":
            if item.step_index is None or not 0 <= item.step_index < len(solution.steps):
                return "no such step"
            if (item.solution_id, item.step_index) not in self._alternatives:
                return "no alternatives"
        return None
