"""The 8-bit optimizer: it is asked for by name, resumes to the last bit, and says what is missing."""

import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stepmark.errors import JobError, SettingsError
from tests.tiny_reward_model import save_tiny_lm, write_sums
from trainer.optimizers import make_optimizer, state_bytes
from trainer.train import TrainSettings, train_reward_model

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def run(folder: Path, out: str, optimizer: Any, **more: Any) -> dict[str, torch.Tensor]:
    """Trains an ORM; returns its weights."""
    settings = TrainSettings(epochs=2, batch_tokens=512, log_every=1, checkpoint_every=3, optimizer=optimizer)
    model = str(folder / "base")
    train_reward_model("orm", data=folder / "data", model=model, out=folder / out, settings=settings, **more)
    return load_file(folder / out / "model.safetensors")


def interrupt(done: int, total: int | None, note: str = "") -> None:
    os.kill(os.getpid(), signal.SIGINT)


def resumes_on_the_same_trajectory(folder: Path) -> bool:
    whole = run(folder, "whole", "adamw8bit")
    with pytest.raises(JobError, match="interrupted after step 1"):
        run(folder, "parts", "adamw8bit", progress=interrupt)
    with pytest.raises(SettingsError, match="optimizer was 'adamw8bit', is 'adamw'"):
        run(folder, "parts", "adamw", resume=True)
    parts = run(folder, "parts", "adamw8bit", resume=True)
    return all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_lm(tmp_path / "base", head_dim=24)
    write_sums(tmp_path / "data", n=20)
    return tmp_path


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # of the library's own imports
def test_a_run_in_8_bits_resumes_on_the_same_trajectory(folder: Path) -> None:
    assert resumes_on_the_same_trajectory(folder)


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # of the library's own imports
def test_the_8_bit_state_takes_about_a_quarter() -> None:
    """Two bytes and two scales of four for each 256, against eight: 0.254, and a table."""
    sizes = {}
    for name in ("adamw", "adamw8bit"):
        weight = torch.nn.Parameter(torch.ones(512, 512))
        weight.grad = torch.ones_like(weight)
        optimizer = make_optimizer(name, [{"params": [weight], "weight_decay": 0.0}], lr=1e-3)  # type: ignore[arg-type]
        optimizer.step()
        sizes[name] = state_bytes(optimizer)
    assert sizes["adamw8bit"] / sizes["adamw"] == pytest.approx(0.254, abs=0.005)


def test_the_library_gets_the_settings_of_the_usual_optimizer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that keeps its state in full takes the same steps as AdamW, and resumes."""

    class AdamW8bit(torch.optim.AdamW):
        def __init__(self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)) -> None:
            super().__init__(params, lr=lr, betas=betas)

    module = ModuleType("bitsandbytes.optim")
    module.AdamW8bit = AdamW8bit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", module)
    assert resumes_on_the_same_trajectory(folder)
    usual, found = run(folder, "usual", "adamw"), load_file(folder / "whole" / "model.safetensors")
    for name, weight in usual.items():
        torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-4)


def test_a_missing_library_is_named_before_anything_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(SettingsError, match=r"adamw8bit needs bitsandbytes: pip install 'stepmark\[bitsandbytes\]'"):
        run(folder, "out", "adamw8bit")
    assert not (folder / "out").exists()
