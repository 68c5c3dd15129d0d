"""A judge's verdicts and votes: what is read, what decides, and what its audit shows."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.intervals import Share, share, spearman
from stepmark.judging import (
    Choice,
    JudgedPair,
    Judgement,
    draw_pairs,
    majority,
    read_verdict,
    report_judge,
)

VOTES = st.lists(st.sampled_from(["a", "b", "equal", None]), min_size=1, max_size=7).map(tuple)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Verdict: A", "first"),
        ("... so B slips.\nVerdict: b.", "second"),
        ("verdict: TIE\n\n", "tie"),
        ("### **Verdict: B**", "second"),
        ("**Verdict:** A", "first"),
        ("Verdict: [[B]]\n```\n---", "second"),
        (r"Final verdict: \boxed{\text{A}}", "first"),
        ("My verdict is solution A.", "first"),
        ("Verdict: B\nVerdict: A", "first"),
        ("Verdict: A, since it is right", None),
        ("Verdict: A\n\nThe reasons: it is right", None),
        ("Verdict: A or B", None),
        ("Verdict: C", None),
        ("Verdict:", None),
        ("Verdict: A/B/tie", None),
        ("A", None),
        ("I will not compare them.", None),
        ("The verdict: tied", None),
        ("Averdict: A", None),
        ("", None),
    ],
)
def test_a_verdict_is_the_last_line_or_none(text: str, verdict: str | None) -> None:
    assert read_verdict(text) == verdict


@given(rationale=st.text(max_size=200), verdict=st.sampled_from([("A", "first"), ("B", "second"), ("tie", "tie")]))
def test_whatever_the_rationale_says_the_last_line_decides(rationale: str, verdict: tuple[str, str]) -> None:
    word, place = verdict
    assert read_verdict(f"{rationale}\nVerdict: {word}") == place
    assert read_verdict(f"Verdict: {word}\n{rationale}\nword") is None


@given(VOTES)
def test_a_majority_is_what_no_other_choice_has_as_many_votes_for(votes: tuple[Choice | None, ...]) -> None:
    counts = {choice: votes.count(choice) for choice in ("a", "b", "equal") if choice in votes}
    best = [choice for choice, n in counts.items() if n == max(counts.values())]
    assert majority(votes) == (None if not best else best[0] if len(best) == 1 else "equal")


@given(VOTES, VOTES)
def test_a_pair_told_the_other_way_round_is_judged_the_other_way_round(
    forth: tuple[Choice | None, ...], back: tuple[Choice | None, ...]
) -> None:
    other: dict[Choice | None, Choice | None] = {"a": "b", "b": "a", "equal": "equal", None: None}
    turned = Judgement(tuple(other[vote] for vote in back), tuple(other[vote] for vote in forth))
    judgement = Judgement(forth, back)
    assert turned.choice == other[judgement.choice]
    assert (turned.is_flip, turned.n_unreadable) == (judgement.is_flip, judgement.n_unreadable)


@pytest.mark.parametrize(
    ("forth", "back", "choice", "is_flip"),
    [
        ("aab", "aaa", "a", False),
        ("bbb", "b..", "b", False),
        ("aaa", "bbb", "equal", True),
        ("aaa", "===", "equal", True),
        ("ab.", "===", "equal", False),
        ("aaa", "...", None, False),
    ],
)
def test_orders_that_disagree_are_a_tie_and_an_unreadable_one_is_none(
    forth: str, back: str, choice: Choice | None, is_flip: bool
) -> None:
    marks: dict[str, Choice | None] = {"a": "a", "b": "b", "=": "equal", ".": None}
    judgement = Judgement(tuple(marks[mark] for mark in forth), tuple(marks[mark] for mark in back))
    assert (judgement.choice, judgement.is_flip) == (choice, is_flip)


@given(
    outcomes=st.lists(st.sampled_from([True, False, None]), max_size=9),
    most=st.integers(1, 40),
    seed=st.integers(0, 50),
)
def test_pairs_are_drawn_from_all_of_the_rule_and_from_no_others(
    outcomes: list[bool | None], most: int, seed: int
) -> None:
    every = [(i, j) for j in range(len(outcomes)) for i in range(j)]
    known = [(i, j) for i, j in every if outcomes[i] is not None and outcomes[j] is not None]
    allowed = {
        "random": every,
        "outcome": [(i, j) for i, j in known if outcomes[i] != outcomes[j]],
        "near": [(i, j) for i, j in known if outcomes[i] == outcomes[j]],
    }
    for rule in ("random", "outcome", "near"):
        drawn = draw_pairs(outcomes, rule, most=most, seed=str(seed))
        assert len(set(drawn)) == len(drawn) == min(most, len(allowed[rule]))
        assert set(drawn) <= set(allowed[rule])
        assert drawn == draw_pairs(outcomes, rule, most=most, seed=str(seed))


def test_every_pair_is_as_likely_to_be_drawn() -> None:
    drawn = [draw_pairs([None] * 5, "random", most=1, seed=str(seed))[0] for seed in range(4000)]
    counts = [drawn.count((i, j)) for j in range(5) for i in range(j)]
    assert sum(counts) == 4000
    assert all(abs(count - 400) < 5 * math.sqrt(400 * 0.9) for count in counts)


# ------------------------------------------------------------ the audit


def judged(
    n: int, *, right: float, first: float, longer: float, seed: int = 0, votes: int = 1
) -> Sequence[JudgedPair]:
    """Pairs judged by one who goes by what is right, by place, by length in these shares, else by a coin."""
    dice = random.Random(seed)
    pairs = []
    for _ in range(n):
        lengths = dice.randrange(100, 900), dice.randrange(100, 900)
        outcomes = dice.random() < 0.5, dice.random() < 0.5

        def vote(*, a_first: bool) -> Choice:
            lot = dice.random()
            if lot < right:
                knows = outcomes[0] != outcomes[1]  # noqa: B023
                return dice.choice(["a", "b"]) if not knows else "a" if outcomes[0] else "b"  # noqa: B023
            if lot < right + first:
                return "a" if a_first else "b"
            if lot < right + first + longer:
                return "a" if lengths[0] > lengths[1] else "b"  # noqa: B023
            return dice.choice(["a", "b"])

        judgement = Judgement(
            tuple(vote(a_first=True) for _ in range(votes)), tuple(vote(a_first=False) for _ in range(votes))
        )
        assert judgement.choice is not None
        pairs.append(JudgedPair(judgement.choice, judgement, lengths, outcomes, (None, None)))
    return pairs


def test_a_judge_that_goes_by_place_is_seen_to() -> None:
    report = report_judge("j", "m", judged(2000, right=0, first=0.4, longer=0))
    # It takes the first by place in 0.4, by the coin in half of the rest.
    assert report.first_position.low < 0.7 < report.first_position.high
    # One order takes the first in 0.7; the orders agree where one takes the first and the other the second.
    assert report.flips.low < 0.7**2 + 0.3**2 < report.flips.high
    assert report.n_ties == report.flips.n_yes
    assert report.outcomes.low < 0.5 < report.outcomes.high
    assert report.length.low < 0 < report.length.high


def test_a_judge_that_goes_by_length_is_seen_to_within_equal_outcomes_too() -> None:
    report = report_judge("j", "m", judged(2000, right=0.3, first=0, longer=0.6))
    assert report.length.low > 0.3
    assert report.length_same_outcome.low > 0.3
    assert report.length_same_outcome.n < report.length.n == 2000
    assert report.first_position.low < 0.5 < report.first_position.high


def test_a_judge_that_knows_what_is_right_is_seen_to() -> None:
    report = report_judge("j", "m", judged(2000, right=1, first=0, longer=0))
    assert report.outcomes == share(report.outcomes.n, report.outcomes.n)
    assert (report.n_ties_of_outcomes, report.outcomes.n > 800) == (0, True)


def test_what_people_said_and_who_wrote_a_solution_is_counted() -> None:
    yes: Judgement = Judgement(("a", None), ("a", "a"))
    tie: Judgement = Judgement(("a", "a"), ("b", "b"))
    pairs = [
        JudgedPair("a", yes, (10, 20), (True, True), ("org/Qwen3-8B", "gpt-4o"), ("a", "b")),
        JudgedPair("a", yes, (10, 20), (True, False), ("gpt-4o", "Qwen2.5"), ("a",)),
        JudgedPair("equal", tie, (10, 20), (True, False), ("gpt-4o", "Qwen2.5"), ("equal",)),
        JudgedPair("a", yes, (10, 20), (None, False), ("Qwen2.5", "Qwen3"), ()),
        JudgedPair("a", yes, (10, 20), (None, None), ("Qwen2.5", None), ()),
    ]
    report = report_judge("j", "Qwen/Qwen2.5-72B", pairs)
    assert (report.n_pairs, report.n_ties) == (5, 1)
    assert (report.people.n_yes, report.people.n) == (3, 4)
    assert (report.own.n_yes, report.own.n) == (1, 2)
    assert (report.own_same_outcome.n_yes, report.own_same_outcome.n) == (1, 1)
    assert (report.unreadable.n_yes, report.unreadable.n) == (4, 20)
    assert (report.outcomes.n_yes, report.outcomes.n, report.n_ties_of_outcomes) == (1, 1, 1)
    assert (report.flips.n_yes, report.flips.n) == (1, 5)


@given(n=st.integers(1, 400), data=st.data())
def test_wilsons_interval_solves_its_equation(n: int, data: st.DataObject) -> None:
    n_yes = data.draw(st.integers(0, n))
    found = share(n_yes, n)
    assert found.value == n_yes / n
    assert 0 <= found.low <= found.value <= found.high <= 1
    for end in (found.low, found.high):
        if 0 < end < 1:
            assert abs(found.value - end) == pytest.approx(1.959963984540054 * math.sqrt(end * (1 - end) / n))
    assert share(n - n_yes, n) == Share(
        n - n_yes, n, (n - n_yes) / n, pytest.approx(1 - found.high), pytest.approx(1 - found.low)
    )


def test_spearmans_correlation_takes_ranks_with_ties_at_their_mean() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    assert spearman([1, 5, 5, 9], [1, 2, 3, 4]).value == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman([1, 2, 3, 4, 5], [3, 2, 1, 0, -7]).value == -1
    assert (spearman([], []).value, spearman([1], [1]).value) == (None, None)


def test_the_interval_of_a_correlation_holds_the_true_one_about_as_often_as_it_says() -> None:
    n_held, true = 0, 6 / math.pi * math.asin(0.5 / 2)  # Spearman's of a normal pair with Pearson's 0.5
    for seed in range(300):
        dice = random.Random(seed)
        left = [dice.gauss(0, 1) for _ in range(60)]
        right = [0.5 * x + math.sqrt(0.75) * dice.gauss(0, 1) for x in left]
        found = spearman(left, right)
        n_held += found.low <= true <= found.high
    assert 275 <= n_held <= 296
