"""BIG-Bench Mistake: chains of thought with the 0-based first wrong step, null where there is none.

The right answers are the task's own, so outcomes are left to `stepmark verify`. Of dyck_languages a program marked
most steps; of the other tasks people did.
"""

from stepmark.records import AnnotationRecord, ImportedRow, ProblemRecord, SolutionRecord

from .options import ImportOptions
from .rows import RowError, SourceRow, as_text, optional, required, rest, texts

_KEYS = ("input", "steps", "target", "answer", "mistake_index")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; an answer may be null."""
    value = row.value
    given = texts(value, "steps", may_be_empty=True)
    index = optional(value, "mistake_index", int)
    if not given or (index is not None and not 0 <= index < len(given)):
        raise RowError(
            "label_out_of_range", f"'mistake_index' should be that of one of {len(given)} steps, not {index}"
        )
    is_program = options.part.startswith("dyck_languages")
    answer = as_text(value, "answer")
    left_out = () if answer is not None else ("answer_null" if value["answer"] is None else "answer_empty",)
    return ImportedRow(
        ProblemRecord(
            statement=required(value, "input", str),
            source=options.source,
            source_key=row.source_key,
            reference_answer=as_text(value, "target"),
            licence=options.licence,
        ),
        (
            SolutionRecord(
                source=options.source,
                source_key=row.source_key,
                text="\n".join(given),
                steps=tuple(step.strip() for step in given),
                generator="palm-2",
                answer=answer,
                licence=options.licence,
                extra=rest(value, *_KEYS) or None,
                annotations=(
                    AnnotationRecord(
                        "bigbench-mistake-program" if is_program else "bigbench-mistake-annotators",
                        "program" if is_program else "person",
                        (1,) * len(given) if index is None else (1,) * index + (-1,),
                        "solution" if index is None else "found_error",
                    ),
                ),
            ),
        ),
        left_out=left_out,
    )
