"""Chain-of-thought samples of GSM8K's test questions, which they name by line in the published file.

The questions come from elsewhere: import GSM8K's test part first, with its lines as keys where the file is not whole
(`--keys`), and name it by `--problems` if its source is not `gsm8k/test`.
"""

from stepmark.answers import extract_answer
from stepmark.records import ImportedRow, ProblemReference

from .options import ImportOptions
from .pairs import worked_solution
from .rows import RowError, SourceRow, optional, required, rest, shown


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the generator is the file's name, which says model and prompt."""
    value = row.value
    key = str(required(value, "id", int))
    text = required(value, "completion", str)
    if value.get("completions") not in (None, [text]):
        raise RowError(
            "more_completions", f"'completions' should hold 'completion' alone, not {shown(value['completions'])}"
        )
    given = optional(value, "answer", str)
    answer = extract_answer(text).answer or (given.strip() or None if given is not None else None)
    solution = worked_solution(
        text,
        f"{key}/{options.part}",
        options,
        generator=options.part or None,
        answer=answer,
        extra={"parsed_answer": given, **rest(value, "id", "completion", "completions", "answer")},
    )
    return ImportedRow(ProblemReference(options.problems, key), (solution,))
