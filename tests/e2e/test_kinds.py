"""Each kind of task once through the whole app: keys in the browser, then the rows, an undo and a correction."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, TimeoutError, expect

from db.connect import reading, writing
from db.guidelines import add_guideline
from db.members import set_members
from db.models import (
    Alternative,
    AlternativeLabel,
    Annotation,
    Critique,
    CritiqueJudgement,
    Preference,
    Problem,
    Request,
    Solution,
    StepLabel,
    Task,
    WrittenStep,
)
from db.notes import send_back
from db.projects import change_project, create_project, list_projects
from db.tasks import Wanted, add_tasks
from tests.labelling import add_run

from .conftest import Lab, watching
from .test_labelling import DUCKS, RIGHT_DUCKS, labels_on, press

Make = Callable[..., int]


@pytest.fixture(scope="module")
def page(running_lab: Lab, browser: Browser) -> Iterator[Page]:
    """One page for all kinds, as a person would have it open."""
    with watching(browser) as open_page:
        running_lab.queue()
        yield open_page(running_lab).open(wait_for=".sm-empty")


def look(page: Page, selector: str = ".sm-card") -> None:
    """Fetches what is in the queue by now, where the page has not just done so by itself, as after an answer."""
    again, found = page.get_by_role("button", name="Look again"), page.locator(selector)
    expect(again.or_(found).first).to_be_visible()
    if again.is_visible():
        with suppress(TimeoutError):
            again.click(timeout=5_000)
    found.first.wait_for()


@pytest.fixture
def make(lab: Lab) -> Iterator[Make]:
    """Makes a project that is closed after the test: `make("pairs", kind="preference")` returns its id."""

    def create(name: str, **options: Any) -> int:
        settings = {"gold_share": 0.0, **options.pop("settings", {})}
        return create_project(lab.engine, f"{name} {time.monotonic_ns()}", settings=settings, **options)

    yield create
    for row in list_projects(lab.engine):
        change_project(lab.engine, row.project_id, is_open=False)


def solutions(lab: Lab) -> tuple[int, int]:
    """A wrong and a right solution of one problem, of this test alone."""
    with writing(lab.engine) as session:
        first = (session.scalar(sa.select(sa.func.max(Solution.solution_id))) or 0) + 1
        problem = Problem(
            statement_hash=f"{first:032x}", family=f"{first:032x}", statement=DUCKS.statement, reference_answer="18"
        )
        session.add(problem)
        session.flush()
        for key, item, outcome in ((first, DUCKS, False), (first + 1, RIGHT_DUCKS, True)):
            session.add(
                Solution(
                    solution_id=key,
                    problem_id=problem.problem_id,
                    source="test",
                    source_key=str(key),
                    text="\n".join(item.steps),
                    text_hash=f"{key:032x}",
                    steps=list(item.steps),
                    answer=item.answer,
                    outcome=outcome,
                )
            )
    return first, first + 1


def answer(lab: Lab, *, after: int = 0, timeout_s: float = 20.0) -> Annotation:
    """Waits for the current answer that is newer than annotation `after`."""
    end = time.monotonic() + timeout_s
    query = sa.select(Annotation).where(
        Annotation.submission_id.is_not(None), Annotation.superseded_by_id.is_(None), Annotation.annotation_id > after
    )
    while True:
        with reading(lab.engine) as session:
            found = session.scalars(query.order_by(Annotation.annotation_id.desc())).first()
        if found is not None:
            return found
        assert time.monotonic() < end, "no answer arrived"
        time.sleep(0.05)


def newest(lab: Lab) -> int:
    with reading(lab.engine) as session:
        return session.scalar(sa.select(sa.func.max(Annotation.annotation_id))) or 0


def below(lab: Lab, model: type[Any], row: Annotation, *columns: str) -> list[tuple[Any, ...]]:
    """What hangs below an annotation, by the given columns, in the order of the first."""
    with reading(lab.engine) as session:
        found = session.execute(
            sa.select(*(getattr(model, name) for name in columns))
            .where(model.annotation_id == row.annotation_id)
            .order_by(getattr(model, columns[0]))
        )
        return [tuple(one) for one in found]


def correct(lab: Lab, page: Page, before: Annotation, *keys: str) -> Annotation:
    """Goes back to the answered task, changes it by `keys`, submits, and returns the new answer."""
    press(page, "u")
    expect(page.locator(".sm-banner")).to_contain_text("You have answered this task.")
    press(page, *keys, "Enter")
    after = answer(lab, after=before.annotation_id)
    assert after.task_id == before.task_id
    with reading(lab.engine) as session:
        old = session.get_one(Annotation, before.annotation_id)
        assert old.superseded_by_id == after.annotation_id
    return after


def test_the_first_error_is_found_and_moved_by_a_correction(lab: Lab, page: Page, make: Make) -> None:
    wrong, _ = solutions(lab)
    start = newest(lab)
    add_tasks(lab.engine, [Wanted(wrong)], project_id=make("first"))
    look(page)
    press(page, "2", "f", "1", "Enter")
    row = answer(lab, after=start)
    assert (row.kind, row.mode, row.finish_reason, row.first_error) == ("steps", "first_error", "found_error", 1)
    assert below(lab, StepLabel, row, "step_index", "label", "is_unsure") == [(0, 0, False), (1, -1, True)]
    row = correct(lab, page, row, "k", "k", "1")
    assert (row.first_error, below(lab, StepLabel, row, "step_index", "label")) == (0, [(0, -1)])


def test_every_step_is_rated_one_as_repaired_and_one_is_split(lab: Lab, page: Page, make: Make) -> None:
    wrong, _ = solutions(lab)
    start = newest(lab)
    project_id = make("all", mode="all_steps", settings={"repaired_steps": "self_corrected"})
    add_tasks(lab.engine, [Wanted(wrong)], project_id=project_id)
    look(page)
    press(page, "4", "2", "g")
    assert labels_on(page) == ["repaired", "neutral", "good", "good", "good"]
    press(page, "Enter")
    row = answer(lab, after=start)
    assert (row.mode, row.first_error, row.checks) == ("all_steps", None, ["too_fast", "all_good_but_wrong"])
    assert below(lab, StepLabel, row, "step_index", "label", "is_repaired") == [
        (0, -1, True),
        (1, 0, False),
        (2, 1, False),
        (3, 1, False),
        (4, 1, False),
    ]
    row = correct(lab, page, row, "k", "k", "k", "k", "j", "m")
    assert row.segments is not None
    assert len(row.segments) == len(DUCKS.steps) - 1


def test_a_step_is_verified_before_the_models_are_seen(lab: Lab, page: Page, make: Make) -> None:
    wrong, _ = solutions(lab)
    start = newest(lab)
    add_tasks(lab.engine, [Wanted(wrong)], project_id=make("verify", mode="verify"))
    look(page)
    press(page, "3", "1", "Enter")
    expect(page.locator(".sm-sheet")).to_have_class(re.compile("has-evidence"))
    press(page, "Enter")
    row = answer(lab, after=start)
    assert (row.mode, row.finish_reason, row.first_error, row.suggestion_shown) == ("verify", "found_error", 1, True)
    assert row.extra is not None
    assert row.extra["labels_before"] == [1, -1, None, None, None]
    row = correct(lab, page, row, "k", "k", "1")
    assert row.first_error == 0


def test_alternatives_are_rated_one_chosen_then_an_own_one_written(lab: Lab, page: Page, make: Make) -> None:
    wrong, _ = solutions(lab)
    start = newest(lab)
    texts = ("16 - 7 = 9 eggs are left.", "Eggs are oval.")
    run_id = add_run(lab.engine, "alternatives")
    with writing(lab.engine) as session:
        for index, text in enumerate(texts):
            request = Request(
                run_id=run_id, payload_hash=f"{wrong:032x}", sample_index=index, status="done", response=text
            )
            session.add(request)
            session.flush()
            session.add(
                Alternative(solution_id=wrong, step_index=1, run_id=run_id, request_id=request.request_id, text=text)
            )
            session.flush()
    project_id = make("alternatives", mode="alternatives")
    add_tasks(lab.engine, [Wanted(wrong, step_index=1)], project_id=project_id)
    look(page, ".sm-prefix")
    press(page, "1", "3", "2", "k", "o", "Enter")
    row = answer(lab, after=start)
    assert below(lab, StepLabel, row, "step_index", "label") == [(1, -1)]
    rated = below(lab, AlternativeLabel, row, "alternative_id", "label", "is_chosen")
    assert [(label, is_chosen) for _, label, is_chosen in rated] == [(1, True), (0, False)]
    press(page, "u")
    expect(page.locator(".sm-banner")).to_contain_text("You have answered this task.")
    press(page, "e")
    page.keyboard.type("16 - 3 - 4 = 9 eggs")
    press(page, "Escape", "Enter")
    row = answer(lab, after=row.annotation_id)
    assert below(lab, WrittenStep, row, "step_index", "text") == [(1, "16 - 3 - 4 = 9 eggs")]
    rated = below(lab, AlternativeLabel, row, "alternative_id", "label", "is_chosen")
    assert [(label, is_chosen) for _, label, is_chosen in rated] == [(1, False), (0, False)]


def test_the_better_of_two_is_chosen_under_the_rules_of_the_chosen_project(lab: Lab, page: Page, make: Make) -> None:
    wrong, right = solutions(lab)
    start = newest(lab)
    version = f"ours-{wrong}"
    rules = {"sections": [{"title": "Ours", "kind": None, "rules": ["The right one, whatever its style."]}]}
    add_guideline(lab.engine, version, rules)
    project_id = make("pairs", kind="preference", guideline=version)
    paused = make("paused")
    set_members(lab.engine, paused, ["annotator-1"], state="paused", reason="let us talk first")
    add_tasks(lab.engine, [Wanted(wrong, other_solution_id=right)], project_id=project_id)
    look(page, ".sm-pair")
    chooser = page.get_by_role("combobox", name="Project")
    chooser.select_option(str(paused))
    expect(page.locator(".sm-paused")).to_contain_text("let us talk first")
    expect(page.locator(".sm-empty h2")).to_have_text("Nothing for you here")
    chooser.select_option(str(project_id))
    expect(page.locator(".sm-pair")).to_be_visible()
    press(page, "h")
    expect(page.get_by_role("dialog")).to_contain_text("The right one, whatever its style.")
    press(page, "Escape")
    is_wrong_first = (
        page.get_by_text("16 * 7 =").bounding_box()["x"] < page.get_by_text("16 - 7 =").bounding_box()["x"]
    )
    press(page, "b" if is_wrong_first else "a", "3", "4", "Enter")
    row = answer(lab, after=start)
    assert (row.kind, row.mode, row.guideline, row.finish_reason) == ("preference", None, version, "solution")
    columns = ("solution_a_id", "solution_b_id", "choice", "strength", "shown_first", "reasons")
    shown = "a" if is_wrong_first else "b"
    assert below(lab, Preference, row, *columns) == [(wrong, right, "b", 3, shown, ["correct"])]
    row = correct(lab, page, row, "e")
    assert row.guideline == version
    assert below(lab, Preference, row, "choice", "strength") == [("equal", None)]


def test_a_critique_is_judged(lab: Lab, page: Page, make: Make) -> None:
    wrong, _ = solutions(lab)
    start = newest(lab)
    with writing(lab.engine) as session:
        critique = Critique(
            solution_id=wrong,
            problem_id=session.get_one(Solution, wrong).problem_id,
            source="critics",
            source_key=str(wrong),
            kind="judge",
            critic="judge-1",
            text="Step 2 multiplies where it must subtract.",
            verdict="fail",
            first_error=1,
        )
        session.add(critique)
        session.flush()
        critique_id = critique.critique_id
    project_id = make("critiques", kind="critique")
    add_tasks(lab.engine, [Wanted(wrong, critique_id=critique_id)], project_id=project_id)
    look(page, ".sm-critique")
    press(page, "3", "5", "6", "Enter")
    row = answer(lab, after=start)
    columns = ("critique_id", "judgement", "is_verdict_right", "is_helpful", "correction")
    assert below(lab, CritiqueJudgement, row, *columns) == [(critique_id, "right", True, False, None)]
    row = correct(lab, page, row, "2")
    assert below(lab, CritiqueJudgement, row, *columns) == [(critique_id, "partly", True, False, None)]


def test_practice_shows_the_known_answer_and_a_task_comes_back_with_a_note(lab: Lab, page: Page) -> None:
    lab.queue(RIGHT_DUCKS)
    look(page)
    press(page, "g", "Enter")
    [(first, _)] = lab.wait_for(1)
    press(page, "Enter")  # past the evidence
    expect(page.locator(".sm-empty h2")).to_have_text("All done")
    page.get_by_role("button", name="Practise on a known task").click()
    expect(page.locator(".sm-banner")).to_contain_text("ractice")
    page.wait_for_selector(".sm-card")
    press(page, "1", "Enter")
    expect(page.locator(".sm-sheet")).to_have_class(re.compile("is-answered"))
    practised = answer(lab, after=first.annotation_id)
    with reading(lab.engine) as session:
        assert session.get_one(Task, practised.task_id).purpose == "practice"
    assert first.task_id is not None
    send_back(
        lab.engine,
        task_id=first.task_id,
        annotator_ids=[first.annotator_id],
        author_id=first.annotator_id,
        text="Look at step 2 again.",
    )
    page.reload()
    expect(page.locator(".sm-banner")).to_have_text("Sent back by a reviewer: Look at step 2 again.")
    press(page, "3", "1", "Enter")
    second = answer(lab, after=practised.annotation_id)
    assert (second.task_id, second.first_error) == (first.task_id, 1)


def test_a_page_opened_by_its_address_finds_its_server_at_once(lab: Lab, watch: Any, make: Make) -> None:
    version = f"opened-{newest(lab)}-{time.monotonic_ns()}"
    add_guideline(lab.engine, version, {"sections": [{"title": "Ours", "kind": None, "rules": ["Ask first."]}]})
    make("rules", guideline=version)
    page = watch(lab).open("/guidelines", wait_for="text=Ask first.")
    expect(page.get_by_role("heading", name="Guidelines")).to_be_visible()
