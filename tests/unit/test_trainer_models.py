"""Networks and gradients: two rows against full logits, padding, and accumulated batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from stepmark.errors import SettingsError
from tests.tiny_reward_model import save_tiny_lm
from trainer.batches import ReadSequence, TokenSet, TokenSetBuilder
from trainer.loop import accumulate_gradients
from trainer.models import RewardNet, build_net, load_tokenizer, n_parameters
from trainer.objectives import Weights
from trainer.render import label_token_ids
from trainer.rows import Kind


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_lm(tmp_path_factory.mktemp("base"), tied=request.param)


def build(base: str, kind: Kind) -> RewardNet:
    tokenizer = load_tokenizer(base)
    return build_net(base, kind, tokenizer, label_ids=label_token_ids(tokenizer, "+", "-"))


def as_ids(data: TokenSet, number: int) -> torch.Tensor:
    return torch.from_numpy(data.sequence(number).astype(np.int64))[None]


def random_set(*, group: int = 1, n: int = 8) -> TokenSet:
    rng = np.random.default_rng(1)
    builder = TokenSetBuilder(group=group)
    for i in range(0, n, group):
        sequences = []
        for length in rng.integers(4, 20, group).tolist():
            positions = [length - 1] if group == 2 else [1, length - 1]
            targets = [0.5] if group == 2 else [1.0, float(i % 3 == 0)]
            sequences.append(ReadSequence(rng.integers(6, 200, length).tolist(), positions, targets))
        builder.add(i, *sequences)
    return builder.build()


def test_two_rows_at_the_labels_equal_the_full_logits_of_the_language_model(base: str) -> None:
    net = build(base, "prm").eval()
    lm = AutoModelForCausalLM.from_pretrained(base).eval()
    tokenizer = load_tokenizer(base)
    plus, minus = label_token_ids(tokenizer, "+", "-")
    data = random_set()
    with torch.no_grad():
        full = [lm(as_ids(data, i)).logits[0, data.positions[2 * i : 2 * i + 2]] for i in range(len(data))]
        expected = torch.cat([logits[:, plus] - logits[:, minus] for logits in full])
        torch.testing.assert_close(net(net.collate(data, np.arange(8))), expected, atol=1e-5, rtol=1e-4)


def test_two_rows_have_the_gradients_of_the_full_cross_entropy(base: str) -> None:
    net = build(base, "prm")
    lm = AutoModelForCausalLM.from_pretrained(base)
    plus, minus = label_token_ids(load_tokenizer(base), "+", "-")
    data = random_set()
    batch = net.collate(data, np.arange(8))
    accumulate_gradients(net, [batch])
    read = [lm(as_ids(data, i)).logits[0, data.positions[2 * i : 2 * i + 2]] for i in range(len(data))]
    logits = torch.cat(read)[:, [plus, minus]]
    torch.nn.functional.cross_entropy(logits, (1 - batch.targets).long()).backward()
    ours, theirs = dict(net.model.named_parameters()), dict(lm.named_parameters())
    body = [name for name in theirs if name.startswith("model.")]
    assert len(body) > 10
    for name in body:
        torch.testing.assert_close(ours[name].grad, theirs[name].grad, atol=1e-6, rtol=1e-3)
    if net.rows is not None:
        torch.testing.assert_close(net.rows.grad, lm.lm_head.weight.grad[[plus, minus]], atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("kind", ["prm", "orm", "bt"])
def test_four_batches_of_one_accumulated_equal_one_batch_of_four(base: str, kind: Kind) -> None:
    net = build(base, kind)
    data = random_set(group=2 if kind == "bt" else 1)
    grads, losses = [], []
    for groups in ([np.arange(4)], [np.array([i]) for i in range(4)]):
        net.zero_grad()
        batches = [net.collate(data, items) for items in groups]
        losses.append(accumulate_gradients(net, batches, weights=Weights(centre=0.1)))
        grads.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    torch.testing.assert_close(losses[0], losses[1])
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], atol=1e-6, rtol=1e-3)
    assert any(grad.abs().max() > 1e-4 for grad in grads[0].values())


def test_an_idle_batch_changes_neither_loss_nor_gradients_and_the_scale_only_these(base: str) -> None:
    """As a process with shares of the weights has it: the mean of two processes is to be their sum."""
    net = build(base, "orm")
    torch.nn.init.normal_(net.model.score.weight)
    batch, idle = (net.collate(random_set(), items) for items in (np.arange(4), np.arange(4, 8)))
    found = []
    settings: list[dict[str, Any]] = [{}, {"idle": [idle], "scale": 2.0}]
    for more in settings:
        net.zero_grad()
        loss = accumulate_gradients(net, [batch], **more)
        found.append((loss, [p.grad.clone() for p in net.parameters() if p.grad is not None]))
    (loss, plain), (other, scaled) = found
    assert torch.equal(loss, other)
    assert len(plain) > 10
    for a, b in zip(plain, scaled, strict=True):
        torch.testing.assert_close(b, 2 * a, atol=1e-6, rtol=1e-4)
    assert max(grad.abs().max().item() for grad in plain) > 1e-3


def test_an_untrained_orm_gives_the_probability_of_the_two_rows(base: str) -> None:
    nets: list[RewardNet] = [build(base, "prm").eval(), build(base, "orm").eval()]
    with torch.no_grad():
        prm, orm = (net(net.collate(random_set(), np.arange(8))) for net in nets)
    torch.testing.assert_close(prm, orm, atol=1e-6, rtol=1e-5)


def test_training_an_untied_head_touches_its_two_rows_only(tmp_path: Path) -> None:
    net = build(save_tiny_lm(tmp_path, tied=False), "prm")
    before = net.model.lm_head.weight.detach().clone()
    assert net.rows is not None
    with torch.no_grad():
        net.rows += 1.0
    net.write_rows_back()
    changed = (net.model.lm_head.weight != before).any(dim=1).nonzero().flatten().tolist()
    assert changed == sorted(net.label_ids or ())


def test_logits_over_the_vocabulary_are_never_computed_for_a_reward(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[Kind] = ["prm", "orm", "bt"]
    for kind in kinds:
        net = build(base, kind)
        head = net.model.get_output_embeddings()
        if head is not None:
            monkeypatch.setattr(head, "forward", None)
        accumulate_gradients(net, [net.collate(random_set(group=2 if kind == "bt" else 1), np.arange(4))])


def test_a_text_s_logits_over_the_vocabulary_exist_for_a_few_positions_at_a_time(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trainer.models

    net = build(base, "sft")
    batch = net.collate(random_set(), np.arange(8))
    with torch.no_grad():
        whole = net(batch)
        monkeypatch.setattr(trainer.models, "_AT_ONCE", 3)
        torch.testing.assert_close(net(batch), whole)


def test_recomputed_activations_give_the_same_gradients(base: str) -> None:
    net, found = build(base, "prm").train(), []
    batch = net.collate(random_set(), np.arange(8))
    for is_recomputed in (False, True):
        if is_recomputed:
            net.model.activation_checkpointing_enable()
        net.zero_grad()
        accumulate_gradients(net, [batch])
        found.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad)


def test_a_pad_token_that_is_the_end_token_is_replaced(tmp_path: Path) -> None:
    path = save_tiny_lm(tmp_path)
    tokenizer = load_tokenizer(path)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(path)
    loaded = load_tokenizer(path)
    assert (loaded.pad_token, loaded.eos_token) == ("<|pad|>", "<|end|>")


def test_tokens_that_the_model_does_not_know_get_the_mean_embedding(tmp_path: Path) -> None:
    path = save_tiny_lm(tmp_path)
    tokenizer = load_tokenizer(path)
    n = len(tokenizer)
    tokenizer.add_tokens(["<|new|>"], special_tokens=True)
    net = build_net(path, "prm", tokenizer, label_ids=label_token_ids(tokenizer, "+", "-"))
    weight = net.model.get_input_embeddings().weight
    assert weight.shape[0] == n + 1
    torch.testing.assert_close(weight[n], weight[:n].mean(dim=0))
    assert n_parameters(net) == n_parameters(build(path, "prm")) + weight.shape[1]


def test_a_model_that_caps_its_logits_is_refused(tmp_path: Path) -> None:
    net = build(save_tiny_lm(tmp_path), "prm")
    head = net.model.lm_head
    head.register_forward_hook(lambda module, inputs, output: 0.5 * output)
    with pytest.raises(SettingsError, match="does not compute its logits as a plain product with the head"):
        net.check_exact()


def test_a_folder_without_a_model_is_a_user_s_mistake(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_tiny_lm(tmp_path / "base"))
    with pytest.raises(SettingsError, match="no model could be loaded from"):
        build_net(str(tmp_path / "nothing"), "prm", tokenizer, label_ids=(1, 2))
    with pytest.raises(SettingsError, match="no tokenizer could be loaded from"):
        load_tokenizer(str(tmp_path / "nothing"))
