"""Batches: every item once, within the budget, and what is common in them once."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.batches import ReadSequence, TokenSet, TokenSetBuilder, collate, plan_batches


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


def set_of_lengths(lengths: Sequence[int], *, per_problem: int = 1, prompt: int = 0, group: int = 1) -> TokenSet:
    """Random sequences; those of a problem begin with `prompt` equal tokens, beyond their length."""
    rng = np.random.default_rng(0)
    builder = TokenSetBuilder(group=group)
    for i, length in enumerate(lengths):
        beginning = [7 + i // per_problem % 50] * prompt
        sequences = [beginning + rng.integers(100, 20000, length).tolist() for _ in range(group)]
        builder.add(i // per_problem, *(ReadSequence(s, [len(s) - 1], [1.0]) for s in sequences))
    return builder.build()


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 200),
    st.none() | st.integers(0, 5),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_every_item_is_in_one_batch_and_every_batch_within_the_budget(
    lengths: list[int], per_problem: int, budget: int, seed: int | None, share: bool, group: int
) -> None:
    data = set_of_lengths(lengths, per_problem=per_problem, prompt=10, group=group)
    batches = plan_batches(data, batch_tokens=budget, seed=seed, share=share)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for items in batches:
        assert len(items) == 1 or len(collate(data, items, share=share).input_ids) <= budget


def test_only_the_items_that_are_asked_for_are_planned() -> None:
    data = set_of_lengths([5] * 12, per_problem=4, prompt=10)
    batches = plan_batches(data, batch_tokens=40, items=np.array([1, 3, 8]))
    assert sorted(np.concatenate(batches).tolist()) == [1, 3, 8]
    assert plan_batches(data, batch_tokens=1000, items=np.array([], int)) == []


def test_a_seed_gives_the_same_batches_again_and_another_seed_others() -> None:
    data = set_of_lengths(np.random.default_rng(0).integers(20, 90, 300).tolist(), per_problem=6, prompt=20)
    plans = [plan_batches(data, batch_tokens=1024, seed=seed) for seed in (3, 3, 4)]
    first, again, other = ([batch.tolist() for batch in plan] for plan in plans)
    assert first == again
    assert first != other


def test_in_training_no_problem_has_much_more_than_a_quarter_of_a_batch() -> None:
    """A bundle of 6 solutions has 240 tokens; the budget would hold 25 of one problem."""
    data = set_of_lengths([20] * 2000, per_problem=50, prompt=20)
    batches = plan_batches(data, batch_tokens=1000, seed=0)
    most = [np.unique(data.problems[items], return_counts=True)[1].max() for items in batches]
    assert np.mean(np.array(most) <= 6) > 0.7


def test_batches_of_a_seed_have_lengths_that_are_much_alike() -> None:
    lengths = np.random.default_rng(0).integers(20, 200, 4000)
    batches = plan_batches(set_of_lengths(lengths.tolist()), batch_tokens=1024, seed=0)
    slots = sum(len(batch) * lengths[batch].max() for batch in batches)
    random_slots = sum(len(part) * part.max() for part in np.array_split(lengths, len(batches)))
    assert lengths.sum() / random_slots < 0.7
    assert lengths.sum() / slots > 0.85


def test_lengths_are_blurred_so_that_labels_that_go_with_them_mix() -> None:
    """Rows of 40 tokens are wrong and rows of 50 right; sorted exactly, nearly every batch would be of one kind."""
    lengths = np.repeat([40, 50], 1000)
    batches = plan_batches(set_of_lengths(lengths.tolist()), batch_tokens=1024, seed=0)
    mixed = sum(len(set(lengths[batch].tolist())) == 2 for batch in batches)
    assert mixed / len(batches) > 0.4


def test_a_batch_has_no_padding_and_reads_the_right_positions() -> None:
    batch = collate(small_set(), np.array([2, 0]))
    assert sorted(batch.input_ids.tolist()) == [5, 6, 7, 9, 10, 11, 12]
    assert batch.input_ids[batch.reads].tolist() == [10, 12, 7]
    assert batch.depths[batch.reads].tolist() == [1, 3, 2]
    assert batch.targets.tolist() == [1.0, 0.5, 1.0]
    assert batch.n_tokens == 7


def test_the_two_sequences_of_a_pair_are_read_one_after_the_other() -> None:
    data = small_set(group=2)
    assert data.lengths().tolist() == [3, 4]
    batch = collate(data, np.array([1]))
    assert batch.input_ids[batch.reads].tolist() == [10, 12, 14]


def test_what_sequences_begin_with_stands_in_a_batch_once_and_is_seen_by_each() -> None:
    """A prompt of 10, a first step of 9 that two solutions share, and a third that is the second one again."""
    prompt, step = list(range(10, 20)), list(range(30, 39))
    solutions = [[*step, 50, 51], [*step, 60], [*step, 60], [70, 71]]
    builder = TokenSetBuilder()
    for solution in solutions:
        builder.add(0, ReadSequence([*prompt, *solution], [9, 9 + len(solution)], [1.0, 0.0]))
    data = builder.build()
    batch = collate(data, np.arange(4))
    assert len(batch.input_ids) == 10 + 9 + 2 + 1 + 2
    assert batch.n_tokens == sum(10 + len(solution) for solution in solutions)
    assert batch.input_ids[batch.reads].tolist() == [19, 51, 19, 60, 19, 60, 19, 71]
    seen = {
        int(block.queries[row, 0]): block.keys[row].tolist()
        for block in batch.segments.blocks
        for row in range(len(block.queries))
    }
    for solution in solutions:
        last = next(key for key in seen if batch.input_ids[key] == (solution[9:] or solution)[0])
        whole = [*prompt, *solution]
        assert batch.input_ids[torch.tensor(seen[last])].tolist()[: len(whole)] == whole
    unshared = collate(data, np.arange(4), share=False)
    assert len(unshared.input_ids) == unshared.n_tokens == batch.n_tokens


def test_the_ragged_form_names_the_same_keys_as_the_blocks() -> None:
    data = set_of_lengths([5, 9, 3, 14], per_problem=2, prompt=12)
    ragged = collate(data, np.arange(4), ragged=True).segments
    blocks = collate(data, np.arange(4)).segments
    assert ragged.query_ends is not None
    assert ragged.keys is not None
    assert ragged.key_ends is not None
    paths = np.split(ragged.keys.numpy(), ragged.key_ends[1:-1].numpy())
    of_first = dict(zip(ragged.query_ends[:-1].tolist(), (path.tolist() for path in paths), strict=True))
    for block in blocks.blocks:
        for queries, keys in zip(block.queries, block.keys, strict=True):
            path = of_first[int(queries[0])]
            assert keys.tolist()[: len(path)] == path
    assert ragged.n_scores == blocks.n_scores == 2 * 78 + 12 * 31 + 15 + 45 + 6 + 105


def test_an_item_must_have_its_sequences() -> None:
    with pytest.raises(ValueError, match="an item has 2 sequences here, not 1"):
        TokenSetBuilder(group=2).add(0, ReadSequence([1], [0], [0.0]))


def test_an_empty_set_has_no_batches() -> None:
    data = TokenSetBuilder().build()
    assert len(data) == 0
    assert plan_batches(data, batch_tokens=64, seed=0) == []
