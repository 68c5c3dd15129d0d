"""Leases: which task an annotator gets next, how long it is theirs, and letting it go.

What comes first: a task that the person opened; tasks that a reviewer sent back; tasks held already; tasks assigned
to this person; the entry test of a project in which they are testing; then the project whose first task has the
highest priority. There, now and then, a task with a known answer, or one that the person answered before, stands in
the place of the next one (`draws.special_kind`), without a sign.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from ..connect import writing
from ..models import Annotation, Annotator, Claim, Event, Note, Task
from ..schema import utc_now
from .contents import ClaimedTask, contents
from .draws import lot, special_kind
from .eligibility import (
    has_room,
    in_pool,
    is_answered_by,
    is_leased_to,
    is_sent_back_to,
    is_untouched_by,
    known_tasks,
    may_answer,
    still_open,
    walks_pool,
)
from .pools import Pool, pools_of
from .rules import JUDGED_REASONS

REPEAT_AFTER = 20
"""Answers that an annotator must have given since, before a task can come again."""

_assigned = sa.orm.aliased(Task)

_QUEUED = ("label", "relabel", "calibration")
"""Purposes that are handed out by priority; the others have their own rules."""

_REMEMBERED = 50
"""Of the claims whose lease ran out, only so many, the newest, are looked through for unfinished work."""

_REPEATABLE = 200
"""A repeated task is drawn among so many of the newest that can be."""


def claim_tasks(
    engine: sa.Engine,
    annotator_id: int,
    *,
    n: int = 2,
    lease_s: int = 1800,
    reason: str | None = None,
    project_id: int | None = None,
    first: int | None = None,
) -> list[ClaimedTask]:
    """Brings the number of tasks in an annotator's hands to `n`, and returns them all with their content.

    Tasks already held come first, also those whose lease ran out while nobody else took them: they keep their
    token, so that work begun on them still counts. The rest are claimed. Never a task this annotator answered or
    skipped, unless it was sent back; nothing of a closed project, or of one in which they are paused. Fewer than `n`
    come back when the queue is short, or when the last tasks are being claimed by others at this very moment.

    Args:
        engine: The database.
        annotator_id: Who asks.
        n: How many tasks to hold.
        lease_s: Seconds until a new lease ends.
        reason: Of new tasks, only those that this rule put into the queue; silent ones come all the same.
        project_id: Only tasks of this project; None for all this person may work in, and those outside any.
        first: The task that comes before all others, if it is held (see `opening`).
    """
    with writing(engine) as session:
        # One claim of a person at a time: two pages of theirs would else both take the next one. Not so strong a
        # lock that it stops rows that name this annotator.
        session.execute(
            sa.select(Annotator.annotator_id)
            .where(Annotator.annotator_id == annotator_id)
            .with_for_update(key_share=True)
        )
        pools = [
            pool
            for pool in pools_of(session, annotator_id)
            if pool.state != "paused" and project_id in (None, pool.project_id)
        ]
        held = _still_held(session, annotator_id, pools, n=n, lease_s=lease_s, first=first)
        while len(held) < n:
            task_id = _next(session, annotator_id, pools, reason=reason)
            if task_id is None:
                break
            lease(session, task_id, annotator_id, lease_s=lease_s)
            held.append(task_id)
        return contents(session, held, annotator_id)


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


def lease(session: Session, task_id: int, annotator_id: int, *, lease_s: int) -> None:
    """Puts a task into an annotator's hands; one that was there before keeps its token."""
    claim = session.scalar(sa.select(Claim).where(Claim.task_id == task_id, Claim.annotator_id == annotator_id))
    if claim is None:
        claim = Claim(task_id=task_id, annotator_id=annotator_id, token=secrets.token_hex(16))
        session.add(claim)
    else:
        claim.claimed_at = utc_now()
    claim.expires_at = utc_now(lease_s)
    session.add(Event(kind="claimed", annotator_id=annotator_id, task_id=task_id))
    session.flush()


def _still_held(
    session: Session, annotator_id: int, pools: Sequence[Pool], *, n: int, lease_s: int, first: int | None
) -> list[int]:
    """The task that is to be first, tasks sent back, then unanswered ones claimed before, oldest first.

    A lease that ran out is renewed if it can be.
    Claims are never deleted, so those of an annotator are many; of the ended ones, which are answered for the most
    part, only the newest are looked at. An older one that is still to be done comes again by the queue.
    """
    sent_back = set(
        session.scalars(
            sa.select(Note.task_id).where(
                Note.annotator_id == annotator_id,
                Note.kind == "sent_back",
                Note.read_at.is_(None),
                Note.task_id.is_not(None),
            )
        )
    )
    mine = sa.select(Claim.task_id).where(Claim.annotator_id == annotator_id)
    claimed = {
        *session.scalars(mine.where(Claim.expires_at > utc_now())),
        *session.scalars(mine.order_by(Claim.claim_id.desc()).limit(_REMEMBERED)),
        *sent_back,
    }
    if not claimed:
        return []
    # Locked in the order of their ids, so that two processes never wait for each other.
    locked = session.scalars(
        sa.select(Task.task_id)
        .where(
            Task.task_id.in_(claimed),
            Task.purpose != "practice",
            sa.or_(*(_is_handed_out(pool) for pool in pools), sa.false()),
            sa.or_(
                sa.and_(Task.is_open, ~is_answered_by(annotator_id)),
                sa.and_(Task.task_id.in_(sent_back), is_answered_by(annotator_id)),
            ),
        )
        .order_by(Task.task_id)
        .with_for_update()
    ).all()
    if not locked:
        return []
    rows = session.execute(
        sa.select(Task.task_id, is_leased_to(annotator_id), Task.task_id.in_(sent_back))
        .join(Claim, sa.and_(Claim.task_id == Task.task_id, Claim.annotator_id == annotator_id))
        .where(
            Task.task_id.in_(locked),
            sa.or_(sa.and_(~is_answered_by(annotator_id), may_answer(annotator_id)), is_sent_back_to(annotator_id)),
        )
        .order_by((Task.task_id == (first or 0)).desc(), Task.task_id.in_(sent_back).desc(), Claim.claim_id)
        .limit(n)
    ).all()
    for task_id, is_live, _ in rows:
        if not is_live:
            lease(session, task_id, annotator_id, lease_s=lease_s)
    return [task_id for task_id, _, _ in rows]


def _is_handed_out(pool: Pool) -> sa.ColumnElement[bool]:
    return (
        in_pool(pool.project_id) if pool.state == "active" else in_pool(pool.project_id) & (Task.purpose == "entry")
    )


def _next(session: Session, annotator_id: int, pools: Sequence[Pool], *, reason: str | None) -> int | None:
    """The task to lease next; None where there is none."""
    active = [pool for pool in pools if pool.state == "active"]
    found = _next_assigned(session, annotator_id, active)
    if found is not None:
        return found
    for pool in pools:
        if pool.state == "testing" and pool.reason is None:
            found = _next_known(session, annotator_id, pool, "entry", n=pool.settings.n_entry_tasks)
            if found is not None:
                return found
    for pool in _by_priority(session, annotator_id, active, reason=reason):
        found = _next_of_pool(session, annotator_id, pool, reason=reason)
        if found is not None:
            return found
    return None


def _next_assigned(session: Session, annotator_id: int, pools: Sequence[Pool]) -> int | None:
    candidates = session.scalars(
        sa.select(Task.task_id)
        .where(
            Task.task_id.in_(sa.select(_assigned.task_id).where(_assigned.assigned_to_id == annotator_id)),
            still_open(),
            Task.purpose.in_((*_QUEUED, "repeat")),
            sa.or_(*(walks_pool(pool.project_id) for pool in pools), sa.false()),
            is_untouched_by(annotator_id),
        )
        .order_by(Task.priority.desc(), Task.task_id)
        .limit(1)
    )
    return candidates.first()


def _next_known(session: Session, annotator_id: int, pool: Pool, purpose: str, *, n: int | None = None) -> int | None:
    """A task with a known answer that this annotator has not answered: the next entry task, or any gold one."""
    every = known_tasks(pool.project_id, purpose).where(still_open())
    if purpose == "entry":
        first = every.order_by(Task.task_id).limit(n).subquery()
        return session.scalars(
            sa.select(Task.task_id)
            .where(Task.task_id.in_(sa.select(first.c.task_id)), is_untouched_by(annotator_id))
            .order_by(Task.task_id)
            .limit(1)
        ).first()
    ids = session.scalars(every.where(is_untouched_by(annotator_id)).order_by(Task.task_id)).all()
    return min(ids, key=lambda task_id: lot("gold order", annotator_id, task_id), default=None)


def _by_priority(session: Session, annotator_id: int, pools: Sequence[Pool], *, reason: str | None) -> list[Pool]:
    """The projects that have something to do, the one whose first task has the highest priority before the others."""
    if len(pools) < 2:
        return list(pools)
    tops = []
    for pool in pools:
        top = session.execute(
            sa.select(Task.priority, Task.task_id)
            .where(_is_claimable(annotator_id, pool, reason=reason))
            .order_by(Task.priority.desc())
            .limit(1)
        ).first()
        if top is not None:
            tops.append((-top.priority, top.task_id, pool))
    return [pool for _, _, pool in sorted(tops, key=lambda top: top[:2])]


def _next_of_pool(session: Session, annotator_id: int, pool: Pool, *, reason: str | None) -> int | None:
    settings = pool.settings
    if reason is not None or not settings.mix:
        ordinary = _lock_next(session, annotator_id, _is_claimable(annotator_id, pool, reason=reason))
    else:
        given = _given(session, annotator_id, pool)
        ordinary = None
        for rule in _rules_in_order(settings.mix, given):
            condition = _is_claimable(annotator_id, pool, reason=rule if isinstance(rule, str) else None)
            if rule == ():
                condition = condition & sa.or_(Task.reason.is_(None), Task.reason.not_in(settings.mix))
            ordinary = _lock_next(session, annotator_id, condition)
            if ordinary is not None:
                break
    # Known and repeated tasks stand between others; where there is nothing else to do, they do not come either.
    if ordinary is None:
        return None
    special = _next_special(session, annotator_id, pool)
    return ordinary if special is None else special


def _next_special(session: Session, annotator_id: int, pool: Pool) -> int | None:
    settings = pool.settings
    gold = _next_known(session, annotator_id, pool, "gold") if settings.gold_share else None
    if gold is None and not settings.repeat_share:
        return None
    index = _given(session, annotator_id, pool).total()
    kind = special_kind(index, settings.gold_share, settings.repeat_share, annotator_id, pool.project_id)
    if kind == "gold":
        return gold
    return _repeat(session, annotator_id, pool, index) if kind == "repeat" else None


def _given(session: Session, annotator_id: int, pool: Pool) -> Counter[str | None]:
    """How many tasks of a project were handed to this annotator, by the rule that chose them."""
    rows = session.execute(
        sa.select(Task.reason, sa.func.count())
        .join_from(Claim, Task, Task.task_id == Claim.task_id)
        .where(
            Claim.annotator_id == annotator_id,
            walks_pool(pool.project_id),
            Task.purpose.in_(("label", "relabel", "gold", "repeat")),
        )
        .group_by(Task.reason)
    )
    return Counter({reason: count for reason, count in rows})


def _rules_in_order(mix: Mapping[str, float], given: Mapping[str | None, int]) -> list[str | tuple[()] | None]:
    """Rules by how far they are behind their share; `()` is every rule that has none, None any task at all.

    >>> _rules_in_order({"random": 0.2, "uncertain": 0.8}, {"random": 1, "uncertain": 3})
    ['uncertain', 'random', None]
    >>> _rules_in_order({"random": 0.2}, {"random": 0, "uncertain": 9})
    ['random', (), None]
    """
    of_mix = {rule: given.get(rule, 0) for rule in mix}
    total = sum(given.values())
    behind: list[tuple[float, str | tuple[()]]] = [
        (share * (total + 1) - of_mix[rule], rule) for rule, share in mix.items()
    ]
    rest = 1.0 - sum(mix.values())
    if rest > 1e-9:
        behind.append((rest * (total + 1) - (total - sum(of_mix.values())), ()))
    return [*(rule for _, rule in sorted(behind, key=lambda pair: -pair[0])), None]


def _repeat(session: Session, annotator_id: int, pool: Pool, index: int) -> int | None:
    """Makes a task of one that this annotator answered long ago, for them alone; None where there is none."""
    mine = sa.and_(
        Annotation.annotator_id == annotator_id,
        Annotation.superseded_by_id.is_(None),
        Annotation.task_id.is_not(None),
    )
    latest = session.scalar(
        sa.select(Annotation.annotation_id)
        .where(mine)
        .order_by(Annotation.annotation_id.desc())
        .offset(REPEAT_AFTER - 1)
        .limit(1)
    )
    if latest is None:
        return None
    again = sa.orm.aliased(Task)
    old = session.scalars(
        sa.select(Task)
        .join(Annotation, Annotation.task_id == Task.task_id)
        .where(
            mine,
            Annotation.annotation_id < latest,
            Annotation.finish_reason.in_(JUDGED_REASONS),
            in_pool(pool.project_id),
            Task.purpose == "label",
            ~sa.exists().where(
                again.assigned_to_id == annotator_id,
                again.purpose == "repeat",
                again.kind == Task.kind,
                again.mode == Task.mode,
                again.solution_id == Task.solution_id,
                sa.func.coalesce(again.step_index, -1) == sa.func.coalesce(Task.step_index, -1),
                sa.func.coalesce(again.other_solution_id, 0) == sa.func.coalesce(Task.other_solution_id, 0),
                sa.func.coalesce(again.critique_id, 0) == sa.func.coalesce(Task.critique_id, 0),
            ),
        )
        .order_by(Annotation.annotation_id.desc())
        .limit(_REPEATABLE)
    ).all()
    if not old:
        return None
    chosen = old[int(lot("repeat", annotator_id, index) * len(old))]
    task = copy_of(chosen, purpose="repeat", annotator_id=annotator_id)
    session.add(task)
    session.flush()
    return task.task_id


def copy_of(task: Task, *, purpose: str, annotator_id: int) -> Task:
    """A new task about the same thing, for one annotator."""
    return Task(
        project_id=task.project_id,
        purpose=purpose,
        assigned_to_id=annotator_id,
        kind=task.kind,
        mode=task.mode,
        step_index=task.step_index,
        solution_id=task.solution_id,
        other_solution_id=task.other_solution_id,
        critique_id=task.critique_id,
        priority=task.priority,
        reason=task.reason,
        n_wanted=1,
        is_open=True,
    )


def _is_claimable(annotator_id: int, pool: Pool, *, reason: str | None) -> sa.ColumnElement[bool]:
    return sa.and_(
        Task.is_open,
        in_pool(pool.project_id),
        Task.purpose.in_(_QUEUED),
        Task.assigned_to_id.is_(None),
        *([] if reason is None else [Task.reason == reason]),
        is_untouched_by(annotator_id),
        has_room(annotator_id),
    )


def _lock_next(session: Session, annotator_id: int, claimable: sa.ColumnElement[bool]) -> int | None:
    """Locks the task of the highest priority, of several the oldest.

    Two steps, each of which walks the index on (project_id, is_open, priority, task_id) and stops at the first
    fitting row; one ORDER BY over both columns would sort every open task. Locks that other processes hold are
    stepped over (PostgreSQL; SQLite has one writer at a time).
    """
    while True:
        priority = session.scalar(
            sa.select(Task.priority)
            .where(claimable)
            .order_by(Task.priority.desc())
            .limit(1)
            .with_for_update(skip_locked=True, of=Task)
        )
        if priority is None:
            return None
        task_id = session.scalar(
            sa.select(Task.task_id)
            .where(claimable, Task.priority == priority)
            .order_by(Task.task_id)
            .limit(1)
            .with_for_update(skip_locked=True, of=Task)
        )
        # That statement saw the claims as they were when it began; one that was committed between that moment and
        # our lock is seen only by a new statement, under the lock.
        if task_id is not None and session.scalar(sa.select(Task.task_id).where(Task.task_id == task_id, claimable)):
            return task_id
