"""Renders rows as token sequences whose label positions are known by construction.

PRM: prompt, then for each segment its tokens, the step token, and the separator's tokens (not after the
last). ORM, Bradley-Terry and texts to write: prompt, the text's tokens, the end token. With a critique: the
prompt, the solution and the critique as the three turns of CLoud. Segments are tokenised on their own, so that
the same solution gives the same tokens in training and in scoring, and a position is an index that was counted,
never a token that was searched for.

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
from stepmark.problems import family_hash
from stepmark.steps import SEPARATOR

from .batches import ReadSequence, TokenSet, TokenSetBuilder
from .objectives import PAIRED
from .rows import (
    CritiquedPairRow,
    CritiqueRow,
    Kind,
    OrmRow,
    PairRow,
    PrmRow,
    Prompt,
    Row,
    SegmentedRow,
    Unusable,
)

TOO_LONG = "longer than max_length"
"""Why a row was dropped: it has more tokens than the model is trained on. It is never cut."""

CRITIQUE_OPENING = (
    "The following is a break down on the correctness and usefulness of the assistant's response to my question: "
)
"""What a critique stands behind, in a turn of the user (CLoud, Ankner et al. 2024)."""

_MARK = "\ue000critique\ue001"
"""Stands for the critique while a chat template renders the turns around it."""

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
    longest: int = 0
    """Tokens of the longest row that was left out for its length."""
    families: dict[bytes, str] = field(default_factory=dict)
    """Family (the words, whatever the numbers) of each prompt kept, by the prompt's hash."""
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

    def __init__(self, tokenizer: Any, kind: Kind, *, step_token: str | None = None, last_only: bool = False) -> None:
        """Takes a Transformers tokenizer; a PRM also needs the step token, which must be a single token.

        With `last_only` an ORM learns at the last token alone, not at every token of the solution.

        Raises:
            SettingsError: the step token is missing or is not one token of this tokenizer.
        """
        self.kind = kind
        self._last_only = last_only
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
            labelled = [(p, t) for p, t in zip(positions, row.labels, strict=True) if t is not None]
            return [ReadSequence(tokens, [p for p, _ in labelled], [t for _, t in labelled])]
        if isinstance(row, CritiquedPairRow):
            sides = ((row.chosen, row.chosen_critique), (row.rejected, row.rejected_critique))
            return [self._critiqued(row.prompt, *side, tokens_of, margin=row.margin) for side in sides]
        if isinstance(row, CritiqueRow):
            return [self._critiqued(row.prompt, row.solution, row.critique, tokens_of, margin=None)]
        if isinstance(row, OrmRow) and self.kind in ("orm", "bt"):  # a single solution, to be scored by either
            tokens = [*prompt, *tokens_of[row.completion], *self._end]
            positions = list(range(len(tokens) - 1 if self._last_only else len(prompt), len(tokens)))
            return [ReadSequence(tokens, positions, [row.label] * len(positions))]
        if isinstance(row, PairRow) and self.kind == "bt":
            whole = ([*prompt, *tokens_of[text], *self._end] for text in (row.chosen, row.rejected))
            return [ReadSequence(tokens, [len(tokens) - 1], [row.margin]) for tokens in whole]
        if isinstance(row, SegmentedRow):
            tokens = [token for text in _texts(row) for token in (*self._separator, *tokens_of[text])]
            return [_written(prompt, [*tokens[len(self._separator) :], *self._end])]
        return [_written(prompt, [*tokens_of[text], *self._end]) for text in _texts(row)]

    def segment_ends(self, segments: Sequence[str]) -> list[int]:
        """Returns where each segment ends among the tokens of a solution; the separator belongs to the one behind."""
        ends, n = [], -len(self._separator)
        for tokens in self._encode([self.neutralise(text) for text in segments]):
            n += len(self._separator) + len(tokens)
            ends.append(n)
        return ends

    def _critiqued(
        self, prompt: Prompt, solution: str, critique: str, tokens_of: dict[str, list[int]], *, margin: float | None
    ) -> ReadSequence:
        """Renders the three turns; reads the critique's tokens (unless only the reward counts) and the last token."""
        before, after = self._turns_around(prompt, solution)
        text = tokens_of[critique]
        tokens = [*before, *text, *after]
        if self.kind == "critique-rm":
            return ReadSequence(tokens, [len(tokens) - 1], [margin or 0.0])
        written = _written(before, [*text, *after[:1]])
        if margin is None:
            return ReadSequence(tokens, written.positions, written.targets)
        return ReadSequence(tokens, [*written.positions, len(tokens) - 1], [*written.targets, margin])

    def critique_opening(self, prompt: Prompt, solution: str) -> tuple[int, ...]:
        """Returns the tokens, as training has them, behind which a critique of a solution is to be written."""
        return tuple(self._turns_around(prompt, solution)[0])

    @property
    def critique_end(self) -> int | None:
        """The token that a critique is learnt to end with; None where the tokenizer has none."""
        return next(iter(self._turns_around((("user", "?"),), "?")[1]), None)

    def _turns_around(self, prompt: Prompt, solution: str) -> tuple[list[int], list[int]]:
        before, after = self._texts_around(prompt, solution)
        begin = self._tokenizer.bos_token_id
        sets_begin = begin is not None and self._tokenizer("a")["input_ids"][:1] == [begin]
        opening = [begin] if sets_begin and self._tokenizer.chat_template is None else []
        ending = self._encode([after])[0] if after else []
        return opening + self._encode([before])[0], ending or self._end

    def _texts_around(self, prompt: Prompt, solution: str) -> tuple[str, str]:
        turns = (*prompt, ("assistant", solution), ("user", CRITIQUE_OPENING + _MARK))
        messages = [{"role": role, "content": self.neutralise(content)} for role, content in turns]
        if self._tokenizer.chat_template is None:
            text = SEPARATOR.join(message["content"] for message in messages)
        else:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        before, mark, after = text.partition(_MARK)
        if not mark:
            raise InputError("the tokenizer's chat template leaves out or changes the last turn of a user.")
        return before, after.rstrip()

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        try:
            encoded: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        except TypeError as err:
            broken = next((text for text in texts if not _is_unicode(text)), texts[0])
            raise InputError(f"a text cannot be tokenised, it holds half a character: {broken!r}") from err
        return encoded


def _written(before: list[int], text: list[int]) -> ReadSequence:
    """A text to write: each token is read where the one before it stands."""
    tokens = [*before, *text]
    return ReadSequence(tokens, range(len(before) - 1, len(tokens) - 1), text)


def encode_rows(rows: Iterable[Row | Unusable], renderer: Renderer, *, max_length: int) -> tuple[TokenSet, RowCounts]:
    """Tokenises a split; rows with more than `max_length` tokens are dropped and counted, never cut."""
    builder = TokenSetBuilder(group=2 if renderer.kind in PAIRED else 1)
    counts = RowCounts()
    problems: dict[bytes, int] = {}
    literals_before = renderer.n_special_literals
    for window in _windows(rows):
        counts.n_read += len(window)
        counts.dropped.update(row.reason for row in window if isinstance(row, Unusable))
        usable = [row for row in window if not isinstance(row, Unusable)]
        for row, sequences in zip(usable, renderer.sequences(usable), strict=True):
            n_tokens = max(len(sequence.tokens) for sequence in sequences)
            if n_tokens > max_length:
                counts.dropped[TOO_LONG] += 1
                counts.longest = max(counts.longest, n_tokens)
                continue
            counts.n_kept += 1
            digest = hashlib.blake2b(repr(row.prompt).encode(), digest_size=16).digest()
            if digest not in counts.families:
                counts.families[digest] = family_hash(_text_of(row.prompt))
            label = row.label if isinstance(row, OrmRow) else 0.0
            builder.add(problems.setdefault(digest, len(problems)), *sequences, label=label)
    counts.n_special_literals = renderer.n_special_literals - literals_before
    return builder.build(), counts


def check_splits(train: RowCounts, validation: RowCounts) -> str | None:
    """Refuses a problem that stands in both splits; says in words what families both have, if any.

    Raises:
        InputError: a measure on such a problem says what was learnt by heart.
    """
    common = train.families.keys() & validation.families.keys()
    if common:
        raise InputError(
            f"{len(common)} of {len(validation.families)} prompts of the validation split stand in the training "
            "split too, so that its measures would be of what was learnt by heart. Split by problem, as "
            "`stepmark export` does."
        )
    families = set(validation.families.values())
    n_known = len(families & set(train.families.values()))
    if not n_known:
        return None
    return (
        f"{n_known} of {len(families)} families of the validation split (the same words with other numbers) stand in "
        "the training split too; its measures are of known kinds of problems"
    )


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


def _text_of(prompt: Prompt) -> str:
    return SEPARATOR.join(content for _, content in prompt)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _broken_apart(match: re.Match[str]) -> str:
    token = match[0]
    return f"{token[0]} {token[1:]}" if len(token) > 1 else ""


def _texts(row: Row) -> tuple[str, ...]:
    """What is tokenised on its own: segments, texts to read or write, critiques."""
    if isinstance(row, PrmRow | SegmentedRow):
        return row.segments
    if isinstance(row, PairRow):
        return (row.chosen, row.rejected)
    if isinstance(row, CritiquedPairRow):
        return (row.chosen_critique, row.rejected_critique)
    return (row.critique,) if isinstance(row, CritiqueRow) else (row.completion,)


def _windows(rows: Iterable[Row | Unusable]) -> Iterator[list[Row | Unusable]]:
    iterator = iter(rows)
    while window := list(islice(iterator, _WINDOW)):
        yield window
