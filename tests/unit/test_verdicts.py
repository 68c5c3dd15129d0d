"""Reading verdicts out of what models write: the format that was asked for, and everything else."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.confirmation import (
    NOT_CARRIED,
    OUTCOME,
    STEP_LABELS,
    UNREADABLE,
    VARIANT_ANSWER,
    Confirmation,
    Known,
    confirm,
    measure_verdicts,
)
from stepmark.verdicts import Verdict, read_application, read_judgement, read_verdict, vote

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "mr_gsm8k" / "critiques.json").read_text())
PASS, FAIL = Verdict("pass"), Verdict("fail")


def unreadable(reason: str) -> Verdict:
    return Verdict("unreadable", reason=reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"All is well. \boxed{-1}", PASS),
        (r"\boxed{−1}", PASS),
        (r"First I thought \boxed{-1}, but it is \boxed{2}", Verdict("fail", 2)),
        (r"$\boxed{\text{paragraph 0}}$", Verdict("fail", 0)),
        (r"\boxed{<paragraph_1>}", Verdict("fail", 1)),
        (r"\boxed{paragraph\_1}", Verdict("fail", 1)),
        (r"\boxed{3}", unreadable("index out of range")),
        (r"\boxed{-2}", unreadable("index out of range")),
        (r"\boxed{Step 2}", unreadable("no index in the box")),  # counted from 0, or from 1?
        (r"\boxed{1.5}", unreadable("no index in the box")),
        (r"\boxed{the second}", unreadable("no index in the box")),
        (r"\boxed{1} and then \boxed{", unreadable("no index in the box")),
        (r"\boxed{}", unreadable("no index in the box")),
        ("The answer is -1", unreadable("no box")),
        ("", unreadable("no box")),
    ],
)
def test_a_judge_names_the_earliest_wrong_paragraph_from_0_in_the_last_box(text: str, expected: Verdict) -> None:
    assert read_judgement(text, 3) == expected


@given(index=st.integers(-3, 8), n_steps=st.integers(1, 6), before=st.text(max_size=40), after=st.text("ab .\n"))
def test_a_boxed_index_is_read_whatever_stands_around_it(index: int, n_steps: int, before: str, after: str) -> None:
    found = read_judgement(f"{before}\n\\boxed{{{index}}}{after}", n_steps)
    if index == -1:
        assert found == PASS
    elif 0 <= index < n_steps:
        assert found == Verdict("fail", index)
    else:
        assert found == unreadable("index out of range")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First error: none\nVerdict: pass", PASS),
        ("First error: step 1\nVerdict: fail", Verdict("fail", 0)),
        ("**First error:** Step 3\n**Verdict:** **fail**", Verdict("fail", 2)),
        ("1. Final Judgement: wrong\n2. First Error Step: 2", Verdict("fail", 1)),
        ("## Verdict:\n\nFAIL.", FAIL),
        ("Verdict: fail\nFirst error: step 2 (the sum), since 3 is missing", Verdict("fail", 1)),
        ("Verdict: pass\n\nNo, wait.\n\nFirst error: step 2\nVerdict: fail", Verdict("fail", 1)),
        ("Verdict: fail\nVerdict: [pass or fail]", FAIL),  # the form, repeated from the prompt
        ("Verdict: fail\nFirst error: N/A", FAIL),  # every step is right, the answer is not
        ("Verdict: fail\nFirst error: somewhere", FAIL),
        ("First error: step 0\nVerdict: fail", unreadable("first error out of range")),
        ("First error: step 4\nVerdict: fail", unreadable("first error out of range")),
        ("First error: step 2\nVerdict: pass", unreadable("pass with a first error")),
        ("Verdict: pass or fail", unreadable("no verdict")),
        ("I give it a pass.", unreadable("no verdict")),
        ("The verdict: it may pass, or fail", unreadable("no verdict")),
        ("", unreadable("no verdict")),
    ],
)
def test_a_verdict_in_words_stands_on_its_own_line_and_steps_count_from_1(text: str, expected: Verdict) -> None:
    assert read_verdict(text, 3) == expected


@given(st.text(max_size=300), st.integers(1, 5))
def test_no_text_makes_a_reader_fail_or_an_index_leave_the_solution(text: str, n_steps: int) -> None:
    application = read_application(text, n_steps)
    for verdict in (read_judgement(text, n_steps), read_verdict(text, n_steps), application.verdict):
        assert (verdict.word == "unreadable") == (verdict.reason is not None)
        assert verdict.first_error is None or (verdict.word == "fail" and 0 <= verdict.first_error < n_steps)
    assert [step.step for step in application.carried] == sorted({step.step for step in application.carried})


@given(
    st.sampled_from(["Verdict", "First error", "Answer", "Step 1", "Step 2", "Step 99"]).flatmap(
        lambda label: st.text("pasfilnoetp 0123456789:=*#-\n", max_size=20).map(lambda value: f"{label}: {value}")
    ),
    st.integers(1, 3),
)
def test_lines_like_those_asked_for_are_read_or_refused(line: str, n_steps: int) -> None:
    found = read_application("Step 1: 1 + 1 = 2\n" + line + "\nAnswer: 2\nVerdict: pass", n_steps)
    assert found.verdict.word in ("pass", "fail", "unreadable")
    if found.verdict.word == "pass":
        assert (len(found.carried), found.answer is not None) == (n_steps, True)


@pytest.mark.parametrize("row", RECORDED, ids=[f"{row['critic']}-{row['uuid'][:8]}" for row in RECORDED])
def test_critiques_that_models_wrote_are_read_as_those_who_recorded_them_did(row: dict[str, str]) -> None:
    recorded = int("".join(filter(str.isdigit, row["error_step_pred"])))
    assert read_verdict(row["response"], len(row["model_output_steps"])) == Verdict("fail", recorded - 1)


def test_of_the_recorded_critiques_one_names_another_step_than_people_do() -> None:
    found = [
        read_verdict(row["response"], len(row["model_output_steps"])).first_error
        == row["model_output_solution_first_error_step"] - 1
        for row in RECORDED
    ]
    assert (len(found), found.count(False)) == (12, 1)


def test_a_carried_chain_is_read_step_by_step() -> None:
    text = (
        "I carry it over.\n**Step 1:** 4 × 10 = 40\nthat is the area\n- Step 2: 40 - 1,2 = 38\nStep 9: 0\n"
        "Answer: $38\nFirst error: none\nVerdict: pass"
    )
    found = read_application(text, 2)
    assert (found.verdict, found.answer) == (PASS, "$38")
    assert [(step.step, step.text, step.value) for step in found.carried] == [
        (0, "4 × 10 = 40 that is the area", "40"),
        (1, "40 - 1,2 = 38", "38"),
    ]


def test_whoever_passes_a_solution_without_applying_it_is_not_read() -> None:
    ending = "Answer: 40\nFirst error: none\nVerdict: pass"
    assert read_application("Step 1: 4 * 10 = 40\n" + ending, 2).verdict.reason == "pass without carrying every step"
    stuck = "Step 1: 4 * 10 = 40\nStep 2: cannot be carried over: no height\n" + ending
    assert read_application(stuck, 2).verdict.reason == "pass with a step that cannot be carried"
    answerless = "Step 1: 4 * 10 = 40\nAnswer: none\nVerdict: pass"
    assert read_application(answerless, 1).verdict.reason == "pass without an answer"


def test_a_step_that_cannot_be_carried_is_the_first_error_unless_another_is_named() -> None:
    text = "Step 1: 4 * 10 = 40\nStep 2: This can't be carried over: no height\nAnswer: none\nVerdict: fail"
    found = read_application(text, 2)
    assert (found.verdict, found.answer, len(found.carried)) == (Verdict("fail", 1), None, 1)
    assert read_application(text + "\nFirst error: step 1", 2).verdict == Verdict("fail", 0)


def test_the_vote_goes_to_the_step_that_most_name_and_a_tie_to_the_first() -> None:
    one, two = Verdict("fail", 1), Verdict("fail", 2)
    assert vote([two, one, PASS, one]) == one
    assert vote([two, one, PASS, one, PASS, unreadable("no box"), unreadable("no box")]) == one
    assert vote([PASS, one]) == PASS
    assert vote([unreadable("no box")]) == unreadable("no readable vote")


LABELLED_RIGHT, LABELLED_WRONG = Known(labelled_right=True), Known(labelled_right=False, outcome=True)


@pytest.mark.parametrize(
    ("evidence", "when_pass", "when_fail", "rule"),
    [
        (LABELLED_RIGHT, True, False, STEP_LABELS),
        (LABELLED_WRONG, False, True, STEP_LABELS),
        (Known(labelled_right=True, outcome=False), False, True, OUTCOME),
        (Known(outcome=False), False, True, OUTCOME),
        (Known(outcome=True), True, False, OUTCOME),
        (Known(outcome=False, on_variant=True, carried_right=True), False, True, OUTCOME),
        (Known(outcome=True, on_variant=True, carried_right=True), True, False, VARIANT_ANSWER),
        (Known(outcome=True, on_variant=True, carried_right=False), False, True, VARIANT_ANSWER),
        (Known(labelled_right=True, outcome=True, on_variant=True, carried_right=False), True, False, STEP_LABELS),
    ],
)
def test_a_verdict_is_confirmed_by_the_strongest_that_is_known(
    evidence: Known, when_pass: bool, when_fail: bool, rule: str
) -> None:
    assert confirm("pass", evidence) == Confirmation(when_pass, rule)
    assert confirm("fail", evidence) == Confirmation(when_fail, rule)
    assert confirm("unreadable", evidence) == Confirmation(None, UNREADABLE)


def test_what_nothing_decides_stays_unknown() -> None:
    assert confirm("pass", Known()).is_confirmed is None
    # A right answer to the original says nothing against a critic who carried the chain badly, or not at all.
    carried_badly = Known(outcome=True, on_variant=True)
    assert confirm("fail", carried_badly) == Confirmation(None, None)
    not_carried = Known(outcome=True, on_variant=True, reached_answer=False)
    assert confirm("fail", not_carried) == Confirmation(True, NOT_CARRIED)
    assert confirm("pass", not_carried) == Confirmation(None, None)


def test_the_shares_of_a_critic_are_none_where_nothing_is_counted() -> None:
    quality = measure_verdicts([("unreadable", True)])
    assert (quality.accuracy, quality.recall, quality.false_alarm_rate, quality.n_unreadable) == (None, None, None, 1)
