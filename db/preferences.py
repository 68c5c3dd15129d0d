"""Pairs of solutions for a judge, and its preferences: which pairs, storing what it chose, and reading it back.

A judge is a model with its prompt, constitution, sampling and number of votes: another of any of these is another
labeller. Each pair is stored once for each judge, whichever run asks.
"""

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from stepmark.agreement.judges import GivenChoice
from stepmark.errors import SettingsError
from stepmark.judging import Choice, JudgedPair, Judgement, PairRule, draw_pairs

from .annotations import annotator_id
from .bulk import bulk_insert, table_of
from .connect import reading
from .models import Annotation, Annotator, Preference, Problem, Run, Solution
from .selection import check_sources, name_like, next_problems, solution_in_source

_PROBLEMS_OF_CHUNK = 100
_CHUNK = 500
_JUDGE_FIELDS = ("engine", "prompt", "constitution", "sampling", "votes")
"""What of a run's record makes a judge; which pairs it was shown does not."""
_NAME_CHARS = 128


@dataclass(frozen=True, slots=True)
class PairSelection:
    """Which pairs of solutions a run is about. Of equal texts of one problem, only the first stands in a pair."""

    rule: PairRule = "random"
    per_problem: int = 4
    """Pairs of one problem at most."""
    source: str | None = None
    """Problems or solutions of this source; a pattern may hold `*`. None takes all."""
    generator: str | None = None
    """Only solutions by this model, or pattern with `*`."""
    limit: int | None = None
    """The first so many pairs."""
    seed: int = 0
    """Another seed draws other pairs."""

    def __post_init__(self) -> None:
        """Refuses an unknown rule.

        Raises:
            SettingsError: There is no such rule.
        """
        if self.rule not in get_args(PairRule):
            raise SettingsError(f"{self.rule!r} is no rule for pairs; take {', '.join(get_args(PairRule))}")


@dataclass(frozen=True, slots=True)
class PairToJudge:
    """Two solutions of one problem; `a` has the smaller id."""

    problem_id: int
    statement: str
    a_id: int
    b_id: int
    a_text: str
    b_text: str


def count_pairs(engine: sa.Engine, selection: PairSelection, run_id: int | None) -> int:
    """How many pairs `iterate_pairs` yields.

    Raises:
        InputError: No source is named as the selection says.
    """
    if selection.source is not None:
        with reading(engine) as session:
            check_sources(session, [selection.source])
    return sum(len(pairs) for pairs in _open_pairs(engine, selection, run_id))


def iterate_pairs(engine: sa.Engine, selection: PairSelection, run_id: int | None) -> Iterator[list[PairToJudge]]:
    """Yields the pairs in chunks, without those that the run's judge has judged; no transaction stays open.

    The limit counts before these are left out, so that a resumed run is about the same pairs.
    """
    query = sa.select(Solution.solution_id, Solution.text, Problem.problem_id, Problem.statement).join(Problem)
    for pairs in _open_pairs(engine, selection, run_id):
        ids = sorted({solution_id for pair in pairs for solution_id in pair})
        rows: dict[int, Any] = {}
        with reading(engine) as session:
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                rows |= {
                    row.solution_id: row for row in session.execute(query.where(Solution.solution_id.in_(chunk)))
                }
        yield [PairToJudge(rows[a].problem_id, rows[a].statement, a, b, rows[a].text, rows[b].text) for a, b in pairs]


def _open_pairs(
    engine: sa.Engine, selection: PairSelection, run_id: int | None
) -> Iterator[Sequence[tuple[int, int]]]:
    left = selection.limit
    with reading(engine) as session:
        judge = None if run_id is None else _judge_key(session, run_id)
    for pairs in _drawn_pairs(engine, selection):
        if left is not None:
            pairs = pairs[:left]
            left -= len(pairs)
        if judge is not None:
            named = {_submission_id(judge, *pair): pair for pair in pairs}
            with reading(engine) as session:
                for done in _there(session, list(named)):
                    del named[done]
            pairs = list(named.values())
        if pairs:
            yield pairs
        if left == 0:
            return


def _drawn_pairs(engine: sa.Engine, selection: PairSelection) -> Iterator[list[tuple[int, int]]]:
    """The pairs of ids of the selection, by problem, a few problems at a time."""
    belongs = solution_in_source(selection.source)
    if selection.generator is not None:
        belongs &= name_like(Solution.generator, selection.generator)
    after = 0
    while True:
        problems = next_problems(belongs, after=after, n=_PROBLEMS_OF_CHUNK)
        query = (
            sa.select(
                Solution.problem_id,
                Problem.statement_hash,
                Solution.solution_id,
                Solution.text_hash,
                Solution.outcome,
            )
            .join(problems, problems.c.problem_id == Solution.problem_id)
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .where(belongs)
            .order_by(Solution.problem_id, Solution.solution_id)
        )
        with reading(engine) as session:
            rows = session.execute(query).all()
            compared = _pairs_of_people(session, problems) if rows and selection.rule == "compared" else {}
        if not rows:
            return
        after = rows[-1].problem_id
        chunk: list[tuple[int, int]] = []
        for problem_id, group in groupby(rows, key=lambda row: row.problem_id):
            if selection.rule == "compared":
                there = {row.solution_id: row for row in group}
                pairs = [pair for pair in compared.get(problem_id, ()) if there.keys() >= set(pair)]
                if pairs:
                    dice = random.Random(f"{selection.seed}:{there[pairs[0][0]].statement_hash}")
                    chunk += sorted(dice.sample(pairs, min(selection.per_problem, len(pairs))))
                continue
            first_of_text: dict[str, Any] = {}
            for row in group:
                first_of_text.setdefault(row.text_hash, row)
            solutions = list(first_of_text.values())
            drawn = draw_pairs(
                [row.outcome for row in solutions],
                selection.rule,
                most=selection.per_problem,
                seed=f"{selection.seed}:{solutions[0].statement_hash}",
            )
            chunk += [(solutions[i].solution_id, solutions[j].solution_id) for i, j in drawn]
        yield chunk


def _pairs_of_people(session: Session, problems: sa.Subquery) -> dict[int, list[tuple[int, int]]]:
    """The pairs of different texts that people compared, by problem, in ascending order."""
    a, b = aliased(Solution), aliased(Solution)
    query = (
        sa.select(a.problem_id, a.solution_id, b.solution_id)
        .select_from(Preference)
        .join(a, a.solution_id == Preference.solution_a_id)
        .join(b, b.solution_id == Preference.solution_b_id)
        .join(problems, problems.c.problem_id == a.problem_id)
        .join(Annotation, Annotation.annotation_id == Preference.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(Annotator.kind == "person", Annotation.superseded_by_id.is_(None), a.text_hash != b.text_hash)
    )
    found: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for problem_id, a_id, b_id in session.execute(query):
        found[problem_id].add((min(a_id, b_id), max(a_id, b_id)))
    return {problem_id: sorted(pairs) for problem_id, pairs in found.items()}


@dataclass(frozen=True, slots=True)
class JudgedAnnotation:
    """What is stored of a pair that was judged."""

    a_id: int
    b_id: int
    choice: Choice
    judgement: Judgement
    request_ids: tuple[tuple[int | None, ...], tuple[int | None, ...]]
    """Of the votes, in their order; None where another process stored the sample."""
    rationale: str


def add_judged(session: Session, run_id: int, judged: Sequence[JudgedAnnotation]) -> list[JudgedAnnotation]:
    """Stores preferences of a run's judge, each pair once; returns those that are new."""
    if not judged:
        return []
    judge, model = _judge_key(session, run_id), session.scalar(sa.select(Run.model).where(Run.run_id == run_id))
    # A local model is named by its path, whose end tells more than its beginning.
    annotator = annotator_id(session, f"{(model or '')[8 - _NAME_CHARS :]}#{judge[:7]}", kind="model")
    by_submission = {_submission_id(judge, one.a_id, one.b_id): one for one in judged}
    rows = [
        {
            "submission_id": submission,
            "kind": "preference",
            "annotator_id": annotator,
            "run_id": run_id,
            "solution_id": one.a_id,
            "comment": one.rationale,
            "extra": {
                "forth": list(one.judgement.forth),
                "back": list(one.judgement.back),
                "forth_requests": list(one.request_ids[0]),
                "back_requests": list(one.request_ids[1]),
                "is_flip": one.judgement.is_flip,
            },
        }
        for submission, one in by_submission.items()
    ]
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert = sqlite.insert(Annotation) if is_sqlite else postgresql.insert(Annotation)
    added = session.execute(
        insert.on_conflict_do_nothing(index_elements=["submission_id"]).returning(
            Annotation.annotation_id, Annotation.submission_id
        ),
        rows,
    ).all()
    preferences = [
        {
            "annotation_id": annotation_id,
            "solution_a_id": by_submission[submission].a_id,
            "solution_b_id": by_submission[submission].b_id,
            "choice": by_submission[submission].choice,
        }
        for annotation_id, submission in added
    ]
    bulk_insert(session, table_of(Preference), preferences)
    return [by_submission[submission] for _, submission in added]


def _judge_key(session: Session, run_id: int) -> str:
    record = session.scalar(sa.select(Run.record).where(Run.run_id == run_id)) or {}
    said = json.dumps([record.get(name) for name in _JUDGE_FIELDS], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _submission_id(judge: str, a_id: int, b_id: int) -> str:
    return f"judge:{judge}:{a_id}:{b_id}"


def _there(session: Session, submissions: Sequence[str]) -> list[str]:
    found: list[str] = []
    for start in range(0, len(submissions), _CHUNK):
        chunk = submissions[start : start + _CHUNK]
        found += session.scalars(sa.select(Annotation.submission_id).where(Annotation.submission_id.in_(chunk)))
    return found


# ------------------------------------------------------------ reading back


def list_judges(engine: sa.Engine) -> list[tuple[int, str, str]]:
    """The models that judged pairs: id and name as an annotator, and the model."""
    query = (
        sa.select(Annotator.annotator_id, Annotator.name, sa.func.max(Run.model))
        .join(Annotation, Annotation.annotator_id == Annotator.annotator_id)
        .join(Run, Run.run_id == Annotation.run_id)
        .where(Annotator.kind == "model", Annotation.kind == "preference")
        .group_by(Annotator.annotator_id, Annotator.name)
        .order_by(Annotator.annotator_id)
    )
    with reading(engine) as session:
        return [(id_, name, model) for id_, name, model in session.execute(query)]


def judged_pairs(engine: sa.Engine, judge_id: int) -> Iterator[JudgedPair]:
    """Yields what a judge chose, with what is known of the solutions and what people chose of the same pairs."""
    a, b = aliased(Solution), aliased(Solution)
    query = (
        sa.select(
            Annotation.extra,
            Preference.solution_a_id,
            Preference.solution_b_id,
            Preference.choice,
            a.problem_id,
            sa.func.length(a.text).label("a_length"),
            sa.func.length(b.text).label("b_length"),
            a.outcome.label("a_outcome"),
            b.outcome.label("b_outcome"),
            a.generator.label("a_generator"),
            b.generator.label("b_generator"),
        )
        .join(Preference, Preference.annotation_id == Annotation.annotation_id)
        .join(a, a.solution_id == Preference.solution_a_id)
        .join(b, b.solution_id == Preference.solution_b_id)
        .where(Annotation.annotator_id == judge_id, Annotation.superseded_by_id.is_(None))
        .order_by(Annotation.annotation_id)
        .execution_options(yield_per=1000)
    )
    with reading(engine) as session:
        people = _choices_of_people(session)
        for row in session.execute(query):
            yield JudgedPair(
                row.choice,
                Judgement(tuple(row.extra["forth"]), tuple(row.extra["back"])),
                (row.a_length, row.b_length),
                (row.a_outcome, row.b_outcome),
                (row.a_generator, row.b_generator),
                people.get((row.solution_a_id, row.solution_b_id), ()),
                str(row.problem_id),
            )


def _choices_of_people(session: Session) -> Mapping[tuple[int, int], tuple[Choice, ...]]:
    """What people chose, by pair in the order of ids; a choice of neither, since both are bad, is `equal`."""
    query = (
        sa.select(Preference.solution_a_id, Preference.solution_b_id, Preference.choice)
        .join(Annotation, Annotation.annotation_id == Preference.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(Annotator.kind == "person", Annotation.superseded_by_id.is_(None))
    )
    found: dict[tuple[int, int], tuple[Choice, ...]] = {}
    for a_id, b_id, choice in session.execute(query):
        pair = (min(a_id, b_id), max(a_id, b_id))
        found[pair] = (*found.get(pair, ()), _choice_by_id(choice, is_turned=a_id > b_id))
    return found


def _choice_by_id(choice: str, *, is_turned: bool) -> Choice:
    """A stored choice with the solution of the smaller id as `a`; a choice of neither is `equal`."""
    turned: Mapping[str, tuple[Choice, Choice]] = {"a": ("a", "b"), "b": ("b", "a")}
    return turned.get(choice, ("equal", "equal"))[is_turned]


def given_choices(engine: sa.Engine, *, source: str | None = None) -> Iterator[GivenChoice]:
    """Yields every current choice of people and models between two solutions, in the order of time.

    Args:
        engine: The database.
        source: Only of problems or solutions of this source; a pattern may hold `*`.

    Raises:
        InputError: No source is named so.
    """
    a, b = aliased(Solution), aliased(Solution)
    query = (
        sa.select(
            Annotator.name,
            Annotator.kind,
            Annotation.extra,
            Preference.choice,
            a.solution_id.label("a_id"),
            b.solution_id.label("b_id"),
            a.problem_id,
            sa.func.length(a.text).label("a_length"),
            sa.func.length(b.text).label("b_length"),
        )
        .select_from(Preference)
        .join(Annotation, Annotation.annotation_id == Preference.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .join(a, a.solution_id == Preference.solution_a_id)
        .join(b, b.solution_id == Preference.solution_b_id)
        .where(Annotation.superseded_by_id.is_(None), Annotator.kind.in_(("person", "model")))
        .order_by(Annotation.annotation_id)
        .execution_options(yield_per=1000)
    )
    with reading(engine) as session:
        if source is not None:
            check_sources(session, [source])
            of_source = sa.select(Solution.solution_id).where(solution_in_source(source))
            query = query.where(Preference.solution_a_id.in_(of_source), Preference.solution_b_id.in_(of_source))
        for row in session.execute(query):
            is_turned = row.a_id > row.b_id
            votes = None
            if row.extra is not None and {"forth", "back"} <= row.extra.keys() and not is_turned:
                votes = Judgement(tuple(row.extra["forth"]), tuple(row.extra["back"]))
            yield GivenChoice(
                row.name,
                row.kind == "person",
                (min(row.a_id, row.b_id), max(row.a_id, row.b_id)),
                row.problem_id,
                _choice_by_id(row.choice, is_turned=is_turned),
                (row.b_length, row.a_length) if is_turned else (row.a_length, row.b_length),
                votes,
            )
