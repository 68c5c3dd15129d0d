"""GSM-Plus: eight variants of each GSM8K problem, each with its seed.

A `critical thinking` variant lacks a needed fact: its answer is the word None, and it gets no reference answer.
"""

from stepmark.problems import statement_hash
from stepmark.records import ImportedRow, ProblemRecord

from .options import ImportOptions
from .rows import RowError, SourceRow, as_text, required, rest

KINDS = {
    "numerical substitution": "other_variant",
    "digit expansion": "other_variant",
    "integer-decimal-fraction conversion": "other_variant",
    "problem understanding": "rephrased",
    "distraction insertion": "rephrased",
    # Both ask for something else, so that no chain of the seed can be carried over to them.
    "adding operation": "backward",
    "reversing operation": "backward",
    "critical thinking": "backward",
}
NO_ANSWER = "None"

_KEYS = ("question", "answer", "solution", "seed_question", "seed_solution", "seed_answer")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the seed is stored once, under the key `seed/HASH`."""
    value = row.value
    sort = required(value, "perturbation_type", str)
    if sort not in KINDS:
        raise RowError("unknown_kind", f"'perturbation_type' should be one of {', '.join(KINDS)}, not {sort!r}")
    seed = required(value, "seed_question", str)
    answer = as_text(value, "answer")
    is_open = answer == NO_ANSWER
    parent = ProblemRecord(
        statement=seed,
        source=options.source,
        source_key=f"seed/{statement_hash(seed)}",
        reference_answer=as_text(value, "seed_answer"),
        reference_solution=_worked(required(value, "seed_solution", str)),
        licence=options.licence,
    )
    solution = required(value, "solution", str)
    problem = ProblemRecord(
        statement=required(value, "question", str),
        source=options.source,
        source_key=row.source_key,
        reference_answer=None if is_open else answer,
        reference_solution=None if is_open else _worked(solution),
        licence=options.licence,
        kind=KINDS[sort],
        parent=parent,
        extra={**rest(value, *_KEYS), **({"answer": answer, "solution": solution} if is_open else {})},
    )
    return ImportedRow(problem, left_out=("no_answer",) if is_open else ())


def _worked(solution: str) -> str:
    """The solution without its last line `#### GOLD`."""
    worked, _, last = solution.rstrip().rpartition("\n")
    return worked.rstrip() if last.startswith("####") else solution
