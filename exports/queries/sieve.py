"""Filters that hold for the rows of any set: terms, flags and difficulty of problems, repeats of test sets.

They look at where a row comes from, which its trace says, and not at its columns. What they need to know of
problems is read for about a thousand of them at a time.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Problem, ProblemFlag, ProblemSource, Solution
from db.selection import name_like
from stepmark.duplicates import TestSet
from stepmark.errors import InputError
from stepmark.problems import family_hash

from .selection import Selection, SetRow, joint_licence, licence_refusal

_CHUNK = 1_000
_MOST_KEPT = 50_000
_STATEMENT_KEYS = ("problem", "question", "prompt", "statement")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the filters know of a problem."""

    parent_id: int | None
    licences: frozenset[str | None] = frozenset()
    """Of the sources that hold it: its text may be taken from any of them; empty where no source does."""
    refusal: str | None = None
    """Why its rows are left out, whatever their solutions."""


class Sieve:
    """Tells of each row whether it stays, and under which licence."""

    def __init__(self, session: Session, selection: Selection) -> None:
        """Reads the test sets against which to decontaminate.

        Raises:
            InputError: There is no such source or file.
        """
        self._session = session
        self._selection = selection
        self._facts: dict[int, _Facts] = {}
        self._tests = _tests(session, selection.decontaminate)
        self._problem_ids: Sequence[int] | None = ()
        self._licence: str | None = None
        self._licence_of = lru_cache(maxsize=4096)(self._choose_licence)
        self._refusal, self._joint_licence = self._judge((), None)

    def judge(self, row: SetRow) -> str | None:
        """Why a row is left out; None where it stays. Its licence becomes that of its solutions and its problems."""
        problem_ids, licence = row.trace.get("problem_ids"), row.licence
        if problem_ids != self._problem_ids or licence != self._licence:  # rows of a problem come one after the other
            self._problem_ids, self._licence = problem_ids, licence
            self._refusal, self._joint_licence = self._judge(problem_ids, licence)
        row.licence = self._joint_licence
        return self._refusal

    def _judge(self, problem_ids: Sequence[int] | None, licence: str | None) -> tuple[str | None, str | None]:
        refusal = None
        for problem_id in problem_ids or ():
            facts = self._of(problem_id)
            refusal = refusal or facts.refusal
            licence, of_problem = self._licence_of(licence, self._licences_of(facts))
            refusal = refusal or of_problem
        return refusal or licence_refusal(self._selection, licence), licence

    def _licences_of(self, facts: _Facts) -> frozenset[str | None]:
        """A variant that stands in no source has the terms of the problem that it was derived from."""
        while not facts.licences and facts.parent_id is not None:
            facts = self._of(facts.parent_id)
        return facts.licences

    def _choose_licence(self, solution: str | None, problem: frozenset[str | None]) -> tuple[str | None, str | None]:
        """The licence of both together and why it is refused; of a problem's licences the best one is taken."""
        if not problem:
            return solution, None
        allowed = [one for one in problem if licence_refusal(self._selection, one) is None]
        if not allowed:
            reasons = [licence_refusal(self._selection, one) for one in problem]
            return solution, "licence" if "licence" in reasons else "licence_unknown"
        best = solution if solution in allowed else min(allowed, key=lambda one: (one is None, one or ""))
        return joint_licence([solution, best]), None

    def _of(self, problem_id: int) -> _Facts:
        if problem_id not in self._facts:
            if len(self._facts) > _MOST_KEPT:
                self._facts.clear()
            self._read(problem_id)
        return self._facts[problem_id]

    def _read(self, first: int) -> None:
        """Reads what is to know of the next problems from one on."""
        columns = (Problem.problem_id, Problem.parent_id, Problem.family)
        statement = Problem.statement if self._tests else sa.null()
        connection = self._session.connection()  # past the ORM's own loading
        found = connection.execute(
            sa.select(*columns, statement)
            .where(Problem.problem_id >= first)
            .order_by(Problem.problem_id)
            .limit(_CHUNK)
        ).all()
        here = (first, found[-1][0])
        sources = sa.select(ProblemSource.problem_id, ProblemSource.licence)
        licences: dict[int, set[str | None]] = {}
        for problem_id, licence in connection.execute(sources.where(ProblemSource.problem_id.between(*here))).all():
            licences.setdefault(problem_id, set()).add(licence)
        refusals = {**self._by_difficulty(here, [row[0] for row in found]), **self._by_flag(here)}
        for problem_id, parent_id, family, text in found:
            refusal = refusals.get(problem_id) or self._by_test_set(family, text)
            self._facts[problem_id] = _Facts(parent_id, frozenset(licences.get(problem_id, ())), refusal)

    def _by_flag(self, here: tuple[int, int]) -> dict[int, str]:
        if self._selection.keep_flagged:
            return {}
        query = sa.select(ProblemFlag.problem_id, ProblemFlag.kind).where(ProblemFlag.problem_id.between(*here))
        return {problem_id: f"{kind}_problem" for problem_id, kind in self._session.execute(query)}

    def _by_difficulty(self, here: tuple[int, int], problem_ids: Sequence[int]) -> dict[int, str]:
        least, most = self._selection.min_pass, self._selection.max_pass
        if least is None and most is None:
            return {}
        rate = sa.func.avg(sa.case((Solution.outcome.is_(True), 1.0), else_=0.0))
        query = sa.select(Solution.problem_id, rate).group_by(Solution.problem_id)
        query = query.where(Solution.problem_id.between(*here), Solution.outcome.is_not(None))
        rates = {problem_id: float(one) for problem_id, one in self._session.execute(query)}
        refusals = {}
        for problem_id in problem_ids:
            if (passed := rates.get(problem_id)) is None:
                refusals[problem_id] = "difficulty_unknown"
            elif (least is not None and passed < least) or (most is not None and passed > most):
                refusals[problem_id] = "difficulty"
        return refusals

    def _by_test_set(self, family: str, statement: str | None) -> str | None:
        found = (test_set.overlap(family, statement or "") for test_set in self._tests)
        return next((f"in_test_set_by_{overlap.rule}" for overlap in found if overlap is not None), None)


def _tests(session: Session, names: Sequence[str]) -> list[TestSet]:
    """The signatures of the sets against which to decontaminate, one for each name.

    Raises:
        InputError: A name is of no file and no source, or a file holds what is no statement.
    """
    tests = []
    for name in names:
        test_set = TestSet()
        found = _from_file(Path(name)) if Path(name).is_file() else _from_sources(session, name)
        n = 0
        for n, (family, statement) in enumerate(found, start=1):
            test_set.add(n, family, statement)
        if not n:
            raise InputError(f"--decontaminate {name!r} is no file of statements, and no source is named so")
        tests.append(test_set)
    return tests


def _from_sources(session: Session, pattern: str) -> Iterator[tuple[str, str]]:
    held = sa.exists().where(ProblemSource.problem_id == Problem.problem_id, name_like(ProblemSource.source, pattern))
    query = sa.select(Problem.family, Problem.statement).where(held).execution_options(yield_per=_CHUNK)
    yield from ((family, statement) for family, statement in session.execute(query))


def _from_file(path: Path) -> Iterator[tuple[str, str]]:
    """Reads JSON lines: texts, or objects with the statement as `problem`, `question`, `prompt` or `statement`."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError as err:
                raise InputError(f"{path}, line {number} is no JSON ({err}); give JSON lines") from err
            found = (row.get(key) for key in _STATEMENT_KEYS) if isinstance(row, dict) else iter((row,))
            statement = next((text for text in found if isinstance(text, str) and text.strip()), None)
            if statement is None:
                raise InputError(
                    f"{path}, line {number} has no statement; give a text, or an object with one of: "
                    + ", ".join(_STATEMENT_KEYS)
                )
            yield family_hash(statement), statement
