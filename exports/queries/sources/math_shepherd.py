r"""Math-Shepherd: a problem and its steps in one text, `ки` after each; `label` has `+` or `-` in its place.

    {"input": "What is 9 + 7 - 2? Step 1: 9 + 7 = 16 ки\nStep 2: 16 - 2 = 14 The answer is: 14 ки",
     "label": "What is 9 + 7 - 2? Step 1: 9 + 7 = 16 +\nStep 2: 16 - 2 = 14 The answer is: 14 +", "task": "GSM8K"}

The labels are hard estimates by rollouts: a program's. Where the input is not laid out just so, it stays in the
solution's extra, so that a row goes out as it came.
"""

import re
from collections.abc import Sequence

from stepmark.answers import extract_answer
from stepmark.records import AnnotationRecord, ImportedRow, ProblemRecord, SolutionRecord
from stepmark.steps import bare_step, render_step

from .options import ImportOptions
from .rows import RowError, SourceRow, required, rest

MARK = "ки"
ANNOTATOR = "math-shepherd"

_FIRST_STEP = re.compile(r"\s*\bStep\s*1\s*[:.]", re.IGNORECASE)
_LABELS = {"+": 1, "-": -1}


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the problem is what stands before `Step 1:`."""
    given, labelled = required(row.value, "input", str), required(row.value, "label", str)
    *parts, tail = given.split(MARK)
    if not parts:
        raise RowError("no_steps", f"'input' has no step that ends in {MARK}")
    labels = _labels(parts, tail, labelled)
    first = _FIRST_STEP.search(parts[0])
    if first is None or not parts[0][: first.start()].strip():
        raise RowError("no_steps", "'input' has no statement before a 'Step 1:'")
    statement = parts[0][: first.start()].strip()
    texts = [parts[0][first.start() :], *parts[1:]]
    steps = tuple(bare_step(text) or text.strip() for text in texts)
    extra = rest(row.value, "input", "label")
    if as_input(statement, steps) != given:
        extra["input"] = given
    text = "\n".join(text.strip() for text in texts)
    return ImportedRow(
        ProblemRecord(statement, options.source, row.source_key, licence=options.licence),
        (
            SolutionRecord(
                source=options.source,
                source_key=row.source_key,
                text=text,
                steps=steps,
                answer=extract_answer(steps[-1]).answer,
                licence=options.licence,
                extra=extra or None,
                annotations=(
                    AnnotationRecord(
                        ANNOTATOR,
                        "program",
                        labels,
                        "found_error" if -1 in labels else "solution",
                        mode="all_steps",
                    ),
                ),
            ),
        ),
    )


def as_input(statement: str, steps: Sequence[str]) -> str:
    r"""The row's `input`, as the source lays it out.

    >>> as_input("What is 2 + 3?", ["2 + 3 = 5 The answer is: 5"])
    'What is 2 + 3? Step 1: 2 + 3 = 5 The answer is: 5 ки'
    """
    return f"{statement} " + "\n".join(f"{render_step(index, step)} {MARK}" for index, step in enumerate(steps))


def as_label(given: str, labels: Sequence[int]) -> str:
    """The row's `label`: its input with the labels in place of the marks."""
    *parts, tail = given.split(MARK)
    signs = ["+" if label > 0 else "-" for label in labels]
    return "".join(part + sign for part, sign in zip(parts, signs, strict=True)) + tail


def _labels(parts: Sequence[str], tail: str, labelled: str) -> tuple[int, ...]:
    """Reads the signs off; everything else in the two texts is the same.

    Raises:
        RowError: It is not.
    """
    at = 0
    labels = []
    for number, part in enumerate(parts, start=1):
        at += len(part)
        sign = labelled[at : at + 1]
        if labelled[at - len(part) : at] != part or sign not in _LABELS:
            raise RowError(
                "label_mismatch", f"'label' should be 'input' with + or - for each {MARK}: not at step {number}"
            )
        labels.append(_LABELS[sign])
        at += 1
    if labelled[at:].strip() != tail.strip():
        raise RowError("label_mismatch", f"'label' goes on otherwise than 'input' after the last {MARK}")
    return tuple(labels)
