"""Puts a report of `comparison` on a page, in a picture, in tables and in JSON."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from rich.table import Table

from .comparison import OVERALL
from .pictures import plot_measure, plot_reliability


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page."""

    heading: str = ""
    lines: Sequence[str] = ()
    points: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    image: str = ""
    """A PNG as base64."""
    alt: str = ""


def write_evaluation(report: dict[str, Any], out: Path) -> None:
    """Writes `NAME.json`, `NAME.png`, `NAME.svg` and `NAME.html` of the benchmark into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    name = report["benchmark"]
    for ending in ("png", "svg"):
        plot_measure(report, out / f"{name}.{ending}")
    sections = [
        Section(image=encoded(out / f"{name}.png"), alt=f"{report['headline']} of each model by subset"),
        *(Section(heading=title, head=head, rows=rows) for title, head, rows in tables(report)),
    ]
    if "reliability" in report:
        for ending in ("png", "svg"):
            plot_reliability(report, out / f"reliability.{ending}")
        alt = "Share of right ones against the score, before and after calibration"
        sections.insert(1, Section(heading="Reliability", image=encoded(out / "reliability.png"), alt=alt))
    sections.append(Section(heading="How to read it", points=report["notes"]))
    write_page(out / f"{name}.html", report["title"], sections)
    (out / f"{name}.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_page(path: Path, title: str, sections: Sequence[Section], *, lead: str = "") -> None:
    """Writes a page that needs no other file."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.evaluate"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("page.html.j2").render(title=title, lead=lead, sections=sections)
    path.write_text(page, encoding="utf-8")


def encoded(picture: Path) -> str:
    """A picture as it is set into a page."""
    return base64.b64encode(picture.read_bytes()).decode()


def tables(report: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """The report as tables: title, heading, rows. First the headline by model, then the rest, then differences."""
    models = report["models"]
    headline = report["headline"]
    subsets = list(next(iter(models.values())))
    found = [
        (
            f"{headline} with 95 % intervals",
            ["subset", *models, "problems"],
            [
                [
                    subset,
                    *(cell(by_subset[subset][headline]) for by_subset in models.values()),
                    str(next(iter(models.values()))[subset][headline]["n"]),
                ]
                for subset in subsets
            ],
        )
    ]
    others = [name for name in next(iter(next(iter(models.values())).values())) if name != headline]
    if others:
        rows = [
            [f"{model}, {subset}", *(cell(by_subset[subset].get(name)) for name in others)]
            for model, by_subset in models.items()
            for subset in subsets
            if subset != OVERALL
        ]
        found.append(("what it is made of", ["model, subset", *others], rows))
    if report["differences"]:
        pairs = report["differences"]
        rows = [[subset, *(cell(pair[subset], "+") for pair in pairs.values())] for subset in subsets]
        found.append(("differences, paired by problem", ["subset", *pairs], rows))
    counts = [
        [model, str(c["read"]), str(c["kept"]), ", ".join(f"{n} {why}" for why, n in c["dropped"].items()) or "-"]
        for model, c in report["counts"].items()
    ]
    found.append(("solutions", ["model", "read", "scored", "without a score"], counts))
    return found


def rich_tables(report: dict[str, Any]) -> list[Table]:
    """The same tables for a terminal."""
    out = []
    for title, head, rows in tables(report):
        table = Table(*head, title=title)
        for row in rows:
            table.add_row(*row)
        out.append(table)
    return out


def cell(found: dict[str, Any] | None, sign: str = "") -> str:
    """A figure with its interval.

    >>> cell({"value": 0.5, "interval": [0.4, 0.6], "n": 3}), cell({"value": None, "interval": None, "n": 3})
    ('0.500 [0.400, 0.600]', '-')
    """
    if found is None or found["value"] is None or not math.isfinite(found["value"]):
        return "-"
    value = format(found["value"], f"{sign}.3f")
    if found["interval"] is None:
        return value
    low, high = (format(end, f"{sign}.3f") for end in found["interval"])
    return f"{value} [{low}, {high}]"
