"""The optimizers a run can take: AdamW, or AdamW whose state takes a byte a number instead of four."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

import torch

from stepmark.errors import SettingsError

OptimizerName = Literal["adamw", "adamw8bit"]
"""What updates the weights."""

_BETAS = (0.9, 0.98)


def check_optimizer(name: OptimizerName) -> None:
    """Refuses an optimizer whose library is missing, before anything is loaded.

    Raises:
        SettingsError: bitsandbytes is not installed.
    """
    if name == "adamw8bit":
        _bitsandbytes()


def make_optimizer(name: OptimizerName, groups: list[dict[str, Any]], *, lr: float) -> torch.optim.Optimizer:
    """Makes the optimizer of groups of parameters.

    The 8-bit one keeps the two moments as bytes with a scale for each 256 (Dettmers et al. 2022, block-wise
    quantisation); tensors of fewer than 4,096 numbers keep theirs in full.
    """
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=_BETAS, fused=True)
    made: torch.optim.Optimizer = _bitsandbytes().AdamW8bit(groups, lr=lr, betas=_BETAS)
    return made


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Counts the bytes of the tensors in an optimizer's state."""
    states: list[Mapping[str, Any]] = list(optimizer.state.values())
    tensors = {id(value): value for state in states for value in state.values() if torch.is_tensor(value)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _bitsandbytes() -> Any:
    try:
        return import_module("bitsandbytes.optim")
    except ImportError as err:
        raise SettingsError(
            "--optimizer adamw8bit needs bitsandbytes: pip install 'stepmark[bitsandbytes]'."
        ) from err
