"""What a check found: an effect with its interval, and the sentence that is said where the interval excludes zero."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.evaluate.bootstrap import Estimate

Unit = Literal["sd", "correlation", "share"]
"""Standard deviations of the model's scores; a rank correlation; a share or difference of shares."""

Side = Literal["both", "above", "below"]
"""On which side of zero an effect is a fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One effect that should be zero, or should lie on one side of it."""

    check: str
    """The check's name, such as `length`."""
    name: str
    """The effect's, unique in a report."""
    title: str
    """What was done or compared, for tables and plots."""
    unit: Unit
    side: Side
    effect: Estimate
    above: str = ""
    """The sentence where the effect is above zero."""
    below: str = ""
    """Where it is below."""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_said(self) -> bool:
        """Whether the interval excludes zero on a side that is a fault."""
        if self.effect.value is None:
            return False
        return (self.effect.low > 0 and self.side != "below") or (self.effect.high < 0 and self.side != "above")

    @property
    def sentence(self) -> str | None:
        """What is said, with effect and interval; None where nothing is."""
        if not self.is_said or self.effect.value is None:
            return None
        words = self.above if self.effect.value > 0 else self.below
        return f"{words} ({shown(self.effect, self.unit)}; {self.effect.n} problems)."

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON takes it."""
        return {
            "check": self.check,
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "fault_if": self.side,
            **self.effect.as_json(),
            "sentence": self.sentence,
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """A check that could not be made."""

    check: str
    reason: str


def shown(effect: Estimate, unit: Unit) -> str:
    """An effect with its interval, as it stands in a sentence.

    >>> shown(Estimate(0.12345, 0.1, 0.2, 9), "sd"), shown(Estimate(-0.5, -0.6, -0.4, 9), "share")
    ('+0.12 SD [+0.10, +0.20]', '-50 points of 100 [-60, -40]')
    """
    assert effect.value is not None
    if unit == "share":
        low, high = 100 * effect.low, 100 * effect.high
        return f"{100 * effect.value:+.0f} points of 100 [{low:+.0f}, {high:+.0f}]"
    name = " SD" if unit == "sd" else ""
    return f"{effect.value:+.2f}{name} [{effect.low:+.2f}, {effect.high:+.2f}]"


def percent(share: float | None) -> str:
    """A share in words.

    >>> percent(0.714), percent(None)
    ('71 %', 'none')
    """
    return "none" if share is None else f"{100 * share:.0f} %"
