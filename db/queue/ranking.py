"""Which solutions of the database are labelled next by a rule of `stepmark.selection`, and putting them there.

The pool is read problem by problem, a page at a time; what is never selected again is told from what is ranked lower.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import InputError
from stepmark.selection import Candidate, Selection, SelectionRule, predicted_first_error, select

from ..connect import reading
from ..models import Annotation, Annotator, Project, Score, Solution, Task
from ..selection import check_sources, is_label_data, next_problems, solution_in_source, tells_first_error
from ..tasks import AddedTasks, add_tasks

_PROBLEMS = 500
"""Problems of a page."""

_JUDGED = ("found_error", "solution")


@dataclass(frozen=True, slots=True)
class RankedQueue:
    """What a rule selected, and what became of it."""

    rule: SelectionRule
    reward_models: tuple[str, ...]
    """Whose scores it went by; empty where it needs none."""
    selection: Selection
    added: AddedTasks | None
    """None: nothing was put into the queue."""


def rank_queue(
    engine: sa.Engine,
    rule: SelectionRule,
    *,
    limit: int,
    random_share: float = 0.1,
    per_problem: int = 1,
    seed: int = 0,
    source: str = "*",
    project: str | None = None,
    mode: str | None = None,
    reward_models: Sequence[str] = (),
    n_wanted: int | None = None,
    is_dry_run: bool = False,
) -> RankedQueue:
    """Selects solutions by a rule and puts them into the queue, the random stream under a reason of its own.

    Left out are solutions that have a task for step labels (of the project, where one is named), those whose steps a
    person has labelled, and others of the same text. Labels by programs and models, such as those of rollouts and
    judges, leave nothing out.

    Args:
        engine: The database.
        rule: See `stepmark.selection.select`, also for the next four.
        limit: As there.
        random_share: As there.
        per_problem: As there.
        seed: As there.
        source: Source of an imported solution, or of a sampled one's problem; `*` stands for any text.
        project: Name of the project that the tasks belong to; None for none.
        mode: How steps are labelled; by default as the project says, outside any `first_error`.
        reward_models: Names of those whose scores are taken, their mean where they are several. None given: of
            `convincing-wrong` the PRM or ORM that scored last, of `jump` and `disagreement` the PRM; `ensemble` needs
            at least two by name. `disagreement` does with none.
        n_wanted: Independent annotators wanted for each; by default as the project says, outside any 1.
        is_dry_run: Select only.

    Raises:
        InputError: There is no such project or it labels something else, no source fits, a reward model scored
            nothing, the rule has nothing to go by, or a number is out of range.
    """
    if mode == "alternatives":
        raise InputError("mode is 'alternatives'; rules choose whole solutions: first_error, all_steps or verify")
    with reading(engine) as session:
        check_sources(session, [source])
        row = None if project is None else session.scalar(sa.select(Project).where(Project.name == project))
        if project is not None and row is None:
            raise InputError(f"there is no project {project!r}; `stepmark projects list` shows them")
        if row is not None and row.kind != "steps":
            raise InputError(
                f"project {project!r} labels {row.kind}; rules choose solutions whose steps are labelled"
            )
        project_id = None if row is None else row.project_id
        models = _reward_models(session, rule, tuple(dict.fromkeys(reward_models)))
    selection = select(
        candidates(engine, reward_models=models, source=source, project_id=project_id),
        rule,
        limit=limit,
        random_share=random_share,
        per_problem=per_problem,
        seed=seed,
    )
    added = None if is_dry_run else _add(engine, selection, project_id=project_id, mode=mode, n_wanted=n_wanted)
    return RankedQueue(rule, models, selection, added)


def candidates(
    engine: sa.Engine, *, reward_models: Sequence[str] = (), source: str = "*", project_id: int | None = None
) -> Iterator[list[Candidate]]:
    """Yields the solutions of a source, those of one problem together, with scores, labels and why not to select one.

    Among the labellers of a solution stand annotators, by name, and the reward models whose first step scored below a
    half they predict.
    """
    fits = solution_in_source(source)
    of_project = [] if project_id is None else [Task.project_id == project_id]
    has_task = sa.exists().where(
        Task.solution_id == Solution.solution_id, Task.kind == "steps", Task.purpose == "label", *of_project
    )
    by_person = (
        sa.select(Annotation.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(
            Annotation.solution_id == Solution.solution_id,
            Annotation.kind == "steps",
            Annotation.superseded_by_id.is_(None),
            Annotation.finish_reason.in_(_JUDGED),
            Annotator.kind == "person",
            is_label_data(),
        )
        .correlate(Solution)
        .exists()
    )
    columns = (
        Solution.solution_id,
        Solution.problem_id,
        Solution.text_hash,
        Solution.outcome,
        Solution.steps,
        has_task.label("has_task"),
        by_person.label("is_labelled"),
    )
    after = 0
    while True:
        page = next_problems(fits, after=after, n=_PROBLEMS)
        query = sa.select(*columns).join(page, page.c.problem_id == Solution.problem_id).where(fits)
        with reading(engine) as session:
            rows = session.execute(query.order_by(Solution.problem_id, Solution.solution_id)).all()
            if not rows:
                return
            ids = sa.select(Solution.solution_id).join(page, page.c.problem_id == Solution.problem_id).where(fits)
            scores = _scores(session, ids, reward_models)
            errors = _first_errors(session, ids)
        after = rows[-1].problem_id
        for _, group in groupby(rows, key=lambda row: row.problem_id):
            yield [
                _candidate(row, scores.get(row.solution_id, {}), errors.get(row.solution_id, {}), reward_models)
                for row in group
            ]


def _candidate(
    row: Any,
    scores: dict[str, tuple[float, tuple[float, ...]]],
    errors: dict[str, int | None],
    reward_models: Sequence[str],
) -> Candidate:
    found = [scores[name] for name in reward_models if name in scores]
    is_scored = bool(found) and len(found) == len(reward_models)
    steps = [step_scores for _, step_scores in found]
    has_steps = is_scored and all(steps) and len({len(step_scores) for step_scores in steps}) == 1
    predicted = {
        name: predicted_first_error(step_scores)
        for name, (_, step_scores) in scores.items()
        if name in reward_models and step_scores
    }
    left_out = None
    if row.has_task:
        left_out = "already queued"
    elif row.is_labelled:
        left_out = "already labelled"
    elif not row.steps:
        left_out = "no steps"
    return Candidate(
        solution_id=row.solution_id,
        problem_id=row.problem_id,
        text_hash=row.text_hash,
        outcome=row.outcome,
        value=sum(value for value, _ in found) / len(found) if is_scored else None,
        step_scores=tuple(steps) if has_steps else (),
        first_errors={**errors, **predicted},
        left_out=left_out,
    )


def _scores(
    session: Session, ids: sa.Select[Any], reward_models: Sequence[str]
) -> dict[int, dict[str, tuple[float, tuple[float, ...]]]]:
    found: dict[int, dict[str, tuple[float, tuple[float, ...]]]] = {}
    if reward_models:
        query = sa.select(Score.solution_id, Score.reward_model, Score.value, Score.step_values).where(
            Score.reward_model.in_(reward_models), Score.solution_id.in_(ids)
        )
        for solution_id, name, value, steps in session.execute(query):
            found.setdefault(solution_id, {})[name] = (value, tuple(steps or ()))
    return found


def _first_errors(session: Session, ids: sa.Select[Any]) -> dict[int, dict[str, int | None]]:
    """By solution and labeller, the newest answer's first error."""
    query = (
        sa.select(Annotation.solution_id, Annotator.name, Annotator.annotator_id, Annotation.first_error)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(
            Annotation.solution_id.in_(ids),
            Annotation.superseded_by_id.is_(None),
            Annotation.finish_reason.in_(_JUDGED),
            tells_first_error(),
        )
        .order_by(Annotation.annotation_id)
    )
    found: dict[int, dict[str, int | None]] = {}
    for solution_id, name, annotator_id, first_error in session.execute(query):
        found.setdefault(solution_id, {})[name or f"annotator {annotator_id}"] = first_error
    return found


def _reward_models(session: Session, rule: SelectionRule, named: tuple[str, ...]) -> tuple[str, ...]:
    """The reward models that a rule goes by."""
    if rule == "random":
        return ()
    needs_steps = rule != "convincing-wrong"
    kinds = ("prm",) if needs_steps else ("prm", "orm")
    wanted = " or ".join(kind.upper() for kind in kinds)
    for name in named:
        kind = session.scalar(sa.select(Score.kind).where(Score.reward_model == name).limit(1))
        if kind is None:
            known = session.scalars(sa.select(Score.reward_model).distinct().order_by(Score.reward_model).limit(20))
            raise InputError(f"no solution has a score by {name!r}; there are: {', '.join(known) or 'none yet'}")
        if kind not in kinds:
            raise InputError(f"{name!r} is of kind {kind}; {rule} goes by the scores of a {wanted}")
    if rule == "ensemble":
        if len(named) < 2:
            raise InputError(
                "ensemble compares several PRMs; name at least two: --reward-model prm-0 --reward-model prm-1"
            )
        return named
    if named:
        return named
    query = sa.select(Score.reward_model).where(Score.kind.in_(kinds))
    if needs_steps:
        query = query.where(Score.step_values.is_not(None))
    newest = session.scalar(query.order_by(Score.score_id.desc()).limit(1))
    if newest is not None:
        return (newest,)
    if rule == "disagreement":
        return ()
    raise InputError(f"no solution has a score by a {wanted}; run `stepmark score` first, or use --rule random")


def _add(
    engine: sa.Engine, selection: Selection, *, project_id: int | None, mode: str | None, n_wanted: int | None
) -> AddedTasks:
    """Puts the selected ones into the queue, each part under its reason."""
    total = AddedTasks(0, 0, {})
    for reason in dict.fromkeys(one.reason for one in selection.chosen):
        part = [(one.solution_id, one.priority) for one in selection.chosen if one.reason == reason]
        added = add_tasks(engine, part, mode=mode, reason=reason, n_wanted=n_wanted, project_id=project_id)
        dropped = {
            why: total.dropped.get(why, 0) + added.dropped.get(why, 0) for why in {*total.dropped, *added.dropped}
        }
        total = AddedTasks(total.read + added.read, total.kept + added.kept, dropped)
    return total
