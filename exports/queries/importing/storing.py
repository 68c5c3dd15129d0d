"""A batch of checked rows into the tables, in the order in which one refers to another."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from db.alternatives import add_imported_alternatives
from db.annotations import ImportedAnnotation, add_annotations
from db.critiques import ImportedCritique, add_imported_critiques
from db.problems import add_problems, problems_of_keys, referred_problems
from db.scores import add_imported_scores
from db.solutions import add_solutions, solution_text_hash, solutions_of_keys
from db.step_values import add_step_values, run_of_import
from stepmark.records import CritiqueRecord, ImportedRow, ProblemRecord, ProblemReference, SolutionRecord

from ..sources import BadRow
from .checking import CheckedRow
from .report import ImportReport


@dataclass(slots=True)
class _Placed:
    """A record whose problem is known: the place of its row in the batch, the hash of the statement, the problem."""

    row: int
    record: ImportedRow
    statement_hash: str
    problem_id: int = 0
    text_hashes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Solution:
    """A solution of the batch."""

    owner: _Placed
    record: SolutionRecord
    solution_id: int = 0
    alternative_ids: tuple[int, ...] = ()


@dataclass(slots=True)
class _Critique:
    """A critique of the batch; those on it come in the next round."""

    solution: _Solution
    record: CritiqueRecord
    target_id: int | None = None


@dataclass(slots=True)
class _Batch:
    """What is stored of a batch, and which of its rows brought something new."""

    is_new: list[bool]
    annotations: list[tuple[int, ImportedAnnotation]] = field(default_factory=list)
    """With the place of the row."""


def store_batch(
    session: Session, rows: Sequence[CheckedRow], source: str, report: ImportReport, *, skip_bad: bool
) -> None:
    """Stores a batch of rows of one source in the session's transaction and counts what became of them.

    A row of which a part cannot be stored is dropped whole.
    """
    placed, n_rows = _without_unknown_and_taken(session, rows, source, report, skip_bad=skip_bad)
    batch = _Batch([False] * n_rows)
    _store_problems(session, placed, batch, report)
    solutions = _store_solutions(session, placed, batch, report)
    _store_alternatives(session, solutions, batch, report)
    _store_scores_and_values(session, solutions, source, batch, report)
    _store_critiques(session, solutions, batch, report)
    _store_annotations(session, placed, solutions, batch, report)
    for one in placed:
        report.left_out.update(one.record.left_out)
    report.n_kept += sum(batch.is_new)
    report.n_already_there += len(batch.is_new) - sum(batch.is_new)


def _without_unknown_and_taken(
    session: Session, rows: Sequence[CheckedRow], source: str, report: ImportReport, *, skip_bad: bool
) -> tuple[list[_Placed], int]:
    """The records of rows whose problems are known and whose keys are free, or stand for the same text already."""
    records = [record for row in rows for record in row.records]
    referred = referred_problems(session, {r.problem for r in records if isinstance(r.problem, ProblemReference)})
    problem_of = problems_of_keys(
        session, source, [r.problem.source_key for r in records if isinstance(r.problem, ProblemRecord)]
    )
    text_of = solutions_of_keys(session, source, [s.source_key for r in records for s in r.solutions])
    placed: list[_Placed] = []
    n_rows = 0
    for row in rows:
        of_row: list[_Placed] = []
        bad: BadRow | None = None
        for record, hash_ in zip(row.records, row.statement_hashes, strict=True):
            one = _Placed(n_rows, record, hash_ or "")
            if isinstance(record.problem, ProblemReference):
                if (found := referred.get(record.problem)) is None:
                    what = f"{record.problem.source} holds no problem {record.problem.source_key!r}; import it first"
                    bad = BadRow(row.line, "problem_not_there", what)
                    break
                one.problem_id, one.statement_hash = found
            one.text_hashes = tuple(solution_text_hash(one.statement_hash, s.text) for s in record.solutions)
            if (taken := _taken_key(one, problem_of, text_of)) is not None:
                what = (
                    f"{source} has another text under the key {taken!r} already; give this file a --source of its own"
                )
                bad = BadRow(row.line, "key_taken", what)
                break
            of_row.append(one)
        if bad is not None:
            report.drop(bad, skip_bad=skip_bad)
            continue
        for one in of_row:
            if isinstance(one.record.problem, ProblemRecord):
                problem_of[one.record.problem.source_key] = one.statement_hash
            for solution, hash_ in zip(one.record.solutions, one.text_hashes, strict=True):
                text_of[solution.source_key] = hash_
        placed += of_row
        n_rows += 1
    return placed, n_rows


def _taken_key(one: _Placed, problem_of: dict[str, str], text_of: dict[str, str]) -> str | None:
    problem = one.record.problem
    if isinstance(problem, ProblemRecord) and problem_of.get(problem.source_key, one.statement_hash) != (
        one.statement_hash
    ):
        return problem.source_key
    texts = zip(one.record.solutions, one.text_hashes, strict=True)
    return next((s.source_key for s, hash_ in texts if text_of.get(s.source_key, hash_) != hash_), None)


def _store_problems(session: Session, placed: Sequence[_Placed], batch: _Batch, report: ImportReport) -> None:
    own = [one for one in placed if isinstance(one.record.problem, ProblemRecord)]
    records = [one.record.problem for one in own if isinstance(one.record.problem, ProblemRecord)]
    added = add_problems(session, records, [one.statement_hash for one in own])
    for one, problem_id, is_new in zip(own, added.problem_ids, added.is_new_source, strict=True):
        one.problem_id = problem_id
        batch.is_new[one.row] |= is_new
    report.stored.update(
        problems=added.n_problems,
        problem_sources=added.n_sources,
        references_filled=added.n_references_filled,
        references_differ=added.n_references_differ,
        families_joined=added.n_families_joined,
    )


def _store_solutions(
    session: Session, placed: Sequence[_Placed], batch: _Batch, report: ImportReport
) -> list[_Solution]:
    solutions = [_Solution(one, record) for one in placed for record in one.record.solutions]
    added = add_solutions(
        session,
        [one.record for one in solutions],
        problem_ids=[one.owner.problem_id for one in solutions],
        text_hashes=[text_hash for one in placed for text_hash in one.text_hashes],
    )
    for one, solution_id, is_changed in zip(solutions, added.solution_ids, added.is_changed, strict=True):
        one.solution_id = solution_id
        batch.is_new[one.owner.row] |= is_changed
    report.stored.update(solutions=added.n_solutions, outcomes=added.n_outcomes)
    return solutions


def _store_alternatives(
    session: Session, solutions: Sequence[_Solution], batch: _Batch, report: ImportReport
) -> None:
    having = [one for one in solutions if one.record.alternatives]
    if not having:
        return
    items = [(record, one.solution_id, one.record.source) for one in having for record in one.record.alternatives]
    ids, n_new = add_imported_alternatives(session, items)
    at = 0
    for one in having:
        n = len(one.record.alternatives)
        one.alternative_ids = tuple(ids[at : at + n])
        at += n
    report.stored["alternatives"] += n_new


def _store_scores_and_values(
    session: Session, solutions: Sequence[_Solution], source: str, batch: _Batch, report: ImportReport
) -> None:
    scores = [(one, record) for one in solutions for record in one.record.scores]
    if scores:
        is_new = add_imported_scores(session, [(record, one.solution_id) for one, record in scores])
        for (one, _), is_added in zip(scores, is_new, strict=True):
            batch.is_new[one.owner.row] |= is_added
        report.stored["scores"] += sum(is_new)
    valued = {
        one.solution_id: {record.step_index: record.value for record in one.record.step_values}
        for one in solutions
        if one.record.step_values
    }
    if valued:
        report.stored["step_values"] += add_step_values(session, run_of_import(session, source), valued)


def _store_critiques(session: Session, solutions: Sequence[_Solution], batch: _Batch, report: ImportReport) -> None:
    """Stores critiques, then those on them, and so on; notes what was said of each."""
    wanted = [_Critique(one, record) for one in solutions for record in one.record.critiques]
    while wanted:
        items = [
            ImportedCritique(
                one.record,
                one.solution.solution_id,
                one.solution.owner.problem_id,
                one.solution.record.source,
                one.target_id,
            )
            for one in wanted
        ]
        ids, is_new = add_imported_critiques(session, items)
        report.stored["critiques"] += sum(is_new)
        further: list[_Critique] = []
        for one, critique_id, is_added in zip(wanted, ids, is_new, strict=True):
            row = one.solution.owner.row
            batch.is_new[row] |= is_added
            batch.annotations += [
                (
                    row,
                    ImportedAnnotation(
                        judgement,
                        one.solution.solution_id,
                        one.solution.record.source,
                        one.record.source_key,
                        critique_id=critique_id,
                    ),
                )
                for judgement in one.record.judgements
            ]
            further += [_Critique(one.solution, record, critique_id) for record in one.record.critiques]
        wanted = further


def _store_annotations(
    session: Session, placed: Sequence[_Placed], solutions: Sequence[_Solution], batch: _Batch, report: ImportReport
) -> None:
    items = [
        (
            one.owner.row,
            ImportedAnnotation(
                record, one.solution_id, one.record.source, one.record.source_key, one.alternative_ids
            ),
        )
        for one in solutions
        for record in one.record.annotations
    ]
    at = 0
    for one in placed:
        own = solutions[at : at + len(one.record.solutions)]
        at += len(own)
        items += [
            (
                one.row,
                ImportedAnnotation(
                    preference,
                    own[preference.a].solution_id,
                    own[preference.a].record.source,
                    f"{own[preference.a].record.source_key} {own[preference.b].record.source_key}",
                    other_solution_id=own[preference.b].solution_id,
                ),
            )
            for preference in one.record.preferences
        ]
    items += batch.annotations
    added = add_annotations(session, [_without_needless(item) for _, item in items])
    for (row, _), is_new in zip(items, added.is_new, strict=True):
        batch.is_new[row] |= is_new
    report.stored.update(added.stored)
    report.stored["annotations_superseded"] += added.n_superseded


def _without_needless(item: ImportedAnnotation) -> ImportedAnnotation:
    """An annotation that says nothing of alternatives needs none of their ids."""
    labelled = getattr(item.record, "alternatives", ())
    return replace(item, alternative_ids=()) if item.alternative_ids and not labelled else item
