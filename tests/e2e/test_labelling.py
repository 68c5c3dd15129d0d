"""Labelling in a real browser, from the keyboard to the rows in the database."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from annotator.assets import find_katex

from .conftest import Item, Lab

# Two model solutions of openai/grade-school-math, example_model_solutions.jsonl (MIT, (c) 2021 OpenAI).
DUCKS = Item(
    "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her "
    "friends every day with four. She sells the remainder at the farmers' market daily for $2 per fresh duck egg. "
    "How much in dollars does she make every day at the farmers' market?",
    "18",
    (
        "She eats three for breakfast and bakes 4 muffins every day so she eats 3 + 4 = <<3+4=7>>7 meals",
        "The ducks lay 16 eggs a day and she eats 7 meals a day for a total of 16 * 7 = <<16*7=112>>112 eggs",
        "She sells 112 eggs at $2 per egg a day for a total of 112 * 2 = $<<112*2=224>>224",
        "She makes $224 a day at the farmers' market",
    ),
    "224",
)
RIGHT_DUCKS = Item(
    DUCKS.statement,
    "18",
    (
        "Janet eats 3 duck eggs for breakfast and bakes 4 into muffins so 3 + 4 = <<3+4=7>>7 duck eggs are used",
        "Each day Janet's ducks lay 16 eggs and she uses 7, 16 - 7 = <<16-7=9>>9 duck eggs are for sale",
        "She sells her eggs for $2 per egg and has 9 available for sale so 2 * 9 = $<<2*9=18>>18 per day",
    ),
    "18",
)
ALGEBRA = Item(
    r"Let $S$ be the set of real roots of $x^4-5x^2+4=0$. Find $\sum_{x\in S} x^2$.",
    "10",
    (
        r"Substitute $u=x^2$, so that the quartic becomes a quadratic.",
        r"The substitution gives \[u^2-5u+4=0.\]",
        r"By the quadratic formula, $u=\dfrac{5\pm\sqrt{25-16}}{2}=\dfrac{5\pm 3}{2}$.",
        r"Hence $u=4$ or $u=1$, that is, $x=\pm 2$ or $x=\pm 1$.",
        r"There are two roots of each kind, so $\sum_{x\in S} x^2 = 4+1 = 5$.",
        r"As a check, Vieta gives a sum of $5$ for the roots $u$.",
    ),
    "5",
    source="examples/algebra",
)
LONG = Item(
    "What is 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1?", "10", tuple(f"{n} + 1 = {n + 1}" for n in range(1, 10)), "10"
)


def labels_on(page: Page) -> list[str]:
    return page.eval_on_selector_all(".sm-card", "cards => cards.map((card) => card.dataset.label)")


def press(page: Page, *keys: str) -> None:
    """Presses keys; a task that is submitted faster than any person could read it is submitted twice, as asked."""
    for key in keys:
        page.keyboard.press(key)
        if key == "Enter" and page.locator(".sm-message.is-question").count():
            page.keyboard.press(key)


def go_on(page: Page) -> None:
    """From a task that is answered, and stands there with its evidence, to the next."""
    expect(page.locator(".sm-sheet")).to_have_class(re.compile("is-answered"))
    page.keyboard.press("Enter")


def test_a_task_is_labelled_by_keys_alone_and_the_next_one_appears(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS, RIGHT_DUCKS)
    page = watch(lab).open()
    expect(page.locator(".sm-problem")).to_contain_text("Janet’s ducks lay 16 eggs per day")
    expect(page.locator(".sm-message")).to_have_text("Find the first bad step, or rate all: 5 steps left")
    press(page, "Enter")  # too early: says what is missing, sends nothing
    press(page, "2", "f", "1")
    assert labels_on(page) == ["neutral", "bad", "none", "none", "none"]
    expect(page.locator(".sm-card.is-after")).to_have_count(3)
    expect(page.locator(".sm-message")).to_have_text("First error: step 2. Ready to submit.")
    press(page, "Enter")
    go_on(page)
    expect(page.locator(".sm-card").first).to_contain_text("Janet eats 3 duck eggs for breakfast")
    press(page, "g")
    assert labels_on(page) == ["good"] * 4
    press(page, "Enter")
    go_on(page)
    expect(page.locator(".sm-empty h2")).to_have_text("All done")
    (first, first_labels), (second, second_labels) = lab.wait_for(2)
    assert (first.first_error, first.finish_reason, first.mode, first.guideline) == (
        1,
        "found_error",
        "first_error",
        "prm800k-1",
    )
    assert first_labels == {0: 0, 1: -1}  # nothing after the first error
    assert first.suggestion_shown is False
    assert first.duration_ms is not None
    assert first.duration_ms > 0
    assert (second.first_error, second.finish_reason, second_labels) == (None, "solution", {0: 1, 1: 1, 2: 1, 3: 1})


def test_ten_keys_thirty_milliseconds_apart_land_on_their_ten_steps(lab: Lab, watch: Any) -> None:
    lab.queue(LONG, mode="all_steps")
    page = watch(lab).open()
    keys = "3312332133"
    for key in keys:
        page.keyboard.press(key)
        time.sleep(0.03)
    names = {"1": "bad", "2": "neutral", "3": "good"}
    assert labels_on(page) == [names[key] for key in keys]
    press(page, "Enter")
    [(row, labels)] = lab.wait_for(1)
    assert labels == {index: int(key) - 2 for index, key in enumerate(keys)}
    assert (row.first_error, row.finish_reason, row.mode) == (2, "found_error", "all_steps")


def test_moving_flags_clearing_and_undo_do_what_they_say(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS, mode="all_steps")
    page = watch(lab).open()
    press(page, "3", "j", "ArrowDown", "2", "k", "k", "ArrowUp", "1", "f")
    assert labels_on(page) == ["good", "bad", "none", "neutral", "none"]
    expect(page.locator(".sm-card.is-unsure")).to_have_count(1)
    expect(page.locator(".sm-card.is-current .sm-number")).to_have_text("3")
    press(page, "u", "Backspace")
    assert labels_on(page) == ["good", "none", "none", "neutral", "none"]
    press(page, "k", "0")
    assert labels_on(page) == ["none", "none", "none", "neutral", "none"]
    page.keyboard.down("3")
    page.keyboard.down("3")  # held down: repeats, and counts once
    page.keyboard.up("3")
    press(page, "Control+1", "Alt+1", "Shift+G", "j", "n")
    expect(page.locator(".sm-card.is-current .sm-number")).to_have_text("=")
    assert labels_on(page) == ["good", "none", "none", "neutral", "none"]
    page.locator(".sm-extras textarea").click()
    page.keyboard.type("see 123 gsu?")
    assert labels_on(page) == ["good", "none", "none", "neutral", "none"]
    press(page, "Escape", "g", "Enter")
    [(row, labels)] = lab.wait_for(1)
    assert row.comment == "see 123 gsu?"
    assert labels == {0: 1, 1: 1, 2: 1, 3: 0, 4: 1}


def test_steps_before_the_first_error_that_nobody_judged_are_good_and_marked_as_implied(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS)
    page = watch(lab).open()
    press(page, "j", "j", "1")
    expect(page.locator(".sm-card.is-implied")).to_have_count(2)
    press(page, "Enter")
    [(row, labels)] = lab.wait_for(1)
    assert labels == {0: 1, 1: 1, 2: -1}
    assert row.extra == {"implied_good": [0, 1]}


def test_undo_after_a_submit_comes_back_to_the_task_and_the_second_answer_supersedes(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS, RIGHT_DUCKS)
    page = watch(lab).open()
    press(page, "1", "Enter")
    go_on(page)
    expect(page.locator(".sm-card")).to_have_count(4)
    lab.wait_for(1)
    press(page, "u")
    expect(page.locator(".sm-banner")).to_contain_text("You have answered this task")
    assert labels_on(page) == ["bad", "none", "none", "none", "none"]
    page.reload()
    expect(page.locator(".sm-banner")).to_contain_text("You have answered this task")
    press(page, "3", "1", "Enter")  # the evidence was seen before: on to the next at once
    expect(page.locator(".sm-card")).to_have_count(4)
    end = time.monotonic() + 15
    while (found := lab.annotations()[0])[1] != {0: 1, 1: -1}:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    assert found[0].first_error == 1
    press(page, "u", "Escape")  # and back without a change
    expect(page.locator(".sm-banner")).to_be_hidden()
    expect(page.locator(".sm-card")).to_have_count(4)


def test_leaving_a_task_asks_for_a_reason(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS, RIGHT_DUCKS, ALGEBRA, LONG)
    page = watch(lab).open()
    press(page, "s", "Escape", "3", "s", "2")
    expect(page.locator(".sm-card")).to_have_count(4)
    press(page, "Shift+X", "2")
    expect(page.locator(".sm-card")).to_have_count(7)
    press(page, "1", "Shift+B", "2")
    expect(page.locator(".sm-card")).to_have_count(10)
    press(page, "s")
    page.get_by_placeholder("or in your own words").click()
    page.keyboard.type("12 eggs make a dozen")
    press(page, "Enter")
    expect(page.locator(".sm-empty")).to_be_visible()
    assert [(row.finish_reason, row.extra, row.first_error, labels) for row, labels in lab.wait_for(4)] == [
        (
            "skipped",
            {"reason": "Too long for now", "labels_set_aside": [1, None, None, None, None]},
            None,
            {},
        ),
        ("give_up", {"reason": "I would need paper or a computer"}, None, {}),
        (
            "bad_problem",
            {"reason": "The reference answer is wrong", "labels_set_aside": [-1, *[None] * 6]},
            None,
            {},
        ),
        ("skipped", {"reason": "12 eggs make a dozen"}, None, {}),
    ]


def test_a_reload_and_a_look_at_another_page_keep_the_draft(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS)
    page = watch(lab).open()
    press(page, "3", "2", "f")
    page.locator(".sm-extras textarea").fill("half way")
    page.reload()
    page.wait_for_selector(".sm-card")
    assert labels_on(page) == ["good", "neutral", "none", "none", "none"]
    expect(page.locator(".sm-card.is-current .sm-number")).to_have_text("3")
    expect(page.locator(".sm-extras textarea")).to_have_value("half way")
    page.get_by_role("link", name="Progress").click()
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    expect(page.locator(".sm-surface")).to_have_count(0)
    page.get_by_role("link", name="Guidelines").click()
    expect(page.get_by_text("Correct, and checkable within about 30 seconds")).to_be_visible()
    page.get_by_role("link", name="Label").click()
    page.wait_for_selector(".sm-card")
    assert labels_on(page) == ["good", "neutral", "none", "none", "none"]
    press(page, "u", "1", "Enter")
    go_on(page)
    expect(page.locator(".sm-empty")).to_be_visible()
    [(row, labels)] = lab.wait_for(1)
    assert (labels, row.comment) == ({0: 1, 1: 0, 2: -1}, "half way")


def test_hostile_text_stays_text_and_nothing_is_fetched(lab: Lab, watch: Any) -> None:
    hostile = (
        "<script>alert(1)</script><img src=x onerror=alert(2)>",
        "![x](https://example.com/x.png) [y](javascript:alert(3)) <a href='javascript:alert(4)'>z</a>",
        r"\(\href{javascript:alert(5)}{a}\includegraphics{https://example.com/y.png}\htmlId{i}{b}\)",
        r"It costs $5 and $7, \(\frac{1}{2}\), 2*3*4, and \(\frac{1\).",
        r"$\def\a{\a\a}\a$",
    )
    lab.queue(Item("A </div><style>*{display:none}</style> problem at http://example.com", None, hostile, "<b>1</b>"))
    page = watch(lab).open()
    expect(page.locator(".sm-formula .katex")).to_have_count(2)
    texts = page.eval_on_selector_all(".sm-card .sm-text", "all => all.map((text) => text.textContent)")
    assert texts[0] == hostile[0]
    assert texts[1] == hostile[1]
    assert texts[3].startswith("It costs $5 and $7, ")
    assert texts[3].endswith(r", 2*3*4, and \(\frac{1\).")
    assert texts[4] == hostile[4]
    assert texts[5] == "<b>1</b>"
    inside = ".sm-text script, .sm-text img, .sm-text a, .sm-text style, .sm-text b, .sm-text [id]"
    expect(page.locator(inside)).to_have_count(0)


TOKENS = [
    ("$5 and $7", "auto", ["$5 and $7"]),
    ("$x$ costs $5 and $7", "auto", [("x", False), " costs $5 and $7"]),
    ("pay $5, or 3$ less", "auto", ["pay $5, or 3$ less"]),
    ("$10/hour for 5 hours = 50$", "auto", ["$10/hour for 5 hours = 50$"]),
    ("5$+7$=12$", "auto", ["5$+7$=12$"]),
    ("$5 + 3 = 8$ and $5$", "auto", [("5 + 3 = 8", False), " and ", ("5", False)]),
    ("2$\\pi$", "auto", ["2", ("\\pi", False)]),
    ("\\$5 and $y$", "auto", ["\\$5 and ", ("y", False)]),
    ("a \\[b\\] $$c$$ \\(d\\)", "auto", ["a ", ("b", True), " ", ("c", True), " ", ("d", False)]),
    ("\\begin{align}a&=b\\end{align}.", "auto", [("\\begin{align}a&=b\\end{align}", True), "."]),
    ("112 * 2 = $<<112*2=224>>224", "auto", ["112 * 2 = $", "note:112*2=224", "224"]),
    ("$80,000 + $50,000 = $130,000", "auto", ["$80,000 + $50,000 = $130,000"]),
    ("$x$ \\(y\\)", "plain", ["$x$ \\(y\\)"]),
    ("pay $5 and 3$ less", "tex", ["pay ", ("5 and 3", False), " less"]),
    ("open \\( and $ and \\[", "auto", ["open \\( and $ and \\["]),
]


def test_text_is_taken_apart_into_words_formulas_and_notes(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS)
    page = watch(lab).open()
    found = page.evaluate(
        """async (cases) => {
            const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
            const { tokenise } = await import(loaded.find((name) => name.endsWith("/text.js")));
            return cases.map(([text, mode]) => tokenise(text, mode));
        }""",
        [[text, mode] for text, mode, _ in TOKENS],
    )

    def short(token: dict[str, Any]) -> Any:
        if token["kind"] == "formula":
            return (token["value"], token["isDisplay"])
        return token["value"] if token["kind"] == "text" else f"note:{token['value']}"

    assert [[short(token) for token in tokens] for tokens in found] == [wanted for _, _, wanted in TOKENS]
    assert ["".join(token["source"] for token in tokens) for tokens in found] == [text for text, _, _ in TOKENS]


def test_without_npm_streamlits_own_katex_does(lab: Lab, watch: Any, tmp_path: Path) -> None:
    lab.queue(DUCKS)
    page = watch(lab).open()
    bundled = find_katex(tmp_path)
    assert bundled is not None
    drawn = page.evaluate(
        "async (url) => (await import(new URL(url, location.href).href)).default.renderToString('x^2')",
        bundled.module,
    )
    assert 'class="katex"' in drawn


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("label", {}),
        ("label-dark", {"color_scheme": "dark"}),
        ("label-narrow", {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}),
    ],
)
def test_it_fits_the_window_in_light_and_dark_and_on_a_phone(
    lab: Lab, watch: Any, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    lab.queue(ALGEBRA, DUCKS)
    page = watch(lab, **options).open()
    expect(page.locator(".sm-formula .katex").first).to_be_visible()
    press(page, "3", "2", "3", "3", "1")
    page.evaluate("document.fonts.ready")
    page.screenshot(path=tmp_path / f"{name}.png")
    width, inside = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inside
    wide = page.evaluate(
        "[...document.querySelectorAll('.sm-card, .sm-problem, .sm-footer, .sm-top')]"
        ".filter((part) => part.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert wide == 0
    red, green, blue = page.evaluate(
        "getComputedStyle(document.querySelector('.sm-footer')).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue < 200) == (options.get("color_scheme") == "dark")
    is_shown = page.evaluate(
        """() => {
            const card = document.querySelector(".sm-card.is-current").getBoundingClientRect();
            const footer = document.querySelector(".sm-footer").getBoundingClientRect();
            return card.top >= 0 && card.bottom <= footer.top + 1;
        }"""
    )
    assert is_shown


def test_a_killed_server_loses_nothing(tmp_path: Path, watch: Any) -> None:
    lab = Lab(tmp_path)
    lab.start()
    lab.queue(DUCKS, RIGHT_DUCKS, ALGEBRA)
    watched = watch(lab)
    page = watched.open()
    watched.is_server_down = True
    lab.kill()
    press(page, "1", "Enter")  # answered with no server there
    go_on(page)
    expect(page.locator(".sm-card")).to_have_count(4)  # the next task was at hand
    press(page, "3", "3")
    expect(page.locator(".sm-status")).to_have_text("1 answer on the way")
    assert lab.annotations() == []
    lab.start()
    [(row, labels)] = lab.wait_for(1, timeout_s=40)
    assert (row.first_error, labels) == (0, {0: -1})
    expect(page.locator(".sm-status")).to_have_text("Draft kept", timeout=15_000)
    assert labels_on(page) == ["good", "good", "none", "none"]
    page.reload()
    page.wait_for_selector(".sm-card")
    watched.is_server_down = False
    assert labels_on(page) == ["good", "good", "none", "none"]
    press(page, "g", "Enter")
    go_on(page)
    expect(page.locator(".sm-card")).to_have_count(7)
    lab.wait_for(2)
    watched.is_server_down = True
    lab.kill()
    lab.engine.dispose()


def test_an_answer_that_is_refused_is_told_and_kept(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS, RIGHT_DUCKS)
    page = watch(lab).open()
    press(page, "1")
    lab.queue(ALGEBRA)  # the lease is gone, and with it the right to answer
    press(page, "Enter")
    expect(page.locator(".sm-notice")).to_contain_text("An answer was not taken")
    go_on(page)
    expect(page.locator(".sm-card")).to_have_count(7)  # the task that had been fetched ahead is gone too
    refused = page.evaluate("Object.entries(localStorage).find(([name]) => name.endsWith('/refused'))[1]")
    assert json.loads(refused)[0]["submission"]["labels"] == [-1, None, None, None, None]


def test_an_empty_queue_says_how_to_fill_it(lab: Lab, watch: Any) -> None:
    page = watch(lab).open(wait_for=".sm-empty")
    expect(page.locator(".sm-empty pre")).to_contain_text("stepmark queue add --db")
    lab.queue(DUCKS)
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(".sm-card")).to_have_count(5)


def test_the_key_sheet_and_the_guidelines_open_and_close_by_keys(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS)
    page = watch(lab).open()
    press(page, "?")
    expect(page.get_by_role("dialog")).to_contain_text("bad, then the next unjudged")
    press(page, "3", "Escape", "h")
    expect(page.get_by_role("dialog")).to_contain_text("Substance, not nitpicks")
    press(page, "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert labels_on(page) == ["none"] * 5
    press(page, "3")
    assert labels_on(page)[0] == "good"
