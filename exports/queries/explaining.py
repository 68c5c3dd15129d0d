"""Where a row of an exported set comes from: its problem, its solutions, who said what of them, and by which rule."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import is_among
from db.connect import reading
from db.models import (
    Adjudication,
    Annotation,
    Annotator,
    Critique,
    CritiqueJudgement,
    Preference,
    Problem,
    ProblemSource,
    Run,
    Solution,
    StepLabel,
    TaskAdjudication,
)
from db.secrets import pseudonyms
from exports.formats.manifest import read_manifest
from exports.formats.sets import read_counts, read_rows, read_trace
from stepmark.errors import InputError

_PLACE = re.compile(r"(?P<config>\w+)/(?P<split>\w+)/(?P<index>\d+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a set."""

    config: str
    split: str
    index: int
    """0-based, over all files of the split."""


@dataclass(frozen=True, slots=True)
class ExplainedProblem:
    """A problem of a row."""

    problem_id: int
    statement: str
    reference_trust: str | None
    sources: tuple[tuple[str, str, str | None], ...]
    """Source, key and licence, of each source that holds it."""


@dataclass(frozen=True, slots=True)
class ExplainedSolution:
    """A solution of a row."""

    solution_id: int
    source: str | None
    source_key: str | None
    run: str | None
    """The run that sampled it, with its model."""
    generator: str | None
    licence: str | None
    outcome: bool | None
    outcome_rule: str | None
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ExplainedCritique:
    """A critique of a row, and whether its verdict is confirmed as it stands now."""

    critique_id: int
    kind: str
    critic: str | None
    applied_to: int
    """The problem that the solution was applied to: a variant, or its own."""
    target_critique_id: int | None
    """The critique that this one judges."""
    verdict: str
    is_confirmed: bool | None
    confirmation_rule: str | None
    source: str | None
    source_key: str | None
    run: str | None
    """The run that sampled it, with its model."""


@dataclass(frozen=True, slots=True)
class ExplainedAnnotation:
    """What one labeller said, as it stands now."""

    annotation_id: int
    annotator: str
    kind: str
    created_at: dt.datetime
    guideline: str | None
    source: str | None
    suggestion_shown: bool | None
    labels: dict[int, int]
    choice: str | None
    """Of a pair, with the ids of its solutions; of a critique, the judgement, with the critique's id."""
    is_superseded: bool
    """Whether the labeller has corrected it since the export."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that led to a row."""

    place: Place
    row: dict[str, Any]
    rule: str
    """What made the target."""
    licence: str | None
    problems: tuple[ExplainedProblem, ...]
    solutions: tuple[ExplainedSolution, ...]
    critiques: tuple[ExplainedCritique, ...]
    annotations: tuple[ExplainedAnnotation, ...]
    decisions: tuple[str, ...]
    """What reviewers decided on the tasks of these annotations."""
    runs: tuple[str, ...]
    flags: dict[str, Any]
    """The choices that the set was exported under."""


def find_places(folder: Path, wanted: str, *, most: int = 5) -> list[Place]:
    """The rows that are meant: `CONFIG/SPLIT/INDEX`, or those that hold a text.

    Raises:
        InputError: There is no such row.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder} holds no manifest.json: it is no exported set, or its export was interrupted")
    named = _PLACE.fullmatch(wanted)
    if named is not None:
        place = Place(named["config"], named["split"], int(named["index"]))
        n_rows = read_counts(folder, place.config)[place.split]
        if place.index >= n_rows:
            raise InputError(f"{place.config}/{place.split} has {n_rows} rows, counted from 0: none is {place.index}")
        return [place]
    found = list(
        islice(_holding(folder, {name: list(e.splits) for name, e in manifest.configs.items()}, wanted), most)
    )
    if not found:
        raise InputError(
            f"no row of {folder} holds the text {wanted!r}; give CONFIG/SPLIT/INDEX, such as prm/train/0, or a text "
            "as it stands in a row"
        )
    return found


def _holding(folder: Path, splits: Mapping[str, Sequence[str]], text: str) -> Iterator[Place]:
    for config, names in splits.items():
        for split in names:
            for index, row in enumerate(read_rows(folder, config, split)):
                if any(text in one for one in _texts(row)):
                    yield Place(config, split, index)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def explain(engine: sa.Engine, folder: Path, place: Place, *, with_names: bool = False) -> Explanation:
    """Explains a row of a set that was exported from this database, with a trace.

    Args:
        engine: The database.
        folder: The exported folder.
        place: The row.
        with_names: Name annotators, who otherwise have pseudonyms.

    Raises:
        InputError: The set has no trace, or what it names is not in the database.
    """
    row = next(islice(read_rows(folder, place.config, place.split), place.index, None))
    trace = next(islice(read_trace(folder, place.config, place.split), place.index, None), None)
    manifest = read_manifest(folder)
    if trace is None or manifest is None:
        raise InputError(f"{folder} was exported without a trace of {place.config}; export it without --no-trace")
    pseudonym = pseudonyms(engine)
    with reading(engine) as session:
        solutions = _solutions(session, trace["solution_ids"])
        if len(solutions) < len(set(trace["solution_ids"])):
            raise InputError(
                f"the database lacks solutions of the row ({trace['solution_ids']}); give the --db that {folder} was "
                "exported from"
            )
        return Explanation(
            place=place,
            row=row,
            rule=trace["rule"],
            licence=trace["licence"],
            problems=_problems(session, trace["problem_ids"]),
            solutions=solutions,
            critiques=_critiques(session, trace["critique_ids"]),
            annotations=_annotations(session, trace["annotation_ids"], None if with_names else pseudonym),
            decisions=_decisions(session, trace["annotation_ids"], trace["solution_ids"]),
            runs=tuple(_run_names(session, trace["run_ids"]).values()),
            flags=manifest.configs[place.config].query,
        )


def _by_ids(session: Session, model: Any, key: Any, ids: Sequence[int | None]) -> list[Any]:
    known = [id_ for id_ in dict.fromkeys(ids) if id_ is not None]
    found = {
        getattr(row, key.key): row for row in session.scalars(sa.select(model).where(is_among(session, key, known)))
    }
    return [found[id_] for id_ in known if id_ in found]


def _run_names(session: Session, ids: Sequence[int | None]) -> dict[int | None, str]:
    """Runs with what they did and their models, by id."""
    found = _by_ids(session, Run, Run.run_id, ids)
    return {run.run_id: f"run/{run.run_id}: {run.kind} by {run.model}" for run in found}


def _problems(session: Session, ids: Sequence[int]) -> tuple[ExplainedProblem, ...]:
    query = sa.select(ProblemSource).order_by(ProblemSource.source, ProblemSource.source_key)
    sources: dict[int, list[tuple[str, str, str | None]]] = {}
    for one in session.scalars(query.where(is_among(session, ProblemSource.problem_id, ids))):
        sources.setdefault(one.problem_id, []).append((one.source, one.source_key, one.licence))
    return tuple(
        ExplainedProblem(
            problem.problem_id,
            problem.statement,
            problem.reference_trust,
            tuple(sources.get(problem.problem_id, ())),
        )
        for problem in _by_ids(session, Problem, Problem.problem_id, ids)
    )


def _solutions(session: Session, ids: Sequence[int]) -> tuple[ExplainedSolution, ...]:
    found: list[Solution] = _by_ids(session, Solution, Solution.solution_id, ids)
    runs = _run_names(session, [one.run_id for one in found])
    return tuple(
        ExplainedSolution(
            one.solution_id,
            one.source,
            one.source_key,
            runs.get(one.run_id),
            one.generator,
            one.licence,
            one.outcome,
            one.outcome_rule,
            one.created_at,
        )
        for one in found
    )


def _critiques(session: Session, ids: Sequence[int]) -> tuple[ExplainedCritique, ...]:
    found: list[Critique] = _by_ids(session, Critique, Critique.critique_id, ids)
    runs = _run_names(session, [one.run_id for one in found])
    return tuple(
        ExplainedCritique(
            one.critique_id,
            one.kind,
            one.critic,
            one.problem_id,
            one.target_critique_id,
            one.verdict,
            one.is_confirmed,
            one.confirmation_rule,
            one.source,
            one.source_key,
            runs.get(one.run_id),
        )
        for one in found
    )


def _annotations(session: Session, ids: Sequence[int | None], pseudonym: Any) -> tuple[ExplainedAnnotation, ...]:
    found: list[Annotation] = _by_ids(session, Annotation, Annotation.annotation_id, ids)
    known = [one.annotation_id for one in found]
    annotators = _by_ids(session, Annotator, Annotator.annotator_id, [one.annotator_id for one in found])
    by_id = {one.annotator_id: one for one in annotators}
    labels: dict[int, dict[int, int]] = {}
    steps = sa.select(StepLabel.annotation_id, StepLabel.step_index, StepLabel.label).order_by(StepLabel.step_index)
    for annotation_id, index, label in session.execute(
        steps.where(is_among(session, StepLabel.annotation_id, known))
    ):
        labels.setdefault(annotation_id, {})[index] = label
    choices = {
        one.annotation_id: f"{one.choice} of a={one.solution_a_id}, b={one.solution_b_id}"
        + (f", strength {one.strength}" if one.strength else "")
        for one in _by_ids(session, Preference, Preference.annotation_id, known)
    }
    choices |= {
        one.annotation_id: f"critique {one.critique_id} is {one.judgement}"
        for one in _by_ids(session, CritiqueJudgement, CritiqueJudgement.annotation_id, known)
    }
    return tuple(
        ExplainedAnnotation(
            annotation_id=one.annotation_id,
            annotator=by_id[one.annotator_id].name if pseudonym is None else pseudonym(one.annotator_id),
            kind=by_id[one.annotator_id].kind,
            created_at=one.created_at,
            guideline=one.guideline,
            source=one.source,
            suggestion_shown=one.suggestion_shown,
            labels=labels.get(one.annotation_id, {}),
            choice=choices.get(one.annotation_id),
            is_superseded=one.superseded_by_id is not None,
        )
        for one in found
    )


def _decisions(
    session: Session, annotation_ids: Sequence[int | None], solution_ids: Sequence[int]
) -> tuple[str, ...]:
    known = [id_ for id_ in annotation_ids if id_ is not None]
    tasks = sa.select(Annotation.task_id).where(
        sa.or_(
            is_among(session, Annotation.annotation_id, known),
            is_among(session, Annotation.solution_id, solution_ids),
        )
    )
    steps = sa.select(Adjudication).where(Adjudication.task_id.in_(tasks)).order_by(Adjudication.adjudication_id)
    pairs = sa.select(TaskAdjudication).where(TaskAdjudication.task_id.in_(tasks))
    return (
        *(
            f"task {one.task_id}: step {one.step_index + 1} is {one.label:+d}, decided {one.created_at:%Y-%m-%d}"
            for one in session.scalars(steps)
        ),
        *(
            f"task {one.task_id}: {one.choice or one.judgement}, decided {one.created_at:%Y-%m-%d}"
            for one in session.scalars(pairs.order_by(TaskAdjudication.created_at))
        ),
    )
