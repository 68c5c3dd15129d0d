"""The tables and pictures of the self-verifying experiment, from verdicts that were given before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from generator.domain.carrying import CarriedVerdict
from trainer.evaluate.bootstrap import Estimate
from trainer.evaluate.pictures import COLOURS, draw_intervals, new_figure, tidy

from .estimates import in_words, share_of
from .findings import Figure, Findings, Measured, Table

KINDS = ("honest", "own", "overfit", "fudged", "slip", "corrupted", "leaked")
FALSE_ALARMS = 0.05
"""Share of right chains on which the reward models' thresholds may reject."""

AIM = "At least 95 % of overfit and fudged chains are caught at 5 % false alarms or fewer, where readers fail."


@dataclass(slots=True)
class ItemVerdicts:
    """What everybody says of one tested chain."""

    family: str
    kind: str
    is_right: bool
    critic: dict[str, list[CarriedVerdict]] = field(default_factory=dict)
    """By stage of the training: on each variant."""
    program: list[bool] = field(default_factory=list)
    """Whether the chain reaches each variant's answer when a program carries it."""
    judge: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


Rejects = Callable[[ItemVerdicts], bool]


def page(
    out: Path,
    verdicts: Sequence[ItemVerdicts],
    used: Mapping[str, Any],
    *,
    counts: Mapping[str, Mapping[str, int]],
    solving: Mapping[str, float],
    costs: dict[str, float],
) -> Findings:
    """Makes the experiment's page and pictures."""
    rejects = _rejects(verdicts)
    items = [one for one in verdicts if one.kind != "validation"]
    found = {name: _figures(items, rule) for name, rule in rejects.items()}
    best = "critic, 3 variants, any fails"
    by_recall = [name for name in found if name not in ("critic, before",)]
    _draw_recall(out / "self_verifying_recall.png", {name: found[name] for name in by_recall})
    _draw_use(out / "self_verifying_tokens.png", used)
    planted = {name: _joint(items, rule) for name, rule in rejects.items()}
    reached = {
        name
        for name in found
        if (planted[name].value or 0) >= 0.95 and (found[name]["false alarms"].value or 0) <= FALSE_ALARMS
    }
    single, several = "critic, 1 variant", best
    readers = ", ".join(f"{name} {in_words(planted[name])}" for name in ("judge", "PRM", "ORM"))
    summary = (
        f"{'Reached' if reached & {single, several} else 'Missed'}: of overfit and fudged chains together the critic "
        f"catches {in_words(planted[single])} on one variant at {in_words(found[single]['false alarms'])} false "
        f"alarms, {in_words(planted[several])} on three at {in_words(found[several]['false alarms'])}. "
        f"A program that carries them to one variant: {in_words(planted['program, 1 variant'])}. Readers: {readers}."
    )
    return Findings(
        title="The self-verifying model",
        aim=AIM,
        reached=summary,
        paragraphs=_paragraphs(items, rejects, counts),
        tables=(
            _table_of_verdicts(found, items),
            _table_of_controls(items),
            Table(
                "Solving",
                ("model", "right answers"),
                tuple((name, share) for name, share in solving.items()),
                "Share of samples at temperature 0.7, on fresh problems.",
            ),
            _table_of_use(used),
        ),
        figures=(
            Figure("self_verifying_recall.png", "Share rejected by kind of chain: honest ones are false alarms."),
            Figure("self_verifying_tokens.png", "Accuracy against generated tokens a problem."),
        ),
        measured=(
            _measured("overfit and fudged caught, critic on one variant", planted[single], "judge", planted["judge"]),
            _measured("overfit and fudged caught, critic on three variants", planted[several], "PRM", planted["PRM"]),
        ),
        costs_cpu_s=costs,
    )


def _rejects(verdicts: Sequence[ItemVerdicts]) -> dict[str, Rejects]:
    """Who rejects, by name: a rule from an item to whether its solution is rejected."""
    stages = list(verdicts[0].critic)
    last = stages[-1]
    rules = {f"critic, {stage}": _critic(stage) for stage in stages[:-1]}
    rules["critic, 1 variant"] = _critic(last)
    rules["critic, 3 variants, any fails"] = _critic(last, n=3)
    rules["critic, 3 variants, most fail"] = _critic(last, n=3, least=2)
    rules["program, 1 variant"] = lambda one: not one.program[0]
    rules["judge before"] = lambda one: one.judge["judge before"] != "pass"
    rules["judge"] = lambda one: one.judge["judge"] != "pass"
    for name in ("prm", "orm"):
        right = [one.scores[name] for one in verdicts if one.kind == "validation"]
        threshold = float(np.quantile(right, FALSE_ALARMS))
        rules[name.upper()] = _below(name, threshold)
    return rules


def _critic(stage: str, *, n: int = 1, least: int = 1) -> Rejects:
    """Rejects where at least `least` of the first `n` variants do not pass."""
    return lambda one: sum(verdict != "pass" for verdict in one.critic[stage][:n]) >= least


def _passes(stage: str) -> Rejects:
    return lambda one: one.critic[stage][0] == "pass"


def _below(name: str, threshold: float) -> Rejects:
    return lambda one: one.scores[name] < threshold


def _figures(items: Sequence[ItemVerdicts], rejects: Rejects) -> dict[str, Estimate]:
    """Verdict accuracy, false alarms, and the share rejected of each wrong kind."""
    found = {
        "accuracy": _share(items, lambda one: rejects(one) != one.is_right),
        "false alarms": _share([one for one in items if one.is_right], rejects),
    }
    for kind in KINDS[1:]:
        found[kind] = _share([one for one in items if one.kind == kind], rejects)
    return found


def _joint(items: Sequence[ItemVerdicts], rejects: Rejects) -> Estimate:
    return _share([one for one in items if one.kind in ("overfit", "fudged")], rejects)


def _share(items: Sequence[ItemVerdicts], holds: Callable[[ItemVerdicts], bool]) -> Estimate:
    return share_of((one.family, holds(one)) for one in items)


def _table_of_verdicts(found: Mapping[str, Mapping[str, Estimate]], items: Sequence[ItemVerdicts]) -> Table:
    columns = ("accuracy", "false alarms", *KINDS[1:])
    rows = tuple((name, *(in_words(cells[column]) for column in columns)) for name, cells in found.items())
    n = ", ".join(f"{kind} {sum(one.kind == kind for one in items)}" for kind in KINDS)
    note = (
        f"Share rejected of each kind, {n}; with 95 % intervals, problems resampled. `own`: the untrained model's "
        "own wrong chains. `leaked` was never seen in training. PRM and ORM reject below a threshold that rejects "
        "5 % of other right chains."
    )
    return Table("Verdicts", ("who", *columns), rows, note)


def _table_of_controls(items: Sequence[ItemVerdicts]) -> Table:
    """Of chains that a program carries to another answer, how many the critic carries to the variant's own."""
    rows: list[tuple[str | int | float | None, ...]] = []
    for stage in items[0].critic:
        wrong = [one for one in items if not one.is_right and not one.program[0]]
        shares = [_share(some, _passes(stage)) for some in (wrong, [one for one in wrong if one.kind == "corrupted"])]
        kinds = [one.critic[stage][0] for one in items]
        n = len(kinds)
        rows.append((stage, *map(in_words, shares), kinds.count("not carried") / n, kinds.count("unreadable") / n))
    return Table(
        "Controls",
        ("critic", "reached the variant's answer all the same", "of corrupted chains", "not carried", "unreadable"),
        tuple(rows),
        "First column: the variant's answer from a chain that does not lead there, by chance or miscarried. "
        "Last two: of all items, critiques that stop, and that are none.",
    )


def _table_of_use(used: Mapping[str, Any]) -> Table:
    rows = tuple(
        (name, point["n"], round(point["tokens"]), in_words(point["accuracy"]))
        for name, points in used.items()
        for point in points
    )
    note = "Tokens generated a problem, critiques and votes on variants counted; a PRM's reading is not."
    return Table("In use", ("way", "samples or tries", "tokens", "accuracy"), rows, note)


def _paragraphs(
    items: Sequence[ItemVerdicts], rejects: Mapping[str, Rejects], counts: Mapping[str, Mapping[str, int]]
) -> tuple[str, ...]:
    missed = [one for one in items if one.kind in ("overfit", "fudged") and not rejects["program, 1 variant"](one)]
    slips = [one for one in items if one.kind == "slip"]
    return (
        "The critic is told which number of the problem becomes which in the variant (`9>4,7>3`) and the solution: "
        "no words, so that it cannot solve the variant, and never its answer. It writes each step worked out on the "
        "problem and, behind a `>`, on the variant (`Step 1: 9 + 7 = 16>4 + 3 = 7`), or `?` at the first thing that "
        "cannot be carried. What it reaches is held against the variant's answer; all but a pass rejects.",
        "It is taught at once by drills (chains of random operands, more than half with a fault), chains of "
        "problems carried by program with their wrong rules, and its own right solutions, with Muon; then come "
        "rounds in which it samples solutions and critiques, and only right solutions and faithful critiques are "
        "learnt. No step label enters. The judge is told outcomes, as the ORM is; the PRM has exact labels of every "
        "step of the same chains.",
        "Tested problems are of families that nothing was taught on, drawn by seeds that were not looked at while "
        "the design was chosen.",
        f"An overfit chain counts as such if it misses the answer on one of six variants of its own. Of "
        f"{sum(one.kind in ('overfit', 'fudged') for one in items)} overfit and fudged chains, {len(missed)} reach "
        "the first variant's answer also when a program carries them: the most that one variant can show.",
        f"Slips are its weak side: {in_words(_share(slips, rejects['critic, 1 variant']))} are rejected. Their "
        "rule is right, so that they reach the variant's answer unless the critic sees that the value used next is "
        "not the one that it worked out itself.",
        "Problems, variants, solutions and critiques of the rounds stand in `stepmark.db` in the experiment's "
        "folder, the critiques written out as a critic with a prompt would write them; `stepmark export rl` and "
        "`export critique` read it.",
        "Rows: "
        + "; ".join(f"{name}: " + ", ".join(f"{n} {what}" for what, n in of.items()) for name, of in counts.items())
        + ".",
    )


def _measured(row: str, ours: Estimate, against: str, theirs: Estimate) -> Measured:
    value = ours.value or 0.0
    return Measured(row, value, "share", against, value / theirs.value if theirs.value else None, "higher")


def _draw_recall(path: Path, found: Mapping[str, Mapping[str, Estimate]]) -> None:
    shown = ("critic, 1 variant", "critic, 3 variants, any fails", "judge", "PRM", "ORM")
    labels = ("false alarms", *KINDS[1:])
    figure = new_figure(8.0, 1.5 + 0.55 * len(labels))
    axes = figure.add_subplot(facecolor="white")
    draw_intervals(
        axes, ["honest (false alarms)", *KINDS[1:]], {n: [found[n][k].as_json() for k in labels] for n in shown}
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share rejected")
    axes.set_title("Who catches which wrong chains")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


def _draw_use(path: Path, used: Mapping[str, Any]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = new_figure(8.0, 4.6)
    axes = figure.add_subplot(facecolor="white")
    for at, (name, points) in enumerate(used.items()):
        tokens, accuracy = ([p["tokens"] for p in points], [p["accuracy"].value for p in points])
        axes.plot(tokens, accuracy, color=COLOURS[at % len(COLOURS)], marker="o", markersize=4, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("generated tokens a problem")
    axes.set_ylabel("share of problems solved")
    tidy(axes, grid="both")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)
