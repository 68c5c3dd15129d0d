"""Pictures of the rounds: what models solve and what guards read, healthy loops against a collapsing one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from db.rounds import RoundState
from stepmark import guards
from trainer.evaluate.pictures import COLOURS, new_figure, tidy


def draw_rounds(
    loops: Mapping[str, Sequence[Sequence[RoundState]]], *, k: int, stops_at: int | None, path: Path
) -> None:
    """Draws the rounds of each kind of loop, the mean thick and each loop thin.

    Args:
        loops: By kind, each loop's rounds.
        k: Of pass@k.
        stops_at: The round after which the last kind is stopped; marked by a line.
        path: Of the picture.
    """
    figure = new_figure(11.0, 5.6)
    axes_of = figure.subplots(2, 3).ravel()
    panels = (
        (guards.PASS_1, guards.PASS_1),
        (f"pass@{k}", guards.PASS_K),
        (None, guards.WRONG_ANSWERS),
        (None, guards.VERIFIED),
        (None, guards.VERDICTS),
        (None, guards.GAP),
    )
    for axes, (metric, guard) in zip(axes_of, panels, strict=True):
        _draw_panel(axes, loops, metric, guard)
        for colour, found in zip(COLOURS, loops.values(), strict=False):
            bounds = [one["bound"] for rounds in found for one in rounds[0].guards if one["name"] == guard]
            known = [bound for bound in bounds if bound is not None]
            if known:
                axes.axhline(sum(known) / len(known), color=colour, linestyle=":", linewidth=1)
        if stops_at is not None:
            axes.axvline(stops_at + 1.15, color="#777777", linestyle="--", linewidth=1)
        axes.set_title(metric or guard, fontsize=10)
    handles, labels = axes_of[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path)


def draw_closing(loops: Mapping[str, Sequence[Sequence[RoundState]]], *, stop: str | None, path: Path) -> None:
    """Draws the share of right samples over the rounds: the loop closing.

    Args:
        loops: By kind, each loop's rounds.
        stop: What a guard did to the last kind, if it did.
        path: Of the picture.
    """
    figure = new_figure(9.0, 4.2)
    axes = figure.add_subplot()
    _draw_panel(axes, loops, guards.PASS_1, guards.PASS_1)
    for colour, (kind, found) in zip(COLOURS, loops.items(), strict=False):
        ends = [_series(rounds, guards.PASS_1, guards.PASS_1)[-1] for rounds in found]
        text = kind if stop is None or kind != list(loops)[-1] else f"{kind}\n({stop})"
        place = len(found[0]), _mean(ends)
        axes.annotate(text, place, (10, 0), textcoords="offset points", color=colour, va="center")
    axes.set_ylim(0.0, 1.02)
    axes.set_ylabel("right samples, share (pass@1)")
    axes.set_title("generate → verify → label → export → train → select, and again", loc="left")
    figure.savefig(path)


def _draw_panel(
    axes: Any, loops: Mapping[str, Sequence[Sequence[RoundState]]], metric: str | None, guard: str
) -> None:
    """Draws one measure over the rounds: of each kind the mean, thick, and every loop, thin."""
    for colour, (kind, found) in zip(COLOURS, loops.items(), strict=False):
        series = [_series(rounds, metric, guard) for rounds in found]
        for one in series:
            axes.plot(range(len(one)), one, color=colour, linewidth=0.8, alpha=0.4)
        mean = [_mean([one[at] for one in series]) for at in range(len(series[0]))]
        axes.plot(range(len(mean)), mean, color=colour, linewidth=2, marker="o", markersize=5, label=kind)
    n = max(len(rounds) for found in loops.values() for rounds in found)
    axes.set_xticks(range(n + 1), ["start", *(f"round {number}" for number in range(n))])
    tidy(axes, grid="y")


def _series(rounds: Sequence[RoundState], metric: str | None, guard: str) -> list[float]:
    """The start and each round; nan where nothing was measured."""
    nan = float("nan")
    start = nan if metric is None else rounds[0].metrics.get(f"{metric} before", nan)
    values = [next(one["value"] for one in done.guards if one["name"] == guard) for done in rounds]
    return [start, *(nan if value is None else value for value in values)]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")
