"""Which step labels count: from all that labellers said of a solution to one label of each for a step.

What was said comes in chunks of whole solutions, as `db.agreement` reads them.

- Labels up to and with the first error count as they are stored; the good steps before it are judgements (+1) too.
- After the first error of a `first_error` answer nothing was asked: these steps are missing, not -1, and whatever a
  source wrote there is left out. In other modes every label counts.
- Of several answers of one labeller on one solution the latest counts; the earlier ones show how far the labeller
  agrees with itself.
- Answers that call the problem broken, or skip it, say nothing of steps.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .first_errors import NO_ERROR
from .tables import Ints

_SAYS_NOTHING = ("bad_problem", "skipped")
_UNDECIDED = -2
_NEVER = 2**31


class StepAnnotation(NamedTuple):
    """An answer of one labeller on one solution."""

    annotation_id: int
    """The later of two answers has the greater one."""
    solution_id: int
    annotator_id: int
    source: str
    """Where the solution is from."""
    mode: str | None
    finish_reason: str | None
    first_error: int | None


class StepLabel(NamedTuple):
    """A label of such an answer."""

    annotation_id: int
    step_index: int
    label: int
    """+1, 0 or -1."""
    is_unsure: bool


class LabelledSolutions(NamedTuple):
    """A chunk of whole solutions: all answers on each, and all their labels."""

    annotations: Sequence[StepAnnotation]
    labels: Sequence[StepLabel]


@dataclass(frozen=True, slots=True)
class StepColumns:
    """The labels of a chunk that count, as parallel arrays in the order of solution, step and annotator."""

    solution_id: Ints
    step_index: Ints
    annotator_id: Ints
    label: Ints
    is_unsure: npt.NDArray[np.bool_]
    again: Ints
    """Labels that were given anew: annotator, earlier label, later label (rows x 3)."""
    first_errors: Ints
    """Of the answers that say whether there is an error: solution, annotator, position or `NO_ERROR` (rows x 3)."""
    n_undecided: int
    """Answers that count and leave that open: given up before an error was found."""
    n_annotations: int
    dropped_annotations: Counter[str]
    dropped_labels: Counter[str]


def step_columns(chunk: LabelledSolutions) -> StepColumns:
    """Sorts out what of a chunk counts, by the rules at the head of this module."""
    dropped_annotations: Counter[str] = Counter()
    labelled = {label.annotation_id for label in chunk.labels}
    kept: list[tuple[int, int, int, int, int]] = []
    for one in chunk.annotations:
        position = _UNDECIDED
        if one.first_error is not None:
            position = one.first_error
        elif one.finish_reason == "solution":
            position = NO_ERROR
        if one.finish_reason in _SAYS_NOTHING:
            dropped_annotations[str(one.finish_reason)] += 1
        elif position == _UNDECIDED and one.annotation_id not in labelled:
            dropped_annotations["no labels"] += 1
        else:
            last = one.first_error if one.mode == "first_error" and one.first_error is not None else _NEVER
            kept.append((one.annotation_id, one.solution_id, one.annotator_id, position, last))
    answers = _sorted(np.array(kept, dtype=np.int64).reshape(-1, 5), by=(1, 2, 0))
    is_latest = np.append((answers[1:, 1:3] != answers[:-1, 1:3]).any(axis=1), True)[: len(answers)]

    labels = np.array([tuple(label) for label in chunk.labels], dtype=np.int64).reshape(-1, 4)
    place = {annotation_id: number for number, annotation_id in enumerate(answers[:, 0].tolist())}
    of_answer = np.array([place.get(id_, -1) for id_ in labels[:, 0].tolist()], dtype=np.int64)
    labels, of_answer = labels[of_answer >= 0], of_answer[of_answer >= 0]
    is_asked = labels[:, 1] <= answers[of_answer, 4]
    dropped_labels = Counter({"after the first error": int((~is_asked).sum())})
    labels, of_answer = labels[is_asked], of_answer[is_asked]

    # solution, step, annotator, answer, label, unsure
    rows = np.column_stack(
        [answers[of_answer, 1], labels[:, 1], answers[of_answer, 2], of_answer, labels[:, 2], labels[:, 3]]
    )
    rows = _sorted(rows, by=(0, 1, 2, 3))
    is_again = (rows[1:, :3] == rows[:-1, :3]).all(axis=1)
    again = np.column_stack([rows[1:, 2], rows[:-1, 4], rows[1:, 4]])[is_again]
    counts = is_latest[rows[:, 3]]
    dropped_labels["earlier answer"] = int((~counts).sum())
    rows = rows[counts]
    is_decided = answers[:, 3] != _UNDECIDED
    return StepColumns(
        solution_id=rows[:, 0],
        step_index=rows[:, 1],
        annotator_id=rows[:, 2],
        label=rows[:, 4],
        is_unsure=rows[:, 5].astype(np.bool_),
        again=again,
        first_errors=answers[is_latest & is_decided][:, 1:4],
        n_undecided=int((is_latest & ~is_decided).sum()),
        n_annotations=len(chunk.annotations),
        dropped_annotations=dropped_annotations,
        dropped_labels=+dropped_labels,
    )


def _sorted(rows: Ints, *, by: Sequence[int]) -> Ints:
    ordered: Ints = rows[np.lexsort([rows[:, column] for column in reversed(by)])]
    return ordered
