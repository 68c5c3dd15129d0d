"""Training in several processes: what is left when one refuses, one is killed, or somebody presses Ctrl-C."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from stepmark.errors import InputError, JobError
from stepmark.flows.training import TrainingJob, train_side_by_side
from tests.tiny_reward_model import save_tiny_lm, write_sums
from trainer.rows import Kind

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = 100_000
"""Epochs that no test waits for."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("side-by-side")
    save_tiny_lm(folder / "base")
    write_sums(folder / "data", n=8)
    return folder


def jobs(folder: Path, out: Path, *, epochs: int, kinds: Sequence[Kind]) -> list[TrainingJob]:
    return [TrainingJob(kind, kind, folder / "data", str(folder / "base"), out / kind, 0, epochs) for kind in kinds]


def test_a_job_that_refuses_its_data_stops_the_others(folder: Path, tmp_path: Path) -> None:
    refused = TrainingJob("refused", "orm", tmp_path / "nowhere", str(folder / "base"), tmp_path / "refused", 0, 1)
    endless = jobs(folder, tmp_path, epochs=ENDLESS, kinds=["prm"])
    with pytest.raises(InputError, match="nowhere has no orm"):
        train_side_by_side([*endless, refused], workers=2)
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_a_job_that_failed(folder: Path, tmp_path: Path) -> None:
    def kill(done: int, total: int | None, note: str = "") -> None:
        if (tmp_path / "bt" / "log.jsonl").exists():
            for process in multiprocessing.active_children():
                process.kill()

    with pytest.raises(JobError, match="a training process was killed"):
        train_side_by_side(jobs(folder, tmp_path, epochs=ENDLESS, kinds=["bt"]), workers=1, progress=kill)
    assert multiprocessing.active_children() == []


@contextlib.contextmanager
def training_elsewhere(folder: Path, out: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that trains three jobs without end, two at a time, in a group of its own; both train."""
    code = """
import sys
from pathlib import Path
from stepmark.flows.training import train_side_by_side
from tests.integration.test_training_side_by_side import ENDLESS, jobs

folder, out = map(Path, sys.argv[1:])
try:
    train_side_by_side(jobs(folder, out, epochs=ENDLESS, kinds=["prm", "orm", "bt"]), workers=2)
except KeyboardInterrupt:
    sys.exit(130)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(out)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 180  # three processes start and load torch
    try:
        while not all(log.exists() and log.stat().st_size for log in logs(out)):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it would train for ever
        process.communicate()


def logs(out: Path) -> list[Path]:
    return [out / kind / "log.jsonl" for kind in ("prm", "orm")]


def test_ctrl_c_leaves_checkpoints_and_no_traceback(folder: Path, tmp_path: Path) -> None:
    with training_elsewhere(folder, tmp_path) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, "")
        assert all((log.parent / "checkpoint.pt").exists() for log in logs(tmp_path))
        assert not (tmp_path / "bt").exists()  # it was handed out, and not begun


def test_workers_end_with_a_parent_that_is_killed_and_leave_checkpoints(folder: Path, tmp_path: Path) -> None:
    with training_elsewhere(folder, tmp_path) as process:
        process.kill()
        process.wait()
        end = time.monotonic() + 60
        while is_alive(process.pid):
            assert time.monotonic() < end, "workers train on"
            time.sleep(0.1)
        assert all((log.parent / "checkpoint.pt").exists() for log in logs(tmp_path))


def is_alive(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
