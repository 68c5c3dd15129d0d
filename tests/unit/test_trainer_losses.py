"""Losses against numbers worked out by hand, and against torch's own on two-row logits."""

import math

import pytest
import torch

from trainer.losses import bradley_terry_loss, outcome_loss, preference_loss
from trainer.objectives import sizes, sums


def test_outcome_loss_of_even_odds_is_log_two_whatever_the_target() -> None:
    losses = outcome_loss(torch.zeros(3), torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(losses, torch.full((3,), math.log(2)))


def test_outcome_loss_equals_the_cross_entropy_over_two_rows() -> None:
    two_rows = torch.tensor([[2.0, -1.0], [0.3, 0.9], [-4.0, 1.5]])
    right = torch.tensor([1.0, 0.0, 1.0])
    expected = torch.nn.functional.cross_entropy(two_rows, (1 - right).long(), reduction="none")
    torch.testing.assert_close(outcome_loss(two_rows[:, 0] - two_rows[:, 1], right), expected)


def test_a_soft_target_weighs_both_outcomes_by_its_probability() -> None:
    z = torch.tensor([math.log(3.0)])  # p = 3/4
    expected = 0.2 * -math.log(0.75) + 0.8 * -math.log(0.25)
    assert outcome_loss(z, torch.tensor([0.2])).item() == pytest.approx(expected)


def test_outcome_loss_stays_finite_for_extreme_logits() -> None:
    losses = outcome_loss(torch.tensor([1e4, -1e4]), torch.tensor([1.0, 1.0]))
    assert losses.tolist() == [0.0, 1e4]


def test_bradley_terry_loss_with_equal_rewards_is_log_two() -> None:
    r = torch.tensor([0.7])
    assert bradley_terry_loss(r, r, torch.zeros(1)).item() == pytest.approx(math.log(2))


def test_a_margin_asks_for_a_lead_of_that_size() -> None:
    chosen, rejected, margin = torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([2.0 + math.log(3.0)])
    assert bradley_terry_loss(chosen, rejected, margin).item() == pytest.approx(-math.log(0.25))


def test_centring_adds_the_squared_sum_and_leaves_opposite_rewards_alone() -> None:
    chosen, rejected = torch.tensor([2.0, 1.0]), torch.tensor([1.0, -1.0])
    plain = bradley_terry_loss(chosen, rejected, torch.zeros(2))
    centred = bradley_terry_loss(chosen, rejected, torch.zeros(2), centre=0.5)
    torch.testing.assert_close(centred - plain, torch.tensor([4.5, 0.0]))


def test_a_preference_without_a_difference_to_the_reference_costs_log_two() -> None:
    assert preference_loss(torch.tensor([3.0]), torch.tensor([3.0]), beta=0.1).item() == pytest.approx(math.log(2))


def test_a_preference_is_scaled_by_beta() -> None:
    """Beta (l_c - l_r) = log 3, so sigmoid is 3/4."""
    loss = preference_loss(torch.tensor([2 * math.log(3.0)]), torch.tensor([0.0]), beta=0.5)
    assert loss.item() == pytest.approx(-math.log(0.75))


def test_each_part_of_a_loss_knows_its_targets() -> None:
    """Two pairs whose sequences are read 3, 2, 4 and 1 times; CLoud reads one of them each for the reward."""
    counts = [3, 2, 4, 1]
    assert sizes("prm", counts) == sizes("sft", counts) == [10]
    assert sizes("implicit-prm", counts) == [4]
    assert sizes("bt", counts) == sizes("critique-rm", counts) == [2]
    assert sizes("cloud", counts) == [2, 6]
    assert sizes("judge", counts) == [2, 7]


def test_sums_are_by_sequence() -> None:
    assert sums(torch.tensor([1.0, 2.0, 4.0, 8.0]), [1, 0, 3]).tolist() == [1.0, 0.0, 14.0]
