"""Several reward models trained side by side, each in a process of its own."""

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepmark.progress import Progress, silent
from trainer.rows import Kind


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One reward model to train."""

    name: str
    kind: Kind
    data: Path
    model: str
    out: Path
    seed: int
    epochs: int


def train_side_by_side(
    jobs: Sequence[TrainingJob], *, workers: int, progress: Progress = silent
) -> Mapping[str, dict[str, Any]]:
    """Trains the jobs, `workers` at a time on one thread each; returns each one's `stepmark.json` by name.

    A finished job is not trained again, an interrupted one is resumed.

    Raises:
        UserError: A job refuses its data or folder; the others are stopped.
        JobError: A job failed.
    """
    done: dict[str, dict[str, Any]] = {}
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        shares: Any = manager.dict()
        futures = {pool.submit(_train, job, shares): job for job in jobs}
        pending = set(futures)
        try:
            while pending:
                try:
                    for future in as_completed(pending, timeout=0.5):
                        pending.discard(future)
                        done[futures[future].name] = future.result()
                except TimeoutError:
                    pass
                running = ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items()) if share < 1)
                share = sum(shares.values()) / len(jobs)
                progress(round(1000 * share), 1000, running)
        except BaseException:
            for future in pending:
                future.cancel()
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return {job.name: done[job.name] for job in jobs}


def _train(job: TrainingJob, shares: Any) -> dict[str, Any]:
    from trainer.train import TrainSettings, train_reward_model

    last = 0.0

    def on_progress(done: int, total: int | None, note: str = "") -> None:
        nonlocal last
        if total and time.monotonic() - last > 0.5:
            last = time.monotonic()
            shares[job.name] = done / total

    manifest = train_reward_model(
        job.kind,
        data=job.data,
        model=job.model,
        out=job.out,
        settings=TrainSettings(epochs=job.epochs, seed=job.seed, threads=1),
        resume=True,
        progress=on_progress,
    )
    shares[job.name] = 1.0
    return manifest
