"""What an answer says about whoever gave it: oddities, known answers missed, tests passed, pauses.

Oddities stand in `Annotation.checks`:

- `too_fast`: less time for each thing judged than the project's `min_ms_per_step`;
- `all_good_but_wrong`: no error found in a solution whose final answer is wrong;
- `contradicts_own_earlier`: another answer than this person gave on the same thing before;
- `missed_known_answer`: not the known answer of a gold, entry, practice or calibration task.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.known_answers import is_right
from stepmark.projects import ProjectSettings

from ..models import (
    Annotation,
    CritiqueJudgement,
    Event,
    KnownAnswer,
    Membership,
    Preference,
    Project,
    Solution,
    Task,
)
from .draws import screen_order
from .eligibility import known_tasks
from .rules import JUDGED_REASONS, first_error
from .submission import Submission

PAUSE_FROM = 10
"""Gold answers before which nobody is paused for them."""

MISSED = "missed_known_answer"

_TURNED = {"a": "b", "b": "a"}


def pair_choice(submission: Submission) -> str | None:
    """The choice of a pair in the pair's own terms: `a`, `b`, `equal` or `both_bad`; None where none was made."""
    if submission.pair is None or submission.finish_reason != "solution":
        return None
    order = screen_order(submission.annotator_id, submission.task_id)
    return {"first": order[0], "second": order[1]}.get(submission.pair.choice, submission.pair.choice)


def step_labels(
    labels: Sequence[int | None], segments: Sequence[str] | None, steps: Sequence[str]
) -> list[int | None]:
    """Labels of segments as labels of the solution's steps, with the answer's, if any, at the end.

    A step that was split is as bad as its worst part; each of several that were merged has their joint label.

    >>> step_labels([1, -1, None], ["a", "b c"], ["a", "b", "c"])
    [1, -1, -1, None]
    >>> step_labels([1, -1, 1], ["a", "b", "c"], ["a b", "c"])
    [-1, 1]
    """
    if segments is None:
        return list(labels)
    bounds = _bounds(segments)
    found: list[int | None] = []
    for start, end in _bounds(steps):
        parts = [label for (a, b), label in zip(bounds, labels, strict=False) if a < end and b > start]
        judged = [label for label in parts if label is not None]
        found.append(min(judged) if judged else None)
    return [*found, *labels[len(segments) :]]


def _bounds(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Where each text begins and ends, counted in characters that are not white space."""
    bounds: list[tuple[int, int]] = []
    at = 0
    for text in texts:
        bounds.append((at, at := at + len("".join(text.split()))))
    return bounds


def find_oddities(
    session: Session,
    submission: Submission,
    task: Task,
    solution: Solution,
    settings: ProjectSettings,
) -> list[str]:
    """What is odd about an answer that fits its task; see the top of this module."""
    found: list[str] = []
    if submission.finish_reason in JUDGED_REASONS:
        n_judged = (
            sum(label is not None for label in submission.labels) + len(submission.alternatives)
            if task.kind == "steps"
            else (2 if task.kind == "preference" else 1)
        )
        if submission.duration_ms is not None and submission.duration_ms < settings.min_ms_per_step * n_judged:
            found.append("too_fast")
        is_whole = task.kind == "steps" and task.mode != "alternatives"
        if is_whole and submission.finish_reason == "solution" and solution.outcome is False:
            found.append("all_good_but_wrong")
        if task.purpose != "relabel" and _contradicts_own_earlier(session, submission, task):
            found.append("contradicts_own_earlier")
    known = session.get(KnownAnswer, task.task_id)
    is_scored = submission.finish_reason != "skipped" or task.purpose == "entry"
    if known is not None and is_scored and not _is_right(known, submission, solution):
        found.append(MISSED)
    return found


def _is_right(known: KnownAnswer, submission: Submission, solution: Solution) -> bool:
    unmended = [
        None if label == -1 and index in submission.repaired else label
        for index, label in enumerate(submission.labels)
    ]
    labels = step_labels(unmended, submission.segments, solution.steps)
    answer = submission.critique
    if submission.finish_reason not in JUDGED_REASONS:
        return False
    return is_right(
        known.answer,
        finish_reason=submission.finish_reason,
        labels={index: label for index, label in enumerate(labels) if label is not None},
        choice=pair_choice(submission),
        judgement=None if answer is None else answer.judgement,
    )


def _contradicts_own_earlier(session: Session, submission: Submission, task: Task) -> bool:
    """Whether this person's last answer on the same thing, on another task, says something else."""
    earlier = (
        sa.select(Annotation)
        .join(Task, Task.task_id == Annotation.task_id)
        .where(
            Annotation.annotator_id == submission.annotator_id,
            Annotation.superseded_by_id.is_(None),
            Annotation.task_id != task.task_id,
            Annotation.kind == task.kind,
            Annotation.finish_reason.in_(JUDGED_REASONS),
        )
        .order_by(Annotation.annotation_id.desc())
        .limit(1)
    )
    if task.kind == "steps":
        if task.mode == "alternatives":
            return False
        before = session.scalar(
            earlier.where(
                Annotation.solution_id == task.solution_id,
                Annotation.mode != "alternatives",
                Annotation.segments.is_(None),
            )
        )
        if before is None or submission.segments is not None:
            return False
        return before.first_error != first_error(submission.labels, submission.repaired)
    if task.kind == "critique":
        judgement = session.scalar(
            earlier.join(CritiqueJudgement, CritiqueJudgement.annotation_id == Annotation.annotation_id)
            .where(Annotation.solution_id == task.solution_id, CritiqueJudgement.critique_id == task.critique_id)
            .with_only_columns(CritiqueJudgement.judgement)
        )
        given = None if submission.critique is None else submission.critique.judgement
        return bool(judgement is not None and judgement != given)
    pair = (task.solution_id, task.other_solution_id)
    row = session.execute(
        earlier.join(Preference, Preference.annotation_id == Annotation.annotation_id)
        .where(
            Annotation.solution_id.in_(pair),
            Preference.solution_a_id.in_(pair),
            Preference.solution_b_id.in_(pair),
        )
        .with_only_columns(Preference.solution_a_id, Preference.choice)
    ).first()
    if row is None:
        return False
    said = row.choice if row.solution_a_id == task.solution_id else _TURNED.get(row.choice, row.choice)
    return bool(said != pair_choice(submission))


def gold_score(
    session: Session, project_id: int | None, annotator_id: int, *, after: int | None = None
) -> tuple[int, int]:
    """How many gold tasks of a project an annotator got right, and how many they answered; skipped ones do not count.

    Args:
        session: Reads.
        project_id: The project; None for tasks outside any.
        annotator_id: Whose answers.
        after: Only answers of a later id.
    """
    gold = known_tasks(project_id, "gold").subquery()
    return _score(
        session, sa.select(gold.c.task_id), annotator_id, Annotation.finish_reason != "skipped", after=after
    )


def _score(
    session: Session,
    tasks: sa.Select[int],
    annotator_id: int,
    *conditions: sa.ColumnElement[bool],
    after: int | None = None,
) -> tuple[int, int]:
    every = session.scalars(
        sa.select(sa.func.coalesce(Annotation.checks, sa.literal([], Annotation.checks.type))).where(
            Annotation.task_id.in_(tasks),
            Annotation.annotator_id == annotator_id,
            Annotation.superseded_by_id.is_(None),
            *conditions,
            *([] if after is None else [Annotation.annotation_id > after]),
        )
    ).all()
    return sum(MISSED not in checks for checks in every), len(every)


def after_answer(
    session: Session, annotation: Annotation, task: Task, settings: ProjectSettings, project: str | None
) -> str | None:
    """Draws the consequences of a stored answer: gold is scored, an entry test ends; why the person is now paused."""
    if task.purpose == "gold" and annotation.finish_reason != "skipped":
        session.add(
            Event(
                kind="gold_answered",
                annotator_id=annotation.annotator_id,
                task_id=task.task_id,
                data={
                    "annotation_id": annotation.annotation_id,
                    "is_right": MISSED not in (annotation.checks or []),
                },
            )
        )
        return _pause_for_gold(session, annotation, task, settings, project)
    if task.purpose == "entry" and task.project_id is not None:
        return _end_entry_test(session, annotation, task, settings, project)
    return None


def _pause_for_gold(
    session: Session, annotation: Annotation, task: Task, settings: ProjectSettings, project: str | None
) -> str | None:
    """Pauses whoever is below the project's limit, by the answers since they were paused last."""
    if settings.pause_below is None or task.project_id is None:
        return None
    paused = session.scalars(
        sa.select(Event.data)
        .where(Event.kind == "paused", Event.annotator_id == annotation.annotator_id)
        .order_by(Event.event_id.desc())
    )
    last = next((data["annotation_id"] for data in paused if data and data["project_id"] == task.project_id), None)
    n_right, n = gold_score(session, task.project_id, annotation.annotator_id, after=last)
    if n < PAUSE_FROM or n_right >= settings.pause_below * n:
        return None
    member = _member(session, task.project_id, annotation.annotator_id)
    if member.state == "paused":
        return None
    member.state = "paused"
    member.reason = (
        f"Of {n} tasks of project {project!r} whose answer is known, you got {n_right} right. "
        "Read the guidelines again, and talk to whoever leads the project."
    )
    _note(session, "paused", annotation, task, n=n, n_right=n_right)
    return member.reason


def _end_entry_test(
    session: Session, annotation: Annotation, task: Task, settings: ProjectSettings, project: str | None
) -> str | None:
    """Ends the entry test with its last answer: active from now on, or paused."""
    assert task.project_id is not None
    member = _member(session, task.project_id, annotation.annotator_id, state="testing")
    if member.state != "testing":
        return None
    n_wanted = settings.n_entry_tasks
    tasks = known_tasks(task.project_id, "entry").order_by(Task.task_id).limit(n_wanted).subquery()
    n_right, n = _score(session, sa.select(tasks.c.task_id), annotation.annotator_id)
    if n < n_wanted:
        return None
    if n_right >= settings.entry_pass_share * n_wanted - 1e-9:
        member.state = "active"
        _note(session, "entry_passed", annotation, task, n=n, n_right=n_right)
        return None
    member.state = "paused"
    member.reason = (
        f"You got {n_right} of the {n} tasks of the entry test of project {project!r} right; "
        f"{settings.entry_pass_share:.0%} are needed. Talk to whoever leads the project."
    )
    _note(session, "entry_failed", annotation, task, n=n, n_right=n_right)
    return member.reason


def _member(session: Session, project_id: int, annotator_id: int, *, state: str = "active") -> Membership:
    """The person's place in a project; who never joined one for everyone gets a row now."""
    member = session.get(Membership, (project_id, annotator_id), with_for_update=True)
    if member is None:
        assert session.get(Project, project_id) is not None
        member = Membership(project_id=project_id, annotator_id=annotator_id, state=state)
        session.add(member)
    return member


def _note(session: Session, kind: str, annotation: Annotation, task: Task, **counts: int) -> None:
    data = {"project_id": task.project_id, "annotation_id": annotation.annotation_id, **counts}
    session.add(Event(kind=kind, annotator_id=annotation.annotator_id, task_id=task.task_id, data=data))
