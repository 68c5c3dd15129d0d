"""Signing in by keyboard in a real browser, labelling a task, and being led out."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from db import accounts, invitations, sign_ins
from db.annotators import find_or_create_annotator
from db.own_settings import own_keys

from .conftest import Item, Lab
from .test_labelling import press

PASSWORD = "three brown horses"
TASK = Item(r"What is $\frac{1}{2} + \frac{1}{2}$?", "1", (r"The sum is $\frac{2}{2} = 1$.",), "1", source="made")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("guarded"))
    accounts.create_account(lab.engine, "annotator-1", role="admin", password=PASSWORD)
    lab.start()
    yield lab
    lab.kill()
    lab.engine.dispose()


def sign_in(page: Page) -> None:
    expect(page).to_have_title("Sign in · stepmark")
    page.keyboard.type("annotator-1")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")


def test_a_person_signs_in_by_keyboard_labels_a_task_and_is_led_out(guarded: Lab, watch: Any) -> None:
    guarded.queue(TASK)
    watched = watch(guarded)
    page = watched.open(wait_for="h1")
    sign_in(page)
    page.wait_for_selector(".sm-card .katex", timeout=30_000)
    page.keyboard.press("?")
    page.locator("[data-action=restGood]").click()
    page.keyboard.press("y")
    expect(page.locator("[data-action=restGood] kbd")).to_have_text("y")
    annotator_id = find_or_create_annotator(guarded.engine, "annotator-1")
    end = time.monotonic() + 20
    while own_keys(guarded.engine, annotator_id) != {"restGood": ["y"]}:
        assert time.monotonic() < end, "the own key did not arrive"
        time.sleep(0.05)
    page.evaluate("localStorage.clear()")  # as another browser has it
    page.reload()
    page.wait_for_selector(".sm-card .katex", timeout=30_000)
    press(page, "y", "Enter", "Enter")  # and past the evidence
    expect(page.locator(".sm-empty h2")).to_have_text("All done")
    [(row, labels)] = guarded.wait_for(1)
    assert (row.annotator_id, labels) == (annotator_id, {0: 1, 1: 1})
    watched.is_server_down = True  # Streamlit warns of the closed WebSocket
    sign_ins.sign_out_everywhere(guarded.engine, annotator_id)
    page.wait_for_url("**/stepmark/signin", timeout=20_000)


def test_work_that_a_sign_out_elsewhere_interrupts_goes_on_after_the_next_sign_in(guarded: Lab, watch: Any) -> None:
    guarded.queue(TASK)
    watched = watch(guarded)
    page = watched.open(wait_for="h1")
    sign_in(page)
    page.wait_for_selector(".sm-card .katex", timeout=30_000)
    press(page, "3")
    watched.is_server_down = True  # Streamlit warns of the closed WebSocket
    sign_ins.sign_out_everywhere(guarded.engine, find_or_create_annotator(guarded.engine, "annotator-1"))
    press(page, "1", "Enter")  # within the two seconds before the page is left: the answer waits in the browser
    page.wait_for_url("**/stepmark/signin", timeout=20_000)
    assert guarded.annotations() == []
    sign_in(page)
    [(_, labels)] = guarded.wait_for(1)
    assert labels == {0: 1, 1: -1}


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 320, "height": 640}}])
def test_an_invited_person_makes_an_account_by_keyboard(guarded: Lab, watch: Any, options: dict[str, Any]) -> None:
    guarded.queue(TASK)
    name = f"invited-{len(accounts.list_people(guarded.engine))}"
    link = f"/stepmark/invitation/{invitations.invite(guarded.engine)}"
    page = watch(guarded, **options).open(link, wait_for="form")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for text in (name, PASSWORD, PASSWORD):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on the button, which comes next
    page.wait_for_selector(".sm-card, .sm-empty", timeout=30_000)  # somebody invited before may hold the task
    assert accounts.find_person(guarded.engine, name).role == "annotator"
