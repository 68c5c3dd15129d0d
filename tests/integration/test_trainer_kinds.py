"""Kinds beyond PRM, ORM and Bradley-Terry: what they read, what they learn, and that shared equals unshared."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

from stepmark.errors import InputError, SettingsError
from stepmark.flows.critiques import Sampled, critiques_by
from tests.tiny_reward_model import save_tiny_lm, write_split
from trainer.batches import plan_batches
from trainer.cloud import write_critiques
from trainer.loop import accumulate_gradients, with_references
from trainer.lora import add_lora
from trainer.models import build_net, load_tokenizer
from trainer.objectives import Weights
from trainer.render import CRITIQUE_OPENING, Renderer, encode_rows, label_token_ids
from trainer.rows import Kind, Prompt, read_rows
from trainer.score import RewardModel
from trainer.train import TrainSettings, train_reward_model

KINDS: list[Kind] = ["critique-rm", "implicit-prm", "cloud", "judge", "sft"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_lm(tmp_path_factory.mktemp("base"), n_positions=512)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums whose wrong results are 99, with critiques that say so; judgements with the right verdict or not."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    sums = rng.sample([(a, b) for a in range(1, 10) for b in range(1, 10)], 56)
    for split, n in (("train", 40), ("validation", 16)):
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("cloud", "critique_preference", "sft", "orm")}
        for i in range(n):
            a, b = sums.pop()
            prompt, right, wrong = f"{a} + {b}?", f"{a} + {b} = {a + b}", f"{a} + {b} = 99"
            rows["cloud"].append(
                {
                    "id": str(i),
                    "prompt": prompt,
                    "chosen": right,
                    "rejected": wrong,
                    "chosen_feedback": ["All 16.", "Good."],
                    "rejected_feedback": ["99 is 2.", "Bad 99."],
                }
            )
            rows["critique_preference"].append(
                {"prompt": f"{prompt} {wrong}", "chosen": "Verdict: fail", "rejected": "Verdict: pass"}
            )
            rows["sft"].append({"prompt": prompt, "completion": right})
            rows["orm"] += [{"prompt": prompt, "completion": text, "label": text == right} for text in (right, wrong)]
        for name, found in rows.items():
            write_split(folder, name, found, split=split)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_lower_the_loss_on_new_problems(base: str, data: Path, tmp_path: Path, kind: Kind) -> None:
    settings = TrainSettings(epochs=4, batch_tokens=512, beta=0.5)
    manifest = train_reward_model(kind, data=data, model=base, out=tmp_path / "out", settings=settings)
    losses = [evaluation["loss"] for evaluation in manifest["evaluations"]]
    assert losses[-1] < 0.96 * losses[0]
    if kind != "sft":
        assert manifest["metrics"]["accuracy"] > 0.9
    if kind in ("cloud", "judge"):
        texts = [evaluation["text_loss"] for evaluation in manifest["evaluations"]]
        assert texts[-1] < texts[0]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_the_same_shared_unshared_and_accumulated(base: str, data: Path, kind: Kind) -> None:
    tokenizer = load_tokenizer(base)
    torch.manual_seed(0)
    net = build_net(base, kind, tokenizer, label_ids=label_token_ids(tokenizer, "+", "-"))
    rows, _ = encode_rows(read_rows(data, kind, "train"), Renderer(tokenizer, kind), max_length=512)
    if kind in ("judge", "implicit-prm"):
        rows = with_references(net, rows, batch_tokens=512)
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
    items = np.arange(6)
    found: list[tuple[torch.Tensor, dict[str, torch.Tensor]]] = []
    for batches in (
        [net.collate(rows, items)],
        [net.collate(rows, items, share=False)],
        [net.collate(rows, items[i : i + 1]) for i in items],
    ):
        net.zero_grad()
        loss = accumulate_gradients(net, batches, weights=Weights(centre=0.01, beta=0.5, lm=1.25))
        found.append((loss, {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}))
    for loss, grads in found[1:]:
        torch.testing.assert_close(loss, found[0][0], atol=1e-6, rtol=1e-5)
        for name, grad in grads.items():
            torch.testing.assert_close(grad, found[0][1][name], atol=2e-6, rtol=2e-3)


def test_a_text_s_loss_is_that_of_the_language_model_on_its_tokens(base: str, data: Path) -> None:
    tokenizer = load_tokenizer(base)
    net = build_net(base, "sft", tokenizer, label_ids=None)
    rows, _ = encode_rows(read_rows(data, "sft", "train"), Renderer(tokenizer, "sft"), max_length=512)
    loss = accumulate_gradients(net, [net.collate(rows, np.arange(3))])
    lm = AutoModelForCausalLM.from_pretrained(base)
    total, n = 0.0, 0
    for raw in [json.loads(line) for line in (data / "sft/train-00000-of-00001.jsonl").read_text().splitlines()[:3]]:
        prompt = tokenizer(f"<|bos|><|user|>{raw['prompt']}<|assistant|>", add_special_tokens=False)["input_ids"]
        text = tokenizer(f"{raw['completion']}<|end|>", add_special_tokens=False)["input_ids"]
        labels = torch.tensor([[-100] * len(prompt) + text])
        with torch.no_grad():
            total += lm(input_ids=torch.tensor([prompt + text]), labels=labels).loss.item() * len(text)
        n += len(text)
    assert loss.item() == pytest.approx(total / n, abs=1e-5)


def test_a_reference_is_the_model_that_a_run_starts_from(base: str, data: Path) -> None:
    """So every log ratio is zero and both losses are log 2 before the first step."""
    tokenizer = load_tokenizer(base)
    for kind in ("implicit-prm", "judge"):
        net = build_net(base, kind, tokenizer, label_ids=None)
        rows, _ = encode_rows(read_rows(data, kind, "train"), Renderer(tokenizer, kind), max_length=512)
        rows = with_references(net, rows, batch_tokens=300)
        assert (rows.references < -1).all()
        loss = accumulate_gradients(net, [net.collate(rows, np.arange(8))], weights=Weights(beta=0.1, lm=0.0))
        assert loss.item() == pytest.approx(np.log(2), abs=1e-4)


def test_a_critique_stands_in_the_third_turn_and_is_written_and_weighed(base: str, data: Path) -> None:
    tokenizer = load_tokenizer(base)
    rows = read_rows(data, "cloud", "train")
    ((chosen, _),) = Renderer(tokenizer, "cloud").sequences([next(iter(rows))])  # type: ignore[list-item]
    text = tokenizer.decode(chosen.tokens)
    assert text.startswith("<|bos|><|user|>")
    assert text.endswith(f"<|end|><|user|>{CRITIQUE_OPENING}All 16.<|end|>")
    *written, last = chosen.positions
    assert tokenizer.decode([chosen.tokens[p + 1] for p in written]) == "All 16.<|end|>"
    assert last == len(chosen.tokens) - 1


def test_a_row_without_critiques_or_without_labels_is_counted(base: str, tmp_path: Path) -> None:
    pair = {"prompt": "1 + 1?", "chosen": "2", "rejected": "3", "chosen_feedback": ["Good."]}
    write_split(tmp_path, "cloud", [{**pair, "rejected_feedback": []}, {**pair, "rejected_feedback": ["Bad."]}])
    steps = {"prompt": "1 + 1?", "completions": ["2", "2"]}
    write_split(tmp_path, "prm", [{**steps, "labels": [None, None]}, {**steps, "labels": [None, 0.25]}])
    tokenizer = load_tokenizer(base)
    _, counts = encode_rows(read_rows(tmp_path, "cloud", "train"), Renderer(tokenizer, "cloud"), max_length=512)
    assert counts.as_json()["dropped"] == {"no critique of one of the solutions": 1}
    renderer = Renderer(tokenizer, "prm", step_token="<|prm_label|>")
    rows, counts = encode_rows(read_rows(tmp_path, "prm", "train"), renderer, max_length=512)
    assert counts.as_json()["dropped"] == {"no step has a label": 1}
    assert rows.targets.tolist() == [0.25]
    write_split(tmp_path, "cloud", [{**pair, "rejected_feedback": "Bad."}])
    with pytest.raises(InputError, match="rejected_feedback must be a list of texts"):
        list(read_rows(tmp_path, "cloud", "train"))


def test_an_implicit_prm_gives_each_step_the_log_ratio_to_its_reference(
    base: str, data: Path, tmp_path: Path
) -> None:
    """A step's score is sigmoid(beta log ratio of its text); the solution's takes the sum over all of it."""
    settings = TrainSettings(epochs=1, beta=0.5)
    out = tmp_path / "out"
    train_reward_model("implicit-prm", data=data, model=base, out=out, settings=settings)
    (scored,) = RewardModel.load(out).score([("a", "2 + 3?", ["Step 1: 2 + 3 = 5", "# Answer\n\n5"])])
    tokenizer = AutoTokenizer.from_pretrained(out)
    prompt = tokenizer("<|bos|><|user|>2 + 3?<|assistant|>", add_special_tokens=False)["input_ids"]
    texts = ["Step 1: 2 + 3 = 5", "\n\n", "# Answer\n\n5", "<|end|>"]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    whole = torch.tensor([prompt + [token for part in ids for token in part]])
    ratios = 0.0
    for folder, sign in ((out, 1.0), (out / "reference", -1.0)):
        with torch.no_grad():
            logps = AutoModelForCausalLM.from_pretrained(folder)(whole).logits.log_softmax(-1)[0, :-1]
        ratios = ratios + sign * logps.gather(1, whole[0, 1:, None])[len(prompt) - 1 :, 0]
    first, rest = ratios[: len(ids[0])].sum(), ratios[len(ids[0]) :].sum()
    assert scored.score == pytest.approx(torch.sigmoid(0.5 * (first + rest)).item(), abs=1e-5)
    assert scored.step_scores == pytest.approx([torch.sigmoid(0.5 * part).item() for part in (first, rest)], abs=1e-5)


def test_an_orm_can_learn_at_the_last_token_alone(base: str, data: Path, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=1, last_only=True)
    manifest = train_reward_model("orm", data=data, model=base, out=tmp_path / "out", settings=settings)
    assert manifest["last_only"] is True
    assert RewardModel.load(tmp_path / "out").kind == "orm"


def test_a_prm_may_have_a_head_of_its_own(base: str, tmp_path: Path) -> None:
    """It starts as the LM's two rows; the embedding of the label tokens is not moved by its gradient."""
    rows = [{"prompt": "1 + 1?", "completions": ["2", "99"], "labels": [True, False]}] * 20
    write_split(tmp_path / "data", "prm", rows)
    settings = TrainSettings(epochs=2, own_head=True)
    out = tmp_path / "out"
    manifest = train_reward_model("prm", data=tmp_path / "data", model=base, out=out, settings=settings)
    assert manifest["layout"] == "token-classification"
    _, info = AutoModelForTokenClassification.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    (scored,) = RewardModel.load(out).score([("a", "1 + 1?", ["2", "99"])])
    assert scored.step_scores[0] > scored.step_scores[1]


def test_a_cloud_model_writes_as_plain_transformers_and_keeps_its_second_head(
    base: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train_reward_model("cloud", data=data, model=base, out=out, settings=TrainSettings(epochs=3, batch_tokens=512))
    _, info = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    model = RewardModel.load(out)
    good, bad = model.score_critiqued(
        [("good", "2 + 3?", ["2 + 3 = 5"], ["Good.", "All 16."]), ("bad", "2 + 3?", ["2 + 3 = 99"], ["Bad 99."])]
    )
    assert good.score is not None
    assert bad.score is not None
    assert good.score > bad.score
    alone = [
        next(model.score_critiqued([("", "2 + 3?", ["2 + 3 = 5"], [text])])).score for text in ("Good.", "All 16.")
    ]
    assert good.score == pytest.approx(sum(a for a in alone if a is not None) / 2, abs=1e-5)


def test_critiques_of_a_set_can_be_learnt_as_texts(base: str, data: Path, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=1, config="cloud")
    manifest = train_reward_model("sft", data=data, model=base, out=tmp_path / "out", settings=settings)
    assert manifest["config"] == "cloud"
    assert manifest["rows"]["train"]["kept"] == 160


def test_pairs_of_one_problem_stay_together(base: str, data: Path) -> None:
    tokenizer = load_tokenizer(base)
    rows, _ = encode_rows(read_rows(data, "cloud", "train"), Renderer(tokenizer, "cloud"), max_length=512)
    for items in plan_batches(rows, batch_tokens=4096, seed=0):
        assert len(items) > 1


def test_critiques_of_a_set_are_written_again_by_what_is_passed_in(tmp_path: Path) -> None:
    asked: list[tuple[Prompt, str]] = []

    def write(solutions: Sequence[tuple[Prompt, str]]) -> list[list[str]]:
        asked.extend(solutions)
        return [[" "] if "8 + 8" in prompt[0][1] else [f"about {text}\n", "more"] for prompt, text in solutions]

    pair = {"id": "1", "prompt": "1 + 1?", "chosen": "2", "rejected": "3"}
    rows = [{**pair, "chosen_feedback": ["a"], "rejected_feedback": ["b"]}]
    rows.append({**rows[0], "id": "2", "prompt": "8 + 8?"})
    write_split(tmp_path / "in", "cloud", rows)
    counts = write_critiques(tmp_path / "in", tmp_path / "out", write=write)
    assert counts == {"train": {"read": 2, "kept": 1, "dropped": 1}}
    assert asked[:2] == [((("user", "1 + 1?"),), "2"), ((("user", "1 + 1?"),), "3")]
    (new,) = (tmp_path / "out/cloud/train-00000-of-00001.jsonl").read_text().splitlines()
    assert json.loads(new) == {
        **pair, "chosen_feedback": ["about 2", "more"], "rejected_feedback": ["about 3", "more"],
    }  # fmt: skip
    assert len(list(read_rows(tmp_path / "out", "cloud", "train"))) == 2


def test_a_model_of_the_first_stage_writes_critiques(base: str) -> None:
    write = critiques_by(Path(base), Sampled(n=2, max_tokens=4))
    found = write([((("user", f"{a} + 1?"),), "2") for a in (1, 22)])
    assert [len(one) for one in found] == [2, 2]
    assert all(isinstance(text, str) for one in found for text in one)


@pytest.mark.parametrize("kind", ["orm", "cloud"])
def test_adapters_and_the_head_are_trained_and_merged(base: str, data: Path, tmp_path: Path, kind: Kind) -> None:
    """The saved model is a plain one whose norms and embeddings are the base's, and whose layers have moved."""
    out = tmp_path / "out"
    settings = TrainSettings(epochs=1, lora_rank=4, batch_tokens=512)
    train_reward_model(kind, data=data, model=base, out=out, settings=settings)
    before, after = load_file(Path(base) / "model.safetensors"), load_file(out / "model.safetensors")
    assert not any("lora" in name for name in after)
    for name in before:
        is_moved = not torch.equal(before[name], after[name])
        assert is_moved == ("_proj" in name), name
    assert RewardModel.load(out).kind == kind


def test_adapters_on_the_rows_of_the_language_model_are_refused(base: str) -> None:
    tokenizer = load_tokenizer(base)
    net = build_net(base, "prm", tokenizer, label_ids=label_token_ids(tokenizer, "+", "-"))
    with pytest.raises(SettingsError, match="train a PRM with it under --own-head"):
        add_lora(net, 4)
