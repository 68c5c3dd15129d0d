"""PandaLM's test set: two responses to an instruction, and three people's votes on them."""

from typing import Any

from stepmark.records import ImportedRow, PreferenceRecord, ProblemRecord

from .options import ImportOptions
from .pairs import response
from .rows import RowError, SourceRow, optional, required, rest, shown

ANNOTATORS = ("annotator1", "annotator2", "annotator3")

_CHOICES = {0: "equal", 1: "a", 2: "b"}
_KEYS = ("idx", "cmp_key", "instruction", "input", "response1", "response2", *ANNOTATORS)


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; a response that JSON holds as true or false is that word."""
    value = row.value
    key = str(required(value, "idx", int))
    parts = [required(value, "instruction", str), optional(value, "input", str) or ""]
    models = required(value, "cmp_key", str).split("_")
    texts = [_text(value.get(name), name) for name in ("response1", "response2")]
    problem = ProblemRecord(
        statement="\n\n".join(part for part in parts if part.strip()),
        source=options.source,
        source_key=key,
        licence=options.licence,
        extra={"instruction": parts[0], "input": parts[1], **rest(value, *_KEYS)},
    )
    solutions = tuple(
        response(text, f"{key}/{number}", options, generator=models[number - 1] if len(models) == 2 else None)
        for number, text in enumerate(texts, start=1)
    )
    left_out = ("empty_response",) * sum(not text.strip() for text in texts)
    if texts[0] == texts[1]:
        return ImportedRow(problem, solutions[:1], left_out=(*left_out, "equal_responses"))
    return ImportedRow(problem, solutions, tuple(_vote(value, name) for name in ANNOTATORS), left_out)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str | bool):
        raise RowError("wrong_type", f"{name!r} should be text, not {shown(value)}")
    return str(value)


def _vote(value: Any, name: str) -> PreferenceRecord:
    vote = required(value, name, int)
    if vote not in _CHOICES:
        raise RowError("label_out_of_range", f"{name!r} should be 0, 1 or 2, not {vote}")
    return PreferenceRecord(f"pandalm-{name}", "person", 0, 1, _CHOICES[vote])
