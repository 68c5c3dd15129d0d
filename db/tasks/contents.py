"""What an annotator is shown of a task: everything there is to read, and nothing that would give silent ones away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from stepmark.projects import ProjectSettings

from ..models import (
    Alternative,
    Claim,
    Critique,
    Draft,
    Guideline,
    KnownAnswer,
    Note,
    Problem,
    Project,
    Solution,
    Task,
)
from ..selection import first_source
from .draws import lot, screen_order
from .pools import settings_of

_other, _target = aliased(Solution), aliased(Problem)

_SILENT = ("gold", "repeat")
"""Purposes that look like `label` to the annotator."""

_REVEALED = ("practice", "calibration")
"""Purposes whose known answer is shown after the annotator's."""


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What the surface must know of a task's project."""

    name: str | None
    """None: the task belongs to no project, and the defaults hold."""
    label_scheme: str
    repaired_steps: str
    math_mode: str
    shows_evidence: bool
    min_ms_per_step: int
    pair_reasons: tuple[str, ...]
    asks_strength: bool
    guideline: str | None = None
    """Version of the rules in force; None for the default ones."""


@dataclass(frozen=True, slots=True)
class OfferedAlternative:
    """Another step in the place of the one in question."""

    alternative_id: int
    text: str
    is_answer: bool


@dataclass(frozen=True, slots=True)
class PairSide:
    """One solution of a pair."""

    steps: tuple[str, ...]
    answer: str | None
    text: str
    outcome: bool | None


@dataclass(frozen=True, slots=True)
class CriticisedVariant:
    """The variant that a critique carried the solution over to."""

    statement: str
    reference_answer: str | None


@dataclass(frozen=True, slots=True)
class ShownCritique:
    """The critique to be judged."""

    critique_id: int
    text: str
    verdict: str
    first_error: int | None
    kind: str
    variant: CriticisedVariant | None
    """None where it is about the solution's own problem."""


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """A known answer, in the terms of the screen; shown after the annotator's own."""

    answer: Mapping[str, Any]
    note: str | None


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task in an annotator's hands, with everything there is to read."""

    task_id: int
    token: str
    """Proves the lease; comes back with the submission."""
    kind: str
    mode: str
    purpose: str
    """`label`, `practice`, `calibration`, `entry` or `relabel`; gold and repeated ones come as `label`."""
    project: ProjectFacts
    statement: str
    reference_answer: str | None
    source: str | None
    """Where the problem was found first: `gsm8k/test`."""
    outcome: bool | None
    """Is the solution's final answer right; None where unknown, and of pairs, whose sides have their own."""
    steps: tuple[str, ...]
    """Of the solution; none in a pair."""
    answer: str | None
    """Final answer of the solution; a segment of its own, after the steps, where it is known."""
    solution_ids: tuple[int, ...]
    """The solution, or those of a pair in screen order; for whoever attaches evidence."""
    step_index: int | None = None
    alternatives: tuple[OfferedAlternative, ...] = ()
    first: PairSide | None = None
    second: PairSide | None = None
    order: Literal["ab", "ba"] | None = None
    critique: ShownCritique | None = None
    note: str | None = None
    """A reviewer's words, where the task was sent back."""
    known: ShownAnswer | None = None
    evidence_before: bool = False
    """Whether evidence is on screen before the answer, as drawn for this annotator and task."""
    draft: Mapping[str, Any] | None = field(default=None, hash=False)
    """Unfinished work as the server has it, with `updated_at` in milliseconds since 1970."""

    @property
    def n_segments(self) -> int:
        """How many labels a complete answer has: one a step, one for the final answer if there is one."""
        return len(self.steps) + (self.answer is not None)


def contents(session: Session, task_ids: Sequence[int], annotator_id: int) -> list[ClaimedTask]:
    """The tasks that the annotator has claims on, in the given order, with their content."""
    if not task_ids:
        return []
    source = first_source()
    rows = session.execute(
        sa.select(Task, Claim.token, Problem, Solution, _other, Critique, _target, Draft, KnownAnswer, source)
        .join(Claim, sa.and_(Claim.task_id == Task.task_id, Claim.annotator_id == annotator_id))
        .join(Solution, Solution.solution_id == Task.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .outerjoin(_other, _other.solution_id == Task.other_solution_id)
        .outerjoin(Critique, Critique.critique_id == Task.critique_id)
        .outerjoin(_target, _target.problem_id == Critique.problem_id)
        .outerjoin(Draft, sa.and_(Draft.task_id == Task.task_id, Draft.annotator_id == annotator_id))
        .outerjoin(KnownAnswer, KnownAnswer.task_id == Task.task_id)
        .where(Task.task_id.in_(task_ids))
    ).all()
    alternatives = _alternatives(session, [row.Task for row in rows])
    notes = _notes(session, task_ids, annotator_id)
    projects = {id_: settings_of(session, id_) for id_ in {row.Task.project_id for row in rows}}
    facts = {id_: _facts(name, settings, _guideline(session, id_)) for id_, (name, settings) in projects.items()}
    found: dict[int, ClaimedTask] = {}
    for task, token, problem, solution, pair, critique, variant, draft, known, where in rows:
        order = screen_order(annotator_id, task.task_id) if pair is not None else None
        sides = (pair, solution) if order == "ba" else (solution, pair)
        is_pair = order is not None
        found[task.task_id] = ClaimedTask(
            task_id=task.task_id,
            token=token,
            kind=task.kind,
            mode=task.mode,
            purpose="label" if task.purpose in _SILENT else task.purpose,
            project=facts[task.project_id],
            statement=problem.statement,
            reference_answer=problem.reference_answer,
            source=where,
            outcome=None if is_pair else solution.outcome,
            steps=() if is_pair else tuple(solution.steps),
            answer=None if is_pair else solution.answer,
            solution_ids=tuple(side.solution_id for side in sides) if is_pair else (solution.solution_id,),
            step_index=task.step_index,
            alternatives=tuple(alternatives.get(task.task_id, ())),
            first=_side(sides[0]) if is_pair else None,
            second=_side(sides[1]) if is_pair else None,
            order=order,
            critique=None if critique is None else _critique(critique, variant, solution),
            note=notes.get(task.task_id),
            known=_known(known, order) if task.purpose in _REVEALED and known is not None else None,
            evidence_before=lot("evidence", annotator_id, task.task_id)
            < projects[task.project_id][1].suggestion_share,
            draft=None if draft is None else {**draft.body, "updated_at": round(draft.updated_at.timestamp() * 1000)},
        )
    return [found[task_id] for task_id in task_ids]


def alternatives_of(session: Session, task: Task) -> list[Alternative]:
    """The alternatives to the step that a task is about, oldest first."""
    return list(
        session.scalars(
            sa.select(Alternative)
            .where(Alternative.solution_id == task.solution_id, Alternative.step_index == task.step_index)
            .order_by(Alternative.alternative_id)
        )
    )


def _alternatives(session: Session, tasks: Sequence[Task]) -> dict[int, list[OfferedAlternative]]:
    return {
        task.task_id: [
            OfferedAlternative(row.alternative_id, row.text, row.is_answer) for row in alternatives_of(session, task)
        ]
        for task in tasks
        if task.mode == "alternatives" and task.kind == "steps"
    }


def _notes(session: Session, task_ids: Sequence[int], annotator_id: int) -> dict[int, str]:
    rows = session.execute(
        sa.select(Note.task_id, Note.text)
        .where(
            Note.task_id.in_(task_ids),
            Note.annotator_id == annotator_id,
            Note.kind == "sent_back",
            Note.read_at.is_(None),
        )
        .order_by(Note.note_id)
    )
    return {task_id: text for task_id, text in rows if task_id is not None}


def _guideline(session: Session, project_id: int | None) -> str | None:
    return session.scalar(
        sa.select(Guideline.version)
        .join(Project, Project.guideline_id == Guideline.guideline_id)
        .where(Project.project_id == project_id)
    )


def _facts(name: str | None, settings: ProjectSettings, guideline: str | None) -> ProjectFacts:
    return ProjectFacts(
        name=name,
        label_scheme=settings.label_scheme,
        repaired_steps=settings.repaired_steps,
        math_mode=settings.math_mode,
        shows_evidence=settings.shows_evidence,
        min_ms_per_step=settings.min_ms_per_step,
        pair_reasons=settings.pair_reasons,
        asks_strength=settings.asks_strength,
        guideline=guideline,
    )


def _side(solution: Solution) -> PairSide:
    return PairSide(tuple(solution.steps), solution.answer, solution.text, solution.outcome)


def _critique(critique: Critique, target: Problem, solution: Solution) -> ShownCritique:
    variant = None
    if critique.problem_id != solution.problem_id:
        variant = CriticisedVariant(target.statement, target.reference_answer)
    return ShownCritique(
        critique_id=critique.critique_id,
        text=critique.text,
        verdict=critique.verdict,
        first_error=critique.first_error,
        kind=critique.kind,
        variant=variant,
    )


def _known(known: KnownAnswer, order: Literal["ab", "ba"] | None) -> ShownAnswer:
    """The known answer; a choice of `a` or `b` becomes `first` or `second`."""
    answer = dict(known.answer)
    if order is not None and answer.get("choice") in ("a", "b"):
        answer["choice"] = ("first", "second")[order.index(answer["choice"])]
    return ShownAnswer(answer, known.note)
