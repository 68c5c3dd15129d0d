"""GSM8K: `question`, and `answer` = a worked solution whose last line is `#### GOLD`."""

import re

from stepmark.records import ImportedRow, ProblemRecord

from .options import ImportOptions
from .rows import RowError, SourceRow, required, shown

_GOLD = re.compile(r"^####[ \t]*(\S.*?)[ \t]*$")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the reference solution keeps its `<<9+7=16>>` and loses the `####` line."""
    question = required(row.value, "question", str)
    answer = required(row.value, "answer", str)
    worked, _, last = answer.rstrip().rpartition("\n")
    gold = _GOLD.match(last)
    if gold is None:
        raise RowError("no_reference_answer", f"'answer' should end in a line '#### VALUE', not {shown(last)}")
    extra = {key: value for key, value in row.value.items() if key not in ("question", "answer")}
    return ImportedRow(
        ProblemRecord(
            statement=question,
            source=options.source,
            source_key=row.source_key,
            reference_answer=gold[1],
            reference_solution=worked,
            licence=options.licence,
            extra=extra or None,
        )
    )
