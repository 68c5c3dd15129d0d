"""Variants of problems: which problems still lack some, and storing new ones beside their parents."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from stepmark.problems import family_hash, statement_hash
from stepmark.variants import is_near_duplicate

from .connect import reading
from .models import Problem, ProblemSource
from .problems import lock_imports
from .runs import ProblemSelection
from .selection import check_sources

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Parent:
    """An original problem with a reference answer, as the making of variants needs it."""

    problem_id: int
    statement: str
    statement_hash: str
    family: str
    reference_answer: str
    reference_trust: str
    licence: str | None
    """Of the first source that holds it; its variants inherit it."""
    indices: frozenset[int] = frozenset()
    """The variants of the wanted kind that are there, by their numbers."""
    known: tuple[str, ...] = ()
    """Statements of the other problems of its family."""


@dataclass(frozen=True, slots=True)
class NewVariant:
    """A variant to be stored."""

    parent: Parent
    index: int
    """0-based number among the parent's variants of this kind."""
    statement: str
    answer: str
    trust: str
    """How the answer is known: one of the words of `Problem.reference_trust`."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What it was made from and how it was checked."""


def source_of(kind: str) -> str:
    """The name of the source under which variants of a kind are stored."""
    return f"variants/{kind}"


def count_parents(engine: sa.Engine, selection: ProblemSelection, *, kind: str, n: int) -> int:
    """How many problems `iterate_parents` yields.

    Raises:
        InputError: No source is named as the selection says.
    """
    chosen = _chosen(selection)
    if selection.limit is not None:
        chosen = chosen.limit(selection.limit)
    found = chosen.subquery()
    lacking = sa.select(sa.func.count()).select_from(found).where(_n_variants(found.c.problem_id, kind) < n)
    with reading(engine) as session:
        if selection.source is not None:
            check_sources(session, [selection.source])
        return session.scalar(lacking) or 0


def iterate_parents(engine: sa.Engine, selection: ProblemSelection, *, kind: str, n: int) -> Iterator[list[Parent]]:
    """Yields, in chunks, the original problems of a selection that have fewer than `n` variants of a kind.

    Only problems whose reference answer is a known value. The limit counts before those that have enough are left
    out, so that a second call is about the same problems. No transaction stays open between two chunks.
    """
    after, left = 0, selection.limit
    while left is None or left > 0:
        size = _CHUNK if left is None else min(_CHUNK, left)
        query = _chosen(selection).where(Problem.problem_id > after).limit(size)
        with reading(engine) as session:
            rows = session.execute(query.add_columns(_n_variants(Problem.problem_id, kind).label("n_there"))).all()
            lacking = [row for row in rows if row.n_there < n]
            parents = _parents(session, lacking, kind)
        if not rows:
            return
        after = rows[-1].problem_id
        left = None if left is None else left - len(rows)
        yield parents


def _chosen(selection: ProblemSelection) -> sa.Select[*tuple[Any, ...]]:
    return (
        selection.query()
        .where(Problem.kind == "original", Problem.reference_answer.is_not(None), Problem.answer_kind == "value")
        .add_columns(Problem.family, Problem.reference_answer, Problem.reference_trust)
    )


def _n_variants(problem_id: Any, kind: str) -> sa.ScalarSelect[int]:
    variant = aliased(Problem)
    return (
        sa.select(sa.func.count())
        .select_from(variant)
        .where(variant.parent_id == problem_id, variant.kind == kind)
        .scalar_subquery()
    )


def _parents(session: Session, rows: Sequence[Any], kind: str) -> list[Parent]:
    ids = [row.problem_id for row in rows]
    licences: dict[int, str | None] = {}
    query = sa.select(ProblemSource.problem_id, ProblemSource.licence).where(ProblemSource.problem_id.in_(ids))
    for problem_id, licence in session.execute(query.order_by(ProblemSource.problem_source_id)):
        licences.setdefault(problem_id, licence)
    indices: dict[int, set[int]] = defaultdict(set)
    query_keys = (
        sa.select(Problem.parent_id, ProblemSource.source_key)
        .join(ProblemSource, ProblemSource.problem_id == Problem.problem_id)
        .where(Problem.parent_id.in_(ids), ProblemSource.source == source_of(kind))
    )
    for parent_id, source_key in session.execute(query_keys):
        assert parent_id is not None
        indices[parent_id].add(int(source_key.rpartition("/")[2]))
    families: dict[str, list[tuple[int, str]]] = defaultdict(list)
    members = sa.select(Problem.family, Problem.problem_id, Problem.statement)
    for family, problem_id, statement in session.execute(
        members.where(Problem.family.in_({row.family for row in rows})).order_by(Problem.problem_id)
    ):
        families[family].append((problem_id, statement))
    return [
        Parent(
            row.problem_id,
            row.statement,
            row.statement_hash,
            row.family,
            row.reference_answer,
            row.reference_trust or "source",
            licences.get(row.problem_id),
            frozenset(indices[row.problem_id]),
            tuple(statement for problem_id, statement in families[row.family] if problem_id != row.problem_id),
        )
        for row in rows
    ]


def add_variants(session: Session, kind: str, variants: Sequence[NewVariant]) -> Counter[str]:
    """Stores variants, each in its parent's family and once; counts those stored, and those refused as duplicates.

    A duplicate has the statement of a problem that is there, of whatever family, or its words and numbers. A
    variant of which another process has stored the same number meanwhile is passed over.
    """
    lock_imports(session)
    counts = Counter[str]()
    keys = [f"{variant.parent.statement_hash}/{variant.index}" for variant in variants]
    there = set[str]()
    for start in range(0, len(keys), _CHUNK):
        query = sa.select(ProblemSource.source_key).where(
            ProblemSource.source == source_of(kind), ProblemSource.source_key.in_(keys[start : start + _CHUNK])
        )
        there.update(session.scalars(query))
    for variant, key in zip(variants, keys, strict=True):
        if key in there:
            continue
        there.add(key)
        if _is_known(session, variant.statement):
            counts["refused: duplicate"] += 1
            continue
        problem = Problem(
            statement_hash=statement_hash(variant.statement),
            family=variant.parent.family,
            statement=variant.statement,
            reference_answer=variant.answer,
            reference_trust=variant.trust,
            kind=kind,
            parent_id=variant.parent.problem_id,
        )
        session.add(problem)
        session.flush()
        session.add(
            ProblemSource(
                problem_id=problem.problem_id,
                source=source_of(kind),
                source_key=key,
                licence=variant.parent.licence,
                extra=dict(variant.extra) or None,
            )
        )
        counts["variants"] += 1
    return counts


def _is_known(session: Session, statement: str) -> bool:
    query = sa.select(Problem.statement).where(
        (Problem.statement_hash == statement_hash(statement)) | (Problem.family == family_hash(statement))
    )
    others = session.scalars(query).all()
    return any(statement_hash(other) == statement_hash(statement) for other in others) or is_near_duplicate(
        statement, others
    )
