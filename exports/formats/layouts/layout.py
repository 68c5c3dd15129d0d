"""What a layout is: the columns that a tool reads, how a row gets there, and what is lost on the way."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..columns import Column, Kind

TURN: Kind = {"from": "text", "value": "text"}
TURNS: Kind = [TURN]
"""A conversation in ShareGPT's words."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What a tool is told on its command line, and its files must agree with."""

    step_token: str | None = None
    """What stands after each step: one single token of the reader's tokenizer. None: the layout's own."""
    reward_tokens: tuple[str, str] = ("+", "-")
    """What stands for a right and for a wrong step."""
    values: Literal["auto", "tokens", "floats"] = "auto"
    """Labels of steps as reward tokens or as floats; `auto`: floats where the labels are soft."""
    threshold: float = 0.5
    """From this probability on, a soft label is right, where only right and wrong can be said."""


@dataclass(frozen=True, slots=True)
class SolutionFacts:
    """What is known of a solution beside its rendered text."""

    key: str
    """Its name in its source, or `solution/ID`."""
    statement: str
    """The problem as the solution's source spells it."""
    generator: str | None
    steps: Sequence[str]
    """All of them, bare."""
    answer: str | None
    outcome: bool | None
    extra: Mapping[str, Any]
    """What its importer kept."""


@dataclass(frozen=True, slots=True)
class About:
    """What a layout may say of a row that stands in none of its columns."""

    number: int
    """0-based, among the rows that were written."""
    split: str
    source: str
    solutions: tuple[SolutionFacts, ...] = ()
    """In the row's order; only for layouts that ask for them."""


class CannotExpress(Exception):
    """The layout has no place for a row; the message is the reason under which it is counted as dropped."""


Convert = Callable[[Row, About, LayoutOptions, Counter[str]], dict[str, Any]]
"""Makes the tool's row of a row; counts what it leaves out, raises `CannotExpress` where it cannot."""


Columns = Callable[[tuple[Column, ...], LayoutOptions], tuple[Column, ...]]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one tool reads one training set."""

    name: str
    reader: str
    """Who reads it."""
    convert: Convert
    columns: Columns
    """Its columns, from those of the rows that it is made of."""
    heeds: tuple[str, ...] = ()
    """Names of the `LayoutOptions` that change it."""
    step_token: str | None = None
    """What stands after each step unless asked otherwise."""
    needs_solutions: bool = False
    """Whether it says more of the solutions than stands in the row."""
    beside: Callable[[Mapping[str, Sequence[str]]], Mapping[str, Any]] | None = None
    """A description of the set, `dataset_info.json`, of the names of each split's files."""

    def options(self, given: LayoutOptions) -> dict[str, Any]:
        """The options that it heeds, as the manifest records them."""
        told = {name: getattr(given, name) for name in self.heeds}
        if told.get("step_token", "") is None:
            told["step_token"] = self.step_token
        return told


def as_they_are(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    """The row as the queries yield it."""
    return dict(row)


def same_columns(columns: tuple[Column, ...], options: LayoutOptions) -> tuple[Column, ...]:
    """The columns of the rows that it is made of."""
    return columns


def these(*columns: Column) -> Columns:
    """Columns that do not depend on the rows'."""
    return lambda _, options: columns


def user(content: str) -> dict[str, str]:
    """What is asked, as a message."""
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    """What is answered, as a message."""
    return {"role": "assistant", "content": content}


def human(value: str) -> dict[str, str]:
    """What is asked, in ShareGPT's words."""
    return {"from": "human", "value": value}


def gpt(value: str) -> dict[str, str]:
    """What is answered, in ShareGPT's words."""
    return {"from": "gpt", "value": value}


def llamafactory_info(**description: Any) -> Callable[[Mapping[str, Sequence[str]]], Mapping[str, Any]]:
    """What LLaMA-Factory's `dataset_info.json` says of a set: a dataset for each file, named after its split.

    A dataset there is one file or all files of a folder, so a split of several files is several datasets.
    """

    def beside(files: Mapping[str, Sequence[str]]) -> Mapping[str, Any]:
        info = {}
        for split, names in files.items():
            for number, name in enumerate(names):
                dataset = split if len(names) == 1 else f"{split}_{number:05d}"
                info[dataset] = {"file_name": name, "formatting": "sharegpt", **description}
        return info

    return beside
