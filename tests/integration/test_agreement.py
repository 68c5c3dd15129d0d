"""What labellers said of steps, read out of both databases, and the command that measures it."""

import datetime as dt
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import db.agreement
from db.agreement import LabelSelection, count_labelled_solutions, find_labellers, labelled_solutions
from db.annotations import annotator_id
from db.connect import open_database, writing
from db.models import Annotation, Problem, ProblemSource, Request, Run, Solution, StepLabel, Task
from stepmark.cli.main import main
from stepmark.errors import InputError
from stepmark.flows.agreement import measure_agreement

MONDAY, TUESDAY = (dt.datetime(2026, 3, day, 12, tzinfo=dt.UTC) for day in (2, 3))


@pytest.fixture(autouse=True)
def two_solutions_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db.agreement, "_SOLUTIONS_OF_CHUNK", 2)


def add_solutions(session: Any, *sources: str | None) -> list[int]:
    """A solution of three steps for each source; None: sampled for the problem of source `problems`."""
    problem = Problem(statement_hash="h", family="f", statement="How many?")
    run = Run(run_key="k", kind="solutions", engine="openai", model="m", record={})
    session.add_all([problem, run])
    session.flush()
    session.add(ProblemSource(problem_id=problem.problem_id, source="problems", source_key="0"))
    added = []
    for number, source in enumerate(sources):
        one = Solution(
            problem_id=problem.problem_id,
            text=f"text {number}",
            text_hash=str(number),
            steps=["one", "two", "three"],
            source=source,
            source_key=None if source is None else str(number),
        )
        if source is None:
            request = Request(run_id=run.run_id, payload_hash="p", sample_index=number, status="done", response="x")
            session.add(request)
            session.flush()
            one.run_id, one.request_id = run.run_id, request.request_id
        session.add(one)
        added.append(one)
    session.flush()
    return [one.solution_id for one in added]


def add_answer(
    session: Any,
    who: str,
    solution_id: int,
    labels: Sequence[int | None],
    *,
    kind: str = "person",
    reason: str | None = None,
    at: dt.datetime = MONDAY,
    unsure: Sequence[int] = (),
) -> Annotation:
    """An answer to a task of its own, or without one where no `reason` for a task is given."""
    task = None if reason is None else Task(kind="steps", solution_id=solution_id, reason=reason)
    if task is not None:
        session.add(task)
        session.flush()
    answer = Annotation(
        submission_id=f"{who}-{solution_id}-{at}-{labels}",
        kind="steps",
        annotator_id=annotator_id(session, who, kind=kind),
        task_id=None if task is None else task.task_id,
        solution_id=solution_id,
        mode="first_error",
        finish_reason="found_error" if -1 in labels else "solution",
        first_error=list(labels).index(-1) if -1 in labels else None,
        created_at=at,
    )
    session.add(answer)
    session.flush()
    session.add_all(
        StepLabel(annotation_id=answer.annotation_id, step_index=step, label=label, is_unsure=step in unsure)
        for step, label in enumerate(labels)
        if label is not None
    )
    return answer


def fill(engine: sa.Engine) -> None:
    """Five solutions, on which two people, a model and a program have answers."""
    with writing(engine) as session:
        s = add_solutions(session, "set/a", "set/a", "set/b", None, "set/b")
        add_answer(session, "annotator-1", s[0], (1, 1, 1), reason="random")
        add_answer(session, "annotator-2", s[0], (1, 0, 1), reason="random", unsure=[1], at=TUESDAY)
        add_answer(session, "annotator-1", s[1], (1, -1), reason="random")
        old = add_answer(session, "annotator-2", s[1], (-1,))
        new = add_answer(session, "annotator-2", s[1], (1, -1), reason="uncertain", at=TUESDAY)
        old.superseded_by_id = new.annotation_id
        add_answer(session, "annotator-1", s[2], (1, 1, -1))
        add_answer(session, "annotator-2", s[2], (1, 1, 1), at=TUESDAY).suggestion_shown = True
        add_answer(session, "annotator-1", s[3], (1, 1, 1))
        add_answer(session, "checker", s[0], (1, 1, 1), kind="program")
        add_answer(session, "checker", s[1], (1, -1), kind="program")
        add_answer(session, "checker", s[2], (1, 1, -1), kind="program", at=TUESDAY)
        for number in (0, 2, 4):
            add_answer(session, "judge", s[number], (1, 1, 1), kind="model")


@pytest.fixture
def filled(database: sa.Engine) -> sa.Engine:
    fill(database)
    return database


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The same in a file, for the command."""
    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    engine = open_database(url, create=True)
    fill(engine)
    engine.dispose()
    return url


def said(engine: sa.Engine, **selection: Any) -> Counter[tuple[int, str, str, tuple[int, ...]]]:
    """Answers read: number of the solution, source, labeller, labels in order."""
    chosen = LabelSelection(**selection)
    labellers = find_labellers(engine, chosen)
    found: Counter[tuple[int, str, str, tuple[int, ...]]] = Counter()
    solutions: list[int] = []
    for chunk in labelled_solutions(engine, chosen, labellers):
        here = sorted({one.solution_id for one in chunk.annotations})
        assert len(here) <= 2
        assert not solutions or here[0] > solutions[-1]
        solutions += here
        for one in chunk.annotations:
            labels = sorted(
                (label.step_index, label.label) for label in chunk.labels if label[0] == one.annotation_id
            )
            name = labellers.names[one.annotator_id]
            found[one.solution_id, one.source, name, tuple(label for _, label in labels)] += 1
    assert count_labelled_solutions(engine, chosen, labellers) == len(solutions)
    return found


def test_current_answers_of_people_are_read_solution_by_solution(filled: sa.Engine) -> None:
    assert said(filled) == {
        (1, "set/a", "annotator-1", (1, 1, 1)): 1,
        (1, "set/a", "annotator-2", (1, 0, 1)): 1,
        (2, "set/a", "annotator-1", (1, -1)): 1,
        (2, "set/a", "annotator-2", (1, -1)): 1,
        (3, "set/b", "annotator-1", (1, 1, -1)): 1,
        (3, "set/b", "annotator-2", (1, 1, 1)): 1,
        (4, "run/1", "annotator-1", (1, 1, 1)): 1,
    }


SELECTIONS: list[tuple[dict[str, Any], dict[int, int]]] = [
    ({"source": "set/*"}, {1: 2, 2: 2, 3: 2}),
    ({"source": "problems"}, {4: 1}),
    ({"reason": "random"}, {1: 2, 2: 1}),
    ({"since": TUESDAY}, {1: 1, 2: 1, 3: 1}),
    ({"until": TUESDAY}, {1: 1, 2: 1, 3: 1, 4: 1}),
    ({"annotator_kinds": ("model", "program")}, {1: 2, 2: 1, 3: 2, 5: 1}),
    ({"suggestion_shown": True}, {3: 1}),
    ({"suggestion_shown": False}, {1: 2, 2: 2, 3: 1, 4: 1}),
    # Gold is read where others have labelled, whenever it was made, and nowhere else.
    ({"since": TUESDAY, "gold": "checker"}, {1: 2, 2: 2, 3: 2}),
    ({"annotator_kinds": ("model",), "gold": "checker"}, {1: 2, 3: 2, 5: 1}),
    ({"annotator_kinds": ("program",), "gold": "checker"}, {}),
]
"""What is selected, and how many answers on each solution are read."""


def test_a_selection_reads_what_it_says_and_refuses_names_that_are_not_there(filled: sa.Engine) -> None:
    for selection, expected in SELECTIONS:
        found: Counter[int] = Counter()
        for (solution_id, *_), n in said(filled, **selection).items():
            found[solution_id] += n
        assert found == expected, selection
    with pytest.raises(InputError, match="no source is named like 'nowhere'"):
        measure_agreement(filled, LabelSelection(source="nowhere"))
    with pytest.raises(
        InputError, match=r"no annotator is called 'nobody'; there are: annotator-1, annotator-2, che"
    ):
        measure_agreement(filled, LabelSelection(gold="nobody"))


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["stepmark", "agreement", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert isinstance(exit_.value.code, int)
    printed = capsys.readouterr()
    return exit_.value.code, printed.out, printed.err


def test_the_command_prints_the_report_and_what_was_left_out(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six of eight pairs of labels agree, one is +1 and 0, one is -1 and +1.

    Alpha: margins 3, 1, 12; mean ranks 1.5, 3.5, 10; D_o = 2 * (6.5^2 + 8.5^2) / 16 = 229 / 16 and
    D_e = 2 * (3 * 1 * 2^2 + 1 * 12 * 6.5^2 + 3 * 12 * 8.5^2) / (16 * 15) = 6240 / 240.
    AC2: p_a = (6 + 2 / 3) / 8, the shares over all 11 steps (9, .5, 1.5) / 11, p_e = 17 / 18 of sum s (1 - s); for
    the two alone over the 8.
    """
    code, out, _ = run(monkeypatch, capsys, "--db", url, "--gold", "checker", "--resamples", "0")
    assert code == 0
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "annotations: read 10, kept 10, dropped 0",
        "labels: read 27, kept 27, dropped 0",
        "steps: read 11, kept 8, dropped 3 (3 with one labeller)",
        "first errors: read 4, kept 3, dropped 1 (1 with one labeller)",
        "labels: +1 79%, 0 5%, -1 16%",
        "",
        "labellers steps raw alpha [95 %] AC2 solutions exact within 1",
        "all 2 8 0.750 0.450 0.764 3 0.667 0.667",
        "",
        "annotator labels unsure pairs with others raw AC2 with gold raw AC2",
        "annotator-1 11 0 8 0.750 0.733 8 1.000 1.000",
        "annotator-2 8 1 8 0.750 0.733 8 0.750 0.733",
    ]


def test_the_report_by_source_is_one_json_document_and_says_what_is_undefined(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, "--db", url, "--by", "source", "--json")
    report = json.loads(out)
    assert code == 0
    assert {name: found["n_shared"] for name, found in report["by_source"].items()} == {
        "run/1": 0,
        "set/a": 5,
        "set/b": 3,
    }
    assert report["by_source"]["run/1"]["alpha"] == {
        "value": None,
        "n_units": 0,
        "low": None,
        "high": None,
        "because": "no unit has two labels",
    }
    assert report["annotations"] == {"n_read": 7, "dropped": {}, "n_kept": 7}
    assert report["pairs"][0]["annotators"] == ["annotator-1", "annotator-2"]
    code, out, _ = run(monkeypatch, capsys, "--db", url, "--by", "source")
    assert "run/1: alpha is undefined: no unit has two labels" in out.splitlines()


def test_posteriors_are_written_for_every_step(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "posteriors.jsonl"
    code, printed, _ = run(monkeypatch, capsys, "posteriors", "--out", str(out), "--db", url)
    assert code == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["solution_id"], row["step_index"], row["n_labellers"]) for row in rows] == [
        *((1, step, 2) for step in range(3)),
        *((2, step, 2) for step in range(2)),
        *((3, step, 2) for step in range(3)),
        *((4, step, 1) for step in range(3)),
    ]
    assert all(sum(row["p"].values()) == pytest.approx(1, abs=1e-5) for row in rows)
    assert rows[0]["p"]["1"] > 0.9
    assert rows[4]["p"]["-1"] > 0.9
    assert "11 steps of 4 solutions" in printed
    assert list(tmp_path.glob("*.partial")) == []
    before = out.read_bytes()
    code, _, err = run(monkeypatch, capsys, "posteriors", "--out", str(out), "--db", url)
    assert (code, out.read_bytes()) == (2, before)
    assert "is there already; give --overwrite" in err
    code, _, _ = run(
        monkeypatch, capsys, "posteriors", "--out", str(out), "--overwrite", "--source", "set/a", "--db", url
    )
    assert (code, len(out.read_text(encoding="utf-8").splitlines())) == (0, 5)


def test_mistakes_are_told_in_one_line(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, message in (
        (["--seed", "1", "posteriors", "--out", str(tmp_path / "x")], "give the options after `posteriors`"),
        (["posteriors", "--out", str(tmp_path / "no" / "x"), "--db", url], "does not exist; make it first"),
        (
            ["posteriors", "--out", str(tmp_path / "x"), "--source", "problems", "--db", url],
            "none of 3 labelled steps has two labellers",
        ),
    ):
        code, out, err = run(monkeypatch, capsys, *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    assert list(tmp_path.glob("x*")) == []
