"""Judges beside people: kappa by hand, a planted bias recovered, and critiques judged by both."""

import random
from dataclasses import replace

import pytest

from stepmark.agreement.judges import (
    ChoiceReport,
    GivenChoice,
    JudgedCritique,
    compare_choices,
    report_critique_judges,
)
from stepmark.agreement.kappa import cohen_kappa_of_labels
from stepmark.intervals import share
from stepmark.judging import Choice, Judgement

OTHER: dict[Choice, Choice] = {"a": "b", "b": "a", "equal": "equal"}


def test_kappa_of_labels_is_the_tables_and_its_interval_draws_whole_groups() -> None:
    # The table of `cohen_kappa`'s own example, 20, 5, 10, 15: kappa 0.4.
    first = [0] * 25 + [1] * 25
    second = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    alone = cohen_kappa_of_labels(first, second, 2, resamples=2000)
    assert alone.value == pytest.approx(0.4)
    assert alone.n_units == 50
    # The asymptotic standard error (Fleiss, Cohen & Everitt 1969) is 0.126, so the interval is about 0.4 +- 0.25.
    assert alone.low == pytest.approx(0.4 - 0.25, abs=0.04)
    assert alone.high == pytest.approx(0.4 + 0.25, abs=0.04)
    # Each unit told four times in groups of its own tells nothing more.
    four = cohen_kappa_of_labels(first * 4, second * 4, 2, groups=[*range(50)] * 4, resamples=2000)
    assert (four.low, four.high) == (pytest.approx(alone.low, abs=0.03), pytest.approx(alone.high, abs=0.03))
    assert cohen_kappa_of_labels([1, 1], [1, 1], 2).value is None
    assert cohen_kappa_of_labels([], [], 2).n_units == 0


def person(name: str, choices: str, *, first: int = 0) -> list[GivenChoice]:
    words: dict[str, Choice] = {"a": "a", "b": "b", "=": "equal"}
    return [
        GivenChoice(name, True, (first + 2 * n, first + 2 * n + 1), n, words[one], (10, 20 if n % 2 else 10))
        for n, one in enumerate(choices)
    ]


def test_a_judge_stands_beside_people_and_people_beside_each_other_on_the_same_pairs() -> None:
    judge = [replace(one, labeller="judge", is_person=False) for one in person("", "aab=")]
    people = [*person("p1", "aabbab"), *person("p2", "aab=bb"), *person("p3", "aba")]
    report = compare_choices([*judge, *people], resamples=0)
    (beside,) = report.judges
    # With p1: 3 of 4 alike; with p2: 4 of 4; with p3: 1 of 3.
    assert (beside.with_a_person.n_things, beside.with_a_person.same.n_yes) == (11, 8)
    # Of these neither tied: p1's three, p2's three, p3's three.
    assert (beside.with_a_person.decided.n_yes, beside.with_a_person.decided.n) == (7, 9)
    # Most say a, a, b, and a draw of b and a tie; which is a tie.
    assert (beside.with_most_people.same.n_yes, beside.with_most_people.n_things) == (4, 4)
    assert beside.with_most_people.kappa.value == pytest.approx(1)
    # On the judge's pairs p1 and p2 share 4 (3 alike), each of them 3 with p3 (1 alike); on all, 2 more (1 alike).
    assert (beside.people.same.n_yes, beside.people.n_things) == (5, 10)
    assert (report.people.same.n_yes, report.people.n_things) == (6, 12)
    assert [(one.first, one.second) for one in report.each_two] == [
        ("p1", "p2"), ("p1", "p3"), ("p1", "judge"), ("p2", "p3"), ("p2", "judge"), ("p3", "judge"),
    ]  # fmt: skip
    habits = {one.labeller: one for one in report.habits}
    assert list(habits) == ["p1", "p2", "p3", "judge"]
    # Only b of pairs 1, 3, 5 is longer; p1 took b of 3 and of 5, and a of 1.
    assert habits["p1"].longer == share(2, 3)
    assert (habits["p2"].ties, habits["judge"].ties) == (share(1, 6), share(1, 4))
    assert (habits["p1"].flips.n, habits["judge"].flips.n) == (0, 0)


def test_without_a_common_pair_no_judge_stands_beside_people() -> None:
    judge = [replace(one, labeller="judge", is_person=False) for one in person("", "ab", first=100)]
    report = compare_choices([*judge, *person("p1", "ab")])
    assert report.judges == ()
    assert report.people.n_things == 0
    assert report.people.kappa.value is None
    assert compare_choices([]) == ChoiceReport((), (), report.people, ())


def test_the_last_of_several_choices_of_one_pair_counts() -> None:
    report = compare_choices([*person("p1", "aa"), *person("p1", "b"), *person("p2", "ba")], resamples=0)
    assert report.people.same == share(2, 2)


def judged_by(
    *, first: float, longer: float, knows: float, n: int, seed: int, noise: float = 0.1
) -> list[GivenChoice]:
    """A judge who goes by place, by length, by what is better in these shares, else by a coin; and two people.

    People know which is better, and err in a share `noise`.
    """
    dice = random.Random(seed)
    given = []
    for number in range(n):
        lengths = dice.randrange(100, 900), dice.randrange(100, 900)
        better: Choice = dice.choice(["a", "b"])

        def vote(*, a_first: bool) -> Choice:
            lot = dice.random()
            if lot < first:
                return "a" if a_first else "b"
            if lot < first + longer:
                return "a" if lengths[0] > lengths[1] else "b"  # noqa: B023
            return better if lot < first + longer + knows else dice.choice(["a", "b"])  # noqa: B023

        votes = Judgement((vote(a_first=True),), (vote(a_first=False),))
        assert votes.choice is not None
        pair = (2 * number, 2 * number + 1)
        given.append(GivenChoice("judge", False, pair, number, votes.choice, lengths, votes))
        for name in ("p1", "p2"):
            said = OTHER[better] if dice.random() < noise else better
            given.append(GivenChoice(name, True, pair, number, said, lengths))
    return given


@pytest.mark.parametrize(("first", "longer", "knows"), [(0.4, 0, 0.6), (0, 0.5, 0.5), (0.2, 0.3, 0.4), (0, 0, 1)])
def test_a_planted_bias_is_recovered_within_the_interval(first: float, longer: float, knows: float) -> None:
    """What follows from the shares: the first in `first + (1 - first) / 2`; the orders differ unless both votes fall
    alike; the longer one, where the orders agree, by Bayes.
    """
    report = compare_choices(judged_by(first=first, longer=longer, knows=knows, n=3000, seed=11), resamples=300)
    judge = next(one for one in report.habits if not one.is_person)
    assert judge.first_position.low <= first + (1 - first) / 2 <= judge.first_position.high
    # Let the better one be the longer one or not, by a coin. A vote for `a` in either order, by what speaks for it:
    coin = 1 - first - longer - knows
    flips = agree_longer = agree = 0.0
    for is_longer in (0, 1):
        for is_better in (0, 1):
            by_itself = longer * is_longer + knows * is_better + coin / 2
            forth, back = first + by_itself, by_itself
            flips += (forth * (1 - back) + back * (1 - forth)) / 4
            agree += (forth * back + (1 - forth) * (1 - back)) / 4
            agree_longer += (forth * back if is_longer else (1 - forth) * (1 - back)) / 4
    assert judge.flips.low <= flips <= judge.flips.high
    assert judge.ties == judge.flips
    assert judge.longer.low <= agree_longer / agree <= judge.longer.high
    assert (judge.length.low > 0) == (longer > 0)
    # Two people who each err in 0.1 agree in 0.9^2 + 0.1^2, and kappa of even shares is 2 x 0.82 - 1.
    kappa = report.people.kappa
    assert kappa.low is not None
    assert kappa.high is not None
    assert kappa.low <= 0.64 <= kappa.high
    if knows == 1:
        beside = report.judges[0].with_a_person
        assert beside.same.low <= 0.9 <= beside.same.high
    else:
        assert report.judges[0].with_a_person.kappa.value < kappa.low  # type: ignore[operator]


def test_a_judge_of_critiques_is_held_against_people_and_told_apart_by_critic() -> None:
    """Of 6 by `x` people hold 4 right: it passes 3 of these, and 1 of the 2 wrong; one by `y` cannot be read."""
    said = [True, True, True, False, True, False]
    people = [True, True, True, True, False, False]
    ones = [
        JudgedCritique("j", "x", number, one, other, 10 * number, 5)
        for number, (one, other) in enumerate(zip(said, people, strict=True))
    ]
    every, by_x, by_y = report_critique_judges([*ones, JudgedCritique("j", "y", 9, None, True, 7, 5)])
    assert (every.critic, by_x.critic, by_y.critic) == (None, "x", "y")
    assert (every.n, every.unreadable, by_y.unreadable) == (7, share(1, 7), share(1, 1))
    assert (by_x.accuracy, by_x.recall, by_x.false_alarms) == (share(4, 6), share(1, 2), share(1, 4))
    assert every.accuracy == by_x.accuracy
    # p_a = 4/6, p_e = 4/6 * 4/6 + 2/6 * 2/6 = 20/36.
    assert by_x.kappa.value == pytest.approx((24 - 20) / (36 - 20))
    assert by_x.leniency_solution_length.value is None
    assert by_y.accuracy.value is None


@pytest.mark.parametrize("pull", [0.0, 0.5])
def test_a_judge_who_falls_for_long_critiques_is_seen_to_and_people_explain_what_is_deserved(pull: float) -> None:
    """Long critiques are right more often; a judge who agrees with people else passes long ones in a share `pull`."""
    dice = random.Random(3)
    ones = []
    for number in range(2000):
        length = dice.randrange(100, 1000)
        people = dice.random() < 0.2 + 0.6 * length / 1000
        said = (length > 550) if dice.random() < pull else people != (dice.random() < 0.1)
        ones.append(JudgedCritique("j", "x", number, said, people, length, 100))
    (report,) = report_critique_judges(ones, resamples=0)
    assert report.length_people.low > 0.2
    assert report.length.low > 0.2 * (1 - pull)
    assert (report.leniency_length.low > 0.2) == (pull > 0)
