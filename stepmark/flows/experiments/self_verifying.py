"""The self-verifying model: one small model that solves, and criticises by carrying a chain to a variant.

It learns both from rows that a program confirms: drills, chains carried by program and its own right solutions, all
at once; then rounds of what it sampled itself and the verifier agreed with, which are kept in a database for export.
Its verdicts stand beside those of readers of the same chains: the same model as a judge, a process and an outcome
reward model. `verdicts` measures them, `backtracking` puts the critic to use.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from exports.formats.sets import SetWriter
from generator.domain import DomainProblem, check_solution, draw_problems, draw_variant
from generator.domain.carrying import carry_chain, critic_question, judge_question, verdict_of_carried
from generator.domain.drills import draw_drill
from generator.domain.planted import PlantedKind, plant
from stepmark import __version__
from stepmark.engine import Sample, Sampling
from stepmark.errors import JobError
from stepmark.flows.demo import MODEL, Watch
from stepmark.flows.stages import Stages, claim_folder
from stepmark.flows.training import TrainingJob, train_side_by_side
from stepmark.steps import render_segments, render_solution, split_solution
from trainer.rows import Kind
from trainer.score import RewardModel

from .backtracking import Attempt, Pool, use_the_critic
from .findings import Findings
from .kept import kept
from .sampling import sample_texts
from .self_verifying_database import Criticised, keep_database
from .self_verifying_page import ItemVerdicts, page

LEARNT_KINDS: tuple[PlantedKind, ...] = ("overfit", "fudged", "slip", "corrupted")
"""Planted kinds that critic and readers are trained on; `leaked` is only tested."""
TESTED_KINDS = ("honest", "own", *get_args(PlantedKind))


@dataclass(frozen=True, slots=True)
class SelfVerifyingPlan:
    """How much is done; seeds are 3000-3999."""

    n_drills: int = 36_000
    n_taught_problems: int = 7_000
    n_taught_samples: int = 2
    """Solutions of each of them, of which the right ones are learnt and all are carried."""
    n_rounds: int = 2
    n_round_problems: int = 700
    n_samples: int = 4
    """Solutions of a training problem in a round."""
    n_per_kind: int = 110
    n_validation: int = 300
    """Right chains on which the readers' thresholds are set."""
    n_used_problems: int = 250
    n_tries: int = 8
    seed: int = 3100
    """Designs were chosen on problems of 3000-3099 and 3900-3999."""
    lr: float = 0.01
    round_lr: float = 0.002
    batch_tokens: int = 2048
    n_reader_chains: int = 8_000
    """Chains that the readers learn from, at most: the first of those that the critic carried in training."""
    reader_epochs: int = 1
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Chain:
    """One solution of a problem, and what is known of it."""

    problem: DomainProblem
    variants: tuple[DomainProblem, ...]
    kind: str
    steps: tuple[str, ...]
    answer: str | None

    @property
    def is_right(self) -> bool:
        """Whether answer and steps are right, by the exact checker."""
        return check_solution(self.problem, self.steps, self.answer).is_right

    def question(self, variant: int) -> str:
        """What the critic is asked about it."""
        return critic_question(self.problem.statement, self.steps, self.answer, self.variants[variant].statement)


def run(out: Path, watch: Watch) -> Findings:
    """Runs the experiment as it is published."""
    return run_plan(out, SelfVerifyingPlan(), watch=watch)


def run_plan(out: Path, plan: SelfVerifyingPlan, *, watch: Watch) -> Findings:
    """Runs the experiment into `out`; what an earlier run of the same plan left there is used.

    Raises:
        SettingsError: The folder holds a run of another plan.
        JobError: A stage could not finish; run again, it goes on there.
    """
    claim_folder(out / "plan.json", {**asdict(plan), "workers": None}, job="a run")
    job = _Job(out, plan, watch)
    try:
        return job.run()
    finally:
        job.stages.joined_with(out / "stages.json")


@dataclass(slots=True)
class _Job:
    out: Path
    plan: SelfVerifyingPlan
    watch: Watch
    stages: Stages = field(default_factory=Stages)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    n_critic_rows: int = 0
    learnt: list[Chain] = field(default_factory=list)
    criticised: list[Criticised] = field(default_factory=list)

    def run(self) -> Findings:
        models = {"before": MODEL}
        items = self.items()
        models["taught"] = model = self.taught()
        for number in range(1, self.plan.n_rounds + 1):
            models[f"round {number}"] = model = self.round(number, model)
        with self.stages.measured("database"), self.watch("database"):
            self.counts["database of the rounds"] = keep_database(self.out, self.criticised)
        self.readers()
        verdicts = self.verdicts(items, models)
        used = self.use(model)
        costs = self.stages.joined_with(self.out / "stages.json").costs
        self.stages = Stages()
        return page(
            self.out,
            verdicts,
            used,
            counts=self.counts,
            solving=self.solving(models),
            costs={name: cost.cpu_s for name, cost in costs.items()},
        )

    # ------------------------------------------------------------ what is learnt

    def taught(self) -> Path:
        """Carried by program, wrong rule and all; solutions are the model's own right ones."""
        plan, rng = self.plan, random.Random(self.plan.seed)
        rows = []
        for drill in (draw_drill(rng) for _ in range(plan.n_drills)):
            text = carry_chain(drill.statement, drill.steps, drill.answer, drill.variant).text
            rows.append((critic_question(drill.statement, drill.steps, drill.answer, drill.variant), text))
        problems = self.problems(plan.n_taught_problems, 1, "corpus")
        sampled = self.sampled("taught-solutions", MODEL, [p.statement for p, _ in problems], n=plan.n_taught_samples)
        chains = self.chains(problems, sampled, random.Random(plan.seed + 11), n_made=2)
        rows += self.carried(chains)
        rows += self.solved(problems, sampled)
        self.learnt += chains
        return self.train("taught", MODEL, rows, lr=plan.lr)

    def round(self, number: int, base: Path) -> Path:
        """One round of rejection sampling: solutions that are right, critiques that are faithful."""
        plan, name = self.plan, f"round-{number}"
        problems = self.problems(plan.n_round_problems, 10 + number, "corpus")
        sampled = self.sampled(f"{name}-solutions", base, [p.statement for p, _ in problems], n=plan.n_samples)
        chains = self.chains(problems, sampled, random.Random(plan.seed + 20 + number))
        critiques = self.sampled(f"{name}-critiques", base, [chain.question(0) for chain in chains], n=1)
        rows, counts = [], Counter[str]()
        for chain, (critique,) in zip(chains, critiques, strict=True):
            variant = chain.variants[0]
            carried = carry_chain(chain.problem.statement, chain.steps, chain.answer, variant.statement)
            is_faithful = critique.text.strip() == carried.text
            counts["faithful" if is_faithful else "not faithful"] += 1
            if is_faithful:
                rows.append((chain.question(0), critique.text.strip()))
            self.criticised.append(
                Criticised(
                    chain.problem,
                    variant,
                    chain.kind,
                    chain.steps,
                    chain.answer,
                    critique.text.strip(),
                    critic=f"self-verifying/{base.name}",
                    round_number=number,
                )
            )
        self.counts[f"critiques of round {number}"] = dict(counts)
        solved = self.solved(problems, sampled)
        self.counts[f"solutions of round {number}"] = {
            "sampled": len(problems) * plan.n_samples,
            "right, unlike each other": len(solved),
        }
        self.n_critic_rows += len(rows)
        self.learnt += chains
        return self.train(name, base, [*rows, *solved], lr=plan.round_lr)

    def chains(
        self,
        problems: Sequence[tuple[DomainProblem, tuple[DomainProblem, ...]]],
        sampled: Sequence[Sequence[Sample]],
        rng: random.Random,
        *,
        n_made: int = 1,
    ) -> list[Chain]:
        """For each problem some of the model's own solutions, and `n_made` chains that are right or planted."""
        chains = []
        for (problem, variants), samples in zip(problems, sampled, strict=True):
            for text in sorted({sample.text for sample in samples})[:2]:
                own = split_solution(text)
                if own.steps:
                    chains.append(Chain(problem, variants, "own", own.steps, own.answer))
            for kind in rng.sample(("honest", *LEARNT_KINDS), n_made):
                made = _made(kind, problem, variants, rng)
                if made is not None:
                    chains.append(made)
        return chains

    def carried(self, chains: Sequence[Chain]) -> list[tuple[str, str]]:
        rows = []
        for index, chain in enumerate(chains):
            at = index % len(chain.variants)
            variant = chain.variants[at]
            carried = carry_chain(chain.problem.statement, chain.steps, chain.answer, variant.statement)
            if not carried.is_ambiguous:
                rows.append((chain.question(at), carried.text))
        self.counts["chains carried by program"] = {
            "read": len(chains),
            "kept": len(rows),
            "dropped: a number that may come from two places": len(chains) - len(rows),
        }
        self.n_critic_rows += len(rows)
        return rows

    def solved(
        self,
        problems: Sequence[tuple[DomainProblem, tuple[DomainProblem, ...]]],
        sampled: Sequence[Sequence[Sample]],
    ) -> list[tuple[str, str]]:
        """Solutions with the right answer and no wrong step, each text once."""
        rows = []
        for (problem, _), samples in zip(problems, sampled, strict=True):
            for text in sorted({sample.text for sample in samples}):
                own = split_solution(text)
                if check_solution(problem, own.steps, own.answer).is_right:
                    rows.append((problem.statement, render_solution(own.steps, own.answer)))
        return rows

    def train(self, name: str, base: Path, rows: Sequence[tuple[str, str]], *, lr: float) -> Path:
        folder = self.out / "models" / name
        shuffled = random.Random(self.plan.seed).sample(list(rows), len(rows))
        self.write_set(name, "sft", [{"prompt": prompt, "completion": text} for prompt, text in shuffled])
        more = {"lr": lr, "optimizer": "muon", "batch_tokens": self.plan.batch_tokens}
        job = TrainingJob(name, "sft", self.out / "sets" / name, str(base), folder, 0, 1, more)
        with self.stages.measured(f"train {name}"), self.watch(f"train {name}") as progress:
            train_side_by_side([job], workers=1, progress=progress)
        return folder

    def readers(self) -> None:
        """The judge, PRM and ORM, on the chains that the critic carried in training."""
        judged, steps, outcomes = [], [], []
        for chain in self.learnt[: min(self.n_critic_rows, self.plan.n_reader_chains)]:
            found = check_solution(chain.problem, chain.steps, chain.answer)
            if found.outcome is None:
                continue
            word = "pass" if found.outcome else "fail"
            question = judge_question(chain.problem.statement, chain.steps, chain.answer)
            judged.append({"prompt": question, "completion": word})
            outcomes.append(
                {
                    "prompt": chain.problem.statement,
                    "completion": render_solution(chain.steps, chain.answer),
                    "label": found.outcome,
                }
            )
            n = next((i + 1 for i, label in enumerate(found.step_labels) if label == -1), len(chain.steps))
            segments = render_segments(chain.steps, None)[:n]
            labels = [label == 1 for label in found.step_labels[:n]]
            steps.append({"prompt": chain.problem.statement, "completions": segments, "labels": labels})
        self.counts["chains that the readers learn from"] = {
            "read": len(self.learnt),
            "kept": len(judged),
        }
        self.write_set("readers", "sft", judged)
        self.write_set("readers", "orm", outcomes)
        self.write_set("readers", "prm", steps)
        data, epochs = self.out / "sets" / "readers", self.plan.reader_epochs
        kinds: dict[str, Kind] = {"judge": "sft", "prm": "prm", "orm": "orm"}
        jobs = [
            TrainingJob(name, kind, data, str(MODEL), self.out / "models" / name, 0, epochs)
            for name, kind in kinds.items()
        ]
        with self.stages.measured("train the readers"), self.watch("train the readers") as progress:
            train_side_by_side(jobs, workers=self.plan.workers, progress=progress)

    def write_set(self, name: str, config: str, rows: Sequence[Mapping[str, Any]]) -> None:
        folder = self.out / "sets" / name
        if (folder / config).exists():
            return
        with SetWriter(folder, config) as writer:
            for row in rows:
                writer.write("train", row)
            counts = {"read": len(rows), "kept": len(rows), "dropped": {}}
            writer.finish(version=__version__, format="trl", query={"experiment": "self-verifying"}, counts=counts)

    # ------------------------------------------------------------ what is measured

    def problems(self, n: int, offset: int, part: Any) -> list[tuple[DomainProblem, tuple[DomainProblem, ...]]]:
        """Problems with three variants each; those for which variants are hard to find are passed over."""
        rng = random.Random(self.plan.seed + offset)
        found = []
        for problem in draw_problems(n, self.plan.seed + offset, part=part):
            try:
                variants = tuple(draw_variant(problem, rng) for _ in range(3))
            except JobError:
                continue
            found.append((problem, variants))
        return found

    def items(self) -> list[Chain]:
        """The tested chains, the same number of each kind as far as they are found; and those of validation."""
        plan, rng = self.plan, random.Random(self.plan.seed + 31)
        problems = self.problems(4 * plan.n_per_kind + plan.n_validation, 30, "reserved")
        validation, tested = problems[: plan.n_validation], problems[plan.n_validation :]
        items = [Chain(p, v, "validation", p.steps, p.answer) for p, v in validation]
        sampled = self.sampled("own-wrong", MODEL, [p.statement for p, _ in tested], n=1)
        of_kind: dict[str, list[Chain]] = {kind: [] for kind in TESTED_KINDS}
        for (problem, variants), (sample,) in zip(tested, sampled, strict=True):
            own = split_solution(sample.text)
            chain = Chain(problem, variants, "own", own.steps, own.answer)
            if own.steps and not chain.is_right:
                of_kind["own"].append(chain)
            for kind in TESTED_KINDS:
                if kind != "own" and (made := _made(kind, problem, variants, rng)) is not None:
                    of_kind[kind].append(made)
        for chains in of_kind.values():
            rng.shuffle(chains)
            items += chains[: plan.n_per_kind]
        return items

    def verdicts(self, items: Sequence[Chain], models: Mapping[str, Path]) -> list[ItemVerdicts]:
        """What the critic of each stage and each reader says of every item."""
        last = list(models)[-1]
        rows = [ItemVerdicts(chain.problem.family, chain.kind, chain.is_right) for chain in items]
        for name, model in models.items():
            n_variants = 3 if name == last else 1
            file = f"verdicts-{name.replace(' ', '-')}"
            questions = [chain.question(v) for chain in items for v in range(n_variants)]
            critiques = iter(self.sampled(file, model, questions, n=1, temperature=0.0))
            for row, chain in zip(rows, items, strict=True):
                row.critic[name] = [
                    verdict_of_carried(next(critiques)[0].text, variant.answer)
                    for variant in chain.variants[:n_variants]
                ]
        for row, chain in zip(rows, items, strict=True):
            row.program = [
                carry_chain(chain.problem.statement, chain.steps, chain.answer, v.statement).answer == v.answer
                for v in chain.variants
            ]
        questions = [judge_question(c.problem.statement, c.steps, c.answer) for c in items]
        for name, model in (("judge before", MODEL), ("judge", self.out / "models" / "judge")):
            judged = self.sampled(name.replace(" ", "-"), model, questions, n=1, temperature=0.0)
            for row, (sample,) in zip(rows, judged, strict=True):
                row.judge[name] = sample.text.strip()
        for name in ("prm", "orm"):
            for row, score in zip(
                rows, self.scored(name, [(c.problem, c.steps, c.answer) for c in items]), strict=True
            ):
                row.scores[name] = score
        return rows

    def solving(self, models: Mapping[str, Path]) -> dict[str, float]:
        """The share of solutions that are right, by model, on fresh problems."""
        problems = self.problems(self.plan.n_used_problems, 50, "reserved")
        shares = {}
        for name, model in models.items():
            file = f"solving-{name.replace(' ', '-')}"
            sampled = self.sampled(file, model, [p.statement for p, _ in problems], n=4)
            right = [
                check_solution(problem, (own := split_solution(s.text)).steps, own.answer).outcome is True
                for (problem, _), samples in zip(problems, sampled, strict=True)
                for s in samples
            ]
            shares[name] = sum(right) / len(right)
        return shares

    def use(self, model: Path) -> dict[str, Any]:
        """Solve, criticise, try again; beside majority vote and best-of-N at equal tokens."""
        plan = self.plan
        problems = self.problems(plan.n_used_problems, 51, "reserved")
        n = 2 * plan.n_tries
        sampled = self.sampled("use-solutions", model, [p.statement for p, _ in problems], n=n)
        variants = [v.statement for _, vs in problems for v in vs]
        voted = self.sampled("use-variants", model, variants, n=5)
        asked: list[tuple[int, str, str, int]] = []
        for index, ((problem, vs), samples) in enumerate(zip(problems, sampled, strict=True)):
            for text in dict.fromkeys(sample.text for sample in samples[: plan.n_tries]):
                own = split_solution(text)
                if own.steps:
                    chain = Chain(problem, vs, "own", own.steps, own.answer)
                    asked += [(index, text, chain.question(v), v) for v in range(3)]
        critiques = self.sampled("use-critiques", model, [q for _, _, q, _ in asked], n=1, temperature=0.0)
        known = {(i, text, v): c[0] for (i, text, _, v), c in zip(asked, critiques, strict=True)}
        flat = [
            (p, split_solution(s.text)) for (p, _), samples in zip(problems, sampled, strict=True) for s in samples
        ]
        scores = iter(self.scored("prm", [(p, own.steps, own.answer) for p, own in flat]))
        pools = []
        for index, ((problem, vs), samples) in enumerate(zip(problems, sampled, strict=True)):
            attempts = [
                Attempt(
                    answer=split_solution(sample.text).answer,
                    n_tokens=sample.n_tokens or 0,
                    score=next(scores),
                    critiques=tuple(
                        (known[index, sample.text, v].text, known[index, sample.text, v].n_tokens or 0)
                        for v in range(3)
                        if (index, sample.text, v) in known
                    ),
                )
                for sample in samples
            ]
            majority = []
            for v in range(3):
                votes = voted[3 * index + v]
                answers = Counter(split_solution(s.text).answer for s in votes)
                majority.append((answers.most_common(1)[0][0] or "", sum(s.n_tokens or 0 for s in votes)))
            pools.append(Pool(problem.answer, tuple(attempts), tuple(v.answer for v in vs), tuple(majority)))
        return use_the_critic(pools, n_tries=plan.n_tries)

    def scored(self, name: str, solutions: Iterable[tuple[DomainProblem, Sequence[str], str | None]]) -> list[float]:
        with self.stages.measured(f"score by {name}"):
            model = RewardModel.load(self.out / "models" / name)
            given = (
                (index, problem.statement, render_segments(steps, answer if name == "orm" else None))
                for index, (problem, steps, answer) in enumerate(solutions)
            )
            return [found.score or 0.0 for found in model.score(given)]

    def sampled(
        self, name: str, model: Path, prompts: Sequence[str], *, n: int, temperature: float = 0.7
    ) -> list[list[Sample]]:
        """Samples `n` texts for every prompt, once; later runs read them from `samples/NAME.json`."""
        sampling = Sampling(temperature=temperature, max_tokens=128)

        def make() -> dict[str, list[tuple[str, int | None]]]:
            with self.stages.measured(f"sample {name}"), self.watch(f"sample {name}") as progress:
                found = sample_texts(model, prompts, sampling, n=n, progress=progress)
            return {
                prompt: [(sample.text, sample.n_tokens) for sample in samples] for prompt, samples in found.items()
            }

        known = kept(self.out / "samples" / f"{name}.json", make)
        return [[Sample(text, "stop", tokens) for text, tokens in known[prompt]] for prompt in prompts]


def _made(kind: Any, problem: DomainProblem, variants: tuple[DomainProblem, ...], rng: random.Random) -> Chain | None:
    if kind == "honest":
        return Chain(problem, variants, kind, problem.steps, problem.answer)
    made = plant(kind, problem, rng)
    return None if made is None else Chain(problem, variants, kind, made.steps, made.answer)
