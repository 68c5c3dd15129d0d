"""The other optimizers: asked for by name, they resume to the last bit, and say what is missing."""

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
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is a development dependency on Linux only"
)


def run(folder: Path, out: str, optimizer: Any, **more: Any) -> dict[str, torch.Tensor]:
    """Trains an ORM; returns its weights."""
    settings = TrainSettings(epochs=2, batch_tokens=512, log_every=1, checkpoint_every=3, optimizer=optimizer)
    model = str(folder / "base")
    train_reward_model("orm", data=folder / "data", model=model, out=folder / out, settings=settings, **more)
    return load_file(folder / out / "model.safetensors")


def interrupt(done: int, total: int | None, note: str = "") -> None:
    os.kill(os.getpid(), signal.SIGINT)


def resumes_on_the_same_trajectory(folder: Path, optimizer: str = "adamw8bit") -> bool:
    whole = run(folder, "whole", optimizer)
    with pytest.raises(JobError, match="interrupted after step 1"):
        run(folder, "parts", optimizer, progress=interrupt)
    with pytest.raises(SettingsError, match=f"optimizer was '{optimizer}', is 'adamw'"):
        run(folder, "parts", "adamw", resume=True)
    parts = run(folder, "parts", optimizer, resume=True)
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


def test_a_run_with_muon_resumes_on_the_same_trajectory(folder: Path) -> None:
    assert resumes_on_the_same_trajectory(folder, "muon")


def test_muon_steps_alike_in_all_directions_and_leaves_the_rest_to_adamw() -> None:
    """A first step: singular values near .2 sqrt(max(A, B)) times the rate; AdamW's is a fifth of the rate."""
    torch.manual_seed(0)
    matrix, norm = torch.nn.Parameter(torch.zeros(16, 8)), torch.nn.Parameter(torch.zeros(8))
    matrix.grad, norm.grad = torch.randn(16, 8) * torch.logspace(0, -1, 8), -torch.ones(8)
    groups = [{"params": [matrix], "weight_decay": 0.01}, {"params": [norm], "weight_decay": 0.0}]

    optimizer = make_optimizer("muon", groups, lr=0.1)
    optimizer.step()

    sizes = torch.linalg.svdvals(matrix.detach()) / (0.1 * 0.2 * 16**0.5)
    assert sizes.min() > 0.5
    assert sizes.max() < 1.4
    torch.testing.assert_close(norm.detach(), torch.full((8,), 0.1 * 0.2))
    assert [group["lr_share"] for group in optimizer.param_groups] == [1.0, 0.2]
    assert state_bytes(optimizer) == 4 * (16 * 8 + 2 * 8 + 1)
