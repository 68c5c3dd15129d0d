"""Rows of a preference set: from choices between two solutions, or derived from outcomes or from first errors."""

import hashlib
import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, groupby, product
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.models import Annotation, Annotator, Preference, Problem, Solution
from db.selection import is_label_data, tells_first_error
from exports.formats.columns import MARGIN, PREFERENCE, Column

from .orm_rows import solutions_of_page
from .selection import (
    Counts,
    Page,
    RowLimits,
    Selection,
    SetRow,
    TextForm,
    TrainingSet,
    is_selected,
    joint_licence,
    pages,
    source_name,
    whole_text,
)

_A, _B = aliased(Solution), aliased(Solution)


@dataclass(frozen=True, slots=True)
class PreferenceOptions:
    """Where the pairs come from."""

    origin: Literal["preferences", "outcomes", "first-errors"] = "preferences"
    text: TextForm = "steps"
    annotators: tuple[str, ...] = ()
    """Only choices by these; empty: by all."""
    annotator_kinds: tuple[str, ...] = ()
    """Only choices by `person`, `program` or `model`; empty: by all."""
    max_pairs_per_problem: int = 16
    """From outcomes or first errors: pairs of one problem at most, drawn with the seed."""
    seed: int = 0


def preference_set(selection: Selection, options: PreferenceOptions | None = None) -> TrainingSet:
    """Pairs of a better and a worse solution."""
    chosen = options or PreferenceOptions()

    def columns(session: Session) -> tuple[Column, ...]:
        return (*PREFERENCE, MARGIN) if has_margins(session, selection, chosen) else PREFERENCE

    def rows(session: Session, columns: tuple[Column, ...], counts: Counts) -> Iterator[SetRow]:
        if chosen.origin == "outcomes":
            return outcome_rows(session, selection, chosen, counts)
        if chosen.origin == "first-errors":
            return first_error_rows(session, selection, chosen, counts)
        return choice_rows(session, selection, chosen, counts, with_margin=MARGIN in columns)

    return TrainingSet("preference", selection, asdict(chosen), rows, columns)


def has_margins(session: Session, selection: Selection, options: PreferenceOptions) -> bool:
    """Whether any selected choice has a strength; all rows of the set then have a margin."""
    if options.origin != "preferences":
        return False
    strong = _choices(None, selection, options).where(
        Preference.strength.is_not(None), Preference.choice.in_(("a", "b"))
    )
    return session.execute(strong.limit(1)).first() is not None


def choice_rows(
    session: Session, selection: Selection, options: PreferenceOptions, counts: Counts, *, with_margin: bool
) -> Iterator[SetRow]:
    """Yields choices ordered by problem and annotation; ties come as rows that stand aside.

    The margin is the strength of the choice, as in Llama 2 (Touvron et al. 2023, table 27): 1 slightly, 2 clearly,
    3 far better; 0, which changes no loss, where nobody asked.
    """
    limits = RowLimits(selection, counts)
    for page in pages(session):
        query = _choices(page, selection, options).order_by(_A.problem_id, Annotation.annotation_id)
        for row in session.execute(query).all():
            counts.n_read += 1
            a, b = _side(row, "a"), _side(row, "b")
            texts = whole_text(a, options.text), whole_text(b, options.text)
            licence = joint_licence([a.licence, b.licence])
            source = row.annotation_source or source_name(a, b)
            if row.choice in ("equal", "both_bad"):
                counts.dropped["tie"] += 1
                tie = {"prompt": row.statement, "a": texts[0], "b": texts[1], "choice": row.choice}
                yield SetRow(row.family, tie, source, licence, is_aside=True)
                continue
            chosen, rejected = texts if row.choice == "a" else reversed(texts)
            if not chosen or not rejected:
                counts.dropped["empty"] += 1
            elif chosen == rejected:
                counts.dropped["equal_texts"] += 1
            elif limits.takes(row.problem_id, row.annotator_id, chosen, rejected):
                cells: dict[str, Any] = {"prompt": row.statement, "chosen": chosen, "rejected": rejected}
                if with_margin:
                    cells["margin"] = float(row.strength or 0)
                yield SetRow(row.family, cells, source, licence, trust=row.reference_trust)


def outcome_rows(
    session: Session, selection: Selection, options: PreferenceOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields right-over-wrong pairs of each problem's distinct texts, ordered by problem.

    Which pairs are drawn depends on the seed and the texts alone, not on ids: the smallest hashes win.
    """
    limits = RowLimits(selection, counts)
    for page in pages(session):
        found = session.execute(solutions_of_page(page, selection)).all()
        for problem_id, group in groupby(found, key=lambda row: row.problem_id):
            known = [row for row in group if row.outcome is not None and whole_text(row, options.text)]
            right = [row for row in known if row.outcome]
            wrong = [row for row in known if not row.outcome]
            counts.n_read += len(right) * len(wrong)
            if not right or not wrong:
                counts.more["problems_without_pairs"] += 1
                continue
            if not selection.keep_duplicates:
                n_before = len(right) * len(wrong)
                right, wrong = _distinct(right, options.text), _distinct(wrong, options.text)
                counts.dropped["duplicate"] += n_before - len(right) * len(wrong)
            pairs = _drawn(right, wrong, options)
            counts.dropped["over_max_pairs_per_problem"] += len(right) * len(wrong) - len(pairs)
            for chosen, rejected in pairs:
                texts = whole_text(chosen, options.text), whole_text(rejected, options.text)
                if texts[0] == texts[1]:
                    counts.dropped["equal_texts"] += 1
                elif limits.takes(problem_id, *texts):
                    yield SetRow(
                        family=chosen.family,
                        row={"prompt": chosen.statement, "chosen": texts[0], "rejected": texts[1]},
                        source=source_name(chosen, rejected),
                        licence=joint_licence([chosen.licence, rejected.licence]),
                        trust=chosen.reference_trust,
                    )


def first_error_rows(
    session: Session, selection: Selection, options: PreferenceOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields pairs of each problem's distinct texts in which one solution goes right for longer, by step labels.

    A solution without a wrong step goes right to its end. Of two with a wrong step, the better one has more right
    steps before it, and a larger share of its steps; where these two disagree, or are equal, there is no pair.
    Solutions whose labellers differ on the first error are left out, as are those that were not labelled to an end.
    """
    limits = RowLimits(selection, counts)
    for page in pages(session):
        first_errors: dict[int, set[int | None]] = {}
        for solution_id, first_error in session.execute(_first_errors(page, selection, options)):
            first_errors.setdefault(solution_id, set()).add(first_error)
        rows = session.execute(solutions_of_page(page, selection)).all()
        for problem_id, group in groupby(rows, key=lambda row: row.problem_id):
            labelled: dict[str, tuple[Any, tuple[float, float]]] = {}
            for row in group:
                said = first_errors.get(row.solution_id)
                text = whole_text(row, options.text)
                if said is None or not row.steps or not text:
                    continue
                if len(said) > 1:
                    counts.more["solutions_with_labellers_who_differ"] += 1
                    continue
                (first_error,) = said
                n_right = math.inf if first_error is None else first_error
                labelled.setdefault(text, (row, (n_right, n_right / len(row.steps))))
            pairs = []
            for (left, one), (right, other) in combinations(labelled.values(), 2):
                counts.n_read += 1
                if one[0] > other[0] and one[1] > other[1]:
                    pairs.append((left, right))
                elif one[0] < other[0] and one[1] < other[1]:
                    pairs.append((right, left))
                else:
                    counts.dropped["neither_right_for_longer"] += 1
            drawn = heapq.nsmallest(
                options.max_pairs_per_problem, pairs, key=lambda pair: _lot(pair[0], pair[1], options.seed)
            )
            counts.dropped["over_max_pairs_per_problem"] += len(pairs) - len(drawn)
            for chosen, rejected in drawn:
                texts = whole_text(chosen, options.text), whole_text(rejected, options.text)
                if limits.takes(problem_id, *texts):
                    yield SetRow(
                        family=chosen.family,
                        row={"prompt": chosen.statement, "chosen": texts[0], "rejected": texts[1]},
                        source=source_name(chosen, rejected),
                        licence=joint_licence([chosen.licence, rejected.licence]),
                    )


def _first_errors(page: Page, selection: Selection, options: PreferenceOptions) -> sa.Select[int, int | None]:
    query = (
        sa.select(Annotation.solution_id, Annotation.first_error)
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(
            page.holds(Solution.problem_id),
            is_selected(selection),
            Annotation.superseded_by_id.is_(None),
            tells_first_error(),
            sa.or_(
                Annotation.first_error.is_not(None),
                Annotation.finish_reason == "solution",
            ),
        )
    )
    return _by_annotators(query, options)


def _lot(chosen: Any, rejected: Any, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{chosen.text_hash}:{rejected.text_hash}".encode()).digest()


def _distinct(rows: Sequence[Any], form: TextForm) -> list[Any]:
    first: dict[str, Any] = {}
    for row in rows:
        first.setdefault(whole_text(row, form), row)
    return list(first.values())


def _drawn(right: Sequence[Any], wrong: Sequence[Any], options: PreferenceOptions) -> list[tuple[Any, Any]]:
    """At most `max_pairs_per_problem` of all pairs, in the order of the solutions."""

    def lot(pair: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
        chosen, rejected = right[pair[0]], wrong[pair[1]]
        return _lot(chosen, rejected, options.seed), pair

    every = product(range(len(right)), range(len(wrong)))
    drawn = sorted(heapq.nsmallest(options.max_pairs_per_problem, every, key=lot))
    return [(right[i], wrong[j]) for i, j in drawn]


@dataclass(frozen=True, slots=True)
class _Solution:
    text: str
    steps: list[str]
    answer: str | None
    source: str | None
    run_id: int | None
    licence: str | None


def _side(row: Any, name: str) -> _Solution:
    return _Solution(*(getattr(row, f"{name}_{part}") for part in _Solution.__slots__))


def _choices(page: Page | None, selection: Selection, options: PreferenceOptions) -> sa.Select[*tuple[Any, ...]]:
    sides = [getattr(s, part).label(f"{name}_{part}") for name, s in (("a", _A), ("b", _B)) for part in _PARTS]
    query = (
        sa.select(
            _A.problem_id,
            Annotation.annotator_id,
            Annotation.source.label("annotation_source"),
            Preference.choice,
            Preference.strength,
            Problem.statement,
            Problem.family,
            Problem.reference_trust,
            *sides,
        )
        .select_from(_A)
        .join(Preference, Preference.solution_a_id == _A.solution_id)
        .join(_B, _B.solution_id == Preference.solution_b_id)
        .join(Annotation, Annotation.annotation_id == Preference.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .join(Problem, Problem.problem_id == _A.problem_id)
        .where(
            Annotation.superseded_by_id.is_(None),
            is_label_data(),
            is_selected(selection, _A),
            is_selected(selection, _B),
        )
    )
    if page is not None:
        query = query.where(page.holds(_A.problem_id))
    return _by_annotators(query, options)


_Query = TypeVar("_Query", bound=sa.Select[*tuple[Any, ...]])


def _by_annotators(query: _Query, options: PreferenceOptions) -> _Query:
    if options.annotators:
        query = query.where(Annotator.name.in_(options.annotators))
    if options.annotator_kinds:
        query = query.where(Annotator.kind.in_(options.annotator_kinds))
    return query


_PARTS = _Solution.__slots__
