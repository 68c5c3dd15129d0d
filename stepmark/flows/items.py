"""Solutions out of the database, as evaluations and audits of reward models read them."""

import random

import sqlalchemy as sa

from db.evaluation import LabelledSolution, labelled_solutions
from stepmark.errors import InputError
from stepmark.splits import split_of
from trainer.evaluate.items import Item
from trainer.evaluate.processbench import ProcessRow


def collect_items(
    engine: sa.Engine, *, source: str | None, max_problems: int | None = None, seed: int = 0
) -> list[Item]:
    """Gathers the solutions of a source, with outcome and step labels.

    Args:
        engine: The database.
        source: Only solutions of sources that match this pattern.
        max_problems: Only so many problems, drawn by `seed`.
        seed: Of the draw.

    Raises:
        InputError: There is no solution.
    """
    items = [_item(found) for found in labelled_solutions(engine, source=source)]
    if not items:
        where = "" if source is None else f" of sources like {source!r}"
        raise InputError(f"there are no solutions{where}; import or generate some first")
    return some_problems(items, max_problems, seed)


def process_rows(engine: sa.Engine, source: str) -> list[ProcessRow]:
    """The labelled solutions of a source as rows of ProcessBench, equal ones once.

    Where labels end before an error and before the last step, no row is made.

    Raises:
        InputError: There is none.
    """
    rows = []
    for found in labelled_solutions(engine, source=source, labelled_only=True):
        item = _item(found)
        if item.first_error is not None:
            rows.append(ProcessRow(found.statement, found.steps, item.first_error))
        elif len(item.labels) == len(found.steps) and all(label == 1 for label in item.labels):
            rows.append(ProcessRow(found.statement, found.steps, -1))
    if not rows:
        raise InputError(f"no solution of sources like {source!r} has labels of its steps up to an error or its end")
    return list(dict.fromkeys(rows))


def some_problems(items: list[Item], n: int | None, seed: int) -> list[Item]:
    """The items of `n` problems drawn by `seed`, in the order given; all of them where n is None."""
    problems = sorted({item.problem for item in items})
    if n is None or n >= len(problems):
        return items
    chosen = set(random.Random(seed).sample(problems, n))
    return [item for item in items if item.problem in chosen]


def divide(items: list[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Divides items by family: about `share` of them to fit on, the others to measure on."""
    shares = {"fit": share, "test": 1 - share}
    families = {item.family or item.problem for item in items}
    is_fit = {family: split_of(family, shares, seed) == "fit" for family in families}
    fitted = [item for item in items if is_fit[item.family or item.problem]]
    return fitted, [item for item in items if not is_fit[item.family or item.problem]]


def _item(found: LabelledSolution) -> Item:
    """Neutral steps count as right, as in the sets that are trained on."""
    labels = tuple(None if label is None else float(label >= 0) for label in found.labels)
    return Item(
        str(found.problem_id),
        (("user", found.statement),),
        found.steps,
        found.answer,
        found.outcome,
        labels[: len(found.steps)],
        found.family,
    )
