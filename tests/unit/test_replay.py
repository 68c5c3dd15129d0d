"""Chains of equations carried over to variants by program: exact where it answers, silent where it would guess."""

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.domain import draw_problems, draw_variant, teach, teach_misread
from stepmark.replay import evaluate, is_true, read_equations, replay, written

DUCKS = (
    "Janet's ducks lay {} eggs per day. She eats three for breakfast and bakes muffins with {}. "
    "She sells the rest for ${} per egg. How much does she make per day?"
)


def shown(step: str) -> list[tuple[Fraction | None, Fraction]] | None:
    equations = read_equations(step)
    return None if equations is None else [(evaluate(one.left), one.result.value) for one in equations]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("16 - 3 = 13", [(13, 13)]),
        ("16 eggs - 3 eggs = 13 eggs left.", [(13, 13)]),
        ("So she makes 9 * $2 = $<<9*2=18>>18.", [(18, 18)]),
        ("(16 − 3) × 2 ÷ 13 = 2", [(2, 2)]),
        ("2 x 1,500 = 3,000", [(3000, 3000)]),
        ("20% * 50 = 10, and 50 - 10 = 40", [(10, 10), (40, 40)]),
        (r"\(3 \times 4 = 12\)", [(12, 12)]),
        ("5 / 0 = 7", [(None, 7)]),
        ("She has 13 eggs.", []),
        ("x = 5", None),
        ("a = 2 + 3", None),
        ("12 / 4 = 3 * 2 = 6", None),
        ("2 + 3 = 5 * 1", None),
        ("5 >= 3", None),
        ("-3 + 5 = 2", None),
        ("((1 + 2) = 3", None),
        ("1" * 30 + " + 1 = 2", None),
        ("9 + 7 = 16 " * 400, None),
    ],
)
def test_equations_are_read_out_of_steps_or_the_step_is_refused(
    step: str, expected: list[tuple[int | None, int]] | None
) -> None:
    assert shown(step) == expected


@given(st.text("0123456789+-*/=().%x $a\n", max_size=60))
def test_no_step_makes_the_reader_fail(step: str) -> None:
    for equation in read_equations(step) or ():
        is_true(equation)


@given(st.fractions())
def test_a_written_number_is_the_number(value: Fraction) -> None:
    assert Fraction(written(value)) == value


def test_a_chain_in_words_is_carried_over() -> None:
    steps = ["16 - 3 = 13 eggs are left after breakfast.", "13 - 4 = 9 eggs to sell.", "She makes 9 * 2 = $18."]
    found = replay(DUCKS.format(16, 4, 2), steps, "$18", DUCKS.format(20, 5, 2.5))
    assert (found.answer, [step.text for step in found.carried]) == (
        "30",
        ["20 - 3 = 17", "17 - 5 = 12", "12 * 2.5 = 30"],
    )


@pytest.mark.parametrize(
    ("statement", "steps", "answer", "variant", "reason"),
    [
        (DUCKS.format(16, 3, 2), ["16 - 3 = 13"], "13", DUCKS.format(20, 4, 5), "ambiguous operand"),
        (DUCKS.format(16, 4, 13), ["16 - 3 = 13", "13 * 4 = 52"], "52", DUCKS.format(20, 5, 6), "ambiguous operand"),
        (DUCKS.format(16, 4, 2), ["16 - 5 = 11"], "11", DUCKS.format(20, 5, 6), "operand from nowhere"),
        (DUCKS.format(16, 4, 2), ["x = 16 - 4"], "12", DUCKS.format(20, 5, 6), "an equation that cannot be read"),
        (DUCKS.format(16, 4, 2), ["She eats some."], "12", DUCKS.format(20, 5, 6), "no equation"),
        (
            DUCKS.format(16, 4, 2),
            ["16 - 4 = 12"],
            "13",
            DUCKS.format(20, 5, 6),
            "an answer that is not the last result",
        ),
        (DUCKS.format(16, 4, 2), ["16 - 4 = 12"], None, DUCKS.format(20, 5, 6), "no answer that is a number"),
        (DUCKS.format(16, 4, 2), ["16 - 4 = 12"], "12", "Add 1 and 2.", "another number of numbers in the variant"),
        (
            "Take 5 from 9 cats.",
            ["9 - 5 = 4"],
            "4",
            "How many are 7 dogs less 2 mice?",
            "other words around the numbers of the variant",
        ),
        ("Share 8 nuts among 4.", ["8 / 4 = 2"], "2", "Share 6 nuts among 0.", "division by zero on the variant"),
    ],
)
def test_what_would_be_a_guess_is_refused_with_its_reason(
    statement: str, steps: list[str], answer: str | None, variant: str, reason: str
) -> None:
    found = replay(statement, steps, answer, variant)
    assert (found.reason, found.answer, found.wrong_step) == (reason, None, None)


def test_a_number_that_stands_twice_is_no_matter_where_both_become_the_same() -> None:
    assert replay(DUCKS.format(16, 3, 2), ["16 - 3 = 13"], "13", DUCKS.format(20, 3, 5)).answer == "17"


def test_a_constant_is_taken_only_where_a_word_of_the_problem_stands_for_it() -> None:
    half, whole = "Ann gives half of her {} nuts away.", "Ann gives some of her {} nuts away."
    assert replay(half.format(8), ["8 / 2 = 4"], "4", half.format(15)).answer == "7.5"
    assert replay(whole.format(8), ["8 / 2 = 4"], "4", whole.format(15)).reason == "operand from nowhere"


def test_arithmetic_that_is_wrong_as_it_stands_is_named() -> None:
    found = replay(DUCKS.format(16, 4, 2), ["16 - 3 = 13", "13 - 4 = 8"], "8", DUCKS.format(20, 5, 6))
    assert (found.wrong_step, found.answer, [step.text for step in found.carried]) == (1, None, ["20 - 3 = 17"])


def test_right_chains_of_the_embedded_domain_never_raise_a_false_alarm_and_misread_ones_are_exposed() -> None:
    rng = random.Random(4)
    n_right = n_wrong = n_exposed = 0
    for problem in draw_problems(60, 960):
        variant = draw_variant(problem, rng)
        found = replay(problem.statement, teach(problem).steps, problem.answer, variant.statement)
        assert found.answer in (variant.answer, None)
        n_right += found.answer is not None
        for n_misread in (1, 2):
            for misread in itertools.combinations(range(len(problem.events)), n_misread):
                solution = teach_misread(problem, frozenset(misread))
                if solution is None:
                    continue
                found = replay(problem.statement, solution.steps, solution.answer, variant.statement)
                n_wrong += found.answer is not None
                n_exposed += found.answer not in (None, variant.answer)
    assert n_right > 45
    assert n_wrong > 50
    assert n_exposed >= 0.9 * n_wrong
