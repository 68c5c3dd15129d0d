"""What a labeller hands in, and what becomes of it: plain values, checked in `rules`, stored in `submissions`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SubmitStatus = Literal[
    "stored", "corrected", "repeated", "wrong_token", "lease_lost", "already_answered", "unknown_task", "invalid"
]


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """A choice between the two solutions of a pair, in the terms of the screen."""

    choice: str
    """`first`, `second`, `equal` or `both_bad`."""
    strength: int | None = None
    """1 slightly, 2 clearly, 3 far better; None where not asked."""
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CritiqueAnswer:
    """A judgement of a critique."""

    judgement: str
    """`right`, `partly` or `wrong`."""
    is_helpful: bool | None = None
    is_verdict_right: bool | None = None
    correction: str | None = None
    """The critique as it should read."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One annotator's finished work on one task, as it arrives."""

    submission_id: str
    """Chosen by the sender; the same id twice is the same submission."""
    task_id: int
    annotator_id: int
    token: str
    finish_reason: str
    labels: Sequence[int | None] = ()
    """Of step tasks, one entry per segment: +1, 0, -1, or None where no judgement was made."""
    unsure: frozenset[int] = frozenset()
    """Indexes of the segments marked as unsure."""
    step_durations_ms: Sequence[int | None] = ()
    duration_ms: int | None = None
    comment: str | None = None
    guideline: str | None = None
    suggestion_shown: bool = False
    corrects: str | None = None
    """The submission that this one replaces, after an undo."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    repaired: frozenset[int] = frozenset()
    """Indexes of the wrong segments that a later one notices and mends."""
    segments: Sequence[str] | None = None
    """The steps as this labeller split or merged them, without the answer; None: as they are."""
    written: Mapping[int, str] = field(default_factory=dict)
    """Steps that the labeller wrote, by the index of the segment whose place they take."""
    alternatives: Mapping[int, int] = field(default_factory=dict)
    """Labels of alternatives, by their id."""
    chosen: int | Literal["own"] | None = None
    """The alternative from which the labeller would go on; `own`: the written one."""
    pair: PairAnswer | None = None
    """The answer to a preference task."""
    critique: CritiqueAnswer | None = None
    """The answer to a critique task."""


@dataclass(frozen=True, slots=True)
class SubmitAnswer:
    """What became of a submission."""

    status: SubmitStatus
    message: str
    """For the annotator, where it was refused; else empty."""
    annotation_id: int | None = None
    paused: str | None = None
    """Why this annotator gets no more tasks of the project, where this answer decided so."""

    @property
    def is_accepted(self) -> bool:
        """Is the work in the database."""
        return self.status in ("stored", "corrected", "repeated")
