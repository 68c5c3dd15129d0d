"""PRMBench: right solutions that a model rewrote to be wrong, with every wrong step, counted from 1.

A question that was rewritten too is a variant of the original one. A number past the last step is left out, and
counted; the row's own numbers stand in the solution's extra then.
"""

from stepmark.answers import extract_answer
from stepmark.problems import statement_hash
from stepmark.records import AnnotationRecord, ImportedRow, ProblemRecord, SolutionRecord
from stepmark.steps import SEPARATOR, bare_step

from .options import ImportOptions
from .rows import RowError, SourceRow, required, rest, shown, texts

ANNOTATOR = "prmbench-gpt-4o"

_KEYS = ("idx", "question", "modified_question", "modified_process", "error_steps")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the original process stays in the solution's extra."""
    value = row.value
    key = required(value, "idx", str) + "/" + required(value, "classification", str)
    original, modified = required(value, "original_question", str), required(value, "modified_question", str)
    given = texts(value, "modified_process")
    numbers = required(value, "error_steps", list)
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise RowError("wrong_type", f"'error_steps' should be whole numbers, not {shown(numbers)}")
    outside = [number for number in numbers if not 1 <= number <= len(given)]
    wrong = {number - 1 for number in numbers}
    labels = tuple(-1 if index in wrong else 1 for index in range(len(given)))
    question = required(value, "question", str)
    parent = ProblemRecord(question, options.source, f"question/{statement_hash(question)}", licence=options.licence)
    problem = ProblemRecord(
        statement=question if modified == original else modified,
        source=options.source,
        source_key=key,
        licence=options.licence,
        kind="original" if modified == original else "other_variant",
        parent=None if modified == original else parent,
    )
    extra = rest(value, *_KEYS)
    if outside:
        extra["error_steps"] = numbers
    steps = tuple(bare_step(step) or step.strip() for step in given)
    solution = SolutionRecord(
        source=options.source,
        source_key=key,
        text=SEPARATOR.join(given),
        steps=steps,
        answer=extract_answer(given[-1]).answer if given else None,
        licence=options.licence,
        extra=extra,
        annotations=(
            AnnotationRecord(
                ANNOTATOR,
                "model",
                labels,
                "found_error" if -1 in labels else "solution",
                mode="all_steps",
                comment=value.get("reason") if isinstance(value.get("reason"), str) else None,
            ),
        ),
    )
    return ImportedRow(problem, (solution,), left_out=("error_step_past_end",) if outside else ())
