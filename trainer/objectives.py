"""What each kind learns from a batch: the parts of its loss, each over its own number of targets.

A part's losses are summed over all micro-batches of an optimizer step and divided by the number of its targets in all
of them, so that accumulated micro-batches weigh like one large batch whatever their make-up.

Shapes: `K` read positions, `Q` sequences, `N` items (a pair is one), `B` pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .batches import Batch
from .losses import bradley_terry_loss, outcome_loss, preference_loss
from .rows import Kind

PAIRED: frozenset[Kind] = frozenset({"bt", "critique-rm", "cloud", "judge"})
"""Kinds whose items are a chosen and a rejected sequence."""

WRITTEN: frozenset[Kind] = frozenset({"sft", "judge", "implicit-prm"})
"""Kinds that read the log-probabilities of tokens; `cloud` reads both these and rewards."""

REFERRED: frozenset[Kind] = frozenset({"judge", "implicit-prm"})
"""Kinds that compare with the log-probabilities of the model they start from."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The constants of the losses; each kind has its own."""

    centre: float = 0.0
    """Bradley-Terry: weight of the squared sum of a pair's rewards."""
    beta: float = 0.05
    """Implicit PRM and judge: scale of the log ratio to the reference."""
    lm: float = 1.0
    """CLoud: weight of the loss of writing the critiques; judge: of writing the chosen judgements."""


NO_WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a loss."""

    weight: float
    losses: Tensor
    """One for each target, unreduced."""


def sizes(kind: Kind, counts: Sequence[int]) -> list[int]:
    """Returns how many targets sequences have for each part, given how many reads each has."""
    n_pairs = len(counts) // 2
    if kind == "cloud":
        return [n_pairs, sum(counts) - 2 * n_pairs]
    if kind == "judge":
        return [n_pairs, sum(counts[0::2])]
    if kind in PAIRED:
        return [n_pairs]
    return [len(counts) if kind == "implicit-prm" else sum(counts)]


def parts(net: Any, batch: Batch, weights: Weights) -> list[Part]:
    """Computes the losses of a batch, in the order of `sizes`, from one call of the network."""
    return _PARTS[net.kind](net, batch, weights)


def _pointwise(net: Any, batch: Batch, weights: Weights) -> list[Part]:
    return [Part(1.0, outcome_loss(net(batch), batch.targets))]


def _pairwise(net: Any, batch: Batch, weights: Weights) -> list[Part]:
    rewards = net(batch)
    return [Part(1.0, _bradley_terry(rewards, batch.targets, weights))]


def _bradley_terry(rewards: Tensor, margins: Tensor, weights: Weights) -> Tensor:
    return bradley_terry_loss(rewards[0::2], rewards[1::2], margins[0::2], centre=weights.centre)


def _text(net: Any, batch: Batch, weights: Weights) -> list[Part]:
    return [Part(1.0, -net(batch))]


def _implicit(net: Any, batch: Batch, weights: Weights) -> list[Part]:
    ratios = _log_ratios(net(batch), batch)
    return [Part(1.0, outcome_loss(weights.beta * ratios, batch.labels))]


def _judge(net: Any, batch: Batch, weights: Weights) -> list[Part]:
    logps = net(batch)
    ratios = _log_ratios(logps, batch)
    is_chosen = torch.arange(len(batch.counts), device=logps.device) % 2 == 0
    is_chosen = is_chosen.repeat_interleave(torch.tensor(batch.counts, device=logps.device))
    return [
        Part(1.0, preference_loss(ratios[0::2], ratios[1::2], beta=weights.beta)),
        Part(weights.lm, -logps[is_chosen]),
    ]


def _cloud(net: Any, batch: Batch, weights: Weights) -> list[Part]:
    is_reward = last_reads(batch)
    values = net(batch)
    return [
        Part(1.0, _bradley_terry(values[is_reward], batch.targets[is_reward], weights)),
        Part(weights.lm, -values[~is_reward]),
    ]


def last_reads(batch: Batch) -> Tensor:
    """[K] whether a read position is the last one of its sequence."""
    ends = torch.tensor(batch.counts).cumsum(0) - 1
    is_last = torch.zeros(len(batch.targets), dtype=torch.bool)
    is_last[ends] = True
    return is_last.to(batch.targets.device)


def sums(values: Tensor, counts: list[int]) -> Tensor:
    """Sums over the reads of each sequence: [K] to [Q].

    >>> sums(torch.tensor([1.0, 2.0, 5.0]), [2, 1]).tolist()
    [3.0, 5.0]
    """
    owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(values.device)
    return torch.zeros(len(counts), dtype=values.dtype, device=values.device).index_add(0, owners, values)


def _log_ratios(logps: Tensor, batch: Batch) -> Tensor:
    """[Q] log pi(text) / pi_ref(text) of each sequence."""
    return sums(logps, batch.counts) - batch.references


_PARTS: dict[Kind, Callable[[Any, Batch, Weights], list[Part]]] = {
    "prm": _pointwise,
    "orm": _pointwise,
    "bt": _pairwise,
    "critique-rm": _pairwise,
    "sft": _text,
    "implicit-prm": _implicit,
    "judge": _judge,
    "cloud": _cloud,
}
