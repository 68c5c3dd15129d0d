"""The optimizers a run can take: AdamW, AdamW whose state takes a byte a number instead of four, and Muon."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

import torch

from stepmark.errors import SettingsError

OptimizerName = Literal["adamw", "adamw8bit", "muon"]
"""What updates the weights."""

_BETAS = (0.9, 0.98)
_REST_SHARE = 0.2
"""Of the rate, what embeddings, heads and norms have beside Muon."""


def check_optimizer(name: OptimizerName) -> None:
    """Refuses an optimizer whose library is missing, before anything is loaded.

    Raises:
        SettingsError: bitsandbytes is not installed, or torch has no Muon.
    """
    if name == "adamw8bit":
        _bitsandbytes()
    if name == "muon" and not hasattr(torch.optim, "Muon"):
        raise SettingsError(f"--optimizer muon needs torch 2.9 or newer; this is {torch.__version__}.")


def make_optimizer(name: OptimizerName, groups: list[dict[str, Any]], *, lr: float) -> torch.optim.Optimizer:
    """Makes the optimizer of groups of parameters.

    The 8-bit one keeps the two moments as bytes with a scale for each 256 (Dettmers et al. 2022, block-wise
    quantisation); tensors of fewer than 4,096 numbers keep theirs in full. Muon (Jordan et al. 2024) takes the
    matrices that decay, its updates as large as AdamW's (Liu et al. 2025); AdamW the rest, at a fifth of the rate.
    """
    if name == "muon":
        return MuonWithAdamW(groups, lr=lr)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=_BETAS, fused=True)
    made: torch.optim.Optimizer = _bitsandbytes().AdamW8bit(groups, lr=lr, betas=_BETAS)
    return made


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for the matrices of groups that decay, AdamW for everything else, as one optimizer.

    A group's `lr_share` says which part of the run's rate is its own.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float) -> None:
        """Takes groups of parameters as AdamW does; what does not decay is not Muon's."""
        mine, others = list[dict[str, Any]](), list[dict[str, Any]]()
        for group in groups:
            by_muon = [p for p in group["params"] if p.dim() == 2 and group["weight_decay"]]
            chosen = {id(p) for p in by_muon}
            rest = [p for p in group["params"] if id(p) not in chosen]
            if by_muon:
                mine.append({**group, "params": by_muon, "lr_share": 1.0})
            if rest:
                others.append({**group, "params": rest, "lr_share": _REST_SHARE})
        self._parts: list[torch.optim.Optimizer] = []
        if mine:
            self._parts.append(torch.optim.Muon(mine, lr=lr, adjust_lr_fn="match_rms_adamw"))
        if others:
            self._parts.append(torch.optim.AdamW(others, lr=lr * _REST_SHARE, betas=_BETAS, fused=True))
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._tie()

    def _tie(self) -> None:
        """Makes groups and states the parts' own, so that a rate set here is set there."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]
        self.state.clear()
        for part in self._parts:
            self.state.update(part.state)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Takes a step with each part; a closure is not taken."""
        if closure is not None:
            raise ValueError("a step by closure is not taken")
        for part in self._parts:
            part.step()
        self._tie()

    def state_dict(self) -> dict[str, Any]:
        """The state of each part."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._tie()


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
