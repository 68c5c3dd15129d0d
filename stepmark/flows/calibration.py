"""Calibrations of reward models: fitted on some problems, measured on others, saved with the models."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepmark.errors import InputError
from trainer.calibration import Fit, Method, Target, write_calibration
from trainer.evaluate.calibration import Judged, Pair, evaluate_calibration, fit, judge_items, judge_pairs, pairs_of
from trainer.evaluate.comparison import Scorer
from trainer.evaluate.items import Item, problem_key, read_items
from trainer.rows import COMPARING, PairRow, read_rows


@dataclass(frozen=True, slots=True)
class Rows:
    """What a calibration is fitted or measured on."""

    name: str
    """As it stands in reports."""
    items: Callable[[], list[Item]]
    pairs: Callable[[], list[Pair]]


def rows_of_items(items: list[Item], name: str) -> Rows:
    """Rows made of solutions; pairs are right and wrong ones of a problem."""
    return Rows(name, lambda: items, lambda: pairs_of(items))


def rows_of_set(data: Path, split: str) -> Rows:
    """Rows of a split of an exported set; pairs are those of its preferences."""
    return Rows(f"{data.name}/{split}", lambda: read_items(data, split)[0], lambda: list(_pairs(data, split)))


def _pairs(data: Path, split: str) -> Iterator[Pair]:
    for row in read_rows(data, "bt", split):
        assert isinstance(row, PairRow)
        yield problem_key(row.prompt), row.prompt, [row.chosen], [row.rejected]


def default_target(kind: str) -> Target:
    """What a model of this kind is calibrated on unless asked otherwise."""
    return "steps" if kind == "prm" else "pairs" if kind in COMPARING else "solutions"


def calibrate(
    models: Mapping[str, Scorer],
    *,
    fit_on: Rows,
    test_on: Rows,
    target: Target | None = None,
    how: str = "product",
    save: Mapping[str, Path] | None = None,
    method: Method = "platt",
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Fits temperature and Platt on some rows, measures on others; returns the report.

    Args:
        models: By name.
        fit_on: To fit on.
        test_on: To measure on; no problem of it may be in `fit_on`.
        target: What is calibrated; by the first model's kind, if not given.
        how: How a PRM's steps make a solution's score.
        save: Folders into which the fits of `method` are written, by name.
        method: What is saved.
        n_boot: Bootstrap samples of the problems.
        seed: Of the bootstrap.

    Raises:
        InputError: A problem is on both sides, or the rows allow no fit.
    """
    target = target or default_target(next(iter(models.values())).kind)
    tested: dict[str, Judged] = {}
    fits: dict[str, dict[Method, Fit]] = {}
    for name, model in models.items():
        fitted, tested[name] = (_judged(model, rows, target, how) for rows in (fit_on, test_on))
        shared = set(fitted.problems) & set(tested[name].problems)
        if shared:
            raise InputError(
                f"{len(shared)} problems are in {fit_on.name} and in {test_on.name}; a calibration is measured on "
                "problems that it was not fitted on."
            )
        named_how = how if target == "solutions" and model.kind == "prm" else None
        methods: tuple[Method, ...] = ("temperature",) if target == "pairs" else ("temperature", "platt")
        fits[name] = {one: fit(fitted, one, how=named_how, where=fit_on.name) for one in methods}
    report = evaluate_calibration(
        tested, fits, fitted_on=fit_on.name, measured_on=test_on.name, n_boot=n_boot, seed=seed
    )
    for name, folder in (save or {}).items():
        chosen = fits[name].get(method) or fits[name]["temperature"]
        write_calibration(folder, [chosen], fitted_on=fit_on.name)
    return report


def _judged(model: Scorer, rows: Rows, target: Target, how: str) -> Judged:
    if target == "pairs":
        return judge_pairs(model, rows.pairs())
    return judge_items(model, rows.items(), target, how=how)
