"""Renders rows as token sequences whose label positions are known by construction.

PRM: prompt, then for each segment its tokens, the step token, and the separator's tokens (not after the
last). ORM and Bradley-Terry: prompt, the solution's tokens, the end token. Segments are tokenised on their
own, so that the same solution gives the same tokens in training and in scoring, and a position is an index
that was counted, never a token that was searched for.

A model's text can contain `<|prm_label|>` or another special token literally (4 of 8,000 samples did). Such a
literal is broken apart with a space after its first character (one of a single character is removed) and
counted, so that it stays plain text.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from stepmark.errors import InputError, SettingsError
from stepmark.steps import SEPARATOR

from .batches import ReadSequence, TokenSet, TokenSetBuilder
from .rows import Kind, OrmRow, PairRow, PrmRow, Prompt, Row

TOO_LONG = "longer than max_length"
"""Why a row was dropped: it has more tokens than the model is trained on. It is never cut."""

_WINDOW = 1024
"""Rows tokenised at a time."""

_PROMPTS_KEPT = 4096
"""Prompts whose tokens are remembered: the solutions of a problem come close together."""


@dataclass(slots=True)
class RowCounts:
    """What became of the rows of one split."""

    n_read: int = 0
    """Rows in the files."""
    n_kept: int = 0
    """Rows that became items."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows left out, by reason."""
    n_special_literals: int = 0
    """Special tokens that stood literally in a text and were broken apart."""

    def as_json(self) -> dict[str, object]:
        """Returns the counts for a manifest."""
        return {
            "read": self.n_read,
            "kept": self.n_kept,
            "dropped": dict(self.dropped),
            "special_literals": self.n_special_literals,
        }


class Renderer:
    """Turns prompts and solutions into tokens, one way for training and scoring."""

    def __init__(self, tokenizer: Any, kind: Kind, *, step_token: str | None = None) -> None:
        """Takes a Transformers tokenizer; a PRM also needs the step token, which must be a single token.

        Raises:
            SettingsError: the step token is missing or is not one token of this tokenizer.
        """
        self.kind = kind
        self._tokenizer = tokenizer
        self._prompts: dict[Prompt, list[int]] = {}
        self.n_special_literals = 0
        special = {str(token) for token in tokenizer.all_special_tokens}
        special |= {str(t.content) for t in tokenizer.added_tokens_decoder.values() if t.special}
        self._step_id: int | None = None
        if kind == "prm":
            if step_token is None:
                raise SettingsError("a process reward model needs a step token; name one with --step-token.")
            self._step_id = single_token_id(tokenizer, step_token, "step token")
            special.add(step_token)
        longest_first = sorted(special, key=lambda token: (-len(token), token))
        self._special = re.compile("|".join(map(re.escape, longest_first))) if special else None
        self._separator = self._encode([SEPARATOR])[0]
        end = tokenizer.eos_token_id
        self._end: list[int] = [] if end is None or kind == "prm" else [end]

    def neutralise(self, text: str) -> str:
        """Breaks literal special tokens apart, so that they are tokenised as plain text, and counts them."""
        if self._special is None:
            return text
        text, n = self._special.subn(_broken_apart, text)
        self.n_special_literals += n
        return text

    def prompt_tokens(self, prompt: Prompt) -> list[int]:
        """Returns the tokens of a prompt, ready for a solution; those of the last few thousand are kept.

        The tokenizer's chat template renders it with the generation prompt; a tokenizer without a template
        gets the contents and a line break, after its begin token where it normally sets one.
        """
        known = self._prompts.get(prompt)
        if known is None:
            if len(self._prompts) >= _PROMPTS_KEPT:
                self._prompts.clear()
            known = self._prompts[prompt] = self._render_prompt(prompt)
        return known

    def _render_prompt(self, prompt: Prompt) -> list[int]:
        messages = [{"role": role, "content": self.neutralise(content)} for role, content in prompt]
        if self._tokenizer.chat_template is None:
            text = SEPARATOR.join(message["content"] for message in messages) + "\n"
            begin = self._tokenizer.bos_token_id
            sets_begin = begin is not None and self._tokenizer("a")["input_ids"][:1] == [begin]
            return [begin, *self._encode([text])[0]] if sets_begin else self._encode([text])[0]
        from jinja2 import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as err:
            roles = [role for role, _ in prompt]
            raise InputError(f"the tokenizer's chat template refuses a prompt with the roles {roles}: {err}") from err
        return self._encode([text])[0]

    def sequences(self, rows: Sequence[Row]) -> list[list[ReadSequence]]:
        """Renders rows, two sequences (chosen, rejected) for a pair and one otherwise."""
        texts: dict[str, list[int]] = {}
        for row in rows:
            for text in _texts(row):
                texts[text] = []
        for text, tokens in zip(texts, self._encode([self.neutralise(text) for text in texts]), strict=True):
            texts[text] = tokens
        return [self._row_sequences(row, texts) for row in rows]

    def _row_sequences(self, row: Row, tokens_of: dict[str, list[int]]) -> list[ReadSequence]:
        prompt = self.prompt_tokens(row.prompt)
        if isinstance(row, PrmRow):
            assert self._step_id is not None
            tokens, positions = list(prompt), []
            for i, segment in enumerate(row.segments):
                if i:
                    tokens += self._separator
                tokens += tokens_of[segment]
                positions.append(len(tokens))
                tokens.append(self._step_id)
            return [ReadSequence(tokens, positions, row.labels)]
        if isinstance(row, OrmRow):
            tokens = [*prompt, *tokens_of[row.completion], *self._end]
            positions = list(range(len(prompt), len(tokens)))
            return [ReadSequence(tokens, positions, [row.label] * len(positions))]
        whole = ([*prompt, *tokens_of[text], *self._end] for text in (row.chosen, row.rejected))
        return [ReadSequence(tokens, [len(tokens) - 1], [row.margin]) for tokens in whole]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return encoded


def encode_rows(rows: Iterable[Row], renderer: Renderer, *, max_length: int) -> tuple[TokenSet, RowCounts]:
    """Tokenises a split; rows with more than `max_length` tokens are dropped and counted, never cut."""
    builder = TokenSetBuilder(group=2 if renderer.kind == "bt" else 1)
    counts = RowCounts()
    problems: dict[bytes, int] = {}
    literals_before = renderer.n_special_literals
    for window in _windows(rows):
        for row, sequences in zip(window, renderer.sequences(window), strict=True):
            counts.n_read += 1
            if max(len(sequence.tokens) for sequence in sequences) > max_length:
                counts.dropped[TOO_LONG] += 1
                continue
            counts.n_kept += 1
            digest = hashlib.blake2b(repr(row.prompt).encode(), digest_size=16).digest()
            builder.add(problems.setdefault(digest, len(problems)), *sequences)
    counts.n_special_literals = renderer.n_special_literals - literals_before
    return builder.build(), counts


def single_token_id(tokenizer: Any, text: str, what: str) -> int:
    """Returns the id of a text that must be exactly one token; `what` names its part in the message.

    Raises:
        SettingsError: it is more than one token, none, or the unknown token.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise SettingsError(
            f"the {what} {text!r} is not one token of this tokenizer (ids {ids}); a label there would be read from "
            "a fragment. Name a text that is one token, or add it to the tokenizer and the model."
        )
    return int(ids[0])


def label_token_ids(tokenizer: Any, positive: str, negative: str) -> tuple[int, int]:
    """Returns the ids of the two label tokens.

    Raises:
        SettingsError: one of them is not a single token, or both are the same.
    """
    ids = (
        single_token_id(tokenizer, positive, "positive label"),
        single_token_id(tokenizer, negative, "negative label"),
    )
    if ids[0] == ids[1]:
        raise SettingsError(
            f"the labels {positive!r} and {negative!r} are one token (id {ids[0]}); name two different ones."
        )
    return ids


def _broken_apart(match: re.Match[str]) -> str:
    token = match[0]
    return f"{token[0]} {token[1:]}" if len(token) > 1 else ""


def _texts(row: Row) -> tuple[str, ...]:
    if isinstance(row, PrmRow):
        return row.segments
    if isinstance(row, PairRow):
        return (row.chosen, row.rejected)
    return (row.completion,)


def _windows(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while window := list(islice(iterator, _WINDOW)):
        yield window
