"""Qwen2.5-Math's example of best-of-8: samples of MATH problems with answers, marks and a reward model's scores."""

from stepmark.records import ImportedRow, ProblemRecord, ScoreRecord, SolutionRecord

from .options import ImportOptions
from .pairs import worked_solution
from .rows import RowError, SourceRow, as_text, required, rest, shown, texts

REWARD_MODEL = "qwen2.5-math-rm (as given)"
"""The set does not name it in full."""

_OF_PROBLEM = ("question", "idx", "answer", "gt", "solution", "gt_cot")
_OF_SAMPLES = ("code", "response", "pred", "score", "pred_score", "report")


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row of as many samples as there are; the score is a number without a scale."""
    value = row.value
    key = str(required(value, "idx", int))
    responses = texts(value, "code" if "code" in value else "response")
    if value.get("response", responses) != responses:
        raise RowError("texts_differ", "'code' and 'response' should be the same texts")
    columns = {name: required(value, name, list) for name in ("pred", "score", "pred_score")}
    for name, found in columns.items():
        if len(found) != len(responses):
            raise RowError("wrong_length", f"{name!r} should have {len(responses)} members, not {len(found)}")
    solutions = tuple(
        _solution(text, f"{key}/{i}", options, *(columns[name][i] for name in columns))
        for i, text in enumerate(responses)
    )
    problem = ProblemRecord(
        statement=required(value, "question", str),
        source=options.source,
        source_key=key,
        reference_answer=as_text(value, "answer"),
        reference_solution=as_text(value, "solution"),
        licence=options.licence,
        extra=rest(value, *_OF_PROBLEM, *_OF_SAMPLES),
    )
    return ImportedRow(problem, solutions)


def _solution(
    text: str, key: str, options: ImportOptions, answer: object, is_right: object, scores: object
) -> SolutionRecord:
    if not isinstance(is_right, bool):
        raise RowError("wrong_type", f"each of 'score' should be true or false, not {shown(is_right)}")
    if not isinstance(scores, list) or len(scores) != 1 or not isinstance(scores[0], float):
        raise RowError("wrong_type", f"each of 'pred_score' should be a list of one number, not {shown(scores)}")
    return worked_solution(
        text,
        key,
        options,
        answer=str(answer) if answer else None,
        outcome=is_right if options.trust_outcomes else None,
        outcome_rule="source" if options.trust_outcomes else None,
        extra={"is_correct": is_right},
        scores=(ScoreRecord(REWARD_MODEL, "bt", scores[0]),),
    )
