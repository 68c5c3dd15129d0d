"""The default labelling rules, after PRM800K's; shown on the page and, with `h`, on the labelling surface.

Every annotation stores the version it was made under: change the version with the rules.
"""

from dataclasses import asdict, dataclass
from typing import Any

from stepmark.guidelines import GuidelineBody, read_guideline


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its rules; `kind` ties it to a label's colour and shape."""

    title: str
    kind: str | None
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guideline:
    """A version of the rules."""

    version: str
    sections: tuple[Section, ...]

    def as_json(self) -> dict[str, Any]:
        """The rules as plain data, for the surface."""
        return asdict(self)


DEFAULT = Guideline(
    version="prm800k-1",
    sections=(
        Section(
            "Good",
            "good",
            (
                "Correct, and checkable within about 30 seconds without paper.",
                "Appropriate: a sensible thing to do at this point.",
                "Moves the solution forward.",
            ),
        ),
        Section(
            "Neutral",
            "neutral",
            (
                "True, but adds nothing: it restates the problem or an earlier step, or goes nowhere in particular.",
                "Harmless oddities of wording are no reason for worse.",
            ),
        ),
        Section(
            "Bad",
            "bad",
            (
                "Wrong: a false statement, a wrong calculation, a wrong conclusion.",
                "Gibberish, off topic, circular, or a dead end.",
                "A leap that nobody could check without paper.",
            ),
        ),
        Section(
            "The final answer",
            None,
            (
                "A right answer that the steps do not lead to is bad: judge the reasoning, not the luck.",
                "Compare with the reference answer by value, not by form: 1/2 and 0.5 are the same.",
            ),
        ),
        Section(
            "In general",
            None,
            (
                "Substance, not nitpicks: style, rounding that does not matter and typing errors are not mistakes.",
                "First error mode: everything before the first bad step holds; what follows it needs no label.",
                "Mark a step as unsure when a second person might well see it differently.",
                "Give up after two or three minutes without an idea; a statement without sense is a bad problem.",
            ),
        ),
    ),
)

FLOWCHART = (
    {"question": "Does the problem make sense, and can it be solved?", "yes": 2, "no": "Bad problem"},
    {"question": "Can you tell within two or three minutes whether the step holds?", "yes": 3, "no": "Give up"},
    {"question": "Is everything true that the step states and computes?", "yes": 4, "no": "bad"},
    {"question": "Can it be checked in about 30 seconds, without paper?", "yes": 5, "no": "bad"},
    {"question": "Is it on topic, and neither circular nor a dead end?", "yes": 6, "no": "bad"},
    {"question": "Does it move the solution forward?", "yes": "good", "no": "neutral"},
)
"""The default rules as questions to ask of a step, in order; a number names the question that comes next."""


def default_body() -> GuidelineBody:
    """The default rules in the form in which projects keep theirs."""
    return read_guideline({**DEFAULT.as_json(), "flowchart": FLOWCHART})
