"""CLoud end to end: a critic is taught, writes the critiques again, and a reward head learns behind them.

Ankner et al. 2024 (2408.11791): one, the model learns the critiques of the set; two, it writes them again; three,
reward and critiques are learnt together. Off-policy leaves out stage two, for comparison.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from stepmark.progress import Progress, silent
from stepmark.steps import SEPARATOR
from trainer.cloud import continue_with, write_critiques
from trainer.models import load_tokenizer
from trainer.render import Renderer
from trainer.rows import as_prompt
from trainer.score import RewardModel, Scored

from .training import TrainingJob, train_side_by_side

Policy = Literal["on-policy", "off-policy"]
"""Whose critiques the reward learns behind: the model's own, or those of the set."""

_WINDOW = 128


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
            job.name, "sft", job.data, job.model, job.out / "critic", job.seed, job.critic_epochs, {"config": "cloud"}
        )
        for job in jobs
    ]
    train_side_by_side(critics, workers=workers, progress=progress)
    for job in jobs:
        _write_own(job)
    joint = [
        TrainingJob(
            f"{job.name}/{policy}",
            "cloud",
            job.out / "own" if policy == "on-policy" else job.data,
            str(job.out / "critic"),
            job.out / policy,
            job.seed,
            job.epochs,
            {"lm_weight": job.lm_weight},
        )
        for job in jobs
        for policy in policies
    ]
    return train_side_by_side(joint, workers=workers, progress=progress)


def score_with_own_critiques(
    folder: Path,
    items: Iterable[tuple[Any, str, Sequence[str]]],
    *,
    critic: Path | None = None,
    n: int = 8,
    temperature: float = 0.5,
    max_tokens: int = 256,
    seed: int = 0,
) -> Iterator[Scored]:
    """Scores solutions by the mean reward over `n` critiques, written where they stood in training.

    Args:
        folder: A trained `cloud` or `critique-rm`.
        items: Key, prompt and rendered segments of each solution.
        critic: Writes the critiques; None: the model itself.
        n: Critiques of each solution.
        temperature: Of the sampling.
        max_tokens: Tokens of a critique at most.
        seed: Of the sampling.
    """
    model, writer = RewardModel.load(folder), critic or folder
    renderer = Renderer(load_tokenizer(str(writer)), "cloud")
    write = continue_with(writer, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed)
    iterator = iter(items)
    while window := list(islice(iterator, _WINDOW)):
        texts = [
            renderer.critique_opening(as_prompt(prompt), SEPARATOR.join(segments)) for _, prompt, segments in window
        ]
        yield from model.score_critiqued(
            (key, prompt, segments, [text.strip() for text in found if text.strip()])
            for (key, prompt, segments), found in zip(window, write(texts), strict=True)
        )


def _write_own(job: CloudJob) -> None:
    """Writes the set of stage two, whole or not at all."""
    if (job.out / "own").exists():
        return
    partial = job.out / "own.partial"
    shutil.rmtree(partial, ignore_errors=True)
    critic = job.out / "critic"
    write = continue_with(critic, temperature=job.temperature, max_tokens=job.max_tokens, seed=job.seed)
    write_critiques(job.data, partial, tokenizer=load_tokenizer(str(critic)), write=write)
    partial.rename(job.out / "own")
