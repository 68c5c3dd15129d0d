"""Scores solutions with a trained reward model; solutions in, scores out, no database.

A solution is given as its rendered segments (`Step 1: ...`, `# Answer ...`), exactly as it was trained on.
A PRM gives P(right) for each segment and a score for the solution; an ORM gives P(correct), an implicit PRM both;
Bradley-Terry gives a reward that compares solutions of one prompt only. Models that weigh critiques are given them,
and their rewards are averaged over the critiques of a solution.
"""

import hashlib
import json
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from stepmark.errors import InputError
from stepmark.steps import SEPARATOR

from .batches import ReadSequence, TokenSet, TokenSetBuilder
from .loop import read_logits
from .models import RewardNet, load_net, load_tokenizer
from .render import TOO_LONG, Renderer, label_token_ids
from .rows import CritiqueRow, Kind, OrmRow, PrmRow, Prompt, SegmentedRow, as_prompt
from .train import MANIFEST, REFERENCE

Aggregate = Literal["product", "min", "mean", "last"]
"""How the scores of the steps make the score of a solution."""

SCORERS: frozenset[Kind] = frozenset({"prm", "orm", "bt", "implicit-prm"})
"""Kinds that score a solution by itself."""

CRITIQUED: frozenset[Kind] = frozenset({"critique-rm", "cloud"})
"""Kinds that score a solution behind critiques of it; see `trainer.critiqued`."""

_WINDOW = 2048
"""Items read ahead, so that batches can be made of similar lengths."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one solution."""

    key: Hashable
    """Whatever the caller gave it."""
    score: float | None
    """PRM and ORM: in [0, 1]; Bradley-Terry: any number; None where there is none, see `reason`."""
    step_scores: tuple[float, ...] = ()
    """PRM: P(right) of each segment; implicit PRM: sigmoid of its part of the log ratio."""
    reason: str | None = None
    """Why there is no score."""


def aggregate(step_scores: Sequence[float], how: Aggregate = "product") -> float:
    """Returns the score of a solution from those of its segments (Lightman et al. 2023, appendix F: product).

    The product is taken as a sum of logarithms.

    >>> [round(aggregate([0.5, 0.25, 1.0], how), 4) for how in ("product", "min", "mean", "last")]
    [0.125, 0.25, 0.5833, 1.0]
    """
    if how == "product":
        return math.exp(math.fsum(map(math.log, step_scores))) if min(step_scores) > 0 else 0.0
    if how == "min":
        return min(step_scores)
    return math.fsum(step_scores) / len(step_scores) if how == "mean" else step_scores[-1]


class RewardModel:
    """A trained reward model with its tokenizer and its way of rendering."""

    def __init__(self, net: RewardNet, tokenizer: Any, renderer: Renderer, manifest: dict[str, Any]) -> None:
        """Use `RewardModel.load`."""
        self.net = net
        self.kind: Kind = net.kind
        self.manifest = manifest
        self.n_forwarded = 0
        """Solutions that went through the network; repeated ones do not."""
        self._tokenizer, self._renderer = tokenizer, renderer
        self._max_length: int = manifest["max_length"]
        self._reference: RewardNet | None = None
        self._known: dict[bytes, tuple[float, ...] | None] = {}

    @classmethod
    def load(cls, path: Path | str, *, device: str = "cpu") -> "RewardModel":
        """Loads a folder that `stepmark train` wrote.

        Raises:
            InputError: it is no trained reward model, or its training has not finished.
        """
        path = Path(path)
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as err:
            raise InputError(
                f"{path} has no {MANIFEST}: it is no finished reward model of `stepmark train`."
            ) from err
        kind: Kind = manifest["kind"]
        tokenizer = load_tokenizer(str(path))
        label_ids = None
        if kind == "prm":
            label_ids = label_token_ids(tokenizer, manifest["positive"], manifest["negative"])
        renderer = Renderer(tokenizer, kind, step_token=manifest.get("step_token"))
        net = load_net(path, kind, manifest["layout"], label_ids=label_ids).to(device).eval()
        net.find_form()
        model = cls(net, tokenizer, renderer, manifest)
        if kind == "implicit-prm":
            model._reference = load_net(path / REFERENCE, kind, manifest["layout"], label_ids=None).to(device).eval()
            model._reference.find_form()
        return model

    def score(
        self,
        items: Iterable[tuple[Hashable, str | Prompt, Sequence[str]]],
        *,
        how: Aggregate = "product",
        batch_tokens: int | None = None,
        share: bool = True,
    ) -> Iterator[Scored]:
        """Scores solutions, streaming, in the order in which they came.

        Solutions near each other in the stream share the computation of what they begin with: the prompt of a
        problem, steps in common, a system prompt.

        Each (prompt, segments) is scored once while this object lives; a repeat gets the score of the first.
        A solution longer than the model was trained on has no score and a reason.

        Args:
            items: key, prompt (a text or messages), rendered segments.
            how: how a PRM's steps make a solution's score.
            batch_tokens: tokens of a batch, shared ones counted once; 4,096 on a CPU, 32,768 on a GPU.
            share: False computes each solution by itself, to compare.
        """
        if batch_tokens is None:
            batch_tokens = 32_768 if self.net.model.device.type == "cuda" else 4096
        if self.kind not in SCORERS:
            raise InputError(
                f"a {self.kind} model gives solutions no score by themselves; it needs critiques of them."
            )
        iterator = iter(items)
        while window := list(islice(iterator, _WINDOW)):
            digests = [solution_digest(prompt, segments) for _, prompt, segments in window]
            new: dict[bytes, tuple[str | Prompt, Sequence[str]]] = {}
            for digest, (_, prompt, segments) in zip(digests, window, strict=True):
                if digest not in self._known:
                    new[digest] = (prompt, segments)
            self._forward(new, batch_tokens, share=share)
            for digest, (key, _, _) in zip(digests, window, strict=True):
                yield self._scored(key, self._known[digest], how)

    def _scored(self, key: Hashable, values: tuple[float, ...] | None, how: Aggregate) -> Scored:
        if values is None:
            return Scored(key, None, reason=TOO_LONG)
        if self.kind == "prm":
            if not values:
                return Scored(key, None, reason="no segments")
            return Scored(key, aggregate(values, how), values)
        return Scored(key, values[0], values[1:])

    def score_critiqued(
        self,
        items: Iterable[tuple[Hashable, str | Prompt, Sequence[str], Sequence[str]]],
        *,
        batch_tokens: int = 4096,
    ) -> Iterator[Scored]:
        """Scores solutions with critiques of them: the mean reward over the critiques that fit.

        Args:
            items: key, prompt (a text or messages), rendered segments, critiques.
            batch_tokens: tokens of a batch, shared ones counted once.

        Raises:
            InputError: the model weighs no critiques.
        """
        if self.kind not in CRITIQUED:
            raise InputError(f"a {self.kind} model weighs no critiques; score the solutions themselves.")
        iterator = iter(items)
        while window := list(islice(iterator, _WINDOW)):
            builder, owners = TokenSetBuilder(), []
            for number, (_, prompt, segments, critiques) in enumerate(window):
                messages = as_prompt(prompt) if isinstance(prompt, str) else prompt
                rows = [CritiqueRow(messages, SEPARATOR.join(segments), critique) for critique in critiques]
                for (sequence,) in self._renderer.sequences(rows):
                    if len(sequence.tokens) <= self._max_length:
                        builder.add(0, ReadSequence(sequence.tokens, [len(sequence.tokens) - 1], [0.0]))
                        owners.append(number)
            rewards: list[list[float]] = [[] for _ in window]
            data = builder.build()
            self.n_forwarded += len(data)
            for batch, values in read_logits(self.net, data, np.arange(len(data)), batch_tokens=batch_tokens):
                for item, value in zip(batch.tolist(), values.tolist(), strict=True):
                    rewards[owners[item]].append(value)
            for (key, _, _, critiques), found in zip(window, rewards, strict=True):
                reason = None if found else TOO_LONG if critiques else "no critique"
                yield Scored(key, math.fsum(found) / len(found) if found else None, reason=reason)

    def _forward(
        self, new: dict[bytes, tuple[str | Prompt, Sequence[str]]], batch_tokens: int, *, share: bool
    ) -> None:
        rows = [self._row(prompt, segments) for prompt, segments in new.values()]
        builder = TokenSetBuilder()
        kept = []
        for digest, (sequence,) in zip(new, self._renderer.sequences(rows), strict=True):
            if len(sequence.tokens) > self._max_length:
                self._known[digest] = None
            elif not sequence.positions:
                self._known[digest] = ()
            else:
                reads = slice(-1, None) if self.kind in ("orm", "bt") else slice(None)
                # all of one problem, as far as sharing goes: prompts may begin alike too
                builder.add(0, ReadSequence(sequence.tokens, sequence.positions[reads], sequence.targets[reads]))
                kept.append(digest)
        data = builder.build()
        self.n_forwarded += len(kept)
        if self._reference is not None:
            self._keep_log_ratios(data, kept, new, batch_tokens, share=share)
            return
        for batch, logits in read_logits(
            self.net, data, np.arange(len(kept)), batch_tokens=batch_tokens, share=share
        ):
            values = logits if self.kind == "bt" else torch.sigmoid(logits)
            counts = np.diff(data.position_starts)[batch]
            for item, part in zip(batch.tolist(), np.split(values.numpy(), np.cumsum(counts)[:-1]), strict=True):
                self._known[kept[item]] = tuple(part.tolist())

    def _keep_log_ratios(
        self,
        data: TokenSet,
        kept: list[bytes],
        new: dict[bytes, tuple[str | Prompt, Sequence[str]]],
        batch_tokens: int,
        *,
        share: bool,
    ) -> None:
        """Keeps of each solution sigmoid(beta log pi / pi_ref), whole and by segment (Yuan et al. 2024, eq. 4).

        A segment's tokens are its own and the separator before it; the end token belongs to the last.
        """
        assert self._reference is not None
        beta = self.manifest["flags"]["beta"]
        every = np.arange(len(data))
        ours, theirs = (
            dict(_per_item(data, read_logits(net, data, every, batch_tokens=batch_tokens, share=share)))
            for net in (self.net, self._reference)
        )
        for item, digest in enumerate(kept):
            _, segments = new[digest]
            ratios = beta * (ours[item] - theirs[item])
            ends = self._renderer.segment_ends(segments)
            parts = np.split(ratios, ends[:-1]) if len(ends) else []
            values = [ratios.sum(), *(part.sum() for part in parts)]
            self._known[digest] = tuple((1 / (1 + np.exp(-np.array(values)))).tolist())

    def _row(self, prompt: str | Prompt, segments: Sequence[str]) -> PrmRow | OrmRow | SegmentedRow:
        messages = as_prompt(prompt) if isinstance(prompt, str) else prompt
        if self.kind == "prm":
            return PrmRow(messages, tuple(segments), (0.0,) * len(segments))
        if self.kind == "implicit-prm":
            return SegmentedRow(messages, tuple(segments))
        return OrmRow(messages, SEPARATOR.join(segments), 0.0)


def _per_item(data: TokenSet, found: Iterable[tuple[Any, torch.Tensor]]) -> Iterator[tuple[int, Any]]:
    for batch, values in found:
        counts = np.diff(data.position_starts)[batch]
        yield from zip(batch.tolist(), np.split(values.numpy(), np.cumsum(counts)[:-1]), strict=True)


def solution_digest(prompt: str | Prompt, segments: Sequence[str]) -> bytes:
    """Returns what tells a solution of a prompt from others."""
    whole = json.dumps([prompt, list(segments)], ensure_ascii=False)
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()
