"""Critiques: what critics need to know of solutions and critiques, storing what they say, and whether it is right."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from stepmark.confirmation import Confirmation
from stepmark.records import CritiqueRecord

from .bulk import bulk_insert, is_among, reserve_ids, table_of
from .connect import reading, writing
from .models import Annotation, Annotator, Critique, Problem, Refinement, Solution
from .selection import name_like, tells_first_error
from .subjects import SolutionSelection, Subject, iterate_subjects, selected_ids

_CRITIQUES = table_of(Critique)
_REFINEMENTS = table_of(Refinement)
_CHUNK = 500
CARRYING_KINDS = ("template", "program", "other_variant")
"""Kinds of variants that a chain can be carried over to: other inputs, the same question. Not `rephrased`, whose
inputs are the same, nor `backward`, which asks for something else."""


@dataclass(frozen=True, slots=True)
class VariantProblem:
    """A variant to carry a chain over to."""

    problem_id: int
    statement: str
    reference_answer: str
    """Never shown to a critic."""
    kind: str
    """One of `CARRYING_KINDS`."""
    reference_trust: str | None
    """How the reference answer is known."""


@dataclass(frozen=True, slots=True)
class CriticisedSolution:
    """A solution with what any kind of critic needs."""

    subject: Subject
    reference_solution: str | None
    variants: tuple[VariantProblem, ...]
    """The first few, by id."""


def iterate_solutions(
    engine: sa.Engine, selection: SolutionSelection, *, n_variants: int = 0
) -> Iterator[list[CriticisedSolution]]:
    """Yields solutions in chunks, each with at most `n_variants` variants that have a reference answer."""
    for subjects in iterate_subjects(engine, selection):
        problem_ids = sorted({subject.problem_id for subject in subjects})
        with reading(engine) as session:
            solutions = {
                problem_id: text
                for problem_id, text in session.execute(
                    sa.select(Problem.problem_id, Problem.reference_solution).where(
                        Problem.problem_id.in_(problem_ids)
                    )
                )
            }
            variants = variants_to_carry_to(session, problem_ids, n_variants) if n_variants else {}
        yield [
            CriticisedSolution(subject, solutions[subject.problem_id], tuple(variants.get(subject.problem_id, ())))
            for subject in subjects
        ]


def variants_to_carry_to(session: Session, problem_ids: Collection[int], n: int) -> dict[int, list[VariantProblem]]:
    """The first `n` variants of each problem that have a reference answer, by id; problems without are left out."""
    number = sa.func.row_number().over(partition_by=Problem.parent_id, order_by=Problem.problem_id)
    numbered = (
        sa.select(
            Problem.parent_id,
            Problem.problem_id,
            Problem.statement,
            Problem.reference_answer,
            Problem.kind,
            Problem.reference_trust,
            number.label("number"),
        )
        .where(
            Problem.parent_id.in_(problem_ids),
            Problem.kind.in_(CARRYING_KINDS),
            Problem.answer_kind == "value",
            Problem.reference_answer.is_not(None),
        )
        .subquery()
    )
    found: dict[int, list[VariantProblem]] = defaultdict(list)
    rows = session.execute(
        sa.select(numbered).where(numbered.c.number <= n).order_by(numbered.c.parent_id, numbered.c.problem_id)
    )
    for parent_id, problem_id, statement, answer, kind, trust, _number in rows:
        found[parent_id].append(VariantProblem(problem_id, statement, answer, kind, trust))
    return found


# ---------------------------------------------------------------- critiques that something is made of


@dataclass(frozen=True, slots=True)
class CritiqueSelection:
    """Which critiques a run is about."""

    solutions: SolutionSelection
    """Of these solutions; its own limit is not looked at."""
    kind: str | None = None
    """Only critiques of this kind; None takes all that judge a solution."""
    verdict: str | None = None
    """Only critiques with this verdict; None takes `pass` and `fail`."""
    limit: int | None = None
    """The first so many critiques."""


@dataclass(frozen=True, slots=True)
class CritiqueToUse:
    """A critique with the solution that it is about."""

    critique_id: int
    kind: str
    text: str
    verdict: str
    applied_to: str | None
    """The variant that it was applied to; None where it is the solution's own problem."""
    solution_id: int
    problem_id: int
    statement: str
    statement_hash: str
    steps: tuple[str, ...]
    answer: str | None


def count_critiques(engine: sa.Engine, selection: CritiqueSelection) -> int:
    """How many critiques `iterate_critiques` yields."""
    query = _selected(selection).with_only_columns(Critique.critique_id)
    with reading(engine) as session:
        found = session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0
    return found if selection.limit is None else min(found, selection.limit)


def iterate_critiques(engine: sa.Engine, selection: CritiqueSelection) -> Iterator[list[CritiqueToUse]]:
    """Yields critiques of solutions (none of critiques) in the order of their ids, in chunks."""
    after, left = 0, selection.limit
    while left is None or left > 0:
        query = _selected(selection).where(Critique.critique_id > after).order_by(Critique.critique_id)
        with reading(engine) as session:
            rows = session.execute(query.limit(_CHUNK if left is None else min(_CHUNK, left))).all()
        if not rows:
            return
        after = rows[-1].critique_id
        left = None if left is None else left - len(rows)
        yield [_critique(row) for row in rows]


def _critique(row: Any) -> CritiqueToUse:
    return CritiqueToUse(**{**row._mapping, "steps": tuple(row.steps)})


def _selected(selection: CritiqueSelection) -> sa.Select[*tuple[Any, ...]]:
    applied_to = aliased(Problem)
    query = (
        sa.select(
            Critique.critique_id,
            Critique.kind,
            Critique.text,
            Critique.verdict,
            sa.case((applied_to.problem_id != Solution.problem_id, applied_to.statement)).label("applied_to"),
            Solution.solution_id,
            Solution.problem_id,
            Problem.statement,
            Problem.statement_hash,
            Solution.steps,
            Solution.answer,
        )
        .join(Solution, Solution.solution_id == Critique.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .join(applied_to, applied_to.problem_id == Critique.problem_id)
        .where(Critique.target_critique_id.is_(None), Critique.solution_id.in_(selected_ids(selection.solutions)))
    )
    if selection.kind is not None:
        query = query.where(Critique.kind == selection.kind)
    verdicts = ("pass", "fail") if selection.verdict is None else (selection.verdict,)
    return query.where(Critique.verdict.in_(verdicts))


# ---------------------------------------------------------------- storing


def add_critiques(session: Session, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Adds critiques once for each `request_id`, or, without one, for each source and key; returns the new ones.

    Args:
        session: Of one unit of writing.
        rows: Values of rows of `critiques`, all of the same columns.
    """
    sampled = _there(session, Critique.request_id, [row["request_id"] for row in rows])
    named: set[tuple[Any, Any]] = set()
    for source in {row["source"] for row in rows} - {None}:
        keys = [row["source_key"] for row in rows if row["source"] == source]
        named |= {(source, key) for key in _there(session, Critique.source_key, keys, Critique.source == source)}
    new: dict[Any, Mapping[str, Any]] = {}
    for row in rows:
        key = (row["source"], row["source_key"]) if row["request_id"] is None else row["request_id"]
        if key not in sampled and key not in named:
            new.setdefault(key, row)
    bulk_insert(session, _CRITIQUES, list(new.values()))
    return list(new.values())


@dataclass(frozen=True, slots=True)
class ImportedCritique:
    """A critique of a source, and what it is about."""

    record: CritiqueRecord
    solution_id: int
    problem_id: int
    source: str
    target_critique_id: int | None = None
    """The critique that it is about, where it is not about the solution itself."""


def add_imported_critiques(session: Session, items: Sequence[ImportedCritique]) -> tuple[list[int], list[bool]]:
    """Adds critiques that are not there yet, by source and key; returns the ids of all, and which were new."""
    ids: dict[tuple[str, str], int] = {}
    for source in {item.source for item in items}:
        keys = [item.record.source_key for item in items if item.source == source]
        found = session.execute(
            sa.select(Critique.source_key, Critique.critique_id).where(
                Critique.source == source, is_among(session, Critique.source_key, keys)
            )
        )
        ids |= {(source, key): critique_id for key, critique_id in found if key is not None}
    is_new: list[bool] = []
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for item in items:
        record, key = item.record, (item.source, item.record.source_key)
        is_new.append(key not in ids and key not in rows)
        if is_new[-1]:
            rows[key] = {
                "solution_id": item.solution_id,
                "problem_id": item.problem_id,
                "source": item.source,
                "source_key": record.source_key,
                "kind": record.kind,
                "critic": record.critic,
                "target_critique_id": item.target_critique_id,
                "text": record.text,
                "verdict": record.verdict,
                "first_error": record.first_error,
                "extra": None if record.extra is None else dict(record.extra),
            }
    for (key, row), id_ in zip(rows.items(), reserve_ids(session, _CRITIQUES, len(rows)), strict=True):
        ids[key] = row["critique_id"] = id_
    bulk_insert(session, _CRITIQUES, list(rows.values()))
    return [ids[item.source, item.record.source_key] for item in items], is_new


def add_refinements(session: Session, critique_ids: Mapping[int, int]) -> int:
    """Says after which critique sampled solutions were written, once each; returns how many were new.

    Args:
        session: Of one unit of writing, in which the solutions are stored.
        critique_ids: The critique by the `request_id` of the solution.
    """
    solutions: dict[int, int] = {}
    for chunk in _chunks(list(critique_ids)):
        query = sa.select(Solution.solution_id, Solution.request_id).where(Solution.request_id.in_(chunk))
        solutions |= {solution_id: request_id for solution_id, request_id in session.execute(query) if request_id}
    there = _there(session, Refinement.solution_id, list(solutions))
    rows = [
        {"solution_id": solution_id, "critique_id": critique_ids[request_id]}
        for solution_id, request_id in solutions.items()
        if solution_id not in there
    ]
    bulk_insert(session, _REFINEMENTS, rows)
    return len(rows)


def _there(session: Session, column: Any, values: Sequence[Any], *conditions: sa.ColumnElement[bool]) -> set[Any]:
    found: set[Any] = set()
    for chunk in _chunks([value for value in values if value is not None]):
        found |= set(session.scalars(sa.select(column).where(column.in_(chunk), *conditions)))
    return found


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


# ---------------------------------------------------------------- confirming


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """What one labeller's step labels say of a solution."""

    is_person: bool
    first_error: int | None
    """0-based; None: every step is right."""


@dataclass(frozen=True, slots=True)
class VerdictToConfirm:
    """A critique's verdict, and what is known of its solution."""

    critique_id: int
    kind: str
    verdict: str
    first_error: int | None
    answer: str | None
    carried: tuple[str, ...]
    """The carried steps."""
    outcome: bool | None
    labels: tuple[StepVerdict, ...]
    variant_answer: str | None
    """The reference answer of the variant that it was applied to."""
    on_variant: bool
    target_confirmed: bool | None
    """Of a critique of a critique: whether that one's verdict is confirmed."""


def count_verdicts(engine: sa.Engine, *, again: bool = False) -> int:
    """How many verdicts `verdicts_to_confirm` yields, those on critiques included."""
    query = sa.select(sa.func.count()).select_from(Critique)
    if not again:
        query = query.where(Critique.confirmation_rule.is_(None))
    with reading(engine) as session:
        return session.scalar(query) or 0


def verdicts_to_confirm(
    engine: sa.Engine, *, of_critiques: bool, again: bool = False
) -> Iterator[list[VerdictToConfirm]]:
    """Yields, in batches ordered by id, the verdicts that nothing has decided yet.

    Args:
        engine: The database.
        of_critiques: Those on critiques; else those on solutions.
        again: Also those that were decided before.
    """
    target, applied_to, last = aliased(Critique), aliased(Problem), 0
    while True:
        query = (
            sa.select(
                Critique.critique_id,
                Critique.kind,
                Critique.verdict,
                Critique.first_error,
                Critique.answer,
                Critique.extra,
                Critique.solution_id,
                (Critique.problem_id != Solution.problem_id).label("on_variant"),
                Solution.outcome,
                applied_to.reference_answer,
                target.is_confirmed.label("target_confirmed"),
            )
            .join(Solution, Solution.solution_id == Critique.solution_id)
            .join(applied_to, applied_to.problem_id == Critique.problem_id)
            .outerjoin(target, target.critique_id == Critique.target_critique_id)
            .where(
                Critique.critique_id > last,
                Critique.target_critique_id.is_not(None) if of_critiques else Critique.target_critique_id.is_(None),
            )
            .order_by(Critique.critique_id)
            .limit(_CHUNK)
        )
        if not again:
            query = query.where(Critique.confirmation_rule.is_(None))
        with reading(engine) as session:
            rows = session.execute(query).all()
            labels = _labels(session, {row.solution_id for row in rows})
        if not rows:
            return
        last = rows[-1].critique_id
        yield [
            VerdictToConfirm(
                row.critique_id,
                row.kind,
                row.verdict,
                row.first_error,
                row.answer,
                tuple(step["text"] for step in (row.extra or {}).get("carried", ())),
                row.outcome,
                tuple(labels.get(row.solution_id, ())),
                row.reference_answer if row.on_variant else None,
                row.on_variant,
                row.target_confirmed,
            )
            for row in rows
        ]


def _labels(session: Session, solution_ids: Collection[int]) -> dict[int, list[StepVerdict]]:
    """What people and programs say of the steps of these solutions; a model's labels are no evidence."""
    query = (
        sa.select(Annotation.solution_id, Annotator.kind, Annotation.first_error)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(
            Annotation.solution_id.in_(solution_ids),
            tells_first_error(),
            Annotation.superseded_by_id.is_(None),
            Annotator.kind.in_(("person", "program")),
            Annotation.finish_reason.in_(("found_error", "solution")),
        )
        .order_by(Annotation.annotation_id)
    )
    found: dict[int, list[StepVerdict]] = defaultdict(list)
    for solution_id, kind, first_error in session.execute(query):
        found[solution_id].append(StepVerdict(kind == "person", first_error))
    return found


def critiques_of(
    engine: sa.Engine, solution_ids: Collection[int], *, critic: str, n: int | None = None
) -> dict[int, list[str]]:
    """What critics said of solutions, whoever was right, in the order of their ids; solutions without are left out.

    A truncated critique and one without a readable verdict say nothing that counts: no exported set has them either.

    Args:
        engine: The database.
        solution_ids: The solutions.
        critic: Only by critics whose name matches this pattern.
        n: The first so many of each solution; None: all.
    """
    found: dict[int, list[str]] = {}
    with reading(engine) as session:
        query = (
            sa.select(Critique.solution_id, Critique.text, Critique.extra)
            .where(
                is_among(session, Critique.solution_id, solution_ids),
                Critique.target_critique_id.is_(None),
                Critique.verdict != "unreadable",
                name_like(Critique.critic, critic),
            )
            .order_by(Critique.critique_id)
        )
        for row in session.execute(query):
            if (row.extra or {}).get("is_truncated") or not row.text.strip():
                continue
            texts = found.setdefault(row.solution_id, [])
            if n is None or len(texts) < n:
                texts.append(row.text.strip())
    return found


def write_confirmations(engine: sa.Engine, found: Iterable[tuple[int, Confirmation]]) -> None:
    """Writes whether verdicts are right, by the critique's id, in one transaction."""
    rows = [
        {"critique_id": critique_id, "is_confirmed": one.is_confirmed, "confirmation_rule": one.rule}
        for critique_id, one in found
    ]
    if rows:
        with writing(engine) as session:
            session.execute(sa.update(Critique), rows)
