"""Reward models by the names that a command gives them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from stepmark.errors import SettingsError
from trainer.evaluate.comparison import Scorer
from trainer.score import RewardModel


def model_folders(given: Sequence[str]) -> dict[str, Path]:
    """Reads `FOLDER` or `NAME=FOLDER`, in order; without a name the folder's own.

    >>> model_folders(["demo/models/prm-0", "longer=runs/7"])
    {'prm-0': PosixPath('demo/models/prm-0'), 'longer': PosixPath('runs/7')}

    Raises:
        SettingsError: There is none, or two have one name.
    """
    found: dict[str, Path] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        path = Path(folder if equals else one)
        name = name if equals else path.name or one
        if name in found:
            raise SettingsError(f"two models are named {name!r}; give one another name: --model NAME={path}")
        found[name] = path
    if not found:
        raise SettingsError("name a reward model: --model FOLDER")
    return found


def open_models(given: Sequence[str], *, device: str = "cpu", threads: int = 1) -> dict[str, Scorer]:
    """Loads reward models; see `model_folders`. `threads` of the CPU compute them, which is set for the process."""
    torch.set_num_threads(threads)
    return {name: RewardModel.load(folder, device=device) for name, folder in model_folders(given).items()}
