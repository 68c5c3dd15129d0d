"""The page of rounds in Streamlit's AppTest: curves, guards in words, what was chosen with links, what stopped it."""

import pytest
from streamlit.testing.v1 import AppTest

from annotator.workplace import Workplace, open_workplace
from db.connect import writing
from db.models import Problem, Solution
from db.rounds import finish_round, start_round

NASTY = "**bold** <img src=x onerror=alert(1)> $5 and $7"

pytestmark = pytest.mark.usefixtures("main_module_is_kept")


def run_loop(workplace: Workplace) -> None:
    """A loop of three rounds, whose guard on verified rows trips in the last one, which stops it."""
    for number, (share, distinct) in enumerate(((1.0, 6.0), (0.97, 4.0), (0.4, 1.0))):
        round_id = start_round(
            workplace.engine, "self-labelled", number, plan={"model": NASTY, "seed": 5000 + number}
        )
        guards = [
            {"name": "verified rows", "value": share, "bound": 0.95, "direction": "min", "tripped": share < 0.95,
             "words": "Rows entered that nothing had verified."},
            {"name": "gap", "value": 0.2, "bound": 0.5, "direction": "max", "tripped": False, "words": ""},
        ]  # fmt: skip
        finish_round(
            workplace.engine,
            round_id,
            selected=[{"reason": f"convincing wrong {NASTY}", "n": 1200 + number, "examples": [1]}] if number else [],
            metrics={"pass@1": 0.5 - number / 10, "distinct answers": distinct}
            | ({"late": 3.0} if number == 2 else {}),
            guards=guards,
            counts={"export": {"read": 9, "kept": 7, "dropped": {"unverified": 2}}},
            stop_reason="verified rows: 0.4, at least 0.95" if number == 2 else None,
        )


def shown(page: str = "rounds", **query: str) -> AppTest:
    def script(page: str) -> None:
        from importlib import import_module

        import_module(f"annotator.views.{page}").show()

    test = AppTest.from_function(script, default_timeout=60, args=(page,))
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert list(test.exception) == []
    return test


def html_of(page: AppTest) -> str:
    return " ".join(element.proto.body for element in page.get("html"))


def test_without_a_loop_the_page_says_how_to_run_one(workplace: Workplace) -> None:
    page = shown()
    assert page.info[0].value.startswith("No loop has run here yet")
    assert page.code[0].value.startswith("stepmark loop")


def test_figures_guards_and_what_stopped_the_loop_are_told(workplace: Workplace) -> None:
    run_loop(workplace)
    page = shown()
    stopped, tripped = (element.value for element in page.error)
    assert stopped == "✕ **Stopped in round 2.** verified rows\\: 0\\.4, at least 0\\.95"
    assert tripped == (
        "✕ **1 tripped**\n\nRound 2: **verified rows** is 0.4, and should be at least 0\\.95. "
        "Rows entered that nothing had verified\\."
    )
    assert {"**pass\\@1**: 0.5 → 0.3", "**distinct answers**: 6 → 1", "**late**: 3"} <= {
        element.value for element in page.markdown
    }
    assert len(page.get("vega_lite_chart")) == 3 + 2
    html = html_of(page)
    assert html.count("✓ 1<") == 1
    assert '<span class="sm-label sm-bad">✕ 0.4 tripped</span>' in html
    assert html.count("tripped</span>") == 1
    assert "at most 0.5" in html
    assert "<img" not in html
    assert all("<img" not in one.value and "**bold**" not in one.value for one in (*page.markdown, *page.caption))


def test_what_was_chosen_is_told_by_round_with_links_that_open_a_solution(workplace: Workplace) -> None:
    run_loop(workplace)
    with writing(workplace.engine) as session:
        session.add(Problem(problem_id=1, statement_hash="0" * 32, family="0" * 32, statement="1 + 1?"))
        session.flush()
        session.add(
            Solution(
                solution_id=1, problem_id=1, source="made", source_key="a", text="2", text_hash="a" * 32, steps=["2"]
            )
        )
    page = shown()
    assert '<a href="browse?solution=1">Solution 1</a>' in html_of(page)
    assert "1,202" in html_of(page)
    assert "export\\: read 9, kept 7, dropped 2 \\(2 unverified\\)" in {one.value for one in page.caption}
    assert any("stopped after this round" in one.value for one in page.markdown)
    page.session_state["rounds_number"] = 0
    page.run()
    assert list(page.exception) == []
    assert "Nothing was chosen in this round." in {one.value for one in page.caption}
    assert not any("stopped after this round" in one.value for one in page.markdown)
    opened = shown("browse", solution="1")
    assert opened.session_state["browse_solution"] == 1
    assert "solution" not in opened.query_params
    assert any(one.label == "← Back to the list" for one in opened.button)
    for nonsense in ("1; DROP", "999999999999999999999999"):
        assert shown("browse", solution=nonsense).title[0].value == "Browse"


def test_a_loop_under_way_and_one_that_no_guard_stopped_say_so(workplace: Workplace) -> None:
    start_round(workplace.engine, "b", 0, plan={})
    page = shown()
    assert page.info[0].value == "Round 0 is under way, or was interrupted."
    round_id = start_round(workplace.engine, "b", 0, plan={})
    finish_round(workplace.engine, round_id, selected=[], metrics={}, guards=[], counts={})
    assert shown().success[0].value == "No guard has stopped it: 1 of 1 rounds are finished."


def test_the_page_is_closed_to_annotators(workplace: Workplace) -> None:
    run_loop(workplace)
    open_workplace(Workplace(workplace.engine, workplace.annotator_id, "annotator-1", None, role="annotator"))
    assert "This page is for the role" in shown().error[0].value
