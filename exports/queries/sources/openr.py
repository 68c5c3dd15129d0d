"""OpenR: values of solution prefixes by rollouts, flat (a list of prefixes) or as a tree.

Each path from the question to a leaf is a solution, and the nodes along it give the values of its prefixes. The
source holds shares, no counts: the counts stored are the smallest that give all shares of a row. A prefix that stands
there twice, with a share each, was rolled out twice: its counts are added up.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import Any

from stepmark.records import ImportedRow, ProblemRecord, SolutionRecord, StepValueRecord
from stepmark.step_values import START, StepValue
from stepmark.steps import SEPARATOR

from .options import ImportOptions
from .rows import RowError, SourceRow, as_text, required, rest, shown

_MOST_ROLLOUTS = 1024
_KEYS = ("question", "final_answer", "reasoning_steps")

_Node = tuple[str, tuple[Fraction, ...]]
"""What a node adds to the text before it, and the shares of rollouts from there that are right."""


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row of either shape."""
    value = row.value
    question = required(value, "question", str)
    key = row.source_key  # the ids of questions repeat
    steps = value.get("reasoning_steps")
    if isinstance(steps, dict):
        paths = list(_tree_paths(steps, ()))
    elif isinstance(steps, list):
        paths = _flat_paths(question, steps)
    else:
        raise RowError("wrong_type", f"'reasoning_steps' should be a list or a tree, not {shown(steps)}")
    n = lcm(*(share.denominator for path in paths for _, shares in path for share in shares))
    if n > _MOST_ROLLOUTS:
        raise RowError("no_share", f"no count of rollouts up to {_MOST_ROLLOUTS} gives all shares of this row")
    problem = ProblemRecord(
        statement=question,
        source=options.source,
        source_key=key,
        reference_answer=as_text(value, "final_answer"),
        licence=options.licence,
        extra=rest(value, *_KEYS) or None,
    )
    solutions = [_solution(path, f"{key}/{number}", n, options) for number, path in enumerate(paths) if len(path) > 1]
    return ImportedRow(problem, tuple(solutions), left_out=() if solutions else ("no_steps",))


def _solution(path: Sequence[_Node], key: str, n: int, options: ImportOptions) -> SolutionRecord:
    texts = [text for text, _ in path[1:]]
    return SolutionRecord(
        source=options.source,
        source_key=key,
        text=SEPARATOR.join(texts),
        steps=tuple(text.strip() for text in texts),
        licence=options.licence,
        step_values=tuple(
            StepValueRecord(index, StepValue(int(sum(shares) * n), n * len(shares)))
            for index, (_, shares) in enumerate(path, start=START)
        ),
    )


def _share(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RowError("label_out_of_range", f"'mc_value' should be from 0 to 1, not {shown(value)}")
    return Fraction(value).limit_denominator(_MOST_ROLLOUTS)


def _tree_paths(node: Mapping[str, Any], above: tuple[_Node, ...]) -> Iterator[tuple[_Node, ...]]:
    path = (*above, (required(node, "text", str, where=" of a node"), (_share(node.get("mc_value")),)))
    children = required(node, "children", list, where=" of a node")
    if not children:
        yield path
    for child in children:
        if not isinstance(child, dict):
            raise RowError("wrong_type", f"each of 'children' should be a node, not {shown(child)}")
        yield from _tree_paths(child, path)


def _flat_paths(question: str, prefixes: Sequence[Any]) -> list[tuple[_Node, ...]]:
    """The prefixes that no other one goes on from, each with those that it goes on from itself."""
    shares: dict[str, tuple[Fraction, ...]] = {}
    for one in prefixes:
        if not isinstance(one, dict):
            raise RowError("wrong_type", f"each of 'reasoning_steps' should be an object, not {shown(one)}")
        text = required(one, "solution_prefix", str, where=" of a step")
        if not text.startswith(question):
            raise RowError("no_prefix", f"'solution_prefix' should begin with the question, not {shown(text)}")
        shares[text] = (*shares.get(text, ()), _share(one.get("mc_value")))
    ordered = sorted(shares)
    leaves = [
        text for text, following in zip(ordered, [*ordered[1:], ""], strict=True) if not following.startswith(text)
    ]
    paths = []
    for leaf in leaves:
        along = [text for text in ordered if leaf.startswith(text)]
        begins = [question, *(text for text in along if text != question)]
        ends = [text[len(begun) :] for begun, text in pairwise(begins)]
        start = shares.get(question)
        if start is None:
            raise RowError("no_prefix", "no prefix is the question alone")
        paths.append(((question, start), *((end, shares[text]) for end, text in zip(ends, begins[1:], strict=True))))
    return paths
