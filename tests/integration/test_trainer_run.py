"""Training runs from files to files: they learn, resume exactly, refuse what cannot work, and load elsewhere."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from stepmark.errors import InputError, JobError, SettingsError
from stepmark.steps import SEPARATOR
from tests.tiny_reward_model import save_tiny_lm, write_split, write_sums
from trainer.models import build_net, load_tokenizer
from trainer.parallel import Processes
from trainer.render import TOO_LONG, label_token_ids
from trainer.rows import Kind
from trainer.score import RewardModel
from trainer.train import TrainSettings, train_reward_model

ROOT = Path(__file__).resolve().parents[2]
KINDS: list[Kind] = ["prm", "orm", "bt"]
PROMPT = "2 + 3 + 4?"
SEGMENTS = ["Step 1: 2 + 3 = 5", "Step 2: 5 + 4 = 9", "# Answer\n\n9"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_lm(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sums(tmp_path_factory.mktemp("data"), n=60, n_validation=40)


@pytest.fixture(scope="module")
def trained(base: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One short run of each kind."""
    out = tmp_path_factory.mktemp("trained")
    for kind in KINDS:
        train_reward_model(kind, data=data, model=base, out=out / kind, settings=TrainSettings(epochs=1))
    return {kind: out / kind for kind in KINDS}


def read_log(out: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("tokens_per_s", "mfu")} for line in lines]


def read_weights(out: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_at_the_default_rate_lower_the_loss_on_new_problems_and_move_the_weights(
    base: str, data: Path, tmp_path: Path, kind: Kind
) -> None:
    still = TrainSettings(epochs=1, lr=1e-12)
    untrained = train_reward_model(kind, data=data, model=base, out=tmp_path / "still", settings=still)
    settings = TrainSettings(epochs=3, batch_tokens=768)
    manifest = train_reward_model(kind, data=data, model=base, out=tmp_path / "out", settings=settings)
    assert manifest["flags"]["lr"] == 1e-3
    assert 20 <= manifest["n_steps"] <= 35
    assert manifest["metrics"]["loss"] < 0.97 * untrained["metrics"]["loss"]
    tokenizer = load_tokenizer(base)
    before = build_net(base, kind, tokenizer, label_ids=label_token_ids(tokenizer, "+", "-")).model.state_dict()
    after = read_weights(tmp_path / "out")
    moved = [(after[name] - before[name]).norm() / before[name].norm() for name in after if "proj" in name]
    assert min(moved) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_resumes_on_the_same_trajectory(base: str, data: Path, tmp_path: Path, kind: Kind) -> None:
    settings = TrainSettings(epochs=2, batch_tokens=768, log_every=3, checkpoint_every=4)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_reward_model(kind, data=data, model=base, out=whole, settings=settings)

    def interrupt(done: int, total: int | None, note: str = "") -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(JobError, match=r"interrupted after step 1 of \d+; .* continue with --resume"):
        train_reward_model(kind, data=data, model=base, out=parts, settings=settings, progress=interrupt)
    assert not (parts / "stepmark.json").exists()
    with pytest.raises(InputError, match="no finished reward model"):
        RewardModel.load(parts)
    train_reward_model(kind, data=data, model=base, out=parts, settings=settings, resume=True)
    assert read_log(parts) == read_log(whole)
    first, second = read_weights(whole), read_weights(parts)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_killed_between_checkpoints_repeats_the_lost_steps(base: str, data: Path, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=2, batch_tokens=512, log_every=1, checkpoint_every=4)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_reward_model("prm", data=data, model=base, out=whole, settings=settings)

    def die(done: int, total: int | None, note: str = "") -> None:
        if len(read_log(parts)) == 6:
            raise MemoryError

    with pytest.raises(MemoryError):
        _train_showing_every_step(die, data=data, model=base, out=parts, settings=settings)
    train_reward_model("prm", data=data, model=base, out=parts, settings=settings, resume=True)
    assert read_log(parts) == read_log(whole)
    first, second = read_weights(whole), read_weights(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)


def _train_showing_every_step(progress: Any, **arguments: Any) -> None:
    import trainer.loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.loop, "SHOW_EVERY_S", 0.0)
        train_reward_model("prm", progress=progress, **arguments)


def test_a_finished_run_is_returned_by_resume_and_kept_without_overwrite(
    base: str, data: Path, trained: dict[str, Path]
) -> None:
    out = trained["prm"]
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    settings = TrainSettings(epochs=1)
    again = train_reward_model("prm", data=data, model=base, out=out, settings=settings, resume=True)
    assert again == json.loads((out / "stepmark.json").read_text())
    with pytest.raises(SettingsError, match="holds an earlier run; continue it with --resume or replace it"):
        train_reward_model("prm", data=data, model=base, out=out, settings=settings)
    with pytest.raises(SettingsError, match="finished run with another kind"):
        train_reward_model("orm", data=data, model=base, out=out, settings=settings, resume=True)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_a_base_is_known_by_its_weights_not_by_where_it_lies(
    base: str, data: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    settings = TrainSettings(epochs=1)
    elsewhere = shutil.copytree(base, tmp_path / "elsewhere")
    again = train_reward_model(
        "prm", data=data, model=str(elsewhere), out=trained["prm"], settings=settings, resume=True
    )
    assert again["base_model"] == base
    weights = load_file(elsewhere / "model.safetensors")
    save_file(
        {name: weight + 1 for name, weight in weights.items()}, elsewhere / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(SettingsError, match="finished run with another base_sha256"):
        train_reward_model("prm", data=data, model=str(elsewhere), out=trained["prm"], settings=settings, resume=True)


def test_resume_with_other_flags_is_refused(base: str, data: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None, note: str = "") -> None:
        os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "out"
    with pytest.raises(JobError):
        train_reward_model("prm", data=data, model=base, out=out, settings=TrainSettings(seed=1), progress=interrupt)
    with pytest.raises(SettingsError, match="belongs to another run: seed was 1, is 2"):
        train_reward_model("prm", data=data, model=base, out=out, settings=TrainSettings(seed=2), resume=True)


def test_overwrite_replaces_a_run_and_spares_a_folder_that_is_none(base: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for flags in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(SettingsError, match="is not empty and is no training run"):
            train_reward_model("prm", data=data, model=base, out=out, **flags)
    assert (out / "thesis.txt").read_text() == "years of work"
    run = tmp_path / "run"
    train_reward_model("orm", data=data, model=base, out=run, settings=TrainSettings(epochs=1))
    (run / "model-00001-of-00002.safetensors").touch()
    settings = TrainSettings(epochs=1, seed=1)
    train_reward_model("orm", data=data, model=base, out=run, settings=settings, overwrite=True)
    assert json.loads((run / "stepmark.json").read_text())["flags"]["seed"] == 1
    assert not (run / "model-00001-of-00002.safetensors").exists()


def test_a_run_that_died_while_saving_only_saves_again(
    base: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trainer.train

    def full_disk(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    settings = TrainSettings(epochs=1)
    whole, out = tmp_path / "whole", tmp_path / "out"
    train_reward_model("orm", data=data, model=base, out=whole, settings=settings)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.train, "save_net", full_disk)
        with pytest.raises(OSError, match="No space left"):
            train_reward_model("orm", data=data, model=base, out=out, settings=settings)
    assert not (out / "stepmark.json").exists()
    before = read_log(out)
    train_reward_model("orm", data=data, model=base, out=out, settings=settings, resume=True)
    assert read_log(out) == before == read_log(whole)
    first, second = read_weights(whole), read_weights(out)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_what_the_model_is(data: Path, trained: dict[str, Path], kind: Kind) -> None:
    manifest = json.loads((trained[kind] / "stepmark.json").read_text())
    rows = {"read": 60, "kept": 60} if kind == "bt" else {"read": 120, "kept": 120}
    assert manifest["kind"] == kind
    assert manifest["rows"]["train"] == {**rows, "dropped": {}, "special_literals": 0}
    assert manifest["flags"]["epochs"] == 1
    assert manifest["layout"] == ("causal-lm" if kind == "prm" else "sequence-classification")
    assert manifest.get("step_token") == ("<|prm_label|>" if kind == "prm" else None)
    assert len(manifest["base_sha256"]) == len(manifest["data_sha256"]) == 64
    assert math.isfinite(manifest["metrics"]["loss"])
    assert manifest["metrics"] == manifest["evaluations"][-1]
    assert not (trained[kind] / "checkpoint.pt").exists()


def test_a_prm_loads_in_plain_transformers_and_scores_the_same(trained: dict[str, Path]) -> None:
    path = trained["prm"]
    lm, info = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(path)
    text = f"<|bos|><|user|>{PROMPT}<|assistant|>" + SEPARATOR.join(f"{s}<|prm_label|>" for s in SEGMENTS)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    plus, minus = (tokenizer(sign, add_special_tokens=False)["input_ids"][0] for sign in "+-")
    with torch.no_grad():
        logits = lm.eval()(ids).logits[0, ids[0] == tokenizer.convert_tokens_to_ids("<|prm_label|>")]
    expected = logits[:, [plus, minus]].softmax(dim=-1)[:, 0].tolist()
    (scored,) = RewardModel.load(path).score([("a", PROMPT, SEGMENTS)])
    assert scored.step_scores == pytest.approx(expected, abs=1e-5)
    assert scored.score == pytest.approx(math.prod(expected), abs=1e-5)


@pytest.mark.parametrize("kind", ["orm", "bt"])
def test_a_classifier_loads_in_plain_transformers_and_scores_the_same_in_a_padded_batch(
    trained: dict[str, Path], kind: Kind
) -> None:
    path = trained[kind]
    model, info = AutoModelForSequenceClassification.from_pretrained(path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(path)
    solutions = [SEGMENTS, SEGMENTS[:1]]
    texts = [f"<|bos|><|user|>{PROMPT}<|assistant|>{SEPARATOR.join(s)}<|end|>" for s in solutions]
    with torch.no_grad():
        logits = model.eval()(**tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")).logits
    expected = (logits if kind == "bt" else logits.sigmoid())[:, 0].tolist()
    scored = list(RewardModel.load(path).score([(i, PROMPT, s) for i, s in enumerate(solutions)]))
    assert [s.score for s in scored] == pytest.approx(expected, abs=1e-5)


def test_configurations_say_what_a_server_needs(trained: dict[str, Path]) -> None:
    """One label each; a sigmoid follows unless the problem type is regression; pad is not the end token."""
    found = {kind: AutoConfig.from_pretrained(trained[kind]) for kind in ("orm", "bt")}
    assert {k: (c.num_labels, c.problem_type) for k, c in found.items()} == {
        "orm": (1, None),
        "bt": (1, "regression"),
    }
    for kind, config in found.items():
        assert config.architectures == ["LlamaForSequenceClassification"], kind
        assert config.pad_token_id != config.eos_token_id


def test_a_prm_saved_as_token_classifier_has_the_two_rows_as_its_head(base: str, data: Path, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=1, layout="token-classification")
    train_reward_model("prm", data=data, model=base, out=tmp_path / "tc", settings=settings)
    train_reward_model("prm", data=data, model=base, out=tmp_path / "lm", settings=TrainSettings(epochs=1))
    _, info = AutoModelForTokenClassification.from_pretrained(tmp_path / "tc", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    plus, minus = label_token_ids(load_tokenizer(base), "+", "-")
    rows = read_weights(tmp_path / "lm")["model.embed_tokens.weight"][[plus, minus]]
    torch.testing.assert_close(read_weights(tmp_path / "tc")["score.weight"], rows)
    scores = [next(RewardModel.load(tmp_path / name).score([(0, PROMPT, SEGMENTS)])) for name in ("tc", "lm")]
    assert scores[0].step_scores == pytest.approx(scores[1].step_scores, abs=1e-6)


def test_rows_that_are_too_long_are_dropped_by_reason_and_an_empty_rest_is_refused(
    base: str, data: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    settings = TrainSettings(epochs=1, max_length=45)
    manifest = train_reward_model(
        "prm", data=data, model=base, out=tmp_path / "a", settings=settings, on_message=said.append
    )
    counts = manifest["rows"]["train"]
    assert counts["read"] == 120 == counts["kept"] + counts["dropped"][TOO_LONG]
    assert 0 < counts["kept"] < 120
    assert said[0].startswith(f"train: 120 read, {counts['kept']} kept, {counts['dropped'][TOO_LONG]} longer than")
    with pytest.raises(InputError, match=r"no row of .* can be trained on"):
        train_reward_model("prm", data=data, model=base, out=tmp_path / "b", settings=TrainSettings(max_length=5))


def test_what_cannot_work_is_refused_before_anything_is_written(base: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused: list[tuple[Kind, dict[str, Any], Path, str]] = [
        ("prm", {"step_token": "<extra_0>"}, data, "is not one token of this tokenizer"),
        ("prm", {"positive": "good"}, data, "the positive label 'good' is not one token"),
        ("prm", {"epochs": 0}, data, "--epochs must be above zero"),
        ("prm", {"lr": float("nan")}, data, "--lr must be above zero"),
        ("orm", {"layout": "causal-lm"}, data, "--layout causal-lm is not for this kind"),
        ("prm", {}, tmp_path / "nowhere", "has no prm/train-00000-of-0000N"),
        ("prm", {"device": "toaster"}, data, "--device toaster is no device"),
    ]
    for kind, flags, where, message in refused:
        with pytest.raises((SettingsError, InputError), match=message):
            train_reward_model(kind, data=where, model=base, out=out, settings=TrainSettings(**flags))
        assert not out.exists()


@pytest.mark.parametrize(
    ("kind", "settings", "used", "defaults"),
    [
        ("prm", TrainSettings(), (2, 1e-3), ["epochs", "lr", "batch_tokens"]),
        ("orm", TrainSettings(batch_tokens=512), (1, 1e-3), ["epochs", "lr"]),
        ("bt", TrainSettings(epochs=2, lr=1e-4), (2, 1e-4), ["batch_tokens"]),
    ],
)
def test_what_no_flag_says_is_the_default_of_the_kind_and_recorded_as_such(
    base: str, data: Path, tmp_path: Path, kind: Kind, settings: TrainSettings, used: Any, defaults: list[str]
) -> None:
    manifest = train_reward_model(kind, data=data, model=base, out=tmp_path / "out", settings=settings)
    assert (manifest["flags"]["epochs"], manifest["flags"]["lr"]) == used
    assert manifest["defaults"] == defaults


def test_a_step_token_can_be_added_to_a_tokenizer(base: str, data: Path, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=1, step_token="<extra_0>", add_step_token=True)
    train_reward_model("prm", data=data, model=base, out=tmp_path / "out", settings=settings)
    model = RewardModel.load(tmp_path / "out")
    (scored,) = model.score([("a", PROMPT, SEGMENTS)])
    assert len(scored.step_scores) == 3
    assert model.net.model.get_input_embeddings().weight.shape[0] == len(load_tokenizer(base)) + 1


def test_evaluation_is_a_small_share_of_the_tokens(base: str, tmp_path: Path) -> None:
    """A validation split larger than the training split is sampled, by whole problems."""
    data = write_sums(tmp_path / "data", n=40, n_validation=200)
    manifest = train_reward_model(
        "orm", data=data, model=base, out=tmp_path / "out", settings=TrainSettings(epochs=1)
    )
    metrics = manifest["metrics"]
    assert manifest["rows"]["validation"]["kept"] == 400
    assert 10 <= metrics["n"] <= 20
    assert metrics["n_problems_with_both"] >= metrics["n"] // 2 - 1


def test_a_loss_that_is_not_finite_stops_the_run(base: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="the loss is nan at step"):
        train_reward_model(
            "bt", data=data, model=base, out=tmp_path / "out", settings=TrainSettings(lr=1e30, log_every=1)
        )
    assert not (tmp_path / "out" / "stepmark.json").exists()


def test_a_run_without_a_validation_split_has_no_measures(base: str, tmp_path: Path) -> None:
    write_split(tmp_path / "data", "orm", [{"prompt": "1 + 1?", "completion": "2", "label": True}] * 3)
    manifest = train_reward_model("orm", data=tmp_path / "data", model=base, out=tmp_path / "out")
    assert (manifest["metrics"], manifest["n_steps"]) == ({}, 1)


def test_a_run_ends_where_it_gets_no_better_and_keeps_its_best_weights(base: str, data: Path, tmp_path: Path) -> None:
    """At a rate of nearly zero no epoch is better than the first by more than rounding; at 1 the weights are lost."""
    settings = TrainSettings(epochs=6, lr=0.3, patience=1, batch_tokens=2048)
    manifest = train_reward_model("orm", data=data, model=base, out=tmp_path / "out", settings=settings)
    losses = [evaluation["loss"] for evaluation in manifest["evaluations"]]
    best = losses.index(min(losses))
    assert manifest["best_epoch"] == best
    assert len(losses) == min(6, best + 2)
    assert manifest["metrics"]["loss"] == losses[best]
    assert not (tmp_path / "out" / "best.pt").exists()


def test_two_processes_take_the_steps_of_one(base: str, data: Path, tmp_path: Path) -> None:
    """`torchrun` with two processes on the CPU; micro-batches are dealt out, the weights agree with one process."""
    settings = ["--data", str(data), "--model", base, "--epochs", "1", "--accumulate", "2", "--batch-tokens", "512"]
    one, two = tmp_path / "one", tmp_path / "two"
    train_reward_model(
        "prm",
        data=data,
        model=base,
        out=one,
        settings=TrainSettings(epochs=1, accumulate=2, batch_tokens=512),
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--standalone", "-m", "stepmark", "train", "prm", *settings, "--out", str(two)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("train prm, train: read 120") == 1  # by the first process alone
    manifest = json.loads((two / "stepmark.json").read_text())
    assert manifest["processes"] == 2
    assert manifest["n_tokens"] == json.loads((one / "stepmark.json").read_text())["n_tokens"]
    first, second = read_weights(one), read_weights(two)
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, atol=1e-5, rtol=1e-4)


def test_micro_batches_must_be_dealt_out_evenly() -> None:
    with pytest.raises(SettingsError, match="--accumulate 3 micro-batches cannot be dealt out to 2 processes"):
        Processes(0, 2).check(3)
