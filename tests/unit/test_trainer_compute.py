"""Operations counted from shapes, and tokens counted without making the batches."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from trainer.batches import ReadSequence, TokenSet, TokenSetBuilder, collate, plan_batches
from trainer.compute import computed, cost_of, matrix_peak
from trainer.models import RewardNet


def problems(group: int) -> TokenSet:
    rng = np.random.default_rng(0)
    builder = TokenSetBuilder(group=group)
    for problem in range(5):
        prompt, step = rng.integers(9, 5000, 15).tolist(), rng.integers(9, 5000, 20).tolist()
        for i in range(6):
            bodies = [(step if (i + k) % 2 else []) + rng.integers(9, 5000, 5 + i).tolist() for k in range(group)]
            builder.add(problem, *(ReadSequence(prompt + body, [0], [1.0]) for body in bodies))
    return builder.build()


def test_operations_are_counted_from_the_shapes_of_the_model() -> None:
    """Two layers of d = 8, one head of 8, a gate of 16: 4 d^2 + 3 * 16 d = 640 weights a layer."""
    config = LlamaConfig(
        vocab_size=50, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1
    )
    cost = cost_of(RewardNet(LlamaForCausalLM(config), "prm", label_ids=(1, 2)))
    assert (cost.per_token, cost.per_score) == (6 * 2 * 640, 12 * 2 * 8)


@pytest.mark.parametrize("group", [1, 2])
def test_tokens_to_compute_are_foretold_from_the_plan(group: int) -> None:
    """Exactly for single sequences; for pairs only what the chosen ones share with those before is foreseen."""
    data = problems(group)
    plan = plan_batches(data, batch_tokens=400, seed=0)
    batches = [collate(data, items) for items in plan]
    found = computed(data, plan)
    made = sum(len(batch.input_ids) for batch in batches), sum(batch.segments.n_scores for batch in batches)
    lone = [collate(data, items, share=False) for items in plan]
    assert computed(data, plan, share=False) == (
        sum(len(batch.input_ids) for batch in lone),
        sum(batch.segments.n_scores for batch in lone),
    )
    assert found == made if group == 1 else (found[0] >= made[0] and found[0] < data.n_tokens())


def test_a_peak_is_measured() -> None:
    assert matrix_peak(torch.device("cpu")) > 1e8
