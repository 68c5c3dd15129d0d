"""What importers hand to the database, before anything has an id: problems, solutions, and what was said of them.

Texts are as the source wrote them; identity (hashes) is worked out where they are stored. What hangs on what:

    ImportedRow
    ├── problem: ProblemRecord (its parent: a ProblemRecord), or a ProblemReference to one that is there
    ├── solutions: SolutionRecord
    │   ├── alternatives: AlternativeRecord
    │   ├── annotations: AnnotationRecord, also of the alternatives
    │   ├── critiques: CritiqueRecord
    │   │   ├── judgements: JudgementRecord
    │   │   └── critiques: CritiqueRecord, of the critique
    │   ├── scores: ScoreRecord
    │   └── step_values: StepValueRecord
    └── preferences: PreferenceRecord, between two of the solutions
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .step_values import StepValue


@dataclass(frozen=True, slots=True)
class ProblemRecord:
    """A problem as one source holds it."""

    statement: str
    source: str
    """Name of the data set, with its part where it has parts: `gsm8k/test`."""
    source_key: str
    """The row's own id in that source, or its 0-based line number."""
    reference_answer: str | None = None
    answer_kind: str = "value"
    """`value`, or `tests`: the reference answer is a Python program that raises where a solution's is wrong."""
    reference_solution: str | None = None
    licence: str | None = None
    extra: Mapping[str, Any] | None = None
    """What the source says and no column holds."""
    kind: str = "original"
    """One of the kinds of variants where it has a parent."""
    parent: "ProblemRecord | None" = None
    """What it is a variant of; it joins the parent's family."""
    family_text: str | None = None
    """The part of the statement that its siblings share, where it is not the whole: the family is told by it."""


@dataclass(frozen=True, slots=True)
class ProblemReference:
    """A problem that another file brought, by its key in that source."""

    source: str
    source_key: str


@dataclass(frozen=True, slots=True)
class AlternativeRecord:
    """Another step in the place of one of a solution's."""

    source_key: str
    step_index: int
    """0-based; the index after the last step stands for what would come next."""
    text: str
    """The bare step, or the final answer."""
    is_answer: bool = False


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """One labeller's judgement of a solution's steps, and of alternatives to them."""

    annotator: str
    """The labeller's name; made on first sight."""
    annotator_kind: str
    """`person`, `model` or `program`."""
    labels: tuple[int | None, ...]
    """+1, 0 or -1 for each step from the first on; None, or past the end: not judged."""
    finish_reason: str
    mode: str = "first_error"
    extra: Mapping[str, Any] | None = None
    alternatives: tuple[int | None, ...] = ()
    """+1, 0 or -1 for each of the solution's alternatives in their order; None: not judged."""
    written: Mapping[int, str] | None = None
    """Steps that the labeller wrote, by the index of the step in whose place."""
    duration_ms: int | None = None
    comment: str | None = None

    @property
    def first_error(self) -> int | None:
        """0-based first step labelled -1; None where there is none.

        >>> AnnotationRecord("annotator-1", "person", (1, 0, -1, -1), "found_error").first_error
        2
        """
        return self.labels.index(-1) if -1 in self.labels else None


@dataclass(frozen=True, slots=True)
class JudgementRecord:
    """One labeller's judgement of a critique."""

    annotator: str
    annotator_kind: str
    judgement: str
    """`right`, `partly` or `wrong`."""
    is_verdict_right: bool | None = None
    """None where nobody can tell."""
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CritiqueRecord:
    """Text about a solution, or about another critique of it."""

    source_key: str
    kind: str
    critic: str | None
    """The model or person that wrote it."""
    text: str
    verdict: str
    """On what it is about: `pass`, `fail` or `unreadable`."""
    first_error: int | None = None
    """0-based first wrong step as the critique sees it."""
    extra: Mapping[str, Any] | None = None
    judgements: tuple[JudgementRecord, ...] = ()
    critiques: tuple["CritiqueRecord", ...] = ()
    """Critiques of this one."""


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """What a reward model gave a solution."""

    reward_model: str
    kind: str
    """`prm`, `orm` or `bt`."""
    value: float
    step_values: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class StepValueRecord:
    """The value of a step prefix, by rollouts that others ran."""

    step_index: int
    """0-based; -1: of the problem itself."""
    value: StepValue


@dataclass(frozen=True, slots=True)
class PreferenceRecord:
    """One labeller's choice between two solutions of the row."""

    annotator: str
    annotator_kind: str
    a: int
    """Place among the row's solutions."""
    b: int
    choice: str
    """`a`, `b`, `equal` or `both_bad`."""
    strength: int | None = None
    """1 slightly, 2 clearly, 3 far better; None where not asked."""
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SolutionRecord:
    """A solution as one source holds it, with all that was said of it there."""

    source: str
    source_key: str
    text: str
    """As written, before splitting."""
    steps: tuple[str, ...]
    """Bare steps."""
    generator: str | None = None
    answer: str | None = None
    outcome: bool | None = None
    outcome_rule: str | None = None
    licence: str | None = None
    extra: Mapping[str, Any] | None = None
    annotations: tuple[AnnotationRecord, ...] = ()
    alternatives: tuple[AlternativeRecord, ...] = ()
    critiques: tuple[CritiqueRecord, ...] = ()
    scores: tuple[ScoreRecord, ...] = ()
    step_values: tuple[StepValueRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One problem of a source's row, and the solutions of it that stand in the row."""

    problem: ProblemRecord | ProblemReference
    solutions: tuple[SolutionRecord, ...] = ()
    preferences: tuple[PreferenceRecord, ...] = ()
    left_out: tuple[str, ...] = ()
    """Parts of the row that no table takes, each by its reason (`error_step_past_end`): they are counted, and stand
    in an extra where they say something."""
