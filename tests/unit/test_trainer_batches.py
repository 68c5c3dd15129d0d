"""Batches: every item once, within the budget, with little padding, and gathered exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.batches import ReadSequence, TokenSet, TokenSetBuilder, collate, plan_batches

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=200).map(lambda found: np.array(found, np.int64))


def small_set(*, group: int = 1) -> TokenSet:
    builder = TokenSetBuilder(group=group)
    sequences = [
        ReadSequence([5, 6, 7], [2], [1.0]),
        ReadSequence([8], [0], [0.0]),
        ReadSequence([9, 10, 11, 12], [1, 3], [1.0, 0.5]),
        ReadSequence([13, 14], [1], [1.0]),
    ]
    for start in range(0, 4, group):
        builder.add(start, *sequences[start : start + group])
    return builder.build()


@given(LENGTHS, st.integers(1, 200), st.sampled_from([1, 2]), st.none() | st.integers(0, 5))
def test_every_item_is_in_one_batch_and_every_batch_within_the_budget(
    lengths: np.ndarray, budget: int, group: int, seed: int | None
) -> None:
    batches = plan_batches(lengths, batch_tokens=budget, group=group, seed=seed)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * group * lengths[batch].max() <= budget


def test_a_seed_gives_the_same_batches_again_and_another_seed_others() -> None:
    lengths = np.random.default_rng(0).integers(20, 90, 500)
    plans = [plan_batches(lengths, batch_tokens=512, group=1, seed=seed) for seed in (3, 3, 4)]
    first, again, other = ([batch.tolist() for batch in plan] for plan in plans)
    assert first == again
    assert first != other


def test_batches_of_a_seed_have_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(20, 200, 4000)
    batches = plan_batches(lengths, batch_tokens=1024, group=1, seed=0)
    slots = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert lengths.sum() / slots > 0.95


def test_a_batch_is_padded_on_the_right_and_reads_the_right_positions() -> None:
    batch = collate(small_set(), np.array([2, 0]), pad_id=0)
    assert batch.input_ids.tolist() == [[9, 10, 11, 12], [5, 6, 7, 0]]
    assert batch.input_ids.flatten()[batch.reads].tolist() == [10, 12, 7]
    assert batch.targets.tolist() == [1.0, 0.5, 1.0]
    assert batch.n_tokens == 7


def test_the_two_sequences_of_a_pair_stand_next_to_each_other() -> None:
    data = small_set(group=2)
    assert data.lengths().tolist() == [3, 4]
    batch = collate(data, np.array([1]), pad_id=0)
    assert batch.input_ids.tolist() == [[9, 10, 11, 12], [13, 14, 0, 0]]
    assert batch.input_ids.flatten()[batch.reads].tolist() == [10, 12, 14]


def test_an_item_must_have_its_sequences() -> None:
    with pytest.raises(ValueError, match="an item has 2 sequences here, not 1"):
        TokenSetBuilder(group=2).add(0, ReadSequence([1], [0], [0.0]))


def test_an_empty_set_has_no_batches() -> None:
    data = TokenSetBuilder().build()
    assert len(data) == 0
    assert plan_batches(data.lengths(), batch_tokens=64, group=1, seed=0) == []
