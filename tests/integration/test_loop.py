"""Rounds of the loop on the embedded model: waiting for people, going on after Ctrl-C, and stopping by a guard."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.annotators import find_or_create_annotator
from db.connect import open_database, reading, writing
from db.models import Request
from db.problems import add_problems
from db.queue import queue_state
from db.rounds import Generation, RunSample, generation_of, list_rounds, run_samples, runs_of_round
from db.solutions import add_solutions, solution_text_hash
from db.tasks import claim_tasks, submit
from generator.domain import draw_problems, problem_record
from stepmark.cli.main import main
from stepmark.errors import SettingsError
from stepmark.flows.demo import MODEL
from stepmark.flows.embedded_loop import FIXED, LEARN, MEASURE, EmbeddedProblems, prepare_embedded
from stepmark.flows.loop import LoopPlan, run_loop
from stepmark.flows.round_labels import label_by_domain
from stepmark.flows.round_rows import choose_rows, select_to_label
from stepmark.problems import statement_hash
from stepmark.progress import Progress, silent
from stepmark.records import SolutionRecord
from stepmark.steps import render_solution
from tests.labelling import answer_of

PLAN = LoopPlan(
    loop="tiny",
    model=str(MODEL),
    source=LEARN,
    eval_source=MEASURE,
    fixed_source=FIXED,
    n_samples=4,
    n_eval_samples=4,
    n_labels=6,
    reward_epochs=1,
)


@contextmanager
def _quiet(stage: str) -> Iterator[Progress]:
    yield silent


@pytest.fixture
def problems(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'stepmark.db'}", create=True)
    prepare_embedded(engine, EmbeddedProblems(n_learn=10, n_measure=4, n_fixed=3, n_fixed_samples=2, seed=5960))
    yield engine
    engine.dispose()


def test_a_loop_waits_for_people_and_goes_on_when_they_have_answered(problems: sa.Engine, tmp_path: Path) -> None:
    waiting = run_loop(problems, PLAN, out=tmp_path / "out", n_rounds=1, watch=_quiet)
    assert waiting.n_waiting == 6
    assert waiting.rounds[0].finished_at is None
    assert not (tmp_path / "out" / "round-0").exists()
    assert run_loop(problems, PLAN, out=tmp_path / "out", n_rounds=1, watch=_quiet).n_waiting == 6

    assert [(one.reason, one.n_open) for one in queue_state(problems)] == [("tiny 0: random", 6)]
    annotator_id = find_or_create_annotator(problems, "annotator-1")
    tasks = claim_tasks(problems, annotator_id, n=50)
    assert len(tasks) == 6
    for task in tasks:
        submit(problems, answer_of(task, annotator_id, (-1, *(None,) * (task.n_segments - 1))))
    done = run_loop(problems, PLAN, out=tmp_path / "out", n_rounds=1, watch=_quiet)

    (first,) = done.rounds
    assert (done.n_waiting, first.metrics["n_labels"], first.counts["label"]["kept"]) == (0, 6.0, 6)
    assert {name for name in first.metrics if "before" not in name} >= {"pass@1", "pass@4", "prm_best_of_4"}
    assert [guard["name"] for guard in first.guards if guard["tripped"]] == []
    assert (tmp_path / "out" / "round-0" / "policy" / "model.safetensors").exists()
    (chosen,) = first.selected
    assert (chosen["reason"], chosen["n"]) == ("random", 6)
    assert {generation_of(problems, solution_id=id_) for id_ in chosen["examples"]} == {Generation("tiny", 0)}

    with pytest.raises(SettingsError, match=re.escape('was begun with {"n_labels": 6}')):
        run_loop(problems, replace(PLAN, n_labels=7), out=tmp_path / "out", n_rounds=2, watch=_quiet)


def test_an_interrupted_round_asks_nothing_again_and_a_guard_ends_the_loop(
    problems: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = replace(PLAN, loop="own", learn_from="majority", labels="majority")

    @contextmanager
    def until_training(stage: str) -> Iterator[Progress]:
        if stage == "round 0: train":
            raise KeyboardInterrupt
        yield silent

    with pytest.raises(KeyboardInterrupt):
        run_loop(problems, plan, out=tmp_path / "out", n_rounds=2, watch=until_training)
    with reading(problems) as session:
        asked = set(session.scalars(sa.select(Request.request_id)))
    (round_0,) = list_rounds(problems, "own")
    sampled = runs_of_round(problems, round_0.round_id)

    report = run_loop(problems, plan, out=tmp_path / "out", n_rounds=2, watch=_quiet)
    assert report.stop_reason == "verified rows: rows enter that no verifier found right"
    assert [one.number for one in report.rounds] == [0]
    assert runs_of_round(problems, round_0.round_id)[:2] == sampled
    with reading(problems) as session:
        assert asked < set(session.scalars(sa.select(Request.request_id)))
    rows = (tmp_path / "out" / "round-0" / "sets" / "sft").glob("train-*.jsonl")
    assert report.rounds[0].metrics["n_rows_trained"] >= sum(len(file.read_text().splitlines()) for file in rows) > 0
    assert len(run_samples(problems, sampled[1])) == 40

    url = f"sqlite:///{tmp_path / 'stepmark.db'}"
    for arguments in (("show", "own", "--db", url), ("show", "own", "--json", "--db", url), ("list", "--db", url)):
        monkeypatch.setattr(sys, "argv", ["stepmark", "loop", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0
        printed = capsys.readouterr().out
        if "--json" in arguments:
            assert json.loads(printed)[0]["stop_reason"] == report.stop_reason
        else:
            assert "verified rows: rows enter that no verifier found right" in printed
    monkeypatch.setattr(sys, "argv", ["stepmark", "loop", "show", "none", "--db", url])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert "there is no loop 'none'" in capsys.readouterr().err


def _sample(
    id_: int, problem: int, answer: str | None, outcome: bool | None, score: float | None = None
) -> RunSample:
    return RunSample(id_, problem, f"text {id_ % 10}", answer, outcome, ("3 + 4 = 7",), False, score)


def test_only_right_solutions_of_problems_solved_at_times_are_learnt_from_and_each_text_once() -> None:
    samples = [
        *(
            _sample(10, 1, "7", True),
            _sample(20, 1, "7", True),
            _sample(11, 1, "8", False),
            _sample(12, 1, None, None),
        ),
        *(_sample(31, 2, "7", True), _sample(32, 2, "7", True)),
        *(_sample(41, 3, "8", False), _sample(42, 3, "8", False)),
    ]
    verified = choose_rows(samples, learn_from="verified", per_problem=4)
    assert verified.rule_of == {10: "verified"}
    assert verified.dropped == {
        "repeated text": 1,
        "wrong": 1,
        "no answer": 1,
        "always solved": 2,
        "never solved": 2,
    }
    majority = choose_rows(samples, learn_from="majority", per_problem=1)
    assert majority.rule_of == {10: "majority", 31: "majority", 41: "majority"}
    for chosen in (verified, majority):
        assert chosen.n_read == len(samples) == len(chosen.rule_of) + chosen.dropped.total()


def test_labels_go_to_wrong_solutions_with_the_highest_scores_and_to_a_random_rest() -> None:
    samples = [_sample(10 + i, i, "8", i % 2 == 0, score=i / 10) for i in range(10)]
    convincing, drawn = select_to_label(samples, n=4, random_share=0.5, seed=0)
    assert (convincing.reason, convincing.solution_ids) == ("convincing wrong", (19, 17))
    assert (drawn.reason, len(set(drawn.solution_ids) - {19, 17})) == ("random", 2)
    unscored = [replace(sample, score=None) for sample in samples]
    (only,) = select_to_label(unscored, n=4, random_share=0.5, seed=0)
    assert (only.reason, len(set(only.solution_ids))) == ("random", 4)


def test_what_is_labelled_and_how_does_not_hang_on_the_order_of_storing(tmp_path: Path) -> None:
    problems = draw_problems(12, seed=5990, part="reserved")
    steps_of = {problem.statement: (f"9 + {number} = 20",) for number, problem in enumerate(problems)}
    found = []
    for order in (problems, problems[::-1]):
        database = open_database(f"sqlite:///{tmp_path / str(len(found))}.db", create=True)
        texts = {one.statement: render_solution(steps_of[one.statement], "20") for one in order}
        hashes = [solution_text_hash(statement_hash(statement), text) for statement, text in texts.items()]
        records = [
            SolutionRecord("s", statement, text, steps=steps_of[statement], generator="model", answer="20")
            for statement, text in texts.items()
        ]
        with writing(database) as session:
            known = [problem_record(one, "s", number) for number, one in enumerate(order)]
            problem_ids = add_problems(session, known).problem_ids
            ids = add_solutions(session, records, problem_ids=problem_ids, text_hashes=hashes).solution_ids
        statement_of = dict(zip(ids, texts, strict=True))
        labels = label_by_domain(database, ids, noise=0.5, seed=1, annotator="annotator-1")
        samples = [
            RunSample(id_, problem_id, hash_, "20", False, ("9",), False, None)
            for id_, problem_id, hash_ in zip(ids, problem_ids, hashes, strict=True)
        ]
        (chosen,) = select_to_label(samples, n=5, random_share=0.2, seed=3)
        database.dispose()
        first_errors = {statement_of[id_]: first for id_, first in labels.first_errors.items()}
        found.append((first_errors, [statement_of[id_] for id_ in chosen.solution_ids]))
    assert found[0] == found[1]
    assert len(set(found[0][0].values())) > 1
