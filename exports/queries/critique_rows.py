"""Rows of critiques: to learn writing them, to prefer right verdicts, and as feedback on the solutions of pairs.

A critique stands where the verifier confirms its verdict (`stepmark verify`), or where people judged it right. What
it was asked is the prompt of the run that sampled it, else the one that comes with stepmark for its kind: who trains
on the rows is asked at inference what is asked in training.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.models import CRITIQUE_JUDGEMENTS, Critique, Problem, Run, Solution
from exports.formats.columns import PREFERENCE
from stepmark.errors import SettingsError
from stepmark.prompts import Prompt, read_prompt
from stepmark.prompts.critics import FOLDER, META_PLACES, PLACES, question_on_critique, question_to_critic

from .agreeing import AgreementTally
from .judgements import Judged, judgements_of
from .labels import EVERY_FILTER, NO_FILTER, LabelFilter, check_labels, flags_of, require_heeded
from .selection import (
    Counts,
    Page,
    RowLimits,
    Selection,
    SetRow,
    TrainingSet,
    is_selected,
    joint_licence,
    pages,
    whole_text,
)

_APPLIED, _TARGET, _TARGETS_RUN = aliased(Problem), aliased(Critique), aliased(Run)
_PAIRS = 200


ConfirmedBy = Literal["verifier", "people", "either"]

HEEDED: Mapping[str, frozenset[str]] = {
    "verifier": NO_FILTER,
    "people": EVERY_FILTER,
    "either": EVERY_FILTER,
}
"""Fields of the filter of labels that people's judgements of critiques heed, by whose word counts."""


@dataclass(frozen=True, slots=True)
class CritiqueOptions(LabelFilter):
    """Which critiques, and what makes one stand; beside whose judgements of them count, and of how many."""

    kinds: tuple[str, ...] = ()
    """Only critiques of these kinds; empty: all."""
    critics: tuple[str, ...] = ()
    """Only critiques by these models or people; empty: by all."""
    confirmed_by: ConfirmedBy = "verifier"
    """Whose word counts; `either` takes people's, where they judged it and agree or a reviewer decided, else the
    verifier's."""
    standing: Literal["confirmed", "not-refuted", "any"] = "confirmed"
    """Keep only confirmed verdicts, or also those of which nothing is known, or also refuted ones."""
    prompt: str | None = None
    """A prompt for all, by its name or file; None: the run's own, or that of the kind."""


@dataclass(frozen=True, slots=True)
class CritiquePairOptions:
    """How many pairs of critiques."""

    max_pairs_per_subject: int = 4
    """Pairs of critiques that were asked the same, at most; drawn with the seed."""
    seed: int = 0


def _checked(options: CritiqueOptions | None) -> CritiqueOptions:
    """The options, where nothing is asked that would be ignored."""
    chosen = options or CritiqueOptions()
    what = "the verifier's word follows from no labels; take --confirmed-by people or either"
    require_heeded(chosen, HEEDED[chosen.confirmed_by], what)
    return chosen


def critique_set(selection: Selection, options: CritiqueOptions | None = None) -> TrainingSet:
    """Critiques to learn from.

    Raises:
        SettingsError: Something is asked of labels that critiques do not heed.
    """
    chosen = _checked(options)
    return TrainingSet(
        "critique",
        selection,
        flags_of(chosen, heeded=HEEDED[chosen.confirmed_by]),
        lambda session, _, counts: critique_rows(session, selection, chosen, counts),
        class_of=attrgetter("class_"),
    )


def critique_preference_set(
    selection: Selection, options: CritiqueOptions | None = None, pairs: CritiquePairOptions | None = None
) -> TrainingSet:
    """Pairs of critiques of one subject: a confirmed verdict over a refuted one.

    Raises:
        SettingsError: Something is asked of labels that critiques do not heed.
    """
    chosen, wanted = _checked(options), pairs or CritiquePairOptions()
    return TrainingSet(
        "critique_preference",
        selection,
        {**flags_of(chosen, heeded=HEEDED[chosen.confirmed_by]), **asdict(wanted)},
        lambda session, _, counts: critique_preference_rows(session, selection, chosen, wanted, counts),
        class_of=attrgetter("class_"),
    )


def cloud_set(
    selection: Selection, pairs: TrainingSet, options: CritiqueOptions | None = None, *, max_feedback: int = 1
) -> TrainingSet:
    """Pairs of solutions (a preference set) with critiques of both.

    Raises:
        SettingsError: The pairs are of steps, and critiques are of whole solutions; or something is asked of labels
            that critiques do not heed.
    """
    chosen = _checked(options)
    if pairs.flags["origin"] in ("shared-prefix", "alternatives"):
        raise SettingsError(
            f"pairs from {pairs.flags['origin']} end in a step, and critiques are of whole solutions; take "
            "pairs from preferences, outcomes, first-errors or scores"
        )
    return TrainingSet(
        "cloud",
        selection,
        {**pairs.flags, **flags_of(chosen, heeded=HEEDED[chosen.confirmed_by]), "max_feedback": max_feedback},
        lambda session, _, counts: cloud_rows(session, selection, pairs, chosen, counts, max_feedback=max_feedback),
    )


def critique_rows(
    session: Session, selection: Selection, options: CritiqueOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields a row for each critique that stands, ordered by problem, solution and critique."""
    limits = RowLimits(selection, counts)
    prompts = _Prompts(session, options)
    check_labels(session, options)
    people = _People(session, options, counts)
    for page in pages(session):
        rows = session.execute(_critiques(page, selection, options)).all()
        judged = people.on(rows)
        for row in rows:
            counts.n_read += 1
            stands = _stands(row, judged, options)
            reason = _refusal(row)
            if reason is None and stands is None and options.standing == "confirmed":
                reason = "unconfirmed"
            if reason is None and stands is False and options.standing != "any":
                reason = "refuted"
            asked = None if reason else prompts.asked(row)
            if asked is None:
                counts.dropped[reason or "no_prompt_for_kind"] += 1
            elif limits.takes(row.problem_id, asked, row.text.strip()):
                cells = {"prompt": asked, "completion": row.text.strip()}
                yield _set_row(cells, [row], [_word_of_people(row, judged, options)])
    people.tell_agreement()


def critique_preference_rows(
    session: Session, selection: Selection, options: CritiqueOptions, pairs: CritiquePairOptions, counts: Counts
) -> Iterator[SetRow]:
    """Yields pairs of critiques that were asked the same, ordered by problem and solution."""
    limits = RowLimits(selection, counts)
    prompts = _Prompts(session, options)
    check_labels(session, options)
    people = _People(session, options, counts)
    for page in pages(session):
        rows = session.execute(_critiques(page, selection, options)).all()
        judged = people.on(rows)
        for _, group in groupby(rows, key=lambda row: row.solution_id):
            subjects: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
            for row in group:
                reason, stands = _refusal(row), _stands(row, judged, options)
                asked = None if reason or stands is None else prompts.asked(row)
                if asked is None:
                    counts.more[
                        f"critiques_{reason or ('no_prompt_for_kind' if stands is not None else 'unconfirmed')}"
                    ] += 1
                    continue
                confirmed, refuted = subjects.setdefault(asked, ({}, {}))
                (confirmed if stands else refuted).setdefault(row.text.strip(), row)
            for asked, (confirmed, refuted) in subjects.items():
                counts.n_read += len(confirmed) * len(refuted)
                if not confirmed or not refuted:
                    counts.more["subjects_without_pairs"] += 1
                    continue
                drawn = heapq.nsmallest(
                    pairs.max_pairs_per_subject,
                    ((chosen, rejected) for chosen in confirmed for rejected in refuted),
                    key=lambda pair: _lot(*pair, seed=pairs.seed),
                )
                counts.dropped["over_max_pairs_per_subject"] += len(confirmed) * len(refuted) - len(drawn)
                for chosen, rejected in drawn:
                    if chosen == rejected:
                        counts.dropped["equal_texts"] += 1
                        continue
                    both = [confirmed[chosen], refuted[rejected]]
                    if limits.takes(both[0].problem_id, asked, chosen, rejected):
                        cells = {"prompt": asked, "chosen": chosen, "rejected": rejected}
                        yield _set_row(cells, both, [_word_of_people(row, judged, options) for row in both])
    people.tell_agreement()


def cloud_rows(
    session: Session,
    selection: Selection,
    pairs: TrainingSet,
    options: CritiqueOptions,
    counts: Counts,
    *,
    max_feedback: int,
) -> Iterator[SetRow]:
    """Yields the pairs both of whose solutions have a critique that stands; ties are left to the preference set."""
    check_labels(session, options)
    wanted = (row for row in pairs.rows(session, PREFERENCE, counts) if not row.is_aside)
    for chunk in _chunks(wanted):
        ids = sorted({key for row in chunk for key in row.trace["solution_ids"]})
        texts = _texts(session, ids, pairs.flags["text"])
        feedback, judged = _feedback(session, ids, options)
        for row in chunk:
            chosen_id, rejected_id = sorted(
                row.trace["solution_ids"], key=lambda key: texts[key] != row.row["chosen"]
            )
            if not feedback.get(chosen_id) or not feedback.get(rejected_id):
                counts.dropped["no_critique"] += 1
                continue
            used = {
                name: feedback[key][:max_feedback] for name, key in (("chosen", chosen_id), ("rejected", rejected_id))
            }
            cells = {
                "id": f"solution/{chosen_id}/over/{rejected_id}",
                **row.row,
                **{f"{name}_feedback": [one.text.strip() for one in found] for name, found in used.items()},
            }
            terms = [licence for found in used.values() for one in found for licence in _of_run(one)]
            critiques = [one for found in used.values() for one in found]
            by = _by(_word_of_people(one, judged, options) for one in critiques)
            yield SetRow(
                row.family,
                cells,
                row.source,
                joint_licence([row.licence, *terms]),
                trust=row.trust,
                trace={
                    **row.trace,
                    "critique_ids": [one.critique_id for one in critiques],
                    **{name: list(dict.fromkeys([*row.trace.get(name, ()), *ids])) for name, ids in by.items()},
                },
            )


class _Prompts:
    """What critics were asked: prompts by run and kind, read once."""

    def __init__(self, session: Session, options: CritiqueOptions) -> None:
        self._session = session
        self._one = None if options.prompt is None else read_prompt(options.prompt, folder=FOLDER)
        self._of_runs: dict[int, Mapping[str, Prompt]] = {}

    def asked(self, row: Any) -> str | None:
        """What the critic was asked; None where no prompt is known for its kind, or a place cannot be filled."""
        prompt = self._one or self._of_run(row.run_id).get(row.kind) or _shipped(row.kind)
        places: dict[str, Any] = {"problem": row.statement, "steps": row.steps, "answer": row.solution_answer}
        is_on_variant = row.applied_id != row.problem_id
        if prompt is None:
            return None
        if row.kind == "meta":
            if row.target_text is None:
                return None
            return question_on_critique(
                prompt,
                **places,
                critique=row.target_text,
                verdict=row.target_verdict,
                applied_to=row.applied_statement if is_on_variant else None,
            )
        variant = row.applied_statement if is_on_variant else None
        reference = row.reference_solution or row.reference_answer
        if ("{variant}" in prompt.text and variant is None) or ("{reference}" in prompt.text and reference is None):
            return None
        return question_to_critic(row.kind, prompt, **places, variant=variant, reference=reference)

    def _of_run(self, run_id: int | None) -> Mapping[str, Prompt]:
        if run_id is None:
            return {}
        if run_id not in self._of_runs:
            record = self._session.scalar(sa.select(Run.record).where(Run.run_id == run_id)) or {}
            named = {record.get("critic"): record.get("prompt"), "concrete": record.get("fallback")}
            if record.get("critic") == "concrete":
                named["concrete"] = record.get("prompt")
            self._of_runs[run_id] = {
                kind: Prompt(told["name"], told["text"])
                for kind, told in named.items()
                if kind is not None and isinstance(told, dict)
            }
        return self._of_runs[run_id]


def _shipped(kind: str) -> Prompt | None:
    places = {**PLACES, "meta": META_PLACES}.get(kind)
    return None if places is None else read_prompt(kind, places=places, folder=FOLDER)


def _refusal(row: Any) -> str | None:
    """Why a critique is of no use, whatever became of its verdict."""
    if row.verdict == "unreadable":
        return "unreadable"
    if (row.extra or {}).get("is_truncated"):
        return "truncated"
    if not row.steps:
        return "no_steps"
    return None if row.text.strip() else "empty"


class _People:
    """What people say of critiques, where their word counts."""

    def __init__(self, session: Session, options: CritiqueOptions, counts: Counts) -> None:
        self._session = session
        self._options = options
        self._counts = counts
        self._agreement = AgreementTally(CRITIQUE_JUDGEMENTS, is_ordinal=True)

    def on(self, rows: Sequence[Any]) -> Mapping[int, Judged]:
        """What they say, by critique."""
        if self._options.confirmed_by == "verifier":
            return {}
        ids = [row.critique_id for row in rows]
        more = self._counts.more
        return judgements_of(self._session, ids, self._options, more=more, agreement=self._agreement)

    def tell_agreement(self) -> None:
        """Counts how far they agree."""
        if self._options.confirmed_by != "verifier":
            self._counts.agreement = self._agreement.measures()
            self._counts.more["critiques_of_several_judges"] = self._agreement.n_units


def _word_of_people(row: Any, judged: Mapping[int, Judged], options: CritiqueOptions) -> Judged | None:
    """What people say of a critique, where it is their word that counts."""
    word = judged.get(row.critique_id)
    is_theirs = word is not None and (options.confirmed_by == "people" or word.is_right is not None)
    return word if is_theirs else None


def _stands(row: Any, judged: Mapping[int, Judged], options: CritiqueOptions) -> bool | None:
    word = _word_of_people(row, judged, options)
    confirmed: bool | None = None if options.confirmed_by == "people" else row.is_confirmed
    return confirmed if word is None else word.is_right


def _critiques(page: Page, selection: Selection, options: CritiqueOptions) -> sa.Select[*tuple[Any, ...]]:
    query: sa.Select[*tuple[Any, ...]] = _wanted(
        sa.select(
            Critique.critique_id,
            Critique.kind,
            Critique.text,
            Critique.verdict,
            Critique.is_confirmed,
            Critique.confirmation_rule,
            Critique.source,
            Critique.run_id,
            Critique.extra,
            Critique.problem_id.label("applied_id"),
            Solution.solution_id,
            Solution.problem_id,
            Solution.steps,
            Solution.answer.label("solution_answer"),
            Solution.licence.label("solution_licence"),
            Solution.source.label("solution_source"),
            Run.licence.label("run_licence"),
            Problem.statement,
            Problem.family,
            Problem.reference_trust,
            Problem.reference_solution,
            Problem.reference_answer,
            _APPLIED.statement.label("applied_statement"),
            _APPLIED.reference_trust.label("applied_trust"),
            _TARGET.text.label("target_text"),
            _TARGET.verdict.label("target_verdict"),
            _TARGET.run_id.label("target_run_id"),
            _TARGETS_RUN.licence.label("target_licence"),
        )
        .join(Solution, Solution.solution_id == Critique.solution_id)
        .join(Problem, Problem.problem_id == Solution.problem_id)
        .join(_APPLIED, _APPLIED.problem_id == Critique.problem_id)
        .outerjoin(_TARGET, _TARGET.critique_id == Critique.target_critique_id)
        .outerjoin(Run, Run.run_id == Critique.run_id)
        .outerjoin(_TARGETS_RUN, _TARGETS_RUN.run_id == _TARGET.run_id)
        .where(page.holds(Solution.problem_id), is_selected(selection)),
        options,
    )
    return query.order_by(Solution.problem_id, Solution.solution_id, Critique.critique_id)


def _wanted(query: Any, options: CritiqueOptions) -> Any:
    if options.kinds:
        query = query.where(Critique.kind.in_(options.kinds))
    if options.critics:
        query = query.where(Critique.critic.in_(options.critics))
    return query


def _set_row(cells: dict[str, Any], critiques: Sequence[Any], words: Sequence[Judged | None]) -> SetRow:
    """A row of critiques, with what people say of each, where it stands or falls by that."""
    first = critiques[0]
    trusts = {first.reference_trust, first.applied_trust}
    rule = first.confirmation_rule if words[0] is None else words[0].rule
    return SetRow(
        family=first.family,
        row=cells,
        source=" + ".join(sorted({row.source or f"run/{row.run_id}" for row in critiques})),
        licence=joint_licence([licence for row in critiques for licence in _licences(row)]),
        class_=first.verdict,
        trust="majority" if "majority" in trusts else first.reference_trust,
        trace={
            "problem_ids": list(dict.fromkeys([first.problem_id, first.applied_id])),
            "solution_ids": [first.solution_id],
            "critique_ids": [row.critique_id for row in critiques],
            "run_ids": list(dict.fromkeys(row.run_id for row in critiques if row.run_id is not None)),
            "sources": list(dict.fromkeys(row.source for row in critiques if row.source is not None)),
            **_by(words),
            "rule": rule or "none",
        },
    )


def _by(words: Iterable[Judged | None]) -> dict[str, list[int]]:
    """The annotations and annotators of what people say, for a trace."""
    by = dict.fromkeys(one for word in words if word is not None for one in word.by)
    return {
        "annotation_ids": [annotation_id for annotation_id, _ in by if annotation_id is not None],
        "annotator_ids": list(dict.fromkeys(annotator_id for _, annotator_id in by)),
    }


def _licences(row: Any) -> list[str | None]:
    """The terms of a row's solution, of its critique, and of the critique that this one judges."""
    of_target = [] if row.target_run_id is None else [row.target_licence]
    return [row.solution_licence, *_of_run(row), *of_target]


def _of_run(row: Any) -> list[str | None]:
    """The terms of a sampled critique; those of an imported one are its source's, which the solution has too."""
    return [] if row.run_id is None else [row.run_licence]


def _lot(chosen: str, rejected: str, *, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{chosen}\0{rejected}".encode()).digest()


def _texts(session: Session, solution_ids: Sequence[int], form: Any) -> dict[int, str]:
    query = sa.select(Solution.solution_id, Solution.steps, Solution.answer, Solution.text)
    found = session.execute(query.where(Solution.solution_id.in_(solution_ids)))
    return {row.solution_id: whole_text(row, form) for row in found}


def _feedback(
    session: Session, solution_ids: Sequence[int], options: CritiqueOptions
) -> tuple[dict[int, list[Any]], Mapping[int, Judged]]:
    """Critiques of solutions that stand, by solution, in the order of their ids, and what people say of them.

    None are of critiques.
    """
    query = _wanted(
        sa.select(
            Critique.critique_id,
            Critique.solution_id,
            Critique.text,
            Critique.verdict,
            Critique.extra,
            Critique.is_confirmed,
            Critique.run_id,
            Run.licence.label("run_licence"),
            Solution.steps,
        )
        .join(Solution, Solution.solution_id == Critique.solution_id)
        .outerjoin(Run, Run.run_id == Critique.run_id)
        .where(Critique.solution_id.in_(solution_ids), Critique.target_critique_id.is_(None)),
        options,
    ).order_by(Critique.critique_id)
    rows = session.execute(query).all()
    is_by_people = options.confirmed_by != "verifier"
    judged = judgements_of(session, [row.critique_id for row in rows], options) if is_by_people else {}
    found: dict[int, list[Any]] = {}
    for row in rows:
        stands = _stands(row, judged, options)
        is_kept = stands or options.standing == "any" or (stands is None and options.standing == "not-refuted")
        if is_kept and _refusal(row) is None:
            found.setdefault(row.solution_id, []).append(row)
    return found, judged


def _chunks(rows: Iterable[SetRow]) -> Iterator[list[SetRow]]:
    chunk: list[SetRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _PAIRS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
