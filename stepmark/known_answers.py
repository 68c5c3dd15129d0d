"""Answers that are known beforehand: what a typed one must look like, and whether a labeller's is as good.

They are about the mistakes: good and neutral are not told apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InputError

PREFERENCE_CHOICES = ("a", "b", "equal", "both_bad")
CRITIQUE_JUDGEMENTS = ("right", "partly", "wrong")
JUDGED = ("found_error", "solution")
"""Finish reasons of answers that can be right."""


def check_known_answer(answer: Mapping[str, Any], kind: str, *, n_segments: int | None = None) -> dict[str, Any]:
    """The answer as it is stored: `labels` of steps (None where any will do), a `choice`, or a `judgement`.

    Args:
        answer: As typed in or read from a file.
        kind: Of the task: `steps`, `preference` or `critique`.
        n_segments: How many segments the solution has; fewer labels are filled up with None.

    Raises:
        InputError: Says what is wrong, with the value.

    >>> check_known_answer({"labels": [1, -1]}, "steps", n_segments=4)
    {'labels': [1, -1, None, None]}
    """
    if kind == "preference":
        if answer.get("choice") not in PREFERENCE_CHOICES:
            raise InputError(
                f"known answer: choice is {answer.get('choice')!r}; use one of {', '.join(PREFERENCE_CHOICES)}"
            )
        return {"choice": answer["choice"]}
    if kind == "critique":
        if answer.get("judgement") not in CRITIQUE_JUDGEMENTS:
            raise InputError(
                f"known answer: judgement is {answer.get('judgement')!r}; use one of {', '.join(CRITIQUE_JUDGEMENTS)}"
            )
        return {"judgement": answer["judgement"]}
    labels = answer.get("labels")
    if not isinstance(labels, Sequence) or isinstance(labels, str) or not labels:
        raise InputError(f"known answer: labels is {labels!r}; give a list of 1, 0, -1 and null")
    for index, label in enumerate(labels):
        if label not in (None, -1, 0, 1) or isinstance(label, bool):
            raise InputError(f"known answer: label {index} is {label!r}; use 1, 0, -1 or null")
    if all(label is None for label in labels):
        raise InputError("known answer: no step has a label, so any answer would be right")
    if n_segments is not None and len(labels) > n_segments:
        raise InputError(f"known answer: there are {len(labels)} labels for {n_segments} segments")
    return {"labels": [*labels, *[None] * ((n_segments or len(labels)) - len(labels))]}


def is_right(
    known: Mapping[str, Any],
    *,
    finish_reason: str | None,
    labels: Mapping[int, int] | None = None,
    choice: str | None = None,
    judgement: str | None = None,
) -> bool:
    """Whether an answer is as good as the known one.

    A choice or a judgement is compared as it is. Of steps, the first error must be the same one, and where the known
    answer finds none, there must be none; steps whose known label is None can be anything, so an error that the
    labeller sees there is passed over. An answer that judges nothing (given up, bad problem) is not right.

    >>> is_right({"labels": [1, -1, None]}, finish_reason="found_error", labels={0: 0, 1: -1})
    True
    >>> is_right({"labels": [1, 1, 1]}, finish_reason="found_error", labels={0: 1, 1: -1})
    False
    >>> is_right({"labels": [1, 1, 1]}, finish_reason="give_up", labels={0: 1})
    False
    """
    if "choice" in known:
        return bool(choice == known["choice"])
    if "judgement" in known:
        return bool(judgement == known["judgement"])
    if finish_reason not in JUDGED:
        return False
    wanted = known["labels"]
    given = labels or {}
    first_known = next((index for index, label in enumerate(wanted) if label == -1), None)
    first_given = next(
        (index for index, label in enumerate(wanted) if label is not None and given.get(index) == -1), None
    )
    return first_known == first_given
