"""What to ask about next: solutions, alternatives, pairs and critiques, chosen by rule and put into the queue.

Of solutions (Lightman et al. 2023, section 2.4, and appendix B): `convincing wrong` ones teach most; a `random` part
keeps an evaluation on them unbiased. Of pairs: a moderate gap between the scores, few pairs of one problem.
"""

import heapq
import random
import statistics
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, groupby
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError

from ..connect import reading
from ..models import Alternative, Annotation, Critique, Project, Score, Solution, Task
from ..selection import check_sources, solution_in_source, tells_first_error
from ..tasks import AddedTasks, Wanted, add_tasks

ORDERS = ("random", "uncertain", "convincing wrong", "disagreement")
PAIR_ORDERS = ("random", "moderate gap")
CRITIQUE_ORDERS = ("random", "unconfirmed")

_PAIRS_PER_PROBLEM = 4
_TEXTS_PER_PROBLEM = 32
"""Of one problem's solutions, only so many, the first, are paired."""

_Item = TypeVar("_Item")


def queue_tasks(
    engine: sa.Engine,
    *,
    project: str | None = None,
    kind: str | None = None,
    mode: str | None = None,
    source: str = "*",
    limit: int = 100,
    order: str | None = None,
    seed: int = 0,
    n_wanted: int | None = None,
    reason: str | None = None,
) -> AddedTasks:
    """Fills the queue with what a project asks for, or with what is said here.

    Args:
        engine: The database.
        project: Name of the project that the tasks belong to; None for none.
        kind: `steps`, `preference` or `critique`; by default the project's, outside any `steps`.
        mode: How steps are labelled; by default as the project says, outside any `first_error`.
        source: Source of an imported solution, or of a sampled one's problem; `*` stands for any text.
        limit: At most this many tasks.
        order: The rule: of `ORDERS`, `PAIR_ORDERS` or `CRITIQUE_ORDERS`, as the kind has it. None: each rule of the
            project's mix for its share; `random` where there is no mix.
        seed: Of what is drawn.
        n_wanted: Independent annotators wanted for each; by default as the project says, outside any 1.
        reason: Name of this part of the queue; by default the rule.

    Raises:
        InputError: A value is unknown, no source fits, or the rule finds nothing to go by.
    """
    row = None if project is None else _project(engine, project)
    project_id = None if row is None else row.project_id
    if row is not None and kind not in (None, row.kind):
        raise InputError(f"project {project!r} labels {row.kind}, not {kind}")
    kind = kind or (row.kind if row is not None else "steps")
    mode = mode or (row.mode if row is not None else "first_error")
    mix: dict[str, float] = {} if row is None else dict(row.settings.get("mix") or {})
    shares = {order: 1.0} if order is not None else mix or {"random": 1.0}
    common: dict[str, Any] = {
        "source": source,
        "seed": seed,
        "n_wanted": n_wanted,
        "reason": reason,
        "project_id": project_id,
    }
    by_kind: dict[str, Callable[..., AddedTasks]] = {"preference": queue_pairs, "critique": queue_critiques}
    if kind == "steps":
        common["mode"] = mode
    elif kind not in by_kind:
        raise InputError(f"kind {kind!r} is unknown; use one of steps, preference, critique")
    total = AddedTasks(0, 0, {})
    for rule, share in shares.items():
        if part := round(limit * share):
            added = by_kind.get(kind, queue_solutions)(engine, order=rule, limit=part, **common)
            reasons = {*total.dropped, *added.dropped}
            total = AddedTasks(
                total.read + added.read,
                total.kept + added.kept,
                {why: total.dropped.get(why, 0) + added.dropped.get(why, 0) for why in sorted(reasons)},
            )
    return total


def queue_solutions(
    engine: sa.Engine,
    *,
    source: str = "*",
    limit: int = 100,
    mode: str = "first_error",
    order: str = "random",
    seed: int = 0,
    n_wanted: int | None = None,
    reason: str | None = None,
    project_id: int | None = None,
) -> AddedTasks:
    """Chooses solutions that have no task in `mode` and puts them into the queue.

    Args:
        engine: The database.
        source: Source of an imported solution, or of a sampled one's problem; `*` stands for any text.
        limit: At most this many.
        mode: `first_error`, `all_steps`, `verify`; or `alternatives`, which takes steps that have some, at random.
        order: `random`: drawn with `seed`, equal priority. `uncertain`: those whose newest PRM score is nearest to
            0.5 first; priority 1 at 0.5, 0 at 0 and 1. `convincing wrong`: of the solutions with a wrong answer, one
            of each problem, by the newest PRM or ORM score, which is the priority. `disagreement`: solutions whose
            labellers (people, judges, rollouts) name different first errors; the priority is the share of them who
            do not name the most common one.
        seed: Of the random choice.
        n_wanted: Independent annotators wanted for each.
        reason: Name of this part of the queue; by default the order.
        project_id: The project that the tasks belong to; what is in the queue of another one can be in its, too.

    Raises:
        InputError: The order is unknown, no source fits the pattern, or the order finds nothing to go by.
    """
    _check(order, ORDERS, limit)
    if mode == "alternatives" and order != "random":
        raise InputError(f"order is {order!r}; steps with alternatives are drawn at random")
    fits = sa.and_(solution_in_source(source), ~_has_task("steps", project_id, Task.mode == mode))
    with reading(engine) as session:
        check_sources(session, [source])
        if mode == "alternatives":
            return _queue_alternatives(session, engine, source, limit, seed, n_wanted, reason or order, project_id)
        if order == "random":
            ids = session.scalars(sa.select(Solution.solution_id).where(fits).order_by(Solution.solution_id))
            chosen = [(solution_id, 0.0) for solution_id in _draw(ids, limit, seed=seed)]
        else:
            rule = {"uncertain": _uncertain, "convincing wrong": _convincing_wrong, "disagreement": _disagreement}
            chosen = rule[order](session, fits, limit)
    return add_tasks(engine, chosen, mode=mode, reason=reason or order, n_wanted=n_wanted, project_id=project_id)


def queue_pairs(
    engine: sa.Engine,
    *,
    source: str = "*",
    limit: int = 100,
    order: str = "random",
    seed: int = 0,
    n_wanted: int | None = None,
    reason: str | None = None,
    project_id: int | None = None,
) -> AddedTasks:
    """Chooses pairs of differing solutions of one problem, at most four of each, and puts them into the queue.

    Args:
        engine: The database.
        source: As of `queue_solutions`, for both solutions.
        limit: At most this many pairs.
        order: `random`, or `moderate gap`: the gap between two solutions' scores, by the reward model that scored
            last, is nearest to the median of all gaps; far apart they teach little, too near nobody can tell.
        seed: Of the random choice.
        n_wanted: Independent annotators wanted for each.
        reason: Name of this part of the queue; by default the order.
        project_id: The project that the tasks belong to.

    Raises:
        InputError: The order is unknown, no source fits, or no two solutions of a problem have a score.
    """
    _check(order, PAIR_ORDERS, limit)
    with reading(engine) as session:
        check_sources(session, [source])
        if order == "random":
            drawn = _draw((pair for pair, _ in _pairs(session, source, project_id, None, seed)), limit, seed=seed)
        else:
            model = session.scalar(sa.select(Score.reward_model).order_by(Score.score_id.desc()).limit(1))
            gaps = array("d", (gap for _, gap in _pairs(session, source, project_id, model, seed))) if model else None
            if not gaps:
                raise InputError(
                    "no two solutions of a problem have a score, so no gap is known; "
                    "run `stepmark score` first, or use --order random"
                )
            middle = statistics.median(gaps)
            nearest = heapq.nsmallest(
                limit, _pairs(session, source, project_id, model, seed), key=lambda found: abs(found[1] - middle)
            )
            drawn = [pair for pair, _ in nearest]
    wanted = (Wanted(a, other_solution_id=b) for a, b in drawn)
    return add_tasks(
        engine, wanted, kind="preference", reason=reason or order, n_wanted=n_wanted, project_id=project_id
    )


def queue_critiques(
    engine: sa.Engine,
    *,
    source: str = "*",
    limit: int = 100,
    order: str = "random",
    seed: int = 0,
    n_wanted: int | None = None,
    reason: str | None = None,
    project_id: int | None = None,
) -> AddedTasks:
    """Draws critiques of solutions and puts them into the queue.

    Args:
        engine: The database.
        source: As of `queue_solutions`, for the criticised solution.
        limit: At most this many.
        order: `random`, or `unconfirmed`: only critiques of which no program can tell whether the verdict is right.
        seed: Of the draw.
        n_wanted: Independent annotators wanted for each.
        reason: Name of this part of the queue; by default the order.
        project_id: The project that the tasks belong to.

    Raises:
        InputError: The order is unknown, or no source fits.
    """
    _check(order, CRITIQUE_ORDERS, limit)
    queued = sa.exists().where(Task.critique_id == Critique.critique_id, *_of_project(project_id)).correlate(Critique)
    with reading(engine) as session:
        check_sources(session, [source])
        query = (
            sa.select(Critique.critique_id, Critique.solution_id)
            .join(Solution, Solution.solution_id == Critique.solution_id)
            .where(solution_in_source(source), Critique.target_critique_id.is_(None), ~queued)
            .order_by(Critique.critique_id)
        )
        if order == "unconfirmed":
            query = query.where(Critique.is_confirmed.is_(None))
        drawn = _draw(((one, of) for one, of in session.execute(query)), limit, seed=seed)
    wanted = (Wanted(solution_id, critique_id=critique_id) for critique_id, solution_id in drawn)
    return add_tasks(
        engine, wanted, kind="critique", reason=reason or order, n_wanted=n_wanted, project_id=project_id
    )


def _check(order: str, orders: tuple[str, ...], limit: int) -> None:
    if order not in orders:
        raise InputError(f"order {order!r} is unknown; use one of {', '.join(orders)}")
    if limit < 1:
        raise InputError(f"limit is {limit}; give at least 1")


def _project(engine: sa.Engine, name: str) -> Project:
    with reading(engine) as session:
        found = session.scalar(sa.select(Project).where(Project.name == name))
        if found is None:
            names = session.scalars(sa.select(Project.name).order_by(Project.name).limit(20)).all()
            known = ", ".join(map(repr, names)) or "none yet"
            raise InputError(f"there is no project {name!r}; there are: {known}")
        return found


def _of_project(project_id: int | None, purpose: str = "label") -> list[sa.ColumnElement[bool]]:
    such: list[sa.ColumnElement[bool]] = [Task.purpose == purpose]
    return such if project_id is None else [*such, Task.project_id == project_id]


def _has_task(kind: str, project_id: int | None, *more: sa.ColumnElement[bool]) -> sa.Exists:
    return (
        sa.exists()
        .where(Task.solution_id == Solution.solution_id, Task.kind == kind, *_of_project(project_id), *more)
        .correlate(Solution)
    )


def _queue_alternatives(
    session: Session,
    engine: sa.Engine,
    source: str,
    limit: int,
    seed: int,
    n_wanted: int | None,
    reason: str,
    project_id: int | None,
) -> AddedTasks:
    queued = (
        sa.exists()
        .where(
            Task.solution_id == Alternative.solution_id,
            Task.step_index == Alternative.step_index,
            Task.mode == "alternatives",
            *_of_project(project_id),
        )
        .correlate(Alternative)
    )
    steps = session.execute(
        sa.select(Alternative.solution_id, Alternative.step_index)
        .join(Solution, Solution.solution_id == Alternative.solution_id)
        .where(solution_in_source(source), ~queued)
        .distinct()
        .order_by(Alternative.solution_id, Alternative.step_index)
    )
    drawn = _draw(((solution_id, step) for solution_id, step in steps), limit, seed=seed)
    if not drawn and not session.scalar(sa.select(sa.exists(sa.select(Alternative.alternative_id)))):
        raise InputError("no step has alternatives; run `stepmark generate alternatives` first")
    wanted = [Wanted(solution_id, step_index=step) for solution_id, step in drawn]
    return add_tasks(engine, wanted, mode="alternatives", reason=reason, n_wanted=n_wanted, project_id=project_id)


def _uncertain(session: Session, fits: sa.ColumnElement[bool], limit: int) -> list[tuple[int, float]]:
    rows = session.execute(
        sa.select(Solution.solution_id, Score.value)
        .join(Score, Score.score_id == _newest_score("prm"))
        .where(fits)
        .order_by(sa.func.abs(Score.value - 0.5), Solution.solution_id)
        .limit(limit)
    )
    chosen = [(solution_id, 1.0 - 2.0 * abs(value - 0.5)) for solution_id, value in rows]
    if not chosen and not session.scalar(sa.select(sa.exists().where(Score.kind == "prm"))):
        raise InputError(
            "no solution has a PRM score, so none is known to be uncertain; "
            "run `stepmark score` first, or use --order random"
        )
    return chosen


def _convincing_wrong(session: Session, fits: sa.ColumnElement[bool], limit: int) -> list[tuple[int, float]]:
    place = sa.func.row_number().over(
        partition_by=Solution.problem_id, order_by=(Score.value.desc(), Solution.solution_id)
    )
    ranked = (
        sa.select(Solution.solution_id, Score.value, place.label("place"))
        .join(Score, Score.score_id == _newest_score("prm", "orm"))
        .where(fits, Solution.outcome.is_(False))
        .subquery()
    )
    rows = session.execute(
        sa.select(ranked.c.solution_id, ranked.c.value)
        .where(ranked.c.place == 1)
        .order_by(ranked.c.value.desc(), ranked.c.solution_id)
        .limit(limit)
    )
    chosen = [(solution_id, value) for solution_id, value in rows]
    if not chosen and not session.scalar(sa.select(sa.exists().where(Score.kind.in_(("prm", "orm"))))):
        raise InputError(
            "no solution has a PRM or ORM score, so none is known to convince; "
            "run `stepmark score` first, or use --order random"
        )
    return chosen


def _newest_score(*kinds: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.max(Score.score_id))
        .where(Score.solution_id == Solution.solution_id, Score.kind.in_(kinds))
        .correlate(Solution)
        .scalar_subquery()
    )


def _disagreement(session: Session, fits: sa.ColumnElement[bool], limit: int) -> list[tuple[int, float]]:
    error = sa.func.coalesce(Annotation.first_error, -1).label("error")
    counted = (
        sa.select(Annotation.solution_id, error, sa.func.count().label("n"))
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .where(
            fits,
            tells_first_error(),
            Annotation.superseded_by_id.is_(None),
            Annotation.finish_reason.in_(("found_error", "solution")),
        )
        .group_by(Annotation.solution_id, error)
        .subquery()
    )
    share = 1.0 - sa.func.max(counted.c.n) * 1.0 / sa.func.sum(counted.c.n)
    rows = session.execute(
        sa.select(counted.c.solution_id, share)
        .group_by(counted.c.solution_id)
        .having(sa.func.count() > 1)
        .order_by(share.desc(), counted.c.solution_id)
        .limit(limit)
    )
    return [(solution_id, float(value)) for solution_id, value in rows]


def random_pairs(
    session: Session, *, source: str, limit: int, seed: int, project_id: int, purpose: str
) -> list[tuple[int, int]]:
    """Draws pairs of differing solutions of one problem of which a project has no task for a purpose."""
    pairs = _pairs(session, source, project_id, None, seed, purpose=purpose)
    return _draw((pair for pair, _ in pairs), limit, seed=seed)


def _pairs(
    session: Session, source: str, project_id: int | None, model: str | None, seed: int, *, purpose: str = "label"
) -> Iterator[tuple[tuple[int, int], float]]:
    """Pairs of differing texts, at most four of each problem, with the gap of their scores by `model`, if any."""
    value = sa.null() if model is None else Score.value
    query = sa.select(Solution.problem_id, Solution.solution_id, Solution.text_hash, value.label("value")).where(
        solution_in_source(source)
    )
    if model is not None:
        query = query.join(Score, sa.and_(Score.solution_id == Solution.solution_id, Score.reward_model == model))
    there = {
        frozenset(pair)
        for pair in session.execute(
            sa.select(Task.solution_id, Task.other_solution_id).where(
                Task.kind == "preference", *_of_project(project_id, purpose)
            )
        )
    }
    rows = session.execute(query.order_by(Solution.problem_id, Solution.solution_id))
    for problem_id, group in groupby(rows, key=lambda row: row.problem_id):
        texts: dict[str, Any] = {}
        for row in group:
            if len(texts) < _TEXTS_PER_PROBLEM:
                texts.setdefault(row.text_hash, row)
        pairs = [
            (one, other)
            for one, other in combinations(texts.values(), 2)
            if {one.solution_id, other.solution_id} not in there
        ]
        rng = random.Random(f"{seed}:{problem_id}")
        for one, other in rng.sample(pairs, min(len(pairs), _PAIRS_PER_PROBLEM)):
            gap = 0.0 if model is None else abs(one.value - other.value)
            yield (one.solution_id, other.solution_id), gap


def _draw(items: Iterable[_Item], limit: int, *, seed: int) -> list[_Item]:
    """A uniform sample in random order, from a stream (reservoir sampling, algorithm R)."""
    rng = random.Random(seed)
    kept: list[_Item] = []
    for index, item in enumerate(items):
        if index < limit:
            kept.append(item)
        elif (place := rng.randrange(index + 1)) < limit:
            kept[place] = item
    rng.shuffle(kept)
    return kept
