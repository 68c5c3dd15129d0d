"""Which solutions a rule selects, in what order, and what it says of all the others."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.errors import InputError
from stepmark.selection import (
    RANDOM_STREAM,
    RESERVED,
    RULES,
    Candidate,
    SelectionRule,
    disagreement,
    ensemble_doubt,
    largest_fall,
    select,
)


def wrong(solution_id: int, value: float, *, problem_id: int | None = None) -> Candidate:
    """A wrong solution, by default the only one of its problem; its text is not set apart with seed 0."""
    return Candidate(
        solution_id, solution_id if problem_id is None else problem_id, free_text(solution_id), False, value
    )


def right(solution_id: int, value: float) -> Candidate:
    """A right solution, the only one of its problem."""
    return Candidate(solution_id, solution_id, free_text(solution_id), True, value)


def free_text(number: int) -> str:
    """A text that the random stream of seed 0 does not take."""
    return next(text for text in (f"{number}-{n}" for n in range(99)) if not is_reserved(text))


def is_reserved(text: str) -> bool:
    """Whether the random stream of seed 0 takes a text."""
    return bool(select([[Candidate(1, 1, text)]], "random", limit=1, random_share=1.0).chosen)


def alone(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Each candidate as a problem's only one."""
    for one in candidates:
        yield [one]


def test_four_of_five_are_convincing_wrong_ones_and_the_fifth_is_the_most_convincing_of_the_rest() -> None:
    pool = [wrong(n, n / 20) for n in range(1, 11)] + [right(11, 0.9), right(12, 0.4)]
    found = select(alone(pool), "convincing-wrong", limit=5, random_share=0.0)
    # Wrong 10, 9, 8, 7 score .5 to .35; the best of the rest is right with .9.
    assert [one.solution_id for one in found.chosen] == [11, 10, 9, 8, 7]
    assert {one.reason for one in found.chosen} == {"convincing wrong"}
    assert found.chosen[0].why == "right answer, score 0.900"
    assert found.dropped == {"ranked lower": 7}


def test_too_few_wrong_ones_are_made_up_from_the_rest() -> None:
    pool = [wrong(1, 0.1), right(2, 0.3), right(3, 0.2), Candidate(4, 4, free_text(4), False, None)]
    found = select(alone(pool), "convincing-wrong", limit=10, random_share=0.0)
    assert [one.solution_id for one in found.chosen] == [2, 3, 1]
    assert found.dropped == {"no score": 1}


def test_no_problem_gets_more_than_its_share_by_either_part_of_the_rule() -> None:
    group = [wrong(1, 0.9, problem_id=1), wrong(2, 0.8, problem_id=1), wrong(3, 0.7, problem_id=1)]
    pool = [group, [wrong(4, 0.1)]]
    found = select(pool, "convincing-wrong", limit=4, random_share=0.0)
    assert [one.solution_id for one in found.chosen] == [1, 4]
    assert found.dropped == {"over the limit of its problem": 2}
    two = select(pool, "convincing-wrong", limit=4, random_share=0.0, per_problem=2)
    assert [one.solution_id for one in two.chosen] == [1, 2, 4]


def test_equal_weights_go_to_the_smaller_id() -> None:
    pool = [wrong(n, 0.5) for n in (7, 3, 5)]
    found = select(alone(pool), "convincing-wrong", limit=2, random_share=0.0)
    assert [one.solution_id for one in found.chosen] == [3, 5]


def test_what_is_queued_takes_its_equal_texts_with_it() -> None:
    text = free_text(1)
    group = [
        Candidate(1, 1, text, False, 0.9, left_out="already queued"),
        Candidate(2, 1, text, False, 0.9),
        Candidate(3, 1, free_text(3), False, 0.2),
        Candidate(4, 1, free_text(3), False, 0.2),
    ]
    found = select([group], "convincing-wrong", limit=4, random_share=0.0, per_problem=4)
    assert [one.solution_id for one in found.chosen] == [3]
    assert found.dropped == {"already queued": 2, "same text as another": 1}


def test_an_ensemble_is_read_up_to_the_first_step_that_it_predicts_to_be_wrong() -> None:
    """Means .97 (sure), .4 (wrong, unsure: .4 + .1); the last step, a toss-up, stands behind it."""
    found = ensemble_doubt([[0.97, 0.3, 0.0], [0.97, 0.5, 1.0]])
    assert found is not None
    assert (found.weight, found.step_index) == (pytest.approx(0.5), 1)
    assert ensemble_doubt([[0.96, 0.02], [0.96, 0.02]]) is None
    # Sure by the mean, but spread .02.
    spread = ensemble_doubt([[1.0], [0.96]])
    assert spread is not None
    assert spread.weight == pytest.approx(0.04)


def test_the_first_step_falls_from_one_and_a_rise_is_no_fall() -> None:
    found = largest_fall([0.25, 0.5, 0.375])
    assert found is not None
    assert (found.weight, found.step_index) == (0.75, 0)
    assert largest_fall([1.0, 1.0]) is None


def test_labellers_disagree_as_far_as_few_name_the_same_first_error() -> None:
    assert disagreement({"judge": None, "rollouts": None}) is None
    found = disagreement({"a": 0, "b": 1, "c": None, "d": 1})
    assert found is not None
    assert (found.weight, found.step_index) == (0.5, 0)
    pool = [
        Candidate(1, 1, free_text(1), first_errors={"judge": 1, "prm": None}),
        Candidate(2, 2, free_text(2), first_errors={"judge": 1, "prm": 1}),
        Candidate(3, 3, free_text(3), first_errors={"prm": 1}),
        Candidate(4, 4, free_text(4)),
    ]
    selected = select(alone(pool), "disagreement", limit=9, random_share=0.0)
    assert [one.solution_id for one in selected.chosen] == [1]
    assert selected.dropped == {"fewer than two labellers": 2, "labellers agree": 1}


def test_the_random_stream_takes_from_what_no_rule_ever_takes() -> None:
    """The draw is the same before and after any selection, so that it stands for the whole pool."""
    pool = [Candidate(n, n, f"text {n}", False, n / 2000) for n in range(2000)]
    first = select(alone(pool), "convincing-wrong", limit=100, random_share=0.2)
    drawn = [one for one in first.chosen if one.reason == RANDOM_STREAM]
    assert len(drawn) == 20
    reserved = first.dropped["kept for the random stream"] + len(drawn)
    assert reserved == pytest.approx(2000 * RESERVED, abs=50)
    # A blind draw: its mean score is the pool's, .5, with a standard error of .29 / sqrt(20).
    assert sum(one.solution_id for one in drawn) / len(drawn) / 2000 == pytest.approx(0.5, abs=0.2)
    taken = {one.solution_id for one in first.chosen if one.reason != RANDOM_STREAM}
    left = [one for one in pool if one.solution_id not in taken]
    again = select(alone(left), "jump", limit=100, random_share=0.2)
    assert [one.solution_id for one in again.chosen] == [one.solution_id for one in drawn]


def test_the_random_stream_is_spread_among_the_rules_choice() -> None:
    pool = [Candidate(n, n, f"text {n}", False, n / 2000) for n in range(2000)]
    chosen = select(alone(pool), "convincing-wrong", limit=20, random_share=0.2).chosen
    places = [place for place, one in enumerate(chosen) if one.reason == RANDOM_STREAM]
    # 16 by the rule, 4 drawn: one after each 3.4.
    assert places == [4, 8, 13, 17]
    priorities = [one.priority for one in chosen]
    assert priorities == sorted(priorities, reverse=True)


def test_another_seed_draws_others() -> None:
    pool = [Candidate(n, n, f"text {n}") for n in range(200)]
    draws = [[one.solution_id for one in select(alone(pool), "random", limit=9, seed=s).chosen] for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": 0}, "limit is 0; give at least 1"),
        ({"random_share": 1.5}, r"random share is 1\.5; give a number from 0 to 1"),
        ({"per_problem": 0}, "per problem is 0; give at least 1"),
        ({"rule": "best"}, "rule 'best' is unknown; use one of convincing-wrong, ensemble"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        select([], **{"rule": "random", "limit": 1, **changes})  # type: ignore[arg-type]


_SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=2).map(tuple)
_GROUPS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from([True, False, None]),
            st.none() | st.floats(0, 1),
            st.lists(_SCORES, min_size=2, max_size=2) | st.just([]),
            st.sampled_from([None, None, "already queued"]),
        ),
        min_size=1,
        max_size=5,
    ),
    max_size=8,
)


@given(_GROUPS, st.sampled_from(RULES), st.integers(1, 9), st.floats(0, 1), st.integers(1, 3))
def test_every_solution_is_chosen_or_counted_once(
    drawn: list[list[tuple[str, bool | None, float | None, list[tuple[float, ...]], str | None]]],
    rule: SelectionRule,
    limit: int,
    random_share: float,
    per_problem: int,
) -> None:
    groups = []
    number = 0
    for problem_id, rows in enumerate(drawn):
        group = []
        for text, outcome, value, steps, left_out in rows:
            number += 1
            group.append(
                Candidate(
                    number,
                    problem_id,
                    f"{problem_id} {text}",
                    outcome,
                    value,
                    tuple(steps),
                    {"judge": 0, "prm": 0 if outcome else None},
                    left_out,
                )
            )
        groups.append(group)
    found = select(groups, rule, limit=limit, random_share=random_share, per_problem=per_problem)
    assert found.n_read == number == len(found.chosen) + sum(found.dropped.values())
    assert len({one.solution_id for one in found.chosen}) == len(found.chosen) <= limit
    by_rule = Counter(one.problem_id for one in found.chosen if one.reason != RANDOM_STREAM)
    assert all(n <= per_problem for n in by_rule.values())
