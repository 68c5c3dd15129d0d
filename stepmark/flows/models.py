"""Reward models by the names that a command gives them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from stepmark.errors import SettingsError
from trainer.critiqued import CritiquedRewardModel
from trainer.evaluate.comparison import Scorer
from trainer.score import CRITIQUED, RewardModel

from .critiques import Sampled, critiques_by


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


def open_model(
    folder: Path, *, device: str = "cpu", critic: Path | None = None, sampled: Sampled | None = None
) -> RewardModel | CritiquedRewardModel:
    """Loads a reward model; one that weighs critiques gets what writes them: a CLoud model itself, else the critic.

    Raises:
        InputError: The folder holds no finished reward model.
        SettingsError: The model is given critiques, and there is no critic.
    """
    model = RewardModel.load(folder, device=device)
    if model.kind not in CRITIQUED:
        return model
    if model.kind == "cloud":
        critic = folder
    elif critic is None:
        raise SettingsError(
            f"{folder} is a {model.kind}: it weighs critiques and writes none; name a model that writes them: "
            "--critic FOLDER"
        )
    return CritiquedRewardModel(model, critiques_by(critic, sampled or Sampled(), device=device))


def open_models(
    given: Sequence[str],
    *,
    device: str = "cpu",
    threads: int = 1,
    critic: Path | None = None,
    sampled: Sampled | None = None,
) -> dict[str, Scorer]:
    """Loads reward models; see `model_folders` and `open_model`.

    `threads` of the CPU compute them, which is set for the process.
    """
    torch.set_num_threads(threads)
    return {
        name: open_model(folder, device=device, critic=critic, sampled=sampled)
        for name, folder in model_folders(given).items()
    }
