"""The demo, small: the whole loop once, stopped on the way, gone on with, and run again."""

import base64
import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import open_database, reading, writing
from db.counts import table_counts
from db.models import Annotation, Annotator, Problem, Request, Solution, Task
from stepmark.errors import SettingsError
from stepmark.flows.demo import TEST, TRAIN, DemoPlan, run_demo
from stepmark.flows.report import METHODS, summary, write_report
from stepmark.flows.stages import StageCounts, Stages
from stepmark.progress import Progress, silent
from trainer.evaluate.best_of_n import COMPARISONS

PLAN = DemoPlan(n_train_problems=12, n_train_samples=4, n_test_problems=10, n_test_samples=4, epochs=1, workers=1)
STAGES = [
    "import",
    "draw problems",
    "generate",
    "verify",
    "label",
    "export",
    "train",
    "score",
    "evaluate",
    "queue",
]


@contextmanager
def watch(stage: str) -> Iterator[Progress]:
    yield silent


@contextmanager
def stop_at_verify(stage: str) -> Iterator[Progress]:
    """Ctrl-C, as soon as the samples are drawn."""
    if stage == "verify":
        raise KeyboardInterrupt
    yield silent


def asked(out: Path) -> list[tuple[Any, ...]]:
    """Every request with its time."""
    engine = open_database(f"sqlite:///{out / 'stepmark.db'}")
    with reading(engine) as session:
        columns = (Request.request_id, Request.payload_hash, Request.sample_index, Request.created_at)
        rows = [tuple(row) for row in session.execute(sa.select(*columns).order_by(Request.request_id))]
    engine.dispose()
    return rows


@dataclass(frozen=True)
class Done:
    """A demo that was stopped after sampling and then gone on with."""

    out: Path
    report: dict[str, Any]
    asked_before_the_stop: list[tuple[Any, ...]]

    def engine(self) -> sa.Engine:
        return open_database(f"sqlite:///{self.out / 'stepmark.db'}")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Done:
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.raises(KeyboardInterrupt):
        run_demo(out, PLAN, watch=stop_at_verify)
    assert not (out / "report.json").exists()
    before = asked(out)
    return Done(out, run_demo(out, PLAN, watch=watch), before)


def test_the_report_compares_every_method_at_every_n(demo: Done) -> None:
    report = demo.report
    assert json.loads((demo.out / "report.json").read_text(encoding="utf-8")) == report
    assert report["plan"] == dataclasses.asdict(PLAN)
    assert list(report["best_of_n"]) == ["1", "2", "4"]
    for cells in report["best_of_n"].values():
        assert set(cells) == {*METHODS, "differences"}
        for method in METHODS:
            assert 0.0 <= cells[method]["mean"] <= 1.0
            assert cells[method]["std"] is None  # over seeds, and there is one
        assert set(cells["differences"]) == {f"{left}-{right}" for left, right in COMPARISONS}
        for name, difference in cells["differences"].items():
            left, right = name.split("-")
            low, high = difference["interval"]
            assert low <= difference["mean"] <= high
            assert difference["mean"] == pytest.approx(cells[left]["mean"] - cells[right]["mean"])
        for method in set(METHODS) - {"pass1", "chance"}:
            assert cells[method]["mean"] <= cells["oracle"]["mean"]
    oracle = [cells["oracle"]["mean"] for cells in report["best_of_n"].values()]
    assert all(few <= many for few, many in pairwise(oracle))


def test_the_report_says_what_went_through_and_what_it_took(demo: Done) -> None:
    report = demo.report
    assert report["counts"]["test_problems"] == 10
    assert report["counts"]["samples"] == 40
    stages = report["counts"]["stages"]
    assert stages[f"generate {TRAIN}"] == {"read": 48, "kept": 48, "dropped": {}}
    assert stages[f"generate {TEST}"] == {"read": 40, "kept": 40, "dropped": {}}
    for kind in ("prm", "orm", "bt"):
        assert (stages[f"score by {kind}-0"]["read"], stages[f"score by {kind}-0"]["kept"]) == (40, 40)
    for name, counts in stages.items():
        if name != "label by the checker":
            assert counts["read"] == counts["kept"] + sum(counts["dropped"].values()), name
    assert list(report["timings_s"]) == [*STAGES, "total"]
    assert list(report["cpu_s"]) == STAGES
    assert report["timings_s"]["total"] == pytest.approx(sum(report["timings_s"][stage] for stage in STAGES), abs=0.1)
    assert {name: trained["kind"] for name, trained in report["training"].items()} == {
        "bt-0": "bt",
        "prm-0": "prm",
        "orm-0": "orm",
    }


def test_the_database_holds_the_loop_and_names_the_program_that_labelled(demo: Done) -> None:
    engine = demo.engine()
    with reading(engine) as session:
        sampled = session.scalar(sa.select(sa.func.count()).where(Solution.run_id.is_not(None)))
        kinds = session.execute(
            sa.select(Annotator.name, Annotator.kind, sa.func.count())
            .join(Annotation)
            .join(Solution, Solution.solution_id == Annotation.solution_id)
            .where(Solution.run_id.is_not(None))
            .group_by(Annotator.name, Annotator.kind)
        ).all()
        verified = session.scalar(
            sa.select(sa.func.count()).where(Solution.run_id.is_not(None), Solution.outcome_rule.is_not(None))
        )
        queued = {
            reason: [tuple(task) for task in found]
            for reason in ("convincing wrong", "random")
            if (
                found := session.execute(
                    sa.select(Solution.outcome, Solution.run_id)
                    .join(Task, Task.solution_id == Solution.solution_id)
                    .where(Task.reason == reason)
                ).all()
            )
        }
    engine.dispose()
    assert sampled == 88
    assert [tuple(row) for row in kinds] == [("domain-checker", "program", 88)]
    assert verified == 88
    assert {outcome for outcome, _ in queued["convincing wrong"]} == {False}
    assert {run_id for _, run_id in queued["random"]} == {None}


def test_the_page_shows_the_curve_and_the_figures(demo: Done) -> None:
    page = (demo.out / "report.html").read_text(encoding="utf-8")
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert found is not None
    assert base64.b64decode(found[1]) == (demo.out / "best_of_n" / "best_of_n.png").read_bytes()
    assert summary(demo.report) in page
    assert "{{" not in page
    assert "{%" not in page
    for title in METHODS.values():
        assert f"<th>{title}</th>" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []  # nothing is fetched
    assert page.count('class="card"') >= 1


def test_hostile_text_stays_text_on_the_page(demo: Done, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>{{ 7 * 7 }}<img src=x onerror=alert(2)>"
    (tmp_path / "best_of_n").mkdir()
    (tmp_path / "best_of_n" / "best_of_n.png").write_bytes(b"a curve")
    (tmp_path / "sets" / "prm").mkdir(parents=True)
    (tmp_path / "sets" / "prm" / "train-00000-of-00001.jsonl").write_text(json.dumps({"prompt": hostile}) + "\n")
    database = tmp_path / "stepmark.db"
    database.write_bytes((demo.out / "stepmark.db").read_bytes())
    engine = open_database(f"sqlite:///{database}")
    with writing(engine) as session:
        session.execute(sa.update(Problem).values(statement=hostile, reference_answer=hostile))
        session.execute(sa.update(Solution).values(answer=hostile))
        for solution in session.scalars(sa.select(Solution)):
            solution.steps = [hostile for _ in solution.steps]
    stages = Stages()
    stages.counts[hostile] = StageCounts(2, 1, {hostile: 1})
    write_report(
        tmp_path,
        plan=dataclasses.asdict(PLAN),
        database=engine,
        evaluation=json.loads((demo.out / "best_of_n" / "best_of_n.json").read_text(encoding="utf-8")),
        models={},
        stages=stages,
        reward_model="prm-0",
        source=TEST,
    )
    engine.dispose()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}&lt;img src=x" in page
    assert "<script" not in page
    assert re.findall(r"<img (?!src=\"data:image/png;base64,)", page) == []


def test_going_on_and_running_again_asks_nothing_and_trains_nothing_twice(demo: Done) -> None:
    engine = demo.engine()
    counts = table_counts(engine)
    manifests = sorted((demo.out / "models").glob("*/stepmark.json"))
    trained_at = [manifest.stat().st_mtime_ns for manifest in manifests]
    assert len(demo.asked_before_the_stop) == 88
    assert asked(demo.out) == demo.asked_before_the_stop

    again = run_demo(demo.out, PLAN, watch=watch)

    assert asked(demo.out) == demo.asked_before_the_stop
    assert [manifest.stat().st_mtime_ns for manifest in manifests] == trained_at
    assert again["best_of_n"] == demo.report["best_of_n"]
    assert again["auc"] == demo.report["auc"]
    assert again["counts"]["stages"] == demo.report["counts"]["stages"]
    assert again["timings_s"]["train"] > demo.report["timings_s"]["train"]  # what both runs took
    assert {**table_counts(engine), "exports": 0} == {**counts, "exports": 0}  # each export is noted
    engine.dispose()


def test_a_folder_of_another_demo_is_refused_and_left_alone(demo: Done) -> None:
    other = dataclasses.replace(PLAN, n_train_problems=13)
    before = (demo.out / "report.json").stat().st_mtime_ns
    with pytest.raises(SettingsError, match="holds a demo of another plan"):
        run_demo(demo.out, other, watch=watch)
    assert (demo.out / "report.json").stat().st_mtime_ns == before


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("Years of work.")
    with pytest.raises(SettingsError, match="is not empty and holds no demo"):
        run_demo(tmp_path, PLAN, watch=watch)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
