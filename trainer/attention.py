"""Attention over packed segments: no padding, and what several sequences begin with is computed once.

The tokens of a batch stand in one row, cut into segments; a segment has a parent segment (or none), and its
tokens see all of their ancestors and themselves up to their own place, as they would in the whole sequence.
Everything but attention works on single tokens, so it needs no change; attention gathers, for each segment,
the keys and values of its path. On a GPU that is one call of a kernel for ragged sequences; elsewhere segments
of similar length make padded blocks for the usual one. Gradients of a shared token are the sums over its readers.

Shapes: `T` tokens of the batch, `S` segments, `H` heads (`G` of them for keys and values), `D` size of a head;
in a block `B` segments, `Q` queries of the longest, `K` keys of the longest path.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepmark.errors import SettingsError

Ints = npt.NDArray[np.int64]

NAME = "stepmark_segments"
"""What Transformers knows this attention by."""

_MASKED_WASTE = 1.5
_BLOCK_COST = 1 << 16
"""A block may have this many scores for each useful one, and this many more: a call costs as much as they do."""


@dataclass(frozen=True, slots=True)
class Block:
    """Segments of similar length, padded to a rectangle."""

    queries: Tensor
    """[B, Q] index of each query among the tokens; those of padding are any."""
    keys: Tensor
    """[B, K] index of each key; those of padding are any."""
    starts: Tensor | None
    """[B] how many keys stand before a segment's first query; None where no segment has a parent."""
    _masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None) -> Tensor | None:
        """[B, 1, Q, K] which keys a query sees, the last `window` of them; None for the plain triangle.

        A query's key of its own stands at the same depth, so that no key of padding, which comes after all
        others, is seen by any query that counts.
        """
        n_queries, n_keys = self.queries.shape[1], self.keys.shape[1]
        if window is not None and window >= n_keys:
            window = None
        if window not in self._masks:
            if self.starts is None and window is None:
                self._masks[window] = None
            else:
                device = self.queries.device
                starts = torch.zeros(1, dtype=torch.long, device=device) if self.starts is None else self.starts
                depth = starts[:, None, None] + torch.arange(n_queries, device=device)[:, None]
                key = torch.arange(n_keys, device=device)
                seen = key <= depth
                if window is not None:
                    # padded queries lie further back than any key; they must see something, or they are not a number
                    seen &= key > depth.clamp(max=n_keys - 1) - window
                self._masks[window] = seen[:, None]
        return self._masks[window]


@dataclass(frozen=True, slots=True)
class Segments:
    """How the tokens of a batch see each other; either blocks or the ragged form is there."""

    blocks: tuple[Block, ...]
    back: Tensor
    """[T] where each token stands among the concatenated queries of the blocks."""
    query_ends: Tensor | None = None
    """[S + 1] where segments begin, and the end, in 32 bits."""
    keys: Tensor | None = None
    """Index of each key, the paths of all segments one after the other."""
    key_ends: Tensor | None = None
    """[S + 1] where paths begin in `keys`, and the end."""
    longest: tuple[int, int] = (0, 0)
    """Most queries of a segment, most keys of a path."""
    n_scores: int = 0
    """Pairs of query and key that count: what attention cannot do without."""

    def to(self, device: torch.device) -> "Segments":
        """Moves the indices to a device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        blocks = tuple(
            Block(b.queries.to(device), b.keys.to(device), None if b.starts is None else b.starts.to(device))
            for b in self.blocks
        )
        ends, keys, key_ends = move(self.query_ends), move(self.keys), move(self.key_ends)
        return Segments(blocks, self.back.to(device), ends, keys, key_ends, self.longest, self.n_scores)


def lay_out(lengths: Ints, paths: list[Ints], *, ragged: bool) -> Segments:
    """Lays out segments that stand one after the other in the row of tokens.

    Args:
        lengths: [S] tokens of each segment.
        paths: for each, the indices of its ancestors' tokens and its own, in order.
        ragged: for a kernel that takes ragged sequences, not in blocks.
    """
    starts = np.cumsum(lengths) - lengths
    n_keys = np.array([len(path) for path in paths], np.int64)
    n_scores = int((lengths * (n_keys - lengths) + lengths * (lengths + 1) // 2).sum())
    longest = (int(lengths.max()), int(n_keys.max()))
    if ragged:
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        key_ends = np.concatenate([[0], np.cumsum(n_keys)]).astype(np.int32)
        return Segments(
            blocks=(),
            back=torch.zeros(0, dtype=torch.long),
            query_ends=torch.from_numpy(ends),
            keys=torch.from_numpy(np.concatenate(paths)),
            key_ends=torch.from_numpy(key_ends),
            longest=longest,
            n_scores=n_scores,
        )
    blocks, back = [], np.zeros(int(lengths.sum()), np.int64)
    n_before = 0
    for members in _blocks(lengths, n_keys):
        size = int(lengths[members].max()), int(n_keys[members].max())
        columns = np.arange(size[0])
        queries = np.minimum(starts[members, None] + columns, len(back) - 1)
        is_real = columns < lengths[members, None]
        back[queries[is_real]] = n_before + np.flatnonzero(is_real)
        n_before += queries.size
        keys = np.zeros((len(members), size[1]), np.int64)
        for row, member in enumerate(members):
            keys[row, : n_keys[member]] = paths[member]
        before = n_keys[members] - lengths[members]
        offsets = torch.from_numpy(before) if before.any() else None
        blocks.append(Block(torch.from_numpy(queries), torch.from_numpy(keys), offsets))
    return Segments(tuple(blocks), torch.from_numpy(back), longest=longest, n_scores=n_scores)


def _blocks(lengths: Ints, n_keys: Ints) -> list[Ints]:
    """Groups segments so that little of a block is padding; those without a parent stay among themselves."""
    order = np.lexsort((-lengths, -n_keys, n_keys > lengths)).tolist()
    blocks: list[list[int]] = []
    useful = widest = deepest = 0
    is_root_block = True
    for i in order:
        q, k = int(lengths[i]), int(n_keys[i])
        is_root = q == k
        widest, deepest, useful = max(widest, q), max(deepest, k), useful + q * k
        size = (len(blocks[-1]) + 1) * widest * deepest if blocks else 0
        if not blocks or is_root != is_root_block or size > _MASKED_WASTE * useful + _BLOCK_COST:
            blocks.append([])
            widest, deepest, useful, is_root_block = q, k, q * k, is_root
        blocks[-1].append(i)
    return [np.array(block) for block in blocks]


def use(model: Any) -> bool:
    """Makes a Transformers model use this attention where it is given segments; tells whether that is possible."""
    from transformers import AttentionInterface

    if NAME not in AttentionInterface():  # type: ignore[no-untyped-call]
        AttentionInterface.register(NAME, _forward)
    if not model._can_set_attn_implementation():
        return False
    model.set_attn_implementation(NAME)
    return True


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Segments,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """What a layer calls: [1, H, T, D], [1, G, T, D] twice, to [1, T, H, D]; the signature is Transformers'."""
    for name in ("softcap", "s_aux", "position_bias"):
        if more.get(name) is not None:
            raise SettingsError(f"{type(module).__name__} uses {name}, which packed attention does not know.")
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    if segments.query_ends is not None:
        out = _ragged(q, k, v, segments, scaling, sliding_window)
    else:
        out = _in_blocks(q, k, v, segments, scaling, dropout, sliding_window)
    return out[None], None


def _ragged(q: Tensor, k: Tensor, v: Tensor, segments: Segments, scaling: float | None, window: int | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    assert segments.keys is not None
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else v.dtype
    out: Tensor = varlen_attn(  # type: ignore[assignment]
        q.to(dtype).contiguous(),
        _gather(k.to(dtype), segments.keys),
        _gather(v.to(dtype), segments.keys),
        segments.query_ends,  # type: ignore[arg-type]
        segments.key_ends,
        *segments.longest,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return out


def _in_blocks(
    q: Tensor, k: Tensor, v: Tensor, segments: Segments, scaling: float | None, dropout: float, window: int | None
) -> Tensor:
    outs = []
    for block in segments.blocks:
        queries, keys, values = (
            _gather(part, index).transpose(1, 2)
            for part, index in ((q, block.queries), (k, block.keys), (v, block.keys))
        )
        mask = block.mask(window)
        repeats = queries.shape[1] // keys.shape[1]
        if repeats > 1:
            keys, values = (part.repeat_interleave(repeats, dim=1) for part in (keys, values))
        out = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None, dropout_p=dropout, scale=scaling
        )
        outs.append(out.transpose(1, 2).flatten(0, 1))
    return _gather(outs[0] if len(outs) == 1 else torch.cat(outs), segments.back)


def _gather(rows: Tensor, index: Tensor) -> Tensor:
    """Takes [n, ...] by an index of any shape; as an embedding, whose gradient is fast with repeated indices."""
    return F.embedding(index, rows.flatten(1)).view(*index.shape, *rows.shape[1:])
