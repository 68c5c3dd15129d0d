"""The life of a labelling task: added, claimed under a lease, answered, corrected.

A task is wanted from `n_wanted` independent annotators. Answers and live leases of other annotators both count
against that number, so nobody labels what is already taken care of. Leases end by the database's clock; one that
ran out is free again. Refusals are answers (`SubmitAnswer.status`), not exceptions: the page must tell the
annotator what became of the work. Which solutions are worth a task is decided in `db.queue`.
"""

import itertools
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from .connect import writing
from .models import Annotation, Claim, Event, Problem, ProblemSource, Solution, StepLabel, Task
from .schema import utc_now

STEP_MODES = ("first_error", "all_steps")
"""Modes of step tasks that the labelling surface offers."""

COUNTING_REASONS = ("found_error", "solution", "bad_problem")
"""Finish reasons that satisfy a task; after `give_up` and `skipped` it goes to somebody else."""

LABELLED_REASONS = ("found_error", "solution", "give_up")
"""Finish reasons whose step labels are stored; a skipped or broken problem says nothing about steps."""

SubmitStatus = Literal[
    "stored", "corrected", "repeated", "wrong_token", "lease_lost", "already_answered", "unknown_task", "invalid"
]

_CHUNK = 5000


@dataclass(frozen=True, slots=True)
class AddedTasks:
    """What became of the solutions offered for labelling."""

    read: int
    kept: int
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task in an annotator's hands, with everything there is to read."""

    task_id: int
    token: str
    """Proves the lease; comes back with the submission."""
    mode: str
    statement: str
    reference_answer: str | None
    source: str | None
    """Where the problem was found first: `gsm8k/test`."""
    steps: tuple[str, ...]
    answer: str | None
    """Final answer of the solution; a segment of its own, after the steps, where it is known."""

    @property
    def n_segments(self) -> int:
        """How many labels a complete answer has: one a step, one for the final answer if there is one."""
        return len(self.steps) + (self.answer is not None)


@dataclass(frozen=True, slots=True)
class Submission:
    """One annotator's finished work on one task, as it arrives."""

    submission_id: str
    """Chosen by the sender; the same id twice is the same submission."""
    task_id: int
    annotator_id: int
    token: str
    finish_reason: str
    labels: Sequence[int | None]
    """One entry per segment: +1, 0, -1, or None where no judgement was made."""
    unsure: frozenset[int] = frozenset()
    """Indexes of the segments marked as unsure."""
    step_durations_ms: Sequence[int | None] = ()
    duration_ms: int | None = None
    comment: str | None = None
    guideline: str | None = None
    suggestion_shown: bool = False
    corrects: str | None = None
    """The submission that this one replaces, after an undo."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """What became of a submission."""

    status: SubmitStatus
    message: str
    """For the annotator, where it was refused; else empty."""
    annotation_id: int | None = None

    @property
    def is_accepted(self) -> bool:
        """Is the work in the database."""
        return self.status in ("stored", "corrected", "repeated")


def add_tasks(
    engine: sa.Engine,
    wanted: Iterable[tuple[int, float]],
    *,
    mode: str = "first_error",
    reason: str | None = None,
    n_wanted: int = 1,
) -> AddedTasks:
    """Puts solutions into the queue, one step task each.

    Args:
        engine: The database.
        wanted: Pairs of solution id and priority (higher is shown first); equal priorities keep this order.
        mode: `first_error` or `all_steps`.
        reason: The rule that chose them.
        n_wanted: Independent annotators wanted for each.

    Returns:
        Counts; dropped are solutions that have a task in this mode, that have no steps, or that do not exist.

    Raises:
        InputError: The mode or `n_wanted` is not one that can be labelled.
    """
    if mode not in STEP_MODES:
        raise InputError(f"mode {mode!r} cannot be labelled step by step; use one of {', '.join(STEP_MODES)}")
    if n_wanted < 1:
        raise InputError(f"n_wanted is {n_wanted}; at least one annotator must be wanted")
    read = kept = 0
    dropped = {"already queued": 0, "no steps": 0, "no such solution": 0}
    pairs = iter(wanted)
    while chunk := dict(itertools.islice(pairs, _CHUNK)):
        with writing(engine) as session:
            queued = set(
                session.scalars(
                    sa.select(Task.solution_id).where(
                        Task.solution_id.in_(chunk), Task.kind == "steps", Task.mode == mode
                    )
                )
            )
            has_steps = {
                solution_id: bool(steps)
                for solution_id, steps in session.execute(
                    sa.select(Solution.solution_id, Solution.steps).where(Solution.solution_id.in_(chunk))
                )
            }
            rows: list[dict[str, Any]] = []
            for solution_id, priority in chunk.items():
                read += 1
                if solution_id in queued:
                    dropped["already queued"] += 1
                elif solution_id not in has_steps:
                    dropped["no such solution"] += 1
                elif not has_steps[solution_id]:
                    dropped["no steps"] += 1
                else:
                    rows.append(
                        {
                            "kind": "steps",
                            "mode": mode,
                            "solution_id": solution_id,
                            "priority": priority,
                            "reason": reason,
                            "n_wanted": n_wanted,
                            "is_open": True,
                        }
                    )
            if rows:
                session.execute(sa.insert(Task), rows)
            kept += len(rows)
    return AddedTasks(read, kept, {why: count for why, count in dropped.items() if count})


def claim_tasks(
    engine: sa.Engine, annotator_id: int, *, n: int = 2, lease_s: int = 1800, reason: str | None = None
) -> list[ClaimedTask]:
    """Brings the number of tasks in an annotator's hands to `n`, and returns them all with their content.

    Tasks already held come first, also those whose lease ran out while nobody else took them: they keep their
    token, so that work begun on them still counts. The rest are claimed, highest priority first. Never a task this
    annotator answered or skipped. Fewer than `n` come back when the queue is short, or when the last tasks are
    being claimed by others at this very moment.

    Args:
        engine: The database.
        annotator_id: Who asks.
        n: How many tasks to hold.
        lease_s: Seconds until a new lease ends.
        reason: Only tasks that this rule put into the queue.
    """
    with writing(engine) as session:
        held = _still_held(session, annotator_id, n=n, lease_s=lease_s)
        while len(held) < n:
            candidates = _lock_next(session, annotator_id, n - len(held), reason=reason)
            if not candidates:
                break
            # That statement saw the claims as they were when it began; one that was committed between that
            # moment and our lock is seen only by a new statement, under the lock.
            free = session.scalars(
                sa.select(Task.task_id)
                .where(Task.task_id.in_(candidates), _is_claimable(annotator_id))
                .order_by(Task.task_id)
            ).all()
            for task_id in free:
                _lease(session, task_id, annotator_id, lease_s=lease_s)
            held.extend(free)
        return _contents(session, held, annotator_id)


def heartbeat(engine: sa.Engine, annotator_id: int, tokens: Mapping[int, str], *, lease_s: int = 1800) -> set[int]:
    """Prolongs live leases, given as task id to token; returns the tasks still held."""
    held: set[int] = set()
    with writing(engine) as session:
        for task_id, token in sorted(tokens.items()):
            held.update(
                session.scalars(
                    sa.update(Claim)
                    .where(
                        Claim.task_id == task_id,
                        Claim.annotator_id == annotator_id,
                        Claim.token == token,
                        Claim.expires_at > utc_now(),
                    )
                    .values(expires_at=utc_now(lease_s))
                    .returning(Claim.task_id)
                    .execution_options(synchronize_session=False)
                )
            )
    return held


def release(engine: sa.Engine, annotator_id: int, tokens: Mapping[int, str] | None = None) -> set[int]:
    """Ends live leases at once, so that others can have the tasks; returns the tasks let go.

    Args:
        engine: The database.
        annotator_id: Whose leases.
        tokens: Task id to token; None for all of this annotator's.
    """
    with writing(engine) as session:
        live = session.scalars(
            sa.select(Claim).where(Claim.annotator_id == annotator_id, Claim.expires_at > utc_now())
        ).all()
        released: set[int] = set()
        for claim in live:
            if tokens is None or tokens.get(claim.task_id) == claim.token:
                claim.expires_at = utc_now()
                session.add(Event(kind="released", annotator_id=annotator_id, task_id=claim.task_id))
                released.add(claim.task_id)
    return released


def submit(engine: sa.Engine, submission: Submission) -> SubmitAnswer:
    """Stores one annotator's answer to a task; repeating it changes nothing.

    An answer that names the earlier one in `corrects` supersedes it. A lease that ran out is still honoured while
    the task has room. Refused, with nothing stored: a token that is not this lease's; a lease that ran out and was
    filled by others; a second answer that corrects nothing; labels that contradict the mode or the finish reason.
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
        if current is not None and current.submission_id != submission.corrects:
            return SubmitAnswer("already_answered", f"you have answered task {task.task_id} elsewhere")
        solution = session.get_one(Solution, task.solution_id)
        n_segments = len(solution.steps) + (solution.answer is not None)
        if problem := labels_problem(submission.labels, task.mode, submission.finish_reason, n_segments=n_segments):
            return SubmitAnswer("invalid", problem)
        if current is None and not session.scalar(
            sa.select(_may_answer(submission.annotator_id)).where(Task.task_id == task.task_id)
        ):
            return SubmitAnswer("lease_lost", f"your lease on task {task.task_id} ran out and others took it over")

        annotation = _store(session, submission, task, current)
        claim.expires_at = utc_now()
        session.flush()
        n_answers = session.scalar(sa.select(_n_answers()).where(Task.task_id == task.task_id)) or 0
        task.is_open = n_answers < task.n_wanted
        status: SubmitStatus = "stored" if current is None else "corrected"
        session.add(
            Event(
                kind="submitted" if current is None else "corrected",
                annotator_id=submission.annotator_id,
                task_id=task.task_id,
                data={"annotation_id": annotation.annotation_id, "finish_reason": submission.finish_reason},
            )
        )
        return SubmitAnswer(status, "", annotation.annotation_id)


def labels_problem(labels: Sequence[int | None], mode: str, finish_reason: str, *, n_segments: int) -> str | None:
    """Says what is wrong with a submission's labels; None if they fit the mode and the finish reason.

    >>> labels_problem([1, -1, None], "first_error", "found_error", n_segments=3)
    >>> labels_problem([1, -1, -1], "first_error", "found_error", n_segments=3)
    'segment 2 is labelled, after the first error 1: in first_error mode what follows stays unlabelled'
    >>> labels_problem([1, None, 1], "all_steps", "solution", n_segments=3)
    'segment 1 has no label'
    """
    if len(labels) != n_segments:
        return f"there are {len(labels)} labels for {n_segments} segments"
    for index, label in enumerate(labels):
        if label not in (None, -1, 0, 1):
            return f"segment {index} has label {label!r}; labels are 1, 0, -1 or none"
    error = first_error(labels)
    if mode == "first_error" and error is not None:
        for index, label in enumerate(labels[error + 1 :], start=error + 1):
            if label is not None:
                return (
                    f"segment {index} is labelled, after the first error {error}: "
                    "in first_error mode what follows stays unlabelled"
                )
    if finish_reason in ("bad_problem", "give_up", "skipped"):
        return None
    if finish_reason not in COUNTING_REASONS:
        return f"finish reason {finish_reason!r} is unknown"
    if (finish_reason == "found_error") != (error is not None):
        return f"finish reason {finish_reason!r} does not go with " + (
            "labels without an error" if error is None else f"an error in segment {error}"
        )
    needed = labels[: error + 1] if mode == "first_error" and error is not None else labels
    for index, label in enumerate(needed):
        if label is None:
            return f"segment {index} has no label"
    return None


def first_error(labels: Sequence[int | None]) -> int | None:
    """0-based index of the first -1; None if there is none.

    >>> first_error([1, 0, -1, None])
    2
    """
    return next((index for index, label in enumerate(labels) if label == -1), None)


def _n_answers() -> sa.ScalarSelect[int]:
    """Current answers that satisfy the task, as a subquery on `Task`."""
    return (
        sa.select(sa.func.count())
        .select_from(Annotation)
        .where(
            Annotation.task_id == Task.task_id,
            Annotation.superseded_by_id.is_(None),
            Annotation.finish_reason.in_(COUNTING_REASONS),
        )
        .correlate(Task)
        .scalar_subquery()
    )


def _has_room(annotator_id: int) -> sa.ColumnElement[bool]:
    """Answers and other annotators' live leases leave room for one more."""
    n_leased = (
        sa.select(sa.func.count())
        .select_from(Claim)
        .where(Claim.task_id == Task.task_id, Claim.annotator_id != annotator_id, Claim.expires_at > utc_now())
        .correlate(Task)
        .scalar_subquery()
    )
    return _n_answers() + n_leased < Task.n_wanted


def _is_answered_by(annotator_id: int) -> sa.Exists:
    return (
        sa.exists()
        .where(
            Annotation.task_id == Task.task_id,
            Annotation.annotator_id == annotator_id,
            Annotation.superseded_by_id.is_(None),
        )
        .correlate(Task)
    )


def _is_leased_to(annotator_id: int) -> sa.Exists:
    return (
        sa.exists()
        .where(Claim.task_id == Task.task_id, Claim.annotator_id == annotator_id, Claim.expires_at > utc_now())
        .correlate(Task)
    )


def _may_answer(annotator_id: int) -> sa.ColumnElement[bool]:
    """The lease is alive, or it ran out while the task still has room."""
    return sa.or_(_is_leased_to(annotator_id), _has_room(annotator_id))


def _is_claimable(annotator_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        Task.is_open,
        Task.kind == "steps",
        Task.mode.in_(STEP_MODES),
        ~_is_answered_by(annotator_id),
        ~_is_leased_to(annotator_id),
        _has_room(annotator_id),
    )


def _lock_next(session: Session, annotator_id: int, n: int, *, reason: str | None) -> Sequence[int]:
    """Locks up to `n` tasks of the highest priority there is, oldest first.

    Two steps, each of which walks the index on (is_open, priority, task_id) and stops at the first fitting row; one
    ORDER BY over both columns would sort every open task. Locks that other processes hold are stepped over
    (PostgreSQL; SQLite has one writer at a time).
    """
    claimable = sa.and_(_is_claimable(annotator_id), *([] if reason is None else [Task.reason == reason]))
    priority = session.scalar(
        sa.select(Task.priority)
        .where(claimable)
        .order_by(Task.priority.desc())
        .limit(1)
        .with_for_update(skip_locked=True, of=Task)
    )
    if priority is None:
        return []
    return session.scalars(
        sa.select(Task.task_id)
        .where(claimable, Task.priority == priority)
        .order_by(Task.task_id)
        .limit(n)
        .with_for_update(skip_locked=True, of=Task)
    ).all()


def _still_held(session: Session, annotator_id: int, *, n: int, lease_s: int) -> list[int]:
    """Unanswered tasks this annotator claimed before, oldest first; a lease that ran out is renewed if it can be."""
    claimed = session.scalars(
        sa.select(Claim.task_id).where(
            Claim.annotator_id == annotator_id,
            ~sa.exists()
            .where(
                Annotation.task_id == Claim.task_id,
                Annotation.annotator_id == annotator_id,
                Annotation.superseded_by_id.is_(None),
            )
            .correlate(Claim),
        )
    ).all()
    # Locked in the order of their ids, so that two processes never wait for each other.
    locked = session.scalars(
        sa.select(Task.task_id)
        .where(Task.task_id.in_(claimed), Task.is_open, Task.kind == "steps")
        .order_by(Task.task_id)
        .with_for_update()
    ).all()
    if not locked:
        return []
    held = session.scalars(
        sa.select(Task.task_id)
        .join(Claim, sa.and_(Claim.task_id == Task.task_id, Claim.annotator_id == annotator_id))
        .where(Task.task_id.in_(locked), ~_is_answered_by(annotator_id), _may_answer(annotator_id))
        .order_by(Claim.claim_id)
        .limit(n)
    ).all()
    live = set(
        session.scalars(sa.select(Task.task_id).where(Task.task_id.in_(held), _is_leased_to(annotator_id))).all()
    )
    for task_id in held:
        if task_id not in live:
            _lease(session, task_id, annotator_id, lease_s=lease_s)
    return list(held)


def _lease(session: Session, task_id: int, annotator_id: int, *, lease_s: int) -> None:
    claim = session.scalar(sa.select(Claim).where(Claim.task_id == task_id, Claim.annotator_id == annotator_id))
    if claim is None:
        claim = Claim(task_id=task_id, annotator_id=annotator_id, token=secrets.token_hex(16))
        session.add(claim)
    else:
        claim.claimed_at = utc_now()
    claim.expires_at = utc_now(lease_s)
    session.add(Event(kind="claimed", annotator_id=annotator_id, task_id=task_id))
    session.flush()


def _contents(session: Session, task_ids: Sequence[int], annotator_id: int) -> list[ClaimedTask]:
    source = (
        sa.select(ProblemSource.source)
        .where(ProblemSource.problem_id == Problem.problem_id)
        .order_by(ProblemSource.problem_source_id)
        .limit(1)
        .correlate(Problem)
        .scalar_subquery()
    )
    rows = session.execute(
        sa.select(Task, Claim.token, Problem, Solution, source)
        .join(Claim, sa.and_(Claim.task_id == Task.task_id, Claim.annotator_id == annotator_id))
        .join(Solution, Solution.solution_id == Task.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(Task.task_id.in_(task_ids))
    )
    found = {
        task.task_id: ClaimedTask(
            task_id=task.task_id,
            token=token,
            mode=task.mode,
            statement=problem.statement,
            reference_answer=problem.reference_answer,
            source=where,
            steps=tuple(solution.steps),
            answer=solution.answer,
        )
        for task, token, problem, solution, where in rows
    }
    return [found[task_id] for task_id in task_ids]


def _store(session: Session, submission: Submission, task: Task, current: Annotation | None) -> Annotation:
    is_labelled = submission.finish_reason in LABELLED_REASONS
    extra = dict(submission.extra)
    if not is_labelled and any(label is not None for label in submission.labels):
        extra["labels_set_aside"] = list(submission.labels)
    annotation = Annotation(
        submission_id=submission.submission_id,
        kind="steps",
        annotator_id=submission.annotator_id,
        # A task has one current answer: the new row joins it only when the old one has stepped back.
        task_id=None if current is not None else task.task_id,
        solution_id=task.solution_id,
        mode=task.mode,
        finish_reason=submission.finish_reason,
        first_error=first_error(submission.labels) if is_labelled else None,
        comment=submission.comment or None,
        guideline=submission.guideline,
        suggestion_shown=submission.suggestion_shown,
        duration_ms=submission.duration_ms,
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
        durations = dict(enumerate(submission.step_durations_ms))
        session.add_all(
            StepLabel(
                annotation_id=annotation.annotation_id,
                step_index=index,
                label=label,
                is_unsure=index in submission.unsure,
                duration_ms=durations.get(index),
            )
            for index, label in enumerate(submission.labels)
            if label is not None
        )
        session.flush()
    return annotation
