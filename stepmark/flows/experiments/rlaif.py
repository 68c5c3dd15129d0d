"""Judges beside people: does the report of judges find biases that were planted, and how good was GPT-4 as a judge?

No model that can judge text comes along, so two halves. Scripted judges with known leanings go through the machinery
that real ones do (prompt, both orders, votes, storing) on pairs that three people compared (PandaLM); what the report
says of them is held against what was planted. And GPT-4's recorded verdicts on critiques are held against people's on
the same ones (MR-GSM8K).
"""

import random
import re
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from db.connect import open_database
from db.preferences import PairSelection, given_choices, iterate_pairs
from exports.queries.importing import default_options, import_file
from exports.queries.sources import FORMATS
from generator.asking import run_task
from generator.preferences import PLACES, PreferencesTask
from stepmark.agreement.coefficient import Coefficient
from stepmark.agreement.judges import ChoiceReport, CritiqueJudgeReport, Habits
from stepmark.engine import Completion, EngineIdentity, Request, Sample, Sampling
from stepmark.errors import JobError
from stepmark.flows.critics import evaluate_stored_critics
from stepmark.flows.demo import DATA, Watch
from stepmark.flows.judges import compare_judges, judges_of_critiques
from stepmark.flows.verdicts import VerdictReport, verify_verdicts
from stepmark.intervals import Correlation, Share
from stepmark.judging import Choice, majority
from stepmark.prompts import read_prompt
from trainer.evaluate.pictures import COLOURS, new_figure, tidy

from .findings import Figure, Findings, Measured, Table

PAIRS = DATA / "pandalm" / "testset-v1.json.gz"
CRITIQUES = tuple(
    DATA / "mr_gsm8k_critiques" / f"{name}_eval_results.json.gz" for name in ("Claude", "GPT3_5", "llama2_70b")
)
TITLE = "Judges beside people"
AIM = (
    "Of the biases planted in scripted judges (place, length), 95 % intervals of the report hold at least 14 of 15; "
    "GPT-4's recorded verdicts on critiques stand beside people's."
)
_TURNED: dict[Choice, Choice] = {"a": "b", "b": "a", "equal": "equal"}
_ASKED = re.compile(
    r"Solution A:\n\n(.*?)\n\n\(end of solution A\)\n\nSolution B:\n\n(.*?)\n\n\(end of solution B\)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Leaning:
    """What a scripted judge goes by, in shares of its votes; the rest are a coin's."""

    first: float = 0.0
    """The solution that stands first."""
    longer: float = 0.0
    """The longer one; the first of two of one length."""
    people: float = 0.0
    """What most people chose; a coin where that is a tie."""


@dataclass(frozen=True, slots=True)
class RlaifPlan:
    """How much the experiment does."""

    judges: tuple[tuple[str, Leaning], ...] = (
        ("sees-as-people", Leaning(people=0.9)),
        ("likes-the-first", Leaning(first=0.4, people=0.5)),
        ("likes-the-longer", Leaning(longer=0.4, people=0.5)),
        ("likes-both", Leaning(first=0.25, longer=0.25, people=0.4)),
        ("tosses-a-coin", Leaning()),
    )
    n_pairs: int | None = None
    """The first so many pairs; None takes all."""
    resamples: int = 1000


def run(out: Path, watch: Watch) -> Findings:
    """Runs the experiment into `out`."""
    return run_plan(out, RlaifPlan(), watch)


def run_plan(out: Path, plan: RlaifPlan, watch: Watch) -> Findings:
    """Runs a plan into `out`; judges that have judged there are not asked again.

    Raises:
        JobError: A scripted judge could not finish.
    """
    costs: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        began = time.process_time()
        with watch(name):
            yield
        costs[name] = time.process_time() - began

    database = open_database(f"sqlite:///{out / 'rlaif.db'}", create=True)
    try:
        with stage("import"):
            for name, file in (("pandalm", PAIRS), *(("mr-gsm8k", file) for file in CRITIQUES)):
                import_file(database, FORMATS[name], file, options=default_options(FORMATS[name], file))
        with stage("judge pairs"):
            planted = _judge(database, plan)
        with stage("set beside people"):
            choices = compare_judges(database, source="pandalm*", resamples=plan.resamples)
            critiques = judges_of_critiques(database, source="mr*gsm8k*", resamples=plan.resamples)
            verdicts = verify_verdicts(database, again=True)
            critics = evaluate_stored_critics(database, source="mr*gsm8k*", on_common=False, n_boot=plan.resamples)
    finally:
        database.dispose()
    rows = list(_recovered(plan, choices, planted))
    _draw(rows, choices, critiques, out / "rlaif_judges.png")
    return _findings(plan, rows, choices, critiques, critics["models"], verdicts, costs)


# ------------------------------------------------------------ scripted judges


@dataclass(frozen=True, slots=True)
class _Pair:
    """A pair as a scripted judge knows it."""

    lengths: tuple[int, int]
    people: Choice


@dataclass(slots=True)
class ScriptedJudge:
    """An engine that finds the two solutions in the question, and votes by its leaning."""

    name: str
    leaning: Leaning
    people: dict[tuple[str, str], Choice]
    """What most people chose, by the texts in the order of the question."""

    @property
    def identity(self) -> EngineIdentity:
        """A judge by name; another leaning is another judge."""
        return EngineIdentity("scripted", self.name, extra={"leaning": repr(self.leaning)})

    def answer(self, requests: Iterable[Request | None]) -> Generator[tuple[Request, Completion] | None, None, None]:
        """Answers each request at once."""
        for request in requests:
            if request is not None:
                yield (
                    request,
                    Completion(tuple(Sample(self._said(request, i), "stop", 4) for i in request.sample_indices)),
                )

    def close(self) -> None:
        """Holds nothing."""

    def _said(self, request: Request, index: int) -> str:
        found = _ASKED.search(request.messages[-1].content)
        assert found is not None, "the prompt that comes along lays the solutions out so"
        first, second = found[1], found[2]
        dice = random.Random(f"{self.name}:{request.key}:{index}")
        is_first = dice.random() < chance_of_first(
            self.leaning,
            longer=(len(first) > len(second)) - (len(first) < len(second)),
            people=self.people[first, second],
        )
        return f"Scripted.\n\nVerdict: {'A' if is_first else 'B'}"


def chance_of_first(leaning: Leaning, *, longer: int, people: Choice) -> float:
    """How likely a vote for the solution that stands first is.

    Args:
        leaning: The judge's.
        longer: 1 where the first is longer, 0 of one length, -1 where the second is.
        people: What most people chose, the first being `a`.

    >>> chance_of_first(Leaning(first=0.4, people=0.5), longer=0, people="b")
    0.45
    """
    coin = 1 - leaning.first - leaning.longer - leaning.people
    by_people = {"a": 1.0, "b": 0.0, "equal": 0.5}[people]
    chance = leaning.first + leaning.longer * (longer >= 0) + leaning.people * by_people + coin / 2
    return round(chance, 12)


def _judge(database: sa.Engine, plan: RlaifPlan) -> list[_Pair]:
    """Lets every scripted judge judge the pairs that people compared; returns the pairs."""
    selection = PairSelection("compared", per_problem=10_000, source="pandalm*", limit=plan.n_pairs)
    voted = _people(database)
    pairs: list[_Pair] = []
    known: dict[tuple[str, str], Choice] = {}
    for chunk in iterate_pairs(database, selection, None):
        for pair in chunk:
            first, second = pair.a_text.strip(), pair.b_text.strip()
            said = voted[pair.a_id, pair.b_id]
            known[first, second], known[second, first] = said, _TURNED[said]
            pairs.append(_Pair((len(first), len(second)), said))
    for name, leaning in plan.judges:
        task = PreferencesTask(
            read_prompt("judge_pair", places=PLACES), read_prompt("constitution", places=()), Sampling(), 1, selection
        )
        report = run_task(database, ScriptedJudge(name, leaning, known), task)
        if report.status != "done":
            raise JobError(f"the judge {name} did not finish: {report.message}")
    return pairs


def _people(database: sa.Engine) -> dict[tuple[int, int], Choice]:
    said: dict[tuple[int, int], list[Choice]] = {}
    for one in given_choices(database, source="pandalm*"):
        if one.is_person:
            said.setdefault(one.pair, []).append(one.choice)
    return {pair: majority(votes) or "equal" for pair, votes in said.items()}


# ------------------------------------------------------------ what was planted, and what was found


@dataclass(frozen=True, slots=True)
class _Recovered:
    judge: str
    what: str
    planted: float
    """What the leaning comes to on these pairs."""
    found: Share

    @property
    def is_held(self) -> bool:
        """Whether the interval holds it."""
        return self.found.low <= self.planted <= self.found.high


def _recovered(plan: RlaifPlan, choices: ChoiceReport, pairs: list[_Pair]) -> Iterator[_Recovered]:
    by_model: dict[str, Habits] = {one.labeller.rpartition("#")[0]: one for one in choices.habits}
    for name, leaning in plan.judges:
        first = flips = decided = longer = 0.0
        for pair in pairs:
            is_longer = (pair.lengths[0] > pair.lengths[1]) - (pair.lengths[0] < pair.lengths[1])
            other = _TURNED[pair.people]
            forth = chance_of_first(leaning, longer=is_longer, people=pair.people)
            back = chance_of_first(leaning, longer=-is_longer, people=other)
            first += (forth + back) / 2
            flips += forth * back + (1 - forth) * (1 - back)
            if is_longer:
                of_a, of_b = forth * (1 - back), (1 - forth) * back
                decided += of_a + of_b
                longer += of_a if is_longer > 0 else of_b
        habits = by_model[name]
        yield _Recovered(name, "the first", first / len(pairs), habits.first_position)
        yield _Recovered(name, "flips", flips / len(pairs), habits.flips)
        yield _Recovered(name, "the longer", longer / decided, habits.longer)


def _findings(
    plan: RlaifPlan,
    rows: list[_Recovered],
    choices: ChoiceReport,
    critiques: list[CritiqueJudgeReport],
    critics: dict[str, dict[str, dict[str, dict[str, float | None]]]],
    verdicts: VerdictReport,
    costs: dict[str, float],
) -> Findings:
    n_held = sum(row.is_held for row in rows)
    gpt4 = critiques[0]
    people = choices.people
    persons = [one for one in choices.habits if one.is_person]
    n_named = verdicts.first_errors.total()
    return Findings(
        title=TITLE,
        aim=AIM,
        reached=(
            f"{n_held} of {len(rows)} planted figures lie in their intervals. GPT-4 says of a critique what people "
            f"say in {_figure(gpt4.accuracy)} of {gpt4.n}, kappa {_figure(gpt4.kappa)}; it refuses "
            f"{_figure(gpt4.recall)} of the wrong critiques and {_figure(gpt4.false_alarms)} of the right ones."
        ),
        paragraphs=(
            f"Three people compared {people.n_things // 3} pairs of PandaLM; two of them agree with kappa "
            f"{_figure(people.kappa)}. They take the longer one in "
            f"{', '.join(_figure(one.longer) for one in persons)} of their choices: that much a judge may, too.",
            "Each scripted judge was asked about each pair in both orders through the prompt and constitution that "
            "come along. What its leaning comes to on these pairs is worked out exactly; the report knows nothing of "
            "it.",
            "GPT-4's verdicts are those that MR-GSM8K's authors recorded: is the reason that a critique gives for a "
            "wrong step right? Whether it is kinder than people goes with the length of the critique by "
            f"{_figure(gpt4.leniency_length)} and with that of the solution by "
            f"{_figure(gpt4.leniency_solution_length)} (Spearman; an interval that holds 0 shows nothing). Its own "
            f"`right` goes with the critique's length by {_figure(gpt4.length)}, people's by "
            f"{_figure(gpt4.length_people)}.",
            "What these data cannot say: MR-GSM8K lists only wrong solutions whose wrong step the critic had found, "
            f"so that the critics' own recall ({_recalls(critics)}) and the steps they name "
            f"({verdicts.first_errors.get('same', 0)} of {n_named} as people's) are so by selection, and there is "
            "no right solution to raise a false alarm on.",
            "What needs a real model: its preferences under the constitution. The embedded one cannot judge text. "
            "`stepmark generate preferences --pairs compared --model M --base-url URL`, then `stepmark judges "
            "compare`.",
        ),
        tables=(
            Table(
                "Planted and found",
                ("judge", "what", "planted", "found", "95 % interval", "held"),
                tuple(
                    (
                        row.judge,
                        row.what,
                        row.planted,
                        row.found.value,
                        f"{row.found.low:.3f} to {row.found.high:.3f}",
                        "yes" if row.is_held else "no",
                    )
                    for row in rows
                ),
                f"Shares of votes for the first, of pairs with another choice once turned, of choices of the longer; "
                f"{rows[0].found.n // 2} pairs, one vote in each order.",
            ),
            Table(
                "Beside people",
                ("judge", "kappa with a person", "kappa with most people", "the same where neither ties", "ties"),
                (
                    *(
                        (
                            one.judge.rpartition("#")[0],
                            _figure(one.with_a_person.kappa),
                            _figure(one.with_most_people.kappa),
                            _figure(one.with_a_person.decided),
                            _figure(next(h.ties for h in choices.habits if h.labeller == one.judge)),
                        )
                        for one in choices.judges
                    ),
                    ("a person", _figure(people.kappa), None, _figure(people.decided), None),
                ),
                "Cohen's kappa of three choices (either, or a tie). Intervals of kappa draw problems.",
            ),
            Table(
                "GPT-4 as a judge of critiques, beside people",
                (
                    "critiques by",
                    "n",
                    "right by people",
                    "accuracy",
                    "kappa",
                    "recall",
                    "false alarms",
                    "too kind ~ length",
                ),
                tuple(
                    (
                        one.critic or "all",
                        one.n,
                        one.right.value,
                        _figure(one.accuracy),
                        _figure(one.kappa),
                        _figure(one.recall),
                        _figure(one.false_alarms),
                        _figure(one.leniency_length),
                    )
                    for one in critiques
                ),
                "Recall: wrong critiques that it refuses; false alarms: right ones that it refuses; the last column "
                "is Spearman's correlation with the critique's length. A part of the published files, drawn by "
                "problem.",
            ),
        ),
        figures=(
            Figure("rlaif_judges.png", "What was planted in scripted judges and what the report found; agreement"),
        ),
        measured=(
            Measured("planted biases held by their intervals", n_held / len(rows), "share", "0.95", None, "higher"),
            Measured(
                "verdicts of GPT-4 on critiques that are people's",
                gpt4.accuracy.n_yes / gpt4.n,
                "share",
                "people",
                None,
                "higher",
            ),
        ),
        costs_cpu_s=costs,
    )


def _recalls(critics: dict[str, dict[str, dict[str, dict[str, float | None]]]]) -> str:
    found = {name: by_subset["every solution"]["recall"]["value"] for name, by_subset in critics.items()}
    return ", ".join(f"{name.partition(',')[0]} {value:.3f}" for name, value in found.items() if value is not None)


def _figure(found: Share | Correlation | Coefficient) -> str:
    """A value with its interval, as text.

    >>> _figure(Share(8, 10, 0.8, 0.49, 0.943)), _figure(Coefficient(None, 0))
    ('.800 [.490, .943]', '–')
    """
    if found.value is None:
        return "–"
    interval = "" if found.low is None or found.high is None else f" [{_short(found.low)}, {_short(found.high)}]"
    return f"{_short(found.value)}{interval}"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def _draw(rows: list[_Recovered], choices: ChoiceReport, critiques: list[CritiqueJudgeReport], path: Path) -> None:
    figure = new_figure(9.0, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    names = list(dict.fromkeys(row.judge for row in rows))
    whats = list(dict.fromkeys(row.what for row in rows))
    for at, what in enumerate(whats):
        shift = (at - 1) * 0.22
        for row in (row for row in rows if row.what == what):
            y = names.index(row.judge) + shift
            value = row.found.value or 0.0
            error = [[value - row.found.low], [row.found.high - value]]
            left.errorbar(value, y, xerr=error, fmt="o", color=COLOURS[at], capsize=3, markersize=4)
            left.plot(row.planted, y, marker="|", color="black", markersize=13, linestyle="none")
        left.plot([], [], "o", color=COLOURS[at], label=what)
    left.plot([], [], "|", color="black", markersize=11, linestyle="none", label="as planted")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_xlabel("share")
    left.set_title("Planted and found")
    tidy(left)
    kappas = [
        ("two people, pairs", choices.people.kappa),
        *((f"{one.judge.rpartition('#')[0]}, pairs", one.with_a_person.kappa) for one in choices.judges),
        *(
            (f"GPT-4, {f'critiques by {one.critic}' if one.critic else 'all critiques'}", one.kappa)
            for one in critiques
        ),
    ]
    for y, (_, kappa) in enumerate(kappas):
        if kappa.value is None:
            continue
        low, high = (kappa.value, kappa.value) if kappa.low is None or kappa.high is None else (kappa.low, kappa.high)
        right.errorbar(
            kappa.value,
            y,
            xerr=[[kappa.value - low], [high - kappa.value]],
            fmt="o",
            color=COLOURS[0],
            capsize=3,
            markersize=4,
        )
    right.set_yticks(range(len(kappas)), [name for name, _ in kappas])
    right.invert_yaxis()
    right.set_xlabel("Cohen's kappa with a person")
    right.set_title("Beside people")
    tidy(right)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path)
