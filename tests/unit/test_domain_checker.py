"""The exact checker and the teacher: what one plants, the other finds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.domain import (
    DomainProblem,
    Kind,
    SolutionCheck,
    TaughtSolution,
    check_answer,
    check_solution,
    check_steps,
    draw_problem,
    draw_problems,
    draw_variant,
    parse_problem,
    read_step,
    teach,
    teach_misread,
    teach_with_misreadings,
)
from stepmark.steps import split_solution

problems = st.integers(0, 2**32).map(lambda seed: draw_problem(random.Random(seed)))


def problem_of(events: str, start: int = 9) -> DomainProblem:
    """Reads the problem that starts with so many nuts and goes on with these sentences."""
    problem = parse_problem(f"Mia has {start} nuts. {events} How many nuts are there now?")
    assert problem is not None
    return problem


def labels_up_to(first_error: int | None, n: int) -> tuple[int | None, ...]:
    """The labels of `n` steps of which `first_error` is the first wrong one."""
    if first_error is None or first_error >= n:
        return (1,) * n
    return (*[1] * first_error, -1, *[None] * (n - first_error - 1))


@given(problems)
def test_the_clean_solution_is_right_in_every_step(problem: DomainProblem) -> None:
    solution = teach(problem)
    assert check_solution(problem, solution.steps, solution.answer) == SolutionCheck(
        (1,) * len(solution.steps), outcome=True, fault=None
    )


@given(problems, st.integers(0, 2**32))
def test_every_planted_misreading_is_found_where_it_was_planted(problem: DomainProblem, seed: int) -> None:
    rates: dict[Kind, float] = {"bags": 0.7, "more": 0.7, "times": 0.7, "half": 0.7}
    solution = teach_with_misreadings(problem, random.Random(seed), rates)
    assert check_steps(problem, solution.steps) == labels_up_to(solution.first_error, len(solution.steps))
    check = check_solution(problem, solution.steps, solution.answer)
    assert check.is_right == (solution.first_error is None)
    assert check.fault == (None if solution.first_error is None else "rule")


@given(problems, st.data())
def test_a_planted_slip_is_found_and_nothing_after_it_is_labelled(
    problem: DomainProblem, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(problem.steps) - 1))
    slip = data.draw(st.integers(-3, 3).filter(bool))
    steps = list(problem.steps)
    equation = problem.equations[at]
    steps[at] = f"{equation.left} {equation.operator} {equation.right} = {max(equation.result + slip, 0)}"
    check = check_solution(problem, steps, problem.answer)
    assert check.step_labels == labels_up_to(at, len(steps))
    assert (check.fault, check.is_right_by_wrong_steps) == ("arithmetic", True)


@given(problems, st.data())
def test_a_step_left_out_shows_in_its_place(problem: DomainProblem, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(problem.steps) - 1))
    steps = [step for index, step in enumerate(problem.steps) if index != at]
    assert check_steps(problem, steps) == labels_up_to(at, len(steps))


@given(problems)
def test_a_step_too_many_is_wrong(problem: DomainProblem) -> None:
    check = check_solution(problem, [*problem.steps, f"{problem.answer} + 0 = {problem.answer}"], problem.answer)
    assert check.step_labels == (*[1] * len(problem.steps), -1)
    assert check.fault == "superfluous"


@given(problems, st.text().filter(lambda text: read_step(text) is None))
def test_a_step_that_is_no_equation_is_unreadable_and_wrong(problem: DomainProblem, text: str) -> None:
    check = check_solution(problem, [text, *problem.steps], problem.answer)
    assert check.step_labels == labels_up_to(0, len(problem.steps) + 1)
    assert (check.fault, check.outcome) == ("unreadable", True)


@pytest.mark.parametrize(
    ("events", "misread", "steps", "first_error"),
    [
        ("She buys 3 bags of 5 nuts.", {0}, ("9 + 5 = 14",), 0),
        ("Soon she has 3 times as many.", {0}, ("9 + 3 = 12",), 0),
        ("Soon she gets 2 times as many more. She loses 5 nuts.", {0}, ("9 * 2 = 18", "18 - 5 = 13"), 1),
        ("Soon she gets 2 times as many more.", {0}, ("9 * 2 = 18",), 1),
        ("She finds 7 nuts. She sells half of her nuts.", {1}, ("9 + 7 = 16", "16 - 2 = 14"), 1),
        ("She buys 3 bags of 5 nuts. She sells half of her nuts.", {0}, ("9 + 5 = 14", "14 / 2 = 7"), 0),
        ("Soon she has 2 times as many. She sells half of her nuts.", {0}, ("9 + 2 = 11", "11 / 2 = 5"), 0),
    ],
)
def test_the_misreadings_are_these(events: str, misread: set[int], steps: tuple[str, ...], first_error: int) -> None:
    solution = teach_misread(problem_of(events), frozenset(misread))
    assert solution == TaughtSolution(steps, steps[-1].rsplit(" ", 1)[1], first_error)


def test_what_nobody_misreads_cannot_be_misread() -> None:
    problem = problem_of("She finds 7 nuts.")
    assert teach_misread(problem, frozenset({0})) is None
    assert teach_with_misreadings(problem, random.Random(0), {"gain": 1.0}) == teach(problem)


def test_misreadings_that_lead_below_nothing_are_not_written() -> None:
    assert teach_misread(problem_of("Soon she has 3 times as many. She loses 13 nuts."), frozenset({0})) is None


def test_a_right_answer_by_a_wrong_step_is_labelled_by_the_wrong_step() -> None:
    problem = problem_of("She gives away half of the nuts. She finds 7 nuts.", start=4)
    check = check_solution(problem, ("4 - 2 = 2", "2 + 7 = 9"), "9")
    assert check == SolutionCheck((-1, None), outcome=True, fault="rule")
    assert check.is_right_by_wrong_steps


def test_a_variant_reveals_every_single_misreading() -> None:
    """One misread sentence never leads to a variant's answer: no lucky number survives the change."""
    rng, n_revealed, n_lucky = random.Random(11), 0, 0
    for problem in draw_problems(300, 11):
        variant = draw_variant(problem, rng)
        for index in range(len(problem.events)):
            original = teach_misread(problem, frozenset({index}))
            n_lucky += original is not None and original.answer == problem.answer
            solution = teach_misread(variant, frozenset({index}))
            if solution is not None:
                n_revealed += solution.answer != variant.answer
                assert solution.answer != variant.answer
    assert n_lucky > 0
    assert n_revealed > 300


def carry_over(solution: TaughtSolution, problem: DomainProblem, variant: DomainProblem) -> int:
    """Works a chain out on a variant: each operand stands for a number of the text, an earlier result or itself."""
    values = dict(zip(problem.numbers, variant.numbers, strict=True))
    result = variant.start
    for step in solution.steps:
        equation = read_step(step)
        assert equation is not None
        left, right = (values.get(side, side) for side in (equation.left, equation.right))
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[equation.operator]
        values.setdefault(equation.result, result)
    return result


@given(problems, st.integers(0, 2**32))
def test_a_right_chain_carried_over_reaches_the_variants_answer(problem: DomainProblem, seed: int) -> None:
    variant = draw_variant(problem, random.Random(seed))
    assert str(carry_over(teach(problem), problem, variant)) == variant.answer


def test_nearly_every_misread_chain_carried_over_misses_the_variants_answer() -> None:
    rng, missed = random.Random(12), list[bool]()
    for problem in draw_problems(300, 12):
        variant = draw_variant(problem, rng)
        solution = teach_with_misreadings(problem, rng)
        if solution.first_error is not None:
            missed.append(str(carry_over(solution, problem, variant)) != variant.answer)
    assert len(missed) > 100
    assert sum(missed) / len(missed) > 0.97


def test_an_answer_is_right_wrong_or_unknown() -> None:
    problem = problem_of("She finds 7 nuts.")
    assert [check_answer(problem, answer) for answer in ("16", " 16 ", "016", "15", "16 nuts", "", None)] == [
        True,
        True,
        True,
        False,
        None,
        None,
        None,
    ]


def test_a_chain_that_breaks_off_has_right_steps_and_a_wrong_answer() -> None:
    problem = problem_of("She finds 7 nuts. She loses 5 nuts.")
    assert check_solution(problem, ("9 + 7 = 16",), "16") == SolutionCheck((1,), outcome=False, fault=None)
    assert check_solution(problem, (), None) == SolutionCheck((), outcome=None, fault=None)


@pytest.mark.parametrize("step", ["9 + 7 = 16", "7 + 9 = 16", "9+7=16", " 9 + 7 = 16. "])
def test_a_step_may_be_written_in_small_ways_differently(step: str) -> None:
    assert check_steps(problem_of("She finds 7 nuts."), (step,)) == (1,)


@pytest.mark.parametrize("step", ["9 × 3 = 27", "3 * 9 = 27"])
def test_a_product_may_be_written_with_its_own_sign(step: str) -> None:
    assert check_steps(problem_of("Soon she has 3 times as many."), (step,)) == (1,)


def test_a_difference_may_not_be_turned_round() -> None:
    assert check_steps(problem_of("She loses 5 nuts."), ("5 - 9 = 4",)) == (-1,)


@given(problems, st.integers(0, 2**32))
def test_a_taught_solution_is_read_back_from_its_text(problem: DomainProblem, seed: int) -> None:
    solution = teach_with_misreadings(problem, random.Random(seed))
    split = split_solution(solution.text)
    assert (split.steps, split.answer) == (solution.steps, solution.answer)
