"""Training sets, our own exports and others': stepwise supervision, unpaired and paired preference, best-of-N, and
the PRM sets of OpenRLHF and RLHFlow.

Who labelled them is not said there: the annotator is the source's name, a program. Our own rendering (`Step 1: ...`,
`# Answer`) is taken apart again; any other text stays whole.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stepmark.records import AnnotationRecord, ImportedRow, PreferenceRecord, ProblemRecord, SolutionRecord
from stepmark.steps import SEPARATOR, bare_step, split_answer

from .options import ImportOptions
from .pairs import conversation, messages_of, response
from .rows import RowError, SourceRow, as_text, first_key, required, rest, shown, texts

MARK = "ки"
"""What stands after each step in OpenRLHF's sets, as in Math-Shepherd's."""

_STEP_ONE = re.compile(r"(?:^|\s)Step\s*1\s*[:.]", re.IGNORECASE)
_SIGNS = {"+": 1, "-": -1, "0": 0}
_STRENGTHS = {1.0: 1, 2.0: 2, 3.0: 3}


def parse_stepwise(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """TRL's `prompt, completions, labels`: true is +1, false -1."""
    value = row.value
    completions = texts(value, "completions")
    labels = required(value, "labels", list)
    if len(labels) != len(completions) or not completions:
        raise RowError("wrong_length", f"{len(completions)} 'completions' and {len(labels)} 'labels'")
    extra = rest(value, "prompt", "completions", "labels")
    judged = [_label(label) for label in labels]
    return _labelled(row, options, _prompt(value.get("prompt"), "prompt"), completions, judged, extra)


def parse_openrlhf(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """OpenRLHF's `input` with a mark after each step, and `value`: signs, or shares, which are rounded and kept."""
    value = row.value
    given = required(value, "input", str)
    *parts, tail = given.split(MARK)
    values = required(value, "value", list)
    if len(values) != len(parts) or not parts:
        raise RowError("wrong_length", f"{len(parts)} marks {MARK} in 'input' and {len(values)} members of 'value'")
    first = _STEP_ONE.search(parts[0])
    at = first.start() if first is not None else parts[0].rfind("\n")
    if at <= 0:
        raise RowError(
            "no_steps", "'input' has no 'Step 1:' and no line break between the problem and its first step"
        )
    steps = [parts[0][at:], *parts[1:]]
    labels = [_label(one) for one in values]
    extra = rest(value, "input", "value")
    is_soft = any(isinstance(one, float) and not one.is_integer() for one in values)
    if is_soft:
        extra["value"] = values
    if tail.strip():
        extra["tail"] = tail
    left_out = ("soft_labels_rounded",) * is_soft
    return _labelled(row, options, _prompt(parts[0][:at].strip(), "input"), steps, labels, extra, left_out)


def parse_rlhflow(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """RLHFlow's `conversations`: the problem with the first step, then further steps, each answered by `+` or `-`."""
    value = row.value
    messages = messages_of(value.get("conversations"), "conversations")
    asked, answered = messages[::2], messages[1::2]
    if len(asked) != len(answered) or any(one["role"] != "user" for one in asked):
        raise RowError("wrong_length", "'conversations' should be turns of user and assistant in turn")
    labels = [_label(one["content"].strip()) for one in answered]
    first = asked[0]["content"]
    found = _STEP_ONE.search(first)
    at = found.start() if found is not None else first.rfind("\n")
    if at <= 0 and len(asked) > 1:
        raise RowError("no_steps", "the first turn has no 'Step 1:' and no line break before the first step")
    extra = rest(value, "conversations")
    if at <= 0:
        raise RowError("no_steps", "the only turn has no 'Step 1:' and no line break before the solution")
    steps = [first[at:], *(one["content"] for one in asked[1:])]
    return _labelled(row, options, _prompt(first[:at].strip(), "conversations"), steps, labels, extra)


def parse_unpaired(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """TRL's `prompt, completion, label`, plain or conversational: the label is the outcome."""
    value = row.value
    label = required(value, "label", bool)
    solution = response(
        _completion(value.get("completion"), "completion"),
        row.source_key,
        options,
        outcome=label,
        outcome_rule="source",
        extra=rest(value, "prompt", "completion", "label") or None,
    )
    return ImportedRow(_problem(row, options, _prompt(value.get("prompt"), "prompt")), (solution,))


def parse_preference(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """TRL's `prompt?, chosen, rejected, margin?`, plain or conversational; `input` and `question` are prompts too.

    Without a prompt, both sides are conversations, and the prompt is what they share.
    """
    value = row.value
    prompt_key = first_key(value, ("prompt", "input", "question", "conversations"))
    sides = [value.get(name) for name in ("chosen", "rejected")]
    if prompt_key is None:
        both = [messages_of(side, name) for side, name in zip(sides, ("chosen", "rejected"), strict=True)]
        if both[0][:-1] != both[1][:-1] or len(both[0]) < 2:
            raise RowError(
                "no_prompt", "no 'prompt', and 'chosen' and 'rejected' share no conversation before the last turn"
            )
        prompt, answers = both[0][:-1], [one[-1]["content"] for one in both]
    else:
        prompt = _prompt(value[prompt_key], prompt_key)
        answers = [_last(side, name, prompt) for side, name in zip(sides, ("chosen", "rejected"), strict=True)]
    extra = rest(value, prompt_key, "chosen", "rejected", "margin")
    margin = value.get("margin")
    if margin is not None and (isinstance(margin, bool) or not isinstance(margin, int | float)):
        raise RowError("wrong_type", f"'margin' should be a number, not {shown(margin)}")
    strength = None if margin is None else _STRENGTHS.get(float(margin))
    if margin is not None and strength is None and margin != 0:
        extra["margin"] = margin
    problem = _problem(row, options, prompt)
    if answers[0] == answers[1]:
        only = response(answers[0], f"{row.source_key}/both", options, extra=extra or None)
        return ImportedRow(problem, (only,), left_out=("chosen_equals_rejected",))
    solutions = tuple(
        response(text, f"{row.source_key}/{name}", options)
        for text, name in zip(answers, ("chosen", "rejected"), strict=True)
    )
    choice = PreferenceRecord(options.source, "program", 0, 1, "a", strength, extra or None)
    return ImportedRow(problem, solutions, (choice,))


def parse_best_of_n(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """`prompt, answers, labels`: solutions with outcomes, 1 right and 0 wrong."""
    value = row.value
    answers, labels = texts(value, "answers"), required(value, "labels", list)
    if len(answers) != len(labels):
        raise RowError("wrong_length", f"{len(answers)} 'answers' and {len(labels)} 'labels'")
    if any(label not in (0, 1) for label in labels):
        raise RowError("label_out_of_range", f"each of 'labels' should be 0 or 1, not {shown(labels)}")
    solutions = tuple(
        response(text, f"{row.source_key}/{number}", options, outcome=bool(label), outcome_rule="source")
        for number, (text, label) in enumerate(zip(answers, labels, strict=True))
    )
    return ImportedRow(_problem(row, options, _prompt(value.get("prompt"), "prompt")), solutions)


def _labelled(
    row: SourceRow,
    options: ImportOptions,
    prompt: Sequence[Mapping[str, str]],
    given: Sequence[str],
    labels: Sequence[int],
    extra: dict[str, Any],
    left_out: tuple[str, ...] = (),
) -> ImportedRow:
    """A row of steps with labels; a last step that is an answer section is the answer, its label the outcome."""
    before, answer = split_answer(given[-1])
    is_apart = answer is not None and not bare_step(before)
    bodies = given[:-1] if is_apart else [*given[:-1], before] if answer is not None else given
    steps = tuple(bare_step(text) or text.strip() for text in bodies)
    solution = SolutionRecord(
        source=options.source,
        source_key=row.source_key,
        text=SEPARATOR.join(text.strip() for text in given),
        steps=steps,
        answer=answer,
        licence=options.licence,
        extra=extra or None,
        annotations=(
            AnnotationRecord(
                options.source,
                "program",
                tuple(labels),
                "found_error" if -1 in labels else "solution",
                mode="all_steps",
            ),
        ),
    )
    return ImportedRow(_problem(row, options, prompt), (solution,), left_out=left_out)


def _label(value: Any) -> int:
    if isinstance(value, bool):
        return 1 if value else -1
    if isinstance(value, str) and value in _SIGNS:
        return _SIGNS[value]
    if isinstance(value, float | int) and -1 <= value <= 1:
        return -1 if value < 0.5 else 1  # a share of rollouts, or the probability that the step is right
    raise RowError("label_out_of_range", f"a label should be true, false, + or -, or from 0 to 1, not {shown(value)}")


def _prompt(value: Any, name: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return messages_of(value, name)


def _completion(value: Any, name: str) -> str:
    return value if isinstance(value, str) else conversation_end(messages_of(value, name))


def conversation_end(messages: Sequence[Mapping[str, str]]) -> str:
    """What the assistant says in messages that follow a prompt."""
    return messages[0]["content"] if len(messages) == 1 else conversation(messages)


def _last(side: Any, name: str, prompt: Sequence[Mapping[str, str]]) -> str:
    """A side's answer; a side that repeats the prompt loses it."""
    if isinstance(side, str):
        return side
    messages = messages_of([side] if isinstance(side, dict) else side, name)
    if messages[: len(prompt)] == list(prompt) and len(messages) > len(prompt):
        messages = messages[len(prompt) :]
    return conversation_end(messages)


def _problem(row: SourceRow, options: ImportOptions, prompt: Sequence[Mapping[str, str]]) -> ProblemRecord:
    answer = as_text(row.value, "reference_answer") if "reference_answer" in row.value else None
    return ProblemRecord(
        statement=conversation(prompt),
        source=options.source,
        source_key=row.source_key,
        reference_answer=answer,
        licence=options.licence,
        extra={"messages": list(prompt)} if len(prompt) > 1 else None,
    )
