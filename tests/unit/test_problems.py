"""The identity of problems and of their families."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.problems import family_hash, masked_signature, normalise_statement, statement_hash

JANET = "Janet’s ducks lay 16 eggs per day. She eats three for breakfast and sells the rest at $2 each. How much?"


@pytest.mark.parametrize(
    "same",
    [
        JANET.replace("’", "'"),
        JANET.replace(" ", "  ") + "\n",
        JANET.replace(" ", "\u00a0"),
        JANET.replace("day.", "day ."),
        "\ufeff" + JANET.replace("ducks", "du\u00adcks"),
        JANET.replace("$", "\uff04"),
        JANET.replace("sells", "sell\x00s"),
    ],
)
def test_typography_does_not_make_another_problem(same: str) -> None:
    assert statement_hash(same) == statement_hash(JANET)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (JANET, JANET.replace("16", "17")),
        (JANET, JANET.replace("sells", "sell")),
        ("What is 10²?", "What is 102?"),
        ("What is 2½ + 1?", "What is 21/2 + 1?"),
        ("Find A.", "Find a."),
    ],
)
def test_another_text_is_another_problem(one: str, other: str) -> None:
    assert statement_hash(one) != statement_hash(other)


@pytest.mark.parametrize(
    "variant",
    [
        JANET.replace("16", "1,600").replace("$2", "$2.50"),
        JANET.replace("three", "25"),
        JANET.replace("three", "twenty-five"),
        JANET.replace("three", "one hundred and five"),
        JANET.replace("16", "1/2"),
        JANET.replace("eggs", "egg").replace("16", "1"),
    ],
)
def test_other_numbers_make_one_family(variant: str) -> None:
    assert family_hash(variant) == family_hash(JANET)
    assert statement_hash(variant) != statement_hash(JANET)


@pytest.mark.parametrize("stranger", [JANET.replace("ducks", "hens"), JANET.replace("eats", "sells"), "3 + 4"])
def test_other_words_make_another_family(stranger: str) -> None:
    assert family_hash(stranger) != family_hash(JANET)


def test_operators_tell_families_apart_and_numbers_do_not() -> None:
    assert masked_signature("Compute $3 + 4$.") == masked_signature("Compute $12 + 7$.") == "compute $ # + # $"
    assert masked_signature("Compute $3 - 4$.") == "compute $ # - # $"
    assert masked_signature("A 5-mile walk takes half an hour, twice a day") == (
        masked_signature("A 2.5 mile walk takes 3/4 an hour, 3 times a day")
    )


@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing_and_hashes_never_fail(text: str) -> None:
    once = normalise_statement(text)
    assert normalise_statement(once) == once
    assert [len(statement_hash(text)), len(family_hash(text))] == [32, 32]
    assert family_hash(once) == family_hash(text)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_any_two_integers_are_masked_alike(a: int, b: int) -> None:
    assert family_hash(f"Tom has {a:,} eggs.") == family_hash(f"Tom has {b} eggs.")


def test_a_lone_surrogate_still_has_an_identity() -> None:
    assert statement_hash("a\ud800b") == statement_hash("a\ud800b")
