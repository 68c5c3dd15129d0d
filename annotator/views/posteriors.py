"""What Dawid and Skene's model makes of the labels of a project: for each step, how likely each label is."""

import numpy as np
import sqlalchemy as sa
import streamlit as st

from db.agreement import LabelSelection, find_labellers, labelled_solutions
from stepmark.agreement.labels import step_columns
from stepmark.agreement.report import LABELS
from stepmark.dawid_skene import dawid_skene

_MOST_LABELS = 200_000
"""The model is fitted to so many labels at most, those of the first solutions."""


def step_posteriors(engine: sa.Engine, project_id: int | None, solution_id: int) -> dict[int, dict[int, float]]:
    """Probability of each label, by step of a solution; empty where the model knows nothing of it."""
    steps, posteriors = _fit(engine, project_id)
    return {
        int(step): dict(zip(LABELS, map(float, row), strict=True))
        for (solution, step), row in zip(steps, posteriors, strict=True)
        if solution == solution_id
    }


@st.cache_data(ttl=300, max_entries=4, show_spinner=False, hash_funcs={sa.Engine: lambda engine: str(engine.url)})
def _fit(engine: sa.Engine, project_id: int | None) -> tuple[list[tuple[int, int]], list[list[float]]]:
    selection = LabelSelection(project_id=project_id)
    kept = [np.zeros((0, 4), dtype=np.int64)]
    n = 0
    for chunk in labelled_solutions(engine, selection, find_labellers(engine, selection)):
        said = step_columns(chunk)
        kept.append(np.column_stack([said.solution_id, said.step_index, said.annotator_id, said.label]))
        n += len(said.label)
        if n >= _MOST_LABELS:
            break
    rows = np.concatenate(kept)
    if not len(rows):
        return [], []
    is_new = np.append(True, (rows[1:, :2] != rows[:-1, :2]).any(axis=1))
    if is_new.all():  # no step has two labellers: nothing tells how far to trust each
        return [], []
    _, who = np.unique(rows[:, 2], return_inverse=True)
    fit = dawid_skene(np.cumsum(is_new) - 1, who, rows[:, 3] + 1, len(LABELS))
    return [(int(solution), int(step)) for solution, step in rows[is_new, :2]], fit.posteriors.tolist()
