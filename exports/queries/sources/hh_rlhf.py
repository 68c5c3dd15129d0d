"""HH-RLHF: two transcripts that part somewhere; people chose one of them."""

from stepmark.records import ImportedRow, PreferenceRecord, ProblemRecord

from .options import ImportOptions
from .pairs import conversation, response
from .rows import RowError, SourceRow, required, rest, shown

ANNOTATOR = "hh-rlhf-workers"

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row: the prompt is what both transcripts share up to the assistant's turn in which they part."""
    chosen, rejected = (required(row.value, name, str) for name in ("chosen", "rejected"))
    prompt = _common_prompt(chosen, rejected)
    messages = _turns(prompt)
    problem = ProblemRecord(
        statement=conversation(messages),
        source=options.source,
        source_key=row.source_key,
        licence=options.licence,
        extra={**({"messages": messages} if len(messages) > 1 else {}), **rest(row.value, "chosen", "rejected")}
        or None,
    )
    answers = [text[len(prompt) + len(_ASSISTANT) :] for text in (chosen, rejected)]
    if chosen == rejected:
        only = response(answers[0], f"{row.source_key}/both", options)
        return ImportedRow(problem, (only,), left_out=("chosen_equals_rejected",))
    solutions = tuple(
        response(text, f"{row.source_key}/{name}", options)
        for text, name in zip(answers, ("chosen", "rejected"), strict=True)
    )
    left_out = ("empty_response",) * sum(not text.strip() for text in answers)
    return ImportedRow(problem, solutions, (PreferenceRecord(ANNOTATOR, "person", 0, 1, "a"),), left_out)


def _common_prompt(chosen: str, rejected: str) -> str:
    if not chosen.startswith(_HUMAN):
        raise RowError("no_transcript", f"'chosen' should begin with {_HUMAN!r}, not {shown(chosen[:40])}")
    n_same = next(
        (i for i, (left, right) in enumerate(zip(chosen, rejected, strict=False)) if left != right),
        min(len(chosen), len(rejected)),
    )
    end = chosen.rfind(_ASSISTANT, 0, n_same + len(_ASSISTANT))
    while end > 0 and rejected[end : end + len(_ASSISTANT)] != _ASSISTANT:
        end = chosen.rfind(_ASSISTANT, 0, end)
    if end <= 0:
        raise RowError("no_transcript", "'chosen' and 'rejected' share no prompt before an assistant's turn")
    return chosen[:end]


def _turns(transcript: str) -> list[dict[str, str]]:
    turns = []
    for part in ("\n\n" + transcript.strip()).split(_HUMAN)[1:]:
        asked, *answered = part.split(_ASSISTANT)
        turns.append({"role": "user", "content": asked.strip()})
        turns += [{"role": "assistant", "content": text.strip()} for text in answered]
    return turns
