"""A cache of keys and values that grows in place.

The layers of `DynamicCache` copy themselves at every token; that took a third of the time on a small model.

Shapes: `B` rows, `H` heads, `T` tokens so far, `D` size of a head.
"""

from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.cache_utils import DynamicLayer

_ROOM = 64
"""Tokens of new room each time it runs out."""


def roomy_cache(config: Any) -> Any:
    """A `DynamicCache` for the model of `config` whose plain layers grow in place; others stay as they are."""
    cache = transformers.DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer whose keys and values [B, H, T, D] are the front part of larger tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._roomy: list[Tensor] = []
        """Keys and values, with room behind T; empty while the layer holds nothing."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Takes in the keys and values of new tokens, and returns those of all tokens."""
        if not self._roomy:
            self.lazy_initialization(key_states, value_states)
            self._roomy = [key_states, value_states]
            return self._show(key_states.shape[-2])
        old = self.get_seq_length()
        new = old + key_states.shape[-2]
        if self._roomy[0].shape[-2] < new:
            self.batch_select_indices(torch.arange(len(key_states), device=key_states.device))
        for held, states in zip(self._roomy, (key_states, value_states), strict=True):
            held[:, :, old:new] = states
        return self._show(new)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps the rows `indices`, which may repeat and reorder, and makes room behind them."""
        length = self.get_seq_length()
        self._roomy = [_moved(held[:, :, :length], indices) for held in self._roomy]
        self._show(length)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        keys, values = (held[:, :, :length] for held in self._roomy)
        self.keys, self.values = keys, values
        return keys, values


def _moved(held: Tensor, indices: Tensor) -> Tensor:
    _, heads, length, size = held.shape
    moved = held.new_empty(len(indices), heads, length + _ROOM, size)
    moved[:, :, :length] = held[indices]
    return moved
