"""What all commands of `export` share: the flags of what to take and where it goes, and writing it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stepmark.cli.hub import PushToHub, PushWithoutAsking, check_can_ask, push_exported
from stepmark.cli.options import Db, Json, open_db
from stepmark.cli.output import fields_of, print_counts, print_json
from stepmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from exports.formats.layouts import LayoutOptions
    from exports.queries.exporting import ExportReport
    from exports.queries.lengths import Lengths
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


class Outcome(StrEnum):
    """Whether a final answer is right."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


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
    max_similarity: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Leave out rows as similar as this to a kept one of the problem (word 5-grams, same numbers).",
        ),
    ] = None
    outcome: Annotated[
        list[Outcome],
        typer.Option("--outcome", help="Only solutions with this outcome. May be repeated."),
    ] = field(default_factory=list)
    licence: Annotated[
        list[str],
        typer.Option(
            "--licence",
            metavar="NAME",
            help="Only rows whose solutions and problem have such licences; `unknown` for none on record, * for any "
            "text. May be repeated.",
        ),
    ] = field(default_factory=list)
    no_licence: Annotated[
        list[str], typer.Option("--no-licence", metavar="NAME", help="No rows with such a licence. May be repeated.")
    ] = field(default_factory=list)
    min_pass: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only problems solved in this share of samples or more.")
    ] = None
    max_pass: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only problems solved in this share of samples or less.")
    ] = None
    keep_flagged: Annotated[
        bool, typer.Option("--keep-flagged", help="Keep problems flagged as duplicates or contaminated.")
    ] = False
    decontaminate: Annotated[
        list[str],
        typer.Option(
            "--decontaminate",
            metavar="SOURCE|FILE",
            help="Leave out problems that repeat one of these: its words, its numbers masked, or 13 words in a row. "
            "A source of problems, or JSON lines with statements. May be repeated.",
        ),
    ] = field(default_factory=list)

    def selection(self) -> "Selection":
        """The selection as the queries know it."""
        from exports.queries.selection import Selection

        return Selection(
            sources=tuple(self.source),
            run_id=self.run,
            max_per_problem=self.max_per_problem,
            keep_duplicates=self.keep_duplicates,
            outcomes=tuple(one.value for one in self.outcome),
            licences=tuple(self.licence),
            licences_refused=tuple(self.no_licence),
            min_pass=self.min_pass,
            max_pass=self.max_pass,
            keep_flagged=self.keep_flagged,
            decontaminate=tuple(self.decontaminate),
            max_similarity=self.max_similarity,
        )


@dataclass(frozen=True)
class Labellers:
    """Whose labels count, and which of them."""

    annotator: Annotated[
        list[str], typer.Option("--annotator", metavar="NAME", help="Only labels by this one. May be repeated.")
    ] = field(default_factory=list)
    annotator_kind: Annotated[
        list[AnnotatorKind], typer.Option("--annotator-kind", help="Only labels by this kind. May be repeated.")
    ] = field(default_factory=list)
    no_annotator: Annotated[
        list[str], typer.Option("--no-annotator", metavar="NAME", help="No labels by this one. May be repeated.")
    ] = field(default_factory=list)
    label_source: Annotated[
        list[str],
        typer.Option(
            "--label-source", metavar="PATTERN", help="Only labels imported from sources named so. May be repeated."
        ),
    ] = field(default_factory=list)
    project: Annotated[
        list[str], typer.Option("--project", metavar="NAME", help="Only labels of this project. May be repeated.")
    ] = field(default_factory=list)
    guideline: Annotated[
        list[str],
        typer.Option("--guideline", metavar="VERSION", help="Only labels under this version. May be repeated."),
    ] = field(default_factory=list)
    since: Annotated[datetime | None, typer.Option(help="Only labels from this moment on (UTC).")] = None
    until: Annotated[datetime | None, typer.Option(help="Only labels before this moment (UTC).")] = None
    without_suggestions: Annotated[
        bool, typer.Option("--without-suggestions", help="No labels of who saw a model's opinion first.")
    ] = False
    without_quality_control: Annotated[
        bool,
        typer.Option("--without-quality-control", help="No labels of PRM800K's quality-control questions."),
    ] = False
    without_screening: Annotated[
        bool, typer.Option("--without-screening", help="No labels of PRM800K's initial screening questions.")
    ] = False
    min_labellers: Annotated[int, typer.Option(min=1, help="Only steps and pairs with as many labellers.")] = 1
    min_agreement: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least share of a step's or pair's labellers who agree.")
    ] = 0.0
    adjudicated: Annotated[
        Literal["prefer", "ignore", "only"],
        typer.Option(
            help="A reviewer's decision goes before labels (but not where each labeller's steps are a row), or is "
            "ignored; or only what was decided is taken."
        ),
    ] = "prefer"

    def filter(self, heeded: Collection[str] | None = None) -> dict[str, Any]:
        """The fields of `exports.queries.labels.LabelFilter`, or those of them that a part of a set heeds."""
        found = {
            "annotators": tuple(self.annotator),
            "annotator_kinds": tuple(map(str, self.annotator_kind)),
            "annotators_refused": tuple(self.no_annotator),
            "label_sources": tuple(self.label_source),
            "projects": tuple(self.project),
            "guidelines": tuple(self.guideline),
            "since": None if self.since is None else self.since.replace(tzinfo=UTC),
            "until": None if self.until is None else self.until.replace(tzinfo=UTC),
            "without_suggestions": self.without_suggestions,
            "without_quality_control": self.without_quality_control,
            "without_screening": self.without_screening,
            "min_labellers": self.min_labellers,
            "min_agreement": self.min_agreement,
            "adjudicated": self.adjudicated,
        }
        return {name: value for name, value in found.items() if heeded is None or name in heeded}


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
    trace: Annotated[bool, typer.Option(help="Write files that say where each row comes from.")] = True
    annotator_names: Annotated[
        bool,
        typer.Option(
            "--annotator-names", help="Name annotators in these files and in prm800k, who have pseudonyms otherwise."
        ),
    ] = False
    balance: Annotated[
        bool,
        typer.Option(
            "--balance",
            help="As many rows of each class in a split: leave out the others, by a lot. "
            "Sets without classes refuse it.",
        ),
    ] = False
    tokenizer: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="Count the rows' tokens with this tokenizer.")
    ] = None
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Tokens that the reader takes; tells how many rows are longer.")
    ] = None
    drop_longer: Annotated[
        bool, typer.Option("--drop-longer", help="Leave longer rows out, instead of only counting them.")
    ] = False
    push_to_hub: PushToHub = None
    yes: PushWithoutAsking = False
    db: Db = None
    json: Json = False

    def write(self, wanted: "TrainingSet", format: str | None = None, marks: "Marks | None" = None) -> None:
        """Exports the set in a layout of its config, and prints what became of its rows."""
        from exports.formats.layouts import layout_of
        from exports.queries.exporting import Target, export_set
        from stepmark.splits import read_shares

        if self.push_to_hub is not None:
            check_can_ask(yes=self.yes)
        options = None if marks is None else marks.options()
        layout = layout_of(wanted.config, format, options)
        target = Target(
            folder=self.out,
            file_format=self.file_format,
            shares=read_shares(self.split, name="--split"),
            split_seed=self.split_seed,
            rows_per_shard=self.rows_per_shard,
            overwrite=self.overwrite,
            trace="names" if self.trace and self.annotator_names else "pseudonyms" if self.trace else "none",
            balance=self.balance,
            lengths=self._lengths(),
        )
        engine = open_db(self.db)
        with progress_bar(f"export {wanted.config.replace('_', '-')}") as show:
            report = export_set(engine, target, wanted, layout=layout, options=options, progress=show)
        _print(report, json=self.json)
        push_exported(self.out, self.push_to_hub, yes=self.yes, as_answer=not self.json)

    def _lengths(self) -> "Lengths | None":
        from exports.queries.lengths import Lengths, token_counter
        from stepmark.errors import SettingsError

        if (self.tokenizer is None) != (self.max_length is None) or (self.drop_longer and self.tokenizer is None):
            raise SettingsError(
                "--tokenizer and --max-length go together, and --drop-longer with both: tokens are counted by the "
                "reader's tokenizer, and held against what it takes"
            )
        if self.tokenizer is None or self.max_length is None:
            return None
        return Lengths(self.tokenizer, token_counter(self.tokenizer), self.max_length, self.drop_longer)


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
