"""Solutions: adding imported and sampled ones in bulk, once each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.records import SolutionRecord

from .bulk import bulk_insert, is_among, reserve_ids, table_of
from .models import Run, Solution

_SOLUTIONS = table_of(Solution)


@dataclass(slots=True)
class AddedSolutions:
    """What became of the records, in their order."""

    solution_ids: list[int] = field(default_factory=list)
    is_changed: list[bool] = field(default_factory=list)
    """Whether the record added its solution, or an outcome that was unknown; False: it was already there."""
    n_solutions: int = 0
    n_outcomes: int = 0
    """Outcomes learnt of solutions that were there without one."""


def solution_text_hash(statement_hash: str, text: str) -> str:
    r"""The hash of a solution: equal texts on one problem share it, whitespace at the ends aside.

    >>> solution_text_hash("0" * 32, "9 + 7 = 16") == solution_text_hash("0" * 32, "9 + 7 = 16\n")
    True
    >>> solution_text_hash("0" * 32, "9 + 7 = 16") == solution_text_hash("1" * 32, "9 + 7 = 16")
    False
    """
    return hashlib.sha256(f"{statement_hash}\n{text.strip()}".encode()).hexdigest()[:32]


def solutions_of_keys(session: Session, source: str, keys: Sequence[str]) -> dict[str, str]:
    """The text hash of the solution that each known key of a source stands for."""
    found = session.execute(
        sa.select(Solution.source_key, Solution.text_hash).where(
            Solution.source == source, is_among(session, Solution.source_key, keys)
        )
    )
    return {key: known for key, known in found if key is not None}


def add_solutions(
    session: Session, records: Sequence[SolutionRecord], *, problem_ids: Sequence[int], text_hashes: Sequence[str]
) -> AddedSolutions:
    """Adds what is not there yet, by source and key; a solution without outcome takes the record's.

    The caller has made sure that a key which is there already stands for the same text.
    """
    added = AddedSolutions()
    known = _known_solutions(session, records)
    learnt: list[dict[str, Any]] = []
    new: dict[tuple[str, str], dict[str, Any]] = {}
    for record, problem_id, text_hash in zip(records, problem_ids, text_hashes, strict=True):
        key = (record.source, record.source_key)
        row = known.get(key)
        added.is_changed.append(row is None)
        if row is None:
            known[key] = new[key] = _solution_row(record, problem_id, text_hash)
        elif row["outcome"] is None and record.outcome is not None:
            added.is_changed[-1] = True
            row.update(outcome=record.outcome, outcome_rule=record.outcome_rule)
            if key not in new:
                learnt.append(row)
    for row, solution_id in zip(new.values(), reserve_ids(session, _SOLUTIONS, len(new)), strict=True):
        row["solution_id"] = solution_id
    bulk_insert(session, _SOLUTIONS, list(new.values()))
    if learnt:
        session.connection().execute(
            sa.update(_SOLUTIONS)
            .where(_SOLUTIONS.c.solution_id == sa.bindparam("id_"))
            .values(outcome=sa.bindparam("outcome_"), outcome_rule=sa.bindparam("rule_")),
            [{"id_": r["solution_id"], "outcome_": r["outcome"], "rule_": r["outcome_rule"]} for r in learnt],
        )
    added.solution_ids = [known[record.source, record.source_key]["solution_id"] for record in records]
    added.n_solutions = len(new)
    added.n_outcomes = len(learnt)
    return added


def add_sampled_solutions(session: Session, rows: Sequence[Mapping[str, Any]]) -> int:
    """Adds solutions that were sampled, once for each `request_id`, and returns how many were new.

    Each is under the terms of its run.

    Args:
        session: Of one unit of writing.
        rows: Values of rows of `solutions`, all of the same columns.
    """
    requests = [row["request_id"] for row in rows]
    there = set(
        session.scalars(sa.select(Solution.request_id).where(is_among(session, Solution.request_id, requests)))
    )
    terms = sa.select(Run.run_id, Run.licence).where(Run.run_id.in_({row["run_id"] for row in rows}))
    licences = {run_id: licence for run_id, licence in session.execute(terms)}
    new = {
        row["request_id"]: {**row, "licence": licences[row["run_id"]]}
        for row in rows
        if row["request_id"] not in there
    }
    bulk_insert(session, _SOLUTIONS, list(new.values()))
    return len(new)


def _known_solutions(session: Session, records: Sequence[SolutionRecord]) -> dict[tuple[str, str], dict[str, Any]]:
    by_source: dict[str, list[str]] = {}
    for record in records:
        by_source.setdefault(record.source, []).append(record.source_key)
    known = {}
    for source, keys in by_source.items():
        for row in session.execute(
            sa.select(Solution.solution_id, Solution.source_key, Solution.outcome).where(
                Solution.source == source, is_among(session, Solution.source_key, keys)
            )
        ).mappings():
            known[source, row["source_key"]] = dict(row)
    return known


def _solution_row(record: SolutionRecord, problem_id: int, text_hash: str) -> dict[str, Any]:
    return {
        "solution_id": 0,
        "problem_id": problem_id,
        "source": record.source,
        "source_key": record.source_key,
        "generator": record.generator,
        "text": record.text,
        "text_hash": text_hash,
        "steps": list(record.steps),
        "answer": record.answer,
        "outcome": record.outcome,
        "outcome_rule": record.outcome_rule,
        "licence": record.licence,
        "extra": None if record.extra is None else dict(record.extra),
    }
