"""One turn of the whole loop on embedded defaults: real data in, a small model's solutions, labels, sets, rewards.

Every stage is the function behind a command; each finds what is done already, so that a demo that was interrupted
goes on where it stopped. Recipe and seeds were fixed before the test problems were drawn.
"""

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.connect import open_database, writing
from db.problems import add_problems
from db.queue import queue_solutions, queue_state
from db.runs import ProblemSelection
from db.scores import convincing_wrong
from db.tasks import add_tasks
from exports.queries.exporting import Target, export_set
from exports.queries.importing import import_file
from exports.queries.orm_rows import orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection
from exports.queries.sources import FORMATS
from generator.domain import draw_problems, problem_record
from generator.engines.transformers import TransformersEngine
from generator.solutions import generate_solutions
from stepmark.engine import Sampling
from stepmark.errors import SettingsError
from stepmark.progress import Progress
from stepmark.prompts import read_prompt
from trainer.rows import Kind

from .best_of_n import evaluate_best_of_n
from .labels import label_by_checker
from .report import write_report
from .scores import score_solutions
from .stages import StageCounts, Stages, claim_folder, require_done
from .training import TrainingJob, train_side_by_side
from .verify import verify_solutions

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"
MODEL = ROOT / "examples" / "embedded" / "model"
TRAIN, TEST = "embedded/train", "embedded/test"
"""Sources of the two drawn problem sets; no family stands in both, and the model was trained on neither."""

KINDS: tuple[Kind, ...] = ("prm", "orm", "bt")
CONFIGS = ("prm", "orm", "preference")


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """How much the demo does."""

    n_seeds: int = 1
    """Reward models of each kind, by seed of the training."""
    n_train_problems: int = 500
    n_train_samples: int = 8
    rows_per_problem: int = 1
    """Rows of one training problem in each exported set. With one, the PRM led the ORM; with several they stood level
    (docs/log.md)."""
    n_test_problems: int = 1000
    n_test_samples: int = 32
    train_seed: int = 1000
    test_seed: int = 2002
    temperature: float = 0.7
    max_tokens: int = 128
    epochs: int = 8
    workers: int = min(2, os.cpu_count() or 1)
    """Processes that sample or train at a time, each on one thread."""


Watch = Callable[[str], AbstractContextManager[Progress]]
"""Shows a stage, given its name, while it runs."""


def run_demo(out: Path, plan: DemoPlan, *, watch: Watch) -> dict[str, Any]:
    """Runs the loop into the folder `out` and returns what stands in `out/report.json`.

    Args:
        out: Made if it is not there; a demo that was interrupted there is continued.
        plan: How much to do.
        watch: Shows the stages.

    Raises:
        SettingsError: The folder holds a demo of another plan or model.
        JobError: A stage could not finish; run again, it goes on there.
    """
    out.mkdir(parents=True, exist_ok=True)
    _claim_folder(out, plan)
    database = open_database(f"sqlite:///{out / 'stepmark.db'}", create=True)
    demo = _Demo(out, plan, database, Stages(), watch)
    try:
        return demo.run()
    finally:
        database.dispose()


def model_hash() -> str:
    """Names the embedded model by its weights."""
    return hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()


def _claim_folder(out: Path, plan: DemoPlan) -> None:
    """Notes what the folder's demo is, or makes sure that it is this one; more seeds may be added to it."""
    this = {**dataclasses.asdict(plan), "model_sha256": model_hash()}
    for name in ("n_seeds", "workers"):
        del this[name]
    note = out / "plan.json"
    if not note.exists() and any(out.iterdir()):
        raise SettingsError(f"{out} is not empty and holds no demo; give another --out")
    claim_folder(note, this, job="a demo")


@dataclass(slots=True)
class _Demo:
    out: Path
    plan: DemoPlan
    database: sa.Engine
    stages: Stages
    watch: Watch

    def run(self) -> dict[str, Any]:
        note = self.out / "stages.json"
        try:
            models, evaluation = self.work()
        finally:
            stages = self.stages.joined_with(note)
        return write_report(
            self.out,
            plan=dataclasses.asdict(self.plan),
            database=self.database,
            evaluation=evaluation,
            models=models,
            stages=stages,
            reward_model="prm-0",
            source=TEST,
        )

    def work(self) -> tuple[Mapping[str, dict[str, Any]], dict[str, Any]]:
        """Runs the stages; returns each reward model's `stepmark.json` and the evaluation."""
        self.import_data()
        self.draw_problems()
        self.generate()
        self.verify()
        self.label()
        self.export()
        models = self.train()
        self.score(models)
        evaluation = self.evaluate()
        self.queue()
        return models, evaluation

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        with self.stages.measured(name), self.watch(name) as progress:
            yield progress

    def import_data(self) -> None:
        files = (
            ("gsm8k", "gsm8k/*.jsonl*"),
            ("gsm8k-model-solutions", "gsm8k_model_solutions/*.jsonl*"),
            ("processbench", "processbench/*.json*"),
        )
        with self.stage("import"):
            for name, pattern in files:
                for file in sorted(DATA.glob(pattern)):
                    report = import_file(self.database, FORMATS[name], file)
                    there = {"already there": report.n_already_there}
                    self.count(f"import {name}", report.n_read, report.n_kept, {**report.dropped, **there})

    def draw_problems(self) -> None:
        plan = self.plan
        with self.stage("draw problems"):
            train = draw_problems(plan.n_train_problems, plan.train_seed, part="reserved")
            families = {problem.family for problem in train}
            test = draw_problems(plan.n_test_problems, plan.test_seed, part="reserved", exclude_families=families)
            with writing(self.database) as session:
                for source, problems in ((TRAIN, train), (TEST, test)):
                    add_problems(session, [problem_record(problem, source, i) for i, problem in enumerate(problems)])

    def generate(self) -> None:
        sampling = Sampling(temperature=self.plan.temperature, max_tokens=self.plan.max_tokens)
        with self.stage("generate") as progress:
            engine = TransformersEngine(str(MODEL), threads=1, workers=self.plan.workers)
            try:
                for source, n in ((TRAIN, self.plan.n_train_samples), (TEST, self.plan.n_test_samples)):
                    report = generate_solutions(
                        self.database,
                        engine,
                        n=n,
                        prompt=read_prompt("plain"),
                        sampling=sampling,
                        selection=ProblemSelection(source=source),
                        on_progress=lambda r: progress(r.n_stored_before + r.n_stored, r.n_wanted),
                    )
                    require_done(report, f"sampling {source}", then="Run the demo again.")
                    kept = report.n_stored_before + report.n_stored
                    self.count(f"generate {source}", report.n_wanted, kept, report.failures)
            finally:
                engine.close()

    def verify(self) -> None:
        with self.stage("verify") as progress:
            report = verify_solutions(self.database, progress=progress)
        unknown = {reason: n for reason, n in report.results.items() if reason not in ("correct", "incorrect")}
        self.count("verify", report.n_read, report.n_known, unknown)

    def label(self) -> None:
        with self.stage("label") as progress:
            report = label_by_checker(self.database, source="embedded/*", progress=progress)
        self.count("label by the checker", report.n_read, report.n_labelled, report.dropped)

    def export(self) -> None:
        target = Target(self.out / "sets", shares={"train": 0.95, "validation": 0.05}, overwrite=True)
        selection = Selection(sources=(TRAIN,), max_per_problem=self.plan.rows_per_problem)
        with self.stage("export"):
            for report in (
                export_set(self.database, target, prm_set(selection, PrmOptions())),
                export_set(self.database, target, orm_set(selection)),
                export_set(self.database, target, preference_set(selection, PreferenceOptions(origin="outcomes"))),
            ):
                self.count(f"export {report.config}", report.n_read, report.n_kept, report.dropped)

    def train(self) -> Mapping[str, dict[str, Any]]:
        jobs = [
            TrainingJob(
                name=f"{kind}-{seed}",
                kind=kind,
                data=self.out / "sets",
                model=str(MODEL),
                out=self.out / "models" / f"{kind}-{seed}",
                seed=seed,
                epochs=self.plan.epochs,
            )
            # The longest first, so that no core waits for it at the end.
            for kind in ("bt", "prm", "orm")
            for seed in range(self.plan.n_seeds)
        ]
        with self.stage("train") as progress:
            return train_side_by_side(jobs, workers=self.plan.workers, progress=progress)

    def score(self, models: Mapping[str, dict[str, Any]]) -> None:
        with self.stage("score") as progress:
            for name in models:
                report = score_solutions(self.database, self.out / "models" / name, source=TEST, progress=progress)
                self.count(f"score by {name}", report.n_read, report.n_scored, report.dropped)

    def evaluate(self) -> dict[str, Any]:
        with self.stage("evaluate"):
            names: dict[str, list[str]] = {
                kind: [f"{kind}-{seed}" for seed in range(self.plan.n_seeds)] for kind in KINDS
            }
            return evaluate_best_of_n(self.database, names, source=TEST, out=self.out / "best_of_n")

    def queue(self) -> None:
        """Fills the queue, once: where the PRM is convincingly wrong first, then real solutions at random."""
        with self.stage("queue"):
            if queue_state(self.database):
                return
            wrong = convincing_wrong(self.database, "prm-0", limit=10, source=TEST)
            add_tasks(self.database, wrong, reason="convincing wrong")
            for source in ("gsm8k*", "processbench*"):
                queue_solutions(self.database, source=source, limit=20)

    def count(self, name: str, read: int, kept: int, dropped: Mapping[str, int]) -> None:
        before = self.stages.counts.get(name, StageCounts(0, 0))
        summed = Counter(before.dropped) + Counter(dropped)
        self.stages.counts[name] = StageCounts(before.read + read, before.kept + kept, summed)
