"""CLoud end to end: a critic is taught, writes the critiques again, and a reward head learns behind them.

Ankner et al. 2024 (2408.11791): one, the model learns the critiques of the set; two, it writes them again; three,
reward and critiques are learnt together. Off-policy leaves out stage two, for comparison.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist

from generator.engines.revision import model_revision
from stepmark.errors import SettingsError
from stepmark.progress import Progress, silent
from trainer.cloud import COUNTS, write_critiques
from trainer.rows import data_fingerprint
from trainer.train import TrainSettings, train_reward_model

from .critiques import Sampled, critiques_by
from .stages import claim_folder
from .training import TrainingJob, train_side_by_side

Policy = Literal["on-policy", "off-policy"]
"""Whose critiques the reward learns behind: the model's own, or those of the set."""

CRITIC, OWN = "critic", "own"
"""What the first two stages leave: a model, and a set."""


@dataclass(frozen=True, slots=True)
class CloudJob:
    """One CLoud model to train."""

    name: str
    data: Path
    """An exported set with `cloud`."""
    model: str
    """The base."""
    out: Path
    """Gets `critic` (stage one), `own` (the set of stage two), and a folder for each policy."""
    seed: int
    critic_epochs: int
    epochs: int
    lm_weight: float = 1.25
    temperature: float = 0.5
    max_tokens: int = 256


def train_cloud(
    jobs: Sequence[CloudJob],
    *,
    workers: int,
    policies: Sequence[Policy] = ("on-policy",),
    progress: Progress = silent,
) -> Mapping[str, dict[str, Any]]:
    """Runs the three stages; returns `stepmark.json` of each model by `NAME/POLICY`. What is finished stays.

    Raises:
        UserError: A set or folder cannot be used.
        JobError: A stage could not finish; run again, it goes on there.
    """
    critics = [
        TrainingJob(
            job.name, "sft", job.data, job.model, job.out / CRITIC, job.seed, job.critic_epochs, {"config": "cloud"}
        )
        for job in jobs
    ]
    train_side_by_side(critics, workers=workers, progress=progress)
    for job in jobs:
        sampled = Sampled(n=1, temperature=job.temperature, max_tokens=job.max_tokens, seed=job.seed)
        write_own_critiques(job.data, job.out / CRITIC, job.out / OWN, sampled)
    joint = [
        TrainingJob(
            f"{job.name}/{policy}",
            "cloud",
            job.out / OWN if policy == "on-policy" else job.data,
            str(job.out / CRITIC),
            job.out / policy,
            job.seed,
            job.epochs,
            {"lm_weight": job.lm_weight},
        )
        for job in jobs
        for policy in policies
    ]
    return train_side_by_side(joint, workers=workers, progress=progress)


def train_cloud_stages(
    *,
    data: Path,
    model: str,
    out: Path,
    settings: TrainSettings,
    critic_epochs: int | None = None,
    critic_lr: float | None = None,
    sampled: Sampled | None = None,
    resume: bool = False,
    overwrite: bool = False,
    watch: Callable[[str], AbstractContextManager[Progress]],
    on_message: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Trains one CLoud model in its three stages, each with all the flags of training.

    Args:
        data: An exported set with `cloud`.
        model: The base.
        out: Gets the model; `OUT-critic` gets that of stage one, and `OUT-own` the set of stage two.
        settings: Of the joint stage, and of the first but for its epochs and rate.
        critic_epochs: Of the first stage; None: its default.
        critic_lr: The rate of the first stage; None: its default.
        sampled: How critiques are written again; one of each solution, if not given.
        resume: Go on with what an interrupted call left; what is finished stays.
        overwrite: Replace what an earlier call left.
        watch: Shows a stage while it runs.
        on_message: Told what was chosen and counted.

    Returns:
        `stepmark.json` of stage one as `critic`, the counts of stage two by split as `critiques`, and `stepmark.json`
        of stage three as `cloud`.

    Raises:
        UserError: Flags, files or rows that cannot be used.
        JobError: Interrupted; run again with `resume`, it goes on there.
    """
    if dist.is_torchelastic_launched():
        raise SettingsError(
            "the second stage writes in one process; run `train sft --config cloud`, `train cloud-critiques` and "
            "`train cloud` one by one, the first and the last under torchrun."
        )
    critic, own = (out.with_name(f"{out.name}-{what}") for what in (CRITIC, OWN))
    first = replace(settings, config="cloud", epochs=critic_epochs, lr=critic_lr, lm_weight=1.0)
    train = partial(train_reward_model, resume=resume, overwrite=overwrite, on_message=on_message)
    with watch("critic") as progress:
        taught = train("sft", data=data, model=model, out=critic, settings=first, progress=progress)
    if overwrite:
        for old in (own, own.with_name(own.name + ".partial")):
            shutil.rmtree(old, ignore_errors=True)
    with watch("critiques") as progress:
        counts = write_own_critiques(
            data, critic, own, sampled or Sampled(n=1), device=_device(settings), progress=progress
        )
    with watch("reward") as progress:
        joint = train("cloud", data=own, model=str(critic), out=out, settings=settings, progress=progress)
    return {"critic": taught, "critiques": counts, "cloud": joint}


def _device(settings: TrainSettings) -> str:
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def write_own_critiques(
    data: Path, critic: Path, own: Path, sampled: Sampled, *, device: str = "cpu", progress: Progress = silent
) -> dict[str, dict[str, int]]:
    """The second stage: copies a `cloud` set with critiques that the critic writes; returns the counts of each split.

    Interrupted, it goes on where it stopped; a whole set stays.

    Args:
        data: The set.
        critic: Folder of the model of stage one.
        own: Folder of the new set.
        sampled: How critiques are sampled.
        device: Where to compute.
        progress: Told the rows done and to do.

    Raises:
        SettingsError: The folder holds the critiques of another critic, of other rows or of other sampling.
    """
    is_there = own.exists()
    if is_there and not (own / COUNTS).exists():
        raise SettingsError(f"--out {own} is there already and is no set of ours; name a new folder.")
    at = own if is_there else own.with_name(own.name + ".partial")
    at.mkdir(parents=True, exist_ok=True)
    rows, weights = data_fingerprint(data, "cloud"), model_revision(str(critic))
    this = {"data": rows, "critic": weights, "sampling": asdict(sampled)}
    claim_folder(at / "critiques.json", this, job="critiques")
    if not is_there:
        return write_critiques(
            data, own, write=critiques_by(critic, sampled, device=device), resume=True, progress=progress
        )
    counts: dict[str, dict[str, int]] = json.loads((own / COUNTS).read_text(encoding="utf-8"))
    return counts
