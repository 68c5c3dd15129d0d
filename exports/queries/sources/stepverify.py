"""StepVerify: wrong solutions by a model in the part of a student; teachers marked the first wrong step (from 0) and
said what is wrong with it. The student's later, right response is a second solution.
"""

from stepmark.records import AnnotationRecord, CritiqueRecord, ImportedRow, ProblemRecord, SolutionRecord
from stepmark.steps import SEPARATOR

from .options import ImportOptions
from .pairs import worked_solution
from .rows import RowError, SourceRow, optional, required, rest, texts

ANNOTATOR = "stepverify-teachers"

_KEYS = (
    "problem",
    "reference_solution",
    "student_incorrect_solution",
    "incorrect_index",
    "incorrect_step",
    "error_description",
    "student_correct_response",
)


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the last line of the reference solution is the answer, as is the last of the student's steps."""
    value = row.value
    given = texts(value, "student_incorrect_solution")
    index = required(value, "incorrect_index", int)
    if not 0 <= index < len(given):
        raise RowError(
            "label_out_of_range", f"'incorrect_index' should be that of one of {len(given)} steps, not {index}"
        )
    worked, _, gold = required(value, "reference_solution", str).rstrip().rpartition("\n")
    *steps, last = (step.strip() for step in given)
    described = optional(value, "error_description", str)
    critiques: tuple[CritiqueRecord, ...] = ()
    if described is not None and described.strip():
        note = CritiqueRecord(
            f"{row.source_key}/note",
            "note",
            ANNOTATOR,
            described,
            "fail",
            index,
            extra={"error_category": value.get("error_category")},
        )
        critiques = (note,)
    wrong = SolutionRecord(
        source=options.source,
        source_key=row.source_key,
        text=SEPARATOR.join(given),
        steps=tuple(steps),
        generator="student",
        answer=last,
        outcome=False if options.trust_outcomes else None,
        outcome_rule="source" if options.trust_outcomes else None,
        licence=options.licence,
        extra={"is_correct": False, **rest(value, *_KEYS)},
        annotations=(AnnotationRecord(ANNOTATOR, "person", (1,) * index + (-1,), "found_error"),),
        critiques=critiques,
    )
    solutions = [wrong]
    mended = optional(value, "student_correct_response", str)
    if mended is not None and mended.strip():
        solutions.append(worked_solution(mended, f"{row.source_key}/later", options, generator="student"))
    problem = ProblemRecord(
        statement=required(value, "problem", str),
        source=options.source,
        source_key=row.source_key,
        reference_answer=gold.strip() or None,
        reference_solution=worked or None,
        licence=options.licence,
    )
    return ImportedRow(problem, tuple(solutions), left_out=() if critiques else ("no_description",))
