"""Problems and where they were found: one row for each normalised statement, one source row for each finding."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.problems import family_hash, statement_hash
from stepmark.records import ProblemRecord, ProblemReference

from .bulk import bulk_insert, is_among, reserve_ids, table_of
from .connect import writing
from .models import Problem, ProblemSource

_PROBLEMS = table_of(Problem)
_SOURCES = table_of(ProblemSource)
_CHUNK = 500
_IMPORT_LOCK = 0x57E9_3A2C
"""Key of PostgreSQL's advisory lock that imports share."""


@dataclass(slots=True)
class AddedProblems:
    """What became of the records, in their order."""

    problem_ids: list[int] = field(default_factory=list)
    is_new_source: list[bool] = field(default_factory=list)
    """Whether the record's source row was added; False: it was already there."""
    n_problems: int = 0
    """Problems that no source had brought before."""
    n_sources: int = 0
    n_references_filled: int = 0
    """Known problems that had no reference answer before."""
    n_references_differ: int = 0
    """Records whose reference answer differs from the one kept; theirs stands in the source row's extra."""
    n_families_joined: int = 0
    """Families that became part of another, since a variant and its parent were known apart."""


def lock_imports(session: Session) -> None:
    """Makes importers take turns until this transaction ends; on SQLite the write lock does so already.

    Until then PostgreSQL looks rows up by an index wherever there is one. It keeps plans, those of foreign keys too;
    one that was made while a table was small would read it whole for every batch or label, and to plan each anew
    takes six times as long as the look-up of a foreign key.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_IMPORT_LOCK)))


def problems_of_keys(session: Session, source: str, keys: Sequence[str]) -> dict[str, str]:
    """The statement hash of the problem that each known key of a source stands for."""
    return {key: known for key, (_, known) in _problems_by_key(session, source, keys).items()}


def referred_problems(
    session: Session, references: Iterable[ProblemReference]
) -> dict[ProblemReference, tuple[int, str]]:
    """Id and statement hash of the problems that are there, by source and key."""
    by_source: dict[str, list[str]] = {}
    for reference in references:
        by_source.setdefault(reference.source, []).append(reference.source_key)
    return {
        ProblemReference(source, key): found
        for source, keys in by_source.items()
        for key, found in _problems_by_key(session, source, keys).items()
    }


def _problems_by_key(session: Session, source: str, keys: Sequence[str]) -> dict[str, tuple[int, str]]:
    found = session.execute(
        sa.select(ProblemSource.source_key, Problem.problem_id, Problem.statement_hash)
        .join(Problem, Problem.problem_id == ProblemSource.problem_id)
        .where(ProblemSource.source == source, is_among(session, ProblemSource.source_key, keys))
    )
    return {key: (problem_id, known) for key, problem_id, known in found}


def add_problems(
    session: Session, records: Sequence[ProblemRecord], hashes: Sequence[str] | None = None
) -> AddedProblems:
    """Adds what is not there yet: problems by their statement, source rows by source and key; parents come first.

    The first reference answer is kept. A known problem without one takes it from the record; where the record's
    differs, it goes to the source row's extra, as do a differing solution and spelling of the statement. A problem
    that was known before it came as a variant stays what it was, and its family becomes part of its parent's.
    The caller has made sure that a key which is there already stands for the same statement.

    Args:
        session: Of one unit of writing.
        records: As many as fit in memory.
        hashes: `statement_hash` of each record's statement, where the caller knows it.
    """
    added = AddedProblems()
    hashes = [statement_hash(record.statement) for record in records] if hashes is None else hashes
    parents = {
        statement_hash(record.parent.statement): record.parent for record in records if record.parent is not None
    }
    every = [*parents.values(), *records]
    all_hashes = [*parents, *hashes]
    known = _known_problems(session, set(all_hashes))
    new_rows: dict[str, dict[str, Any]] = {}
    for hash_, record in zip(all_hashes, every, strict=True):
        if hash_ not in known:
            known[hash_] = new_rows[hash_] = _problem_row(hash_, record)
    for row, problem_id in zip(new_rows.values(), reserve_ids(session, _PROBLEMS, len(new_rows)), strict=True):
        row["problem_id"] = problem_id
    joined = _place_variants(records, hashes, known, new_rows) if parents else {}
    filled = _fill_references(every, all_hashes, known, new_rows)
    bulk_insert(session, _PROBLEMS, list(new_rows.values()))
    _update_references(session, filled)
    added.n_families_joined = join_families(session, joined)
    added.n_problems = len(new_rows)
    added.n_references_filled = len(filled)
    n_parents = len(parents)
    _add_sources(session, every, [known[hash_] for hash_ in all_hashes], added)
    del added.problem_ids[:n_parents], added.is_new_source[:n_parents]
    return added


def _place_variants(
    records: Sequence[ProblemRecord],
    hashes: Sequence[str],
    known: Mapping[str, dict[str, Any]],
    new_rows: Mapping[str, dict[str, Any]],
) -> dict[str, str]:
    """Gives new variants their parent and its family; returns the families to be joined, each with its new name."""
    joined: dict[str, str] = {}
    for hash_, record in zip(hashes, records, strict=True):
        if record.parent is None:
            continue
        parent_hash = statement_hash(record.parent.statement)
        row, parent = known[hash_], known[parent_hash]
        if row is parent:
            continue
        if hash_ in new_rows and row["parent_id"] is None and parent["kind"] == "original":
            row.update(kind=record.kind, parent_id=parent["problem_id"], family=parent["family"])
        elif row["family"] != parent["family"]:
            joined[row["family"]] = parent["family"]
    return joined


def _fill_references(
    records: Sequence[ProblemRecord],
    hashes: Sequence[str],
    known: Mapping[str, dict[str, Any]],
    new_rows: Mapping[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Takes reference answers where there was none; returns the rows of problems that were there."""
    filled: dict[int, dict[str, Any]] = {}
    for hash_, record in zip(hashes, records, strict=True):
        row = known[hash_]
        if row["reference_answer"] is None and record.reference_answer is not None:
            row.update(
                reference_answer=record.reference_answer,
                answer_kind=record.answer_kind,
                reference_solution=row["reference_solution"] or record.reference_solution,
                reference_trust="source",
            )
            if hash_ not in new_rows:
                filled[row["problem_id"]] = row
    return list(filled.values())


def _update_references(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ("reference_answer", "answer_kind", "reference_solution", "reference_trust")
    if rows:
        session.connection().execute(
            sa.update(_PROBLEMS)
            .where(_PROBLEMS.c.problem_id == sa.bindparam("id_"))
            .values({name: sa.bindparam(f"{name}_") for name in columns}),
            [{"id_": row["problem_id"], **{f"{name}_": row[name] for name in columns}} for row in rows],
        )


def join_families(session: Session, names: Mapping[str, str]) -> int:
    """Makes families part of others, by the old name; chains of names are followed. Returns how many there were."""
    n_joined = 0
    into: dict[str, str] = {}

    def last(name: str) -> str:
        while name in into:
            name = into[name]
        return name

    for old, new in names.items():
        old, new = last(old), last(new)
        if old != new:
            into[old] = new
    for old in into:
        session.execute(sa.update(_PROBLEMS).where(_PROBLEMS.c.family == old).values(family=last(old)))
        n_joined += 1
    return n_joined


def join_families_of(engine: sa.Engine, pairs: Sequence[tuple[int, int]]) -> int:
    """Makes the families of problems part of those of others, by ids; returns how many became part of another one."""
    names: dict[str, str] = {}
    with writing(engine) as session:
        for start in range(0, len(pairs), _CHUNK):
            chunk = pairs[start : start + _CHUNK]
            ids = sorted({problem_id for pair in chunk for problem_id in pair})
            query = sa.select(Problem.problem_id, Problem.family).where(is_among(session, Problem.problem_id, ids))
            families = {problem_id: family for problem_id, family in session.execute(query)}
            for problem_id, into_id in chunk:
                old, new = families[problem_id], families[into_id]
                if old in names:  # of several that one family is to join, all become one
                    old = names[old]
                if old != new:
                    names[old] = new
        return join_families(session, names)


def _known_problems(session: Session, hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
    columns = (
        _PROBLEMS.c.problem_id,
        _PROBLEMS.c.statement_hash,
        _PROBLEMS.c.statement,
        _PROBLEMS.c.family,
        _PROBLEMS.c.kind,
        _PROBLEMS.c.parent_id,
        _PROBLEMS.c.reference_answer,
        _PROBLEMS.c.reference_solution,
    )
    wanted = is_among(session, _PROBLEMS.c.statement_hash, sorted(hashes))
    return {row["statement_hash"]: dict(row) for row in session.execute(sa.select(*columns).where(wanted)).mappings()}


def _problem_row(hash_: str, record: ProblemRecord) -> dict[str, Any]:
    return {
        "problem_id": 0,
        "statement_hash": hash_,
        "family": family_hash(record.family_text or record.statement),
        "statement": record.statement,
        "reference_answer": record.reference_answer,
        "answer_kind": record.answer_kind,
        "reference_solution": record.reference_solution,
        "reference_trust": None if record.reference_answer is None else "source",
        "kind": "original",
        "parent_id": None,
    }


def _add_sources(
    session: Session, records: Sequence[ProblemRecord], problems: Sequence[Mapping[str, Any]], added: AddedProblems
) -> None:
    by_source: dict[str, list[str]] = {}
    for record in records:
        by_source.setdefault(record.source, []).append(record.source_key)
    there = {(source, key) for source, keys in by_source.items() for key in problems_of_keys(session, source, keys)}
    rows = []
    for record, problem in zip(records, problems, strict=True):
        added.problem_ids.append(problem["problem_id"])
        is_new = (record.source, record.source_key) not in there
        added.is_new_source.append(is_new)
        if not is_new:
            continue
        there.add((record.source, record.source_key))
        differing = _differences(record, problem)
        if "reference_answer" in differing:
            added.n_references_differ += not is_same_reference(
                differing["reference_answer"], problem["reference_answer"]
            )
        rows.append(
            {
                "problem_id": problem["problem_id"],
                "source": record.source,
                "source_key": record.source_key,
                "licence": record.licence,
                "extra": {**(record.extra or {}), **differing} or None,
            }
        )
    bulk_insert(session, _SOURCES, rows)
    added.n_sources = len(rows)


def _differences(record: ProblemRecord, problem: Mapping[str, Any]) -> dict[str, Any]:
    """What the source says otherwise than the problem row, so that nothing it said is lost."""
    differing: dict[str, Any] = {}
    if record.statement != problem["statement"]:
        differing["statement"] = record.statement
    if record.reference_answer not in (None, problem["reference_answer"]):
        differing["reference_answer"] = record.reference_answer
    if record.reference_solution not in (None, problem["reference_solution"]):
        differing["reference_solution"] = record.reference_solution
    return differing


def is_same_reference(left: str, right: str) -> bool:
    """Tells whether two reference answers are one: the same text, or the same number written otherwise.

    >>> is_same_reference("1,000", "1000.0"), is_same_reference("1/2", "0.5"), is_same_reference("5", "6")
    (True, True, False)
    """
    return _number(left) == _number(right)


def _number(answer: str) -> Fraction | str:
    text = answer.strip().replace(",", "").removeprefix("$")
    try:
        return Fraction(text) if len(text) <= 64 and "e" not in text.lower() else text
    except (ValueError, ZeroDivisionError):
        return answer.strip()
