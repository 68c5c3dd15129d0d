"""Every page for leads and annotators in Streamlit's AppTest, on an empty and on a filled database."""

import datetime as dt
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from annotator.views.reading_page import plain
from annotator.workplace import Workplace, open_workplace
from db.annotators import find_or_create_annotator
from db.connect import reading, writing
from db.known_tasks import Known, add_known_tasks
from db.models import (
    Adjudication,
    Annotation,
    Annotator,
    Critique,
    Note,
    Problem,
    ProblemSource,
    Project,
    Request,
    Score,
    Solution,
    Task,
    TaskAdjudication,
)
from db.models import StepLabel as StepLabelRow
from db.notes import list_notes, write_note
from db.projects import create_project, get_project
from db.tasks import CritiqueAnswer, PairAnswer, Wanted, add_tasks, claim_tasks, submit
from tests.labelling import add_run, answer_of

ROOT = Path(__file__).parents[2]
PAGES = ("dashboard", "adjudicate", "browse", "rounds", "projects", "team", "data", "progress", "guidelines")
NASTY = "**bold** <img src=x onerror=alert(1)> $5 and $7 ![](http://192.0.2.1/x.png)"


pytestmark = pytest.mark.usefixtures("main_module_is_kept")


@pytest.fixture
def filled(workplace: Workplace) -> Workplace:
    """Two people differ on the second step of one task; a gold task, a critique, a score and a note are there."""
    engine = workplace.engine
    other = find_or_create_annotator(engine, "annotator-2")
    project_id = create_project(engine, "pilot", n_wanted=2)
    with writing(engine) as session:
        session.add(Problem(statement_hash="0" * 32, family="0" * 32, statement=NASTY, reference_answer="2"))
        session.flush()
        session.add(ProblemSource(problem_id=1, source="sums/test", source_key="0"))
        for key in ("a", "b", "c"):
            session.add(
                Solution(
                    problem_id=1,
                    source="made",
                    source_key=key,
                    text="",
                    text_hash=key * 32,
                    steps=["1 + 1 = 2", NASTY],
                    answer="2",
                    outcome=True,
                )
            )
        session.flush()
        session.add(Task(project_id=project_id, solution_id=1, kind="steps", n_wanted=2, is_open=False))
        session.add(Task(project_id=project_id, solution_id=2, kind="steps", n_wanted=2))
        session.add(Critique(solution_id=1, problem_id=1, kind="judge", critic=NASTY, text=NASTY, verdict="fail"))
        session.add(Score(solution_id=1, reward_model="prm-1", kind="prm", value=0.5, step_values=[0.9, 0.2]))
        session.flush()
        for number, (annotator_id, label) in enumerate(((workplace.annotator_id, 1), (other, -1))):
            row = Annotation(
                submission_id=str(number),
                kind="steps",
                annotator_id=annotator_id,
                task_id=1,
                solution_id=1,
                finish_reason="found_error" if label == -1 else "solution",
                first_error=1 if label == -1 else None,
                duration_ms=4000,
                comment=NASTY,
                suggestion_shown=bool(number),
                created_at=dt.datetime.now(dt.UTC) - dt.timedelta(days=number),
            )
            session.add(row)
            session.flush()
            session.add_all(
                StepLabelRow(annotation_id=row.annotation_id, step_index=index, label=one)
                for index, one in enumerate((1, label))
            )
    add_known_tasks(engine, project_id, [Known(3, {"labels": [1, 1]})])
    write_note(engine, kind="message", to_id=workplace.annotator_id, author_id=other, text=NASTY)
    return workplace


@pytest.fixture
def varied(filled: Workplace) -> Workplace:
    """Beside that, two people differ on a pair (task 4), and on a critique (task 5), in projects of their own."""
    engine = filled.engine
    other = find_or_create_annotator(engine, "annotator-2")
    pairs = create_project(engine, "pairs", kind="preference", n_wanted=2, settings={"gold_share": 0.0})
    critiques = create_project(engine, "critiques", kind="critique", n_wanted=2, settings={"gold_share": 0.0})
    with writing(engine) as session:
        session.add(
            Critique(solution_id=1, problem_id=1, kind="judge", critic="judge-2", text="Yes.", verdict="pass")
        )
    add_tasks(engine, [Wanted(1, other_solution_id=2)], project_id=pairs)
    add_tasks(engine, [Wanted(1, critique_id=1)], project_id=critiques)
    for number, me in enumerate((filled.annotator_id, other)):
        [pair] = claim_tasks(engine, me, n=1, project_id=pairs)
        on_screen = "first" if pair.order == ("ab", "ba")[number] else "second"
        choice = PairAnswer(on_screen, 2, ("clear",))
        assert submit(engine, answer_of(pair, me, pair=choice, comment=NASTY)).is_accepted
        [critique] = claim_tasks(engine, me, n=1, project_id=critiques)
        judged = CritiqueAnswer(("right", "wrong")[number], True, number == 0, NASTY)
        assert submit(engine, answer_of(critique, me, critique=judged)).is_accepted
    return filled


def click(page: AppTest, label: str) -> None:
    """Clicks the button of this label, or this key."""
    next(one for one in page.button if label in (one.label, one.key)).click().run()
    assert list(page.exception) == []


def shown(page: str, **state: object) -> AppTest:
    def script(page: str) -> None:
        from importlib import import_module

        import_module(f"annotator.views.{page}").show()

    test = AppTest.from_function(script, default_timeout=60, args=(page,))
    for key, value in state.items():
        test.session_state[key] = value
    test.run()
    assert list(test.exception) == []
    return test


@pytest.mark.parametrize("page", PAGES)
def test_every_page_stands_on_an_empty_database(workplace: Workplace, page: str) -> None:
    assert shown(page).title[0].value


@pytest.mark.parametrize(
    ("page", "state"),
    [
        *((page, {}) for page in PAGES),
        *(
            ("projects", {"project_part": part})
            for part in ("Queue", "Members", "Known answers", "Guideline", "Settings")
        ),
        *(("team", {"team_project": "pilot", "team_part": part}) for part in ("Figures", "Calibration", "Notes")),
        *(("browse", {"browse_noun": noun}) for noun in ("problems", "labels", "critiques", "runs")),
        *(("data", {"data_part": part}) for part in ("Export", "Contents")),
        ("browse", {"browse_solution": 1}),
        ("adjudicate", {"case": 1}),
        ("dashboard", {"dashboard_span": "Dates"}),
        ("dashboard", {"agreement_suggestion": "Opinion shown"}),
    ],
)
def test_every_part_of_every_page_stands_on_a_filled_database(
    filled: Workplace, page: str, state: dict[str, object]
) -> None:
    check_that_model_text_is_plain(shown(page, **state))


@pytest.mark.parametrize(
    ("page", "state"),
    [
        ("adjudicate", {"adjudicate_kind": "preference"}),
        ("adjudicate", {"adjudicate_kind": "critique"}),
        ("adjudicate", {"case": 4, "hide_names": True}),
        ("adjudicate", {"case": 5}),
        ("browse", {"browse_solution": 1}),
        *(("projects", {"project_name": "pairs", "project_part": part}) for part in ("Queue", "Known answers")),
        *(("projects", {"project_name": "critiques", "project_part": part}) for part in ("Queue", "Known answers")),
        ("projects", {"project_name": "critiques", "project_part": "Settings"}),
        ("team", {"team_project": "pairs", "team_part": "Calibration"}),
        ("dashboard", {"dashboard_project": "pairs"}),
        ("progress", {}),
    ],
)
def test_pages_stand_on_pairs_and_critiques(varied: Workplace, page: str, state: dict[str, object]) -> None:
    check_that_model_text_is_plain(shown(page, **state))


def check_that_model_text_is_plain(found: AppTest) -> None:
    # Model text is never Markdown: no element that Streamlit reads as such holds it unescaped.
    for element in (*found.markdown, *found.caption, *found.success, *found.error, *found.info):
        assert "**bold**" not in element.value
        assert "<img" not in element.value


@pytest.mark.parametrize("page", ["dashboard", "adjudicate", "browse", "rounds", "projects", "team", "data"])
def test_pages_of_leads_are_closed_to_annotators(filled: Workplace, page: str) -> None:
    open_workplace(Workplace(filled.engine, filled.annotator_id, filled.annotator, None, role="annotator"))
    found = shown(page)
    assert "This page is for the role" in found.error[0].value
    assert not found.dataframe


def test_a_project_is_made_and_changed_on_its_page(workplace: Workplace) -> None:
    page = shown("projects")
    page.text_input[0].input("pilot")
    next(one for one in page.button if one.label == "Make the project").click().run()
    assert list(page.exception) == []
    assert page.success[0].value == "Project pilot is there\\. Fill its queue next\\."
    assert get_project(workplace.engine, "pilot").kind == "steps"
    page = shown("projects", project_part="Settings")
    next(one for one in page.number_input if one.label == "Gold, share of tasks").set_value(0.2)
    next(one for one in page.text_input if one.label == "Mix of rules, as JSON").input("{")
    next(one for one in page.button if one.label == "Save").click().run()
    assert page.error[0].value.startswith("mix '\\{' is not JSON")
    next(one for one in page.text_input if one.label == "Mix of rules, as JSON").input('{"random": 1.0}')
    next(one for one in page.button if one.label == "Save").click().run()
    assert get_project(workplace.engine, "pilot").settings.gold_share == 0.2
    assert get_project(workplace.engine, "pilot").settings.mix == {"random": 1.0}


def test_the_queue_is_filled_by_rule_from_the_page(filled: Workplace) -> None:
    page = shown("projects", project_part="Queue")
    assert any("3 fit the source: 2 are in this project already, 1 can be added" in one.value for one in page.caption)
    next(one for one in page.button if one.label == "Put into the queue").click().run()
    assert list(page.exception) == []
    assert page.success[0].value == "queue\\: read 1, kept 1, dropped 0"
    with reading(filled.engine) as session:
        assert session.scalar(sa.select(sa.func.count()).where(Task.purpose == "label")) == 3


def test_a_case_is_decided_and_sent_back_from_the_page(filled: Workplace) -> None:
    page = shown("adjudicate", case=1)
    next(one for one in page.button if one.key == "own_0").click().run()
    assert list(page.exception) == []
    with reading(filled.engine) as session:
        assert [(row.step_index, row.label) for row in session.scalars(sa.select(Adjudication))] == [(1, 0)]
    next(one for one in page.button if one.label == "All of annotator\\-2").click().run()
    with reading(filled.engine) as session:
        found = {row.step_index: row.label for row in session.scalars(sa.select(Adjudication))}
    assert found == {0: 1, 1: -1}
    page.text_area[0].input("Look at step 2 again")
    next(one for one in page.button if one.label == "Send").click().run()
    with reading(filled.engine) as session:
        kinds = session.scalars(sa.select(Note.kind).where(Note.kind == "sent_back")).all()
    assert kinds == ["sent_back", "sent_back"]


def test_notes_are_read_on_the_progress_page_and_sent_back_ones_stay(filled: Workplace) -> None:
    engine, me = filled.engine, filled.annotator_id
    write_note(engine, kind="sent_back", to_id=me, author_id=me, text="again", task_id=1)
    page = shown("progress")
    assert "Notes (2 unread)" in [one.value for one in page.subheader]
    next(one for one in page.button if one.label == "Mark as read").click().run()
    assert [(note.kind, note.is_unread) for note in list_notes(engine, me)] == [
        ("sent_back", True),
        ("message", False),
    ]


def test_a_file_is_imported_and_a_set_exported_from_the_page(workplace: Workplace, tmp_path: Path) -> None:
    page = shown("data")
    next(one for one in page.selectbox if one.label == "Format").set_value("processbench")
    path = ROOT / "examples/data/processbench/gsm8k.json"
    next(one for one in page.text_input if one.label.startswith("Or the path")).input(str(path))
    next(one for one in page.button if one.label == "Import").click().run()
    assert list(page.exception) == []
    assert page.success[0].value.startswith("gsm8k\\.json\\: read 13, kept 13, dropped 0")
    page = shown("data", data_part="Export")
    next(one for one in page.text_input if one.label == "Folder on the server").input(str(tmp_path / "sets"))
    next(one for one in page.button if one.label == "Export").click().run()
    assert list(page.exception) == []
    assert "kept" in page.success[0].value
    assert (tmp_path / "sets").is_dir()


def test_a_set_is_imported_from_the_hub_and_what_was_left_out_is_shown_by_reason(
    workplace: Workplace, tmp_path: Path
) -> None:
    (tmp_path / "gsm" / "data").mkdir(parents=True)
    rows = [{"question": "What is 9 + 7?", "answer": "9 + 7 = 16\n#### 16"}, {"question": "", "answer": "x"}]
    (tmp_path / "gsm" / "data" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = shown("data")
    next(one for one in page.selectbox if one.label == "Format").set_value("gsm8k")
    path = next(one for one in page.text_input if one.label.startswith("Or the path"))
    path.input(f"hub:{tmp_path}/gsm:default/test")
    next(one for one in page.toggle if one.label.startswith("Leave out rows")).set_value(True)
    next(one for one in page.button if one.label == "Import").click().run(timeout=60)
    assert list(page.exception) == []
    assert list(page.error) == []
    assert "read 2, kept 1, dropped 1" in page.success[0].value
    assert "Rows left out" in [one.value for one in page.caption]
    assert page.dataframe[1].value.to_dict("list")["count"] == [1]
    path = next(one for one in page.text_input if one.label.startswith("Or the path"))
    path.input("hub:nothing")
    next(one for one in page.button if one.label == "Import").click().run()
    assert "names no set" in page.error[0].value


@pytest.mark.parametrize("config", ["critique", "critique_preference", "cloud", "sft", "rl"])
def test_every_further_set_is_exported_from_the_page(workplace: Workplace, tmp_path: Path, config: str) -> None:
    from tests.small_database import fill

    with writing(workplace.engine) as session:
        session.execute(sa.delete(Annotator))
    fill(workplace.engine)
    page = shown("data", data_part="Export")
    next(one for one in page.selectbox if one.label == "Set").set_value(config)
    next(one for one in page.text_input if one.label == "Folder on the server").input(str(tmp_path / "sets"))
    click(page, "Export")
    assert list(page.error) == []
    assert page.success[0].value.startswith(plain(f"{config} in"))
    assert (tmp_path / "sets" / config).is_dir()
    assert ("Left out" in [one.value for one in page.caption]) == (" dropped 0" not in page.success[0].value)


def test_a_project_that_is_open_to_all_shows_in_the_guidelines(filled: Workplace) -> None:
    with reading(filled.engine) as session:
        assert session.scalar(sa.select(Project.name)) == "pilot"
    found = shown("guidelines")
    assert "Which label?" in [one.value for one in found.subheader]


def test_a_pair_is_decided_on_its_page_and_the_next_task_is_the_next_disagreement(varied: Workplace) -> None:
    page = shown("adjudicate", adjudicate_kind="preference")
    click(page, "Start with the lowest agreement")
    assert any(one.value == "**Undecided** · 1 × A is better, 1 × B is better" for one in page.markdown)
    page.text_input[0].input("B is shorter").run()
    click(page, "own_b")
    with reading(varied.engine) as session:
        [row] = session.scalars(sa.select(TaskAdjudication))
        assert (row.task_id, row.choice, row.note, row.adopted_from_id) == (4, "b", "B is shorter", None)
    assert any(one.value.startswith("**Decided: B is better** by annotator\\-1") for one in page.markdown)
    click(page, next(one.key for one in page.button if (one.key or "").startswith("adopt_")))
    with reading(varied.engine) as session:
        [row] = session.scalars(sa.select(TaskAdjudication))
        assert row.adopted_from_id is not None
    click(page, "Next task")
    assert page.success[0].value == "That was the last disagreement\\."
    assert page.info[0].value.startswith("Everything on which annotators differ is decided.")


def test_a_critique_is_decided_with_its_verdict(varied: Workplace) -> None:
    page = shown("adjudicate", case=5)
    click(page, "verdict_is_right")
    click(page, "verdict_is_right")
    click(page, "verdict_is_wrong")
    click(page, "own_partly")
    with reading(varied.engine) as session:
        [row] = session.scalars(sa.select(TaskAdjudication))
        assert (row.judgement, row.is_verdict_right) == ("partly", False)
    other = find_or_create_annotator(varied.engine, "annotator-2")
    texts = [note.text for note in list_notes(varied.engine, other) if note.kind == "feedback"]
    assert texts == ["Critique: you said wrong, decided is partly."]


def test_known_pairs_and_critiques_are_typed_in_and_a_round_of_pairs_is_started(varied: Workplace) -> None:
    page = shown("projects", project_name="pairs", project_part="Known answers")
    next(one for one in page.number_input if one.label == "Solution B").set_value(3)
    page.button[-1].click().run()
    assert page.success[0].value == "gold\\: read 1, kept 1, dropped 0"
    page = shown("projects", project_name="critiques", project_part="Known answers")
    page.button[-1].click().run()
    assert page.success[0].value == "gold\\: read 1, kept 1, dropped 0"
    page = shown("team", team_project="pairs", team_part="Calibration")
    click(page, "Start")
    with reading(varied.engine) as session:
        purposes = session.scalars(sa.select(Task.purpose).where(Task.kind != "steps").order_by(Task.task_id)).all()
    assert purposes == ["label", "label", "gold", "gold", "calibration", "calibration", "calibration"]


def test_a_task_that_cannot_be_opened_says_why_on_the_page(filled: Workplace) -> None:
    page = shown("browse", browse_solution=1)
    next(one for one in page.selectbox if one.label == "Project").set_value("pilot")
    click(page, "Label it now")
    assert "you have answered task 1" in page.error[0].value


def test_one_run_is_exported_from_the_page(filled: Workplace, tmp_path: Path) -> None:
    run_id = add_run(filled.engine, "solutions")
    with writing(filled.engine) as session:
        request = Request(run_id=run_id, payload_hash="0" * 32, sample_index=0, status="done", response="x")
        session.add(request)
        session.flush()
        session.add(
            Solution(
                problem_id=1,
                run_id=run_id,
                request_id=request.request_id,
                text="1 + 1 = 2",
                text_hash="d" * 32,
                steps=["1 + 1 = 2"],
                answer="2",
                outcome=True,
            )
        )
    page = shown("data", data_part="Export")
    next(one for one in page.selectbox if one.label == "Set").set_value("orm")
    next(one for one in page.selectbox if one.label == "Run").set_value(run_id)
    next(one for one in page.text_input if one.label == "Folder on the server").input(str(tmp_path / "sets"))
    click(page, "Export")
    assert "read 1, kept 1" in page.success[0].value


def test_progress_shows_the_own_quality_where_the_project_does(filled: Workplace) -> None:
    page = shown("progress")
    assert "How often you were right" not in [one.value for one in page.subheader]
    with writing(filled.engine) as session:
        session.get_one(Project, 1).settings = {"shows_own_quality": True}
        session.add(
            Annotation(
                submission_id="gold",
                kind="steps",
                annotator_id=filled.annotator_id,
                task_id=3,
                solution_id=3,
                finish_reason="solution",
            )
        )
    page = shown("progress")
    assert "How often you were right" in [one.value for one in page.subheader]
    assert [(one.label, one.value) for one in page.metric][-1] == ("Known answers, right", "–")
