"""The report on step labels: how far labellers agree, together, two by two, with gold and with themselves."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .alpha import krippendorff_alpha
from .coefficient import RESAMPLES, Coefficient
from .first_errors import FirstErrorAgreement, first_error_agreement
from .kappa import ac_of_tables, gwet_ac, raw_agreement
from .labels import LabelledSolutions, step_columns
from .tables import Floats, Ints, count_labels, n_shared, ordinal_weights, pair_tables

LABELS = (-1, 0, 1)
"""The scale; category k of the tables is `LABELS[k]`, whether anybody used it or not."""
_K = len(LABELS)


@dataclass(frozen=True, slots=True)
class StepAgreement:
    """How far labellers agree on steps. Intervals come from drawing solutions, whose steps belong together."""

    n_labellers: int
    n_solutions: int
    """Solutions with a label."""
    n_steps: int
    """Steps with a label; a final answer that is labelled counts as a step."""
    n_shared: int
    """Of these, steps with at least two labellers: what the figures are about."""
    n_labels: dict[int, int]
    """Labels by value."""
    raw: Coefficient
    alpha: Coefficient
    """Krippendorff's, ordinal."""
    alpha_nominal: Coefficient
    ac2: Coefficient
    """Gwet's, ordinal weights."""
    first_errors: FirstErrorAgreement
    n_undecided: int
    """Answers that leave open whether there is an error; they are not among the first errors."""


@dataclass(frozen=True, slots=True)
class TwoWay:
    """Agreement of one labeller with another, with all others, with gold or with its own earlier answers."""

    n: int
    """Steps that both labelled; with all others: pairs of labels."""
    raw: float | None
    """Share of equal labels; None of none."""
    ac2: float | None


@dataclass(frozen=True, slots=True)
class AnnotatorAgreement:
    """One labeller's figures."""

    annotator: str
    n_labels: int
    n_unsure: int
    others: TwoWay
    gold: TwoWay
    itself: TwoWay
    """Earlier and later labels of steps that it labelled again."""


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two labellers who share a step."""

    annotators: tuple[str, str]
    agreement: TwoWay


@dataclass(slots=True)
class Counted:
    """What was read, and what of it was left out, by reason."""

    n_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def n_kept(self) -> int:
        """What was not left out."""
        return self.n_read - self.dropped.total()

    def add(self, n_read: int, dropped: Counter[str]) -> None:
        """Counts more."""
        self.n_read += n_read
        self.dropped += dropped


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """All figures on the step labels of a selection."""

    total: StepAgreement
    by_source: dict[str, StepAgreement]
    """Empty where it was not asked for."""
    annotators: list[AnnotatorAgreement]
    """Labellers that have labels; gold is none of them."""
    pairs: list[PairAgreement]
    annotations: Counted
    labels: Counted
    """Labels of the annotations that were kept, gold's too."""


def report_agreement(
    chunks: Iterable[LabelledSolutions],
    annotators: Mapping[int, str],
    *,
    gold_id: int | None = None,
    by_source: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> AgreementReport:
    """Reports on step labels.

    Args:
        chunks: What was said; a solution stands in one chunk only.
        annotators: Names of all who occur in the chunks, by id.
        gold_id: The one whose labels are held to be right: every other labeller is compared with it, and it counts in
            no other figure.
        by_source: Report each source of solutions, too.
        resamples: Draws for the intervals; 0: none.
        seed: Of the draws.
    """
    total, sources = _Tally(sorted(annotators), gold_id), dict[str, _Tally]()
    for chunk in chunks:
        total.add(chunk)
        if by_source:
            for source, part in _split(chunk):
                sources.setdefault(source, _Tally(total.ids, gold_id)).add(part)
    names = [annotators[id_] for id_ in total.ids]
    return AgreementReport(
        total=total.figures(resamples, seed),
        by_source={source: sources[source].figures(resamples, seed) for source in sorted(sources)},
        annotators=total.annotators_of(names),
        pairs=total.pairs_of(names),
        annotations=total.annotations,
        labels=total.labels,
    )


def _split(chunk: LabelledSolutions) -> Iterator[tuple[str, LabelledSolutions]]:
    source_of = {one.annotation_id: one.source for one in chunk.annotations}
    for source in sorted(set(source_of.values())):
        yield (
            source,
            LabelledSolutions(
                [one for one in chunk.annotations if one.source == source],
                [label for label in chunk.labels if source_of.get(label.annotation_id) == source],
            ),
        )


class _Tally:
    """Takes chunks in, and keeps of them no more than the figures need."""

    def __init__(self, ids: list[int], gold_id: int | None) -> None:
        self.ids = ids
        self.annotations, self.labels = Counted(), Counted()
        self._gold = gold_id
        a = len(ids)
        self._pairs = np.zeros((a, a, _K, _K), dtype=np.int64)
        self._again = np.zeros((a, _K, _K), dtype=np.int64)
        self._labels_of, self._unsure_of = np.zeros(a, dtype=np.int64), np.zeros(a, dtype=np.int64)
        self._n_solutions = self._n_positioned = self._n_undecided = 0
        # By step: labels in each category, number of the solution. By answer: number of the solution, position.
        self._counts: list[Ints] = [np.zeros((0, _K), dtype=np.int64)]
        self._solutions: list[Ints] = [np.zeros(0, dtype=np.int64)]
        self._positions: list[Ints] = [np.zeros((0, 2), dtype=np.int64)]

    def add(self, chunk: LabelledSolutions) -> None:
        said = step_columns(chunk)
        who = np.searchsorted(self.ids, said.annotator_id)
        unit, category = _number(said.solution_id, said.step_index), said.label + 1
        a = len(self.ids)
        self._pairs += pair_tables(unit, who, category, n_labellers=a, n_categories=_K)
        self._labels_of += np.bincount(who, minlength=a)
        self._unsure_of += np.bincount(who[said.is_unsure], minlength=a)
        again = (np.searchsorted(self.ids, said.again[:, 0]) * _K + said.again[:, 1] + 1) * _K + said.again[:, 2] + 1
        self._again += np.bincount(again, minlength=a * _K * _K).reshape(a, _K, _K)

        counts = said.annotator_id != self._gold
        unit, solution = _number(unit[counts]), _number(said.solution_id[counts])
        _, first = np.unique(unit, return_index=True)
        self._counts.append(count_labels(unit, category[counts], _K).astype(np.uint16))
        self._solutions.append((solution[first] + self._n_solutions).astype(np.int32))
        self._n_solutions += _how_many(solution)

        answers = said.first_errors[said.first_errors[:, 1] != self._gold]
        positioned = _number(answers[:, 0])
        self._positions.append(np.column_stack([positioned + self._n_positioned, answers[:, 2]]))
        self._n_positioned += _how_many(positioned)
        self._n_undecided += said.n_undecided
        self.annotations.add(said.n_annotations, said.dropped_annotations)
        self.labels.add(len(said.label) + said.dropped_labels.total(), said.dropped_labels)

    def figures(self, resamples: int, seed: int) -> StepAgreement:
        counts = np.concatenate(self._counts).astype(np.int64)
        groups = np.concatenate(self._solutions)
        positions = np.concatenate(self._positions)
        drawing: dict[str, Any] = {"groups": groups, "resamples": resamples, "seed": seed}
        return StepAgreement(
            n_labellers=sum(1 for id_, n in zip(self.ids, self._labels_of, strict=True) if n and id_ != self._gold),
            n_solutions=self._n_solutions,
            n_steps=len(counts),
            n_shared=n_shared(counts),
            n_labels=dict(zip(LABELS, counts.sum(axis=0).tolist(), strict=True)),
            raw=raw_agreement(counts, **drawing),
            alpha=krippendorff_alpha(counts, "ordinal", **drawing),
            alpha_nominal=krippendorff_alpha(counts, "nominal", **drawing),
            ac2=gwet_ac(counts, ordinal_weights(_K), **drawing),
            first_errors=first_error_agreement(positions[:, 0], positions[:, 1], resamples=resamples, seed=seed),
            n_undecided=self._n_undecided,
        )

    def annotators_of(self, names: list[str]) -> list[AnnotatorAgreement]:
        is_other = np.array([id_ != self._gold for id_ in self.ids], dtype=np.bool_)
        others = _two_way(self._pairs[:, is_other].sum(axis=1))
        gold = _two_way(self._pairs[:, ~is_other].sum(axis=1))
        itself = _two_way(self._again)
        return [
            AnnotatorAgreement(
                annotator=names[place],
                n_labels=int(self._labels_of[place]),
                n_unsure=int(self._unsure_of[place]),
                others=others[place],
                gold=gold[place],
                itself=itself[place],
            )
            for place in np.flatnonzero(is_other & (self._labels_of > 0))
        ]

    def pairs_of(self, names: list[str]) -> list[PairAgreement]:
        lefts, rights = np.triu_indices(len(self.ids), k=1)
        found = _two_way(self._pairs[lefts, rights])
        return [
            PairAgreement((names[left], names[right]), agreement)
            for left, right, agreement in zip(lefts, rights, found, strict=True)
            if agreement.n and self._gold not in (self.ids[left], self.ids[right])
        ]


def _number(*columns: Ints) -> Ints:
    """Numbers rows from 0; equal rows, which stand together, have the same number."""
    is_new = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        is_new[1:] |= column[1:] != column[:-1]
    return np.cumsum(is_new)


def _how_many(numbers: Ints) -> int:
    return int(numbers[-1]) + 1 if len(numbers) else 0


def _two_way(tables: Ints) -> list[TwoWay]:
    """The figures of tables of two labellers (... x `K` x `K`)."""
    n = tables.sum(axis=(-2, -1))
    equal = np.trace(tables, axis1=-2, axis2=-1)
    ac2: Floats = ac_of_tables(tables, ordinal_weights(_K))
    return [
        TwoWay(int(all_), int(same) / int(all_), float(ac)) if all_ else TwoWay(0, None, None)
        for all_, same, ac in zip(n, equal, ac2, strict=True)
    ]
