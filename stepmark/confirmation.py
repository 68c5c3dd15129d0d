"""Whether a critic's verdict is right: what is known of the solution, held against it; and how good critics are.

A verdict is about the solution, whatever it was applied to: `pass` is right where every step of it holds and its
answer is right. What decides that, the strongest first:

1. `step labels` by people, or by a program where no person labelled. They say a solution is wrong from the first step
   labelled -1. All steps right and a wrong answer is a wrong solution.
2. `outcome`, where it is false: no chain that holds ends in a wrong answer.
3. `variant answer`, for a critic who carried the chain over to a variant: the answer it reached there equals the
   variant's own, or does not. `not carried`, where the critic fails the solution because a step of it cannot be
   carried over. Both trust the critic to have carried faithfully what is written: a critic who miscalculates on the
   way is not believed (unknown), but one who solves the variant in his own way, or gives up at will, is not noticed.
4. `outcome`, where it is true, for a critic who read the solution or stepped through its own input. This is weak: the
   answer may be right by a chain that does not hold.

What none of these decides stays unknown, as does an unreadable verdict.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .verdicts import Word

UNREADABLE = "unreadable"
STEP_LABELS = "step labels"
OUTCOME = "outcome"
VARIANT_ANSWER = "variant answer"
NOT_CARRIED = "not carried"
META = "critique judged"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a solution, apart from the critic's verdict."""

    labelled_right: bool | None = None
    """Whether its step labels hold every step right; None without labels, or where labellers are divided."""
    outcome: bool | None = None
    on_variant: bool = False
    """Whether the critic applied it to a variant; the next two tell what came of it."""
    reached_answer: bool = True
    carried_right: bool | None = None
    """Whether the carried chain's answer equals the variant's; None where unknown."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Whether a verdict is right."""

    is_confirmed: bool | None
    rule: str | None
    """What decided; None where nothing did, so that it is looked at again."""


def confirm(word: Word, evidence: Known) -> Confirmation:
    """Holds a verdict against what is known, by the order of this module.

    >>> confirm("fail", Known(outcome=True)), confirm("fail", Known(labelled_right=False, outcome=True))
    (Confirmation(is_confirmed=False, rule='outcome'), Confirmation(is_confirmed=True, rule='step labels'))
    >>> confirm("fail", Known(outcome=True, on_variant=True, carried_right=False))
    Confirmation(is_confirmed=True, rule='variant answer')
    """
    if word == "unreadable":
        return Confirmation(None, UNREADABLE)
    truth, rule = _truth(evidence)
    if truth is None and evidence.on_variant and not evidence.reached_answer and word == "fail":
        return Confirmation(True, NOT_CARRIED)
    if truth is None:
        return Confirmation(None, None)
    return Confirmation((word == "pass") == truth, rule)


def _truth(evidence: Known) -> tuple[bool | None, str | None]:
    """Whether the solution holds, and what says so."""
    if evidence.labelled_right is False:
        return False, STEP_LABELS
    if evidence.outcome is False:
        return False, OUTCOME
    if evidence.labelled_right is True:
        return True, STEP_LABELS
    if evidence.on_variant:
        return evidence.carried_right, VARIANT_ANSWER
    return evidence.outcome, OUTCOME


def confirm_meta(word: Word, target_confirmed: bool | None) -> Confirmation:
    """Holds a verdict on a critique against whether that critique's own verdict is confirmed.

    >>> confirm_meta("pass", False), confirm_meta("fail", None)
    (Confirmation(is_confirmed=False, rule='critique judged'), Confirmation(is_confirmed=None, rule=None))
    """
    if word == "unreadable":
        return Confirmation(None, UNREADABLE)
    if target_confirmed is None:
        return Confirmation(None, None)
    return Confirmation((word == "pass") == target_confirmed, META)


@dataclass(slots=True)
class VerdictQuality:
    """How a critic's verdicts compare with what is known of the solutions."""

    n_right_passed: int = 0
    n_right_failed: int = 0
    """False alarms."""
    n_wrong_failed: int = 0
    n_wrong_passed: int = 0
    n_unreadable: int = 0
    """Verdicts that could not be read; they are in no share."""

    def add(self, word: Word, is_right: bool) -> None:
        """Counts one verdict on a solution that is right, or wrong."""
        if word == "unreadable":
            self.n_unreadable += 1
        elif is_right:
            self.n_right_passed += word == "pass"
            self.n_right_failed += word == "fail"
        else:
            self.n_wrong_passed += word == "pass"
            self.n_wrong_failed += word == "fail"

    @property
    def accuracy(self) -> float | None:
        """Share of readable verdicts that are right; None without any."""
        right = self.n_right_passed + self.n_wrong_failed
        return _share(right, right + self.n_right_failed + self.n_wrong_passed)

    @property
    def recall(self) -> float | None:
        """Share of wrong solutions that were failed."""
        return _share(self.n_wrong_failed, self.n_wrong_failed + self.n_wrong_passed)

    @property
    def false_alarm_rate(self) -> float | None:
        """Share of right solutions that were failed."""
        return _share(self.n_right_failed, self.n_right_failed + self.n_right_passed)


def measure_verdicts(verdicts: Iterable[tuple[Word, bool]]) -> VerdictQuality:
    """Counts verdicts, each with whether its solution is right.

    >>> found = measure_verdicts([("fail", False), ("pass", False), ("pass", True), ("unreadable", True)])
    >>> found.accuracy, found.recall, found.false_alarm_rate, found.n_unreadable
    (0.6666666666666666, 0.5, 0.0, 1)
    """
    quality = VerdictQuality()
    for word, is_right in verdicts:
        quality.add(word, is_right)
    return quality


def _share(n: int, of: int) -> float | None:
    return n / of if of else None
