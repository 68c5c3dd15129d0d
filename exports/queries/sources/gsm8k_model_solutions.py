"""GSM8K's example_model_solutions: a problem, and one solution of it by each of four systems.

`is_correct` goes to the solution's extra, so that the verifier can be held against it; it is the outcome only
if the user trusts it.
"""

import re

from stepmark.records import ImportedRow, ProblemRecord, SolutionRecord
from stepmark.steps import split_solution

from .options import ImportOptions
from .rows import RowError, SourceRow, required, shown

GENERATORS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

_ANSWER_LINE = re.compile(r"(?:^|\n)A:([^\n]*)$")
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row of four solutions."""
    question = required(row.value, "question", str)
    worked, gold = _split(required(row.value, "ground_truth", str))
    if not gold:
        raise RowError(
            "no_reference_answer",
            f"'ground_truth' should end in a line 'A: VALUE', not {shown(row.value['ground_truth'][-40:])}",
        )
    known = {"question", "ground_truth", *GENERATORS}
    extra = {key: value for key, value in row.value.items() if key not in known}
    problem = ProblemRecord(
        statement=question,
        source=options.source,
        source_key=row.source_key,
        reference_answer=gold,
        reference_solution=worked,
        licence=options.licence,
        extra=extra or None,
    )
    return ImportedRow(problem, tuple(_solution(row, generator, options) for generator in GENERATORS))


def _solution(row: SourceRow, generator: str, options: ImportOptions) -> SolutionRecord:
    cell = required(row.value, generator, dict)
    text = required(cell, "solution", str, where=f" of {generator!r}")
    is_correct = required(cell, "is_correct", bool, where=f" of {generator!r}")
    worked, answer = _split(text)
    return SolutionRecord(
        source=options.source,
        source_key=f"{row.source_key}/{generator}",
        text=text,
        steps=split_solution(_CALCULATOR.sub("", worked)).steps,
        generator=generator,
        answer=answer,
        outcome=is_correct if options.trust_outcomes else None,
        outcome_rule="source" if options.trust_outcomes else None,
        licence=options.licence,
        extra={key: value for key, value in cell.items() if key != "solution"},
    )


def _split(text: str) -> tuple[str, str | None]:
    r"""The worked part, and the value of the last line `A: VALUE`; None where there is no such line.

    >>> _split("13 * 2 = 26\nA: 26")
    ('13 * 2 = 26', '26')
    >>> _split("13 * 2 = 2")
    ('13 * 2 = 2', None)
    """
    text = text.rstrip()
    match = _ANSWER_LINE.search(text)
    return (text, None) if match is None else (text[: match.start()], match[1].strip() or None)
