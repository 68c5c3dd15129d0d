"""Active labelling: do labels chosen by a rule teach a PRM more than labels of solutions drawn by chance?

An annotator is simulated on the embedded domain: the exact checker's labels are revealed for the selected solutions
only, with noise, up to the first error as people give them. Selection is that of `stepmark queue rank`, training that
of `stepmark train prm`, each PRM from the language model anew; what selects is the PRM of the budget before.
"""

import json
import math
import os
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from db.connect import open_database, writing
from db.problems import add_problems
from db.runs import ProblemSelection
from db.scores import SolutionToScore, solutions_to_score
from generator.domain import check_solution, draw_problems, parse_problem, problem_record
from generator.engines.transformers import TransformersEngine
from generator.solutions import generate_solutions
from stepmark.engine import Sampling
from stepmark.flows.demo import MODEL, Watch
from stepmark.flows.stages import Stages, claim_folder, require_done
from stepmark.flows.training import TrainingJob, train_side_by_side
from stepmark.progress import Progress
from stepmark.prompts import read_prompt
from stepmark.selection import Candidate, SelectionRule, predicted_first_error, select
from stepmark.steps import render_segments
from trainer.evaluate.bootstrap import expanded_tail
from trainer.evaluate.measures import auc
from trainer.evaluate.pictures import COLOURS, new_figure, tidy
from trainer.score import RewardModel

from .findings import Figure, Findings, Measured, Table
from .kept import read_json, write_json

POOL, TEST = "active/pool", "active/test"
LIGHTMAN = 2.6
"""How many times fewer labels Lightman et al. (2023, section 4.2) needed."""

_READ_SEVERAL: tuple[SelectionRule, ...] = ("ensemble", "disagreement")
"""Rules that select by several PRMs; of `disagreement` they are the labellers."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ActivePlan:
    """How much the experiment does."""

    budgets: tuple[int, ...] = (50, 100, 200, 400, 800)
    """Labelled solutions; the first are drawn by chance and the same for all rules."""
    epochs: tuple[int, ...] = (12, 8, 6, 5, 4)
    """Of the training at each budget: few solutions are read often, so that there are steps enough."""
    rules: tuple[SelectionRule, ...] = ("random", "convincing-wrong", "ensemble", "disagreement", "jump")
    n_seeds: int = 3
    n_ensemble: int = 3
    """PRMs of the rules that read several, by seed of the training; the first is measured."""
    n_pool_problems: int = 800
    n_pool_samples: int = 5
    n_test_problems: int = 200
    n_test_samples: int = 16
    noise: float = 0.05
    """Chance that a step's label is the wrong one."""
    random_share: float = 0.1
    pool_seed: int = 4000
    test_seed: int = 4500
    temperature: float = 0.7
    max_tokens: int = 128
    workers: int = min(2, os.cpu_count() or 1)
    n_boot: int = 2000


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """A solution with the labels that an annotator would give it, revealed once it is selected."""

    candidate: Candidate
    """Without scores."""
    statement: str
    segments: tuple[str, ...]
    """Rendered steps, the answer last where there is one."""
    labels: tuple[bool, ...]
    """Of the segments from the first on, as far as they are labelled."""
    n_step_labels: int
    """Of these, what a person gives; the answer's label is the outcome, which costs nobody anything."""
    truth: tuple[bool, ...] = ()
    """The labels without noise."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One curve: a rule and a seed."""

    rule: SelectionRule
    seed: int

    @property
    def name(self) -> str:
        """As its folder is called."""
        return f"{self.rule}-{self.seed}"


def run(out: Path, watch: Watch, plan: ActivePlan | None = None) -> Findings:
    """Runs the experiment into `out`, going on where an earlier run stopped."""
    return _Active(out, watch, plan or ActivePlan(), Stages()).run()


def noisy_labels(truth: Sequence[bool], *, noise: float, key: str) -> tuple[bool, ...]:
    """The labels that a person gives, up to the first one of an error.

    Each is wrong with the chance `noise`, drawn from `key` and the step alone, so that a solution has the same labels
    whoever selects it and whenever. What follows a missed error is wrong, too: the error is carried on.

    >>> noisy_labels([True, False, False], noise=0.0, key="a")
    (True, False)
    >>> noisy_labels([True, True], noise=1.0, key="a")
    (False,)
    """
    given = []
    for index, is_right in enumerate(truth):
        is_slip = random.Random(f"{key}:{index}").random() < noise
        given.append(is_right != is_slip)
        if not given[-1]:
            break
    return tuple(given)


def write_set(folder: Path, chosen: Sequence[LabelledSolution]) -> None:
    """Writes the labels of the chosen as a set that `stepmark train prm` reads."""
    file = folder / "prm" / "train-00000-of-00001.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        {"prompt": one.statement, "completions": one.segments[: len(one.labels)], "labels": one.labels}
        for one in chosen
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def with_scores(
    pool: Sequence[LabelledSolution], models: Sequence[Path], labelled: set[int]
) -> list[list[Candidate]]:
    """The pool as candidates, those of one problem together, scored by each of the models, each a labeller too."""
    found: list[dict[int, tuple[float | None, tuple[float, ...]]]] = []
    open_ones = [one for one in pool if one.candidate.solution_id not in labelled]
    for folder in models:
        model = RewardModel.load(folder)
        items = ((one.candidate.solution_id, one.statement, one.segments) for one in open_ones)
        found.append({int(str(s.key)): (s.score, s.step_scores) for s in model.score(items)})
    groups: dict[int, list[Candidate]] = defaultdict(list)
    for one in pool:
        candidate = one.candidate
        if candidate.solution_id in labelled:
            candidate = replace(candidate, left_out="already labelled")
        elif found:
            values = [scores[candidate.solution_id][0] for scores in found]
            known = [value for value in values if value is not None]
            if len(known) == len(found):
                steps = tuple(scores[candidate.solution_id][1] for scores in found)
                said = {f"prm {number}": predicted_first_error(one) for number, one in enumerate(steps)}
                value = math.fsum(known) / len(known)
                candidate = replace(candidate, value=value, step_scores=steps, first_errors=said)
        groups[candidate.problem_id].append(candidate)
    return list(groups.values())


def quality(model: Path, test: Sequence[LabelledSolution]) -> dict[str, list[float | None]]:
    """Measures a PRM, by problem in the order of the test.

    Returns:
        `auc`: chance that a right step of the problem scores above a wrong one, over its distinct texts; None where
        it has not both. `best`: 1.0 where the solution of the highest score is right, of those with an answer.
    """
    reward_model = RewardModel.load(model)
    items = ((number, one.statement, one.segments) for number, one in enumerate(test))
    scored = list(reward_model.score(items))
    groups: dict[int, list[int]] = defaultdict(list)
    for number, one in enumerate(test):
        groups[one.candidate.problem_id].append(number)
    aucs: list[float | None] = []
    best: list[float | None] = []
    for numbers in groups.values():
        values, right = list[float](), list[bool]()
        for number in {test[n].candidate.text_hash: n for n in reversed(numbers)}.values():
            labels = test[number].truth
            values += scored[number].step_scores[: len(labels)]
            right += labels[: len(scored[number].step_scores)]
        value = auc(values, right)
        aucs.append(None if math.isnan(value) else value)
        top = max(numbers, key=lambda n: (_score(scored[n].score), -n))
        best.append(float(test[top].candidate.outcome is True))
    return {"auc": aucs, "best": best}


def reached_at(budgets: Sequence[float] | Floats, values: Sequence[float] | Floats, target: float) -> float:
    """The budget at which a curve first reaches a quality, on straight lines over the logarithm of the budget.

    Infinite where it never does; the first budget where it is there at once.

    >>> reached_at([100, 400], [0.5, 0.7], 0.6), reached_at([100, 400], [0.5, 0.7], 0.8)
    (200.0, inf)
    """
    if values[0] >= target:
        return float(budgets[0])
    for low, high, before, after in zip(budgets, budgets[1:], values, values[1:], strict=False):
        if after >= target:
            share = (target - before) / (after - before)
            return float(round(math.exp(math.log(low) + share * (math.log(high) - math.log(low))), 6))
    return math.inf


def _score(value: float | None) -> float:
    return -math.inf if value is None else value


class _Active:
    """One run of the experiment; its files are its memory."""

    def __init__(self, out: Path, watch: Watch, plan: ActivePlan, stages: Stages) -> None:
        self.out, self.watch, self.plan, self.stages = out, watch, plan, stages
        self.arms = [Arm(rule, seed) for seed in range(plan.n_seeds) for rule in plan.rules]

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        with self.stages.measured(name), self.watch(name) as progress:
            yield progress

    def run(self) -> Findings:
        this = asdict(self.plan)
        for name in ("workers", "n_boot"):
            del this[name]
        claim_folder(self.out / "active-plan.json", this, job="a run")
        note = self.out / "active-stages.json"
        try:
            with self.stage("sample") as progress:
                pool, test = self.sample(progress)
            for level in range(len(self.plan.budgets)):
                self.take_level(level, pool, test)
            with self.stage("report"):
                findings = self.report(pool)
        finally:
            stages = self.stages.joined_with(note)
        costs: dict[str, float] = defaultdict(float)
        for name, cost in stages.costs.items():
            costs[name.partition(" at ")[0]] += cost.cpu_s
        return replace(findings, costs_cpu_s={name: round(cost, 1) for name, cost in costs.items()})

    def sample(self, progress: Progress) -> tuple[list[LabelledSolution], list[LabelledSolution]]:
        """Draws problems and solutions of pool and test, and labels them by the exact checker."""
        plan = self.plan
        database = open_database(f"sqlite:///{self.out / 'active.db'}", create=True)
        try:
            pool = draw_problems(plan.n_pool_problems, plan.pool_seed, part="reserved")
            families = {problem.family for problem in pool}
            test = draw_problems(plan.n_test_problems, plan.test_seed, part="reserved", exclude_families=families)
            with writing(database) as session:
                for source, problems in ((POOL, pool), (TEST, test)):
                    add_problems(session, [problem_record(problem, source, i) for i, problem in enumerate(problems)])
            engine = TransformersEngine(str(MODEL), threads=1, workers=plan.workers)
            try:
                for source, n in ((POOL, plan.n_pool_samples), (TEST, plan.n_test_samples)):
                    report = generate_solutions(
                        database,
                        engine,
                        n=n,
                        prompt=read_prompt("plain"),
                        sampling=Sampling(temperature=plan.temperature, max_tokens=plan.max_tokens),
                        selection=ProblemSelection(source=source),
                        on_progress=lambda r: progress(r.n_stored_before + r.n_stored, r.n_wanted),
                    )
                    require_done(report, f"sampling {source}", then="Run it again.")
            finally:
                engine.close()
            sets = []
            for source in (POOL, TEST):
                batches = solutions_to_score(database, "nobody", source=source)
                sets.append([one for batch in batches for s in batch if (one := self.labelled(s)) is not None])
        finally:
            database.dispose()
        return sets[0], sets[1]

    def labelled(self, solution: SolutionToScore) -> LabelledSolution | None:
        """A solution with its labels; None of a text without steps or answer, which nobody can choose."""
        problem = parse_problem(solution.statement)
        if problem is None or not solution.steps or solution.answer is None:
            return None
        found = check_solution(problem, solution.steps, solution.answer)
        truth = [label == 1 for label in found.step_labels]  # None, behind an error: wrong, too
        steps = noisy_labels(truth, noise=self.plan.noise, key=solution.text_hash)
        segments = tuple(render_segments(solution.steps, solution.answer))
        is_right = found.outcome is True
        first_wrong = truth.index(False) if False in truth else None
        return LabelledSolution(
            Candidate(solution.solution_id, solution.problem_id, solution.text_hash, found.outcome),
            solution.statement,
            segments,
            (*steps, is_right) if all(steps) else steps,
            len(steps),
            (*truth, is_right) if first_wrong is None else tuple(truth[: first_wrong + 1]),
        )

    def take_level(self, level: int, pool: list[LabelledSolution], test: list[LabelledSolution]) -> None:
        """Selects, reveals labels, trains and measures at one budget."""
        by_id = {one.candidate.solution_id: one for one in pool}
        budget = self.plan.budgets[level]
        with self.stage(f"select at {budget}") as progress:
            for number, arm in enumerate(self.arms):
                if not self.file(arm, level, "chosen.json").exists():
                    ids = self.choose(arm, level, pool)
                    write_set(self.folder(arm, level), [by_id[i] for i in ids])
                    write_json(self.file(arm, level, "chosen.json"), ids)
                progress(number + 1, len(self.arms))
        with self.stage(f"train at {budget}") as progress:
            jobs = [
                TrainingJob(
                    name=f"{arm.name}-{budget}-{member}",
                    kind="prm",
                    data=self.folder(arm, level),
                    model=str(MODEL),
                    out=self.model(arm, level, member),
                    seed=100 * arm.seed + member,
                    epochs=self.plan.epochs[level],
                )
                for arm in self.arms
                if self.shared(arm, level) == arm
                for member in range(self.n_members(arm, level))
            ]
            train_side_by_side(jobs, workers=self.plan.workers, progress=progress)
        with self.stage(f"measure at {budget}") as progress:
            for number, arm in enumerate(self.arms):
                file = self.file(arm, level, "quality.json")
                if self.shared(arm, level) == arm and not file.exists():
                    write_json(file, quality(self.model(arm, level, 0), test))
                progress(number + 1, len(self.arms))

    def choose(self, arm: Arm, level: int, pool: list[LabelledSolution]) -> list[int]:
        """The ids of the solutions that are labelled at a budget, those of the budget before first."""
        plan = self.plan
        before: list[int] = []
        rule, random_share = arm.rule, plan.random_share
        models: list[Path] = []
        if level == 0:
            rule = "random"
        else:
            before = read_json(self.file(arm, level - 1, "chosen.json"))
            if rule != "random":
                models = [
                    self.model(arm, level - 1, m) for m in range(plan.n_ensemble if rule in _READ_SEVERAL else 1)
                ]
        found = select(
            with_scores(pool, models, set(before)),
            rule,
            limit=plan.budgets[level] - len(before),
            random_share=random_share,
            seed=arm.seed,
        )
        return before + [one.solution_id for one in found.chosen]

    def n_members(self, arm: Arm, level: int) -> int:
        """How many PRMs are trained: several where a rule selects by several next, else one."""
        if level == len(self.plan.budgets) - 1:
            return 1
        readers = self.plan.rules if level == 0 else (arm.rule,)
        return self.plan.n_ensemble if any(rule in _READ_SEVERAL for rule in readers) else 1

    def shared(self, arm: Arm, level: int) -> Arm:
        """The arm whose models stand for this one's: at the first budget all rules share them."""
        return Arm(self.plan.rules[0], arm.seed) if level == 0 else arm

    def folder(self, arm: Arm, level: int) -> Path:
        return self.out / arm.name / str(self.plan.budgets[level])

    def file(self, arm: Arm, level: int, name: str) -> Path:
        return self.folder(arm, level) / name

    def model(self, arm: Arm, level: int, member: int) -> Path:
        return self.folder(self.shared(arm, level), level) / f"prm-{member}"

    def report(self, pool: list[LabelledSolution]) -> Findings:
        """Makes tables, the picture and the words of what was measured."""
        plan = self.plan
        by_id = {one.candidate.solution_id: one for one in pool}
        kept: dict[str, dict[SelectionRule, Floats]] = {"auc": {}, "best": {}}
        labels: dict[SelectionRule, Floats] = {}
        makeup: dict[SelectionRule, tuple[float, float, float]] = {}
        levels = range(len(plan.budgets))
        for rule in plan.rules:
            arms = [Arm(rule, seed) for seed in range(plan.n_seeds)]
            chosen = [[read_json(self.file(arm, level, "chosen.json")) for level in levels] for arm in arms]
            labels[rule] = np.array(
                [[sum(by_id[i].n_step_labels for i in ids) for ids in of_arm] for of_arm in chosen], float
            )
            last = [by_id[i] for of_arm in chosen for i in of_arm[-1]]
            makeup[rule] = (
                len(last) / len(arms),
                float(np.mean([one.candidate.outcome is not True for one in last])),
                float(np.mean([False in one.truth[: len(one.segments) - 1] for one in last])),
            )
            found = [
                [read_json(self.file(self.shared(arm, level), level, "quality.json")) for level in levels]
                for arm in arms
            ]
            for measure, of_rule in kept.items():
                of_rule[rule] = np.array([[one[measure] for one in of_arm] for of_arm in found], float)
        efficiencies = {
            (measure, unit): {rule: self.efficiency(of_rule, labels if unit == "step labels" else None, rule)
                              for rule in plan.rules}
            for measure, of_rule in kept.items()
            for unit in ("solutions", "step labels")
        }  # fmt: skip
        self.draw(kept)
        return _findings(plan, pool, kept, labels, makeup, efficiencies)

    def efficiency(
        self, kept: Mapping[SelectionRule, Floats], labels: Mapping[SelectionRule, Floats] | None, rule: SelectionRule
    ) -> tuple[float, float, float]:
        """How many times fewer labels a rule needs for what `random` has in the end, with its 95 % interval.

        0.0 where it is not reached. Resampled are the test problems and the seeds, both paired between the rules.

        Args:
            kept: By rule [seeds, budgets, problems].
            labels: By rule [seeds, budgets] step labels; None counts solutions.
            rule: The rule.
        """

        def at(seeds: npt.NDArray[np.int64], problems: npt.NDArray[np.int64]) -> float:
            target = _curve(kept["random"][seeds][:, :, problems])[-1]
            curve = _curve(kept[rule][seeds][:, :, problems])
            spent = np.array(self.plan.budgets, float) if labels is None else labels[rule][seeds].mean(axis=0)
            in_all = spent[-1] if labels is None else float(labels["random"][seeds].mean(axis=0)[-1])
            needed = reached_at(spent, curve, target)
            return 0.0 if math.isinf(needed) else float(in_all / needed)

        n_seeds, _, n_problems = kept[rule].shape
        rng = np.random.default_rng(0)
        drawn = [
            at(rng.integers(0, n_seeds, (n_seeds,)), rng.integers(0, n_problems, (n_problems,)))
            for _ in range(self.plan.n_boot)
        ]
        tail = 100 * expanded_tail(0.95, n_problems)
        # Of what was drawn, since 0.0 (not reached) must not be mixed with another.
        low, high = np.percentile(drawn, [tail, 100 - tail], method="nearest")
        return at(np.arange(n_seeds), np.arange(n_problems)), float(low), float(high)

    def draw(self, kept: Mapping[str, Mapping[SelectionRule, Floats]]) -> None:
        """Draws quality against budget, a panel for each measure, a thin line for each seed."""
        figure = new_figure(10.0, 4.2)
        panels = figure.subplots(1, 2)
        titles = {"auc": "AUC of steps within problems", "best": f"best of {self.plan.n_test_samples}"}
        for axes, (measure, of_rule) in zip(panels, kept.items(), strict=True):
            for colour, (rule, found) in zip(COLOURS, of_rule.items(), strict=False):
                for of_seed in found:
                    axes.plot(self.plan.budgets, _curve(of_seed[None]), color=colour, linewidth=0.6, alpha=0.5)
                axes.plot(self.plan.budgets, _curve(found), color=colour, marker="o", markersize=4, label=rule)
            if "random" in of_rule:
                axes.axhline(_curve(of_rule["random"])[-1], color="#777777", linestyle=":", linewidth=1)
            axes.set_xscale("log", base=2)
            axes.set_xticks(self.plan.budgets, [str(budget) for budget in self.plan.budgets])
            axes.minorticks_off()
            axes.set_xlabel("labelled solutions")
            axes.set_title(titles[measure])
            tidy(axes, grid="both")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
        figure.savefig(self.out / "active-quality.png")


def _curve(found: Floats) -> Floats:
    """[seeds, budgets, problems] to the mean of each budget; problems without a value are left out."""
    curve: Floats = np.nanmean(found, axis=(0, 2))
    return curve


def _findings(
    plan: ActivePlan,
    pool: Sequence[LabelledSolution],
    kept: Mapping[str, Mapping[SelectionRule, Floats]],
    labels: Mapping[SelectionRule, Floats],
    makeup: Mapping[SelectionRule, tuple[float, float, float]],
    efficiencies: Mapping[tuple[str, str], Mapping[SelectionRule, tuple[float, float, float]]],
) -> Findings:
    n_texts = len({one.candidate.text_hash for one in pool})
    names = {"auc": "AUC of steps within problems", "best": f"best of {plan.n_test_samples}"}
    curves = tuple(
        Table(
            f"Active labelling: {names[measure]} by labelled solutions",
            ("rule", *map(str, plan.budgets), f"less random at {plan.budgets[-1]}", "95 % interval"),
            tuple(
                (rule, *(round(float(v), 4) for v in _curve(found)), *_against_random(of_rule, rule, plan.n_boot))
                for rule, found in of_rule.items()
            ),
            f"Mean of {plan.n_seeds} seeds, {plan.n_test_problems} fresh problems x {plan.n_test_samples} solutions; "
            "difference paired by problem, the models held fixed.",
        )
        for measure, of_rule in kept.items()
    )
    others = [rule for rule in plan.rules if rule != "random"]
    table = Table(
        f"How many times fewer labels reach what {plan.budgets[-1]} drawn by chance reach",
        ("rule", *(f"{names[measure]}, in {unit}" for measure, unit in efficiencies)),
        tuple((rule, *(_times(plan, of_rule[rule]) for of_rule in efficiencies.values())) for rule in plan.rules),
        "Interpolated where the mean curve first reaches it, over the logarithm of the budget; 95 % interval over "
        "resampled seeds and problems. The row of random shows what it gives where nothing is "
        "to gain.",
    )
    spent = Table(
        f"What the {plan.budgets[-1]} labelled solutions are",
        ("rule", "solutions", "step labels", "wrong answer", "a wrong step"),
        tuple(
            (rule, round(makeup[rule][0]), round(float(labels[rule].mean(axis=0)[-1])), *makeup[rule][1:])
            for rule in plan.rules
        ),
    )
    main = efficiencies["auc", "solutions"]
    best_rule = max(others, key=lambda rule: main[rule][0])
    factor, low, _ = main[best_rule]
    verdict = "Yes" if low >= LIGHTMAN else "Not shown" if factor >= LIGHTMAN else "No"
    return Findings(
        title="Active labelling",
        aim=f"A rule needs {LIGHTMAN} times fewer labelled solutions than chance for the same AUC of steps.",
        reached=f"{verdict}: the best rule, {best_rule}, picked afterwards, needs {_times(plan, main[best_rule])} "
        "times fewer.",
        paragraphs=(
            f"A pool of {len(pool)} solutions by the embedded model, {n_texts} of them distinct, the most that can "
            f"be labelled; the exact labels of a solution are revealed when it is selected, up to "
            f"the first error, each wrong with a chance of {plan.noise:.0%}. The first "
            f"{plan.budgets[0]} solutions are drawn by chance and shared by all rules; from each budget to the next "
            "the PRM of the budget before selects as `stepmark queue rank` does, one solution of a problem at a "
            f"time, {plan.random_share:.0%} of them from the random stream. At each budget the PRM is trained of the "
            f"language model anew. The ensemble is {plan.n_ensemble} PRMs of different seeds, of which one is "
            "measured.",
            "For the rule `disagreement` they are the labellers, by the first step that each scores below a half; it "
            "selects fewer where too few solutions divide them. `< 1` means that the rule has not reached it with as "
            "many labels.",
        ),
        tables=(*curves, table, spent),
        figures=(
            Figure(
                "active-quality.png",
                "Quality of the PRM by labelled solutions and rule; thin lines: seeds, dotted: the end of random",
            ),
        ),
        measured=tuple(
            Measured(
                f"active labelling, {names[measure]}: {unit} of random over those of {rule}",
                of_rule[rule][0],
                "times, 0 where not reached",
                "random",
                of_rule[rule][0],
                "higher",
            )
            for (measure, unit), of_rule in efficiencies.items()
            for rule in others
        ),
    )


def _against_random(
    of_rule: Mapping[SelectionRule, Floats], rule: SelectionRule, n_boot: int
) -> tuple[float | None, str | None]:
    """The difference to `random` at the largest budget, and its interval over resampled problems."""
    if rule == "random":
        return None, None
    ours, theirs = (of_rule[name][:, -1, :].mean(axis=0) for name in (rule, "random"))
    gaps = (ours - theirs)[~np.isnan(ours - theirs)]
    drawn = np.random.default_rng(0).integers(0, len(gaps), (n_boot, len(gaps)))
    tail = 100 * expanded_tail(0.95, len(gaps))
    low, high = np.percentile(gaps[drawn].mean(axis=1), [tail, 100 - tail])
    return float(gaps.mean()), f"[{low:+.3f}, {high:+.3f}]"


def _times(plan: ActivePlan, found: tuple[float, float, float]) -> str:
    """`1.8 [1.1, 2.4]`; `< 1` where it is not reached.

    >>> _times(ActivePlan(), (0.0, 0.0, 1.25))
    '< 1 [< 1, 1.2]'
    """
    value, low, high = ("< 1" if one == 0 else f"{one:.1f}" for one in found)
    return f"{value} [{low}, {high}]"
