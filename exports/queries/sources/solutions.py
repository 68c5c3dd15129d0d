"""Solutions of one's own: a problem with a solution, or a list of them, with what is known of each.

`solution` (text) or `solutions` (texts, or objects with `text`, `steps`, `answer`, `outcome`, `generator`, `id`); or
`steps`, a list of texts. In place of a problem's statement, `problem_id` names a problem that another source brought.
"""

from collections.abc import Mapping
from typing import Any

from stepmark.records import ImportedRow, ProblemRecord, ProblemReference, SolutionRecord
from stepmark.steps import SEPARATOR, bare_step

from .options import ImportOptions
from .pairs import worked_solution
from .problems import ANSWER_KEYS, ID_KEYS, STATEMENT_KEYS
from .rows import RowError, SourceRow, as_text, first_key, required, rest, shown, texts

TEXT_KEYS = ("solution", "response", "completion", "text")
OUTCOME_KEYS = ("outcome", "is_correct", "correct", "label")
GENERATOR_KEYS = ("generator", "model")
_REFERENCES = ("reference_answer", "gold", "ground_truth")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; `answer` is the reference answer where several solutions stand in it, else the solution's."""
    value = row.value
    statement_key = first_key(value, STATEMENT_KEYS)
    id_key = first_key(value, ID_KEYS)
    key = (None if id_key is None else as_text(value, id_key)) or row.source_key
    several = value.get("solutions")
    if several is not None and not isinstance(several, list):
        raise RowError("wrong_type", f"'solutions' should be a list, not {shown(several)}")
    solutions = (
        tuple(_member(one, f"{key}/{number}", options) for number, one in enumerate(several))
        if several is not None
        else (_solution(value, key, options),)
    )
    if statement_key is None:
        problem_id = as_text(value, "problem_id")
        if problem_id is None:
            raise RowError("missing_key", "'problem_id' is empty, and no statement stands in the row")
        return ImportedRow(ProblemReference(options.problems, problem_id), solutions)
    answer_key = first_key(value, ANSWER_KEYS if several is not None else _REFERENCES)
    problem = ProblemRecord(
        statement=required(value, statement_key, str),
        source=options.source,
        source_key=key,
        reference_answer=None if answer_key is None else as_text(value, answer_key),
        reference_solution=None if "reference_solution" not in value else as_text(value, "reference_solution"),
        licence=options.licence,
        extra=rest(value, statement_key, id_key, answer_key, "solutions", "reference_solution") or None
        if several is not None
        else None,
    )
    return ImportedRow(problem, solutions)


def _member(found: Any, key: str, options: ImportOptions) -> SolutionRecord:
    if isinstance(found, str):
        return worked_solution(found, key, options)
    if not isinstance(found, dict):
        raise RowError("wrong_type", f"each of 'solutions' should be text or an object, not {shown(found)}")
    return _solution(found, (as_text(found, "id") if "id" in found else None) or key, options)


def _solution(value: Mapping[str, Any], key: str, options: ImportOptions) -> SolutionRecord:
    text_key, outcome_key = first_key(value, TEXT_KEYS), first_key(value, OUTCOME_KEYS)
    generator_key = first_key(value, GENERATOR_KEYS)
    outcome = None if outcome_key is None else _outcome(value[outcome_key], outcome_key)
    known = (
        *STATEMENT_KEYS,
        *ID_KEYS,
        *_REFERENCES,
        "problem_id",
        "reference_solution",
        "answer",
        "steps",
        "solutions",
    )
    used = (*known, text_key, outcome_key, generator_key)
    more: dict[str, Any] = {
        "generator": None if generator_key is None else as_text(value, generator_key),
        "answer": as_text(value, "answer") if "answer" in value else None,
        "outcome": outcome,
        "outcome_rule": None if outcome is None else "source",
        "extra": rest(value, *used) or None,
    }
    if value.get("steps") is None:
        if text_key is None:
            raise RowError(
                "missing_key", f"no key 'solution', 'solutions' or 'steps'; the row has {', '.join(value)}"
            )
        return worked_solution(required(value, text_key, str), key, options, **more)
    given = texts(value, "steps")
    text = value[text_key] if text_key is not None and isinstance(value[text_key], str) else SEPARATOR.join(given)
    return SolutionRecord(
        source=options.source,
        source_key=key,
        text=text,
        steps=tuple(bare_step(step) or step.strip() for step in given),
        licence=options.licence,
        **more,
    )


def _outcome(value: Any, key: str) -> bool | None:
    """True or false, also as CSV writes it; None where nobody knows."""
    words = {"true": True, "1": True, "false": False, "0": False, "": None}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | str) and str(value).strip().casefold() in words:
        return words[str(value).strip().casefold()]
    raise RowError("wrong_type", f"{key!r} should be true or false, not {shown(value)}")
