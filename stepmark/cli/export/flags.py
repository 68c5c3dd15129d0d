"""What all commands of `export` share: the flags of what to take and where it goes, and writing it."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stepmark.cli.hub import PushToHub, PushWithoutAsking, check_can_ask, push_exported
from stepmark.cli.options import Db, Json, database_url
from stepmark.cli.output import fields_of, print_counts, print_json
from stepmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from exports.formats.layouts import LayoutOptions
    from exports.queries.exporting import ExportReport
    from exports.queries.selection import Selection, TrainingSet

Text = Annotated[
    Literal["steps", "written"],
    typer.Option(help="Whole solutions as rendered steps and answer, or as they were written."),
]


class AnnotatorKind(StrEnum):
    """Whose labels."""

    PERSON = "person"
    PROGRAM = "program"
    MODEL = "model"


@dataclass(frozen=True)
class Rows:
    """Which solutions, and how many rows of them."""

    source: Annotated[
        list[str],
        typer.Option(metavar="PATTERN", help="Only solutions of sources named so; * is any text. May be repeated."),
    ] = field(default_factory=list)
    run: Annotated[int | None, typer.Option(metavar="ID", help="Only solutions sampled by this run.")] = None
    max_per_problem: Annotated[int | None, typer.Option(min=1, help="Rows of one problem at most.")] = None
    keep_duplicates: Annotated[bool, typer.Option("--keep-duplicates", help="Keep rows of equal texts.")] = False

    def selection(self) -> "Selection":
        """The selection as the queries know it."""
        from exports.queries.selection import Selection

        return Selection(tuple(self.source), self.run, self.max_per_problem, self.keep_duplicates)


@dataclass(frozen=True)
class Labellers:
    """Whose labels count."""

    annotator: Annotated[
        list[str], typer.Option("--annotator", metavar="NAME", help="Only labels by this one. May be repeated.")
    ] = field(default_factory=list)
    annotator_kind: Annotated[
        list[AnnotatorKind], typer.Option("--annotator-kind", help="Only labels by this kind. May be repeated.")
    ] = field(default_factory=list)


@dataclass(frozen=True)
class Marks:
    """How the reader marks steps; each layout heeds some of it, and refuses the rest."""

    step_token: Annotated[
        str | None,
        typer.Option(
            help="What stands after each step, one token of the reader's tokenizer [default: the format's own]."
        ),
    ] = None
    reward_tokens: Annotated[
        str, typer.Option(metavar="RIGHT,WRONG", help="What stands for a right and for a wrong step.")
    ] = "+,-"
    values: Annotated[
        Literal["auto", "tokens", "floats"],
        typer.Option(help="openrlhf: labels as reward tokens or as floats; auto: floats where labels are soft."),
    ] = "auto"
    threshold: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Formats that know right and wrong alone: from this on a soft label is right."
        ),
    ] = 0.5

    def options(self) -> "LayoutOptions":
        """The options as the layouts know them."""
        from exports.formats.layouts import LayoutOptions
        from stepmark.errors import SettingsError

        right, comma, wrong = self.reward_tokens.partition(",")
        if not comma:
            raise SettingsError(f"--reward-tokens {self.reward_tokens!r} is not RIGHT,WRONG; write +,-")
        return LayoutOptions(self.step_token, (right, wrong), self.values, self.threshold)


@dataclass(frozen=True)
class Writing:
    """Where a set goes and how it is cut."""

    out: Annotated[Path, typer.Option(help="Folder of the sets; several configs may share one.")]
    file_format: Annotated[Literal["jsonl", "parquet"], typer.Option(help="Kind of the files.")] = "jsonl"
    split: Annotated[
        str, typer.Option(metavar="NAME=SHARE,...", help="Share of the problem families for each split.")
    ] = "train=0.9,validation=0.05,test=0.05"
    split_seed: Annotated[int, typer.Option(help="Another seed splits the families otherwise.")] = 0
    rows_per_shard: Annotated[int, typer.Option(min=1, help="Rows of one file at most.")] = 100_000
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace this config if the folder holds it.")] = (
        False
    )
    push_to_hub: PushToHub = None
    yes: PushWithoutAsking = False
    db: Db = None
    json: Json = False

    def write(self, wanted: "TrainingSet", format: str | None = None, marks: "Marks | None" = None) -> None:
        """Exports the set in a layout of its config, and prints what became of its rows."""
        from db.connect import open_database
        from exports.formats.layouts import layout_of
        from exports.queries.exporting import Target, export_set

        if self.push_to_hub is not None:
            check_can_ask(yes=self.yes)
        options = None if marks is None else marks.options()
        layout = layout_of(wanted.config, format, options)
        target = Target(
            folder=self.out,
            file_format=self.file_format,
            shares=parse_shares(self.split),
            split_seed=self.split_seed,
            rows_per_shard=self.rows_per_shard,
            overwrite=self.overwrite,
        )
        engine = open_database(database_url(self.db))
        with progress_bar(f"export {wanted.config.replace('_', '-')}") as show:
            report = export_set(engine, target, wanted, layout=layout, options=options, progress=show)
        _print(report, json=self.json)
        push_exported(self.out, self.push_to_hub, yes=self.yes, as_answer=not self.json)


def parse_shares(text: str) -> dict[str, float]:
    """Reads `train=0.9,test=0.1`.

    >>> parse_shares("train=0.9, test=0.1")
    {'train': 0.9, 'test': 0.1}
    """
    from stepmark.errors import SettingsError

    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError as err:
            raise SettingsError(f"--split {text!r}: {part!r} is not NAME=SHARE; write train=0.9,test=0.1") from err
    return shares


def _print(report: "ExportReport", *, json: bool) -> None:
    if json:
        print_json(fields_of(report))
        return
    print_counts(
        f"{report.config} in {report.folder}", read=report.n_read, kept=report.n_kept, dropped=report.dropped
    )
    for counted in (report.splits, report.more):
        if counted:
            print("  " + ", ".join(f"{count} {name}" for name, count in counted.items()))
