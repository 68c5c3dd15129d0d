"""Chains carried in the small critic's notation, planted wrong chains, and drills."""

import random

import pytest

from generator.domain import DomainProblem, check_solution, draw_problems, draw_variant
from generator.domain.carrying import carry_chain, critic_question, verdict_of_carried
from generator.domain.drills import draw_drill
from generator.domain.planted import PlantedKind, plant
from stepmark.errors import JobError
from stepmark.flows.experiments.backtracking import Attempt, Pool, use_the_critic
from stepmark.replay import replay

RIGHT_IN_THE_END: tuple[PlantedKind, ...] = ("overfit", "fudged", "leaked")


def _with_variants(n: int) -> list[tuple[DomainProblem, DomainProblem]]:
    rng, found = random.Random(1), []
    for problem in draw_problems(n, 3900, part="reserved"):
        try:
            found.append((problem, draw_variant(problem, rng)))
        except JobError:
            continue  # a few problems have none
    return found


def test_a_right_chain_is_carried_to_the_variants_answer() -> None:
    for problem, variant in _with_variants(60):
        carried = carry_chain(problem.statement, problem.steps, problem.answer, variant.statement)
        assert carried.answer == variant.answer
        assert verdict_of_carried(carried.text, variant.answer) == "pass"


@pytest.mark.parametrize("kind", ["overfit", "corrupted"])
def test_a_wrong_rule_is_carried_to_where_the_replay_by_program_leads(kind: PlantedKind) -> None:
    n_compared = 0
    for problem, variant in _with_variants(60):
        made = plant(kind, problem, random.Random(2))
        if made is None:
            continue
        carried = carry_chain(problem.statement, made.steps, made.answer, variant.statement)
        found = replay(problem.statement, made.steps, made.answer, variant.statement)
        if carried.answer is not None and found.answer is not None:
            assert carried.answer == found.answer  # the replay refuses more: a `week` may stand for 7
            n_compared += 1
    assert n_compared > 20


@pytest.mark.parametrize("kind", ["overfit", "fudged", "slip", "corrupted", "leaked"])
def test_planted_chains_are_wrong_by_the_checker_and_end_as_their_kind_says(kind: PlantedKind) -> None:
    n_made = 0
    for problem, _ in _with_variants(40):
        made = plant(kind, problem, random.Random(3))
        if made is None:
            continue
        n_made += 1
        found = check_solution(problem, made.steps, made.answer)
        assert found.step_labels[made.first_error or 0] == -1
        assert found.outcome is (kind in RIGHT_IN_THE_END)
        assert found.fault == ("arithmetic" if kind == "slip" else "rule")
    assert n_made > 20


def test_a_slip_shows_as_a_number_from_nowhere() -> None:
    carried = carry_chain("9 and 7.", ["9 + 7 = 15", "15 - 7 = 8"], "8", "4 and 3.")
    assert carried.text == "Step 1: 9 + 7 = 16>4 + 3 = 7\n\nStep 2: 15 - 7 = 8>?"
    assert verdict_of_carried(carried.text, "4") == "not carried"


def test_a_number_that_stands_in_two_places_is_not_guessed() -> None:
    carried = carry_chain("9 and 9.", ["9 + 9 = 18"], "18", "4 and 3.")
    assert (carried.text, carried.is_ambiguous) == ("Step 1: 9 + 9 = 18>?", True)


def test_a_variant_with_other_words_is_refused() -> None:
    with pytest.raises(ValueError, match="other words"):
        critic_question("9 and 7.", [], None, "4 or 3.")


def test_drills_are_carried_to_their_end_where_nothing_rests_on_a_fault() -> None:
    rng, n_stopped = random.Random(4), 0
    for _ in range(200):
        drill = draw_drill(rng)
        carried = carry_chain(drill.statement, drill.steps, drill.answer, drill.variant)
        assert drill.has_fault or carried.answer is not None
        assert not carried.is_ambiguous
        n_stopped += carried.answer is None
    assert 60 < n_stopped < 140


def test_the_critic_is_told_no_words() -> None:
    for problem, variant in _with_variants(20):
        asked = critic_question(problem.statement, problem.steps, problem.answer, variant.statement)
        pairs, *_ = asked.split("\n")
        assert not any(letter.isalpha() for letter in pairs)


def test_a_rejected_attempt_costs_its_tokens_and_the_next_one_answers() -> None:
    def attempt(answer: str, reached: str) -> Attempt:
        return Attempt(answer, 30, 0.5, tuple((f"# Answer\n\n1>{reached}", 50) for _ in range(3)))

    pool = Pool("14", (attempt("13", "8"), attempt("14", "9")), ("9", "9", "9"), (("9", 150),) * 3)
    used = use_the_critic([pool], n_tries=2)
    known = {point["n"]: point for point in used["critic, answers known"]}
    assert (known[1]["accuracy"].value, known[1]["tokens"]) == (0.0, 80.0)
    assert (known[2]["accuracy"].value, known[2]["tokens"]) == (1.0, 160.0)
    assert used["critic, answers voted"][1]["tokens"] == 160.0 + 150.0
    assert used["critic, known, adaptive"][1]["tokens"] == 260.0
    assert used["majority"][1]["accuracy"].value == 0.0
