"""Problems of the embedded domain: drawing, reading back, families and variants."""

import random
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.domain import (
    DomainProblem,
    Event,
    draw_problem,
    draw_problems,
    draw_variant,
    family_of,
    parse_problem,
    part_of,
)
from generator.domain.wordings import EVENTS, NAMES, OPENINGS, QUESTIONS, THINGS, fill
from stepmark.errors import JobError

problems = st.integers(0, 2**32).map(lambda seed: draw_problem(random.Random(seed)))

ALL_KINDS = DomainProblem(
    name="Mia",
    thing="nuts",
    opening=0,
    start=4,
    events=(
        Event("half", 0, ()),
        Event("gain", 0, (7,)),
        Event("bags", 0, (3, 5)),
        Event("more", 0, (2,)),
        Event("lose", 0, (12,)),
    ),
    question=0,
)


def test_a_problem_reads_as_written_here() -> None:
    assert ALL_KINDS.statement == (
        "Mia has 4 nuts. She gives away half of the nuts. She finds 7 nuts. She buys 3 bags of 5 nuts. "
        "Soon she gets 2 times as many more. She loses 12 nuts. How many nuts does Mia have now?"
    )
    assert ALL_KINDS.steps == (
        "4 / 2 = 2",
        "2 + 7 = 9",
        "3 * 5 = 15",
        "9 + 15 = 24",
        "24 * 2 = 48",
        "24 + 48 = 72",
        "72 - 12 = 60",
    )
    assert ALL_KINDS.answer == "60"
    assert ALL_KINDS.numbers == (4, 7, 3, 5, 2, 12)


@given(problems)
def test_a_problem_is_read_back_from_its_text_alone(problem: DomainProblem) -> None:
    assert parse_problem(problem.statement) == problem
    assert parse_problem(f"\n {problem.statement.replace('. ', '.  ')} \n") == problem


@given(problems)
def test_no_number_of_a_problem_stands_twice_or_appears_on_the_way(problem: DomainProblem) -> None:
    results = [equation.result for equation in problem.equations]
    everything = [*problem.numbers, *results]
    assert len(set(everything)) == len(everything)
    assert all(2 <= number <= 60 for number in everything)
    assert 3 <= len(problem.steps) <= 5
    if any(event.kind == "half" for event in problem.events):
        assert 2 not in problem.numbers


@given(problems)
def test_each_step_is_right_arithmetic(problem: DomainProblem) -> None:
    for equation in problem.equations:
        exact = {
            "+": equation.left + equation.right,
            "-": equation.left - equation.right,
            "*": equation.left * equation.right,
            "/": equation.left / equation.right,
        }
        assert equation.result == exact[equation.operator]


@given(problems, st.integers(0, 2**32))
def test_a_variant_keeps_the_sentences_and_changes_the_answer(problem: DomainProblem, seed: int) -> None:
    variant = draw_variant(problem, random.Random(seed))
    assert variant.family == problem.family
    assert variant.answer != problem.answer
    assert len(set(variant.numbers)) == len(variant.numbers)
    assert all(equation.left != 4 for equation in variant.equations if equation.operator == "/")


def test_variants_change_every_number_in_nearly_all_problems() -> None:
    rng = random.Random(5)
    drawn = draw_problems(200, 5)
    variants = [draw_variant(problem, rng) for problem in drawn]
    n_all_changed = sum(
        all(old != new for old, new in zip(problem.numbers, variant.numbers, strict=True))
        for problem, variant in zip(drawn, variants, strict=True)
    )
    assert n_all_changed >= 190


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mia has 9 nuts.",
        "How many nuts are there now?",
        "Mia has 9 nuts. How many nuts are there now?",
        "Mia has nine nuts. She loses 5 nuts. How many nuts are there now?",
        "Mia has 9 nuts. He loses 5 nuts. How many nuts are there now?",
        "Mia has 9 nuts. She loses 5 pens. How many nuts are there now?",
        "Mia has 9 nuts. She loses 5 nuts. How many pens are there now?",
        "Zoe has 9 nuts. She loses 5 nuts. How many nuts are there now?",
        "Mia has 9 nuts. She loses 5 nuts and a key. How many nuts are there now?",
        "Mia has 9 nuts. She loses # nuts. How many nuts are there now?",
        "Mia has 9 nuts. She loses 05 nuts. How many nuts are there now?",
        "Mia has 9 nuts. She finds 5000000000 nuts. How many nuts are there now?",
        "Mia has 9 nuts.. She loses 5 nuts. How many nuts are there now?",
        "Mia has 9 nuts. She loses 5 nuts. How many nuts are there now",
        "Mia has 9 nuts. She loses 10 nuts. How many nuts are there now?",
        "Mia has 9 nuts. She gives away half of the nuts. How many nuts are there now?",
    ],
)
def test_a_text_that_is_no_problem_of_the_domain_is_not_read(text: str) -> None:
    assert parse_problem(text) is None


@given(st.text())
def test_any_text_may_be_offered_for_reading(text: str) -> None:
    assert parse_problem(text) is None


def test_the_same_seed_draws_the_same_problems_and_another_seed_others() -> None:
    assert draw_problems(50, 3) == draw_problems(50, 3)
    assert {p.family for p in draw_problems(50, 3)}.isdisjoint(p.family for p in draw_problems(50, 4))


def test_no_family_is_drawn_twice_and_excluded_ones_not_at_all() -> None:
    first = [problem.family for problem in draw_problems(300, 7)]
    assert len(set(first)) == 300
    second = [problem.family for problem in draw_problems(300, 7, exclude_families=first)]
    assert set(first).isdisjoint(second)


def test_reserved_families_and_those_of_the_corpus_never_meet() -> None:
    reserved = {problem.family for problem in draw_problems(200, 1, part="reserved")}
    corpus = {problem.family for problem in draw_problems(200, 1, part="corpus")}
    assert {part_of(family) for family in reserved} == {"reserved"}
    assert {part_of(family) for family in corpus} == {"corpus"}
    share = sum(part_of(problem.family) == "reserved" for problem in draw_problems(1000, 2)) / 1000
    assert 0.25 < share < 0.35


def test_asking_for_more_families_than_can_be_found_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    only = draw_problem(random.Random(0))
    monkeypatch.setattr("generator.domain.problems.draw_problem", lambda rng: only)
    with pytest.raises(JobError, match="found only 1 of 2 problems"):
        draw_problems(2, 0)


def test_a_family_is_the_text_with_its_numbers_masked() -> None:
    assert family_of("Mia has 9  nuts.\nShe loses 12.") == "Mia has # nuts. She loses #."
    assert ALL_KINDS.family == family_of(ALL_KINDS.statement)


def test_no_two_sentences_read_alike() -> None:
    for name in NAMES:
        later = [fill(wording, name, "nuts", ("#", "#")) for wording in chain.from_iterable(EVENTS.values())]
        openings = [fill(wording, name, "nuts", ("#",)) for wording in OPENINGS]
        questions = [fill(wording, name, "nuts") for wording in QUESTIONS]
        sentences = later + openings + questions
        assert len(set(sentences)) == len(sentences)
    assert len(set(THINGS)) == len(THINGS)
