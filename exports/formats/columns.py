"""The columns of each training set, as the tools that read them name and type them.

Sources: TRL's dataset formats (stepwise supervision, unpaired preference, preference) and the Best-of-N test
file of prompts with labelled answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "texts", "bool", "bools", "ints", "float"]
"""Type of a column: one value, or (plural) a list of them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a training set."""

    name: str
    kind: Kind
    meaning: str


_PROMPT = Column("prompt", "text", "the problem's statement")

PRM = (
    _PROMPT,
    Column("completions", "texts", "the rendered steps in order, and the answer section where it is labelled"),
    Column("labels", "bools", "for each completion, whether it is right"),
)
ORM = (
    _PROMPT,
    Column("completion", "text", "the whole solution"),
    Column("label", "bool", "whether its final answer is right"),
)
PREFERENCE = (
    _PROMPT,
    Column("chosen", "text", "the better solution"),
    Column("rejected", "text", "the worse solution"),
)
MARGIN = Column("margin", "float", "strength of the choice: 1 slightly, 2 clearly, 3 far better; 0 not asked")
BEST_OF_N = (
    _PROMPT,
    Column("answers", "texts", "solutions of the problem, in the order they were sampled"),
    Column("labels", "ints", "for each, 1 if its final answer is right, else 0"),
)
TIES = (
    _PROMPT,
    Column("a", "text", "one solution"),
    Column("b", "text", "the other"),
    Column("choice", "text", "`equal` or `both_bad`"),
)

CONFIGS: Mapping[str, tuple[Column, ...]] = {
    "prm": PRM,
    "orm": ORM,
    "preference": PREFERENCE,
    "best_of_n": BEST_OF_N,
}
"""The columns of each config; a preference set may have `margin` after them."""


def arrow_schema(columns: tuple[Column, ...]) -> Any:
    """The columns as a pyarrow schema."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "bool": pa.bool_(),
        "bools": pa.list_(pa.bool_()),
        "ints": pa.list_(pa.int64()),
        "float": pa.float64(),
    }
    return pa.schema([pa.field(column.name, types[column.kind]) for column in columns])
