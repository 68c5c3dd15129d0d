"""LLMBar: an instruction with two outputs, of which one is better by its authors' word."""

from stepmark.records import ImportedRow, PreferenceRecord, ProblemRecord

from .options import ImportOptions
from .pairs import response
from .rows import RowError, SourceRow, required, rest

_KEYS = ("input", "output_1", "output_2", "label")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the part of MT-Bench holds the majority of its own judges, the others the authors' labels."""
    label = required(row.value, "label", int)
    if label not in (1, 2):
        raise RowError("label_out_of_range", f"'label' should be 1 or 2, not {label}")
    problem = ProblemRecord(
        statement=required(row.value, "input", str),
        source=options.source,
        source_key=row.source_key,
        licence=options.licence,
        extra=rest(row.value, *_KEYS) or None,
    )
    solutions = tuple(
        response(required(row.value, f"output_{number}", str), f"{row.source_key}/{number}", options)
        for number in (1, 2)
    )
    if solutions[0].text == solutions[1].text:
        return ImportedRow(problem, solutions[:1], left_out=("equal_responses",))
    annotator = "mt-bench-majority" if options.part.startswith("mt_bench") else "llmbar-authors"
    choice = PreferenceRecord(annotator, "person", 0, 1, "ab"[label - 1])
    return ImportedRow(problem, solutions, (choice,))
