"""What formats with answers to compare share: a response as a solution, and a conversation as a problem."""

from collections.abc import Mapping, Sequence
from typing import Any

from stepmark.answers import extract_answer
from stepmark.records import SolutionRecord
from stepmark.steps import is_rendered, split_answer, split_solution

from .options import ImportOptions
from .rows import RowError, required, shown

_SPEAKERS = {"user": "Human", "assistant": "Assistant", "system": "System"}


def response(
    text: str, source_key: str, options: ImportOptions, *, generator: str | None = None, **more: Any
) -> SolutionRecord:
    """A response as a solution; it has steps only where it is laid out in steps, as `stepmark export` does."""
    split = split_solution(text) if is_rendered(text) else None
    return SolutionRecord(
        source=options.source,
        source_key=source_key,
        text=text,
        steps=() if split is None else split.steps,
        generator=generator,
        answer=None if split is None else split.answer,
        licence=options.licence,
        **more,
    )


def worked_solution(
    text: str, source_key: str, options: ImportOptions, *, generator: str | None = None, **more: Any
) -> SolutionRecord:
    """A text that solves a problem of an answer, split into steps; the answer is read where it is marked."""
    split = split_solution(text)
    return SolutionRecord(
        source=options.source,
        source_key=source_key,
        text=text,
        steps=split.steps,
        generator=generator,
        answer=more.pop("answer", None) or split.answer or extract_answer(split_answer(text)[0]).answer,
        licence=options.licence,
        **more,
    )


def conversation(messages: Sequence[Mapping[str, str]]) -> str:
    r"""A conversation as one text: that of the user alone, or each turn after its speaker.

    >>> conversation([{"role": "user", "content": "Hello?"}])
    'Hello?'
    >>> conversation([{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes?"}])
    'Human: Hello?\n\nAssistant: Yes?'
    """
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return "\n\n".join(
        f"{_SPEAKERS.get(message['role'], message['role'])}: {message['content']}" for message in messages
    )


def messages_of(value: Any, name: str) -> list[dict[str, str]]:
    """A list of messages with role and content; of ShareGPT's `from` and `value` too.

    Raises:
        RowError: It is something else.
    """
    roles = {"human": "user", "gpt": "assistant"}
    if not isinstance(value, list) or not value:
        raise RowError("wrong_type", f"{name!r} should be a list of messages, not {shown(value)}")
    found = []
    for message in value:
        if not isinstance(message, dict):
            raise RowError("wrong_type", f"each of {name!r} should be a message, not {shown(message)}")
        keys = ("from", "value") if "from" in message else ("role", "content")
        role, content = (required(message, key, str, where=f" of {name!r}") for key in keys)
        found.append({"role": roles.get(role, role), "content": content})
    return found
