"""Splits by family: fixed, near their shares, independent of everything but family, shares and seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.errors import SettingsError
from stepmark.problems import family_hash
from stepmark.splits import check_shares, split_of

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def test_variants_of_one_problem_stay_together() -> None:
    variants = [f"Tom has {number} eggs and eats one. How many are left?" for number in range(50)]
    assert len({split_of(family_hash(variant), SHARES, seed=3) for variant in variants}) == 1


def test_the_shares_are_met() -> None:
    """10,000 families: the standard deviation of the share of `test` is sqrt(0.1 * 0.9 / 10,000) = 0.003."""
    counts = Counter(split_of(f"family-{number}", SHARES, seed=0) for number in range(10_000))
    assert set(counts) == set(SHARES)
    for name, share in SHARES.items():
        assert abs(counts[name] / 10_000 - share) < 0.015


def test_another_seed_gives_an_independent_split() -> None:
    """Two independent splits agree with probability 0.8^2 + 2 * 0.1^2 = 0.66."""
    families = [f"family-{number}" for number in range(5_000)]
    agreed = sum(split_of(family, SHARES, seed=0) == split_of(family, SHARES, seed=1) for family in families)
    assert abs(agreed / 5_000 - 0.66) < 0.03


@given(st.text(), st.integers(), st.permutations(list(SHARES)))
def test_the_order_of_the_shares_does_not_matter(family: str, seed: int, order: list[str]) -> None:
    assert split_of(family, {name: SHARES[name] for name in order}, seed) == split_of(family, SHARES, seed)


@given(st.text())
def test_a_share_of_nothing_is_never_used_and_thirds_are_whole(family: str) -> None:
    assert split_of(family, {"test": 0.0, "train": 1.0, "unused": 0.0}, 0) == "train"
    assert split_of(family, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 0) in "abc"


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "the shares \\(none\\) sum to 0"),
        ({"train": 0.5}, "sum to 0.5"),
        ({"train": 80.0, "test": 20.0}, "sum to 100"),
        ({"train": 1.5, "test": -0.5}, "not between 0 and 1"),
        ({"train": float("nan"), "test": 1.0}, "not between 0 and 1"),
    ],
)
def test_shares_that_cannot_be_used_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check_shares(shares)
    with pytest.raises(SettingsError, match=message):
        split_of("family", shares, 0)
