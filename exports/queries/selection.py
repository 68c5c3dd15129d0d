"""Which solutions a set is made of, read in pages that hold whole problems.

A page is what a few range queries fetch: the database never sees a query for one solution, and memory holds
about two thousand solutions whatever the table's size.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Solution
from db.selection import solution_in_source
from exports.formats.columns import Column
from stepmark.steps import render_solution

_PAGE = 2_000

TextForm = Literal["steps", "written"]
"""A whole solution as text: its steps rendered (`Step 1: ...`, `# Answer`), or as it was written."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which solutions, and how many of them."""

    sources: tuple[str, ...] = ()
    """Names of sources, `*` for any text; an imported solution is selected by its own source, a sampled one by any
    source of its problem. Empty: all."""
    run_id: int | None = None
    """Only what this run sampled."""
    max_per_problem: int | None = None
    """Rows of one problem at most; the first ones are kept."""
    keep_duplicates: bool = False
    """Keep rows of equal texts, which are otherwise kept once per labeller."""


@dataclass(slots=True)
class Counts:
    """What became of the rows."""

    n_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    more: Counter[str] = field(default_factory=Counter)
    """What else is worth knowing: `ties`, `problems_without_pairs`, ..."""


@dataclass(frozen=True, slots=True)
class SetRow:
    """A row of a training set, and what decides where it goes."""

    family: str
    row: dict[str, Any]
    source: str
    licence: str | None
    is_aside: bool = False
    """A tie: kept beside the set."""
    trust: str | None = None
    """How the reference answer of its problem is known, as `Problem.reference_trust` says."""
    trace: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: lists under `problem_ids`, `solution_ids`, `annotation_ids`, `critique_ids`, `run_ids`,
    `annotator_ids`, `sources`; and `rule`, a few words on what made the target. What is missing is empty."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A set that can be exported: how its rows are found, and the flags that say so in its manifest."""

    config: str
    """One of `exports.formats.columns.CONFIGS`."""
    selection: Selection
    flags: Mapping[str, Any]
    """What was asked beside the selection."""
    rows: Callable[[Session, tuple[Column, ...], Counts], Iterator[SetRow]]
    """Yields the rows, each with these columns, rows of one problem one after the other."""
    columns: Callable[[Session], tuple[Column, ...]] | None = None
    """The columns, where they depend on what the database holds."""


@dataclass(frozen=True, slots=True)
class Page:
    """A range of problems, both ends included."""

    first: int
    last: int | None
    """None: to the end."""

    def holds(self, problem_id: Any) -> sa.ColumnElement[bool]:
        """The condition that a problem is in the range."""
        condition: sa.ColumnElement[bool] = problem_id >= self.first
        return condition if self.last is None else condition & (problem_id <= self.last)


def pages(session: Session) -> Iterator[Page]:
    """Cuts the problems that have solutions into ranges of about as many solutions each."""
    first: int | None = session.scalar(sa.select(sa.func.min(Solution.problem_id)))
    while first is not None:
        of_page = sa.select(Solution.problem_id).where(Solution.problem_id >= first).order_by(Solution.problem_id)
        last: int | None = session.scalar(of_page.offset(_PAGE).limit(1))
        yield Page(first, last)
        if last is None:
            return
        first = session.scalar(sa.select(sa.func.min(Solution.problem_id)).where(Solution.problem_id > last))


def is_selected(selection: Selection, solution: Any = Solution) -> sa.ColumnElement[bool]:
    """The condition that a solution is in the selection; `solution` may be an alias."""
    conditions: list[sa.ColumnElement[bool]] = []
    if selection.run_id is not None:
        conditions.append(solution.run_id == selection.run_id)
    conditions.append(solution_in_source(*selection.sources, solution=solution))
    return sa.and_(*conditions)


def whole_text(row: Any, form: TextForm) -> str:
    """A solution as one text; a solution without steps and answer is its text as written."""
    if form == "steps" and (row.steps or row.answer is not None):
        return render_solution(row.steps, row.answer)
    text: str = row.text
    return text.strip()


def source_name(*solutions: Any) -> str:
    """The name under which the manifest counts a row's origin: its solutions' sources, or runs."""
    return " + ".join(sorted({row.source if row.source is not None else f"run/{row.run_id}" for row in solutions}))


def joint_licence(licences: Sequence[str | None]) -> str | None:
    """The licence of what several solutions make together, as an SPDX expression; None where one is unknown.

    >>> joint_licence(["MIT", "Apache-2.0", "MIT"]), joint_licence(["MIT", None])
    ('Apache-2.0 AND MIT', None)
    """
    known = [licence for licence in licences if licence is not None]
    return " AND ".join(sorted(set(known))) if len(known) == len(licences) else None


class RowLimits:
    """Leaves out rows of equal text, and rows beyond the most that one problem may give."""

    def __init__(self, selection: Selection, counts: Counts) -> None:
        self._selection = selection
        self._counts = counts
        self._problem_id: int | None = None
        self._seen: set[tuple[Any, ...]] = set()
        self._n_kept = 0

    def takes(self, problem_id: int, *key: Any) -> bool:
        """Whether to keep a row with this key; rows of one problem come one after the other."""
        if problem_id != self._problem_id:
            self._problem_id, self._seen, self._n_kept = problem_id, set(), 0
        if not self._selection.keep_duplicates:
            if key in self._seen:
                self._counts.dropped["duplicate"] += 1
                return False
            self._seen.add(key)
        most = self._selection.max_per_problem
        if most is not None and self._n_kept >= most:
            self._counts.dropped["over_max_per_problem"] += 1
            return False
        self._n_kept += 1
        return True
