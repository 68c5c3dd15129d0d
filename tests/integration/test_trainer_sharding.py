"""Sharded training on two processes: the steps of one, half the memory, and files that do not tell the difference."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from stepmark.errors import JobError, SettingsError
from tests.sharded_runs import Interrupt, count_step, train
from tests.tiny_reward_model import save_tiny_lm, write_split, write_sums
from trainer.loop import FitSettings, plan_steps
from trainer.models import build_net, load_tokenizer
from trainer.parallel import ALONE, Processes
from trainer.render import Renderer, encode_rows
from trainer.rows import Kind, read_rows
from trainer.score import RewardModel
from trainer.sharding import check_sharding, shard

ROOT = Path(__file__).resolve().parents[2]

USUAL: dict[str, Any] = {"epochs": 2, "accumulate": 2, "batch_tokens": 512, "log_every": 1, "checkpoint_every": 2}

RUNS: dict[str, tuple[str, Kind, dict[str, Any]]] = {
    "prm on a tied Llama": ("llama", "prm", {}),
    "prm on an untied Qwen2": ("qwen2", "prm", {"gradient_checkpointing": True, "batch_tokens": 384}),
    "bt on a Llama": ("llama", "bt", {"accumulate": 4, "batch_tokens": 384}),
    "bt on a Qwen2": ("qwen2", "bt", {}),
    "orm that gets worse": ("llama", "orm", {"patience": 1, "epochs": 4, "batch_tokens": 1024}),
    "cloud": ("qwen2", "cloud", {"epochs": 1}),
    "implicit prm": ("llama", "implicit-prm", {"epochs": 1, "batch_tokens": 1024}),
    "orm with adapters": ("qwen2", "orm", {"lora_rank": 4, "epochs": 1}),
}
"""Layout, kind and settings of runs that must be those of one process."""


def arguments(folder: Path, name: str, out: str) -> dict[str, Any]:
    layout, kind, own = RUNS[name]
    return {
        "kind": kind,
        "data": str(folder / ("contrary" if "worse" in name else "data")),
        "model": str(folder / layout),
        "out": str(folder / out / name),
        "settings": {**USUAL, **own},
    }


def train_alone(folder: Path, name: str, out: str, **more: Any) -> None:
    """The run in this process."""
    train(arguments(folder, name, out), **more)


def train_sharded(folder: Path, name: str, out: str, **more: Any) -> dict[str, Any]:
    """The same as an entry of the plan."""
    call = arguments(folder, name, out)
    return {**call, "what": "train", "settings": {**call["settings"], "sharding": "full"}, **more}


def write_contrary(contrary: Path, data: Path) -> None:
    """Writes the outcomes of a set, those for validation the other way round: what is learnt makes it worse."""
    for split in ("train", "validation"):
        text = (data / f"orm/{split}-00000-of-00001.jsonl").read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        write_split(contrary, "orm", [{**r, "label": r["label"] == (split == "train")} for r in rows], split=split)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bases and data, the runs of one process, and those of two as a plan that `torchrun` makes."""
    folder = tmp_path_factory.mktemp("sharding")
    save_tiny_lm(folder / "llama")
    save_tiny_lm(folder / "qwen2", layout="qwen2", tied=False, seed=1)
    write_sums(folder / "data", n=26, n_validation=20)
    pairs = [
        {
            "prompt": f"{i} + 1?",
            "chosen": f"{i + 1}",
            "rejected": "99",
            "chosen_feedback": ["Good."],
            "rejected_feedback": ["Bad 99."],
        }
        for i in range(30)
    ]
    write_split(folder / "data", "cloud", pairs)
    write_contrary(folder / "contrary", folder / "data")
    for name in RUNS:
        train_alone(folder, name, "alone")
    with pytest.raises(JobError, match="interrupted after step 1"):
        train_alone(folder, "prm on a tied Llama", "handed over", progress=Interrupt())
    plan = [train_sharded(folder, name, "sharded") for name in RUNS]
    plan += [
        train_sharded(folder, "bt on a Qwen2", "taken up", interrupt=True),
        train_sharded(folder, "bt on a Qwen2", "taken up", resume=True),
        train_sharded(folder, "prm on a tied Llama", "handed over", resume=True),
        train_sharded(folder, "bt on a Llama", "handed back", interrupt=True),
        {"what": "step", "data": str(folder / "data"), "model": str(folder / "qwen2")},
    ]
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "tests.sharded_runs", str(folder / "plan.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def found(folder: Path) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads((folder / "plan.found").read_text())
    return result


def lines(out: Path, *keys: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in keys if key in line} for line in read]


def assert_same_run(one: Path, two: Path, *, tolerance: float) -> None:
    """Losses, gradient norms, measures and weights agree, and so do the files."""
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    keys = ("step", "epoch", "loss", "lr", "gradient_norm", "tokens", "validation")
    first, second = lines(one, *keys), lines(two, *keys)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        measured = [line.pop("validation", {}) for line in (a, b)]
        assert b == pytest.approx(a, abs=tolerance, rel=tolerance)
        assert measured[1] == pytest.approx(measured[0], abs=tolerance, rel=tolerance)
    for path in one.rglob("*.safetensors"):
        weights, others = load_file(path), load_file(two / path.relative_to(one))
        assert weights.keys() == others.keys()
        for name in weights:
            torch.testing.assert_close(others[name], weights[name], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_with_shares_take_the_steps_of_one(folder: Path, name: str) -> None:
    assert_same_run(folder / "alone" / name, folder / "sharded" / name, tolerance=1e-5)
    manifests = [json.loads((folder / out / name / "stepmark.json").read_text()) for out in ("alone", "sharded")]
    assert [(m["processes"], m["sharding"]) for m in manifests] == [(1, "none"), (2, "full")]
    for key in ("rows", "flags", "n_steps", "n_tokens", "best_epoch", "layout"):
        assert manifests[0][key] == manifests[1][key]


def test_the_runs_have_steps_that_leave_a_process_without_a_batch(folder: Path) -> None:
    """One micro-batch, or three, for two processes."""
    expected = {"prm on a tied Llama": 1, "prm on an untied Qwen2": 1, "bt on a Llama": 3, "bt on a Qwen2": 2}
    found = {}
    for name in expected:
        layout, kind, own = RUNS[name]
        renderer = Renderer(load_tokenizer(str(folder / layout)), kind, step_token="<|prm_label|>")
        rows, _ = encode_rows(read_rows(folder / "data", kind, "train"), renderer, max_length=128)
        flags = {**USUAL, **own}
        settings = FitSettings(epochs=1, batch_tokens=flags["batch_tokens"], accumulate=flags["accumulate"])
        found[name] = len(plan_steps(rows, settings, share=True)[0][-1])
    assert found == expected


def test_the_best_weights_are_kept_in_whole_by_processes_that_hold_shares(folder: Path) -> None:
    manifest = json.loads((folder / "sharded/orm that gets worse/stepmark.json").read_text())
    losses = [measures["loss"] for measures in manifest["evaluations"]]
    assert (manifest["best_epoch"], len(losses)) == (0, 2)
    assert losses[0] < losses[1]
    assert manifest["metrics"]["loss"] == losses[0]


def test_an_interrupted_sharded_run_resumes_on_the_same_trajectory(folder: Path) -> None:
    interrupted = found(folder)[len(RUNS)]
    assert re.match(r"interrupted after step 2 of \d+; the checkpoint is written", interrupted["error"])
    assert_same_run(folder / "sharded/bt on a Qwen2", folder / "taken up/bt on a Qwen2", tolerance=0.0)


def test_a_checkpoint_of_one_process_is_taken_up_by_two_and_the_other_way_round(folder: Path) -> None:
    name = "prm on a tied Llama"
    assert_same_run(folder / "alone" / name, folder / "handed over" / name, tolerance=1e-5)
    name = "bt on a Llama"
    train_alone(folder, name, "handed back", resume=True)
    assert_same_run(folder / "alone" / name, folder / "handed back" / name, tolerance=1e-5)


def test_each_process_holds_half_of_weights_gradients_and_state(folder: Path) -> None:
    """FSDP cuts along the first dimension, which is even in every tensor here but the head of one row."""
    call = {"data": str(folder / "data"), "model": str(folder / "qwen2")}
    alone, shares = count_step(call, is_sharded=False), found(folder)[-1]
    head = 4 * 48
    n_bytes = alone["bytes"]["weights"]
    assert alone["bytes"] == {"weights": n_bytes, "gradients": n_bytes, "state": 2 * n_bytes}
    half = (n_bytes - head) // 2 + head
    assert shares["bytes"] == {"weights": half, "gradients": half, "state": 2 * half}
    said = next(line for line in found(folder)[0]["said"] if line.startswith("dealt out"))
    held, total = (int(n.replace(",", "")) for n in re.findall(r"[\d,]{5,}", said))
    assert held == (total + 48) // 2  # the first has a row more of an odd vocabulary


def test_layers_in_bf16_give_the_loss_and_gradients_of_autocast(folder: Path) -> None:
    """Both processes have the same rows here, so that the mean over them is the gradient of one; bf16 has 8 bits."""
    call = {"data": str(folder / "data"), "model": str(folder / "qwen2")}
    alone, shares = count_step(call, is_sharded=False), found(folder)[-1]
    assert shares["loss"] == pytest.approx(alone["loss"], rel=1e-2)
    assert shares["norm"] == pytest.approx(alone["norm"], rel=2e-2)


def test_what_was_trained_in_shares_loads_in_plain_transformers(folder: Path) -> None:
    for name, loader in (
        ("prm on a tied Llama", AutoModelForCausalLM),
        ("prm on an untied Qwen2", AutoModelForCausalLM),
        ("bt on a Qwen2", AutoModelForSequenceClassification),
    ):
        path = folder / "sharded" / name
        _, info = loader.from_pretrained(path, output_loading_info=True)
        assert not info["missing_keys"], name
        assert not info["unexpected_keys"], name
    item = (0, "2 + 3?", ["Step 1: 2 + 3 = 5", "# Answer\n\n5"])
    scores = [
        next(RewardModel.load(folder / out / "bt on a Qwen2").score([item])).score for out in ("alone", "sharded")
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


def test_what_cannot_be_sharded_is_refused(folder: Path) -> None:
    two = Processes(0, 2)
    with pytest.raises(SettingsError, match="this is the only one; start them with torchrun"):
        check_sharding("full", ALONE, optimizer="adamw", is_compiled=False)
    for optimizer in ("adamw8bit", "muon"):
        with pytest.raises(SettingsError, match=f"{optimizer} does not work with --sharding full"):
            check_sharding("full", two, optimizer=optimizer, is_compiled=False)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="--compile is not supported with --sharding full"):
        check_sharding("full", two, optimizer="adamw", is_compiled=True)
    check_sharding("none", ALONE, optimizer="adamw8bit", is_compiled=True)
    net = build_net(str(folder / "llama"), "orm", load_tokenizer(str(folder / "llama")), label_ids=None)
    net.form = "padded"
    with pytest.raises(SettingsError, match="takes padded rows, in a number of passes that differs"):
        shard(net)
    net.form = "blocks"
    net.model._no_split_modules = None
    with pytest.raises(SettingsError, match="does not say what its layers are"):
        shard(net)
