"""Rewards of exported tasks: what the verifier confirms earns one, and a row that cannot be judged raises."""

from typing import Any

import pytest

from stepmark.answers import compare_answers
from stepmark.errors import InputError
from stepmark.rewards import compute_score, grpo_reward, reward

RIGHT = "Step 1: 9 + 7 = 16\n\nStep 2: 16 - 2 = 14\n\n# Answer\n\n14"
CARRIED = "Step 1: 4 * 5 = 20\nStep 2: 3 + 20 = 23\nAnswer: 23\n"
PASSED = f"{CARRIED}First error: none\nVerdict: pass"
FAILED = "Step 1: 4 * 5 = 20\nStep 2: cannot be carried over: no 15 here.\nAnswer: none\nVerdict: fail"


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("completion", "truth", "expected"),
    [
        (RIGHT, "14", 1.0),
        (RIGHT, "14.0", 1.0),
        (RIGHT, "16", 0.0),  # a step's value is not the answer
        (r"so \boxed{\frac{1}{2}}", "0.5", 1.0),
        ("14", "14", 0.0),  # an answer that is not marked as one cannot be read
        ("", "14", 0.0),
        ("# Answer\n\n9**9**9**9", "14", 0.0),
        ("# Answer\n\n13\n\nNo.\n\n# Answer\n\n14", "14", 1.0),  # the last answer counts
    ],
)
def test_a_problem_to_solve_is_rewarded_for_the_answer_that_the_verifier_finds_right(
    completion: str, truth: str, expected: float
) -> None:
    assert reward("solve", completion, truth) == expected
    assert grpo_reward([completion, messages(completion)], task=["solve"] * 2, ground_truth=[truth] * 2) == [
        expected,
        expected,
    ]
    assert compute_score("stepmark/solve", completion, truth, {"id": "problem/1"}) == expected


@pytest.mark.parametrize(
    ("completion", "on_right", "on_wrong"),
    [
        (PASSED, 1.0, 0.0),
        (FAILED, 0.0, 1.0),
        ("Verdict: pass", 0.0, 0.0),  # read, not applied
        ("Step 1: 4 * 5 = 20\nAnswer: 23\nVerdict: pass", 0.0, 0.0),  # only one of two steps carried
        (f"{CARRIED}Verdict: maybe", 0.0, 0.0),
        (f"{CARRIED}First error: step 3\nVerdict: fail", 0.0, 0.0),  # there is no third step
        ("", 0.0, 0.0),
    ],
)
def test_a_solution_to_judge_is_rewarded_for_the_right_verdict_of_who_applied_it(
    completion: str, on_right: float, on_wrong: float
) -> None:
    about = {"id": "solution/4/on/3", "n_steps": 2}
    for truth, expected in (("pass", on_right), ("fail", on_wrong)):
        assert reward("judge", completion, truth, n_steps=2) == expected
        assert compute_score("stepmark/judge", completion, truth, about, threshold=0.5) == expected
    both = grpo_reward(
        [messages(completion)] * 2,
        task=["judge", "judge"],
        ground_truth=["pass", "fail"],
        n_steps=[2, 2],
        prompts=["?", "?"],
        trust=["outcome", "outcome"],
    )
    assert both == [on_right, on_wrong]


def test_both_tasks_stand_in_one_batch() -> None:
    rewards = grpo_reward(
        [messages(RIGHT), messages(PASSED)], task=["solve", "judge"], ground_truth=["14", "pass"], n_steps=[None, 2]
    )
    assert rewards == [1.0, 1.0]


def test_the_reward_is_what_the_answer_comparison_says_of_the_answer() -> None:
    for answer, truth in (("1,000", "1000"), ("50%", "50"), ("(1, 2)", r"\{1, 2\}"), ("x + 1", "1 + x")):
        expected = compare_answers(answer, truth).result == "correct"
        assert reward("solve", f"# Answer\n\n{answer}", truth) == float(expected)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"task": "guess"}, "task is 'guess'; rows of `stepmark export rl` have one of: solve, judge"),
        ({"task": None}, "task is None; rows of"),
        ({"ground_truth": None}, "ground_truth is None, so nothing can be right; leave such rows out"),
        ({"ground_truth": " "}, "ground_truth is ' ', so nothing can be right"),
        ({"ground_truth": 14}, "ground_truth is 14, so nothing can be right"),
        (
            {"task": "judge", "ground_truth": "right"},
            "ground_truth of a solution to judge is 'right'; it must be pass or fail",
        ),
        ({"task": "judge", "ground_truth": "pass"}, "n_steps of a solution to judge is None; export the set again"),
        ({"task": "judge", "ground_truth": "pass", "n_steps": 0}, "n_steps of a solution to judge is 0"),
        ({"completion": [{"role": "assistant"}]}, "it must be a text, or messages"),
        ({"completion": []}, "a completion is []; it must be a text, or messages"),
    ],
)
def test_a_row_that_cannot_be_rewarded_raises_and_is_named(row: dict[str, Any], said: str) -> None:
    whole = {"completion": RIGHT, "task": "solve", "ground_truth": "14", "n_steps": None, "id": "problem/7"} | row
    columns = {name: [value] for name, value in whole.items() if name != "completion"}
    with pytest.raises(InputError) as caught:
        grpo_reward([whole["completion"]], **columns)
    assert str(caught.value).startswith("row problem/7: ")
    assert said in str(caught.value)
    del columns["id"]
    with pytest.raises(InputError, match=r"^row number 0 of the batch: "):
        grpo_reward([whole["completion"]], **columns)


def test_verl_hands_over_a_data_source_that_must_be_known() -> None:
    with pytest.raises(
        InputError, match=r"^row problem/7: data_source is 'gsm8k'; .* stepmark/solve, stepmark/judge"
    ):
        compute_score("gsm8k", RIGHT, "14", {"id": "problem/7"})
    with pytest.raises(InputError, match=r"^ground_truth is None"):
        compute_score("stepmark/solve", RIGHT, None)
