"""Verdicts of critics: each held against what is known of its solution, and whether it is right written back."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from db.critiques import (
    StepVerdict,
    VerdictToConfirm,
    count_verdicts,
    verdicts_to_confirm,
    write_confirmations,
)
from stepmark.answers import AnswerVerifier
from stepmark.confirmation import (
    STEP_LABELS,
    UNREADABLE,
    Confirmation,
    Known,
    VerdictQuality,
    confirm,
    confirm_meta,
)
from stepmark.progress import Progress, silent
from stepmark.replay import is_true, read_equations
from stepmark.verdicts import Word

Key = tuple[str, str]
"""Kind of critique, and the rule that decided."""


@dataclass(slots=True)
class VerdictReport:
    """What `verify_verdicts` looked at and found."""

    n_read: int = 0
    agree: Counter[Key] = field(default_factory=Counter)
    """Verdicts that are right."""
    disagree: Counter[Key] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """Verdicts of which nobody knows whether they are right, by reason."""
    first_errors: Counter[str] = field(default_factory=Counter)
    """Of the right verdicts `fail` on solutions with step labels: do they name the labelled step (`same`, `other`,
    `none named`)?"""
    quality: dict[str, VerdictQuality] = field(default_factory=dict)
    """By kind; of critiques of critiques, a right solution is a right critique."""

    @property
    def n_known(self) -> int:
        """Verdicts that are now known to be right or wrong."""
        return self.agree.total() + self.disagree.total()

    def as_json(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        decided = sorted({*self.agree, *self.disagree})
        return {
            "n_read": self.n_read,
            "n_known": self.n_known,
            "by_rule": [
                {
                    "kind": kind,
                    "rule": rule,
                    "agree": self.agree[kind, rule],
                    "disagree": self.disagree[kind, rule],
                }
                for kind, rule in decided
            ],
            "unknown": dict(self.unknown),
            "first_errors": dict(self.first_errors),
            "quality": {
                kind: {
                    **asdict(found),
                    "accuracy": found.accuracy,
                    "recall": found.recall,
                    "false_alarm_rate": found.false_alarm_rate,
                }
                for kind, found in sorted(self.quality.items())
            },
        }


def verify_verdicts(engine: sa.Engine, *, again: bool = False, progress: Progress = silent) -> VerdictReport:
    """Holds every verdict that nothing has decided against what is known now, and stores whether it is right.

    What decides, and in what order, is told in `stepmark.confirmation`. Verdicts on solutions come before those on
    critiques, which are judged by them.

    Args:
        engine: The database.
        again: Also look at those decided before: labels that came since may decide otherwise.
        progress: Told after every batch.
    """
    report = VerdictReport()
    total = count_verdicts(engine, again=again)
    with AnswerVerifier() as verifier:
        for of_critiques in (False, True):
            for batch in verdicts_to_confirm(engine, of_critiques=of_critiques, again=again):
                found = list(_metas(batch) if of_critiques else _confirmed(batch, verifier))
                for item, evidence, one in found:
                    _count(report, item, evidence, one)
                write_confirmations(engine, ((item.critique_id, one) for item, _, one in found))
                progress(report.n_read, total)
    return report


Confirmed = tuple[VerdictToConfirm, Known | None, Confirmation]


def _metas(batch: Sequence[VerdictToConfirm]) -> Iterator[Confirmed]:
    for item in batch:
        yield item, None, confirm_meta(_word(item), item.target_confirmed)


def _confirmed(batch: Sequence[VerdictToConfirm], verifier: AnswerVerifier) -> Iterator[Confirmed]:
    pairs = (
        (item.critique_id, item.answer, item.variant_answer)
        for item in batch
        if item.on_variant and item.answer is not None and item.variant_answer is not None and _is_carried_well(item)
    )
    reached = {critique_id: comparison.outcome for critique_id, comparison in verifier.verify(pairs)}
    for item in batch:
        evidence = Known(
            labelled_right=_labelled_right(item.labels),
            outcome=item.outcome,
            on_variant=item.on_variant,
            reached_answer=item.answer is not None,
            carried_right=reached.get(item.critique_id),
        )
        yield item, evidence, confirm(_word(item), evidence)


def _is_carried_well(item: VerdictToConfirm) -> bool:
    """Whether no carried step is miscalculated; steps that are no plain arithmetic are believed."""
    return all(is_true(equation) for text in item.carried for equation in read_equations(text) or ())


def _labelled_right(labels: Sequence[StepVerdict]) -> bool | None:
    """What most people say, or most programs where no person labelled; None where none did, or as many say either."""
    by_people = [label for label in labels if label.is_person] or labels
    n_right = sum(label.first_error is None for label in by_people)
    return None if 2 * n_right == len(by_people) else 2 * n_right > len(by_people)


def _labelled_error(labels: Sequence[StepVerdict]) -> int | None:
    """The first error that most of those name who see one; the earlier labeller's where as many name either."""
    by_people = [label for label in labels if label.is_person] or labels
    named = Counter(label.first_error for label in by_people if label.first_error is not None)
    return named.most_common(1)[0][0] if named else None


def _word(item: VerdictToConfirm) -> Word:
    return "pass" if item.verdict == "pass" else "fail" if item.verdict == "fail" else "unreadable"


def _count(report: VerdictReport, item: VerdictToConfirm, evidence: Known | None, found: Confirmation) -> None:
    report.n_read += 1
    quality = report.quality.setdefault(item.kind, VerdictQuality())
    if found.is_confirmed is None:
        report.unknown[UNREADABLE if found.rule == UNREADABLE else "nothing decides"] += 1
        quality.n_unreadable += found.rule == UNREADABLE
        return
    assert found.rule is not None, "whatever is decided names its rule"
    (report.agree if found.is_confirmed else report.disagree)[item.kind, found.rule] += 1
    quality.add(_word(item), (item.verdict == "pass") == found.is_confirmed)
    if evidence is not None and found.is_confirmed and item.verdict == "fail" and found.rule == STEP_LABELS:
        labelled = _labelled_error(item.labels)
        named = "none named" if item.first_error is None else "same" if item.first_error == labelled else "other"
        report.first_errors[named] += 1
