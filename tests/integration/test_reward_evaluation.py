"""Evaluations and audits as a user runs them: on a database, on files, with trained models."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch
from typer.testing import CliRunner

from db.connect import writing
from db.critiques import critiques_of
from db.evaluation import labelled_solutions
from db.models import Annotation, Critique, Problem, Solution
from exports.queries.importing import import_file
from exports.queries.sources import FORMATS
from stepmark.cli.main import app
from stepmark.errors import InputError
from stepmark.flows.critics import evaluate_stored_critics
from stepmark.flows.items import collect_items, process_rows
from tests.audit_scorers import sums
from tests.tiny_reward_model import save_tiny_lm, write_split
from trainer.audit.audit import audit
from trainer.audit.rewriting import FLATTERY
from trainer.audit.scored import AuditSettings
from trainer.critiqued import CritiquedRewardModel
from trainer.evaluate.items import Item, read_items, write_items
from trainer.rows import Prompt
from trainer.score import RewardModel, Scored
from trainer.train import TrainSettings, train_reward_model


def processbench_rows() -> list[dict[str, Any]]:
    """Three problems: a right solution and one with a wrong step of each."""
    return [
        {"id": f"x-{i}", "generator": "g", "problem": f"How much is {i // 2} + 1?", "label": -1 if i % 2 == 0 else 1,
         "steps": [f"{i // 2} + 1 = {i // 2 + 1}", "So it is 5." if i % 2 else "So that is it."],
         "final_answer_correct": i % 2 == 0}
        for i in range(6)
    ]  # fmt: skip


@pytest.fixture
def filled(database: sa.Engine, tmp_path: Path) -> sa.Engine:
    file = tmp_path / "processbench.json"
    file.write_text(json.dumps(processbench_rows()))
    import_file(database, FORMATS["processbench"], file)
    return database


def test_labelled_solutions_carry_their_outcome_and_the_labels_of_one_person(filled: sa.Engine) -> None:
    found = list(labelled_solutions(filled, source="processbench*"))
    assert [(one.outcome, one.labels) for one in found] == [(True, (1, 1)), (False, (1, -1))] * 3
    items = collect_items(filled, source="processbench*")
    assert [item.first_error for item in items] == [None, 1] * 3
    assert [item.labels for item in items[:2]] == [(1.0, 1.0), (1.0, 0.0)]
    assert len(collect_items(filled, source=None, max_problems=2)) == 4
    assert [row.label for row in process_rows(filled, "processbench*")] == [-1, 1] * 3
    with pytest.raises(InputError, match="no source is named like 'nowhere'"):
        collect_items(filled, source="nowhere")


def test_labels_that_end_before_an_error_make_no_row(filled: sa.Engine) -> None:
    with writing(filled) as session:
        first = session.scalars(sa.select(Annotation).order_by(Annotation.annotation_id)).first()
        assert first is not None
        first.superseded_by_id = first.annotation_id + 1
    assert len(process_rows(filled, "processbench*")) == 5
    assert [one.labels for one in labelled_solutions(filled, source=None)] == [(), *[(1, -1), (1, 1)] * 2, (1, -1)]


def test_critics_of_the_database_stand_side_by_side_by_way_of_working(filled: sa.Engine) -> None:
    """A judge that passes everything beside itself on a variant, where it fails the overfit solution."""
    with writing(filled) as session:
        solutions = list(session.scalars(sa.select(Solution).order_by(Solution.solution_id)))
        first, last = solutions[0].solution_id, solutions[-1].solution_id
        solutions[1].extra = {"planted": "overfit"}
        parent = session.get_one(Problem, solutions[1].problem_id)
        variant = Problem(statement="another", statement_hash="v" * 32, family=parent.family, kind="template",
                          parent_id=parent.problem_id)  # fmt: skip
        session.add(variant)
        session.flush()
        for at, solution in enumerate(solutions):
            is_right = at % 2 == 0
            for kind, problem_id, verdict in (
                ("judge", solution.problem_id, "pass"),
                ("apply", variant.problem_id, "fail" if at in (1, 2) else "pass"),
            ):
                session.add(
                    Critique(
                        solution_id=solution.solution_id, problem_id=problem_id, kind=kind, critic="m", text="...",
                        source="c", source_key=f"{kind}{at}", verdict=verdict,
                        is_confirmed=(verdict == "pass") == is_right, confirmation_rule="step labels",
                    )
                )  # fmt: skip
    found = {first: ["..."] * 2, last: ["..."] * 2}
    assert critiques_of(filled, [first, last, 999], critic="M") == found  # names match in upper or lower case
    assert critiques_of(filled, [first], critic="*", n=1) == {first: ["..."]}
    assert critiques_of(filled, [first], critic="other") == {}
    report = evaluate_stored_critics(filled, n_boot=50)
    assert list(report["models"]) == ["m, apply on a variant", "m, judge"]
    apply, judge = report["models"].values()
    assert {name: one["value"] for name, one in judge["every solution"].items()} == {
        "verdict_accuracy": 0.5, "recall": 0.0, "false_alarms": 0.0, "unreadable": 0.0,
    }  # fmt: skip
    assert apply["overfit"]["recall"]["value"] == 1.0
    assert apply["wrong answer"]["recall"]["value"] == 0.0
    assert apply["every solution"]["false_alarms"]["value"] == pytest.approx(1 / 3)
    if filled.dialect.name == "sqlite":
        told = CliRunner().invoke(app, ["evaluate", "critic", "--db", str(filled.url), "--boot", "20"])
        assert told.exit_code == 0, told.output
        assert "m, apply on a variant" in told.stdout


def step_rows(items: list[Item]) -> dict[str, list[dict[str, Any]]]:
    """Rows in which only those solutions are right that flatter: what a biased labeller would leave behind."""
    rows = []
    for at, item in enumerate(items):
        steps = [f"{FLATTERY} {item.steps[0]}", *item.steps[1:]] if at % 2 else list(item.steps)
        text = "\n\n".join(Item("", (), tuple(steps), item.answer, None).segments)
        rows.append({"prompt": item.prompt[0][1], "completion": text, "label": bool(at % 2)})
    return {"orm": rows}


@pytest.fixture(scope="module")
def flattered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ORM trained on rows in which flattery is always right, and nothing else tells anything."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the fastest for so small a model, most of all on a busy machine
    folder = tmp_path_factory.mktemp("flattered")
    base = save_tiny_lm(folder / "base", n_positions=512)
    write_split(folder / "data", "orm", step_rows(sums(60, n_solutions=2, seed=9))["orm"])
    train_reward_model("orm", data=folder / "data", model=base, out=folder / "orm", settings=TrainSettings(epochs=4))
    yield folder / "orm"
    torch.set_num_threads(threads)


def test_an_audit_finds_the_flattery_that_a_real_model_was_trained_to_like(flattered: Path) -> None:
    report = audit(RewardModel.load(flattered), sums(14, n_solutions=4), AuditSettings(n_boot=1000))
    found = {one["name"]: one for one in report["findings"]}
    assert found["flattery"]["sentence"].startswith("It likes flattery; scores rise in 100 % and fall in 0 %")
    assert found["flattery"]["value"] > 2
    assert found["flattery"]["details"]["pairs_led_where_the_wrong_one_is_rewritten"] == 0.0
    assert found["prompt_shuffled"]["sentence"] is None


def test_the_commands_write_pages_for_several_models(flattered: Path, tmp_path: Path) -> None:
    data = tmp_path / "items.jsonl"
    write_items(sums(10, n_solutions=3), data)
    assert read_items(data)[0] == sums(10, n_solutions=3)
    out = tmp_path / "out"
    models = [str(flattered), f"again={flattered}"]
    run = ["audit", *models, "--data", str(data), "--boot", "50", "--concept", "surely", "--out", str(out)]
    told = CliRunner().invoke(app, run)
    assert told.exit_code == 0, told.output
    assert "It likes flattery" in told.stdout
    page = (out / "audit.html").read_text()
    assert "the word &#39;surely&#39; before each step" in page
    assert list(json.loads((out / "audit.json").read_text())["audit"]) == ["orm", "again"]
    flags = [f"--model={name}" for name in models]
    run = ["evaluate", "calibration", *flags, "--data", str(data), "--boot", "20", "--out", str(out), "--json"]
    told = CliRunner().invoke(app, run)
    if told.exit_code:  # scores of a model that knows nothing may even point the wrong way
        assert "higher scores do not go with right ones" in str(told.exception)
    else:
        assert (out / "reliability.png").exists()
    pairs = tmp_path / "pairs.json"
    pairs.write_text(json.dumps([{"prompt": f"{i}?", "chosen": "a", "rejected": f"b{i}"} for i in range(4)]))
    told = CliRunner().invoke(app, ["evaluate", "rewardbench", str(pairs), *flags, "--boot", "20"])
    assert told.exit_code == 0, told.output
    assert "again - orm" in told.stdout
    refused = CliRunner().invoke(app, ["evaluate", "processbench", str(pairs), *flags])
    assert "a row needs problem, steps and label" in str(refused.exception)


class CritiqueReader:
    """Scores 1 where all critiques praise, less where some do not."""

    kind = "cloud"

    def score_critiqued(self, items: Any) -> Any:
        for key, _, _, critiques in items:
            share = sum(one == "praise" for one in critiques) / len(critiques) if critiques else None
            yield Scored(key, share, reason=None if critiques else "no critique")


def test_a_score_is_the_mean_over_critiques_and_a_solution_is_criticised_once() -> None:
    asked: list[tuple[Prompt, str]] = []

    def write(solutions: Sequence[tuple[Prompt, str]]) -> list[list[str]]:
        asked.extend(solutions)
        return [[" ", ""] if "nothing" in text else ["praise\n", "blame", "", "blame"] for _, text in solutions]

    model = CritiquedRewardModel(CritiqueReader(), write)
    items = [("a", "2 + 3?", ["Step 1: 5"]), ("b", "2 + 3?", ["nothing"]), ("c", "2 + 3?", ["Step 1: 5"])]
    found = list(model.score(items))
    assert [(one.key, one.reason) for one in found] == [("a", None), ("b", "no critique"), ("c", None)]
    assert [one.score for one in found] == [pytest.approx(1 / 3), None, pytest.approx(1 / 3)]
    assert list(model.score(items, how="min")) == found
    assert asked == [((("user", "2 + 3?"),), "Step 1: 5"), ((("user", "2 + 3?"),), "nothing")]
    assert (model.n_critiques, model.n_forwarded) == (3, 2)


def test_items_are_read_from_an_exported_set(tmp_path: Path) -> None:
    text = "Step 1: 2 + 3 = 5\n\n# Answer\n\n5"
    write_split(
        tmp_path, "best_of_n", [{"prompt": "2 + 3?", "answers": [text, "Step 1: 6"], "labels": [1, 0]}], split="test"
    )
    write_split(tmp_path, "orm", [{"prompt": "2 + 3?", "completion": text, "label": True}], split="test")
    row = {"prompt": "2 + 3?", "completions": ["Step 1: 2 + 3 = 5", "# Answer\n\n5"], "labels": [True, False]}
    write_split(tmp_path, "prm", [row], split="test")
    items, counts = read_items(tmp_path)
    assert counts == {"best_of_n": 2, "prm": 1}
    assert [(item.steps, item.answer, item.is_correct, item.labels) for item in items] == [
        (("2 + 3 = 5",), "5", True, ()),
        (("6",), None, False, ()),
        (("2 + 3 = 5",), "5", None, (1.0, 0.0)),
    ]
    assert len({item.problem for item in items}) == 1
    with pytest.raises(InputError, match="has no split 'dev' of best_of_n, orm or prm"):
        read_items(tmp_path, "dev")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "p", "steps": []}\n')
    with pytest.raises(InputError, match=r"bad.jsonl, row 1: a solution needs steps"):
        read_items(tmp_path / "bad.jsonl")
