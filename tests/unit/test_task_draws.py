"""Draws of gold and repeated tasks: exact shares over any stretch, with nothing left to chance in the test."""

import itertools

import pytest

from db.tasks.draws import screen_order, special_kind, stratum_of


@pytest.mark.parametrize("share", [0.01, 0.05, 0.07, 0.1, 1 / 3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_of_the_first_tasks_the_share_is_kept_within_one_at_any_length(share: float, seed: int) -> None:
    drawn = 0
    for index in range(2000):
        drawn += stratum_of(index, share, seed) is not None
        assert abs(drawn - (index + 1) * share) <= 1 + share


def test_nobody_can_count_to_the_next_one() -> None:
    places = [index for index in range(2000) if stratum_of(index, 0.05, 1) is not None]
    gaps = {later - earlier for earlier, later in itertools.pairwise(places)}
    assert len(gaps) > 15
    assert places != [index for index in range(2000) if stratum_of(index, 0.05, 2) is not None]


def test_gold_and_repeats_each_keep_their_share() -> None:
    kinds = [special_kind(index, 0.05, 0.02, 3, None) for index in range(10_000)]
    assert abs(kinds.count("gold") - 500) <= 3
    assert abs(kinds.count("repeat") - 200) <= 3
    assert special_kind(5, 0.0, 0.0, 3) is None


def test_half_of_the_pairs_stand_either_way_round() -> None:
    n_ab = sum(screen_order(annotator, task) == "ab" for annotator in range(10) for task in range(1000))
    assert abs(n_ab - 5000) < 200  # four standard deviations; the draw itself is fixed
