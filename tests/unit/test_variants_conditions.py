"""What a variant must hold to, the numbers of a statement, and statements with places."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.variants.backward import find_once
from stepmark.errors import InputError
from stepmark.variants import (
    Posed,
    count_numbers,
    find_numbers,
    is_near_duplicate,
    parse_template,
    refuse_new_numbers,
    refuse_new_words,
    render_number,
)

PARENT = Posed("Tom has 12 eggs and buys 3 boxes of 6. How many eggs has he now?", "30")
TEXT = "Tom has {} eggs and buys {} boxes of {}. How many eggs has he now?"


@pytest.mark.parametrize(
    ("statement", "answer", "refusal"),
    [
        (TEXT.format(20, 4, 5), "40", None),
        (TEXT.format("twenty", 4, "1,005"), "4040", None),
        ("Tom has 12  eggs and buys 3 boxes of 6. How many eggs has he now ?", "31", "statement_unchanged"),
        (TEXT.format(20, 4, 5).replace("Tom", "Ann"), "40", "not_derived"),
        (TEXT.format(20, 4, 5) + " The answer is 40.", "40", "not_derived"),
        (TEXT.format(20, 4, 5), "many", "answer_unreadable"),
        (TEXT.format(20, 4, 5), "40.5", "answer_not_whole"),
        (TEXT.format(20, 4, 5), "0", "answer_not_positive"),
        (TEXT.format(20, 4, 5), "1000001", "answer_too_large"),
        (TEXT.format(10, 4, 5), "30.0", "answer_unchanged"),
        (TEXT.format(20, 4, 4), "36", "numbers_equal"),
        (TEXT.format(21, 4, 5), "41", "duplicate"),
    ],
)
def test_new_numbers_are_refused_by_the_first_condition_they_break(
    statement: str, answer: str, refusal: str | None
) -> None:
    known = [TEXT.format("21", "four", 5)]
    assert refuse_new_numbers(PARENT, Posed(statement, answer), known=known) == refusal


def test_what_the_parent_does_not_hold_to_its_variant_need_not_either() -> None:
    parent = Posed("Split 7 by 7 and take 3 away. What is it?", "-2000000.5")
    assert refuse_new_numbers(parent, Posed("Split 8 by 8 and take 5 away. What is it?", "-4000000.25")) is None
    assert (
        refuse_new_numbers(parent, Posed("Split 1 by 3 and take 5 away. What is it?", "-14/3"))
        == "answer_not_decimal"
    )


@pytest.mark.parametrize(
    ("variant", "refusal"),
    [
        ("Of 12 eggs Tom boils half. He then buys twice 3. How many has he?", None),
        ("Tom owns a dozen eggs: 12. Half are boiled, and 3 doubled are bought. How many?", "numbers_changed"),
        ("Tom, 12 eggs, half boiled; buys 3, doubled. How many are there? Answer: count them.", "leak"),
        ("Tom has 12 eggs, boils half of them and buys twice 4. How many has he?", "numbers_changed"),
        ("Tom has 12 eggs, boils half of them and buys twice  3. How many has he?", "statement_unchanged"),
        ("He has 12 eggs and boils half of those; 3 are bought twice. How many?", "duplicate"),
    ],
)
def test_new_words_keep_the_numbers_and_tell_nothing(variant: str, refusal: str | None) -> None:
    parent = "Tom has 12 eggs, boils half of them and buys twice 3. How many has he?"
    known = ["He has twelve eggs and boils half of those, 3 are bought twice. How many?".replace(",", ";")]
    assert refuse_new_words(parent, variant, known=known) == refusal


def test_numbers_are_found_in_digits_and_words() -> None:
    text = "Twenty-five of 1,250 (or 3/4) cost $2.50, 1 1/2 or .5 each; one doubles two hundred and five, 4-inch 50%."
    assert [(number.text, number.value) for number in find_numbers(text)] == [
        ("Twenty-five", 25),
        ("1,250", 1250),
        ("3/4", Fraction(3, 4)),
        ("2.50", Fraction(5, 2)),
        ("1 1/2", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("one", 1),
        ("doubles", 2),
        ("two hundred and five", 205),
        ("4", 4),
        ("50", 50),
    ]
    assert count_numbers("One of 1 or two of 2") == Counter({Fraction(1): 1, Fraction(2): 2})


@given(st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**4), st.booleans())
def test_a_number_is_written_as_it_is_read(value: Fraction, has_commas: bool) -> None:
    (found,) = find_numbers(render_number(abs(value), has_commas=has_commas and value.denominator == 1))
    assert found.value == abs(value)


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3))
def test_a_template_reads_what_it_fills(numbers: list[int]) -> None:
    template = parse_template("{a} eggs at ${b}, of {c}: {a} again, {not a place}.")
    original = template.read("7 eggs at $2.50, of 3,000: 7 again, {not a place}.")
    assert original is not None
    values = dict(zip("abc", map(Fraction, numbers), strict=True))
    read = template.read(template.fill(values, original))
    assert read is not None
    assert {name: number.value for name, number in read.items()} == values


@pytest.mark.parametrize(
    "statement",
    [
        "Tom has some eggs of 3.",
        "Tom has 5 eggs of 3. More",
        "Ann has 5 eggs of 3.",
        "Tom has 5 6 eggs of 3.",
        "Tom has {n} eggs of 3.",
    ],
)
def test_a_statement_of_another_form_is_not_read(statement: str) -> None:
    assert parse_template("Tom has {n} eggs of 3.").read(statement) is None


def test_two_places_of_one_name_take_one_number() -> None:
    template = parse_template("{n} and {n}")
    assert template.read("5 and 6") is None
    found = template.read("5 and 5")
    assert found is not None
    assert found["n"].value == 5


def test_a_hostile_template_is_read_in_linear_time() -> None:
    template = parse_template("".join(f"{{p{number}}}" for number in range(30)))
    assert template.read("1" * 19_000) is None
    assert parse_template("{a}{b} {a}").read("1" * 19_000 + " x") is None
    for text in ("no place", " ".join(f"{{p{number}}}" for number in range(31)), "{n}" + "x" * 20_000):
        with pytest.raises(InputError):
            parse_template(text)


def test_near_duplicates_have_the_same_words_and_the_same_numbers_in_order() -> None:
    assert is_near_duplicate("Two eggs and 3 hens.", ["x", "2 eggs, and three hens"]) is True
    assert is_near_duplicate("Two eggs and 3 hens.", ["3 eggs and 2 hens."]) is False


def test_only_numbers_that_stand_once_and_alone_are_hidden() -> None:
    text = "On the 4th of 7 days, in 7 hours, A5 ran 2.5 km, $30, 1/2, 40% and 3-inch, six, 6 and 12km."
    assert [number.text for number in find_once(text)] == ["2.5", "30", "1/2", "40", "3"]
