"""MR-GSM8K's critiques: a wrong solution, where people saw its first error, a model's critique of it, and two
verdicts on the critique's reason: by people, and by GPT-4, whose words are a critique of the critique.

One solution stands in the files of several critics; it is stored once.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from stepmark.records import (
    AnnotationRecord,
    CritiqueRecord,
    ImportedRow,
    JudgementRecord,
    ProblemRecord,
    SolutionRecord,
)
from stepmark.steps import SEPARATOR, bare_step

from .options import ImportOptions
from .rows import RowError, SourceRow, as_text, optional, required, rest, texts

ANNOTATOR = "mr-gsm8k-annotators"
JUDGE = "gpt-4"

_CRITIC = re.compile(r"(.+)_eval_output")
_STEP = re.compile(r"(?:step\s*)?(\d{1,4})", re.IGNORECASE)
_ANSWER = re.compile(r"####\s*(.+)$")
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_WORDS = {"correct": "pass", "right": "pass", "incorrect": "fail", "wrong": "fail"}
_OF_SOLUTION = ("model_output_answer_correctness", "model_output_solution_correctness", "question_type")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; steps count from 1 there, from 0 here."""
    value = row.value
    key = required(value, "uuid", str)
    problem = ProblemRecord(
        statement=required(value, "question", str),
        source=options.source,
        source_key=key,
        reference_answer=as_text(value, "ground_truth_answer"),
        reference_solution=required(value, "ground_truth_solution", str),
        licence=options.licence,
        extra={"question_type": value.get("question_type")},
    )
    given = texts(value, "model_output_steps")
    steps = tuple(_CALCULATOR.sub("", bare_step(step) or step.strip()) for step in given)
    is_right = required(value, "model_output_answer_correctness", str) == "correct"
    last = _ANSWER.search(steps[-1]) if steps else None
    annotations, left_out = _first_error(value, len(steps))
    digest = hashlib.sha256(SEPARATOR.join(given).encode()).hexdigest()[:8]
    solution = SolutionRecord(
        source=options.source,
        source_key=f"{key}/{digest}",
        text=SEPARATOR.join(given),
        steps=steps,
        generator="metamath",
        answer=None if last is None else last[1].strip(),
        outcome=is_right if options.trust_outcomes else None,
        outcome_rule="source" if options.trust_outcomes else None,
        licence=options.licence,
        extra={"is_correct": is_right, **{name: value[name] for name in _OF_SOLUTION if name in value}},
        annotations=annotations,
        critiques=tuple(
            _critique(value, name, f"{key}/{digest}/{name}", len(steps)) for name in value if _CRITIC.fullmatch(name)
        ),
    )
    return ImportedRow(problem, (solution,), left_out=left_out)


def _first_error(value: Mapping[str, Any], n_steps: int) -> tuple[tuple[AnnotationRecord, ...], tuple[str, ...]]:
    is_right = required(value, "model_output_solution_correctness", str) == "correct"
    reason = optional(value, "model_output_solution_first_error_reason", str)
    if is_right:
        return (AnnotationRecord(ANNOTATOR, "person", (1,) * n_steps, "solution"),), ()
    number = required(value, "model_output_solution_first_error_step", int)
    if not 1 <= number <= n_steps:
        return (), ("error_step_past_end",)
    labels = (1,) * (number - 1) + (-1,)
    return (AnnotationRecord(ANNOTATOR, "person", labels, "found_error", comment=reason),), ()


def _critique(value: Mapping[str, Any], name: str, key: str, n_steps: int) -> CritiqueRecord:
    said = required(value, name, dict)
    where = f" of {name!r}"
    word = required(said, "correctness_pred", str, where=where).strip().casefold()
    verdict = _WORDS.get(word, "unreadable")
    named = _STEP.fullmatch(str(said.get("error_step_pred", "")).strip())
    first_error = int(named[1]) - 1 if named is not None and 1 <= int(named[1]) <= n_steps else None
    judged = required(value, "error_reason_correctness", str)
    if judged not in ("correct", "incorrect"):
        raise RowError(
            "label_out_of_range", f"'error_reason_correctness' should be correct or incorrect, not {judged!r}"
        )
    is_solution_right = value["model_output_solution_correctness"] == "correct"
    return CritiqueRecord(
        source_key=key,
        kind="judge",
        critic=name.removesuffix("_eval_output"),
        text=required(said, "response", str, where=where),
        verdict=verdict,
        first_error=first_error if verdict == "fail" else None,
        extra=rest(said, "response") or None,
        judgements=(
            JudgementRecord(
                ANNOTATOR,
                "person",
                "right" if judged == "correct" else "wrong",
                is_verdict_right=None if verdict == "unreadable" else (verdict == "pass") == is_solution_right,
            ),
        ),
        critiques=_gpt4(value, key),
    )


def _gpt4(value: Mapping[str, Any], key: str) -> tuple[CritiqueRecord, ...]:
    said = optional(value, "gpt4_error_reason_correctness_analysis", dict)
    if said is None:
        return ()
    decision = str(said.get("Final Decision", "")).strip("-[]*. \n\t").casefold()
    return (
        CritiqueRecord(
            source_key=f"{key}/{JUDGE}",
            kind="meta",
            critic=JUDGE,
            text=required(said, "response", str, where=" of GPT-4's analysis"),
            verdict=_WORDS.get(decision, "unreadable"),
            extra=rest(said, "response"),
        ),
    )
