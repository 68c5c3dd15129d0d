"""The columns of each training set as the queries yield its rows, and the types that columns have.

Sources: TRL's dataset formats (stepwise supervision, unpaired preference, preference), CLoud's, and the Best-of-N
test file of prompts with labelled answers. What other tools read is made of these rows by `layouts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Word = Literal["text", "texts", "bool", "bools", "int", "ints", "float", "floats"]
Kind = Word | dict[str, "Kind"] | list["Kind"]
"""Type of a column: one value, or (plural) a list of them; fields by name, or a list of such."""

MESSAGES: Kind = [{"role": "text", "content": "text"}]
"""A conversation, as chat templates take it."""


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
SOFT_PRM = (
    *PRM[:2],
    Column("labels", "floats", "for each completion, how probable it is that it is right"),
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
MARGIN_OF_SHARES = Column(
    "margin", "float", "share of the labellers who chose it, less the share who chose the other: 1 where all agree"
)
MARGIN_OF_SCORES = Column("margin", "float", "difference of the two scores")


def margin_of(query: Mapping[str, Any]) -> Column:
    """What the margin of a preference set means, by the flags that made the set."""
    if query.get("labellers") == "share":
        return MARGIN_OF_SHARES
    return MARGIN_OF_SCORES if query.get("origin") == "scores" else MARGIN


BEST_OF_N = (
    _PROMPT,
    Column("answers", "texts", "solutions of the problem, in the order they were sampled"),
    Column("labels", "ints", "for each, 1 if its final answer is right, else 0"),
)
TIES = (
    _PROMPT,
    Column("a", "text", "one solution"),
    Column("b", "text", "the other"),
    Column("choice", "text", "`equal` or `both_bad`; of several labellers together `tie` or `no_majority`"),
)

SFT = (
    Column("prompt", "text", "what is asked: the problem within the prompt that the generator uses"),
    Column("completion", "text", "a solution with the right answer"),
)
CRITIQUE = (
    Column("prompt", "text", "what a critic is asked, with the problem and the solution"),
    Column("completion", "text", "the critique, which ends in its verdict"),
)
CRITIQUE_PREFERENCE = (
    CRITIQUE[0],
    Column("chosen", "text", "a critique whose verdict is right"),
    Column("rejected", "text", "a critique whose verdict is wrong, on the same"),
)
CLOUD = (
    Column("id", "text", "the pair"),
    *PREFERENCE,
    Column("chosen_feedback", "texts", "critiques of the better solution"),
    Column("rejected_feedback", "texts", "critiques of the worse solution"),
)
RL = (
    Column("prompt", "text", "what the model is asked"),
    Column("task", "text", "`solve` a problem, or `judge` a solution of one"),
    Column("ground_truth", "text", "the reference answer, or the right verdict: `pass` or `fail`"),
    Column("problem", "text", "the problem's statement; of `judge`, of the solution's own problem"),
    Column("id", "text", "what it is about: `problem/7`, or `solution/3/on/7`"),
    Column("trust", "text", "how the ground truth is known"),
    Column("n_steps", "int", "steps of the solution to judge; null of `solve`"),
)

CONFIGS: Mapping[str, tuple[Column, ...]] = {
    "prm": PRM,
    "orm": ORM,
    "preference": PREFERENCE,
    "best_of_n": BEST_OF_N,
    "sft": SFT,
    "critique": CRITIQUE,
    "critique_preference": CRITIQUE_PREFERENCE,
    "cloud": CLOUD,
    "rl": RL,
}
"""The columns of each config; a preference set may have `margin` after them, labels of `prm` may be floats."""


TRACE = (
    Column("problem_ids", "ints", "the problem; of critiques on a variant, both"),
    Column("solution_ids", "ints", "in the order of the row"),
    Column("annotation_ids", "ints", "the labels from which the target follows"),
    Column("annotators", "texts", "who gave them, by pseudonym unless names were asked for"),
    Column("critique_ids", "ints", "critiques in the row"),
    Column("run_ids", "ints", "runs that sampled or valued what is in the row"),
    Column("sources", "texts", "the sources of imported solutions"),
    Column("licence", "text", "of solutions and problem together; null where it is not known"),
    Column("rule", "text", "what made the target"),
)
"""The columns of trace files, whose rows say where the rows of a split come from: one for one, in the same order."""


def arrow_schema(columns: tuple[Column, ...]) -> Any:
    """The columns as a pyarrow schema."""
    import pyarrow as pa

    return pa.schema([pa.field(column.name, _arrow_type(column.kind)) for column in columns])


def _arrow_type(kind: Kind) -> Any:
    import pyarrow as pa

    if isinstance(kind, dict):
        return pa.struct([pa.field(name, _arrow_type(part)) for name, part in kind.items()])
    if isinstance(kind, list):
        return pa.list_(_arrow_type(kind[0]))
    one = {"text": pa.string(), "bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
    return one[kind] if kind in one else pa.list_(one[kind.removesuffix("s")])


def feature_yaml(name: str, kind: Kind, indent: str = "  ") -> list[str]:
    """A column as the `features` of a dataset card have it, in lines of YAML.

    >>> feature_yaml("labels", "bools")
    ['  - name: labels', '    list: bool']
    >>> feature_yaml("chosen", [{"role": "text"}])
    ['  - name: chosen', '    list:', '    - name: role', '      dtype: string']
    """
    lines = [f"{indent}- name: {name}"]
    if isinstance(kind, str):
        words = {"text": "string", "bool": "bool", "int": "int64", "float": "float64"}
        is_one = kind in words
        return [
            *lines,
            f"{indent}  {'dtype' if is_one else 'list'}: {words[kind if is_one else kind.removesuffix('s')]}",
        ]
    fields = kind[0] if isinstance(kind, list) else kind
    if not isinstance(fields, dict):
        raise TypeError(f"a list of {fields!r} is written in the plural")
    lines.append(f"{indent}  {'list' if isinstance(kind, list) else 'struct'}:")
    return lines + [line for part, of in fields.items() for line in feature_yaml(part, of, indent + "  ")]
