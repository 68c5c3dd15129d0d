"""Critics measured: their stored verdicts, with the verifier's word on them."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from db.evaluation import JudgedVerdict, judged_verdicts
from stepmark.verdicts import Word
from trainer.evaluate.critic import RIGHT_ANSWER, WRONG_ANSWER, CriticRow, evaluate_critics


def evaluate_stored_critics(
    engine: sa.Engine,
    *,
    source: str | None = None,
    critic: str | None = None,
    on_common: bool = True,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures the critics whose verdicts are in the database; see `trainer.evaluate.critic`.

    A critic is a model with a way of working: the same model as a judge that reads and as one that applies a solution
    to a variant are two.

    Args:
        engine: The database; `stepmark verify` must have run.
        source: Only on solutions of sources that match this pattern.
        critic: Only by critics whose name matches this pattern.
        on_common: Only solutions that every critic judged.
        n_boot: Bootstrap samples of the problems.
        seed: Of the bootstrap.

    Raises:
        InputError: There is nothing to measure.
    """
    rows = _rows(judged_verdicts(engine, source=source, critic=critic))
    return evaluate_critics(rows, on_common=on_common, n_boot=n_boot, seed=seed)


def _rows(verdicts: Iterator[JudgedVerdict]) -> Iterator[CriticRow]:
    for found in verdicts:
        word: Word = "pass" if found.verdict == "pass" else "fail" if found.verdict == "fail" else "unreadable"
        is_right = None
        if word != "unreadable" and found.is_confirmed is not None:
            is_right = (word == "pass") == found.is_confirmed
        flaw = None
        if is_right is False:
            flaw = found.planted or (RIGHT_ANSWER if found.outcome else WRONG_ANSWER)
        where = " on a variant" if found.on_variant else ""
        yield CriticRow(f"{found.critic}, {found.kind}{where}", found.solution_id, found.family, word, is_right, flaw)
