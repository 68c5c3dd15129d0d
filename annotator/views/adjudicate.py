"""Tasks on which annotators differ: who said what of each step, pair or critique, and what a reviewer decides.

Here is the queue; a case is drawn by `step_case` or `whole_case`, as a fragment: a decision redraws the case and
nothing else.
"""

import streamlit as st

from annotator.workplace import Workplace, current_as
from db.adjudications import Contested, contested_tasks, count_contested, get_case, get_whole_case
from db.projects import list_projects

from . import step_case, whole_case
from .case_page import KIND, PROJECT, open_case
from .reading_page import KINDS, choose_one, set_measure, show_told

_ALL = "All projects"
_PAGE = 25
_KINDS = {kind: words.capitalize() for kind, words in KINDS.items()}


def show() -> None:
    """Draws the page."""
    set_measure("82rem")
    workplace = current_as("reviewer")
    task_id = st.session_state.get("case")
    steps = None if task_id is None else get_case(workplace.engine, task_id)
    whole = None if task_id is None or steps is not None else get_whole_case(workplace.engine, task_id)
    if steps is not None and steps.answers:
        step_case.draw(workplace, steps.task_id)
    elif whole is not None and whole.answers:
        whole_case.draw(workplace, whole.task_id)
    else:
        _queue(workplace)


def _queue(workplace: Workplace) -> None:
    st.title("Adjudicate")
    show_told()
    engine = workplace.engine
    # What is chosen is kept beside the widgets: their own state is gone while a case is open.
    kind = choose_one("What", list(_KINDS), kept=KIND, words=_KINDS)
    if st.session_state.get("adjudicate_shown") != kind:
        st.session_state["adjudicate_shown"], st.session_state["adjudicate_after"] = kind, []
    rows = {row.project_id: row.name for row in list_projects(engine) if row.kind == kind}
    left, right = st.columns([2, 2], vertical_alignment="bottom")
    choices = [None, *rows]
    before = st.session_state.get(PROJECT)
    project_id = left.selectbox(
        "Project",
        choices,
        choices.index(before) if before in rows else 0,
        format_func=lambda one: _ALL if one is None else rows[one],
        key=f"adjudicate_project_{kind}",
    )
    if project_id != before:
        st.session_state[PROJECT], st.session_state["adjudicate_after"] = project_id, []
    only_open = right.toggle("Only what is undecided", value=True, key="adjudicate_open")
    total, waiting = count_contested(engine, kind=kind, project_id=project_id)
    several, differ = st.columns(2)
    several.metric("Several answers", f"{total:,}", help="Tasks that two people or more have answered.", border=True)
    differ.metric("To be decided", f"{waiting:,}", help="Of these, tasks on which they differ.", border=True)
    after: list[tuple[float, int]] = st.session_state.setdefault("adjudicate_after", [])
    found = contested_tasks(
        engine, kind=kind, project_id=project_id, only_open=only_open, after=after[-1] if after else None, n=_PAGE
    )
    if not found:
        st.info(_nothing(total, only_open=only_open))
    else:
        if st.button("Start with the lowest agreement", type="primary", shortcut="Enter"):
            open_case(found[0])
        st.caption("Lowest agreement first. Select a row to open it.")
        picked = st.dataframe(
            [_row(one, kind) for one in found],
            hide_index=True,
            height="content",
            on_select="rerun",
            selection_mode="single-row",
            key=f"contested_{kind}_{len(after)}",
            column_config={
                "agreement": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
                "problem": st.column_config.TextColumn(width="large"),
            },
        )
        if picked.selection.rows:
            open_case(found[picked.selection.rows[0]])
    back, more, _ = st.columns([1, 1, 4])
    if after and back.button("Earlier page", width="stretch"):
        after.pop()
        st.rerun()
    if len(found) == _PAGE and more.button("Next page", width="stretch"):
        after.append(found[-1].after)
        st.rerun()


def _nothing(total: int, *, only_open: bool) -> str:
    if not total:
        return "Nothing is to be decided. Tasks come here once two annotators have answered them and differ."
    if only_open:
        return "Everything on which annotators differ is decided. Switch off the filter to see it again."
    return "There are no more."


def _row(one: Contested, kind: str) -> dict[str, object]:
    decided: dict[str, object] = {"differ on": one.n_contested, "decided": one.n_decided}
    if kind != "steps":
        decided = {"decided": "yes" if one.n_decided else "no"}
    return {
        "task": one.task_id,
        "agreement": round(one.agreement, 3),
        **decided,
        "answers": one.n_answers,
        "project": one.project or "–",
        "problem": one.statement[:200],
    }
