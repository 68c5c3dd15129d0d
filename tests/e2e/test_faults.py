"""What goes wrong outside the app: the network, clocks, a second tab, impatient fingers, huge texts."""

import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import Item, Lab
from .stage import Stage, submissions
from .test_labelling import labels_on, press
from .test_surface import STEPS, task

WORDS = Item("Which of these are true?", None, ("Water is wet.", "Ice is warm.", "Steam is solid."), None)
MORE = Item("And of these?", None, ("Snow is white.", "Soot is black."), None)
LAST = Item("And this?", None, ("Grass is green.",), None)
HOURS_MS = 6 * 3_600_000

CLOCK = """
window.skew = 0;
const now = Date.now.bind(Date);
Date.now = () => now() + window.skew;
"""
"""A clock that can be set; intervals are of another clock, which cannot."""


def test_answers_given_offline_arrive_once_the_network_is_back_though_the_clock_was_set_back(
    lab: Lab, watch: Any
) -> None:
    lab.queue(WORDS, MORE, LAST)
    opened = watch(lab)
    opened.page.add_init_script(CLOCK)
    page = opened.open()
    opened.is_server_down = True  # for the browser it is
    page.evaluate(f"window.skew = {HOURS_MS}")
    press(page, "3", "3")
    page.context.set_offline(True)
    lab_before = lab.annotations()
    press(page, "1", "Enter")
    expect(page.locator(".sm-card")).to_have_count(2)  # the next task was at hand
    press(page, "3", "1", "Enter")
    expect(page.locator(".sm-status")).to_have_text("2 answers on the way")
    page.evaluate(f"window.skew = {-HOURS_MS}")
    page.context.set_offline(False)
    (first, first_labels), (second, second_labels) = lab.wait_for(2, timeout_s=40)
    assert lab_before == []
    assert (first_labels, second_labels) == ({0: 1, 1: 1, 2: -1}, {0: 1, 1: -1})
    for row in (first, second):
        assert row.duration_ms is not None
        assert 0 < row.duration_ms < 60_000
    expect(page.locator(".sm-card")).to_have_count(1)
    expect(page.locator(".sm-status")).to_have_text("All saved")
    assert len(lab.annotations()) == 2


def test_a_second_tab_goes_on_to_what_the_first_has_not_answered(lab: Lab, watch: Any) -> None:
    lab.queue(WORDS, MORE, LAST)
    first = watch(lab).open()
    second = first.context.new_page()
    second.goto(lab.address)
    second.wait_for_selector(".sm-card")
    assert second.locator(".sm-card").count() == 3  # the same task
    press(second, "3")
    press(first, "3", "3", "1", "Enter")
    expect(second.locator(".sm-notice")).to_contain_text("answered in another tab")
    expect(second.locator(".sm-card")).to_have_count(2)
    lab.wait_for(1)
    press(second, "1", "Enter")
    found = lab.wait_for(2)
    assert [labels for _, labels in found] == [{0: 1, 1: 1, 2: -1}, {0: -1}]
    expect(first.locator(".sm-card")).to_have_count(1)
    press(first, "3", "Enter")
    assert [labels for _, labels in lab.wait_for(3)][2] == {0: 1}
    assert first.evaluate("Object.keys(localStorage).filter((name) => name.endsWith('/refused'))") == []


def test_what_the_server_sent_before_it_knew_of_another_tabs_answer_does_not_bring_the_task_back(
    page: Page, stage: Stage
) -> None:
    stage.put(page, task(1, evidence=None))
    outbox = json.dumps([{"submission_id": "other", "task_id": 1}])
    event = {"key": "stepmark/stage/outbox", "newValue": outbox}
    page.evaluate("(event) => window.dispatchEvent(new StorageEvent('storage', event))", event)
    expect(page.locator(".sm-card")).to_have_count(0)
    page.evaluate("void window.show()")  # the same tasks again
    expect(page.locator(".sm-card")).to_have_count(0)
    page.evaluate("(next) => { window.data.tasks = [...window.data.tasks, next]; window.show(); }", task(2))
    expect(page.locator(".sm-card").first).to_be_visible()
    press(page, "1", "Enter")
    assert [entry["task_id"] for entry in submissions(page)] == [2]


def test_enter_pressed_three_times_submits_one_task(page: Page, stage: Stage) -> None:
    stage.put(page, *(task(number, evidence=None) for number in (1, 2, 3)))
    press(page, "1", "Enter", "Enter", "Enter")
    expect(page.locator(".sm-message")).to_have_class("sm-message is-refused")
    assert [entry["task_id"] for entry in submissions(page)] == [1]


@pytest.mark.parametrize("hours_ms", [-HOURS_MS, HOURS_MS])
def test_work_on_a_draft_is_later_than_the_draft_whatever_the_clocks_say(
    page: Page, stage: Stage, hours_ms: int
) -> None:
    page.add_init_script(CLOCK + f"window.skew = {hours_ms};")
    draft = {
        "kind": "steps",
        "state": {"labels": [1, None, None, None], "at": 1},
        "updated_at": round(time.time() * 1000),
    }
    given = task(evidence=None, mode="all_steps", draft=draft)
    stage.put(page, given)
    assert labels_on(page) == ["good", "none", "none", "none"]
    press(page, "2")
    page.evaluate("window.dispatchEvent(new Event('pagehide'))")
    stage.put(page, given)  # a reload
    assert labels_on(page) == ["good", "neutral", "none", "none"]
    stored = page.evaluate("Object.entries(localStorage).find(([name]) => name.includes('/draft:'))[1]")
    assert json.loads(stored)["updated_at"] > draft["updated_at"]


def test_a_hundred_kilobytes_of_tex_are_drawn_as_they_come_near_labelled_and_kept(page: Page, stage: Stage) -> None:
    formula = r"$\sum_{k=1}^{n} \frac{1}{k(k+1)} = 1 - \frac{1}{n+1}$ and \[\int_0^1 x\,dx = \frac{1}{2}.\] "
    steps = [formula * 30 for _ in range(40)]
    assert sum(map(len, steps)) > 100_000
    given = task(steps=steps, answer=None, mode="all_steps", evidence=None)
    stage.put(page, given, task(2, evidence=None))
    expect(page.locator(".sm-card.is-current .katex").first).to_be_visible()
    press(page, "3", "1", "2")
    assert labels_on(page)[:4] == ["good", "bad", "neutral", "none"]
    assert page.locator(".sm-formula .katex").count() < 1_000  # of two thousand
    expect(page.locator(".sm-card.is-current .katex")).to_have_count(60)
    page.evaluate("window.dispatchEvent(new Event('pagehide'))")
    stage.put(page, given, task(2, evidence=None))
    assert labels_on(page)[:4] == ["good", "bad", "neutral", "none"]
    press(page, "g", "Enter")
    assert submissions(page)[0]["labels"] == [1, -1, 0, *[1] * 37]
    expect(page.locator(".sm-card")).to_have_count(len(STEPS) + 1)
    press(page, "u")
    expect(page.locator(".sm-card")).to_have_count(40)


def test_an_answer_given_while_the_browsers_storage_is_full_is_sent_all_the_same(page: Page, stage: Stage) -> None:
    stage.put(page, *(task(number, evidence=None) for number in (1, 2, 3)))
    press(page, "1", "Enter")
    page.evaluate(
        """() => {
            for (let size = 1 << 22; size > 0; size >>= 1)
                try {
                    for (let n = 0; n < 2; n++) localStorage.setItem(`filler-${size}-${n}`, "x".repeat(size));
                } catch {}
        }"""
    )
    press(page, "3", "1")
    expect(page.locator(".sm-status")).to_have_text("Draft not kept: the browser's storage is full")
    press(page, "Enter")
    assert [(entry["task_id"], entry["labels"][:2]) for entry in submissions(page)] == [(1, [-1, None]), (2, [1, -1])]
    expect(page.locator(".sm-status")).to_have_text("All saved")
    press(page, "u")
    assert labels_on(page)[:2] == ["good", "bad"]  # what cannot be stored is remembered while the page is open
