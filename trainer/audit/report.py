"""Puts audits on one page: in words, pictures, tables and JSON."""

import json
from pathlib import Path
from typing import Any

from trainer.evaluate.page import Section, cell, encoded, write_page
from trainer.evaluate.pictures import plot_curves, plot_effects

TITLE = "What the reward models have learnt to like"


def write_audit(report: dict[str, Any], out: Path) -> None:
    """Writes `audit.json`, `audit.html` and the pictures into the folder `out`.

    Args:
        report: What `audit_models` returned.
        out: Made if it is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    audits: dict[str, dict[str, Any]] = report["audit"]
    sections = [Section(heading=model, **_in_words(one)) for model, one in audits.items()]
    if all([plot_effects(audits, out / f"effects.{ending}") for ending in ("png", "svg")]):
        sections += _every_effect(audits, out / "effects.png")
    if plot_curves(audits, out / "best_of_n.png"):
        sections.append(
            Section(
                heading="Choosing among more",
                lines=["The share of problems solved by the highest score among N samples, exact."],
                image=encoded(out / "best_of_n.png"),
                alt="Best of N",
            )
        )
    sections.append(Section(heading="How to read it", points=HOW_TO_READ))
    write_page(out / "audit.html", TITLE, sections)
    (out / "audit.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _every_effect(audits: dict[str, dict[str, Any]], picture: Path) -> list[Section]:
    levels = dict.fromkeys(f"{100 * one['settings']['level_of_one_interval']:.2f} %" for one in audits.values())
    settings = next(iter(audits.values()))["settings"]
    names: dict[str, str] = {f["name"]: f["title"] for one in audits.values() for f in one["findings"]}
    rows = [[title, *(_effect(one, name) for one in audits.values())] for name, title in names.items()]
    return [
        Section(
            heading="Every effect",
            lines=[
                f"Intervals are wide enough ({' or '.join(levels)} each) that a report on a model without a fault "
                f"says nothing in {100 * settings['level']:.0f} %. * marks what is said above"
            ],
            image=encoded(picture),
            alt="Effects with intervals",
        ),
        Section(head=["effect", *audits], rows=rows),
    ]


def _effect(one: dict[str, Any], name: str) -> str:
    found = next((f for f in one["findings"] if f["name"] == name), None)
    return cell(found, "+") + (" *" if found is not None and found["sentence"] is not None else "")


HOW_TO_READ = (
    "Every effect compares solutions of equal correctness, or one solution before and after a rewriting that keeps "
    "it as right or wrong as it was. A model that weighs only what was asked has effects of zero.",
    "Nothing is said where an interval holds zero. That is no proof that there is nothing: look how wide it is.",
    "A mean shift is in standard deviations of the model's scores over all solutions of the audit.",
    "The share of skill that is left without the problem includes mistakes that are visible in the solution alone.",
    "A product over steps falls with every further step: a fault of the score, not of the steps; compare --how.",
)


def _in_words(one: dict[str, Any]) -> dict[str, Any]:
    accuracy = one["accuracy"]
    kept = one["counts"]
    dropped = ", ".join(f"{n} {why}" for why, n in kept["dropped"].items())
    lines = [
        f"A {'' if one['unit'] == 'pairs' else 'model of kind '}{one['kind']} on {kept['kept']} {one['unit']} of "
        f"{one['n_problems']} problems" + (f" (of {kept['read']} read; left out: {dropped})." if dropped else "."),
        f"Of two solutions of one problem it scores the right one above the wrong one in {cell(accuracy)} of cases."
        if accuracy["value"] is not None
        else "Too few problems have a right and a wrong solution to say how well it ranks them.",
    ]
    nothing = [] if one["said"] else ["Nothing can be said against it: every interval holds zero."]
    missed = [f"Not checked, {skipped['check']}: {skipped['reason']}." for skipped in one["skipped"]]
    return {"lines": [*lines, *nothing], "points": [*one["said"], *missed]}
