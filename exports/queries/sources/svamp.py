"""SVAMP: one-step word problems; variations of one seed share their body, numbers aside.

An answer that its own equation contradicts is no reference: both stand in the source row's extra, and it is counted.
"""

from fractions import Fraction

from stepmark.errors import InputError
from stepmark.expressions import parse_expression
from stepmark.records import ImportedRow, ProblemRecord

from .options import ImportOptions
from .rows import RowError, SourceRow, required, rest, shown


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the statement is body and question."""
    value = row.value
    body, question = required(value, "Body", str).strip(), required(value, "Question", str).strip()
    answer = value.get("Answer")
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise RowError("wrong_type", f"'Answer' should be a number, not {shown(answer)}")
    equation = required(value, "Equation", str)
    is_kept = _is_answer_of(equation, Fraction(str(answer)))
    joint = " " if body[-1:] in ".!?," else ", " if body[-1:].isalnum() else " "
    problem = ProblemRecord(
        statement=f"{body}{joint}{question}",
        source=options.source,
        source_key=required(value, "ID", str),
        reference_answer=_plain(answer) if is_kept else None,
        reference_solution=f"{equation} = {_plain(answer)}" if is_kept else None,
        licence=options.licence,
        family_text=body,
        extra=rest(value, "ID", *(("Answer",) if is_kept else ())),
    )
    return ImportedRow(problem, left_out=() if is_kept else ("answer_contradicts_equation",))


def _is_answer_of(equation: str, answer: Fraction) -> bool:
    try:
        value = parse_expression(equation, names=()).value({})
    except InputError:
        return True  # nothing that can be checked
    return value is None or value == answer or abs(value - answer) < Fraction(1, 1000)


def _plain(answer: int | float) -> str:
    """A number as people write it.

    >>> _plain(51.0), _plain(2.5)
    ('51', '2.5')
    """
    return str(int(answer)) if answer == int(answer) else str(answer)
