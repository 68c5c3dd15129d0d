"""Rounds of the whole loop: generate, verify, select, label, export, train, evaluate; guards decide whether to go on.

Each round begins with the model that the round before trained, and ends with a new one, a reward model and the
readings of the guards (`stepmark.guards`). Every stage finds what is done already: a loop that was interrupted, or
that waited for people's labels, goes on where it was. What a round sampled names the round (`runs.round_id`).

Guards read only what the loop has: outcomes of the verifier, the labels of its own labellers, a fixed labelled set.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.rounds import RoundState, RunSample, finish_round, judged_and_scored, list_rounds, run_samples, start_round
from db.runs import ProblemSelection
from exports.queries.exporting import Target, export_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection
from generator.engines.transformers import TransformersEngine
from generator.solutions import generate_solutions
from stepmark import guards
from stepmark.engine import Sampling
from stepmark.errors import InputError, JobError, SettingsError
from stepmark.guards import (
    RULES,
    GuardRule,
    Reading,
    Sampled,
    measure_problem,
    read_guards,
    spread_of_wrong,
    stop_reason,
)
from stepmark.progress import Progress
from stepmark.prompts import Prompt, read_prompt
from stepmark.selection import predicted_first_error

from .demo import Watch
from .round_labels import (
    CHECKER,
    SIMULATED,
    Labeller,
    RoundLabels,
    label_by_domain,
    label_by_majority,
    label_by_people,
    label_by_round_rollouts,
)
from .round_rows import (
    ChosenRows,
    ChosenToLabel,
    LearnFrom,
    choose_rows,
    only_solutions,
    select_to_label,
    sft_rows_of,
)
from .scores import score_solutions
from .stages import StageCounts, require_done
from .training import TrainingJob, train_side_by_side
from .verify import verify_solutions

_SHARES = {"train": 0.95, "validation": 0.05}


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """What a loop does in each of its rounds."""

    loop: str
    """Its name."""
    model: str
    """The language model that round 0 begins with: a folder."""
    source: str
    """Problems to learn from, by the name of their source; a pattern may hold `*`."""
    eval_source: str
    """Problems on which every round's model is measured; none of them may be learnt from."""
    fixed_source: str | None = None
    """Labelled solutions, the same in all rounds, on which every round's reward model is measured."""
    learn_from: LearnFrom = "verified"
    labels: Labeller = "people"
    n_samples: int = 8
    """Solutions of each problem to learn from."""
    n_eval_samples: int = 16
    """Solutions of each problem to measure on; the k of pass@k."""
    rows_per_problem: int = 4
    """Different right solutions of one problem that enter the set."""
    n_labels: int = 200
    """Solutions labelled in a round."""
    random_share: float = 0.2
    """Of them, drawn at random; the rest are wrong ones that the last round's reward model likes best."""
    noise: float = 0.05
    """Of the simulated annotator: the share of solutions that it labels wrongly."""
    prompt: str = "plain"
    temperature: float = 0.7
    max_tokens: int = 128
    policy_epochs: int = 1
    reward_epochs: int = 8
    seed: int = 0
    """Of sampling, of the choice of solutions and of training."""


@dataclass(slots=True)
class LoopReport:
    """Where a loop stands."""

    loop: str
    rounds: list[RoundState]
    stop_reason: str | None = None
    """The guard that ended it, in words; None where it did all its rounds, or waits."""
    n_waiting: int = 0
    """Solutions that people have yet to label before it goes on."""


def run_loop(
    database: sa.Engine,
    plan: LoopPlan,
    *,
    out: Path,
    n_rounds: int,
    workers: int = 1,
    rules: Sequence[GuardRule] = RULES,
    does_stop: bool = True,
    watch: Watch,
) -> LoopReport:
    """Runs the rounds that are missing of `n_rounds`, and returns where the loop stands.

    Args:
        database: Holds the problems.
        plan: The same at every call of a loop.
        out: Sets and models; a folder for each round.
        n_rounds: Rounds in all, those done before included; a loop may be given more later.
        workers: Processes that sample or train at a time.
        rules: The guards and the stop rule.
        does_stop: Whether a guard ends the loop; readings are stored either way.
        watch: Shows the stages.

    Raises:
        UserError: The plan is another one than the loop was begun with, or names no problems.
        JobError: A stage could not finish; the same call goes on there.
        KeyboardInterrupt: Ctrl-C; the same call goes on there.
    """
    _check(database, plan)
    out.mkdir(parents=True, exist_ok=True)
    waiting = 0
    for number in range(n_rounds):
        before = list_rounds(database, plan.loop)
        done = [one for one in before if one.finished_at is not None]
        if does_stop and done and done[-1].stop_reason is not None:
            break
        if number < len(done):
            continue
        waiting = _Round(database, plan, out, number, done, workers, rules, watch).run()
        if waiting:
            break
    rounds = list_rounds(database, plan.loop)
    reasons = [one.stop_reason for one in rounds if one.stop_reason is not None]
    return LoopReport(plan.loop, rounds, reasons[0] if reasons and does_stop else None, waiting)


def policy_of(out: Path, plan: LoopPlan, number: int) -> str:
    """The model that a round begins with."""
    return plan.model if number == 0 else str(out / f"round-{number - 1}" / "policy")


def _check(database: sa.Engine, plan: LoopPlan) -> None:
    """Makes sure that the plan is the loop's own and that its problems are there to be told apart."""
    begun = list_rounds(database, plan.loop)
    if begun and begun[0].plan != _as_json(plan):
        ours = _as_json(plan)
        other = {name: kept for name, kept in begun[0].plan.items() if ours.get(name) != kept}
        raise SettingsError(
            f"loop {plan.loop!r} was begun with {json.dumps(other)}; give the same flags, or another --name"
        )
    if plan.source == plan.eval_source:
        raise SettingsError(f"{plan.source!r} cannot be both learnt from and measured on; give another --evaluate-on")


def _as_json(plan: LoopPlan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(plan)))
    return found


@dataclass(slots=True)
class _Round:
    """One round; `run` works through its stages."""

    database: sa.Engine
    plan: LoopPlan
    out: Path
    number: int
    done: list[RoundState]
    workers: int
    rules: Sequence[GuardRule]
    watch: Watch
    counts: dict[str, StageCounts] = field(default_factory=dict)
    round_id: int = 0

    @property
    def folder(self) -> Path:
        return self.out / f"round-{self.number}"

    @property
    def reward_model(self) -> str:
        return f"{self.plan.loop}/{self.number}/prm"

    def run(self) -> int:
        """Does the round; returns how many solutions people have yet to label, where it must wait for them."""
        plan, number = self.plan, self.number
        self.round_id = start_round(self.database, plan.loop, number, plan=_as_json(plan))
        policy = policy_of(self.out, plan, number)
        start = dict[str, float]()
        if number == 0:
            start, _ = self.measure(policy, "the starting model")
        run_id = self.sample(policy, plan.source, plan.n_samples, "generate")
        samples = self.select_from(run_id)
        chosen = choose_rows(samples, learn_from=plan.learn_from, per_problem=plan.rows_per_problem)
        self.count("choose rows", chosen.n_read, len(chosen.rule_of), chosen.dropped)
        selected = select_to_label(
            samples, n=plan.n_labels, random_share=plan.random_share, seed=plan.seed + 1000 * number
        )
        labels = self.label(policy, samples, selected)
        if labels.n_waiting:
            return labels.n_waiting
        if not chosen.rule_of:
            raise JobError(f"round {number} has no row to learn from: {dict(chosen.dropped)}")
        self.export(run_id, chosen, labels)
        self.train(policy)
        metrics, values = self.evaluate(samples, chosen, labels)
        metrics |= {f"{name} before": value for name, value in start.items()}
        self.finish(metrics, values, start, selected)
        return 0

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        with self.watch(f"round {self.number}: {name}") as progress:
            yield progress

    def count(self, name: str, read: int, kept: int, dropped: Mapping[str, int]) -> None:
        self.counts[name] = StageCounts(read, kept, {why: n for why, n in dropped.items() if n})

    def sample(self, policy: str, source: str, n: int, name: str) -> int:
        """Samples, verifies and returns the run's id."""
        sampling = self.sampling
        with self.stage(name) as progress:
            engine = TransformersEngine(policy, threads=1, workers=self.workers)
            try:
                report = generate_solutions(
                    self.database,
                    engine,
                    n=n,
                    prompt=self.prompt,
                    sampling=sampling,
                    selection=ProblemSelection(source=source),
                    on_progress=lambda r: progress(r.n_stored_before + r.n_stored, r.n_wanted),
                    round_id=self.round_id,
                )
            finally:
                engine.close()
        require_done(report, f"sampling {source}", then="Run the loop again.")
        assert report.run_id is not None, "a run that is done has an id"
        if not report.n_wanted:
            raise InputError(f"there are no problems of sources like {source!r}; import some first")
        kept = report.n_stored_before + report.n_stored
        self.count(name, report.n_wanted, kept, report.failures)
        with self.stage("verify") as progress:
            verified = verify_solutions(self.database, progress=progress)
        unknown = {why: n for why, n in verified.results.items() if why not in ("correct", "incorrect")}
        self.count(f"verify ({name})", verified.n_read, verified.n_known, unknown)
        return report.run_id

    @property
    def prompt(self) -> Prompt:
        return read_prompt(self.plan.prompt)

    @property
    def sampling(self) -> Sampling:
        plan = self.plan
        return Sampling(temperature=plan.temperature, max_tokens=plan.max_tokens, seed=plan.seed)

    def select_from(self, run_id: int) -> list[RunSample]:
        """What the run sampled, scored by the reward model of the round before, where there is one."""
        if self.number == 0:
            samples = run_samples(self.database, run_id)
        else:
            name = f"{self.plan.loop}/{self.number - 1}/prm"
            folder = self.out / f"round-{self.number - 1}" / "prm"
            with self.stage("score") as progress:
                score_solutions(self.database, folder, name=name, run_id=run_id, progress=progress)
            samples = run_samples(self.database, run_id, reward_model=name)
        if not samples:
            raise InputError(
                f"the samples of loop {self.plan.loop!r} stand under an earlier run of the same model, prompt, "
                "problems and --seed; give the loop another --seed"
            )
        return samples

    def label(self, policy: str, samples: Sequence[RunSample], selected: Sequence[ChosenToLabel]) -> RoundLabels:
        plan = self.plan
        ids = [solution_id for one in selected for solution_id in one.solution_ids]
        with self.stage("label") as progress:
            if plan.labels == "people":
                labels = label_by_people(self.database, selected, loop=plan.loop, number=self.number)
            elif plan.labels == "majority":
                labels = label_by_majority(self.database, samples, ids)
            elif plan.labels == "rollouts":
                engine = TransformersEngine(policy, threads=1, workers=self.workers)
                try:
                    labels = label_by_round_rollouts(
                        self.database,
                        engine,
                        prompt=self.prompt,
                        sampling=self.sampling,
                        source=plan.source,
                        n=plan.n_labels,
                        round_id=self.round_id,
                        progress=progress,
                    )
                finally:
                    engine.close()
            else:
                is_simulated = plan.labels == "simulated"
                labels = label_by_domain(
                    self.database,
                    ids,
                    noise=plan.noise if is_simulated else 0.0,
                    seed=plan.seed,
                    annotator=SIMULATED if is_simulated else CHECKER,
                )
        self.count("label", labels.n_read, len(labels.first_errors), labels.dropped)
        return labels

    def export(self, run_id: int, chosen: ChosenRows, labels: RoundLabels) -> None:
        """Writes the rows to learn solving from, and the labels of this round and those before it."""
        plan = self.plan
        labelled, names = self._labelled_before(labels)
        options = PrmOptions(
            annotators=names,
            annotator_kinds=labels.annotator_kinds,
            answer_segment=plan.learn_from == "verified",  # its label is the verifier's
        )
        target = Target(self.folder / "sets", shares=_SHARES, overwrite=True)
        with self.stage("export"):
            prm = only_solutions(prm_set(Selection(sources=(plan.source,)), options), frozenset(labelled))
            for report in (
                export_set(self.database, target, sft_rows_of(chosen.rule_of, self.prompt, run_id=run_id)),
                export_set(self.database, target, prm),
            ):
                self.count(f"export {report.config}", report.n_read, report.n_kept, report.dropped)

    def _labelled_before(self, labels: RoundLabels) -> tuple[set[int], tuple[str, ...]]:
        """The solutions that this round and those before it had labelled, and by whom; noted for the next round."""
        labelled, names = set(labels.first_errors), set(labels.annotators)
        if self.number:
            note = self.out / f"round-{self.number - 1}" / "labelled.json"
            kept = json.loads(note.read_text(encoding="utf-8"))
            labelled |= set(kept["solution_ids"])
            names |= set(kept["annotators"])
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {"solution_ids": sorted(labelled), "annotators": sorted(names)}
        (self.folder / "labelled.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")
        return labelled, tuple(sorted(names))

    def train(self, policy: str) -> None:
        plan = self.plan
        jobs = [
            TrainingJob(
                name=kind,
                kind="sft" if kind == "policy" else "prm",
                data=self.folder / "sets",
                model=policy if kind == "policy" else plan.model,
                out=self.folder / kind,
                seed=plan.seed,
                epochs=plan.policy_epochs if kind == "policy" else plan.reward_epochs,
            )
            for kind in ("policy", "prm")
        ]
        with self.stage("train") as progress:
            train_side_by_side(jobs, workers=self.workers, progress=progress)

    def measure(self, policy: str, whose: str) -> tuple[dict[str, float], int]:
        """What a model solves of the problems to measure on, how much its solutions differ; and the run's id."""
        run_id = self.sample(policy, self.plan.eval_source, self.plan.n_eval_samples, f"measure {whose}")
        samples = run_samples(self.database, run_id)
        groups = guards.by_problem(as_sampled(samples)).values()
        found = [measure_problem(group, self.plan.n_eval_samples) for group in groups]
        n = len(found)
        if not n:
            raise InputError(
                f"no solution of {self.plan.eval_source!r} was sampled for this loop; give it another --seed"
            )
        metrics = {
            guards.PASS_1: sum(one.pass_1 for one in found) / n,
            f"pass@{self.plan.n_eval_samples}": sum(one.pass_k for one in found) / n,
            f"majority@{self.plan.n_eval_samples}": sum(one.majority for one in found) / n,
            guards.DISTINCT: sum(one.n_answers for one in found) / n,
            guards.OPERATORS: sum(one.n_operator_sequences for one in found) / n,
        }
        return metrics, run_id

    def evaluate(
        self, samples: Sequence[RunSample], chosen: ChosenRows, labels: RoundLabels
    ) -> tuple[dict[str, float], dict[str, float | None]]:
        """Measures the round's new model and reward model; returns the metrics and what the guards read."""
        plan, k = self.plan, self.plan.n_eval_samples
        metrics, run_id = self.measure(str(self.folder / "policy"), "the new model")
        with self.stage("score") as progress:
            score_solutions(
                self.database, self.folder / "prm", name=self.reward_model, run_id=run_id, progress=progress
            )
            if plan.fixed_source is not None:
                score_solutions(self.database, self.folder / "prm", name=self.reward_model, source=plan.fixed_source)
        scored = run_samples(self.database, run_id, reward_model=self.reward_model)
        verdicts = []
        if plan.fixed_source is not None:
            judged = judged_and_scored(self.database, self.reward_model, source=plan.fixed_source)
            verdicts = [(first is None) == (predicted_first_error(steps) is None) for _, first, steps in judged]
        outcome_of = {sample.solution_id: sample.outcome for sample in samples}
        values: dict[str, float | None] = {
            guards.VERIFIED: guards.share_of(rule == "verified" for rule in chosen.rule_of.values()),
            guards.USABLE: guards.share_usable(as_sampled(samples)),
            guards.PASS_1: metrics[guards.PASS_1],
            guards.PASS_K: metrics[f"pass@{k}"],
            **spread_of_wrong(as_sampled(samples)),
            guards.VERDICTS: guards.share_of(verdicts),
            guards.GAP: guards.gap_within(
                (one.problem_id, one.outcome, one.score)
                for one in scored
                if one.outcome is not None and one.score is not None
            ),
            guards.TOLERATED: guards.share_of(
                first is not None for id_, first in labels.first_errors.items() if outcome_of.get(id_) is True
            ),
        }
        best = _best_of(scored)
        if best is not None:
            metrics[f"prm_best_of_{k}"] = best
        metrics["n_rows_trained"] = float(len(chosen.rule_of))
        metrics["n_labels"] = float(len(labels.first_errors))
        return metrics, values

    def finish(
        self,
        metrics: dict[str, float],
        values: dict[str, float | None],
        start: Mapping[str, float],
        selected: Sequence[ChosenToLabel],
    ) -> None:
        """Holds the guards against their bounds, and stores the round."""
        first = self.done[0].metrics if self.done else {f"{name} before": value for name, value in start.items()}
        base: dict[str, float | None] = {
            guards.PASS_1: first.get(f"{guards.PASS_1} before"),
            guards.PASS_K: first.get(f"pass@{self.plan.n_eval_samples} before"),
        }
        read = {one["name"]: one["value"] for one in self.done[0].guards} if self.done else values
        base |= {name: value for name, value in read.items() if name not in base}
        readings: list[Reading] = read_guards(values, base, rules=self.rules)
        trips = [{one["name"]: one["tripped"] for one in earlier.guards} for earlier in self.done]
        trips.append({one.name: one.tripped for one in readings})
        finish_round(
            self.database,
            self.round_id,
            selected=[one.as_json() for one in selected],
            metrics=metrics,
            guards=[one.as_json() for one in readings],
            counts={name: dataclasses.asdict(counts) for name, counts in self.counts.items()},
            stop_reason=stop_reason(trips, rules=self.rules),
        )


def as_sampled(samples: Sequence[RunSample]) -> list[Sampled]:
    """A run's samples as guards see them."""
    return [Sampled(one.problem_id, one.answer, one.outcome, one.steps) for one in samples]


def _best_of(samples: Sequence[RunSample]) -> float | None:
    """The share of problems whose solution with the highest score is right; None without scores."""
    best: dict[int, RunSample] = {}
    for sample in samples:
        if sample.score is None or sample.answer is None:
            continue
        kept = best.get(sample.problem_id)
        if kept is None or sample.score > (kept.score or 0.0):
            best[sample.problem_id] = sample
    n_problems = len({sample.problem_id for sample in samples})
    return sum(one.outcome is True for one in best.values()) / n_problems if best else None
