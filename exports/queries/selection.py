"""Which solutions a set is made of, read in pages that hold whole problems.

A page is what a few range queries fetch: the database never sees a query for one solution, and memory holds
about two thousand solutions whatever the table's size.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import is_among
from db.models import Problem, Solution
from db.selection import solution_in_source
from exports.formats.columns import Column
from stepmark.duplicates import jaccard, numbers_of, shingles, words_of
from stepmark.steps import render_solution

_PAGE = 2_000

TextForm = Literal["steps", "written"]
"""A whole solution as text: its steps rendered (`Step 1: ...`, `# Answer`), or as it was written."""


Outcome = Literal["right", "wrong", "unknown"]

UNKNOWN = "unknown"
"""How flags and manifest name the licence of what has none on record."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which solutions, and how many of them.

    What is of another source, run or outcome is not read; what the rest leaves out is counted by reason.
    """

    sources: tuple[str, ...] = ()
    """Names of sources, `*` for any text; an imported solution is selected by its own source, a sampled one by any
    source of its problem. Empty: all."""
    run_id: int | None = None
    """Only what this run sampled."""
    max_per_problem: int | None = None
    """Rows of one problem at most; the first ones are kept."""
    keep_duplicates: bool = False
    """Keep rows of equal texts, which are otherwise kept once per labeller."""
    outcomes: tuple[Outcome, ...] = ()
    """Only solutions whose final answer is so; empty: all."""
    licences: tuple[str, ...] = ()
    """Only rows all of whose licences are among these (`*` is any text, `unknown` for none on record); empty: all."""
    licences_refused: tuple[str, ...] = ()
    """No row with a licence among these."""
    min_pass: float | None = None
    """Least share of right ones among the problem's solutions of known outcome."""
    max_pass: float | None = None
    """Highest share of right ones."""
    keep_flagged: bool = False
    """Keep problems that `stepmark filter` flagged as duplicates or contaminated."""
    decontaminate: tuple[str, ...] = ()
    """Leave out problems that repeat one of these: sources, or files of statements."""
    max_similarity: float | None = None
    """Leave out a row whose texts are as similar as this or more to a kept row's of the problem, with the same
    numbers (Jaccard, word 5-grams); None: only equal texts count as repeats."""


@dataclass(slots=True)
class Counts:
    """What became of the rows."""

    n_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    more: Counter[str] = field(default_factory=Counter)
    """What else is worth knowing: `ties`, `problems_without_pairs`, ..."""
    agreement: dict[str, float] = field(default_factory=dict)
    """How far the labellers agree, by measure, where several judged the same."""


@dataclass(slots=True)
class SetRow:
    """A row of a training set, and what decides where it goes."""

    family: str
    row: dict[str, Any]
    source: str
    licence: str | None
    is_aside: bool = False
    """A tie: kept beside the set."""
    class_: str | None = None
    """What it is balanced by, where its cells do not tell."""
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
    """Yields the rows, each with these columns, rows of one problem one after the other; meanwhile the session is
    theirs alone, since they may be read ahead."""
    columns: Callable[[Session], tuple[Column, ...]] | None = None
    """The columns, where they depend on what the database holds."""
    class_of: Callable[[SetRow], Hashable] | None = None
    """The class of a row, for sets whose classes can be balanced; None: a row that always stays."""


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

    @property
    def bounds(self) -> dict[str, int]:
        """What a query with the condition `in_page` is asked with."""
        return {_FIRST: self.first, _LAST: _NO_END if self.last is None else self.last}


_FIRST, _LAST = "first_of_page", "last_of_page"
_NO_END = (1 << 63) - 1


def in_page(problem_id: Any) -> sa.ColumnElement[bool]:
    """`Page.holds` of a page yet to come, so that one query serves all pages: to make it takes longer than to ask."""
    first, last = (sa.bindparam(name, type_=sa.BigInteger) for name in (_FIRST, _LAST))
    condition: sa.ColumnElement[bool] = problem_id.between(first, last)
    return condition


def pages(session: Session) -> Iterator[Page]:
    """Cuts the problems that have solutions into ranges of about as many solutions each."""
    following = sa.select(sa.func.min(Solution.problem_id)).where(Solution.problem_id > sa.bindparam("last"))
    of_page = sa.select(Solution.problem_id).where(Solution.problem_id >= sa.bindparam("first"))
    end_of_page = of_page.order_by(Solution.problem_id).offset(_PAGE).limit(1)
    first: int | None = session.scalar(sa.select(sa.func.min(Solution.problem_id)))
    while first is not None:
        last: int | None = session.scalar(end_of_page, {"first": first})
        yield Page(first, last)
        if last is None:
            return
        first = session.scalar(following, {"last": last})


def is_selected(selection: Selection, solution: Any = Solution) -> sa.ColumnElement[bool]:
    """The condition that a solution is in the selection; `solution` may be an alias."""
    conditions: list[sa.ColumnElement[bool]] = []
    if selection.run_id is not None:
        conditions.append(solution.run_id == selection.run_id)
    if selection.outcomes:
        named = {"right": solution.outcome.is_(True), "wrong": solution.outcome.is_(False)}
        named["unknown"] = solution.outcome.is_(None)
        conditions.append(sa.or_(*(named[outcome] for outcome in selection.outcomes)))
    conditions.append(solution_in_source(*selection.sources, solution=solution))
    return sa.and_(*conditions)


@dataclass(frozen=True, slots=True)
class ProblemText:
    """What rows say of their problem; read once for all its solutions."""

    statement: str
    family: str
    trust: str | None


def problem_texts(session: Session, problem_ids: Collection[int]) -> dict[int, ProblemText]:
    """The statements of a page's problems, by id."""
    query = sa.select(Problem.problem_id, Problem.statement, Problem.family, Problem.reference_trust)
    found = session.connection().execute(query.where(is_among(session, Problem.problem_id, problem_ids)))
    return {id_: ProblemText(statement, family, trust) for id_, statement, family, trust in found}


def json_text(column: Any) -> sa.ColumnElement[str]:
    """A JSON column as the text that the database holds, to be read only where it is needed."""
    return sa.cast(column, sa.Text)


class WholeSolution(NamedTuple):
    """A solution as one text."""

    problem_id: int
    solution_id: int
    text: str
    """Its steps and answer rendered, or as it was written; never with white space around it."""
    text_hash: str
    n_steps: int
    outcome: bool | None
    outcome_rule: str | None
    source: str | None
    run_id: int | None
    licence: str | None


def whole_solutions(session: Session, page: Page, selection: Selection, form: TextForm) -> list[WholeSolution]:
    """The page's solutions in the selection, ordered by problem and solution."""
    query = _whole_query(selection, form)
    found = []
    for problem_id, solution_id, written, steps_, answer, *rest in (
        session.connection().execute(query, page.bounds).all()
    ):
        bare = orjson.loads(steps_)
        whole = render_solution(bare, answer) if written is None else written.strip()
        text_hash, *others = rest
        found.append(WholeSolution(problem_id, solution_id, whole, text_hash, len(bare), *others))
    return found


@lru_cache(maxsize=16)
def _whole_query(selection: Selection, form: TextForm) -> sa.Select[*tuple[Any, ...]]:
    steps = json_text(Solution.steps)
    is_bare = sa.and_(steps == "[]", Solution.answer.is_(None))
    text = sa.case((sa.true() if form == "written" else is_bare, Solution.text), else_=sa.null())
    return (
        sa.select(
            Solution.problem_id,
            Solution.solution_id,
            text,
            steps,
            Solution.answer,
            Solution.text_hash,
            Solution.outcome,
            Solution.outcome_rule,
            Solution.source,
            Solution.run_id,
            Solution.licence,
        )
        .where(in_page(Solution.problem_id), is_selected(selection))
        .order_by(Solution.problem_id, Solution.solution_id)
    )


def whole_text(row: Any, form: TextForm) -> str:
    """A solution as one text; a solution without steps and answer is its text as written."""
    if form == "steps" and (row.steps or row.answer is not None):
        return render_solution(row.steps, row.answer)
    text: str = row.text
    return text.strip()


def trace_of(*solutions: Any) -> dict[str, Any]:
    """The part of a row's trace that its solutions give."""
    return {
        "problem_ids": list(dict.fromkeys([row.problem_id for row in solutions])),
        "solution_ids": [row.solution_id for row in solutions],
        "run_ids": list(dict.fromkeys([row.run_id for row in solutions if row.run_id is not None])),
        "sources": list(dict.fromkeys([row.source for row in solutions if row.source is not None])),
    }


def source_name(*solutions: Any) -> str:
    """The name under which the manifest counts a row's origin: its solutions' sources, or runs."""
    if len(solutions) == 1 and solutions[0].source is not None:
        return str(solutions[0].source)
    return " + ".join(sorted({row.source if row.source is not None else f"run/{row.run_id}" for row in solutions}))


def joint_licence(licences: Sequence[str | None]) -> str | None:
    """The licence of what several solutions make together, as an SPDX expression; None where one is unknown.

    >>> joint_licence(["MIT", "Apache-2.0 AND MIT"]), joint_licence(["MIT", None])
    ('Apache-2.0 AND MIT', None)
    """
    known = [licence for licence in licences if licence is not None]
    parts = {part for licence in known for part in licence.split(" AND ")}
    return " AND ".join(sorted(parts)) if len(known) == len(licences) else None


def licence_refusal(selection: Selection, licence: str | None) -> str | None:
    """Why a licence (one, or several joined by `AND`) is not wanted; None where it is.

    >>> licence_refusal(Selection(licences=("MIT", "Apache-*")), "MIT AND CC-BY-NC-4.0")
    'licence'
    >>> licence_refusal(Selection(licences=("MIT",)), None)
    'licence_unknown'
    >>> licence_refusal(Selection(licences_refused=("cc-by-nc*",)), "Apache-2.0 AND MIT")
    """
    if not selection.licences and not selection.licences_refused:
        return None
    return _licence_refusal(selection.licences, selection.licences_refused, licence or UNKNOWN)


@lru_cache(maxsize=4096)
def _licence_refusal(wanted: tuple[str, ...], refused: tuple[str, ...], licence: str) -> str | None:
    for part in licence.lower().split(" and "):
        if (wanted and not _is_like(part, wanted)) or _is_like(part, refused):
            return "licence_unknown" if part == UNKNOWN else "licence"
    return None


def _is_like(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


class RowLimits:
    """Leaves out rows of equal or nearly equal texts, and rows beyond the most that one problem may give."""

    def __init__(self, selection: Selection, counts: Counts) -> None:
        self._selection = selection
        self._counts = counts
        self._problem_id: int | None = None
        self._seen: set[tuple[Any, ...]] = set()
        self._kept: list[tuple[tuple[Any, ...], set[str]]] = []
        self._n_kept = 0

    def takes(self, problem_id: int, *key: Any) -> bool:
        """Whether to keep a row with this key; rows of one problem come one after the other."""
        if problem_id != self._problem_id:
            self._problem_id, self._seen, self._kept, self._n_kept = problem_id, set(), [], 0
        if not self._selection.keep_duplicates:
            n_seen = len(self._seen)
            self._seen.add(key)
            if len(self._seen) == n_seen:
                self._counts.dropped["duplicate"] += 1
                return False
        if self._selection.max_similarity is not None and self._is_near(key, self._selection.max_similarity):
            self._counts.dropped["near_duplicate"] += 1
            return False
        most = self._selection.max_per_problem
        if most is not None and self._n_kept >= most:
            self._counts.dropped["over_max_per_problem"] += 1
            return False
        self._n_kept += 1
        return True

    def _is_near(self, key: Sequence[Any], threshold: float) -> bool:
        text = "\n".join(part for part in key if isinstance(part, str))
        labeller = [part for part in key if not isinstance(part, str)]
        same, grams = (*labeller, *numbers_of(text)), shingles(words_of(text))
        if any(same == other and jaccard(grams, kept) >= threshold for other, kept in self._kept):
            return True
        self._kept.append((same, grams))
        return False
