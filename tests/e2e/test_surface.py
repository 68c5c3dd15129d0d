"""The surface by itself, in a real browser: each kind of task from its keys to what is sent, and how it looks."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from .stage import Stage, submissions, watched

STATEMENT = (
    "Ducks lay 16 eggs a day. She eats 3 and bakes with 4. She sells the rest for $2 each. What does she make a day?"
)
STEPS = [
    "She eats 3 + 4 = 7 eggs.",
    "So 16 * 7 = 112 eggs are left. That is a lot.",
    "112 * 2 = 225 dollars.",
]
PROJECT = {
    "name": "Eggs",
    "label_scheme": "good_neutral_bad",
    "repaired_steps": "error",
    "math_mode": "auto",
    "shows_evidence": True,
    "min_ms_per_step": 0,
    "pair_reasons": ["correct", "clear"],
    "asks_strength": True,
}


def task(number: int = 1, *, project: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A step task as the server hands it out."""
    return {
        "task_id": number,
        "token": f"token-{number}",
        "kind": "steps",
        "mode": "first_error",
        "purpose": "label",
        "project": {**PROJECT, **(project or {})},
        "statement": STATEMENT,
        "reference_answer": "18",
        "source": "gsm8k/test",
        "outcome": False,
        "steps": STEPS,
        "answer": "224",
        **fields,
    }


def finding(text: str, part: str, result: str, left: str, right: str) -> dict[str, Any]:
    start = text.index(part)
    sides = {"left": {"value": left}, "right": {"value": right}}
    return {"start": start, "end": start + len(part), "relation": "=", "result": result, **sides}


def evidence(*findings: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """As `stepmark.evidence.Evidence` is as JSON, with one finding for each step, or none."""
    segments = [
        {
            "index": index,
            "text": STEPS[index],
            "is_answer": False,
            "arithmetic": [] if found is None else [found],
            "values": [{"model": "m", "n_right": 1, "n_rollouts": 8, "low": 0.02, "high": 0.47}]
            if index == 1
            else [],
            "scores": [{"reward_model": "prm", "value": 0.9 - 0.4 * index}],
        }
        for index, found in enumerate(findings)
    ]
    return {"outcome": False, "segments": segments, **more}


def carried(index: int, text: str, here: str, there: str) -> dict[str, Any]:
    return {"index": index, "state": "carried", "here": here, "there": there, "text": text, "arithmetic": []}


EVIDENCE = evidence(
    finding(STEPS[0], "3 + 4 = 7", "holds", "7", "7"),
    finding(STEPS[1], "16 * 7 = 112", "holds", "112", "112"),
    finding(STEPS[2], "112 * 2 = 225", "fails", "224", "225"),
    votes=[
        {"kind": "judge", "critic": "judge-7b", "n_pass": 1, "n_fail": 2, "n_unreadable": 0, "first_errors": [[1, 2]]}
    ],
    opinions=[
        {"critic": "judge-7b", "kind": "judge", "verdict": "fail", "text": "It multiplies.", "is_confirmed": True}
    ],
    applications=[
        {
            "kind": "replay",
            "critic": "replay",
            "statement": STATEMENT.replace("16", "23"),
            "variant_kind": "template",
            "reference_trust": "program",
            "steps": [
                carried(0, "3 + 4 = 7", "7", "7"),
                carried(1, "23 * 7 = 161", "112", "161"),
                carried(2, "161 * 2 = 322", "225", "322"),
            ],
            "found": "322",
            "expected": "32",
            "verdict": "fail",
            "first_error": None,
            "is_confirmed": True,
        }
    ],
    left_out={"critiques": 3},
)
PAIR = task(
    kind="preference",
    steps=[],
    answer=None,
    outcome=None,
    order="ba",
    first={"steps": ["Same.", "16 - 7 = 9 eggs.", "9 * 2 = 18"], "answer": "18", "text": "", "outcome": None},
    second={"steps": ["Same.", "16 * 7 = 112 eggs.", "112 * 2 = 224"], "answer": "224", "text": "", "outcome": None},
)
CRITIQUE = task(
    kind="critique",
    critique={
        "critique_id": 3,
        "text": "Step 2 multiplies where it must subtract.",
        "verdict": "fail",
        "first_error": 1,
        "kind": "application",
        "variant": {"statement": STATEMENT.replace("16", "23"), "reference_answer": "32"},
    },
)
ALTERNATIVES = task(
    mode="alternatives",
    step_index=1,
    alternatives=[
        {"alternative_id": 11, "text": "16 - 7 = 9 eggs are left.", "is_answer": False},
        {"alternative_id": 12, "text": "Eggs are oval.", "is_answer": False},
    ],
)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def labels_on(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(".sm-card", "cards => cards.map((card) => card.dataset.label)")
    return found


def sent(page: Page, *names: str) -> dict[str, Any]:
    """These fields of the last submission."""
    last = submissions(page)[-1]
    return {name: last.get(name) for name in names}


# ---- steps -------------------------------------------------------------------------------------------------


def test_a_project_with_two_labels_offers_two_and_one_with_repaired_steps_four(page: Page, stage: Stage) -> None:
    stage.put(page, task(project={"label_scheme": "good_bad"}))
    expect(page.locator(".sm-card").first.locator(".sm-choose")).to_have_text(["Bad1", "Good3"])
    press(page, "2")
    assert labels_on(page)[0] == "none"
    expect(page.locator(".sm-live")).to_have_text("neutral is no label in this project.")
    stage.put(page, task(2, project={"repaired_steps": "self_corrected", "shows_evidence": False}))
    press(page, "4", "3", "1")
    assert labels_on(page) == ["repaired", "good", "bad", "none"]  # a repaired step is not the first error
    press(page, "Enter")
    assert sent(page, "labels", "repaired", "finish_reason") == {
        "labels": [-1, 1, -1, None],
        "repaired": [0],
        "finish_reason": "found_error",
    }


def test_a_step_is_split_and_merged_with_its_label_and_undo_brings_it_back(page: Page, stage: Stage) -> None:
    stage.put(page, task(mode="all_steps", outcome=None))
    press(page, "3", "2", "k", "/")  # the suggested cut is the end of the sentence
    press(page, "Enter")
    assert labels_on(page) == ["good", "neutral", "neutral", "none", "none"]
    expect(page.locator(".sm-card .sm-text").nth(2)).to_have_text("That is a lot.")
    press(page, "k", "1", "k", "k", "j", "m")  # step 2 into step 1, which is the worse one
    assert labels_on(page) == ["bad", "neutral", "none", "none"]
    press(page, "u")
    assert labels_on(page) == ["bad", "neutral", "neutral", "none", "none"]
    press(page, "u", "u")
    assert labels_on(page) == ["good", "neutral", "none", "none"]
    press(page, "k", "j", "/", "Enter", "g", "Enter")
    assert sent(page, "labels", "segments") == {
        "labels": [1, 0, 0, 1, 1],
        "segments": [STEPS[0], "So 16 * 7 = 112 eggs are left.", "That is a lot.", STEPS[2]],
    }


def test_segments_join_as_they_were_and_keep_every_character_but_white_space(page: Page, stage: Stage) -> None:
    stage.put(page)
    found = page.evaluate(
        """async () => {
            const { areWhole, merge, split, textOf, wholeSteps } = await import("/component/steps/segments.js");
            const steps = ["ab  cd", "ef"];
            const [first, second] = wholeSteps(steps);
            const halves = split(steps, first, 3);
            const joined = merge(first, second);
            return {
                halves: halves.map((half) => textOf(steps, half)),
                isBack: areWhole(steps, [merge(...halves), second]),
                joined: textOf(steps, joined),
                cut: split(steps, joined, 7).map((half) => textOf(steps, half)),
                none: [split(steps, first, 0), split(steps, second, 2)],
            };
        }"""
    )
    assert found == {
        "halves": ["ab", "cd"],
        "isBack": True,
        "joined": "ab  cd\nef",
        "cut": ["ab  cd", "ef"],
        "none": [None, None],
    }


def test_a_step_written_in_the_place_of_one_is_shown_kept_and_sent(page: Page, stage: Stage) -> None:
    stage.put(page, task(evidence=None))
    press(page, "3", "1", "e")
    page.keyboard.press("Control+a")
    page.keyboard.type("So $16-7=9$ eggs 123 are left.")
    page.evaluate("window.dispatchEvent(new Event('pagehide'))")
    stage.put(page, task(evidence=None))  # a reload
    expect(page.locator(".sm-written .katex")).to_have_count(1)
    assert labels_on(page) == ["good", "bad", "none", "none"]
    press(page, "u", "Enter")  # typing is one change
    expect(page.locator(".sm-written")).to_have_count(0)
    assert sent(page, "labels", "written") == {"labels": [1, -1, None, None], "written": None}
    press(page, "u", "k", "j", "e")
    page.keyboard.type("!")
    press(page, "Escape", "Enter")
    assert sent(page, "written") == {"written": {"1": f"{STEPS[1]}!"}}


def test_own_judgement_comes_first_in_verify_mode_and_is_kept_beside_the_second(page: Page, stage: Stage) -> None:
    stage.put(page, task(mode="verify", evidence=EVIDENCE), task(2))
    press(page, "3", "3", "1")
    expect(page.locator(".sm-evidence, .sm-value, .sm-strip")).to_have_count(0)
    press(page, "Enter")
    expect(page.locator(".sm-value").first).to_be_visible()
    assert submissions(page) == []
    press(page, "k", "1", "Enter")
    assert sent(page, "labels", "suggestion_shown", "extra") == {
        "labels": [1, -1, None, None],
        "suggestion_shown": True,
        "extra": {"labels_before": [1, 1, -1, None]},
    }
    expect(page.locator(".sm-card.is-current .sm-number")).to_have_text("1")  # the next task


def test_long_traces_fold_what_is_judged_and_jump_to_a_step(page: Page, stage: Stage) -> None:
    steps = [rf"Step {n}: $\frac{{{n}}}{{x_{n}}}$ and \(a^{{{n}}}\)." for n in range(1, 301)]
    stage.put(page, task(steps=steps, mode="all_steps", evidence=None))
    for _ in range(12):
        press(page, "3")
    expect(page.locator(".sm-fold")).to_contain_text("Steps 1–10 are judged")
    expect(page.locator(".sm-card").nth(9)).to_be_hidden()
    press(page, "z")
    expect(page.locator(".sm-card").nth(9)).to_be_visible()
    assert page.locator(".sm-formula .katex").count() < 200  # only what is near is set
    press(page, ":")
    page.keyboard.type("250")
    press(page, "Enter")
    expect(page.locator(".sm-card.is-current .sm-number")).to_have_text("250")
    expect(page.locator(".sm-card.is-current .katex").first).to_be_visible()
    press(page, "2")
    assert labels_on(page)[249] == "neutral"
    expect(page.locator(".sm-jump")).to_have_count(0)


# ---- evidence ----------------------------------------------------------------------------------------------


def test_evidence_stands_beside_the_steps_once_the_task_is_answered(page: Page, stage: Stage) -> None:
    stage.put(page, task(evidence=EVIDENCE), task(2))
    press(page, "3")
    expect(page.locator(".sm-evidence, .sm-mark")).to_have_count(0)
    press(page, "1", "Enter")
    assert sent(page, "labels", "suggestion_shown") == {"labels": [1, -1, None, None], "suggestion_shown": None}
    cards = page.locator(".sm-card")
    expect(cards.nth(2).locator(".sm-mark-fails")).to_have_text("112 * 2 = 225")
    expect(cards.nth(2).locator(".sm-sign-fails")).to_have_attribute("aria-label", "does not hold")
    expect(cards.nth(0).locator(".sm-mark-holds")).to_have_text("3 + 4 = 7")
    expect(
        cards.nth(1).get_by_role("img", name="1 of 8 continuations from here are right (95 %: 2–47 %)")
    ).to_be_visible()
    expect(cards.nth(1).locator(".sm-chip-bad")).to_have_text("first error: judge-7b, 2 of 3")
    expect(page.locator(".sm-variant .sm-mark-changed")).to_have_text("23")
    expect(page.locator(".sm-verdict strong")).to_have_text("The reasoning breaks on the new input.")
    expect(page.locator(".sm-carried-by")).to_contain_text("Carried over by a program, exactly. Confirmed.")
    expect(page.locator(".sm-summary")).to_contain_text("judge-7b found an error 2 of 3 times, at step 2.")
    expect(page.locator(".sm-summary")).to_contain_text("Not shown: 3 critiques.")
    expect(cards.nth(1).locator(".sm-shift")).to_have_text("112→161")
    expect(cards.nth(1).locator(".sm-strip")).to_contain_text("23 * 7 = 161")
    expect(cards.nth(3).locator(".sm-strip.is-broken")).to_contain_text("found 322, expected 32")
    press(page, "2", "g")  # answered: labels stand
    assert labels_on(page)[:2] == ["good", "bad"]
    press(page, "u")
    expect(page.locator(".sm-banner")).to_contain_text("You have answered this task")
    press(page, "3", "1", "Enter")
    assert sent(page, "corrects", "suggestion_shown") == {
        "corrects": submissions(page)[0]["submission_id"],
        "suggestion_shown": True,
    }
    expect(page.locator(".sm-card")).to_have_count(4)
    expect(page.locator(".sm-evidence")).to_have_count(0)


def test_evidence_before_the_answer_counts_as_shown_and_broken_evidence_hinders_nobody(
    page: Page, stage: Stage
) -> None:
    broken = {
        "segments": [
            5,
            {"index": "x"},
            {"index": 1, "arithmetic": {}, "values": [None, {"n_right": 1}], "scores": "?"},
        ],
        "votes": {},
        "opinions": [{"text": 7}],
        "applications": [{"steps": "?"}, {"statement": "A new one", "steps": [None, {}], "verdict": 3}],
        "left_out": None,
    }
    stage.put(page, task(evidence=EVIDENCE, evidence_before=True), task(2, evidence=broken), task(3))
    expect(page.locator(".sm-strip").first).to_be_visible()
    press(page, "1", "Enter")
    assert sent(page, "suggestion_shown") == {"suggestion_shown": True}
    press(page, "Enter", "1", "Enter")
    assert [entry["task_id"] for entry in submissions(page)] == [1, 2]


def test_places_in_text_beyond_the_basic_plane_are_found(page: Page, stage: Stage) -> None:
    steps = ["🦆🦆 3 + 4 = 8 eggs"]
    found = {"start": 3, "end": 12, "relation": "=", "result": "fails"}
    segment = {"index": 0, "text": steps[0], "arithmetic": [found]}
    stage.put(page, task(steps=steps, answer=None, evidence={"segments": [segment]}, evidence_before=True))
    expect(page.locator(".sm-mark-fails")).to_have_text("3 + 4 = 8")


def test_practice_is_always_at_hand_and_shows_the_known_answer(page: Page, stage: Stage) -> None:
    stage.put(page)
    page.get_by_role("button", name="Practise on a known task").click()
    assert page.evaluate("window.sent.at(-1).practice") is True
    known = {"answer": {"labels": [1, -1, None, None]}, "note": "Eggs that are eaten are **not** sold."}
    page.evaluate(
        "(task) => { window.data = { ...window.data, tasks: [task] }; window.show(); }",
        task(9, purpose="practice", known=known, evidence=None),
    )
    expect(page.locator(".sm-banner")).to_contain_text("Practice: nothing is stored as a label")
    press(page, "3", "3", "1", "Enter")
    expect(page.locator(".sm-known-note")).to_contain_text("Eggs that are eaten are **not** sold.")
    expect(page.locator(".sm-card .sm-known")).to_have_text(["known answer: good, as yours", "known answer: bad"])
    expect(page.locator(".sm-counts")).to_have_text("0 answered · 0 to go")
    press(page, "Enter")
    expect(page.locator(".sm-empty")).to_be_visible()


# ---- the other kinds ---------------------------------------------------------------------------------------


def test_a_pair_is_judged_by_keys_in_the_order_of_the_screen(page: Page, stage: Stage) -> None:
    stage.put(page, PAIR, task(2))
    expect(page.locator(".sm-prefix")).to_contain_text("Same.")
    first, second = page.locator(".sm-side-of-pair").all()
    expect(first.locator(".sm-mark-differs")).to_have_text(["-", "9", "9", "18", "18"])
    expect(second.locator(".sm-mark-differs").first).to_have_text("*")
    press(page, "1", "Enter")
    expect(page.locator(".sm-message")).to_have_text("Which one is better?")
    press(page, "b")
    expect(page.locator(".sm-message")).to_have_text("How much better?")
    press(page, "a", "2", "5", "4", "5")
    expect(page.locator(".sm-message")).to_have_text("A is clearly better. Ready to submit.")
    expect(first).to_have_class("sm-side-of-pair is-chosen")
    press(page, "Enter")
    assert sent(page, "choice", "strength", "reasons", "finish_reason") == {
        "choice": "first",
        "strength": 2,
        "reasons": ["correct"],
        "finish_reason": "solution",
    }
    assert "labels" not in submissions(page)[-1]
    press(page, "u", "x", "Enter")
    assert sent(page, "choice", "strength") == {"choice": "both_bad", "strength": None}
    assert submissions(page)[-1]["corrects"] == submissions(page)[0]["submission_id"]


def test_differences_are_words_and_too_much_or_too_little_is_left_unmarked(page: Page, stage: Stage) -> None:
    stage.put(page)
    found = page.evaluate(
        r"""async () => {
            const { differences } = await import("/component/preference/difference.js");
            const long = Array.from({ length: 3000 }, (_, index) => `w${index}`).join(" ");
            const cut = (text, ranges) => ranges.map(([start, end]) => text.slice(start, end));
            const [a, b] = ["x = \\frac{1}{2}, so 1,000 ducks swim", "x = \\frac{1}{3}, so 1,500 big ducks swim"];
            const { first, second } = differences(a, b);
            const other = `y ${long.replaceAll("w", "v")} z`;
            const none = [differences("a b c", "d e f"), differences(long, other), differences("", "")];
            return [cut(a, first), cut(b, second), ...none];
        }"""
    )
    assert found == [["2", "1,000"], ["3", "1,500 big"], None, None, {"first": [], "second": []}]


def test_a_critique_is_judged_and_corrected(page: Page, stage: Stage) -> None:
    stage.put(page, CRITIQUE, task(2))
    expect(page.locator(".sm-read-step.is-blamed .sm-number")).to_have_text("2")
    expect(page.locator(".sm-variant .sm-mark-changed")).to_have_text("23")
    press(page, "Enter")
    assert submissions(page) == []
    press(page, "3", "2", "5", "7", "6", "e")
    page.keyboard.press("End")
    page.keyboard.type(" 16 - 7 = 9.")
    press(page, "Escape", "Enter")
    assert sent(page, "judgement", "is_helpful", "is_verdict_right", "correction") == {
        "judgement": "partly",
        "is_helpful": False,
        "is_verdict_right": True,
        "correction": "Step 2 multiplies where it must subtract. 16 - 7 = 9.",
    }
    assert "labels" not in submissions(page)[-1]


def test_a_skipped_pair_or_critique_brings_no_answer(page: Page, stage: Stage) -> None:
    stage.put(page, PAIR, {**CRITIQUE, "task_id": 2, "token": "two"})
    press(page, "a", "s", "1", "s", "1")
    pair, critique = submissions(page)
    assert (pair["finish_reason"], "choice" in pair, "labels" in pair) == ("skipped", False, False)
    assert (critique["finish_reason"], critique["judgement"], "choice" in critique) == ("skipped", None, False)


def test_candidates_for_a_step_are_rated_and_one_is_chosen(page: Page, stage: Stage) -> None:
    stage.put(page, ALTERNATIVES, task(2))
    expect(page.locator(".sm-prefix")).to_contain_text(STEPS[0])
    press(page, "1", "3", "2")
    expect(page.locator(".sm-message")).to_have_text("Choose the one to go on from")
    press(page, "k", "o", "Enter")
    assert sent(page, "labels", "alternatives", "chosen", "written") == {
        "labels": [None, -1, None, None],
        "alternatives": {"11": 1, "12": 0},
        "chosen": 11,
        "written": None,
    }
    press(page, "u", "e")
    page.keyboard.type("16 - 3 - 4 = 9 eggs")
    press(page, "Escape", "Enter")
    assert sent(page, "chosen", "written") == {"chosen": "own", "written": {"1": "16 - 3 - 4 = 9 eggs"}}


@pytest.mark.parametrize("given", [PAIR, CRITIQUE, ALTERNATIVES], ids=["preference", "critique", "alternatives"])
def test_drafts_of_every_kind_come_back_and_go_to_the_server(page: Page, stage: Stage, given: dict[str, Any]) -> None:
    stage.put(page, given)
    press(page, "3" if given is not PAIR else "a")
    page.locator(".sm-extras textarea").fill("half way")
    expect(page.locator(".sm-status")).to_have_text("Draft kept")
    page.wait_for_function("window.sent.some(({ drafts }) => drafts.length)", timeout=8_000)
    [draft] = page.evaluate("window.sent.find(({ drafts }) => drafts.length).drafts")
    assert (draft["task_id"], draft["token"], draft["body"]["comment"]) == (1, "token-1", "half way")
    before = page.locator("[aria-pressed=true]").count()
    assert before > 0
    page.evaluate("localStorage.clear()")
    stage.put(page, {**given, "draft": {**draft["body"], "updated_at": draft["updated_at"]}})  # another browser
    expect(page.locator(".sm-extras textarea")).to_have_value("half way")
    expect(page.locator("[aria-pressed=true]")).to_have_count(before)


# ---- around the task ---------------------------------------------------------------------------------------


def test_haste_and_contradiction_are_asked_about_once(page: Page, stage: Stage) -> None:
    stage.put(page, task(project={"min_ms_per_step": 60_000, "shows_evidence": False}), task(2, outcome=None))
    press(page, "g", "Enter")
    expect(page.locator(".sm-message")).to_have_text("That took 1 s. Submit anyway?")
    press(page, "Enter")
    expect(page.locator(".sm-message")).to_have_text("All steps good, but the answer is wrong. Submit anyway?")
    assert submissions(page) == []
    press(page, "Enter")
    assert sent(page, "labels") == {"labels": [1, 1, 1, 1]}


def test_a_note_of_a_reviewer_and_a_pause_are_told(page: Page, stage: Stage) -> None:
    stage.put(page, task(note="Look at step 2 <b>again</b>."), paused="2 of 10 known answers were right.")
    expect(page.locator(".sm-banner")).to_have_text("Sent back by a reviewer: Look at step 2 <b>again</b>.")
    expect(page.locator(".sm-paused")).to_have_text("2 of 10 known answers were right.")


def test_undo_goes_back_through_the_last_ten_tasks_of_any_kind(page: Page, stage: Stage) -> None:
    tasks = [task(1, evidence=None), {**PAIR, "task_id": 2, "token": "b"}, {**CRITIQUE, "task_id": 3, "token": "c"}]
    stage.put(page, *tasks)
    press(page, "1", "Enter", "e", "Enter", "3", "Enter")
    expect(page.locator(".sm-empty")).to_be_visible()
    press(page, "u")
    expect(page.locator(".sm-critique")).to_be_visible()
    press(page, "u")
    expect(page.locator(".sm-pair")).to_be_visible()
    press(page, "u")
    assert labels_on(page) == ["bad", "none", "none", "none"]
    press(page, "3", "1", "Enter")
    assert (submissions(page)[-1]["task_id"], submissions(page)[-1]["corrects"]) == (
        1,
        submissions(page)[0]["submission_id"],
    )


def test_keys_are_remapped_conflicts_refused_and_all_reset(page: Page, stage: Stage) -> None:
    stage.put(page, task(mode="all_steps"), PAIR | {"task_id": 2}, settings={"keys": None})
    press(page, "?")
    page.locator("[data-action=good]").click()
    press(page, "g")
    expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("g is taken: the rest is good.")
    page.locator("[data-action=good]").click()
    press(page, "c")  # Streamlit's own key, which must not reach it
    expect(page.locator("[data-action=good] kbd")).to_have_text("c")
    assert page.evaluate("window.sent.at(-1).settings.keys") == {"good": ["c"]}
    press(page, "Escape")
    page.evaluate(
        "document.addEventListener('keydown', ({ key }) => { window.leaked = [...(window.leaked ?? []), key]; })"
    )
    press(page, "c", "3", "r")
    assert labels_on(page) == ["good", "none", "none", "none"]
    assert page.evaluate("window.leaked") == ["3"]
    expect(page.locator(".sm-card.is-current .sm-choose.sm-good kbd")).to_have_text("c")
    stage.put(page, task(mode="all_steps"))
    press(page, "c")
    assert labels_on(page)[1] == "good"
    press(page, "?")
    page.get_by_role("button", name="Reset all keys").click()
    press(page, "Escape", "3")
    assert labels_on(page)[2] == "good"


def test_the_guideline_begins_with_how_to_decide(page: Page, stage: Stage) -> None:
    flow = [
        {"question": "Is it true?", "yes": 2, "no": "bad"},
        {"question": "Does it move on?", "yes": "good", "no": "Ask a <i>reviewer</i>"},
    ]
    stage.put(
        page,
        task(),
        guideline="v7",
        guidelines={"v7": {"sections": [{"title": "Good", "kind": "good", "rules": ["True."]}], "flowchart": flow}},
    )
    press(page, "h")
    rows = page.get_by_role("dialog").locator(".sm-flow-row")
    expect(rows.nth(0)).to_have_text("1Is it true?Yes→the next question ↓No→Bad")
    expect(rows.nth(1)).to_have_text("2Does it move on?Yes→GoodNo→Ask a <i>reviewer</i>")


# ---- text, look, access ------------------------------------------------------------------------------------


def test_hostile_and_foreign_text_stays_text_in_every_kind(page: Page, stage: Stage) -> None:
    hostile = [
        "<script>alert(1)</script><img src=//example.com/x onerror=alert(2)> [y](javascript:alert(3))",
        r"\(\href{javascript:alert(5)}{a}\includegraphics{https://example.com/y.png}\htmlId{i}{b}\)",
        r"$\def\a{\a\a}\a$ and $\gdef\b{\b\b\b}\b$",
        "It costs $5 and $7.",
        "\u202eevil\u202c שלום 12 + 3 = 15, then (a)",
        "三加四等于七，所以 3 + 4 = 7。",
    ]
    side = {"steps": hostile, "answer": "<b>1</b>", "text": "", "outcome": None}
    evil = hostile[0]
    said = {"critic": evil, "kind": evil, "verdict": "fail", "text": evil}
    application = {
        **{**said, "statement": evil, "variant_kind": evil, "reference_trust": evil, "reason": evil},
        **{"found": evil, "expected": evil, "steps": [carried(0, evil, evil, evil)]},
    }
    votes = {**said, "n_fail": 1, "first_errors": [[0, evil]]}
    found = evidence(None, votes=[votes], opinions=[said], applications=[application], left_out={evil: 1})
    critique = {**CRITIQUE["critique"], "text": evil}
    tasks = [
        task(1, statement=evil, note=evil, steps=hostile, evidence=found, evidence_before=True, source=evil),
        {**PAIR, "task_id": 2, "first": side, "second": {**side, "steps": [*hostile[:2], evil]}},
        {**CRITIQUE, "task_id": 3, "critique": critique, "steps": hostile},
        {
            **ALTERNATIVES,
            "task_id": 4,
            "steps": hostile,
            "alternatives": [{"alternative_id": 1, "text": evil, "is_answer": False}],
        },
    ]
    for given in tasks:
        stage.put(page, given)
        expect(page.locator(".sm-text", has_text="<script>alert(1)</script>").first).to_be_attached()
        found = page.eval_on_selector_all(
            ".sm-surface :is(script, img, a, iframe, object, b, i, form, [onerror])",
            "all => all.map(({ outerHTML }) => outerHTML)",
        )
        assert found == []
        page.evaluate("localStorage.clear()")
    stage.put(page, tasks[0])
    texts = page.eval_on_selector_all(
        ".sm-card > .sm-body > .sm-text",
        "all => all.map((text) => [text.textContent, getComputedStyle(text).direction])",
    )
    assert [text for text, _ in texts[2:6]] == hostile[2:6]
    assert texts[5][1] == "ltr"


@pytest.mark.parametrize(
    "look",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}],
    ids=["light", "dark", "phone"],
)
def test_every_kind_fits_and_can_be_read(browser: Browser, stage: Stage, look: dict[str, Any]) -> None:
    answered = task(1, evidence=EVIDENCE, project={"repaired_steps": "self_corrected"})
    for page in watched(browser, stage, reduced_motion="reduce", **look):
        for given, keys in [
            (answered, ("3", "1", "Enter")),
            (PAIR, ("a", "1")),
            (CRITIQUE, ("3",)),
            (ALTERNATIVES, ("3", "o")),
        ]:
            stage.put(page, given)
            press(page, *keys)
            width, inside = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert width <= inside, given["kind"]
            assert page.evaluate(_TOO_FAINT) == [], given["kind"]
            page.evaluate("localStorage.clear()")


# Text on its ground, by WCAG's measure; what is faded on purpose (after the first error, the side not chosen) is not.
_TOO_FAINT = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const linear = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, k, i) => sum + k * linear(colour[i] / 255), 0);
  const ground = (element) => {
    let colour = [0, 0, 0, 0];
    for (let at = element; at && colour[3] < 1; at = at.parentElement) {
      const below = rgba(getComputedStyle(at).backgroundColor);
      const share = (1 - colour[3]) * below[3];
      const total = colour[3] + share;
      if (total) colour = [0, 1, 2].map((i) => (colour[i] * colour[3] + below[i] * share) / total).concat(total);
    }
    return colour;
  };
  const faded = ".is-after, .is-not, .is-past, .is-resting, [aria-disabled=true], :disabled, .sm-number, kbd, .katex";
  const hasText = ({ childNodes }) => [...childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const all = [...document.querySelectorAll(".sm-surface *")].filter(
    (one) => one.checkVisibility() && !one.closest(`${faded}, textarea, svg`) && hasText(one),
  );
  return all.flatMap((one) => {
    const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    return contrast < 4.5 ? [`${one.className}: ${one.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`] : [];
  });
}
"""


def test_the_focus_is_seen_goes_in_order_and_names_say_what_things_are(page: Page, stage: Stage) -> None:
    stage.put(page, task(evidence=None))
    card = page.get_by_role("group", name="Step 1: not judged")
    expect(card).to_be_focused()
    expect(page.locator(".sm-live")).to_have_text("New task: 3 steps, find the first bad one.")
    names = []
    for _ in range(4):
        press(page, "Tab")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert names == ["Bad, key 1", "Neutral, key 2", "Good, key 3", "Unsure, key f"]
    press(page, "1")
    expect(page.locator(".sm-live")).to_have_text("Step 1: bad.")
    expect(page.get_by_role("group", name="Step 2: after the first error")).to_be_visible()


def test_rules_and_keys_are_those_of_the_task_and_the_account(page: Page, stage: Stage) -> None:
    rules = {"sections": [{"title": "Ours", "kind": None, "rules": ["Ours."]}]}
    guidelines = {"test-1": {"sections": []}, "ours-2": rules}
    ours = task(1, evidence=None, project={**task()["project"], "guideline": "ours-2"})
    other = task(2, evidence=None, project={**task()["project"], "guideline": "gone-1"})
    stage.put(page, ours, other, guidelines=guidelines, settings={"keys": {"good": ["y"]}})
    press(page, "h")
    expect(page.get_by_role("dialog")).to_contain_text("Ours.")
    expect(page.get_by_role("dialog")).to_contain_text("Version ours-2")
    press(page, "Escape", "y", "1", "Enter")
    assert (submissions(page)[0]["guideline"], submissions(page)[0]["labels"][:2]) == ("ours-2", [1, -1])
    press(page, "h")
    expect(page.get_by_role("dialog")).to_contain_text("not in force any more")


@pytest.mark.parametrize("width", [1360, 390])
def test_a_project_is_chosen_and_says_why_it_has_nothing(page: Page, stage: Stage, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    projects = [
        {"project_id": 7, "name": "Algebra", "state": "active", "reason": None},
        {
            "project_id": 8,
            "name": "A project with a very long name, longer than any bar",
            "state": "paused",
            "reason": "-",
        },
    ]
    stage.put(page, task(), projects=projects, project_id=None)
    chooser = page.get_by_role("combobox", name="Project")
    expect(chooser).to_have_value("")
    assert chooser.locator("option").all_inner_texts()[1:] == ["Algebra", f"{projects[1]['name']} (paused)"]
    press(page, "1")
    chooser.select_option("8")
    assert page.evaluate("window.sent.at(-1).project_id") == 8
    page.evaluate(
        "window.data = { ...window.data, project_id: 8, tasks: [], paused: 'You are paused.' }; void window.show()"
    )
    expect(page.locator(".sm-empty")).to_be_visible()
    expect(page.locator(".sm-paused")).to_have_text("You are paused.")
    expect(chooser).to_have_value("8")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
