"""Rows of a process reward model: a solution's segments with a label each, from step annotations or rollouts.

A row goes as far as the labels do: it ends before the first step that nobody judged, and, where nothing is said
of what follows an error, at the first wrong step (Lightman et al. 2023; ProcessBench). A solution whose steps are
all right ends in its answer section, labelled with the outcome.

What is read is a page's annotations with their labels as one text each: as good as all rows share their labels with
others, so what they mean is worked out once (`step_targets`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Annotation, Solution, StepLabel, StepValue
from exports.formats.columns import PRM, SOFT_PRM
from stepmark.dawid_skene import dawid_skene
from stepmark.errors import InputError
from stepmark.steps import render_segments

from .agreeing import AgreementTally
from .ahead import read_ahead
from .decisions import DecidedSteps, asks_about_steps, decided_steps
from .labels import are_label_data, check_labels, flags_of, label_refusal
from .selection import (
    Counts,
    Page,
    ProblemText,
    RowLimits,
    Selection,
    SetRow,
    TrainingSet,
    in_page,
    is_selected,
    json_text,
    licence_refusal,
    pages,
    problem_texts,
    source_name,
)
from .step_targets import (
    Marks,
    Pattern,
    Posterior,
    PrmOptions,
    Target,
    Targets,
    combined,
    decided_targets,
    marks_of,
    pattern_of,
    read_codes,
    targets_of_one,
    unsupported,
    votes_on_steps,
)

__all__ = ["PrmOptions", "prm_rows", "prm_set"]

_NO_LABELS = ("bad_problem", "skipped")
"""How an annotation ends that judges no step."""


def prm_set(selection: Selection, options: PrmOptions | None = None) -> TrainingSet:
    """Step labels for a process reward model."""
    chosen = options or PrmOptions()
    columns = SOFT_PRM if chosen.target == "soft" else PRM
    return TrainingSet(
        "prm",
        selection,
        flags_of(chosen),
        lambda session, _, counts: prm_rows(session, selection, chosen, counts),
        lambda _: columns,
        class_of=lambda row: all(label is None or label >= 0.5 for label in row.row["labels"]),
    )


class _Said(NamedTuple):
    """One annotation, or the values of one run, and its solution."""

    problem_id: int
    solution_id: int
    annotation_id: int
    """0 of the values of rollouts, which nobody annotated."""
    annotator_id: int
    task_id: int | None
    finish_reason: str | None
    segments: str | None
    """JSON; so are the steps."""
    steps: str
    answer: str | None
    outcome: bool | None
    source: str | None
    run_id: int | None
    licence: str | None
    codes: str | None
    refusal: str | None


def prm_rows(session: Session, selection: Selection, options: PrmOptions, counts: Counts) -> Iterator[SetRow]:
    """Yields rows ordered by problem, solution and annotation, and counts what is left out.

    Raises:
        InputError: What the options name is not there, or they ask for posteriors that the labels cannot give.
    """
    if options.rollouts_run is not None:
        yield from filter(None, _Rows(selection, options, counts).of_rollouts(session))
        return
    check_labels(session, options)
    posterior = _posterior(session, selection, options) if options.labellers == "dawid-skene" else None
    yield from filter(None, _Rows(selection, options, counts, posterior).of_labels(session))


class _Rows:
    """Makes rows of what was said; None stands for what makes no row, and was counted as dropped."""

    def __init__(
        self, selection: Selection, options: PrmOptions, counts: Counts, posterior: Posterior | None = None
    ) -> None:
        self._selection = selection
        self._options = options
        self._counts = counts
        self._posterior = posterior
        self._limits = RowLimits(selection, counts)
        self._agreement = AgreementTally((-1, 0, 1), is_ordinal=True)
        self._rollouts_run = [] if options.rollouts_run is None else [options.rollouts_run]
        self._marks_of_one = lru_cache(maxsize=1 << 16)(self._find_marks_of_one)

    def of_labels(self, session: Session) -> Iterator[SetRow | None]:
        """Rows of annotations, alone or together."""
        options = self._options
        looks_at_others = options.looks_at_others or options.labellers != "each" or options.adjudicated == "only"
        is_decided = looks_at_others and asks_about_steps(session, options)
        query = _annotations(self._selection, options)
        for found, texts, decided in read_ahead(session, _read_pages(session, query, is_decided=is_decided)):
            self._see_agreement(found)
            if not looks_at_others:
                for said in found:
                    yield self._row_of_one(said, texts[said.problem_id])
                continue
            for _, group in groupby(found, key=_solution_of):
                rows = list(group)
                by_reviewer = decided.get(rows[0].solution_id, {})
                yield from self._rows_of_solution(rows, texts[rows[0].problem_id], by_reviewer)
        self._counts.agreement = self._agreement.measures()
        self._counts.more["steps_of_several_labellers"] = self._agreement.n_units

    def _see_agreement(self, found: Sequence[_Said]) -> None:
        times = Counter(map(_solution_of, found))
        of_several = (said for said in found if times[said.solution_id] > 1)
        for _, group in groupby(of_several, key=_solution_of):
            latest = {said.annotator_id: said.codes for said in group if _judges(said) and said.segments is None}
            self._agreement.see_all(_labels_by_step(tuple(latest.values())))

    def of_rollouts(self, session: Session) -> Iterator[SetRow | None]:
        """Rows of the values that a run of rollouts found; a solution without any is not read."""
        query = _valued(self._selection, self._options)
        for found, texts, _ in read_ahead(session, _read_pages(session, query)):
            for said in found:
                self._counts.n_read += 1
                targets, most = _values_of(said.codes or "")
                steps = _steps_of(said)
                marks = self._find_marks(targets, said, steps)
                rule = f"share of right ones among {most} rollouts"
                yield self._row(said, texts[said.problem_id], steps, marks, rule, "rollouts", [])

    def _row_of_one(self, said: _Said, text: ProblemText) -> SetRow | None:
        self._counts.n_read += 1
        if not _judges(said):
            self._counts.dropped[said.refusal or str(said.finish_reason)] += 1
            return None
        steps = _steps_of(said)
        outcome = None if said.finish_reason == "give_up" else said.outcome
        marks = self._marks_of_one(said.codes, len(steps), said.answer is not None, outcome)
        return self._row(said, text, steps, marks, "labels of one", said.annotator_id, [said])

    def _find_marks_of_one(
        self, codes: str | None, n_steps: int, has_answer: bool, outcome: bool | None
    ) -> Marks | str:
        targets = targets_of_one(read_codes(codes), self._options)
        return marks_of(targets, n_steps, self._options, has_answer=has_answer, outcome=outcome)

    def _rows_of_solution(
        self, group: Sequence[_Said], text: ProblemText, by_reviewer: Mapping[int, int]
    ) -> Iterator[SetRow | None]:
        """Rows of a solution where it matters what all its labellers say."""
        options = self._options
        judging = [said for said in group if _judges(said)]
        voting = {said.annotator_id: said for said in judging if said.segments is None}
        votes = votes_on_steps(((said.annotator_id, read_codes(said.codes)) for said in voting.values()), options)
        poor = unsupported(votes, options) if options.looks_at_others else {}
        reviewed = decided_targets(by_reviewer, options)
        if options.labellers == "each":
            for said in group:
                if said not in judging:
                    yield self._row_of_one(said, text)
                    continue
                self._counts.n_read += 1
                if options.adjudicated == "only" and not by_reviewer:
                    self._counts.dropped["not_adjudicated"] += 1
                elif said.segments is not None:
                    self._counts.dropped["steps_split_or_merged"] += 1
                else:
                    targets = {**targets_of_one(read_codes(said.codes), options), **poor}
                    if options.adjudicated == "only":
                        targets |= reviewed
                    steps = _steps_of(said)
                    marks = self._find_marks(targets, said, steps)
                    yield self._row(said, text, steps, marks, "labels of one", said.annotator_id, [said])
            return
        self._counts.n_read += 1
        for said in group:
            if said.refusal is not None:
                self._counts.more[f"labels_{said.refusal}"] += 1
        refusal = _refusal(group, judging, bool(voting), bool(by_reviewer), options)
        if refusal is not None:
            self._counts.dropped[refusal] += 1
            return
        targets = {**combined(votes, options, self._posterior), **poor, **reviewed}
        together = list(voting.values()) or [group[-1]._replace(segments=None)]
        steps = _steps_of(together[-1])
        marks = self._find_marks(targets, together[-1], steps)
        rule = f"{options.labellers} of {len(voting)}" + (", after a reviewer" if by_reviewer else "")
        yield self._row(together[-1], text, steps, marks, rule, "together", together)

    def _find_marks(self, targets: Targets, said: _Said, steps: Sequence[str]) -> Marks | str:
        gave_up = said.finish_reason == "give_up" and self._options.labellers == "each"
        outcome = None if gave_up else said.outcome
        return marks_of(targets, len(steps), self._options, has_answer=said.answer is not None, outcome=outcome)

    def _row(
        self,
        said: _Said,
        text: ProblemText,
        steps: Sequence[str],
        marks: Marks | str,
        rule: str,
        labeller: Any,
        by: Sequence[_Said],
    ) -> SetRow | None:
        refusal = marks if isinstance(marks, str) else licence_refusal(self._selection, said.licence)
        if refusal is not None or isinstance(marks, str):
            self._counts.dropped[refusal or ""] += 1
            return None
        completions = render_segments(steps[: marks.n_steps], said.answer if marks.has_answer else None)
        if not self._limits.takes(said.problem_id, labeller, *completions):
            return None
        if len(by) == 1:
            annotation_ids, annotator_ids = [said.annotation_id], [said.annotator_id]
        else:
            annotation_ids, annotator_ids = [one.annotation_id for one in by], [one.annotator_id for one in by]
        return SetRow(
            text.family,
            {"prompt": text.statement, "completions": completions, "labels": list(marks.labels)},
            source_name(said),
            said.licence,
            trust=text.trust,
            trace={
                "problem_ids": [said.problem_id],
                "solution_ids": [said.solution_id],
                "annotation_ids": annotation_ids,
                "annotator_ids": annotator_ids,
                "run_ids": self._rollouts_run if said.run_id is None else [said.run_id, *self._rollouts_run],
                "sources": [] if said.source is None else [said.source],
                "rule": rule,
            },
        )


_solution_of = itemgetter(_Said._fields.index("solution_id"))


@lru_cache(maxsize=1 << 12)
def _labels_by_step(of_labellers: tuple[str | None, ...]) -> list[tuple[int, ...]]:
    """What they said of each step that two or more of them judged."""
    labels: dict[int, list[int]] = {}
    for codes in of_labellers:
        for index, one in read_codes(codes).items():
            labels.setdefault(index, []).append(one.label)
    return [tuple(said) for said in labels.values() if len(said) > 1]


def _judges(said: _Said) -> bool:
    return said.refusal is None and said.finish_reason not in _NO_LABELS


def _refusal(
    group: Sequence[_Said], judging: Sequence[_Said], has_votes: bool, is_reviewed: bool, options: PrmOptions
) -> str | None:
    """Why a solution has no row of all its labellers together."""
    if options.adjudicated == "only" and not is_reviewed:
        return "not_adjudicated"
    if has_votes or is_reviewed:
        return None
    if judging:
        return "steps_split_or_merged"
    return Counter(said.refusal or str(said.finish_reason) for said in group).most_common(1)[0][0]


def _steps_of(said: _Said) -> list[str]:
    found: list[str] = orjson.loads(said.steps if said.segments is None else said.segments)
    return found


@lru_cache(maxsize=1 << 12)
def _values_of(codes: str) -> tuple[dict[int, Target], int]:
    """Targets by step from `index:right/rollouts,...`, and the most rollouts of any; the empty prefix is no step."""
    targets, most = {}, 0
    for code in codes.split(","):
        index, _, counts = code.partition(":")
        n_right, _, n_rollouts = counts.partition("/")
        most = max(most, int(n_rollouts))
        if int(index) >= 0:
            targets[int(index)] = Target(int(n_right) / int(n_rollouts)) if int(n_rollouts) else Target(None, "empty")
    return targets, most


@lru_cache(maxsize=16)
def _annotations(
    selection: Selection, options: PrmOptions, *, with_steps: bool = True
) -> sa.Select[*tuple[Any, ...]]:
    """Selects a page's annotations, as `_Said` has them."""
    code = (
        12 * StepLabel.step_index
        + 4 * (StepLabel.label + 1)
        + sa.case((StepLabel.is_unsure, 2), else_=0)
        + sa.case((StepLabel.is_repaired, 1), else_=0)
    )
    codes = (
        sa.select(sa.func.aggregate_strings(sa.cast(code, sa.Text), ","))
        .where(StepLabel.annotation_id == Annotation.annotation_id)
        .correlate(Annotation)
        .scalar_subquery()
    )
    return (
        sa.select(
            Solution.problem_id,
            Solution.solution_id,
            Annotation.annotation_id,
            Annotation.annotator_id,
            Annotation.task_id,
            Annotation.finish_reason,
            json_text(Annotation.segments),
            json_text(Solution.steps) if with_steps else sa.literal("[]"),
            Solution.answer,
            Solution.outcome,
            Solution.source,
            Solution.run_id,
            Solution.licence,
            codes,
            label_refusal(options),
        )
        .join(Annotation, Annotation.solution_id == Solution.solution_id)
        .where(in_page(Solution.problem_id), is_selected(selection), *_is_step_label_data())
    )


def _is_step_label_data() -> tuple[sa.ColumnElement[bool], ...]:
    return (Annotation.kind == "steps", *are_label_data())


@lru_cache(maxsize=16)
def _valued(selection: Selection, options: PrmOptions) -> sa.Select[*tuple[Any, ...]]:
    """Selects a page's solutions that the run of rollouts valued, as `_Said` has them."""
    text = [sa.cast(column, sa.Text) for column in (StepValue.step_index, StepValue.n_right, StepValue.n_rollouts)]
    codes = (
        sa.select(sa.func.aggregate_strings(text[0] + ":" + text[1] + "/" + text[2], ","))
        .where(StepValue.solution_id == Solution.solution_id, StepValue.run_id == options.rollouts_run)
        .correlate(Solution)
        .scalar_subquery()
    )
    valued = sa.exists().where(
        StepValue.solution_id == Solution.solution_id, StepValue.run_id == options.rollouts_run
    )
    return sa.select(
        Solution.problem_id,
        Solution.solution_id,
        sa.literal(0),
        sa.literal(0),
        *[sa.null()] * 3,
        json_text(Solution.steps),
        Solution.answer,
        Solution.outcome,
        Solution.source,
        Solution.run_id,
        Solution.licence,
        codes,
        sa.null(),
    ).where(in_page(Solution.problem_id), is_selected(selection), valued)


def _read_pages(
    session: Session, query: sa.Select[*tuple[Any, ...]], *, is_decided: bool = False
) -> Iterator[tuple[list[_Said], dict[int, ProblemText], DecidedSteps]]:
    """Yields the rows of each page with what else they need."""
    for page in pages(session):
        found = _read(session, page, query)
        texts = problem_texts(session, {said.problem_id for said in found})
        yield found, texts, decided_steps(session, page) if is_decided else {}


def _read(session: Session, page: Page, query: sa.Select[*tuple[Any, ...]]) -> list[_Said]:
    """A page's rows in order; sorted here, since a database would write all their texts to a file to do so."""
    found = session.connection().execute(query, page.bounds).all()  # past the ORM's own loading
    return sorted(map(_Said._make, found), key=itemgetter(0, 1, 2))


def _posterior(session: Session, selection: Selection, options: PrmOptions) -> Posterior:
    """Fits Dawid and Skene's model to the labels of the selection, in a pass of its own.

    Steps with the same labels by the same labellers are one pattern, and only patterns are held.

    Raises:
        InputError: There is no label, or no step has two labellers: the labels then tell nothing of their labellers.
    """
    times: Counter[Pattern] = Counter()
    for page in pages(session):
        found = _read(session, page, _annotations(selection, options, with_steps=False))
        for _, group in groupby(found, key=_solution_of):
            judging = {
                said.annotator_id: read_codes(said.codes)
                for said in group
                if said.refusal is None and said.finish_reason not in _NO_LABELS and said.segments is None
            }
            for by_labeller in votes_on_steps(judging.items(), options).values():
                times[pattern_of(by_labeller)] += 1
    if not any(len(pattern) > 1 for pattern in times):
        raise InputError(
            f"none of {times.total()} labelled steps has two labellers, so nothing tells how far to trust each; "
            "export with --labellers each or share, or have solutions labelled by two"
        )
    patterns = sorted(times)
    labellers = sorted({labeller for pattern in patterns for labeller, _ in pattern})
    place = {labeller: index for index, labeller in enumerate(labellers)}
    labels = [(index, place[who], label + 1) for index, pattern in enumerate(patterns) for who, label in pattern]
    item, who, category = np.array(labels, dtype=np.int64).T
    n_steps = np.array([times[pattern] for pattern in patterns], dtype=np.int64)
    fit = dawid_skene(item, who, category, 3, times=n_steps)
    found_posteriors = dict(zip(patterns, fit.posteriors.tolist(), strict=True))
    return found_posteriors.__getitem__
