"""Taking an answer in: whose lease it is, whether it fits, storing it with all that hangs below it."""

import secrets
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.projects import ProjectSettings

from ..connect import writing
from ..models import (
    AlternativeLabel,
    Annotation,
    Claim,
    Critique,
    CritiqueJudgement,
    Draft,
    Event,
    Note,
    Preference,
    Solution,
    StepLabel,
    Task,
    WrittenStep,
)
from ..schema import utc_now
from .contents import alternatives_of
from .draws import screen_order
from .eligibility import FILLING_PURPOSES, is_sent_back_to, may_answer, n_answers
from .pools import settings_of
from .quality import after_answer, find_oddities, pair_choice
from .rules import (
    LABELLED_REASONS,
    alternatives_problem,
    critique_problem,
    first_error,
    pair_problem,
    steps_problem,
)
from .submission import Submission, SubmitAnswer


def submit(engine: sa.Engine, submission: Submission) -> SubmitAnswer:
    """Stores one annotator's answer to a task; repeating it changes nothing.

    An answer that names the earlier one in `corrects` supersedes it; so does one to a task that was sent back, or
    that is there for practice. A lease that ran out is still honoured while the task has room. Refused, with nothing
    stored: a token that is not this lease's; a lease that ran out and was filled by others; a second answer that
    corrects nothing; an answer that contradicts the task's kind and mode, the project's settings or itself.
    """
    with writing(engine) as session:
        task = session.scalar(sa.select(Task).where(Task.task_id == submission.task_id).with_for_update())
        earlier = session.scalar(sa.select(Annotation).where(Annotation.submission_id == submission.submission_id))
        if earlier is not None:
            if (earlier.task_id, earlier.annotator_id) == (submission.task_id, submission.annotator_id):
                return SubmitAnswer("repeated", "", earlier.annotation_id)
            return SubmitAnswer("invalid", f"the submission id {submission.submission_id!r} is another answer's")
        if task is None:
            return SubmitAnswer("unknown_task", f"there is no task {submission.task_id}")
        claim = session.scalar(
            sa.select(Claim).where(Claim.task_id == task.task_id, Claim.annotator_id == submission.annotator_id)
        )
        if claim is None or not secrets.compare_digest(claim.token.encode(), submission.token.encode()):
            return SubmitAnswer("wrong_token", f"task {task.task_id} is not leased to you under this token")
        current = session.scalar(
            sa.select(Annotation).where(
                Annotation.task_id == task.task_id,
                Annotation.annotator_id == submission.annotator_id,
                Annotation.superseded_by_id.is_(None),
            )
        )
        if (
            current is not None
            and current.submission_id != submission.corrects
            and task.purpose != "practice"
            and not _is_true_of(session, task, is_sent_back_to(submission.annotator_id))
        ):
            return SubmitAnswer("already_answered", f"you have answered task {task.task_id} elsewhere")
        solution = session.get_one(Solution, task.solution_id)
        project, settings = settings_of(session, task.project_id)
        if problem := _problem(session, submission, task, claim, solution, settings):
            return SubmitAnswer("invalid", problem)
        if current is None and not _is_true_of(session, task, may_answer(submission.annotator_id)):
            return SubmitAnswer("lease_lost", f"your lease on task {task.task_id} ran out and others took it over")

        checks = find_oddities(session, submission, task, solution, settings)
        annotation = _store(session, submission, task, current, checks)
        claim.expires_at = utc_now()
        _clear(session, submission)
        if task.purpose in FILLING_PURPOSES:
            counted = session.scalar(sa.select(n_answers()).where(Task.task_id == task.task_id)) or 0
            task.is_open = counted < task.n_wanted
        data: dict[str, Any] = {
            "annotation_id": annotation.annotation_id,
            "finish_reason": submission.finish_reason,
        }
        session.add(
            Event(
                kind="submitted" if current is None else "corrected",
                annotator_id=submission.annotator_id,
                task_id=task.task_id,
                data={**data, "checks": checks} if checks else data,
            )
        )
        paused = after_answer(session, annotation, task, settings, project)
        return SubmitAnswer("stored" if current is None else "corrected", "", annotation.annotation_id, paused)


def _is_true_of(session: Session, task: Task, condition: sa.ColumnElement[bool]) -> bool:
    return bool(session.scalar(sa.select(condition).where(Task.task_id == task.task_id)))


def _problem(
    session: Session,
    submission: Submission,
    task: Task,
    claim: Claim,
    solution: Solution,
    settings: ProjectSettings,
) -> str | None:
    if task.kind == "preference":
        return pair_problem(submission, settings)
    if task.kind == "critique":
        critique = session.get_one(Critique, task.critique_id)
        return critique_problem(submission, verdict=critique.verdict)
    has_answer = solution.answer is not None
    if task.mode != "alternatives":
        return steps_problem(
            submission, mode=task.mode, steps=solution.steps, has_answer=has_answer, settings=settings
        )
    offered = alternatives_of(session, task)
    assert task.step_index is not None
    return alternatives_problem(
        submission,
        step_index=task.step_index,
        n_segments=len(solution.steps) + has_answer,
        offered=[row.alternative_id for row in offered],
        needed=[row.alternative_id for row in offered if row.created_at <= claim.claimed_at],
        settings=settings,
    )


def _store(
    session: Session, submission: Submission, task: Task, current: Annotation | None, checks: list[str]
) -> Annotation:
    is_labelled = submission.finish_reason in LABELLED_REASONS
    is_steps = task.kind == "steps"
    extra = dict(submission.extra)
    if not is_labelled and any(label is not None for label in submission.labels):
        extra["labels_set_aside"] = list(submission.labels)
    if submission.chosen == "own":
        extra["chosen"] = "own"
    annotation = Annotation(
        submission_id=submission.submission_id,
        kind=task.kind,
        annotator_id=submission.annotator_id,
        # A task has one current answer: the new row joins it only when the old one has stepped back.
        task_id=None if current is not None else task.task_id,
        solution_id=task.solution_id,
        mode=task.mode if is_steps else None,
        finish_reason=submission.finish_reason,
        first_error=first_error(submission.labels, submission.repaired) if is_labelled else None,
        comment=submission.comment or None,
        guideline=submission.guideline,
        suggestion_shown=submission.suggestion_shown,
        duration_ms=submission.duration_ms,
        segments=None if submission.segments is None else list(submission.segments),
        checks=checks or None,
        extra=extra or None,
    )
    session.add(annotation)
    session.flush()
    if current is not None:
        current.superseded_by_id = annotation.annotation_id
        session.flush()
        annotation.task_id = task.task_id
        session.flush()
    if is_labelled:
        session.add_all(_rows_below(submission, task, annotation.annotation_id))
    session.flush()
    return annotation


def _rows_below(submission: Submission, task: Task, annotation_id: int) -> list[Any]:
    """What hangs below the annotation: labels of steps and alternatives, written steps, the choice, the judgement."""
    durations = dict(enumerate(submission.step_durations_ms))
    rows: list[Any] = [
        StepLabel(
            annotation_id=annotation_id,
            step_index=index,
            label=label,
            is_unsure=index in submission.unsure,
            is_repaired=index in submission.repaired,
            duration_ms=durations.get(index),
        )
        for index, label in enumerate(submission.labels)
        if label is not None
    ]
    rows += [
        WrittenStep(annotation_id=annotation_id, step_index=index, text=text.strip())
        for index, text in submission.written.items()
    ]
    rows += [
        AlternativeLabel(
            annotation_id=annotation_id,
            alternative_id=alternative_id,
            label=label,
            is_chosen=alternative_id == submission.chosen,
        )
        for alternative_id, label in submission.alternatives.items()
    ]
    choice = pair_choice(submission)
    if submission.pair is not None and choice is not None:
        rows.append(
            Preference(
                annotation_id=annotation_id,
                solution_a_id=task.solution_id,
                solution_b_id=task.other_solution_id,
                choice=choice,
                strength=submission.pair.strength,
                shown_first=screen_order(submission.annotator_id, task.task_id)[0],
                reasons=list(submission.pair.reasons) or None,
            )
        )
    answer = submission.critique
    if answer is not None and submission.finish_reason == "solution":
        rows.append(
            CritiqueJudgement(
                annotation_id=annotation_id,
                critique_id=task.critique_id,
                judgement=answer.judgement,
                is_helpful=answer.is_helpful,
                is_verdict_right=answer.is_verdict_right,
                correction=(answer.correction or "").strip() or None,
            )
        )
    return rows


def _clear(session: Session, submission: Submission) -> None:
    """The draft is done with, and so is what a reviewer wrote when sending the task back."""
    session.execute(
        sa.delete(Draft).where(Draft.task_id == submission.task_id, Draft.annotator_id == submission.annotator_id)
    )
    session.execute(
        sa.update(Note)
        .where(
            Note.task_id == submission.task_id,
            Note.annotator_id == submission.annotator_id,
            Note.kind == "sent_back",
            Note.read_at.is_(None),
        )
        .values(read_at=utc_now())
        .execution_options(synchronize_session=False)
    )
