"""Several reward models trained side by side, each in a process of its own."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepmark.errors import JobError
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
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further settings by name, see `trainer.train.TrainSettings`."""


def train_side_by_side(
    jobs: Sequence[TrainingJob], *, workers: int, progress: Progress = silent
) -> Mapping[str, dict[str, Any]]:
    """Trains the jobs, `workers` at a time on one thread each; returns each one's `stepmark.json` by name.

    A finished job is not trained again, an interrupted one is resumed. Ctrl-C lets those that train finish the step
    at hand and write their checkpoints, and so does the end of this process, however it comes.

    Raises:
        UserError: A job refuses its data or folder; the others are stopped.
        JobError: A job failed, or its process was killed; the others are stopped.
    """
    done: dict[str, dict[str, Any]] = {}
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    shares = context.Array("d", len(jobs), lock=False)
    is_stopping = context.Event()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(shares, is_stopping)
    ) as pool:
        futures = {pool.submit(_train, index, job): job for index, job in enumerate(jobs)}
        pending = set(futures)
        try:
            while pending:
                try:
                    for future in as_completed(pending, timeout=0.5):
                        pending.discard(future)
                        done[futures[future].name] = future.result()
                except TimeoutError:
                    pass
                running = ", ".join(
                    f"{job.name} {share:.0%}" for job, share in zip(jobs, shares, strict=True) if 0 < share < 1
                )
                progress(round(1000 * sum(shares) / len(jobs)), 1000, running)
        except BaseException as err:
            is_stopping.set()
            for future in pending:
                future.cancel()
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()  # one that trains writes its checkpoint first
            if isinstance(err, BrokenProcessPool):
                raise JobError(
                    "a training process was killed, perhaps for want of memory; run the same command again to go on"
                ) from err
            raise
    return {job.name: done[job.name] for job in jobs}


_shares: Any = None
_is_stopping: Any = None
_at_work = threading.Lock()


def _start_worker(shares: Any, is_stopping: Any) -> None:
    global _shares, _is_stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the parent ends us
    _shares, _is_stopping = shares, is_stopping
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process as `terminate` does once its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _is_stopping.set()
    os.kill(os.getpid(), signal.SIGTERM)  # a job that trains writes its checkpoint and ends, and only the job
    with _at_work:
        os._exit(1)


def _train(index: int, job: TrainingJob) -> dict[str, Any]:
    if _is_stopping.is_set():  # the pool hands out jobs ahead, and those cannot be cancelled
        raise JobError(f"{job.name} was not started")
    from trainer.train import TrainSettings, train_reward_model

    last = 0.0

    def on_progress(done: int, total: int | None, note: str = "") -> None:
        nonlocal last
        if total and time.monotonic() - last > 0.5:
            last = time.monotonic()
            _shares[index] = done / total

    with _at_work:
        manifest = train_reward_model(
            job.kind,
            data=job.data,
            model=job.model,
            out=job.out,
            settings=TrainSettings(epochs=job.epochs, seed=job.seed, threads=1, **job.more),
            resume=True,
            progress=on_progress,
        )
    _shares[index] = 1.0
    return manifest
