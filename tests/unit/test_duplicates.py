"""Which problems repeat another, and which a test set: signatures, rules and what must not be flagged."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepmark.diversity import Diversity, diversity_of, operator_sequence
from stepmark.duplicates import (
    Duplicate,
    Overlap,
    TestSet,
    find_duplicates,
    jaccard,
    numbers_of,
    shingles,
    words_of,
)
from stepmark.problems import family_hash

EGGS = "Janet's 3 ducks lay 16 eggs per day and she eats two of them. How many eggs are left?"
LONG = (
    "A train leaves the old station at 9 with 120 people on board, and at each of the 4 stops along the river half "
    "of the people get off while 30 others get on, so that nobody knows how many are left. How many people arrive?"
)


def rules(*statements: str, threshold: float = 0.7) -> list[tuple[int, int, str]]:
    found = find_duplicates(enumerate(statements), threshold=threshold)
    return [(one.problem_id, one.kept_id, one.rule) for one in found]


def test_the_same_words_are_an_exact_duplicate_whatever_case_space_and_sentence_marks() -> None:
    assert rules(EGGS, EGGS.upper(), EGGS.replace(".", " ,\n")) == [(1, 0, "exact"), (2, 0, "exact")]


def test_numbers_written_otherwise_are_a_masked_duplicate() -> None:
    assert rules(EGGS, EGGS.replace("16", "sixteen").replace("two", "2")) == [(1, 0, "masked")]


def test_other_numbers_make_a_variant_and_no_duplicate() -> None:
    assert rules(EGGS, EGGS.replace("16", "17"), EGGS.replace("two", "three"), EGGS.replace("3", "2", 1)) == []
    assert rules(LONG, LONG.replace("120", "130")) == []
    assert rules("Tom has 3 eggs and 4 hens.", "Tom has 4 eggs and 3 hens.") == []


def test_almost_the_same_words_with_the_same_numbers_are_a_duplicate() -> None:
    other = LONG.replace("the old station", "the new station")
    (found,) = find_duplicates([(7, LONG), (9, other)])
    assert found == Duplicate(7 + 2, 7, "minhash", jaccard(shingles(words_of(LONG)), shingles(words_of(other))))
    assert 0.7 < found.similarity < 0.9
    assert find_duplicates([(7, LONG), (9, other)], threshold=0.95) == []


def test_signs_of_a_formula_are_no_sentence_marks() -> None:
    assert rules("Solve x - 2 = 5 for x.", "Solve x + 2 = 5 for x.", "Solve x / 2 = 5 for x.") == []


def test_a_duplicate_of_a_duplicate_is_told_from_the_one_that_is_kept() -> None:
    other = LONG.replace("the old station", "the new station")
    assert rules(LONG, other, other.upper()) == [(1, 0, "minhash"), (2, 0, "exact")]


@pytest.mark.parametrize("statements", [(), ("",), ("a",), ("?", "!")])
def test_few_and_empty_statements_do_no_harm(statements: tuple[str, ...]) -> None:
    assert all(rule == "exact" for _, _, rule in rules(*statements))


def test_numbers_are_read_in_order_in_one_spelling() -> None:
    assert numbers_of("1,000 and 1000.0, .5, 007, thirty-two, thrice") == ("1000", "1000", "1/2", "7", "32", "3")
    assert numbers_of("9" * 9999) == ("9" * 9999,)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_minhash_finds_what_comparing_every_pair_finds(seed: int) -> None:
    dice = random.Random(seed)
    vocabulary = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200)]
    texts: list[str] = []
    for _ in range(60):
        words = dice.choices(vocabulary, k=40)
        if texts and dice.random() < 0.5:
            words = dice.choice(texts).split()
            for _ in range(dice.randrange(4)):
                words[dice.randrange(40)] = dice.choice(vocabulary)
        texts.append(" ".join(words))
    kept: list[int] = []
    expected: list[int] = []
    for place, text in enumerate(texts):
        near = [k for k in kept if jaccard(shingles(text.split()), shingles(texts[k].split())) >= 0.7]
        (expected if near else kept).append(place)
    assert [place for place, _, _ in rules(*texts)] == expected


def test_thousands_of_variants_of_one_template_are_no_candidates_for_one_another() -> None:
    texts = [LONG.replace("120", str(number)) for number in range(1000, 4000)]
    assert rules(*texts, texts[5] + " Really?") == [(3000, 5, "minhash")]


# ------------------------------------------------------------ contamination


def overlap(test: list[str], statement: str) -> Overlap | None:
    test_set = TestSet()
    for number, one in enumerate(test):
        test_set.add(number, family_hash(one), one)
    return test_set.overlap(family_hash(statement), statement)


def test_a_problem_of_a_test_set_is_known_by_words_family_or_thirteen_words() -> None:
    test = ["What is 2 + 3?", LONG, EGGS]
    assert overlap(test, EGGS.lower()) == Overlap(2, "exact", len(words_of(EGGS)) - 12)
    assert overlap(test, "What is 7 + 9?") == Overlap(0, "family", 0)
    assert overlap(test, "Yesterday " + " ".join(LONG.split()[:13]).lower()) == Overlap(1, "13-gram", 1)
    assert overlap(test, "Yesterday " + " ".join(LONG.split()[:12]).lower()) is None


def test_a_phrase_of_many_test_problems_is_boilerplate() -> None:
    phrase = "Give the answer as a fraction in lowest terms and show all of your work."
    names = ["ann", "bob", "cat", "dan", "eve", "fay", "guy", "hal", "ida", "joe", "kim"]
    test = [f"{phrase} What has {name}?" for name in names]
    assert overlap(test[:10], f"{phrase} Who is tall?") == Overlap(0, "13-gram", 3)
    assert overlap(test, f"{phrase} Who is tall?") is None


# ------------------------------------------------------------ diversity


@pytest.mark.parametrize(
    ("step", "operators"),
    [
        ("3 + 4 = 7", "+"),
        ("(3 + 4) * 2 = 14 and 14-1=13", "+*-"),
        (r"$3 \times 4 = 12$ and \frac{12}{4} = 3", "*/"),
        ("5 × 4 ÷ 2 = 10", "*/"),
        ("$x^2 - 1$ = 0", "^-"),
        ("a well-known rule", ""),
    ],
)
def test_operators_are_those_left_of_an_equals_sign(step: str, operators: str) -> None:
    assert operator_sequence([step]) == operators


def test_diversity_counts_what_is_distinct() -> None:
    solutions = [("a b c d", "1,000", ["1 + 1 = 2"]), ("a b c d", "1000", ["2 + 2 = 4"]), ("x", None, ["2 * 2 = 4"])]
    assert diversity_of(solutions) == Diversity(3, n_texts=2, n_answers=1, n_operator_sequences=2, distinct_4=0.5)
