"""Several runs in one call: models and temperatures mixed, under one budget.

Each combination is a run of its own, with the record and the keys that it has when it is asked alone; so a mix picks
up what was asked alone, and the other way round. The runs go one after another, model by model: a server is busy with
one run, a model in process is loaded once and gone before the next, and what the budget has left is known exactly.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import sqlalchemy as sa

from db.runs import find_run
from stepmark.engine import Engine
from stepmark.errors import SettingsError

from .asking import Estimate, Report, Task, run_key, run_task
from .budget import Limits

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class MixedModel:
    """A model of a mix."""

    engine: Engine
    """Opened; closed when the last of its runs is over."""
    limits: Limits
    """The model's prices, and the budgets of the whole mix, the same for every model."""
    tasks: Mapping[float, Task[Any, Any]]
    """What to make, by temperature."""


@dataclass(frozen=True, slots=True)
class Part:
    """One run of a mix."""

    model: str
    temperature: float
    report: Report

    @property
    def name(self) -> str:
        """What it is called on screen."""
        return f"{self.model} at temperature {self.temperature:g}"

    @property
    def status(self) -> str:
        """The report's; `failed` also where nothing came but failures."""
        return "failed" if self._is_in_vain else self.report.status

    @property
    def trouble(self) -> str | None:
        """Why it did not end well; None where it did, and where it was not begun."""
        return "every sample failed" if self._is_in_vain else self.report.message

    @property
    def _is_in_vain(self) -> bool:
        return self.report.status == "done" and self.report.is_in_vain


def run_mix(
    database: sa.Engine,
    models: Sequence[MixedModel],
    *,
    redo_truncated: int | None = None,
    on_progress: Callable[[Part], None] = lambda part: None,
    is_dry_run: bool = False,
) -> list[Part]:
    """Runs every task of every model, one after another.

    Where a model cannot go on, or cannot be loaded, its other runs are not begun, and those of the next model are.
    Ctrl-C and a budget that is reached end the mix. The same call again resumes it.

    Args:
        database: Open, at the current schema.
        models: No two runs of them are the same.
        redo_truncated: As for `run_task`.
        on_progress: Called with the run under way and its counts so far.
        is_dry_run: Only find out what each run would ask.

    Returns:
        Every run in its order, with what this call did; `not begun` where it did nothing.

    Raises:
        SettingsError: A mix of one run has a model that cannot be loaded.
    """
    keys = {run_key(model.engine, task) for model in models for task in model.tasks.values()}
    parts: list[Part] = []
    is_over = False
    for model in models:
        is_gone = False
        with closing(model.engine) as engine:
            for temperature, task in model.tasks.items():
                key = run_key(engine, task)
                report = Report(task.kind, task.unit, find_run(database, key), "not begun")
                part = Part(engine.identity.model, temperature, report)
                parts.append(part)
                if is_over or is_gone:
                    continue

                def show(report: Report, part: Part = part) -> None:
                    on_progress(replace(part, report=report))

                try:
                    report = run_task(
                        database,
                        engine,
                        task,
                        limits=model.limits,
                        sharing=keys,
                        redo_truncated=redo_truncated,
                        on_progress=show,
                        is_dry_run=is_dry_run,
                    )
                except SettingsError as err:
                    if len(keys) == 1:
                        raise
                    report = replace(report, run_id=find_run(database, key), status="failed", message=str(err))
                parts[-1] = replace(part, report=report)
                is_over = report.status in ("stopped", "budget")
                is_gone = report.status == "failed"
    return parts


def total(parts: Sequence[Part]) -> Report:
    """The runs of a mix together, in the fields of one: an item counts once for each run that it is in.

    Its status is the first that any has of `stopped`, `failed` and `budget`, else what all have; its message names
    the runs that did not end well, and says why.
    """
    statuses = {part.status for part in parts}
    whole = Report(
        parts[0].report.kind,
        parts[0].report.unit,
        status=next(one for one in ("stopped", "failed", "budget", "dry run", "done") if one in statuses),
        estimate=_together([part.report.estimate for part in parts if part.report.estimate is not None]),
        message="\n".join(f"{part.name}: {part.trouble}" for part in parts if part.trouble is not None) or None,
    )
    for part in parts:
        report = part.report
        whole.n_items += report.n_items
        whole.n_items_before += report.n_items_before
        whole.n_items_done += report.n_items_done
        whole.dropped.update(report.dropped)
        whole.counts.update(report.counts)
        whole.n_wanted += report.n_wanted
        whole.n_stored_before += report.n_stored_before
        whole.n_retried += report.n_retried
        whole.n_stored += report.n_stored
        whole.n_truncated += report.n_truncated
        whole.failures.update(report.failures)
        whole.n_prompt_tokens += report.n_prompt_tokens
        whole.n_completion_tokens += report.n_completion_tokens
        if report.cost_usd is not None:
            whole.cost_usd = (whole.cost_usd or 0.0) + report.cost_usd
        whole.n_unpriced += report.n_unpriced
        whole.elapsed_s += report.elapsed_s
    return whole


def _together(estimates: Sequence[Estimate]) -> Estimate | None:
    """The sums; a number that one of them does not know is unknown."""
    if not estimates:
        return None
    return Estimate(
        sum(one.n_requests for one in estimates),
        sum(one.n_samples for one in estimates),
        sum(one.n_prompt_tokens for one in estimates),
        sum(one.n_completion_tokens_at_most for one in estimates),
        _sum_known([one.n_completion_tokens_likely for one in estimates]),
        _sum_known([one.cost_usd_at_most for one in estimates]),
        _sum_known([one.cost_usd_likely for one in estimates]),
    )


def _sum_known(numbers: Sequence[Number | None]) -> Number | None:
    known = [number for number in numbers if number is not None]
    return sum(known[1:], known[0]) if len(known) == len(numbers) else None
