"""The demo's report: `report.json` for programs, `report.html` for people; every figure comes from the run."""

import base64
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import sqlalchemy as sa

from db.scores import Example, example
from stepmark import __version__

from .stages import Stages

COMPARED_N = 16
"""The N at which differences are put into words."""

METHODS = {
    "pass1": "one sample",
    "majority": "majority",
    "orm": "ORM",
    "bt": "BT",
    "prm": "PRM",
    "orm_vote": "ORM + vote",
    "prm_vote": "PRM + vote",
    "chance": "chance",
    "oracle": "oracle",
}
"""Methods in the order of the table, with their headings."""

_NO_CHOICE = ("chance", "oracle")

LIMITS = (
    "The problems are made: task, language model and training recipe were chosen because the order of the methods "
    "shows, before the test problems were drawn. It demonstrates the loop; it is no evidence about other models or "
    "problems.",
    "Taking the highest score peaks and then falls as N grows: among more samples are more that exploit the reward "
    "model's mistakes. The reward-weighted vote keeps rising.",
    "Right solutions of a problem repeat one text, wrong ones are many. A reward model that had learnt nothing would "
    "choose at the chance level of unique texts, not at that of one sample.",
    "The step labels here come from an exact checker, so they are free and without error; people's are neither. They "
    "are stored as a program's labels.",
    "The intervals hold the trained models and the sampled solutions fixed; only the problems are resampled.",
)


def write_report(
    out: Path,
    *,
    plan: Mapping[str, Any],
    database: sa.Engine,
    evaluation: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    stages: Stages,
    reward_model: str,
    source: str,
) -> dict[str, Any]:
    """Writes `report.json` and `report.html` into `out`, and returns the former.

    Args:
        out: Folder of the demo; `best_of_n/best_of_n.png` and the sets under `sets/` are read from it.
        plan: What was to be done.
        database: For the examples.
        evaluation: What `trainer.evaluate.best_of_n` returned.
        models: The `stepmark.json` of each reward model, by name.
        stages: Costs and counts.
        reward_model: The PRM whose step scores stand beside the examples.
        source: The problems that the examples come from.
    """
    report = {
        "stepmark": __version__,
        "python": platform.python_version(),
        "plan": dict(plan),
        "best_of_n": _with_intervals(evaluation),
        "auc": evaluation["auc"],
        "counts": {
            "test_problems": evaluation["counts"]["problems"],
            **evaluation["counts"],
            "stages": {
                name: {"read": c.read, "kept": c.kept, "dropped": dict(c.dropped)}
                for name, c in stages.counts.items()
            },
        },
        "timings_s": {
            **{name: cost.wall_s for name, cost in stages.costs.items()},
            "total": round(sum(cost.wall_s for cost in stages.costs.values()), 2),
        },
        "cpu_s": {name: cost.cpu_s for name, cost in stages.costs.items()},
        "training": {
            name: {key: manifest.get(key) for key in ("kind", "n_tokens", "tokens_per_s", "timings_s", "metrics")}
            for name, manifest in models.items()
        },
        "limits": list(LIMITS),
    }
    page = _page(out, report, evaluation, stages, _examples(database, reward_model, source))
    (out / "report.html").write_text(page, encoding="utf-8")
    # Last, so that its existence means that the demo is complete.
    (out / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _with_intervals(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """For each N, each method's mean and deviation, and the paired differences with their intervals."""
    return {
        n: {**methods, "differences": evaluation["differences"].get(n, {})}
        for n, methods in evaluation["best_of_n"].items()
    }


def summary(report: Mapping[str, Any]) -> str:
    """One sentence on who stands where at the compared N, from the figures."""
    table: Mapping[str, Any] = report["best_of_n"]
    n = str(COMPARED_N) if str(COMPARED_N) in table else list(table)[-1]
    row = table[n]
    ranked = sorted((m for m in ("prm", "orm", "bt", "majority", "pass1") if m in row), key=lambda m: -row[m]["mean"])
    places = ", ".join(f"{METHODS[method]} {row[method]['mean']:.3f}" for method in ranked)
    best_vote = max((m for m in ("orm_vote", "prm_vote") if m in row), key=lambda m: row[m]["mean"], default=None)
    vote = (
        f"; the vote weighted by the {METHODS[best_vote]} reaches {row[best_vote]['mean']:.3f}" if best_vote else ""
    )
    vote = vote.replace(" + vote reaches", " reaches")
    problems = report["counts"]["test_problems"]
    return f"Choosing among {n} solutions of each of {problems} fresh problems: {places}{vote}."


def _page(
    out: Path, report: Mapping[str, Any], evaluation: Mapping[str, Any], stages: Stages, samples: list[dict[str, Any]]
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stepmark.flows"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    table: Mapping[str, Any] = evaluation["best_of_n"]
    n = str(COMPARED_N) if str(COMPARED_N) in table else list(table)[-1]
    slowest = max((cost.wall_s for cost in stages.costs.values()), default=1.0) or 1.0
    return environment.get_template("report.html.j2").render(
        summary=summary(report),
        curve_png=base64.b64encode((out / "best_of_n" / "best_of_n.png").read_bytes()).decode(),
        counts=report["counts"],
        n_seeds=report["plan"]["n_seeds"],
        methods=[{"name": m, "title": METHODS[m]} for m in METHODS if m in table[n]],
        table=[{"n": size, "cells": _cells(methods)} for size, methods in table.items()],
        compared_n=n,
        differences=[_difference(name, d) for name, d in evaluation["differences"].get(n, {}).items()],
        samples=samples,
        sets=_sets(out),
        flow=[
            {
                "stage": name,
                "read": f"{c.read:,}",
                "kept": f"{c.kept:,}",
                "dropped": f"{sum(c.dropped.values()):,}",
                "why": ", ".join(f"{count:,} {reason}" for reason, count in c.dropped.items() if count),
            }
            for name, c in stages.counts.items()
        ],
        timings=[
            {"stage": name, "wall_s": c.wall_s, "cpu_s": c.cpu_s, "share": round(100 * c.wall_s / slowest, 1)}
            for name, c in stages.costs.items()
        ],
        limits=LIMITS,
    )


def _cells(methods: Mapping[str, Any]) -> list[dict[str, Any]]:
    shown = [method for method in METHODS if method in methods]
    best = max(methods[method]["mean"] for method in shown if method not in _NO_CHOICE)
    return [
        {
            "text": f"{methods[m]['mean']:.3f}" + (f" ±{methods[m]['std']:.3f}" if methods[m].get("std") else ""),
            "is_best": m not in _NO_CHOICE and methods[m]["mean"] == best,
        }
        for m in shown
    ]


def _difference(name: str, difference: Mapping[str, Any]) -> dict[str, Any]:
    left, right = name.split("-")
    low, high = difference["interval"]
    words = "more" if low > 0 else "less" if high < 0 else "not separated"
    return {
        "title": f"{METHODS[left]} − {METHODS[right]}",
        "mean": difference["mean"],
        "low": low,
        "high": high,
        "words": words,
    }


def _examples(database: sa.Engine, reward_model: str, source: str) -> list[dict[str, Any]]:
    wanted = (
        ("A right solution.", True, False),
        ("A wrong one: the labels stop at the first error.", False, True),
        ("The right answer by a wrong step: an outcome label calls this right.", True, True),
    )
    shown = []
    for title, outcome, has_error in wanted:
        found = example(database, reward_model, outcome=outcome, has_error=has_error, source=source)
        if found is not None:
            shown.append(_shown(found, title, outcome=outcome))
    return shown


def _shown(found: Example, title: str, *, outcome: bool) -> dict[str, Any]:
    css = {1: "good", 0: "good", -1: "bad", None: "unjudged"}
    return {
        "title": title,
        "problem": found.statement,
        "steps": [
            {
                "text": step,
                "css": css[label],
                "score": found.step_scores[index] if index < len(found.step_scores) else None,
            }
            for index, (step, label) in enumerate(zip(found.steps, found.labels, strict=True))
        ],
        "answer": found.answer,
        "answer_css": "good" if outcome else "bad",
        "reference": found.reference_answer,
    }


def _sets(out: Path) -> list[dict[str, str]]:
    titles = {
        "prm": "prm: the steps and a label for each, up to the first error",
        "orm": "orm: a whole solution and whether its answer is right",
        "preference": "preference: two solutions of one problem, the right one chosen",
    }
    shown = []
    for config, title in titles.items():
        files = sorted((out / "sets" / config).glob("train-*.jsonl"))
        if files:
            with files[0].open(encoding="utf-8") as lines:
                shown.append({"title": title, "line": lines.readline().rstrip("\n")})
    return shown
