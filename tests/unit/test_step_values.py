"""What follows from the counts of rollouts: intervals, first errors, votes and consensus."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.step_values import START, Decision, StepValue, consensus, first_error, majority

FIXTURE = Path(__file__).parents[1] / "data" / "mr_gsm8k" / "verdicts.json"


@pytest.mark.parametrize("counts", [(0, 0), (-1, 8), (9, 8), (4, 8, 5), (0, 8, -1)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"these counts|more rollouts"):
        StepValue(*counts)


def test_the_interval_is_wilsons() -> None:
    # Wilson 1927: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), for 2 of 8 with z² = 3.8415:
    # (0.25 + 0.2401 ± 1.96 sqrt(0.1875/8 + 3.8415/256)) / 1.4802 = (0.4901 ± 0.3843) / 1.4802
    assert StepValue(2, 8).interval == pytest.approx((0.0715, 0.5907), abs=1e-4)
    assert StepValue(8, 8).interval[1] == 1.0


@given(n=st.integers(1, 300), data=st.data())
def test_the_interval_holds_the_share_and_is_never_a_point(n: int, data: st.DataObject) -> None:
    value = StepValue(data.draw(st.integers(0, n)), n)
    low, high = value.interval
    assert 0 <= low <= value.soft <= high <= 1
    assert high - low > 0


def values(*n_right: int, k: int = 8) -> dict[int, StepValue]:
    """Values of the start and of each step."""
    return {index: StepValue(n, k) for index, n in enumerate(n_right, START)}


@pytest.mark.parametrize(
    ("n_right", "hard", "relative"),
    [
        ((8, 8, 8), Decision(None), Decision(None)),
        ((8, 4, 0), Decision(1), Decision(0)),
        ((8, 7, 0), Decision(1), Decision(1)),
        ((5, 4, 4), Decision(None), Decision(None)),  # 4 / 5 is just enough
        ((4, 0, 3), Decision(0), Decision(0)),
        ((0, 0, 0), Decision(None, "unsolved"), Decision(None, "unsolved")),
        ((0, 2, 0), Decision(1), Decision(None, "unsolved")),
        ((0, 0, 2), Decision(None, "unsolved"), Decision(None, "unsolved")),
    ],
)
def test_the_first_error_by_either_rule(n_right: tuple[int, ...], hard: Decision, relative: Decision) -> None:
    found = values(*n_right)
    assert (first_error(found, 2), first_error(found, 2, rule="relative")) == (hard, relative)


def test_missing_values_decide_nothing() -> None:
    whole = values(8, 8, 8, 0)
    assert first_error({1: whole[1], 2: whole[2]}, 4) == Decision(2)
    assert first_error({2: whole[2]}, 4) == Decision(None, "values missing")
    assert first_error({START: whole[START], 1: whole[1]}, 4) == Decision(None, "values missing")
    assert first_error({1: whole[1], 2: whole[2]}, 4, rule="relative") == Decision(None, "values missing")
    assert first_error({START: StepValue(0, 8)}, 4) == Decision(None, "unsolved")


def test_a_vote_needs_one_that_leads() -> None:
    unreadable = Decision(None, "no step named")
    assert majority([Decision(2), Decision(1), Decision(2), unreadable, unreadable, unreadable]) == Decision(2)
    assert majority([Decision(None), Decision(None), Decision(1)]) == Decision(None)
    assert majority([Decision(0), Decision(None)]) == Decision(None, "tied")
    assert majority([unreadable]) == majority([]) == Decision(None, "no readable verdict")


DECISIONS = st.builds(Decision, st.none() | st.integers(0, 3)) | st.just(Decision(None, "unsolved"))


@given(DECISIONS, DECISIONS)
def test_a_consensus_is_what_both_say_or_nothing(rollouts: Decision, judge: Decision) -> None:
    found = consensus(rollouts, judge)
    agree = rollouts == judge and rollouts.undecided is None
    assert agree == (found.undecided is None)
    assert found == rollouts or not agree


def test_the_consensus_of_recorded_labellers_is_more_often_right_than_the_critic_alone() -> None:
    """Claude 2's first errors and GPT-4's word on them, against people's (MR-GSM8K, MIT; 258 wrong solutions).

    Where a reader rejects the critic's reason, he is taken to name no error. People accept 150 of the reasons, and
    GPT-4's word is theirs on 203 solutions, as the data's own card says.
    """
    kept: Counter[str] = Counter()
    for row in json.loads(FIXTURE.read_text(encoding="utf-8"))["rows"]:
        critic = Decision(row["critic_step"] - 1)
        judge = critic if row["judge_accepts_reason"] else Decision(None)
        truth = critic if row["human_accepts_reason"] else Decision(None)
        found = consensus(critic, judge)
        kept["all"] += 1
        kept["critic right"] += critic == truth
        kept["judge right"] += judge == truth
        kept["right"] += found == truth
        kept[found.undecided or "kept"] += 1
    assert kept == {
        "all": 258,
        "critic right": 150,
        "judge right": 203,
        "kept": 181,
        "only rollouts see an error": 77,
        "right": 138,  # 150 accepted by people, less the 12 of them that GPT-4 rejects: 203 = 138 + (77 - 12)
    }
    assert 138 / 181 > 150 / 258
