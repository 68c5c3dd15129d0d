"""Tasks on which annotators differ: who said what of each step, and what a reviewer decides.

One case at a time, as a fragment: a decision redraws the case and nothing else. Keys: n and p go to the next and the
previous disagreement, 1, 2, 3 decide bad, neutral, good.
"""

from collections.abc import Mapping

import sqlalchemy as sa
import streamlit as st

from annotator.workplace import Workplace, current_as
from db.adjudications import Case, Contested, contested_tasks, count_contested, decide, get_case
from db.notes import send_back
from db.projects import list_projects
from stepmark.errors import StepmarkError

from .reading_page import SHAPES, bar_html, draw_text, escaped, label_html, matrix_html, plain, set_measure, show_told

_ALL = "All projects"
_PAGE = 25
_CSS = """
.st-key-decide { position: sticky; bottom: 0; z-index: 5; padding: .75rem 0 1rem;
  background: light-dark(#fcfbf8, #14161a); border-top: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
@media (max-width: 640px) { .st-key-decide { position: static; } }
"""


def show() -> None:
    """Draws the page."""
    set_measure("82rem")
    workplace = current_as("reviewer")
    task_id = st.session_state.get("case")
    case = None if task_id is None else get_case(workplace.engine, task_id)
    if case is None or not case.answers:
        _queue(workplace)
    else:
        _draw_case(workplace, case.task_id)


def _queue(workplace: Workplace) -> None:
    st.title("Adjudicate")
    show_told()
    engine = workplace.engine
    rows = list_projects(engine)
    left, right = st.columns([2, 2], vertical_alignment="bottom")
    name = left.selectbox("Project", [_ALL, *(row.name for row in rows)], key="adjudicate_project")
    only_open = right.toggle("Only what is undecided", value=True, key="adjudicate_open")
    project_id = next((row.project_id for row in rows if row.name == name), None)
    total, waiting = count_contested(engine, project_id=project_id)
    several, differ = st.columns(2)
    several.metric("Tasks with several answers", f"{total:,}", border=True)
    differ.metric("Undecided disagreements", f"{waiting:,}", border=True)
    after: list[tuple[float, int]] = st.session_state.setdefault("adjudicate_after", [])
    found = contested_tasks(
        engine, project_id=project_id, only_open=only_open, after=after[-1] if after else None, n=_PAGE
    )
    if not found:
        st.info(
            "Nothing is to be decided. Tasks come here once two annotators have answered them and differ."
            if total == 0 or only_open
            else "There are no more."
        )
    else:
        if st.button("Start with the lowest agreement", type="primary", shortcut="Enter"):
            st.session_state["case"] = found[0].task_id
            st.rerun()
        st.caption("Lowest agreement first. Select a row to open it.")
        picked = st.dataframe(
            [_row(one) for one in found],
            hide_index=True,
            height="content",
            on_select="rerun",
            selection_mode="single-row",
            key=f"contested_{len(after)}",
            column_config={"agreement": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)},
        )
        if picked.selection.rows:
            st.session_state["case"] = found[picked.selection.rows[0]].task_id
            st.rerun()
    back, more, _ = st.columns([1, 1, 4])
    if after and back.button("Earlier page", width="stretch"):
        after.pop()
        st.rerun()
    if len(found) == _PAGE and more.button("Next page", width="stretch"):
        after.append(found[-1].after)
        st.rerun()


def _row(one: Contested) -> dict[str, object]:
    return {
        "task": one.task_id,
        "agreement": one.agreement,
        "differ on": one.n_contested,
        "decided": one.n_decided,
        "answers": one.n_answers,
        "project": one.project or "–",
        "problem": one.statement[:200],
    }


@st.fragment
def _draw_case(workplace: Workplace, task_id: int) -> None:
    case = get_case(workplace.engine, task_id)
    assert case is not None
    st.html(f"<style>{_CSS}</style>")
    names = _names(case)
    contested = case.contested
    at = _position(case)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        if st.button("← All disagreements"):
            _leave()
        st.subheader(f"Task {task_id}" + (f", {plain(case.project)}" if case.project else ""), width="content")
        st.toggle("Hide names", key="hide_names", help="Annotators become A, B, C.")
    left, right = st.columns([2, 5], gap="large")
    with left:
        with st.container(border=True):
            draw_text(case.statement, title="Problem")
            if case.reference_answer is not None:
                draw_text(case.reference_answer, title="Reference answer")
            st.caption(
                {True: "Final answer right", False: "Final answer wrong", None: "Outcome unknown"}[case.outcome]
            )
        _comments(case, names)
        _send_back(workplace, case, names)
    with right:
        st.html(_matrix(case, names, at, _posteriors(workplace.engine, case)))
    with st.container(key="decide"):
        _decide_bar(workplace, case, names, contested, at)


def _names(case: Case) -> dict[int, str]:
    is_hidden = st.session_state.get("hide_names", False)
    return {
        answer.annotation_id: chr(ord("A") + index) if is_hidden and index < 26 else answer.annotator
        for index, answer in enumerate(case.answers)
    }


def _position(case: Case) -> int:
    """The step that is being decided: where the reviewer is, else the first undecided disagreement."""
    key = f"at_{case.task_id}"
    n = len(case.segments)
    if not 0 <= st.session_state.get(key, -1) < n:
        waiting = [index for index in case.contested if index not in case.decisions]
        st.session_state[key] = (waiting or case.contested or [0])[0]
    return int(st.session_state[key])


def _matrix(case: Case, names: Mapping[int, str], at: int, posteriors: Mapping[int, Mapping[int, float]]) -> str:
    contested = set(case.contested)
    rows = []
    for index, text in enumerate(case.segments):
        number = "=" if index == len(case.steps) else str(index + 1)
        cells = [
            f'<td class="sm-cell"><b>{number}</b></td>',
            f'<td class="sm-step"><div class="sm-text">{escaped(text)}</div></td>',
            *(
                f'<td class="sm-cell">{label_html(one.labels.get(index), is_unsure=index in one.unsure)}</td>'
                for one in case.answers
            ),
        ]
        if posteriors:
            cells.append(f'<td class="sm-cell">{bar_html(posteriors[index]) if index in posteriors else "–"}</td>')
        decision = case.decisions.get(index)
        cells.append(f'<td class="sm-cell">{label_html(None if decision is None else decision.label)}</td>')
        mood = " ".join(
            word for word, holds in (("sm-differs", index in contested), ("sm-here", index == at)) if holds
        )
        rows.append((mood, cells))
    head = ["", "Step", *names.values(), *(["Model"] if posteriors else []), "Decided"]
    return matrix_html(head, rows)


def _decide_bar(workplace: Workplace, case: Case, names: Mapping[int, str], contested: list[int], at: int) -> None:
    waiting = [index for index in contested if index not in case.decisions]
    step = "the final answer" if at == len(case.steps) else f"step {at + 1}"
    state = f"**{step.capitalize()}** · {len(contested)} disagreements, {len(waiting)} undecided"
    decision = case.decisions.get(at)
    if decision is not None:
        state += f" · decided {SHAPES[decision.label][0]} by {plain(decision.reviewer)}"
        if decision.note:
            state += f": {plain(decision.note)}"
    st.markdown(state)
    if problem := st.session_state.pop("case_problem", None):
        st.error(plain(problem))
    previous = max((one for one in contested if one < at), default=contested[-1] if contested else at)
    following = min((one for one in contested if one > at), default=contested[0] if contested else at)
    note_key = f"note_{case.task_id}_{at}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button("Previous", shortcut="p", disabled=not contested, on_click=_go_to, args=(case.task_id, previous))
        st.button("Next", shortcut="n", disabled=not contested, on_click=_go_to, args=(case.task_id, following))
        st.text_input(
            "Note", placeholder="Note (optional; the annotators read it)", label_visibility="collapsed", key=note_key
        )
        for label, digit in ((-1, "1"), (0, "2"), (1, "3")):
            st.button(
                f"{_chip(label)} {SHAPES[label][0].capitalize()}",
                shortcut=digit,
                key=f"own_{label}",
                on_click=_store,
                args=(workplace, case, {at: label}, note_key, None),
            )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("Adopt the label, or all labels, of", width="content")
        for answer in case.answers:
            name = plain(names[answer.annotation_id])
            label_here = answer.labels.get(at)
            if label_here is not None:
                st.button(
                    f"{_chip(label_here)} {name}",
                    key=f"cell_{answer.annotation_id}",
                    on_click=_store,
                    args=(workplace, case, {at: label_here}, note_key, answer.annotation_id),
                )
            if answer.labels:
                st.button(
                    f"All of {name}",
                    key=f"column_{answer.annotation_id}",
                    on_click=_store,
                    args=(workplace, case, answer.labels, note_key, answer.annotation_id),
                )
        if st.button("Next task", shortcut="Shift+N", type="secondary" if waiting else "primary"):
            _next_task(workplace, case)


def _chip(label: int) -> str:
    colour = {-1: "red", 0: "orange", 1: "green"}[label]
    return f":{colour}[{SHAPES[label][1]}]"


def _go_to(task_id: int, index: int) -> None:
    st.session_state[f"at_{task_id}"] = index


def _store(
    workplace: Workplace, case: Case, labels: Mapping[int, int], note_key: str, adopted_from_id: int | None
) -> None:
    """Stores decisions, and goes on to the next disagreement that nobody decided."""
    try:
        decide(
            workplace.engine,
            case.task_id,
            labels,
            reviewer_id=workplace.annotator_id,
            adopted_from_id=adopted_from_id,
            note=st.session_state.get(note_key),
        )
    except StepmarkError as err:
        st.session_state["case_problem"] = str(err)
        return
    at = int(st.session_state[f"at_{case.task_id}"])
    waiting = [index for index in case.contested if index not in case.decisions and index not in labels]
    if waiting:
        _go_to(case.task_id, min((one for one in waiting if one > at), default=waiting[0]))


def _next_task(workplace: Workplace, case: Case) -> None:
    name = st.session_state.get("adjudicate_project", _ALL)
    rows = list_projects(workplace.engine)
    project_id = next((row.project_id for row in rows if row.name == name), None)
    found = contested_tasks(workplace.engine, project_id=project_id, n=2)
    following = next((one.task_id for one in found if one.task_id != case.task_id), None)
    if following is None:
        st.session_state["told"] = "That was the last disagreement."
        _leave()
    st.session_state["case"] = following
    st.rerun()


def _leave() -> None:
    st.session_state.pop("case", None)
    st.rerun()


def _comments(case: Case, names: Mapping[int, str]) -> None:
    for answer in case.answers:
        if answer.comment:
            draw_text(answer.comment, title=f"Comment by {names[answer.annotation_id]}")
        if answer.is_sent_back:
            st.caption(f"Sent back to {plain(names[answer.annotation_id])}, not answered again yet")


def _send_back(workplace: Workplace, case: Case, names: Mapping[int, str]) -> None:
    with st.expander("Send back"), st.form(f"send_back_{case.task_id}", border=False):
        to = st.multiselect(
            "To", list(names), format_func=lambda annotation_id: names[annotation_id], default=list(names)
        )
        text = st.text_area("What should they look at?", max_chars=5000)
        if st.form_submit_button("Send"):
            wanted = [one.annotator_id for one in case.answers if one.annotation_id in to]
            try:
                n = send_back(
                    workplace.engine,
                    task_id=case.task_id,
                    annotator_ids=wanted,
                    author_id=workplace.annotator_id,
                    text=text,
                )
            except StepmarkError as err:
                st.error(plain(str(err)))
            else:
                st.success(f"Sent back to {n}; their answers stay until they correct them.")


def _posteriors(engine: sa.Engine, case: Case) -> Mapping[int, Mapping[int, float]]:
    from .posteriors import step_posteriors

    return step_posteriors(engine, case.project_id, case.solution_id)
