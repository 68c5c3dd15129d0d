"""Batches without padding give what each sequence gives by itself, on any architecture, whatever is shared."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from trainer import attention
from trainer.batches import ReadSequence, TokenSet, TokenSetBuilder, plan_batches
from trainer.loop import accumulate_gradients
from trainer.models import RewardNet

SIZES: dict[str, Any] = dict(
    vocab_size=120,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    pad_token_id=0,
    bos_token_id=None,
    eos_token_id=None,
    tie_word_embeddings=True,
)
WINDOW = dict(sliding_window=6)
GEMMA = SIZES | dict(head_dim=8)
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**GEMMA)),
    "gemma3, a window of 6 in one layer": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**GEMMA, **WINDOW, layer_types=["sliding_attention", "full_attention"])
    ),
    "mistral, a window of 6": lambda: MistralForCausalLM(MistralConfig(**SIZES, **WINDOW)),
}


def net_of(name: str) -> RewardNet:
    torch.manual_seed(0)
    net = RewardNet(MODELS[name](), "prm", label_ids=(7, 8))
    net.check_exact()
    net.find_form()
    return net.eval()


def problems(*, group: int = 1) -> TokenSet:
    """Three problems; solutions share the prompt, some of them a first step, and two are equal."""
    rng = np.random.default_rng(0)
    builder = TokenSetBuilder(group=group)

    def draw(n: int) -> list[int]:
        return rng.integers(9, 120, n).tolist()

    for problem in range(3):
        prompt, step = draw(12 + problem), draw(10)
        solutions = [[*step, *draw(4)], draw(7), [*step, *draw(15)], draw(3)]
        solutions += [solutions[0], draw(1)]
        sequences = [
            ReadSequence([*prompt, *solution], [len(prompt), len(prompt) + len(solution) - 1], [1.0, i % 2])
            for i, solution in enumerate(solutions)
        ]
        for start in range(0, len(sequences), group):
            builder.add(problem, *sequences[start : start + group])
    return builder.build()


def gradients(net: RewardNet) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", MODELS)
def test_packed_and_shared_logits_are_those_of_each_sequence_alone(name: str) -> None:
    net, data = net_of(name), problems()
    assert net.form == "blocks"
    with torch.no_grad():
        found = [net(net.collate(data, np.arange(len(data)), share=share)) for share in (True, False)]
        net.model.set_attn_implementation("eager")
        alone = []
        for i in range(len(data)):
            ids = torch.from_numpy(data.sequence(i).astype(np.int64))[None]
            logits = net.model(input_ids=ids).logits[0, data.positions[2 * i : 2 * i + 2]]
            alone.append(logits[:, 7] - logits[:, 8])
    assert found[0].std() > 1e-3
    for logits in found:
        torch.testing.assert_close(logits, torch.cat(alone), atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_shared_gradients_are_those_of_sequences_one_by_one(name: str) -> None:
    """The same loss from one shared batch, one unshared, and a batch for each item (4 x 1 = 1 x 4 among them)."""
    net, data = net_of(name), problems()
    every = np.arange(len(data))
    whole = net.collate(data, every)
    assert len(whole.input_ids) < 0.6 * whole.n_tokens
    losses, found = [], []
    for batches in (
        [whole],
        [net.collate(data, every, share=False)],
        [net.collate(data, every[i : i + 1]) for i in every],
    ):
        net.zero_grad()
        losses.append(accumulate_gradients(net, batches))
        found.append(gradients(net))
    for loss, grads in zip(losses[1:], found[1:], strict=True):
        torch.testing.assert_close(loss, losses[0])
        assert grads.keys() == found[0].keys()
        for key, grad in grads.items():
            torch.testing.assert_close(grad, found[0][key], atol=1e-6, rtol=2e-3)


def test_pairs_share_what_chosen_and_rejected_begin_with() -> None:
    net, data = net_of("qwen2"), problems(group=2)
    with torch.no_grad():
        shared, alone = (net(net.collate(data, np.arange(len(data)), share=share)) for share in (True, False))
    torch.testing.assert_close(shared, alone, atol=2e-6, rtol=1e-4)


def test_no_token_sees_another_sequence() -> None:
    """Other tokens in one solution change the logits of that solution and of no other, not even in the last bit."""
    net, data = net_of("llama"), problems()
    batch = net.collate(data, np.arange(len(data)), share=False)
    with torch.no_grad():
        before = net(batch)
        start = int(data.token_starts[3])
        batch.input_ids[start : start + 4] = torch.tensor([100, 101, 102, 103])
        after = net(batch)
    changed = (before != after).nonzero().flatten().tolist()
    assert changed == [6, 7]


@pytest.mark.parametrize("form", ["blocks", "padded"])
def test_a_trajectory_is_the_same_shared_and_unshared(form: str) -> None:
    """Ten optimizer steps on the same batches; padded rows cannot share, and give the same too."""
    data = problems()
    plan = plan_batches(data, batch_tokens=90, seed=0)
    weights = []
    for share in (True, False):
        net = net_of("qwen3").train()
        if form == "padded" and not share:
            net.form = "padded"
            net.model.set_attn_implementation("sdpa")
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, eps=1e-6)
        for step in range(10):
            accumulate_gradients(net, [net.collate(data, plan[step % len(plan)], share=share)])
            optimizer.step()
            optimizer.zero_grad()
        weights.append({name: p.detach().clone() for name, p in net.named_parameters()})
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], atol=2e-5, rtol=2e-3)


def test_a_body_whose_attention_cannot_be_replaced_gets_padded_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = net_of("llama")
    monkeypatch.setattr(LlamaForCausalLM, "_can_set_attn_implementation", lambda self: False)
    net = net_of("llama")
    assert (net.form, net.shares) == ("padded", False)
    data = problems()
    with torch.no_grad():
        found, wanted = (one(one.collate(data, np.arange(len(data)))) for one in (net, expected))
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-4)


def test_a_body_that_does_not_hand_segments_to_its_attention_gets_padded_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attention that sees the whole row of tokens, as one would that ignores segments, is found out."""

    def blind(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> Any:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        more.pop("segments", None)
        return sdpa_attention_forward(module, query, key, value, mask, **more)

    from transformers import AttentionInterface

    net_of("llama")
    AttentionInterface.register(attention.NAME, blind)
    try:
        assert net_of("llama").form == "padded"
    finally:
        AttentionInterface.register(attention.NAME, attention._forward)
    assert net_of("llama").form == "blocks"


def test_the_older_architectures_of_transformers_are_packed_too() -> None:
    torch.manual_seed(0)
    sizes = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes))
    assert RewardNet(model, "prm", label_ids=(7, 8)).find_form() == "blocks"
