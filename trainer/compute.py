"""What a run must compute, and what the device can: the floor of its time, and the share of the peak it reaches.

Counted are the products that training cannot do without: every weight matrix of the body twice a token forward and
four times backward, and attention for the pairs of query and key that see each other. Norms, rotations, softmax
and recomputation (gradient checkpointing) are work without being counted, so that waste shows.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from .batches import Batch, Ints, TokenSet
from .models import RewardNet

_PEAK_S = 0.1
"""Seconds for which the peak of a CPU is measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Floating-point operations of a training step by its tokens, for one model."""

    per_token: int
    """Of the weight matrices, forward and backward."""
    per_score: int
    """Of attention, for each pair of query and key, in all heads and layers."""

    def of(self, batch: Batch) -> int:
        """Returns those of one batch."""
        return self.per_token * len(batch.input_ids) + self.per_score * batch.segments.n_scores


def cost_of(net: RewardNet) -> Cost:
    """Counts from the shapes: 6 for each weight of a linear layer, 12 for each number of a head's queries.

    Two matrix products in attention, of 2 operations a number, make 4 forward; backward costs twice that.
    """
    body = net.model.base_model
    weights = sum(m.weight.numel() for m in body.modules() if isinstance(m, nn.Linear))
    config = net.model.config.get_text_config()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Cost(6 * weights, 12 * config.num_hidden_layers * config.num_attention_heads * head)


def computed(data: TokenSet, batches: Iterable[Ints], *, share: bool = True) -> tuple[int, int]:
    """Returns the tokens that batches compute, shared ones once, and the pairs that attention cannot avoid."""
    if not share:
        alone = np.diff(data.token_starts).reshape(-1, data.group)
        every = alone[np.concatenate(list(batches))]
        return int(every.sum()), int((every * (every + 1) // 2).sum())
    rank = np.empty(len(data), np.int64)
    rank[data.order] = np.arange(len(data))
    lengths = np.diff(data.token_starts).reshape(-1, data.group)
    first = lengths[:, 0]
    n_tokens = n_scores = 0
    for items in batches:
        ranks = np.sort(rank[items])
        members = data.order[ranks]
        overlaps = [
            min(int(data.overlap[a + 1 : b + 1].min()), int(first[members[i]]))
            for i, (a, b) in enumerate(pairwise(ranks))
        ]
        own = int(data.own[members].sum())
        twice = (lengths[members].sum(axis=1) - data.own[members]).tolist() + overlaps
        n_tokens += own - sum(overlaps)
        n_scores += int((lengths[members] * (lengths[members] + 1) // 2).sum())
        n_scores -= sum(n * (n + 1) // 2 for n in twice)
    return n_tokens, n_scores


def matrix_peak(device: torch.device) -> float:
    """Measures the floating-point operations of matrix products a second: bf16 on a GPU, else float32."""
    is_gpu = device.type == "cuda"
    n = 8192 if is_gpu else 768
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16 if is_gpu else torch.float32)
    b = torch.randn_like(a)
    best = 0.0
    spent = 0.0
    for _ in range(20):
        _wait(device)
        started = time.perf_counter()
        a @ b
        _wait(device)
        seconds = time.perf_counter() - started
        best = max(best, 2 * n**3 / seconds)
        spent += seconds
        if spent > _PEAK_S and not is_gpu:
            break
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_words(flops: float) -> str:
    """Writes operations, or operations a second, with a prefix.

    >>> in_words(3.2e13), in_words(451e6)
    ('32.0 TFLOP', '451.0 MFLOP')
    """
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G")):
        if flops >= size:
            return f"{flops / size:.1f} {prefix}FLOP"
    return f"{flops / 1e6:.1f} MFLOP"
