"""What is known beside the steps of a solution, for a person to see after an answer of their own.

Plain values all through: `dataclasses.asdict` of an `Evidence` is what JSON takes. A segment is what carries one
label: each step, then the answer.
"""

from dataclasses import dataclass
from typing import Literal

from .arithmetic import Finding

CarriedState = Literal["carried", "no equation", "cannot be carried", "wrong as it stands", "not reached", "left out"]
"""What became of a step on a variant: worked out there; nothing in it to work out; it stops the chain, as the reason
says; its own arithmetic is wrong, so nothing is carried past it; it stands behind such a step; the critic passed over
it."""


@dataclass(frozen=True, slots=True)
class RolloutValue:
    """How often a run's rollouts from behind a segment reached the right answer."""

    run_id: int
    model: str
    n_right: int
    n_rollouts: int
    n_unreadable: int
    """Of the rollouts, those whose answer nobody could read; they are not right."""
    value: float
    """The share that is right."""
    low: float
    """Of its 95 % interval (Wilson)."""
    high: float


@dataclass(frozen=True, slots=True)
class SegmentScore:
    """What a reward model gave one segment."""

    reward_model: str
    value: float
    """P(correct)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A step, or the answer, with what stands beside it."""

    index: int
    """0-based; the answer's is the number of steps."""
    text: str
    """The bare step, or the answer."""
    is_answer: bool
    arithmetic: tuple[Finding, ...]
    """Its equations, with their places in `text`."""
    values: tuple[RolloutValue, ...]
    """By run, the newest first; none of an answer."""
    scores: tuple[SegmentScore, ...]
    """By reward model, the newest first."""


@dataclass(frozen=True, slots=True)
class SolutionScore:
    """What a reward model gave the whole solution."""

    reward_model: str
    kind: str
    """`prm`, `orm` or `bt`."""
    value: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """A critique of the solution on its own problem."""

    critique_id: int
    kind: str
    """The kind of critic: `judge`, `self`, `reference`, `concrete`, ..."""
    critic: str | None
    """The model (or person) that wrote it."""
    verdict: str
    """`pass`, `fail` or `unreadable`."""
    first_error: int | None
    """0-based; None where it names no step."""
    reason: str | None
    """Why it is unreadable."""
    is_confirmed: bool | None
    """Whether the verifier holds the verdict to be right; None while unknown."""
    confirmation_rule: str | None
    """What decided that."""
    text: str
    """Its words, cut where they are long."""


@dataclass(frozen=True, slots=True)
class Votes:
    """What several critiques by one kind of critic and model say together, those that are left out included."""

    kind: str
    critic: str | None
    n_pass: int
    n_fail: int
    n_unreadable: int
    first_errors: tuple[tuple[int, int], ...]
    """Each step (0-based) that is named as the first error, and how many name it."""


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """A step of the solution beside what it becomes on a variant."""

    index: int
    """0-based."""
    state: CarriedState
    here: str | None
    """The number that it comes to as the solution has it; None where none can be read."""
    there: str | None
    """The number that it comes to on the variant."""
    text: str | None
    """As it reads on the variant; of a step that cannot be carried, the critic's words about it."""
    arithmetic: tuple[Finding, ...]
    """The equations of `text`: a critic may miscalculate."""


@dataclass(frozen=True, slots=True)
class Application:
    """The solution's chain carried over to a variant of its problem, beside the variant's own answer."""

    critique_id: int | None
    """None where it was worked out just now."""
    kind: str
    """`replay` (by program), `variant` (by a model)."""
    critic: str | None
    variant_id: int
    """The variant's problem."""
    statement: str
    """The variant's."""
    variant_kind: str
    """How the variant was made: `template`, `program`, ..."""
    reference_trust: str | None
    """How the variant's answer is known. To miss an answer that nobody verified is a question, not a proof."""
    steps: tuple[CarriedOver, ...]
    """One for each step of the solution."""
    found: str | None
    """The answer that the carried chain reaches; None where it reaches none."""
    expected: str | None
    """The variant's own answer."""
    agrees: bool | None
    """Whether the two are one answer; None where there is none, or nobody can tell."""
    leaves_at: int | None
    """0-based: the first step that comes to what a step of the problem's reference solution comes to, but on the
    variant to something else. None where the chain agrees, where the reference solution cannot be carried over to the
    variant's own answer, or where no step shows it."""
    verdict: str
    first_error: int | None
    """0-based; None where it names no step."""
    reason: str | None
    """Why the chain could not be carried to its end, or the verdict is unreadable."""
    is_confirmed: bool | None
    confirmation_rule: str | None
    text: str | None
    """The critic's words, cut where they are long; None of a program's."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known beside a solution's steps."""

    solution_id: int
    problem_id: int
    statement: str
    outcome: bool | None
    """Whether the final answer is right; None while unknown."""
    generator: str | None
    segments: tuple[Segment, ...]
    start_values: tuple[RolloutValue, ...]
    """Of the problem itself, before any step: what the steps' values are to be held against."""
    scores: tuple[SolutionScore, ...]
    votes: tuple[Votes, ...]
    opinions: tuple[Opinion, ...]
    applications: tuple[Application, ...]
    """What fails and is confirmed first, then what fails, passes, cannot be read."""
    left_out: dict[str, int]
    """What there is more of than is shown, by kind."""
