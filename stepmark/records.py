"""What importers hand to the database: problems, solutions and step annotations, before they have ids.

Texts are as the source wrote them; identity (hashes) is worked out where they are stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """One labeller's judgement of a solution's steps."""

    annotator: str
    """The labeller's name; made on first sight."""
    annotator_kind: str
    """`person`, `model` or `program`."""
    labels: tuple[int | None, ...]
    """+1, 0 or -1 for each step from the first on; None, or past the end: not judged."""
    finish_reason: str
    mode: str = "first_error"
    extra: Mapping[str, Any] | None = None

    @property
    def first_error(self) -> int | None:
        """0-based first step labelled -1; None where there is none.

        >>> AnnotationRecord("annotator-1", "person", (1, 0, -1, -1), "found_error").first_error
        2
        """
        return self.labels.index(-1) if -1 in self.labels else None


@dataclass(frozen=True, slots=True)
class SolutionRecord:
    """A solution as one source holds it, with the annotations it came with."""

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


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One row of a source: a problem, and the solutions of it that stand in the row."""

    problem: ProblemRecord
    solutions: tuple[SolutionRecord, ...] = ()
