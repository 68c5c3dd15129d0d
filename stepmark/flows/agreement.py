"""Agreement of the labellers in the database, and the soft labels that Dawid and Skene's model makes of theirs."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from db.agreement import Labellers, LabelSelection, count_labelled_solutions, find_labellers, labelled_solutions
from stepmark.agreement.coefficient import RESAMPLES
from stepmark.agreement.labels import LabelledSolutions, step_columns
from stepmark.agreement.report import LABELS, AgreementReport, Counted, report_agreement
from stepmark.agreement.tables import Floats, Ints
from stepmark.dawid_skene import dawid_skene
from stepmark.errors import InputError, SettingsError
from stepmark.progress import Progress, silent

_LINES_AT_ONCE = 10_000


def measure_agreement(
    engine: sa.Engine,
    selection: LabelSelection,
    *,
    by_source: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = silent,
) -> AgreementReport:
    """Reports how far the labellers of a selection agree on steps.

    Args:
        engine: The database.
        selection: Whose labels, of what.
        by_source: Report each source of solutions, too; a sampled solution's is its run.
        resamples: Draws for the intervals; 0: none.
        seed: Of the draws.
        progress: Told after every chunk of solutions.

    Raises:
        InputError: No source is named as the selection says, or no annotator as its gold.
    """
    labellers = find_labellers(engine, selection)
    return report_agreement(
        _chunks(engine, selection, labellers, progress),
        labellers.names,
        gold_id=labellers.gold_id,
        by_source=by_source,
        resamples=resamples,
        seed=seed,
    )


@dataclass(slots=True)
class PosteriorReport:
    """What `write_posteriors` wrote, and how the fit went."""

    out: str
    n_solutions: int
    n_steps: int
    """Rows written."""
    n_single: int
    """Of these, steps with one labeller."""
    annotations: Counted
    labels: Counted
    prior: dict[int, float]
    """Share of each label among the steps, as the model sees it."""
    accuracy: dict[str, float]
    """By labeller: probability of the true label, over steps as they come."""
    n_rounds: int
    is_converged: bool


def write_posteriors(
    engine: sa.Engine,
    selection: LabelSelection,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> PosteriorReport:
    """Fits Dawid and Skene's model to the labels of a selection, and writes each step's posterior as a JSON line.

    A line holds `solution_id`, `step_index` (0-based), `p` (by label: "-1", "0", "1") and `n_labellers`.
    The file is there when it is complete.

    Raises:
        InputError: There is no label, or no step has two labellers: the labels then tell nothing of their labellers.
        SettingsError: The file is there already.
    """
    if out.exists() and not overwrite:
        raise SettingsError(f"{str(out)!r} is there already; give --overwrite, or another --out")
    if not out.parent.is_dir():
        raise SettingsError(f"the folder of {str(out)!r} does not exist; make it first")
    labellers = find_labellers(engine, selection)
    annotations, labels = Counted(), Counted()
    kept = [np.zeros((0, 4), dtype=np.int64)]
    for chunk in _chunks(engine, selection, labellers, progress):
        said = step_columns(chunk)
        annotations.add(said.n_annotations, said.dropped_annotations)
        labels.add(len(said.label) + said.dropped_labels.total(), said.dropped_labels)
        kept.append(np.column_stack([said.solution_id, said.step_index, said.annotator_id, said.label]))
    rows = np.concatenate(kept)
    is_new = np.append(True, (rows[1:, :2] != rows[:-1, :2]).any(axis=1))[: len(rows)]
    n_labellers = np.diff(np.append(np.flatnonzero(is_new), len(rows)))
    if not (n_labellers > 1).any():
        raise InputError(
            f"none of {len(n_labellers)} labelled steps has two labellers, so nothing tells how far to trust each; "
            "queue solutions with --n-wanted 2, or take more kinds of labellers by --annotator-kind"
        )
    ids, who = np.unique(rows[:, 2], return_inverse=True)
    fit = dawid_skene(np.cumsum(is_new) - 1, who, rows[:, 3] + 1, len(LABELS))
    steps = rows[is_new, :2]
    _write(out, np.column_stack([steps, n_labellers]), fit.posteriors)
    right = fit.confusions.diagonal(axis1=1, axis2=2) @ fit.prior
    return PosteriorReport(
        out=str(out),
        n_solutions=len(np.unique(steps[:, 0])),
        n_steps=len(steps),
        n_single=int((n_labellers == 1).sum()),
        annotations=annotations,
        labels=labels,
        prior=dict(zip(LABELS, fit.prior.tolist(), strict=True)),
        accuracy={labellers.names[id_]: value for id_, value in zip(ids.tolist(), right.tolist(), strict=True)},
        n_rounds=fit.n_rounds,
        is_converged=fit.is_converged,
    )


def _write(out: Path, steps: Ints, posteriors: Floats) -> None:
    partial = out.with_name(out.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for start in range(0, len(steps), _LINES_AT_ONCE):
                part = slice(start, start + _LINES_AT_ONCE)
                for (solution_id, step_index, n), p in zip(
                    steps[part].tolist(), posteriors[part].tolist(), strict=True
                ):
                    by_label = {str(label): round(one, 6) for label, one in zip(LABELS, p, strict=True)}
                    line = {"solution_id": solution_id, "step_index": step_index, "p": by_label, "n_labellers": n}
                    file.write(json.dumps(line) + "\n")
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def _chunks(
    engine: sa.Engine, selection: LabelSelection, labellers: Labellers, progress: Progress
) -> Iterator[LabelledSolutions]:
    done, total = 0, count_labelled_solutions(engine, selection, labellers)
    for chunk in labelled_solutions(engine, selection, labellers):
        yield chunk
        done += len({one.solution_id for one in chunk.annotations})
        progress(done, total)
