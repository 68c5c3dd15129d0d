"""Rows of a preference set: from choices between two solutions, or derived from outcomes or from first errors."""

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, product
from operator import attrgetter
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.annotations import labels_of
from db.models import Annotation, Preference, Problem, Solution, TaskAdjudication
from db.selection import tells_first_error, unindexed
from exports.formats.columns import MARGIN, PREFERENCE, Column
from stepmark.errors import SettingsError

from .agreeing import AgreementTally
from .decisions import asks_about_steps, decided_pairs, decided_steps
from .labels import (
    EVERY_FILTER,
    NO_FILTER,
    LabelFilter,
    agreed,
    are_label_data,
    check_labels,
    flags_of,
    label_refusal,
    require_heeded,
)
from .pair_votes import PairCombination, Together, Vote, together
from .selection import (
    Counts,
    Page,
    ProblemText,
    RowLimits,
    Selection,
    SetRow,
    TextForm,
    TrainingSet,
    WholeSolution,
    is_selected,
    joint_licence,
    licence_refusal,
    pages,
    problem_texts,
    source_name,
    trace_of,
    whole_solutions,
    whole_text,
)

_A, _B = aliased(Solution), aliased(Solution)


Origin = Literal["preferences", "outcomes", "first-errors"]

HEEDED: Mapping[str, frozenset[str]] = {
    "preferences": EVERY_FILTER,
    "outcomes": NO_FILTER,
    "first-errors": EVERY_FILTER,
}
"""Fields of the filter of labels that pairs of each origin heed."""


@dataclass(frozen=True, slots=True)
class PreferenceOptions(LabelFilter):
    """Where the pairs come from, beside whose labels count."""

    origin: Origin = "preferences"
    labellers: PairCombination = "each"
    """From preferences: a row for each labeller's choice; or one for each pair, by the majority of its labellers, or
    by the share of them, which is the margin."""
    text: TextForm = "steps"
    max_pairs_per_problem: int = 16
    """From outcomes or first errors: pairs of one problem at most, drawn with the seed."""
    seed: int = 0


def preference_set(selection: Selection, options: PreferenceOptions | None = None) -> TrainingSet:
    """Pairs of a better and a worse solution.

    Raises:
        SettingsError: Labellers are to be taken together, and the pairs are not theirs; or something is asked of
            labels that such pairs do not heed.
    """
    chosen = options or PreferenceOptions()
    what = "pairs from outcomes follow from no labels, so nothing chooses among labels"
    require_heeded(chosen, HEEDED[chosen.origin], what)
    if chosen.labellers != "each" and chosen.origin != "preferences":
        raise SettingsError(
            f"--labellers {chosen.labellers} makes one pair of several labellers' choices, and pairs from "
            f"{chosen.origin} are nobody's choices; leave it out, or take --from preferences"
        )

    def columns(session: Session) -> tuple[Column, ...]:
        return (*PREFERENCE, MARGIN) if has_margins(session, selection, chosen) else PREFERENCE

    def rows(session: Session, columns: tuple[Column, ...], counts: Counts) -> Iterator[SetRow]:
        check_labels(session, chosen)
        if chosen.origin == "outcomes":
            return outcome_rows(session, selection, chosen, counts)
        if chosen.origin == "first-errors":
            return first_error_rows(session, selection, chosen, counts)
        if chosen.labellers != "each":
            return together_rows(session, selection, chosen, counts, with_margin=MARGIN in columns)
        return choice_rows(session, selection, chosen, counts, with_margin=MARGIN in columns)

    return TrainingSet("preference", selection, flags_of(chosen, heeded=HEEDED[chosen.origin]), rows, columns)


def has_margins(session: Session, selection: Selection, options: PreferenceOptions) -> bool:
    """Whether any selected choice has a strength, or shares are asked for; all rows of the set then have a margin."""
    if options.origin != "preferences":
        return False
    if options.labellers == "share":
        return True
    strong = _choices(None, selection, options).where(
        Preference.strength.is_not(None), Preference.choice.in_(("a", "b")), label_refusal(options).is_(None)
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
    agreement = AgreementTally(("first", "second", None), is_ordinal=False)
    for page in pages(session):
        query = _choices(page, selection, options).order_by(_A.problem_id, Annotation.annotation_id)
        found = session.execute(query).all()
        decided = {} if options.adjudicated == "ignore" else decided_pairs(session, page)
        votes = _votes(found)
        for pair, of_pair in votes.items():
            side = {pair[0]: "first", pair[1]: "second"}
            agreement.see(None if one is None else side[one] for one in of_pair.elements())
        done: set[int] = set()
        for row in found:
            by: list[tuple[int | None, int]] = [(row.annotation_id, row.annotator_id)]
            choice, strength = row.choice, row.strength
            rule = "choice of one"
            decision = decided.get(row.task_id)
            if row.task_id in done:
                counts.more["choices_decided_by_a_reviewer"] += 1
                continue
            counts.n_read += 1
            refusal = row.refusal
            if refusal is None and decision is not None:
                done.add(row.task_id)
                by, choice, strength = [(decision.adopted_from_id, decision.annotator_id)], decision.choice, None
                adopted = next((one for one in found if one.annotation_id == decision.adopted_from_id), None)
                strength, rule = None if adopted is None else adopted.strength, "a reviewer's decision"
            elif refusal is None and options.adjudicated == "only":
                refusal = "not_adjudicated"
            elif refusal is None and options.looks_at_others:
                refusal = _poor(votes[_key_of(row)], options)
            a, b = _side(row, "a"), _side(row, "b")
            texts = whole_text(a, options.text), whole_text(b, options.text)
            licence = joint_licence([a.licence, b.licence])
            refusal = refusal or licence_refusal(selection, licence)
            source = row.annotation_source or source_name(a, b)
            trace = trace_of(a, b) | {"rule": rule}
            if refusal is not None:
                counts.dropped[refusal] += 1
                continue
            if choice in ("equal", "both_bad"):
                counts.dropped["tie"] += 1
                tie = {"prompt": row.statement, "a": texts[0], "b": texts[1], "choice": choice}
                yield _labelled(SetRow(row.family, tie, source, licence, is_aside=True, trace=trace), by)
                continue
            chosen, rejected = texts if choice == "a" else reversed(texts)
            if not chosen or not rejected:
                counts.dropped["empty"] += 1
            elif chosen == rejected:
                counts.dropped["equal_texts"] += 1
            elif limits.takes(row.problem_id, by[0][1], chosen, rejected):
                cells: dict[str, Any] = {"prompt": row.statement, "chosen": chosen, "rejected": rejected}
                if with_margin:
                    cells["margin"] = float(strength or 0)
                found_row = SetRow(row.family, cells, source, licence, trust=row.reference_trust, trace=trace)
                yield _labelled(found_row, by)
    counts.agreement = agreement.measures()
    counts.more["pairs_of_several_labellers"] = agreement.n_units


def together_rows(
    session: Session, selection: Selection, options: PreferenceOptions, counts: Counts, *, with_margin: bool
) -> Iterator[SetRow]:
    """Yields one row for each pair of solutions, of all its labellers together, ordered by problem and pair.

    Of several choices by one labeller the latest counts. A reviewer's decision goes before them, the latest one where
    there are several; its margin is the strength of the choice that was adopted, or with `share` 1. Pairs of which
    their labellers make no choice stand aside as ties.
    """
    limits = RowLimits(selection, counts)
    agreement = AgreementTally(("first", "second", None), is_ordinal=False)
    for page in pages(session):
        query = _choices(page, selection, options).order_by(_A.problem_id, Annotation.annotation_id)
        pairs: dict[tuple[int, tuple[int, int]], list[Any]] = {}
        for row in session.execute(query):
            pairs.setdefault((row.problem_id, _key_of(row)), []).append(row)
        decided = {} if options.adjudicated == "ignore" else decided_pairs(session, page)
        for (problem_id, pair), rows in sorted(pairs.items(), key=lambda one: one[0]):
            counts.n_read += 1
            for row in rows:
                if row.refusal is not None:
                    counts.more[f"labels_{row.refusal}"] += 1
            latest = {row.annotator_id: row for row in rows if row.refusal is None}
            votes = {who: Vote(_chosen_of(row), row.strength) for who, row in latest.items()}
            names = {pair[0]: "first", pair[1]: "second", None: None}
            agreement.see(names[vote.chosen_id] for vote in votes.values())
            row, task_ids = rows[0], {row.task_id for row in latest.values()}
            decision = max(
                (decision for task_id, decision in decided.items() if task_id in task_ids),
                key=attrgetter("created_at"),
                default=None,
            )
            by: list[tuple[int | None, int]] = [(one.annotation_id, who) for who, one in latest.items()]
            rule = f"{options.labellers} of {len(votes)}"
            refusal = None if votes else Counter(one.refusal for one in rows).most_common(1)[0][0]
            found = together(votes.values(), options.labellers) if votes else None
            if refusal is None and decision is not None:
                counts.more["pairs_decided_by_a_reviewer"] += 1
                by, rule = [(decision.adopted_from_id, decision.annotator_id)], "a reviewer's decision"
                found = _as_decided(decision, rows, options)
            elif refusal is None and options.adjudicated == "only":
                refusal = "not_adjudicated"
            elif refusal is None and options.looks_at_others:
                refusal = _poor(Counter(vote.chosen_id for vote in votes.values()), options)
            sides = {side.solution_id: side for side in (_side(row, "a"), _side(row, "b"))}
            both = [sides[key] for key in pair]
            licence = joint_licence([side.licence for side in both])
            refusal = refusal or licence_refusal(selection, licence)
            if refusal is not None or found is None:
                counts.dropped[refusal or "no_majority"] += 1
                continue
            source = row.annotation_source or source_name(*both)
            trace = trace_of(*both) | {"rule": rule}
            texts = {key: whole_text(side, options.text) for key, side in sides.items()}
            if found.chosen_id is None:
                counts.dropped[found.why] += 1
                tie = {"prompt": row.statement, "a": texts[pair[0]], "b": texts[pair[1]], "choice": found.why}
                yield _labelled(SetRow(row.family, tie, source, licence, is_aside=True, trace=trace), by)
                continue
            rejected_id = pair[1] if found.chosen_id == pair[0] else pair[0]
            chosen, rejected = texts[found.chosen_id], texts[rejected_id]
            if not chosen or not rejected:
                counts.dropped["empty"] += 1
            elif chosen == rejected:
                counts.dropped["equal_texts"] += 1
            elif limits.takes(problem_id, chosen, rejected):
                cells: dict[str, Any] = {"prompt": row.statement, "chosen": chosen, "rejected": rejected}
                if with_margin:
                    cells["margin"] = found.margin or 0.0
                made = SetRow(row.family, cells, source, licence, trust=row.reference_trust, trace=trace)
                yield _labelled(made, by)
    counts.agreement = agreement.measures()
    counts.more["pairs_of_several_labellers"] = agreement.n_units


def _chosen_of(row: Any) -> int | None:
    """The solution that a choice holds the better one; None: neither."""
    return {"a": row.a_solution_id, "b": row.b_solution_id}.get(row.choice)


def _as_decided(decision: TaskAdjudication, rows: Sequence[Any], options: PreferenceOptions) -> Together:
    """A reviewer's decision, whose sides are those of its task's choices."""
    of_task = next(row for row in rows if row.task_id == decision.task_id)
    sides = {"a": of_task.a_solution_id, "b": of_task.b_solution_id}
    chosen_id = sides.get(decision.choice or "")
    if chosen_id is None:
        return Together(None, why="tie")
    adopted = next((row for row in rows if row.annotation_id == decision.adopted_from_id), None)
    strength = None if adopted is None else adopted.strength
    return Together(chosen_id, 1.0 if options.labellers == "share" else strength)


def _key_of(row: Any) -> tuple[int, int]:
    """The pair of a choice, whichever of the two stands first."""
    return min(row.a_solution_id, row.b_solution_id), max(row.a_solution_id, row.b_solution_id)


def _votes(choices: Sequence[Any]) -> dict[tuple[int, int], Counter[int | None]]:
    """Which solution of each pair how many chose; None: neither."""
    votes: dict[tuple[int, int], Counter[int | None]] = {}
    for row in choices:
        if row.refusal is None:
            side = {"a": row.a_solution_id, "b": row.b_solution_id}.get(row.choice)
            votes.setdefault(_key_of(row), Counter())[side] += 1
    return votes


def _poor(votes: Counter[int | None], options: LabelFilter) -> str | None:
    """Why a pair has too little agreement; None where it has enough."""
    if votes.total() < options.min_labellers:
        return "by_too_few"
    return "disputed" if max(votes.values()) < options.min_agreement * votes.total() else None


def outcome_rows(
    session: Session, selection: Selection, options: PreferenceOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields right-over-wrong pairs of each problem's distinct texts, ordered by problem.

    Which pairs are drawn depends on the seed and the texts alone, not on ids: the smallest hashes win.
    """
    limits = RowLimits(selection, counts)
    for page in pages(session):
        found = whole_solutions(session, page, selection, options.text)
        problems = problem_texts(session, {row.problem_id for row in found})
        for problem_id, group in groupby(found, key=attrgetter("problem_id")):
            known = [row for row in group if row.outcome is not None and row.text]
            right = [row for row in known if row.outcome]
            wrong = [row for row in known if not row.outcome]
            counts.n_read += len(right) * len(wrong)
            if not right or not wrong:
                counts.more["problems_without_pairs"] += 1
                continue
            if not selection.keep_duplicates:
                n_before = len(right) * len(wrong)
                right, wrong = _distinct(right), _distinct(wrong)
                counts.dropped["duplicate"] += n_before - len(right) * len(wrong)
            pairs = _drawn(right, wrong, options)
            counts.dropped["over_max_pairs_per_problem"] += len(right) * len(wrong) - len(pairs)
            for chosen, rejected in pairs:
                licence = joint_licence([chosen.licence, rejected.licence])
                if chosen.text == rejected.text:
                    counts.dropped["equal_texts"] += 1
                elif (refusal := licence_refusal(selection, licence)) is not None:
                    counts.dropped[refusal] += 1
                elif limits.takes(problem_id, chosen.text, rejected.text):
                    yield _pair(problems[problem_id], chosen, rejected, "right over wrong outcome")


def first_error_rows(
    session: Session, selection: Selection, options: PreferenceOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields pairs of each problem's distinct texts in which one solution goes right for longer, by step labels.

    A solution without a wrong step goes right to its end. Of two with a wrong step, the better one has more right
    steps before it, and a larger share of its steps; where these two disagree, or are equal, there is no pair.
    Solutions whose labellers differ on the first error (`agreed`) are left out, as are those that were not
    labelled to an end. A reviewer's decision on a step goes before every label of it.
    """
    limits = RowLimits(selection, counts)
    is_decided = asks_about_steps(session, options)
    for page in pages(session):
        given: dict[int, list[Any]] = {}
        for found in session.execute(_first_errors(page, selection, options)):
            if found.refusal is not None:
                counts.more[f"labels_{found.refusal}"] += 1
            else:
                given.setdefault(found.solution_id, []).append(found)
        decided = decided_steps(session, page) if is_decided else {}
        touched = [found.annotation_id for solution_id in decided for found in given.get(solution_id, ())]
        labels, _ = labels_of(session, touched)
        labellers: dict[int, list[tuple[int, int]]] = {}
        rows = whole_solutions(session, page, selection, options.text)
        problems = problem_texts(session, {row.problem_id for row in rows})
        for problem_id, group in groupby(rows, key=attrgetter("problem_id")):
            labelled: dict[str, tuple[WholeSolution, tuple[float, float]]] = {}
            for row in group:
                said = given.get(row.solution_id, [])
                if not said or not row.n_steps or not row.text:
                    continue
                by_reviewer = decided.get(row.solution_id, {})
                if options.adjudicated == "only" and not by_reviewer:
                    counts.more["solutions_not_adjudicated"] += 1
                    continue
                known = _known_errors(said, by_reviewer, labels, row.n_steps)
                if not known:
                    counts.more["solutions_unlabelled_after_a_decision"] += 1
                    continue
                by_all = agreed([error for _, error in known], options)
                if by_all is None:
                    counts.more["solutions_with_labellers_who_differ"] += 1
                    continue
                labellers[row.solution_id] = [(one.annotation_id, one.annotator_id) for one, _ in known]
                if len({who for _, who in labellers[row.solution_id]}) < options.min_labellers:
                    counts.more["solutions_by_too_few"] += 1
                    continue
                (first_error,) = by_all
                n_right = math.inf if first_error is None else first_error
                labelled.setdefault(row.text, (row, (n_right, n_right / row.n_steps)))
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
                licence = joint_licence([chosen.licence, rejected.licence])
                if (refusal := licence_refusal(selection, licence)) is not None:
                    counts.dropped[refusal] += 1
                elif limits.takes(problem_id, chosen.text, rejected.text):
                    rule = "right for longer by step labels"
                    if {chosen.solution_id, rejected.solution_id} & decided.keys():
                        rule += ", after a reviewer"
                    pair = _pair(problems[problem_id], chosen, rejected, rule)
                    by = [*labellers[chosen.solution_id], *labellers[rejected.solution_id]]
                    yield _labelled(pair, by)


def _known_errors(
    said: Sequence[Any], decided: Mapping[int, int], labels: Mapping[int, Mapping[int, int]], n_steps: int
) -> list[tuple[Any, int | None]]:
    """Annotations with their first errors; without those that tell none where a reviewer decided otherwise."""
    if not decided:
        return [(one, one.first_error) for one in said]
    found = []
    for one in said:
        is_right = one.first_error is None
        error = first_error_after(decided, labels.get(one.annotation_id, {}), n_steps, is_right=is_right)
        if error is not None:
            found.append((one, error[0]))
    return found


def first_error_after(
    decided: Mapping[int, int], labels: Mapping[int, int], n_steps: int, *, is_right: bool
) -> tuple[int | None] | None:
    """The first error by a labeller's labels, where a reviewer's decisions go before them, as the only member.

    None where the labels end before one is known, because the step at which they ended is not wrong after all.

    Args:
        decided: What a reviewer said, by step.
        labels: What the labeller said, by step.
        n_steps: Steps of the solution.
        is_right: Whether the labeller found no error, and so said as much of steps without a label.

    >>> first_error_after({1: -1}, {0: 1, 1: 1, 2: 1}, 3, is_right=True)
    (1,)
    >>> first_error_after({1: 1}, {0: 1, 1: -1}, 3, is_right=False)
    >>> first_error_after({2: 1}, {0: 1, 1: 1, 2: -1}, 3, is_right=False)
    (None,)
    """
    together = {**labels, **decided}
    for index in range(n_steps):
        label = together.get(index)
        if label == -1:
            return (index,)
        if label is None and not is_right:
            return None
    return (None,)


def _pair(problem: ProblemText, chosen: WholeSolution, rejected: WholeSolution, rule: str) -> SetRow:
    return SetRow(
        family=problem.family,
        row={"prompt": problem.statement, "chosen": chosen.text, "rejected": rejected.text},
        source=source_name(chosen, rejected),
        licence=joint_licence([chosen.licence, rejected.licence]),
        trust=problem.trust,
        trace=trace_of(chosen, rejected) | {"rule": rule},
    )


def _labelled(row: SetRow, by: Sequence[tuple[int | None, int]]) -> SetRow:
    """The row with the annotations and annotators that it follows from; a reviewer may have adopted nobody's."""
    given = [one for one, _ in by if one is not None]
    row.trace = {**row.trace, "annotation_ids": given, "annotator_ids": [who for _, who in by]}
    return row


def _first_errors(page: Page, selection: Selection, options: PreferenceOptions) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            Annotation.solution_id,
            Annotation.first_error,
            label_refusal(options).label("refusal"),
            Annotation.annotation_id,
            Annotation.annotator_id,
        )
        .join(Solution, Solution.solution_id == Annotation.solution_id)
        .where(
            page.holds(Solution.problem_id),
            is_selected(selection),
            unindexed(Annotation.superseded_by_id).is_(None),
            tells_first_error(),
            sa.or_(
                Annotation.first_error.is_not(None),
                Annotation.finish_reason == "solution",
            ),
        )
        .order_by(Annotation.annotation_id)
    )


def _lot(chosen: Any, rejected: Any, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{chosen.text_hash}:{rejected.text_hash}".encode()).digest()


def _distinct(rows: Sequence[WholeSolution]) -> list[WholeSolution]:
    first: dict[str, WholeSolution] = {}
    for row in rows:
        first.setdefault(row.text, row)
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
    problem_id: int
    solution_id: int
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
            Annotation.annotation_id,
            Annotation.annotator_id,
            Annotation.task_id,
            label_refusal(options).label("refusal"),
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
        .join(Problem, Problem.problem_id == _A.problem_id)
        .where(
            *are_label_data(),
            is_selected(selection, _A),
            is_selected(selection, _B),
        )
    )
    return query if page is None else query.where(page.holds(_A.problem_id))


_PARTS = _Solution.__slots__
