"""Guards of a loop: what they measure, their bounds, and the stop rule."""

from stepmark import guards
from stepmark.guards import RULES, GuardRule, Sampled, read_guards, spread_of_wrong, stop_reason

STEP = "3 + 4 = 7"


def _reading(name: str, value: float | None, start: float | None) -> bool:
    return {one.name: one.tripped for one in read_guards({name: value}, {name: start})}[name]


def test_each_guard_trips_beyond_its_bound_and_not_at_it() -> None:
    beyond = {
        guards.VERIFIED: (0.94, None),
        guards.USABLE: (0.04, None),
        guards.PASS_1: (0.46, 0.5),
        guards.PASS_K: (0.84, 0.9),
        guards.WRONG_ANSWERS: (0.29, 0.5),
        guards.WRONG_WAYS: (0.29, 0.5),
        guards.VERDICTS: (0.74, 0.8),
        guards.GAP: (0.24, 0.5),
        guards.TOLERATED: (0.16, 0.05),
    }
    assert set(beyond) == {rule.name for rule in RULES}
    assert all(_reading(name, value, start) for name, (value, start) in beyond.items())
    at_the_bound = {name: 0.5 for name in (guards.PASS_1, guards.WRONG_ANSWERS, guards.GAP)}
    assert not any(_reading(name, value, 0.5) for name, value in at_the_bound.items())
    assert not _reading(guards.VERIFIED, 0.95, None)


def test_what_is_not_measured_or_has_no_starting_value_never_trips() -> None:
    assert not _reading(guards.VERDICTS, None, 0.8)
    assert not _reading(guards.VERDICTS, 0.1, None)
    assert not _reading(guards.GAP, -0.5, 0.0)


def test_the_loop_stops_only_when_a_guard_trips_often_enough_in_a_row() -> None:
    rules = [GuardRule("a", "min", 0.5, "absolute", 2, "a fell"), GuardRule("b", "max", 0.5, "absolute", 1, "b rose")]
    assert stop_reason([], rules=rules) is None
    assert stop_reason([{"a": True}, {"a": False}, {"a": True}], rules=rules) is None
    assert stop_reason([{"a": False}, {"a": True}, {"a": True}], rules=rules) == "a: a fell (2 rounds in a row)"
    assert stop_reason([{"a": False, "b": True}], rules=rules) == "b: b rose"
    assert stop_reason([{"b": True}, {"b": False}], rules=rules) is None


def test_wrong_solutions_of_enough_problems_are_compared_and_right_ones_are_not() -> None:
    def problem(number: int) -> list[Sampled]:
        same = [Sampled(number, "8", False, (STEP,)), Sampled(number, "8.0", False, ("3 - 4 = 8",))]
        return [*same, Sampled(number, "9", False, (STEP,)), *[Sampled(number, "7", True, (STEP,))] * 5]

    few = [one for number in range(guards.FEWEST_PROBLEMS - 1) for one in problem(number)]
    assert spread_of_wrong(few) == {guards.WRONG_ANSWERS: None, guards.WRONG_WAYS: None}
    # Three wrong ones make three pairs: the answers differ in two of them, the ways in two.
    found = spread_of_wrong([*few, *problem(99)])
    assert {name: round(value or 0, 9) for name, value in found.items()} == {
        guards.WRONG_ANSWERS: round(2 / 3, 9),
        guards.WRONG_WAYS: round(2 / 3, 9),
    }
