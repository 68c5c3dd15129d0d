"""MR-Ben: exam questions with up to three solutions; people marked the first wrong step, said why, and rewrote it.

One object, by question: a list of solutions. Steps count from 1. In coding.json the solution, the reason and the
rewritten step are plain texts, and the wrong step is a line of code: no step label comes of it.
"""

import re
from collections.abc import Mapping
from typing import Any

from stepmark.records import AnnotationRecord, CritiqueRecord, ImportedRow, ProblemRecord, SolutionRecord
from stepmark.steps import SEPARATOR, bare_step

from .options import ImportOptions
from .rows import RowError, SourceRow, as_text, optional, required, rest, shown

ANNOTATOR = "mr-ben-annotators"
NOT_APPLICABLE = "N/A"

_CHOICE = re.compile(r"Solution:\s*(?:Choice[ _]?)?(.*)", re.IGNORECASE | re.DOTALL)
_OF_PROBLEM = ("Question_UUID", "Subject", "Question", "Options", "Ground_Truth_Analysis")
_ANSWERS = ("Ground_Truth_Answer_Modified", "Ground_Truth_Answer")
_OF_SOLUTION = ("Sampled_Model", "Model_Solution_Steps")


def parse(row: SourceRow, options: ImportOptions) -> list[ImportedRow]:
    """Reads one question; the annotators' own gold answer counts before the exam's."""
    key = required(row.value, "key", str)
    members = required(row.value, "value", list)
    if not members or not all(isinstance(one, dict) for one in members):
        raise RowError("wrong_type", f"the value of {key!r} should be a list of solutions, not {shown(members)}")
    first = members[0]
    answer = next((found for name in _ANSWERS if name in first and (found := as_text(first, name))), None)
    analysis = optional(first, "Ground_Truth_Analysis", str) or ""
    problem = ProblemRecord(
        statement=_statement(first),
        source=options.source,
        source_key=key,
        reference_answer=answer,
        reference_solution=analysis.strip() or None,
        licence=options.licence,
        extra={name: first[name] for name in (*_OF_PROBLEM[1:], *_ANSWERS) if name in first},
    )
    own: list[SolutionRecord] = []
    others: list[ImportedRow] = []
    left_out: list[str] = []
    for one in members:
        solution, reasons = _solution(one, f"{key}/{required(one, 'Sampled_Model', str)}", options)
        left_out += reasons
        statement = _statement(one)
        if statement == problem.statement:
            own.append(solution)
        else:  # the same question with other options, or other words
            apart = ProblemRecord(
                statement,
                options.source,
                solution.source_key,
                reference_answer=answer,
                licence=options.licence,
                family_text=problem.statement,
            )
            others.append(ImportedRow(apart, (solution,)))
    return [ImportedRow(problem, tuple(own), left_out=tuple(left_out)), *others]


def _statement(value: Mapping[str, Any]) -> str:
    question, choices = required(value, "Question", str), optional(value, "Options", str)
    return question if not choices else f"{question}\n\n{choices}"


def _solution(value: Mapping[str, Any], key: str, options: ImportOptions) -> tuple[SolutionRecord, list[str]]:
    given = value.get("Model_Solution_Steps")
    if isinstance(given, str):
        steps: tuple[str, ...] = (given.strip(),)
        text, answer = given, None
    elif isinstance(given, list) and given and all(isinstance(step, str) for step in given):
        text = SEPARATOR.join(given)
        last = _CHOICE.fullmatch(given[-1].strip())
        answer = None if last is None else last[1].strip() or None
        body = given if last is None else given[:-1]
        steps = tuple(bare_step(step) or step.strip() for step in body)
    else:
        raise RowError("wrong_type", f"'Model_Solution_Steps' should be text or a list of it, not {shown(given)}")
    is_right = _is_right(value)
    n_labelled = len(steps) + (answer is not None)
    first_error, left_out = _first_error(value, n_labelled, is_right=is_right, has_lines=isinstance(given, str))
    annotations: tuple[AnnotationRecord, ...] = ()
    if is_right or first_error is not None:
        labels = (1,) * len(steps) if first_error is None else (1,) * first_error + (-1,)
        rewritten = _texts(value, "Model_Solution_Rectified_First_Error_Step")
        annotations = (
            AnnotationRecord(
                ANNOTATOR,
                "person",
                labels,
                "solution" if is_right else "found_error",
                written=None if first_error is None or not rewritten else {first_error: bare_step(rewritten[0])},
            ),
        )
    reasons = _texts(value, "Model_Solution_Error_Reason")
    record = SolutionRecord(
        source=options.source,
        source_key=key,
        text=text,
        steps=steps,
        generator=required(value, "Sampled_Model", str),
        answer=answer,
        outcome=is_right if options.trust_outcomes else None,
        outcome_rule="source" if options.trust_outcomes else None,
        licence=options.licence,
        extra={"is_correct": is_right, **rest(value, *_OF_PROBLEM, *_ANSWERS, *_OF_SOLUTION)},
        annotations=annotations,
        critiques=tuple(
            CritiqueRecord(f"{key}/reason/{number}", "note", ANNOTATOR, reason.strip(), "fail", first_error)
            for number, reason in enumerate(reasons)
        ),
    )
    return record, left_out


def _is_right(value: Mapping[str, Any]) -> bool:
    word: str = required(value, "Model_Solution_Correctness", str)
    if word not in ("correct", "incorrect"):
        raise RowError("wrong_type", f"'Model_Solution_Correctness' should be correct or incorrect, not {word!r}")
    return word == "correct"


def _first_error(
    value: Mapping[str, Any], n_labelled: int, *, is_right: bool, has_lines: bool
) -> tuple[int | None, list[str]]:
    """0-based first wrong step, and why there is none where there should be."""
    if is_right:
        return None, []
    number = str(value.get("Model_Solution_First_Error_Step", "")).strip()
    if has_lines or not number.isascii() or not number.isdecimal():
        return None, ["error_step_is_no_number"]
    if not 1 <= int(number) <= n_labelled:
        return None, ["error_step_past_end"]
    return int(number) - 1, []


def _texts(value: Mapping[str, Any], name: str) -> list[str]:
    found = value.get(name)
    if found is None or found == NOT_APPLICABLE:
        return []
    parts = found if isinstance(found, list) else [found]
    if not all(isinstance(part, str) for part in parts):
        raise RowError("wrong_type", f"{name!r} should be text or a list of it, not {shown(found)}")
    return [part for part in parts if part.strip()]
