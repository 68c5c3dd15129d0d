"""A run is shown in TensorBoard and Weights & Biases as it stands in its log; without either library it says so."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stepmark.errors import JobError, SettingsError
from tests.tiny_reward_model import save_tiny_lm, write_sums
from trainer.trackers import flat
from trainer.train import TrainSettings, train_reward_model

SETTINGS: dict[str, Any] = {"epochs": 2, "batch_tokens": 512, "log_every": 2, "checkpoint_every": 1}


class FakeWriter:
    """The part of SummaryWriter that is used; what it was told stays in `told`."""

    told: list[tuple[Any, ...]]

    def __init__(self, log_dir: str, purge_step: int | None = None) -> None:
        self.told.append(("open", log_dir, purge_step))

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        self.told.append((tag, scalar_value, global_step))

    def close(self) -> None:
        self.told.append(("close",))


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> type[FakeWriter]:
    """torch.utils.tensorboard, or rather a module with its interface."""
    module, writer = ModuleType("torch.utils.tensorboard"), type("Writer", (FakeWriter,), {"told": []})
    module.SummaryWriter = writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return writer


class FakeRun:
    """The part of a run of Weights & Biases that is used."""

    def __init__(self, told: list[Any]) -> None:
        self.told = told

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.told.append(("metric", name, step_metric))

    def log(self, data: Mapping[str, Any]) -> None:
        self.told.append(dict(data))

    def finish(self) -> None:
        self.told.append("finish")


def test_tensorboard_is_shown_each_line_of_the_log_and_takes_lost_steps_back(
    tmp_path: Path, writer: type[FakeWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after some steps and resumed: the second file says which steps of the first are void."""
    import trainer.loop

    monkeypatch.setattr(trainer.loop, "SHOW_EVERY_S", 0.0)
    base, data, out = (
        save_tiny_lm(tmp_path / "base"),
        write_sums(tmp_path / "data", n=20, n_validation=10),
        tmp_path / "out",
    )
    settings = TrainSettings(**SETTINGS, log=("tensorboard",))

    def interrupt(done: int, total: int | None, note: str = "") -> None:
        if len([one for one in writer.told if one[0] == "train/loss"]) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_reward_model("orm", data=data, model=base, out=out, settings=settings, progress=interrupt)
    assert writer.told[0] == ("open", str(out / ".tensorboard"), None)
    assert writer.told[-1] == ("close",)
    before = list(writer.told)
    writer.told.clear()
    train_reward_model("orm", data=data, model=base, out=out, settings=settings, resume=True)
    assert writer.told[0] == ("open", str(out / ".tensorboard"), 4)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    expected = [(name, value, line["step"]) for line in lines for name, value in flat(line).items()]
    shown = [one for one in [*before, *writer.told] if len(one) == 3 and one[0] != "open"]
    assert [one for one in shown if one[2] < 4] + [
        one for one in writer.told if len(one) == 3 and one[0] != "open"
    ] == expected
    assert "validation/auc" in {name for name, _, _ in expected}


def test_weights_and_biases_goes_on_under_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    inits: list[dict[str, Any]] = []

    def init(**settings: Any) -> FakeRun:
        inits.append(settings)
        return FakeRun(told)

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    base, data, out = save_tiny_lm(tmp_path / "base"), write_sums(tmp_path / "data", n=20), tmp_path / "out"
    settings = TrainSettings(**SETTINGS, log=("wandb",))

    def interrupt(done: int, total: int | None, note: str = "") -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(JobError, match="interrupted"):
        train_reward_model("orm", data=data, model=base, out=out, settings=settings, progress=interrupt)
    train_reward_model("orm", data=data, model=base, out=out, settings=settings, resume=True)
    first, second = inits
    assert first == {"name": "out", "id": second["id"], "resume": None, "dir": str(out)}
    assert second["resume"] == "allow"
    assert told.count("finish") == 2
    assert ("metric", "*", "step") in told
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [one for one in told if isinstance(one, dict)] == [{"step": one["step"], **flat(one)} for one in lines]


@pytest.mark.parametrize(
    ("logger", "modules"), [("tensorboard", ("torch.utils.tensorboard", "tensorboardX")), ("wandb", ("wandb",))]
)
def test_a_library_that_is_not_there_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: Any, modules: tuple[str, ...]
) -> None:
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=rf"--log {logger} needs it: pip install 'stepmark\[{logger}\]'"):
        train_reward_model(
            "orm", data=tmp_path, model="none", out=tmp_path / "out", settings=TrainSettings(log=(logger,))
        )
    assert not (tmp_path / "out").exists()
