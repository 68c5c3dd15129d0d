"""What an experiment found: words, tables, pictures and the figures kept for comparison, as JSON and as Markdown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]
    """None is shown as a dash. Floats are shares, with three digits."""
    note: str = ""
    """What a reader must know to read it: of what, over how many, which interval."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture."""

    file: str
    """Its name in the experiment's folder; pictures of all experiments may be put into one folder."""
    caption: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure that is kept, beside what it is compared with in the same run."""

    row: str
    value: float
    unit: str
    against: str
    ratio: float | None
    """Value over that of `against`."""
    better: Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Findings:
    """What one experiment found."""

    title: str
    aim: str
    """What was hoped for, fixed before it was run; one sentence."""
    reached: str
    """Whether the aim was reached, with the number."""
    paragraphs: tuple[str, ...]
    """How it was done, and what falls short and why."""
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    measured: tuple[Measured, ...] = ()
    costs_cpu_s: dict[str, float] = field(default_factory=dict)
    """CPU-seconds by stage, as measured."""

    def as_json(self) -> dict[str, Any]:
        """The findings as JSON takes them."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Findings":
        """Reads what `as_json` wrote."""
        tables = tuple(
            Table(t["title"], tuple(t["columns"]), tuple(tuple(row) for row in t["rows"]), t["note"])
            for t in kept["tables"]
        )
        return cls(
            title=kept["title"],
            aim=kept["aim"],
            reached=kept["reached"],
            paragraphs=tuple(kept["paragraphs"]),
            tables=tables,
            figures=tuple(Figure(**figure) for figure in kept["figures"]),
            measured=tuple(Measured(**one) for one in kept["measured"]),
            costs_cpu_s=kept["costs_cpu_s"],
        )


def markdown(findings: Findings, *, command: str, images: str) -> str:
    """Writes one experiment as a section of a page.

    Args:
        findings: What was found.
        command: The command that gives these figures.
        images: Where the pictures stand, as the page links to them; ends in a slash or is empty.
    """
    parts = [f"## {findings.title}", f"`{command}`", f"**Aim.** {findings.aim}", f"**Reached.** {findings.reached}"]
    parts += [f"![{figure.caption}]({images}{figure.file})" for figure in findings.figures]
    parts += findings.paragraphs
    for table in findings.tables:
        parts.append(f"**{table.title}**" + (f" {table.note}" if table.note else ""))
        parts.append(_table(table))
    if findings.costs_cpu_s:
        costs = ", ".join(f"{name} {seconds:.0f}" for name, seconds in findings.costs_cpu_s.items())
        parts.append(f"CPU-seconds: {costs}; {sum(findings.costs_cpu_s.values()):.0f} in all.")
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [_line(table.columns), _line(["---"] * len(table.columns)), *(_line(row) for row in table.rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str | int | float | None]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(cell: str | int | float | None) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        shown = f"{abs(cell):.3f}".removeprefix("0") if abs(cell) < 0.9995 else f"{abs(cell):.3f}"
        return f"−{shown}" if cell < 0 else shown
    return str(cell)
