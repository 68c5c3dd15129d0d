"""Pairs for a preference set that nobody chose as such: from a reward model's scores, and from labels of steps.

- `scores`: of two solutions of a problem, the one with the higher score; the margin is the difference.
- `shared-prefix`: two solutions that share their first steps, all of them right, and whose next step is right in one
  and wrong in the other (Step-DPO, Lai et al. 2024; there the wrong step's correction is sampled).
- `alternatives`: a right and a wrong candidate for one step, as PRM800K rates them.

Of the last two, both texts end in the step that differs.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Alternative, AlternativeLabel, Annotation, Problem, Score, Solution, StepLabel
from exports.formats.columns import MARGIN, PREFERENCE, Column
from stepmark.errors import InputError, SettingsError
from stepmark.steps import render_answer, render_prefix, render_solution

from .decisions import asks_about_steps, decided_steps
from .labels import (
    BY_ANNOTATION,
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

DerivedOrigin = Literal["scores", "shared-prefix", "alternatives"]

HEEDED: Mapping[str, frozenset[str]] = {
    "scores": NO_FILTER,
    "shared-prefix": EVERY_FILTER,
    "alternatives": BY_ANNOTATION,
}
"""Fields of the filter of labels that pairs of each origin heed."""
_WHY_NO_MORE: dict[DerivedOrigin, str] = {
    "scores": "pairs from scores follow from no labels, so nothing chooses among labels",
    "shared-prefix": "pairs from shared-prefix heed every filter",
    "alternatives": "pairs from alternatives are each by one labeller",
}


@dataclass(frozen=True, slots=True)
class DerivedPairOptions(LabelFilter):
    """Where the pairs come from, beside whose labels count."""

    origin: DerivedOrigin = "scores"
    text: TextForm = "steps"
    """Whole solutions, of `scores`."""
    reward_model: str | None = None
    """Whose scores."""
    tie: float = 0.0
    """Scores that differ by no more than this are a tie."""
    max_pairs_per_problem: int = 16
    """Drawn with the seed."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Text:
    """One side of a pair."""

    text: str
    solution: Any
    labels: tuple[tuple[int, int], ...] = ()
    """What it was judged by: each annotation with its annotator."""
    is_decided: bool = False
    """Whether a reviewer decided on one of its steps, whatever they said."""


def derived_pair_set(selection: Selection, options: DerivedPairOptions) -> TrainingSet:
    """Pairs of a better and a worse text.

    Raises:
        SettingsError: Pairs from scores, and no reward model is named; or something is asked of labels that such
            pairs do not heed.
    """
    require_heeded(options, HEEDED[options.origin], _WHY_NO_MORE[options.origin])
    if (options.origin == "scores") != (options.reward_model is not None):
        raise SettingsError(
            "pairs from scores need the name of a reward model (--reward-model), and others take none"
        )
    rows = {"scores": score_rows, "shared-prefix": shared_prefix_rows, "alternatives": alternative_pair_rows}
    columns: tuple[Column, ...] = (*PREFERENCE, MARGIN) if options.origin == "scores" else PREFERENCE

    def found(session: Session, _: tuple[Column, ...], counts: Counts) -> Iterator[SetRow]:
        check_labels(session, options)
        return rows[options.origin](session, selection, options, counts)

    flags = flags_of(options, heeded=HEEDED[options.origin])
    return TrainingSet("preference", selection, flags, found, lambda session: columns)


def score_rows(
    session: Session, selection: Selection, options: DerivedPairOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields pairs of each problem's distinct texts, the higher score chosen, ordered by problem.

    Raises:
        InputError: Nothing was scored by that reward model.
    """
    _check_reward_model(session, options.reward_model)
    limits = RowLimits(selection, counts)
    for page in pages(session):
        query = _solutions(page, selection, Score.value).join(Score, Score.solution_id == Solution.solution_id)
        rows = session.execute(query.where(Score.reward_model == options.reward_model)).all()
        for problem_id, group in groupby(rows, key=lambda row: row.problem_id):
            sides: dict[str, _Text] = {}
            for row in group:
                if text := whole_text(row, options.text):
                    sides.setdefault(text, _Text(text, row))
            n_pairs = len(sides) * (len(sides) - 1) // 2
            pairs = (
                (one, other) if one.solution.value > other.solution.value else (other, one)
                for one, other in combinations(sides.values(), 2)
                if abs(one.solution.value - other.solution.value) > options.tie
            )
            drawn, n_apart = _drawn(pairs, options)
            counts.n_read += n_pairs
            counts.dropped["tie"] += n_pairs - n_apart
            counts.dropped["over_max_pairs_per_problem"] += n_apart - len(drawn)
            for chosen, rejected in drawn:
                if limits.takes(problem_id, chosen.text, rejected.text):
                    margin = chosen.solution.value - rejected.solution.value
                    yield _set_row(chosen, rejected, f"scores of {options.reward_model}", margin=margin)


def shared_prefix_rows(
    session: Session, selection: Selection, options: DerivedPairOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields pairs of a right and a wrong step after the same right steps, ordered by problem.

    A step on which labellers differ (`agreed`) ends what is known of its solution, as does one that is neutral,
    unjudged, or judged by too few. A reviewer's decision on a step goes before all of them.
    """
    limits = RowLimits(selection, counts)
    is_decided = asks_about_steps(session, options)
    for page in pages(session):
        decided = decided_steps(session, page) if is_decided else {}
        who: dict[int, int] = {}
        labels = step_labels(session, page, selection, options, counts.more, who)
        rows = session.execute(_solutions(page, selection)).all()
        for problem_id, group in groupby(rows, key=lambda row: row.problem_id):
            nexts: dict[tuple[str, ...], tuple[dict[str, _Text], dict[str, _Text]]] = {}
            for row in group:
                said = labels.get(row.solution_id, {})
                by_reviewer = decided.get(row.solution_id, {})
                if said and options.adjudicated == "only" and not by_reviewer:
                    counts.more["solutions_not_adjudicated"] += 1
                    continue
                is_touched = False
                for index, step in enumerate(row.steps):
                    given = said.get(index, {})
                    together = agreed(given.values(), options) if given else (None,)
                    decision = by_reviewer.get(index) if said else None
                    if decision is not None:
                        together, is_touched = (decision,), True
                    if together not in ((1,), (-1,)):
                        counts.more["solutions_with_labellers_who_differ"] += together is None
                        break
                    n_labellers = len({who[annotation_id] for annotation_id in given})
                    if decision is None and n_labellers < options.min_labellers:
                        counts.more["solutions_with_a_step_by_too_few"] += 1
                        break
                    is_right = together == (1,)
                    by = tuple((annotation_id, who[annotation_id]) for annotation_id in sorted(given))
                    side = _Text(render_solution(row.steps[: index + 1], None), row, by, is_touched)
                    right, wrong = nexts.setdefault(tuple(row.steps[:index]), ({}, {}))
                    (right if is_right else wrong).setdefault(step, side)
                    if not is_right:
                        break
            every = [pair for right, wrong in nexts.values() for pair in _crossed(right, wrong)]
            yield from _limited(problem_id, every, options, limits, counts, rule="step labels")


def alternative_pair_rows(
    session: Session, selection: Selection, options: DerivedPairOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields pairs of a right and a wrong candidate for a step by one labeller, ordered by problem.

    The solution's own step is a candidate too, where the same labeller judged it. Candidates after a step that this
    labeller found wrong are left out.
    """
    limits = RowLimits(selection, counts)
    for page in pages(session):
        labels = step_labels(session, page, selection, options)
        found = session.execute(labelled_alternatives(page, selection, options)).all()
        _count_refused(found, counts.more)
        rows = [row for row in found if row.refusal is None]
        for problem_id, of_problem in groupby(rows, key=lambda row: row.problem_id):
            every: list[tuple[_Text, _Text]] = []
            for (_, index, annotation_id), group in groupby(
                of_problem, key=lambda row: (row.solution_id, row.step_index, row.annotation_id)
            ):
                candidates = list(group)
                solution = candidates[0]
                by = ((annotation_id, solution.annotator_id),)
                own = {
                    place: label
                    for place, given in labels.get(solution.solution_id, {}).items()
                    for who, label in given.items()
                    if who == annotation_id
                }
                if any(own.get(place) == -1 for place in range(index)):
                    counts.more["candidates_after_an_error"] += len(candidates)
                    continue
                prefix = render_prefix(solution.steps[:index])
                sides: tuple[dict[str, _Text], dict[str, _Text]] = ({}, {})
                if index < len(solution.steps) and own.get(index) in (1, -1):
                    text = render_solution(solution.steps[: index + 1], None)
                    sides[0 if own[index] == 1 else 1][text] = _Text(text, solution, by)
                for one in candidates:
                    if one.label == 0:
                        continue
                    text = prefix + candidate_text(one.alternative, index, is_answer=one.is_answer)
                    sides[0 if one.label == 1 else 1].setdefault(text, _Text(text, one, by))
                every += _crossed(*sides)
            yield from _limited(problem_id, every, options, limits, counts, rule="labels of alternatives")


def candidate_text(text: str, index: int, *, is_answer: bool) -> str:
    r"""A candidate for a step as it is rendered.

    >>> candidate_text("9 + 7 = 16", 1, is_answer=False), candidate_text("16", 1, is_answer=True)
    ('Step 2: 9 + 7 = 16', '# Answer\n\n16')
    """
    return render_answer(text) if is_answer else f"Step {index + 1}: {text}"


def _count_refused(rows: Iterable[Any], more: Counter[str]) -> None:
    """Counts the annotations that do not count, each once, by reason."""
    for reason in {row.annotation_id: row.refusal for row in rows if row.refusal is not None}.values():
        more[f"labels_{reason}"] += 1


def _limited(
    problem_id: int,
    every: list[tuple[_Text, _Text]],
    options: DerivedPairOptions,
    limits: RowLimits,
    counts: Counts,
    *,
    rule: str,
) -> Iterator[SetRow]:
    counts.n_read += len(every)
    drawn, _ = _drawn(every, options)
    counts.dropped["over_max_pairs_per_problem"] += len(every) - len(drawn)
    for chosen, rejected in drawn:
        if chosen.text == rejected.text:
            counts.dropped["equal_texts"] += 1
        elif limits.takes(problem_id, chosen.text, rejected.text):
            is_decided = chosen.is_decided or rejected.is_decided
            yield _set_row(chosen, rejected, rule + (", after a reviewer" if is_decided else ""))


def _crossed(right: dict[str, _Text], wrong: dict[str, _Text]) -> list[tuple[_Text, _Text]]:
    return [(one, other) for one in right.values() for other in wrong.values()]


def _drawn(
    pairs: Iterable[tuple[_Text, _Text]], options: DerivedPairOptions
) -> tuple[list[tuple[_Text, _Text]], int]:
    """At most so many of the pairs, those with the smallest lots, in their order; and how many there were."""
    n = 0

    def numbered() -> Iterator[tuple[int, tuple[_Text, _Text]]]:
        nonlocal n
        for pair in pairs:
            yield n, pair
            n += 1

    drawn = heapq.nsmallest(
        options.max_pairs_per_problem, numbered(), key=lambda one: (_lot(one[1], options.seed), one[0])
    )
    return [pair for _, pair in sorted(drawn, key=lambda one: one[0])], n


def _lot(pair: tuple[_Text, _Text], seed: int) -> bytes:
    chosen, rejected = pair
    return hashlib.sha256(f"{seed}:{chosen.text}\0{rejected.text}".encode()).digest()


def _set_row(chosen: _Text, rejected: _Text, rule: str, *, margin: float | None = None) -> SetRow:
    solutions = [chosen.solution, rejected.solution]
    labels = dict.fromkeys((*chosen.labels, *rejected.labels))
    cells: dict[str, Any] = {
        "prompt": solutions[0].statement,
        "chosen": chosen.text,
        "rejected": rejected.text,
    }
    if margin is not None:
        cells["margin"] = margin
    return SetRow(
        family=solutions[0].family,
        row=cells,
        source=source_name(*solutions),
        licence=joint_licence([row.licence for row in solutions]),
        trust=solutions[0].reference_trust,
        trace={
            "problem_ids": [solutions[0].problem_id],
            "solution_ids": list(dict.fromkeys(row.solution_id for row in solutions)),
            "annotation_ids": [annotation_id for annotation_id, _ in labels],
            "annotator_ids": list(dict.fromkeys(annotator_id for _, annotator_id in labels)),
            "run_ids": list(dict.fromkeys(row.run_id for row in solutions if row.run_id is not None)),
            "sources": list(dict.fromkeys(row.source for row in solutions if row.source is not None)),
            "rule": rule,
        },
    )


def _solutions(page: Page, selection: Selection, *more: Any) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(*_OF_SOLUTION, *more)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .where(page.holds(Solution.problem_id), is_selected(selection))
        .order_by(Solution.problem_id, Solution.solution_id)
    )


_OF_SOLUTION = (
    Solution.solution_id,
    Solution.problem_id,
    Solution.text,
    Solution.steps,
    Solution.answer,
    Solution.source,
    Solution.run_id,
    Solution.licence,
    Problem.statement,
    Problem.family,
    Problem.reference_trust,
)


def step_labels(
    session: Session,
    page: Page,
    selection: Selection,
    options: LabelFilter,
    more: Counter[str] | None = None,
    labellers: dict[int, int] | None = None,
) -> dict[int, dict[int, dict[int, int]]]:
    """Labels by solution, step and annotation; none that count steps as a labeller split or merged them.

    Args:
        session: The database.
        page: Of which problems.
        selection: Of which solutions.
        options: Whose labels count.
        more: Where annotations that do not count are counted, by reason.
        labellers: Where the annotator of each annotation is noted.
    """
    query = (
        sa.select(
            Annotation.solution_id,
            StepLabel.step_index,
            StepLabel.annotation_id,
            StepLabel.label,
            Annotation.annotator_id,
            label_refusal(options).label("refusal"),
        )
        .select_from(Solution)
        .join(Annotation, Annotation.solution_id == Solution.solution_id)
        .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
        .where(
            page.holds(Solution.problem_id), is_selected(selection), Annotation.segments.is_(None), *are_label_data()
        )
    )
    found = session.execute(query).all()
    if more is not None:
        _count_refused(found, more)
    labels: dict[int, dict[int, dict[int, int]]] = {}
    for solution_id, index, annotation_id, label, annotator_id, refusal in found:
        if refusal is None:
            if labellers is not None:
                labellers[annotation_id] = annotator_id
            labels.setdefault(solution_id, {}).setdefault(index, {})[annotation_id] = label
    return labels


def labelled_alternatives(page: Page, selection: Selection, options: LabelFilter) -> sa.Select[*tuple[Any, ...]]:
    """Labels of alternatives with their solutions, ordered by problem, solution, step and labeller.

    `refusal` says why one does not count.
    """
    return (
        sa.select(
            *_OF_SOLUTION,
            Alternative.step_index,
            Alternative.text.label("alternative"),
            Alternative.is_answer,
            AlternativeLabel.label,
            AlternativeLabel.annotation_id,
            Annotation.annotator_id,
            label_refusal(options).label("refusal"),
        )
        .select_from(Alternative)
        .join(Solution, Solution.solution_id == Alternative.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .join(AlternativeLabel, AlternativeLabel.alternative_id == Alternative.alternative_id)
        .join(Annotation, Annotation.annotation_id == AlternativeLabel.annotation_id)
        .where(page.holds(Solution.problem_id), is_selected(selection), *are_label_data())
        .order_by(
            Solution.problem_id,
            Solution.solution_id,
            Alternative.step_index,
            AlternativeLabel.annotation_id,
            Alternative.alternative_id,
        )
    )


def _check_reward_model(session: Session, name: str | None) -> None:
    if session.scalar(sa.select(Score.score_id).where(Score.reward_model == name).limit(1)) is None:
        known = ", ".join(sorted(session.scalars(sa.select(Score.reward_model).distinct()))) or "none yet"
        raise InputError(f"no score is by a reward model named {name!r}; there are: {known}")
