"""ProcessBench: solutions in steps, with the 0-based first wrong step that experts found (-1: none).

Nothing is said of steps after the first wrong one, so none is labelled.
"""

from stepmark.answers import extract_answer
from stepmark.records import AnnotationRecord, ImportedRow, ProblemRecord, SolutionRecord
from stepmark.steps import SEPARATOR, bare_step

from .options import ImportOptions
from .rows import RowError, SourceRow, required, shown

ANNOTATOR = "processbench-experts"

_KEYS = {"id", "generator", "problem", "steps", "label", "final_answer_correct"}


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; steps that were not bare also stand in the solution's extra, as the source has them."""
    key = required(row.value, "id", str)
    given = required(row.value, "steps", list)
    for step in given:
        if not isinstance(step, str) or not step.strip():
            raise RowError("wrong_type", f"each of 'steps' should be text, not {shown(step)}")
    label = required(row.value, "label", int)
    if not given or not -1 <= label < len(given):
        raise RowError(
            "label_out_of_range", f"'label' should be -1 or the index of one of the {len(given)} steps, not {label}"
        )
    steps = tuple(bare_step(step) or step.strip() for step in given)
    text = SEPARATOR.join(given)
    extra = {name: value for name, value in row.value.items() if name not in _KEYS}
    if list(steps) != given:
        extra["steps"] = given
    problem = ProblemRecord(
        statement=required(row.value, "problem", str),
        source=options.source,
        source_key=key,
        licence=options.licence,
    )
    solution = SolutionRecord(
        source=options.source,
        source_key=key,
        text=text,
        steps=steps,
        generator=required(row.value, "generator", str),
        answer=extract_answer(text).answer,
        outcome=required(row.value, "final_answer_correct", bool),
        outcome_rule="source",
        licence=options.licence,
        extra=extra or None,
        annotations=(
            AnnotationRecord(
                annotator=ANNOTATOR,
                annotator_kind="person",
                labels=(1,) * len(given) if label == -1 else (1,) * label + (-1,),
                finish_reason="solution" if label == -1 else "found_error",
            ),
        ),
    )
    return ImportedRow(problem, (solution,))
