"""What a lead does in a real browser that no script can: keys on cases, and a solution opened as a task."""

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from playwright.sync_api import Page, expect

from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.models import Critique, Problem, Solution, Task, TaskAdjudication
from db.projects import change_project, create_project, list_projects
from db.tasks import CritiqueAnswer, PairAnswer, Wanted, add_tasks, claim_tasks, submit
from tests.labelling import answer_of

from .conftest import Item, Lab
from .test_labelling import DUCKS, RIGHT_DUCKS, go_on, press

SHEEP = Item("Seattle has 20 sheep. How many have 4 times as many?", "80", ("4 * 20 = 80",), "80")


def wait_until(is_true: Callable[[], Any], *, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


def open_row(page: Page) -> None:
    """Selects the first row of the table: its canvas has a box to tick at the left."""
    box = page.get_by_test_id("stDataFrame").locator("canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 14, box["y"] + 52)


def decision(lab: Lab, task_id: int) -> tuple[Any, ...] | None:
    with reading(lab.engine) as session:
        row = session.scalar(sa.select(TaskAdjudication).where(TaskAdjudication.task_id == task_id))
        return None if row is None else (row.choice, row.judgement, row.is_verdict_right, row.note)


def test_a_solution_is_opened_from_browse_and_stands_before_what_was_held(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS, RIGHT_DUCKS)
    with writing(lab.engine) as session:
        problem = Problem(
            statement_hash="f" * 32,
            family="f" * 32,
            statement=SHEEP.statement,
            reference_answer=SHEEP.reference_answer,
        )
        session.add(problem)
        session.flush()
        solution = Solution(
            problem_id=problem.problem_id,
            source="test",
            source_key="sheep",
            text="",
            text_hash="f" * 32,
            steps=list(SHEEP.steps),
            answer=SHEEP.answer,
        )
        session.add(solution)
        session.flush()
        solution_id = solution.solution_id
    page = watch(lab).open()
    expect(page.locator(".sm-problem")).to_contain_text("eggs")
    page.get_by_test_id("stTopNavLink").filter(has_text="Browse").click()
    page.get_by_label("Text or number").fill("Seattle has 20 sheep")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Rows 1 to 1, newest first")).to_be_visible()
    open_row(page)
    expect(page.get_by_role("heading", name=f"Solution {solution_id}")).to_be_visible()
    page.get_by_text("Open as a task").click()
    page.get_by_role("button", name="Label it now").click()
    expect(page.locator(".sm-problem")).to_contain_text("Seattle has 20 sheep")
    press(page, "g", "Enter")
    go_on(page)
    expect(page.locator(".sm-problem")).to_contain_text("Janet’s ducks lay 16 eggs per day")
    [(answered, labels)] = lab.wait_for(1)
    assert (answered.solution_id, labels) == (solution_id, {0: 1, 1: 1})
    with reading(lab.engine) as session:
        task = session.get_one(Task, answered.task_id)
        assert (task.is_open, task.n_wanted, task.assigned_to_id) == (False, 1, answered.annotator_id)


def test_a_pair_and_a_critique_are_decided_by_keys(lab: Lab, watch: Any) -> None:
    lab.queue(DUCKS, RIGHT_DUCKS)
    engine = lab.engine
    with writing(engine) as session:
        newest = session.scalars(sa.select(Solution).order_by(Solution.solution_id.desc()).limit(2)).all()
        b, a = newest
        b.problem_id = a.problem_id
        session.add(
            Critique(
                solution_id=a.solution_id,
                problem_id=a.problem_id,
                kind="judge",
                critic="judge-1",
                text="No.",
                verdict="fail",
            )
        )
        session.flush()
        critique_id = session.scalar(sa.select(sa.func.max(Critique.critique_id)))
        pair = Wanted(a.solution_id, other_solution_id=b.solution_id)
        criticised = Wanted(a.solution_id, critique_id=critique_id)
    stamp = time.monotonic_ns()
    tasks = {}
    for kind, wanted in (("preference", pair), ("critique", criticised)):
        project_id = create_project(engine, f"{kind} {stamp}", kind=kind, n_wanted=2, settings={"gold_share": 0.0})
        add_tasks(engine, [wanted], project_id=project_id)
        for number in (1, 2):
            me = find_or_create_annotator(engine, f"other-{number}")
            [task] = claim_tasks(engine, me, n=1, project_id=project_id)
            tasks[kind] = task.task_id
            said: dict[str, Any] = {"critique": CritiqueAnswer(("right", "wrong")[number - 1], None, number == 1)}
            if task.order is not None:
                said = {"pair": PairAnswer("first" if task.order[0] == "ab"[number - 1] else "second")}
            assert submit(engine, answer_of(task, me, **said)).status == "stored"
    page = watch(lab).open("/adjudicate", wait_for="[data-testid=stMetric]")
    page.get_by_role("radio", name="Pairs").click()
    page.get_by_role("button", name="Start with the lowest agreement").click()
    expect(page.locator("strong", has_text="Undecided")).to_be_visible()
    page.get_by_placeholder("Note (optional; the annotators read it)").fill("A ends wrong")
    page.get_by_placeholder("Note (optional; the annotators read it)").press("Tab")
    page.get_by_test_id("stMain").locator("h3").first.click()
    page.keyboard.press("b")
    expect(page.get_by_text("Decided: B is better")).to_be_visible()
    wait_until(lambda: decision(lab, tasks["preference"]) == ("b", None, None, "A ends wrong"))
    page.get_by_role("button", name="← All disagreements").click()
    page.get_by_role("radio", name="Critiques").click()
    page.get_by_role("button", name="Start with the lowest agreement").click()
    expect(page.locator("strong", has_text="Undecided")).to_be_visible()
    right = page.get_by_role("button", name="right Shortcut 5")
    expect(right).to_be_visible()  # a key that comes before its button does nothing
    page.keyboard.press("5")
    expect(right).to_have_attribute("kind", "primary")
    page.keyboard.press("2")
    expect(page.get_by_text("Decided: critique partly")).to_be_visible()
    wait_until(lambda: decision(lab, tasks["critique"]) == (None, "partly", True, None))
    for row in list_projects(engine):
        if str(stamp) in row.name:
            change_project(engine, row.project_id, is_open=False)
