"""All kinds of reward model on the same pairs: which chooses best, ranks steps, and says what it knows?

Every model learns from one right and one wrong solution of each training problem, with exact labels. Critiques are
short: each step up to the first error with `right` or `wrong`, then the verdict.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generator.domain import DomainProblem, check_solution, draw_problems
from stepmark.engine import Sampling
from stepmark.errors import InputError, JobError
from stepmark.flows.cloud import CloudJob, train_cloud
from stepmark.flows.critiques import Sampled
from stepmark.flows.demo import MODEL, Watch
from stepmark.flows.models import open_model
from stepmark.flows.stages import Stages, claim_folder
from stepmark.flows.training import TrainingJob, train_side_by_side
from stepmark.progress import Progress
from stepmark.steps import bare_step, render_segments, split_solution
from stepmark.verdicts import read_verdict
from trainer.audit.audit import audit
from trainer.calibration import Method
from trainer.evaluate.best_of_n import best_of_n
from trainer.evaluate.calibration import Judged, evaluate_calibration, fit
from trainer.evaluate.comparison import Scorer
from trainer.evaluate.items import Item
from trainer.evaluate.measures import auc, best_of_n_rate, within_problem_auc
from trainer.evaluate.pictures import COLOURS, new_figure, tidy
from trainer.rows import Kind
from trainer.score import RewardModel

from .estimates import in_words, mean_of
from .findings import Figure, Findings, Measured, Table
from .kept import kept
from .sampling import sample_texts

BT = "Bradley-Terry"
PAIRS = (BT, "critiques given, oracle", "critiques given, own", "CLoud on-policy", "CLoud off-policy")
"""Models whose scores compare solutions of one problem only."""
MODELS = ("PRM", "ORM", *PAIRS, "implicit PRM", "judge")
AUDITED = ("PRM", "ORM", BT, "critiques given, own", "CLoud on-policy", "implicit PRM")
"""One of each kind that gives any solution a score: an oracle knows nothing of rewritten ones."""
QUESTION = "\n\nWrite the critique and the verdict."


@dataclass(frozen=True, slots=True)
class RewardModelsPlan:
    """How much is done."""

    n_train_problems: int = 280
    n_test_problems: int = 200
    n_train_samples: int = 8
    n_test_samples: int = 16
    n_seeds: int = 3
    epochs: int = 4
    critic_epochs: int = 4
    n_critiques: int = 2
    n_judgements: int = 4
    n_audit_problems: int = 60
    """Of the test problems, for the audit of the first seed's models, which takes some fifteen scorings."""
    workers: int = 2


PLAN = RewardModelsPlan()


@dataclass(frozen=True, slots=True)
class _Solution:
    problem: int
    statement: str
    segments: tuple[str, ...]
    n_steps: int
    answer: str | None
    labels: tuple[int | None, ...]
    is_right: bool
    critique: str
    wrong_critique: str
    """One with the other verdict."""

    @property
    def text(self) -> str:
        return "\n\n".join(self.segments)


def run(out: Path, watch: Watch) -> Findings:
    """Runs the comparison at its full size."""
    return run_plan(out, PLAN, watch=watch)


def run_plan(out: Path, plan: RewardModelsPlan, *, watch: Watch) -> Findings:
    """Runs the comparison; what an interrupted run finished in `out` is used.

    Raises:
        SettingsError: The folder holds a run of another plan.
        JobError: A stage could not finish; run again, it goes on there.
    """
    claim_folder(out / "plan.json", {**asdict(plan), "workers": None}, job="a run")
    stages = Stages()

    @contextmanager
    def stage(name: str) -> Iterator[Progress]:
        with stages.measured(name), watch(name) as progress:
            yield progress

    try:
        with stage("sample"):
            train, test = _samples(out, plan)
            n_pairs = _write_sets(out / "sets", train)
        with stage("train"):
            _train(out, plan)
        scores: dict[str, list[list[float]]] = {}
        steps: dict[str, list[list[list[float]]]] = {}
        for name in MODELS:
            with stage(f"score {name}"):
                scores[name], steps[name] = _scores(out, plan, name, test)
        with stage("evaluate"):
            results = _evaluate(plan, test, scores, steps)
            _plot(results, out / "reward_models_best_of_n.png")
        audits = {}
        for name in AUDITED:
            with stage(f"audit {name}"):
                audits[name] = kept(
                    out / "audits" / f"{name.replace(' ', '-')}.json",
                    lambda n=name: _audit(out / "models", plan, n, test),  # type: ignore[misc]
                )
    finally:
        stages = stages.joined_with(out / "stages.json")
    costs = {name: cost.cpu_s for name, cost in stages.costs.items()}
    return _findings(plan, n_pairs, results, audits, costs)


def _samples(out: Path, plan: RewardModelsPlan) -> tuple[list[_Solution], list[_Solution]]:
    problems = draw_problems(plan.n_train_problems, 6000, part="reserved")
    families = {problem.family for problem in problems}
    fresh = draw_problems(plan.n_test_problems, 6001, part="reserved", exclude_families=families)
    found = []
    for name, some, n in (("train", problems, plan.n_train_samples), ("test", fresh, plan.n_test_samples)):
        asked = [problem.statement for problem in some]
        sampling = Sampling(temperature=0.7, max_tokens=128)
        texts = kept(
            out / f"{name}.json",
            lambda a=asked, s=sampling, k=n: _ask(MODEL, a, s, k),  # type: ignore[misc]
        )
        found.append(
            [
                _checked(i, problem, text)
                for i, (problem, of) in enumerate(zip(some, texts, strict=True))
                for text in of
            ]
        )
    return found[0], found[1]


def _ask(model: Path, questions: Sequence[str], sampling: Sampling, n: int) -> list[list[str]]:
    found = sample_texts(model, questions, sampling, n=n)
    return [[sample.text for sample in found[question]] for question in questions]


def _checked(index: int, problem: DomainProblem, text: str) -> _Solution:
    split = split_solution(text)
    found = check_solution(problem, split.steps, split.answer)
    is_right = found.outcome is True
    lines: list[str] = []
    for i, (step, label) in enumerate(zip(split.steps, found.step_labels, strict=True)):
        if label == 1:
            lines.append(f"{step} right")
        elif label == -1:
            expected = problem.equations[i] if i < len(problem.equations) else "none"
            lines.append(f"{step} wrong, {expected}")
            break
    pardoned = [f"{step} right" for step in split.steps]
    blamed = random.Random(f"{index}:{text}").randrange(max(1, len(pardoned)))
    accused = [*pardoned[:blamed], f"{split.steps[blamed]} wrong"] if split.steps else []
    return _Solution(
        index,
        problem.statement,
        tuple(render_segments(split.steps, split.answer)),
        len(split.steps),
        split.answer,
        (*found.step_labels, (1 if is_right else -1) if found.fault is None and split.answer else None),
        is_right,
        "\n".join([*lines, f"Verdict: {'pass' if is_right else 'fail'}"]),
        "\n".join([*(accused if is_right else pardoned), f"Verdict: {'fail' if is_right else 'pass'}"]),
    )


def _question(solution: _Solution) -> str:
    return f"{solution.statement}\n\n{solution.text}{QUESTION}"


def _write_sets(folder: Path, train: Sequence[_Solution]) -> int:
    """Writes a right and a wrong solution of each problem that has both, in the columns of each exported set."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("prm", "orm", "preference", "cloud", "critique_preference", "sft")
    }
    for index in range(max(one.problem for one in train) + 1):
        of = [one for one in train if one.problem == index and one.segments]
        good, bad = next((s for s in of if s.is_right), None), next((s for s in of if not s.is_right), None)
        if good is None or bad is None:
            continue
        pair = {"prompt": good.statement, "chosen": good.text, "rejected": bad.text}
        rows["preference"].append(pair)
        rows["cloud"].append({**pair, "chosen_feedback": [good.critique], "rejected_feedback": [bad.critique]})
        for one in (good, bad):
            labels = [None if label is None else label == 1 for label in one.labels[: len(one.segments)]]
            rows["prm"].append({"prompt": one.statement, "completions": list(one.segments), "labels": labels})
            rows["orm"].append({"prompt": one.statement, "completion": one.text, "label": one.is_right})
            asked = _question(one)
            rows["critique_preference"].append(
                {"prompt": asked, "chosen": one.critique, "rejected": one.wrong_critique}
            )
            rows["sft"].append({"prompt": asked, "completion": one.critique})
    if not rows["preference"]:
        raise JobError("no problem has a right and a wrong solution; take more problems or samples")
    for name, some in rows.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in some)
        (folder / name / "train-00000-of-00001.jsonl").write_text(text, encoding="utf-8")
    return len(rows["preference"])


def _train(out: Path, plan: RewardModelsPlan) -> None:
    sets, models = out / "sets", out / "models"
    seeds = range(plan.n_seeds)
    clouds = [
        CloudJob(
            str(seed),
            sets,
            str(MODEL),
            models / f"cloud-{seed}",
            seed,
            plan.critic_epochs,
            plan.epochs,
            max_tokens=80,
        )
        for seed in seeds
    ]
    train_cloud(clouds, workers=plan.workers, policies=("on-policy", "off-policy"))
    jobs = [
        TrainingJob(name, kind, data, str(MODEL), models / name, seed, plan.epochs)
        for seed in seeds
        for kind, name, data in _single(seed, sets, models)
    ]
    train_side_by_side(jobs, workers=plan.workers)
    judges = [
        TrainingJob(
            f"judge-{seed}", "judge", sets, str(models / f"judge-sft-{seed}"), models / f"judge-{seed}", seed, 2,
            {"beta": 0.1, "lr": 3e-4},
        )
        for seed in seeds
    ]  # fmt: skip
    train_side_by_side(judges, workers=plan.workers)


def _single(seed: int, sets: Path, models: Path) -> tuple[tuple[Kind, str, Path], ...]:
    """The models of one stage: kind, name and set of each."""
    return (
        ("critique-rm", f"oracle-{seed}", sets),
        ("critique-rm", f"own-{seed}", models / f"cloud-{seed}" / "own"),
        ("bt", f"bt-{seed}", sets),
        ("implicit-prm", f"implicit-{seed}", sets),
        ("prm", f"prm-{seed}", sets),
        ("orm", f"orm-{seed}", sets),
        ("sft", f"judge-sft-{seed}", sets),
    )


def _scores(
    out: Path, plan: RewardModelsPlan, name: str, test: Sequence[_Solution]
) -> tuple[list[list[float]], list[list[list[float]]]]:
    """[seeds][samples] scores, and of each the scores of its segments; equal texts are scored once."""
    unique: dict[tuple[int, str], int] = {}
    for i, one in enumerate(test):
        unique.setdefault((one.problem, one.text), i)
    scores, steps = [], []
    for seed in range(plan.n_seeds):
        values = kept(
            out / "scores" / f"{name.replace(' ', '-')}-{seed}.json",
            lambda s=seed: _score(out / "models", plan, name, s, [test[i] for i in unique.values()]),  # type: ignore[misc]
        )
        found = dict(zip(unique, values, strict=True))
        of = [found[one.problem, one.text] for one in test]
        scores.append([-np.inf if one[0] is None else one[0] for one in of])
        steps.append([one[1:] for one in of])
    return scores, steps


def _score(
    models: Path, plan: RewardModelsPlan, name: str, seed: int, solutions: Sequence[_Solution]
) -> list[list[float | None]]:
    items = [(i, one.statement, one.segments) for i, one in enumerate(solutions)]
    if name == "judge":
        asked = [_question(one) for one in solutions]
        texts = _ask(models / f"judge-{seed}", asked, Sampling(temperature=0.7, max_tokens=80), plan.n_judgements)
        return [[_share_of_passes(of, one.n_steps)] for one, of in zip(solutions, texts, strict=True)]
    if name == "critiques given, oracle":
        model = RewardModel.load(models / f"oracle-{seed}")
        return [
            [scored.score]
            for scored in model.score_critiqued(
                (i, prompt, segments, [one.critique])
                for (i, prompt, segments), one in zip(items, solutions, strict=True)
            )
        ]
    scorer = _open(models, name, seed, n_critiques=plan.n_critiques)
    return [[scored.score, *scored.step_scores] for scored in scorer.score(items)]


def _open(models: Path, name: str, seed: int, *, n_critiques: int) -> Scorer:
    """A model that gives any solution a score, with what writes its critiques where it weighs them."""
    folder = {
        "PRM": f"prm-{seed}",
        "ORM": f"orm-{seed}",
        BT: f"bt-{seed}",
        "implicit PRM": f"implicit-{seed}",
        "critiques given, own": f"own-{seed}",
        "CLoud on-policy": f"cloud-{seed}/on-policy",
        "CLoud off-policy": f"cloud-{seed}/off-policy",
    }[name]
    sampled = Sampled(n=n_critiques, max_tokens=80, seed=seed)
    return open_model(models / folder, critic=models / f"cloud-{seed}" / "critic", sampled=sampled)


def _audit(models: Path, plan: RewardModelsPlan, name: str, test: Sequence[_Solution]) -> dict[str, Any]:
    """The audit of the first seed's model; critiques are one a solution."""
    items = [
        Item(
            str(one.problem),
            (("user", one.statement),),
            tuple(bare_step(text) or text for text in one.segments[: one.n_steps]),
            one.answer,
            one.is_right,
            tuple(None if label is None else float(label == 1) for label in one.labels[: one.n_steps]),
        )
        for one in test
        if one.problem < plan.n_audit_problems and one.n_steps
    ]
    return audit(_open(models, name, 0, n_critiques=1), items)


def _share_of_passes(judgements: Sequence[str], n_steps: int) -> float:
    """The share of readable judgements that pass a solution; one half where none is readable."""
    words = [verdict.word for text in judgements if (verdict := read_verdict(text, n_steps)).word != "unreadable"]
    return words.count("pass") / len(words) if words else 0.5


def _evaluate(
    plan: RewardModelsPlan,
    test: Sequence[_Solution],
    scores: Mapping[str, Sequence[Sequence[float]]],
    steps: Mapping[str, Sequence[Sequence[Sequence[float]]]],
) -> dict[str, Any]:
    m = plan.n_test_samples
    sizes = [n for n in (1, 2, 4, 8, 16) if n <= m]
    right = np.array([one.is_right for one in test]).reshape(-1, m)
    has_answer = np.array([one.answer is not None for one in test]).reshape(-1, m)
    groups = np.repeat(np.arange(len(right)), m)
    rates, aucs, step_aucs = {}, {}, {}
    for name in MODELS:
        of_seeds = np.where(has_answer, np.array(scores[name]).reshape(plan.n_seeds, -1, m), -np.inf)
        rates[name] = np.array(
            [
                [[best_of_n_rate(v, r, n) for v, r in zip(of_seed, right, strict=True)] for n in sizes]
                for of_seed in of_seeds
            ]
        )  # [seeds, N, P]
        aucs[name] = float(np.mean([within_problem_auc(groups, v.ravel(), right.ravel())[0] for v in of_seeds]))
        if steps[name][0][0]:
            step_aucs[name] = float(np.mean([_step_auc(test, of_seed) for of_seed in steps[name]]))
    others = best_of_n(
        [
            {
                "solutions": [
                    {"text": one.text, "answer": one.answer, "is_correct": one.is_right if one.answer else None,
                     "scores": {}}
                    for one in test[i : i + m]
                ]
            }
            for i in range(0, len(test), m)
        ],
        ns=sizes,
    )["best_of_n"]  # fmt: skip
    differences = {
        name: {n: mean_of((rates[name] - rates[BT])[:, at].mean(axis=0)) for at, n in enumerate(sizes)}
        for name in MODELS
    }
    on_off = rates["CLoud on-policy"] - rates["CLoud off-policy"]
    return {
        "on_minus_off": mean_of(on_off[:, -1].mean(axis=0)),
        "sizes": sizes,
        "rates": {name: rates[name].mean(axis=(0, 2)).tolist() for name in MODELS},
        "others": {
            method: [others[n if n in others else str(n)][method]["mean"] for n in sizes]
            for method in ("pass1", "majority", "chance", "oracle")
        },
        "differences": differences,
        "auc": aucs,
        "step_auc": step_aucs,
        "ece": {name: _ece(test, scores[name], is_pairs=name in PAIRS) for name in MODELS},
    }


def _step_auc(test: Sequence[_Solution], step_scores: Sequence[Sequence[float]]) -> float:
    """AUC of the steps up to the first error, of different texts; the answer is no step."""
    seen: set[tuple[int, str]] = set()
    values, labels = [], []
    for one, of in zip(test, step_scores, strict=True):
        if (one.problem, one.text) in seen:
            continue
        seen.add((one.problem, one.text))
        for score, label in zip(of[: one.n_steps], one.labels[: one.n_steps], strict=True):
            if label is not None:
                values.append(score)
                labels.append(label == 1)
    return auc(values, labels)


def _ece(test: Sequence[_Solution], seeds: Sequence[Sequence[float]], *, is_pairs: bool) -> tuple[Any, Any]:
    """Mean ECE over seeds on the odd problems, raw and after a fit on the even ones; None where none can be made."""
    found = []
    method: Method = "temperature" if is_pairs else "platt"
    for scores in seeds:
        even, odd = (_judged(test, scores, part, is_pairs=is_pairs) for part in (0, 1))
        try:
            report = evaluate_calibration(
                {"m": odd}, {"m": {method: fit(even, method)}}, fitted_on="even", measured_on="odd", n_boot=10
            )
        except InputError:
            return None, None
        found.append([report["models"]["m"][variant]["ece"]["value"] for variant in ("raw", method)])
    raw, fitted = np.mean(found, axis=0).tolist()
    return raw, fitted


def _judged(test: Sequence[_Solution], scores: Sequence[float], part: int, *, is_pairs: bool) -> Judged:
    kept: dict[tuple[int, str], tuple[_Solution, float]] = {}
    for one, score in zip(test, scores, strict=True):
        if one.problem % 2 == part and np.isfinite(score):
            kept.setdefault((one.problem, one.text), (one, score))
    if not is_pairs:
        of = list(kept.values())
        return Judged(
            "solutions", [str(one.problem) for one, _ in of], np.array([score for _, score in of]),
            np.array([float(one.is_right) for one, _ in of]), {},
        )  # fmt: skip
    problems, leads = [], []
    for problem in sorted({one.problem for one, _ in kept.values()}):
        sides: tuple[list[float], list[float]] = ([], [])
        for one, score in kept.values():
            if one.problem == problem:
                sides[not one.is_right].append(score)
        for good, bad in zip(*sides, strict=False):
            problems.append(str(problem))
            leads.append(good - bad)
    return Judged("pairs", problems, np.array(leads), np.ones(len(leads)), {})


def _plot(results: Mapping[str, Any], path: Path) -> None:
    figure = new_figure(9.0, 5.0)
    axes = figure.add_subplot(facecolor="white")
    sizes = results["sizes"]
    for at, name in enumerate(MODELS):
        axes.plot(
            sizes, results["rates"][name], color=COLOURS[at % len(COLOURS)], marker="o" if at < len(COLOURS) else "s",
            linestyle="-" if at < len(COLOURS) else "--", markersize=4, label=name,
        )  # fmt: skip
    for method, line in (("majority", "-"), ("chance", "-."), ("oracle", ":")):
        axes.plot(sizes, results["others"][method], color="#777777", linestyle=line, label=method)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.set_xlabel("N samples, the highest score chosen")
    axes.set_ylabel("share of problems solved")
    tidy(axes, grid="both")
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)


def _audit_tables(plan: RewardModelsPlan, audits: Mapping[str, Mapping[str, Any]]) -> tuple[Table, Table]:
    """What the audits say in words, and every effect."""
    said: list[tuple[str, str]] = []
    for name, one in audits.items():
        said += [(name, sentence) for sentence in one["said"] or ["Nothing: every interval holds zero."]]
    titles = {found["name"]: found["title"] for one in audits.values() for found in one["findings"]}
    found = {(name, f["name"]): f for name, one in audits.items() for f in one["findings"]}
    n = min(plan.n_audit_problems, plan.n_test_problems)
    level = next(iter(audits.values()))["settings"]["level_of_one_interval"]
    return (
        Table(
            "What they have learnt to like",
            ("model", "the audit says"),
            tuple(said),
            f"`stepmark audit` on {n} of the problems, models of one seed, critiques one a solution; every sentence "
            "with its effect and interval, which is so wide that a report on a model without a fault says nothing in "
            "95 %.",
        ),
        Table(
            "Every effect of the audit",
            ("effect", *audits),
            tuple(
                (title, *(_effect(found.get((name, effect))) for name in audits)) for effect, title in titles.items()
            ),
            f"Correlations, standard deviations of the scores, shares; each interval of {100 * level:.2f} %. "
            "* is said above.",
        ),
    )


def _effect(found: Mapping[str, Any] | None) -> str | None:
    if found is None or found["value"] is None or found["interval"] is None:
        return None
    low, high = found["interval"]
    return f"{found['value']:+.2f} [{low:+.2f}, {high:+.2f}]" + (" *" if found["sentence"] else "")


def _findings(
    plan: RewardModelsPlan,
    n_pairs: int,
    results: Mapping[str, Any],
    audits: Mapping[str, Mapping[str, Any]],
    costs: dict[str, float],
) -> Findings:
    sizes = results["sizes"]
    shown = [n for n in (8, 16) if n in sizes] or sizes[-1:]
    rows = []
    for name in MODELS:
        cells: list[str | int | float | None] = [name]
        for n in shown:
            cells += [
                results["rates"][name][sizes.index(n)],
                None if name == BT else in_words(results["differences"][name][n], sign=True),
            ]
        cells += [results["auc"][name], results["step_auc"].get(name), *results["ece"][name]]
        rows.append((*cells, round(costs[f"score {name}"])))
    for method in ("pass1", "majority", "chance", "oracle"):
        cells = [method]
        for n in shown:
            cells += [results["others"][method][sizes.index(n)], None]
        rows.append((*cells, None, None, None, None, None))
    columns = ["model"]
    for n in shown:
        columns += [f"best of {n}", "beside BT"]
    last = shown[-1]
    gain, lead = results["differences"]["CLoud on-policy"][last], results["on_minus_off"]
    bt = results["rates"][BT][sizes.index(last)]
    return Findings(
        title="Kinds of reward model",
        aim="CLoud on-policy chooses better than Bradley-Terry on the same pairs, and better than off-policy.",
        reached=(
            f"{'Reached' if gain.low > 0 and lead.low > 0 else 'Not reached'}. At best of {last} CLoud on-policy "
            f"stands at {in_words(gain, sign=True)} beside Bradley-Terry, and at {in_words(lead, sign=True)} beside "
            "off-policy."
        ),
        paragraphs=(
            f"Every model learnt from the same {n_pairs} pairs of a right and a wrong solution, one a problem, in "
            f"{plan.epochs} epochs; means over {plan.n_seeds} seeds; critiques are averaged over {plan.n_critiques}.",
            "Oracle critiques come from the exact checker and contain the verdict: that row is a bound, not a model.",
            "A judge's score is the share of its sampled judgements that pass; equal shares are broken at random.",
            "The audit adds words to solutions that no model here has met in training, as `verified` or a "
            "compliment: such an effect says what one model makes of strange text, not what its kind does.",
        ),
        tables=(
            Table(
                "Choosing, ranking, calibration",
                (*columns, "AUC within problems", "step AUC", "ECE", "ECE fitted", "CPU-s scoring"),
                tuple(rows),
                f"{plan.n_test_problems} fresh problems, {plan.n_test_samples} samples each; 95 % intervals by "
                "problem. ECE of pairs where a model only compares, else of solutions; fitted on the even problems, "
                "both on the odd ones.",
            ),
            *_audit_tables(plan, audits),
        ),
        figures=(Figure("reward_models_best_of_n.png", "Best of N by each kind of reward model"),),
        measured=tuple(
            Measured(f"best of {last}: {name}", value, "share", BT, value / bt if bt else None, "higher")
            for name in MODELS
            if name != BT
            for value in (results["rates"][name][sizes.index(last)],)
        ),
        costs_cpu_s=costs,
    )
