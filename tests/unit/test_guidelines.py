"""Labelling rules as text and as data; known answers; the forecast."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.errors import InputError
from stepmark.forecast import HORIZON_DAYS, forecast
from stepmark.guidelines import as_text, from_text, read_guideline
from stepmark.known_answers import check_known_answer, is_right


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no section"),
        ("- a rule", "line 1: '- a rule' is neither a heading"),
        ("# Good\n# Flowchart\n1. Is it?\n yes: good", "question 1 of the flowchart has no line `no: ...`"),
        ("# Good\n# Flowchart\n2. Is it?", "line 3: '2. Is it\\?' should be question 1"),
        ("# Good\n# Flowchart\n1. Is it?\n yes: 1\n no: bad", "question 1 leads to question 1"),
        ("# Good\n# Flowchart\n1. Is it?\n yes: 2\n no: bad", "question 1 leads to question 2"),
    ],
)
def test_text_that_is_no_guideline_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_text(text)


WORDS = st.text(st.characters(whitelist_categories=("Lu", "Ll", "Nd")), min_size=1, max_size=12)


@given(st.lists(st.tuples(WORDS, st.sampled_from([None, "good", "bad"]), st.lists(WORDS)), min_size=1, max_size=4))
def test_rules_survive_being_written_as_text(sections: list[tuple[str, str | None, list[str]]]) -> None:
    body = read_guideline(
        {"sections": [{"title": f"T{title}", "kind": kind, "rules": rules} for title, kind, rules in sections]}
    )
    assert from_text(as_text(body)) == body


def test_known_answers_are_checked() -> None:
    assert check_known_answer({"choice": "a"}, "preference") == {"choice": "a"}
    for answer, kind, message in (
        ({"choice": "first"}, "preference", "choice is 'first'"),
        ({}, "critique", "judgement is None"),
        ({"labels": "1"}, "steps", "labels is '1'"),
        ({"labels": [True]}, "steps", "label 0 is True"),
        ({"labels": [None]}, "steps", "no step has a label"),
        ({"labels": [1, 1]}, "steps", "2 labels for 1 segments"),
    ):
        with pytest.raises(InputError, match=message):
            check_known_answer(answer, kind, n_segments=1)


def test_an_answer_is_right_if_it_sees_the_same_first_error() -> None:
    known = {"labels": [1, None, -1, None]}
    assert is_right(known, finish_reason="found_error", labels={0: 0, 1: -1, 2: -1})
    assert not is_right(known, finish_reason="found_error", labels={0: -1})
    assert not is_right(known, finish_reason="solution", labels={0: 1, 1: 1, 2: 1, 3: 1})
    assert is_right({"choice": "a"}, finish_reason="solution", choice="a")
    assert not is_right({"judgement": "right"}, finish_reason="solution", judgement="partly")


def test_a_forecast_is_honest_about_what_it_does_not_know() -> None:
    assert forecast([5, 5, 5], 0).days == 0
    assert forecast([], 1).because == "the work of at least 3 days is needed; there is that of 0"
    assert forecast([0, 0, 0], 1).because == "nothing was done in the last 3 days"
    far = forecast([1, 1, 1], HORIZON_DAYS + 1)
    assert (far.days, far.because) == (None, "at this pace it takes more than two years")
    uneven, even = forecast([0, 0, 0, 0, 100], 1000), forecast([20] * 5, 1000)
    assert (even.low, even.days, even.high) == (50, 50, 50)
    assert uneven.low is not None
    assert uneven.high is not None
    assert uneven.low < 50 < uneven.high
