"""What an answer must look like: each function says in a sentence what is wrong with one, or None. No database."""

from collections.abc import Collection, Sequence

from stepmark.projects import ProjectSettings

from ..models import CRITIQUE_JUDGEMENTS, FINISH_REASONS
from .submission import CritiqueAnswer, PairAnswer, Submission

COUNTING_REASONS = ("found_error", "solution", "bad_problem")
"""Finish reasons that satisfy a task; after `give_up` and `skipped` it goes to somebody else."""

LABELLED_REASONS = ("found_error", "solution", "give_up")
"""Finish reasons whose step labels are stored; a skipped or broken problem says nothing about steps."""

JUDGED_REASONS = ("found_error", "solution")
"""Finish reasons of a task that was answered to its end."""

SCREEN_CHOICES = ("first", "second", "equal", "both_bad")


def first_error(labels: Sequence[int | None], repaired: Collection[int] = ()) -> int | None:
    """0-based index of the first -1 that no later step mends; None if there is none.

    >>> first_error([1, 0, -1, None]), first_error([1, -1, -1], repaired={1})
    (2, 2)
    """
    return next((i for i, label in enumerate(labels) if label == -1 and i not in repaired), None)


def labels_problem(
    labels: Sequence[int | None],
    mode: str,
    finish_reason: str,
    *,
    n_segments: int,
    repaired: Collection[int] = (),
) -> str | None:
    """Says what is wrong with a submission's labels; None if they fit the mode and the finish reason.

    >>> labels_problem([1, -1, None], "first_error", "found_error", n_segments=3)
    >>> labels_problem([1, -1, -1], "first_error", "found_error", n_segments=3)
    'segment 2 is labelled, after the first error 1: in first_error mode what follows stays unlabelled'
    >>> labels_problem([1, None, 1], "all_steps", "solution", n_segments=3)
    'segment 1 has no label'
    """
    if len(labels) != n_segments:
        return f"there are {len(labels)} labels for {n_segments} segments"
    for index, label in enumerate(labels):
        if label not in (None, -1, 0, 1):
            return f"segment {index} has label {label!r}; labels are 1, 0, -1 or none"
    error = first_error(labels, repaired)
    stops_at_error = mode in ("first_error", "verify")
    if stops_at_error and error is not None:
        for index, label in enumerate(labels[error + 1 :], start=error + 1):
            if label is not None:
                return (
                    f"segment {index} is labelled, after the first error {error}: "
                    f"in {mode} mode what follows stays unlabelled"
                )
    if finish_reason not in JUDGED_REASONS:
        return None if finish_reason in FINISH_REASONS else f"finish reason {finish_reason!r} is unknown"
    if (finish_reason == "found_error") != (error is not None):
        return f"finish reason {finish_reason!r} does not go with " + (
            "labels without an error" if error is None else f"an error in segment {error}"
        )
    needed = labels[: error + 1] if stops_at_error and error is not None else labels
    for index, label in enumerate(needed):
        if label is None:
            return f"segment {index} has no label"
    return None


def steps_problem(
    submission: Submission, *, mode: str, steps: Sequence[str], has_answer: bool, settings: ProjectSettings
) -> str | None:
    """What is wrong with an answer to a step task, in any mode but `alternatives`."""
    segments = steps
    if submission.segments is not None:
        segments = submission.segments
        if not all(segment.strip() for segment in segments):
            return "a segment is empty"
        if _bare(segments) != _bare(steps):
            return "the segments are not the solution's steps, split or merged"
    if submission.alternatives or submission.chosen is not None:
        return "this task has no alternatives to rate"
    n_segments = len(segments) + has_answer
    problem = labels_problem(
        submission.labels, mode, submission.finish_reason, n_segments=n_segments, repaired=submission.repaired
    )
    return problem or _common_problem(submission, settings, n_segments=n_segments)


def alternatives_problem(
    submission: Submission,
    *,
    step_index: int,
    n_segments: int,
    offered: Collection[int],
    needed: Collection[int],
    settings: ProjectSettings,
) -> str | None:
    """What is wrong with an answer in mode `alternatives`.

    Args:
        submission: The answer.
        step_index: The step that stands beside its alternatives.
        n_segments: Of the solution; `labels` has as many entries, only that of the step set.
        offered: Ids of the alternatives there are.
        needed: Those of them that were there when the task was claimed: a complete answer labels them all.
        settings: Of the project.
    """
    if submission.segments is not None:
        return "steps cannot be split or merged where alternatives are rated"
    labels = submission.labels
    if len(labels) != n_segments:
        return f"there are {len(labels)} labels for {n_segments} segments"
    for index, label in enumerate(labels):
        if label not in (None, -1, 0, 1):
            return f"segment {index} has label {label!r}; labels are 1, 0, -1 or none"
        if index != step_index and label is not None:
            return f"segment {index} is labelled; only step {step_index} and its alternatives are rated"
    for alternative_id, label in submission.alternatives.items():
        if alternative_id not in offered:
            return f"alternative {alternative_id} is none of this step's"
        if label not in (-1, 0, 1):
            return f"alternative {alternative_id} has label {label!r}; labels are 1, 0 or -1"
        if settings.label_scheme == "good_bad" and label == 0:
            return f"alternative {alternative_id} has label 0, which this project does not offer"
    for index in submission.written:
        if index != step_index:
            return f"step {index} was written; only step {step_index} can be"
    if problem := _common_problem(submission, settings, n_segments=n_segments):
        return problem
    chosen = submission.chosen
    if chosen == "own" and step_index not in submission.written:
        return "the chosen step is your own, but none was written"
    if isinstance(chosen, int) and submission.alternatives.get(chosen) not in (0, 1):
        return f"alternative {chosen} was chosen, but is not labelled good or neutral"
    if submission.finish_reason not in JUDGED_REASONS:
        return None if submission.finish_reason in FINISH_REASONS else _unknown(submission)
    if labels[step_index] is None:
        return f"segment {step_index} has no label"
    for alternative_id in needed:
        if alternative_id not in submission.alternatives:
            return f"alternative {alternative_id} has no label"
    return None


def pair_problem(submission: Submission, settings: ProjectSettings) -> str | None:
    """What is wrong with an answer to a preference task."""
    if problem := _foreign_problem(submission, "preference"):
        return problem
    pair = submission.pair
    if submission.finish_reason != "solution":
        return None
    if pair is None:
        return "no choice was made"
    if pair.choice not in SCREEN_CHOICES:
        return f"choice {pair.choice!r} is unknown; use one of {', '.join(SCREEN_CHOICES)}"
    if pair.strength is not None:
        if not settings.asks_strength:
            return "this project does not ask how much better a solution is"
        if pair.strength not in (1, 2, 3):
            return f"strength is {pair.strength}; use 1, 2 or 3"
        if pair.choice in ("equal", "both_bad"):
            return f"choice {pair.choice!r} has no strength"
    for reason in pair.reasons:
        if reason not in settings.pair_reasons:
            return f"reason {reason!r} is none that this project offers"
    return None


def critique_problem(submission: Submission, *, verdict: str) -> str | None:
    """What is wrong with an answer to a critique task; `verdict` is the critique's."""
    if problem := _foreign_problem(submission, "critique"):
        return problem
    answer: CritiqueAnswer | None = submission.critique
    if submission.finish_reason != "solution":
        return None
    if answer is None:
        return "no judgement was made"
    if answer.judgement not in CRITIQUE_JUDGEMENTS:
        return f"judgement {answer.judgement!r} is unknown; use one of {', '.join(CRITIQUE_JUDGEMENTS)}"
    if answer.is_verdict_right is not None and verdict == "unreadable":
        return "the critique has no readable verdict that could be right or wrong"
    return None


def _foreign_problem(submission: Submission, kind: str) -> str | None:
    """What a pair's or a critique's answer must not bring, and how it can end."""
    steps = (
        submission.labels,
        submission.segments,
        submission.repaired,
        submission.written,
        submission.alternatives,
        submission.unsure,
    )
    if any(steps) or submission.chosen is not None:
        return f"a {kind} task has no steps to label"
    other: PairAnswer | CritiqueAnswer | None = submission.critique if kind == "preference" else submission.pair
    if other is not None:
        return f"this is not the answer to a {kind} task"
    if submission.finish_reason not in FINISH_REASONS:
        return _unknown(submission)
    if submission.finish_reason == "found_error":
        return f"finish reason 'found_error' does not go with a {kind} task"
    return None


def _common_problem(submission: Submission, settings: ProjectSettings, *, n_segments: int) -> str | None:
    """What all answers to step tasks share."""
    if submission.pair is not None or submission.critique is not None:
        return "this is not the answer to a step task"
    labels = submission.labels
    if settings.label_scheme == "good_bad" and 0 in labels:
        return f"segment {list(labels).index(0)} has label 0, which this project does not offer"
    if submission.repaired and settings.repaired_steps == "error":
        return "this project does not tell mended errors from others"
    for index in sorted(submission.repaired):
        if not 0 <= index < n_segments or labels[index] != -1:
            return f"segment {index} is said to be mended later, but is not labelled bad"
    for index in sorted(submission.unsure):
        if not 0 <= index < n_segments:
            return f"segment {index} is marked as unsure, but there are {n_segments} segments"
    for index, text in sorted(submission.written.items()):
        if not 0 <= index < n_segments:
            return f"step {index} was written, but there are {n_segments} segments"
        if not text.strip():
            return f"the step written in the place of step {index} is empty"
    return None


def _unknown(submission: Submission) -> str:
    return f"finish reason {submission.finish_reason!r} is unknown"


def _bare(segments: Sequence[str]) -> str:
    """The text without white space: what splitting and merging leave as it is."""
    return "".join("".join(segment.split()) for segment in segments)
