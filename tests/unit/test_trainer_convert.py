"""A PRM as a token classifier: plain Transformers gives the scores of the causal LM, and nothing else is accepted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from typer.testing import CliRunner

from stepmark.cli.main import app
from stepmark.errors import InputError, SettingsError
from tests.tiny_reward_model import tiny_tokenizer
from trainer.calibration import Fit, read_calibration, write_calibration
from trainer.convert import as_token_classifier
from trainer.models import build_net, save_net
from trainer.render import label_token_ids
from trainer.score import RewardModel

ARCHITECTURES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
STEPS = ["Step 1: 9 + 7 = 16", "Step 2: 16 - 2 = 15", "# Answer\n\n15"]


def save_prm(folder: Path, architecture: str, *, tied: bool) -> Path:
    """A PRM of random weights, as `stepmark train prm` leaves it; the two rows are not those of the embedding."""
    tokenizer = tiny_tokenizer()
    config, lm = ARCHITECTURES[architecture]
    torch.manual_seed(1)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "tie_word_embeddings": tied}
    lm(config(**shape, **heads, **tokens)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    ids = label_token_ids(tokenizer, "+", "-")
    net = build_net(str(folder / "base"), "prm", tokenizer, label_ids=ids)
    if net.rows is not None:
        with torch.no_grad():
            net.rows.add_(torch.randn_like(net.rows))
    save_net(net, folder / "prm", layout="causal-lm")
    tokenizer.save_pretrained(folder / "prm")
    told = {"kind": "prm", "layout": "causal-lm", "max_length": 128, "step_token": "<|prm_label|>"}
    (folder / "prm" / "stepmark.json").write_text(json.dumps({**told, "positive": "+", "negative": "-"}))
    return folder / "prm"


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_plain_transformers_gives_the_scores_of_the_causal_lm(tmp_path: Path, architecture: str, tied: bool) -> None:
    prm, out = save_prm(tmp_path, architecture, tied=tied), tmp_path / "tc"
    (before,) = RewardModel.load(prm).score([("a", "9 + 7 - 2?", STEPS)])
    manifest = as_token_classifier(prm, out)
    assert (manifest["layout"], manifest["converted_from"]) == ("token-classification", str(prm))
    assert json.loads((out / "stepmark.json").read_text()) == manifest
    tokenizer = AutoTokenizer.from_pretrained(out)
    model, info = AutoModelForTokenClassification.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    text = "<|bos|><|user|>9 + 7 - 2?<|assistant|>" + "\n\n".join(f"{step}<|prm_label|>" for step in STEPS)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        right = model.eval()(ids).logits[0].softmax(-1)[ids[0] == manifest["step_tag_id"], 0]
    assert right.tolist() == pytest.approx(before.step_scores, abs=1e-5)
    assert len(set(before.step_scores)) == 3
    (after,) = RewardModel.load(out).score([("a", "9 + 7 - 2?", STEPS)])
    assert after.step_scores == pytest.approx(before.step_scores, abs=1e-6)
    assert (model.config.num_labels, model.config.id2label) == (2, {0: "+", 1: "-"})


def test_the_command_says_how_to_serve_it_and_takes_the_calibration_along(tmp_path: Path) -> None:
    prm, out = save_prm(tmp_path, "llama", tied=True), tmp_path / "tc"
    fit = Fit("steps", "platt", 2.0, 0.5, 100, 10)
    write_calibration(prm, [fit], fitted_on="validation")
    told = CliRunner().invoke(app, ["train", "convert", "--model", str(prm), "--out", str(out)])
    assert told.exit_code == 0, told.output
    tag = AutoTokenizer.from_pretrained(out).convert_tokens_to_ids("<|prm_label|>")
    assert told.stdout.splitlines() == [
        f"{out}: a token classifier with the scores of {prm}",
        f'  vllm serve {out} --runner pooling --pooler-config \'{{"pooling_type": "STEP", "step_tag_id": {tag}}}\'',
    ]
    assert read_calibration(out) == {"steps": fit}


def test_what_is_no_prm_of_two_rows_is_refused(tmp_path: Path) -> None:
    prm, out = save_prm(tmp_path, "llama", tied=True), tmp_path / "tc"
    with pytest.raises(InputError, match="no finished reward model"):
        as_token_classifier(tmp_path, out)
    with pytest.raises(SettingsError, match="is there already"):
        as_token_classifier(prm, tmp_path)
    as_token_classifier(prm, out)
    with pytest.raises(SettingsError, match="a token classifier already"):
        as_token_classifier(out, tmp_path / "again")
    manifest = json.loads((prm / "stepmark.json").read_text())
    (prm / "stepmark.json").write_text(json.dumps({**manifest, "kind": "orm"}))
    with pytest.raises(SettingsError, match="is a orm; only a PRM"):
        as_token_classifier(prm, tmp_path / "orm")
    assert not (tmp_path / "orm").exists()
