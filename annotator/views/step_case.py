"""A step task on which annotators differ: steps against annotators, decided step by step.

Keys: n and p go to the next and the previous disagreement, 1, 2, 3 decide bad, neutral, good.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
import streamlit as st

from annotator.workplace import Workplace
from db.adjudications import Case, decide, get_case
from db.votes import SolutionVotes, solution_votes
from stepmark.errors import StepmarkError

from .case_page import draw_comments, draw_head, draw_next, draw_note, draw_problem, draw_send_back, names_of
from .judges import draw_votes, named_html
from .reading_page import OUTCOMES, SHAPES, bar_html, draw_text, escaped, label_html, matrix_html, plain


@st.fragment
def draw(workplace: Workplace, task_id: int) -> None:
    """Draws the case."""
    case = get_case(workplace.engine, task_id)
    assert case is not None
    draw_head(task_id, case.project)
    names = names_of(case.answers)
    contested = case.contested
    at = _position(case)
    votes = solution_votes(workplace.engine, case.solution_id)
    left, right = st.columns([2, 5], gap="large")
    with left:
        with st.container(border=True):
            draw_text(case.statement, title="Problem")
            if case.reference_answer is not None:
                draw_text(case.reference_answer, title="Reference answer")
            st.caption(OUTCOMES[case.outcome])
        draw_votes(votes)
        draw_comments(case.answers, names)
        draw_send_back(workplace, task_id, case.answers, names)
    with right:
        st.html(_matrix(case, names, at, _posteriors(workplace.engine, case), votes))
    with st.container(key="decide"):
        _decide_bar(workplace, case, names, contested, at)


def _position(case: Case) -> int:
    """The step that is being decided: where the reviewer is, else the first undecided disagreement."""
    key = f"at_{case.task_id}"
    n = len(case.segments)
    if not 0 <= st.session_state.get(key, -1) < n:
        waiting = [index for index in case.contested if index not in case.decisions]
        st.session_state[key] = (waiting or case.contested or [0])[0]
    return int(st.session_state[key])


def _matrix(
    case: Case,
    names: Mapping[int, str],
    at: int,
    posteriors: Mapping[int, Mapping[int, float]],
    votes: Sequence[SolutionVotes],
) -> str:
    contested = set(case.contested)
    named = named_html(votes, len(case.segments))
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
        if named:
            cells.append(f'<td class="sm-cell">{named[index]}</td>')
        decision = case.decisions.get(index)
        cells.append(f'<td class="sm-cell">{label_html(None if decision is None else decision.label)}</td>')
        mood = " ".join(
            word for word, holds in (("sm-differs", index in contested), ("sm-here", index == at)) if holds
        )
        rows.append((mood, cells))
    head = [
        "",
        "Step",
        *names.values(),
        *(["Model"] if posteriors else []),
        *(["Judges"] if named else []),
        "Decided",
    ]
    return matrix_html(head, rows)


def _decide_bar(workplace: Workplace, case: Case, names: Mapping[int, str], contested: list[int], at: int) -> None:
    waiting = [index for index in contested if index not in case.decisions]
    step = "the final answer" if at == len(case.steps) else f"step {at + 1}"
    differ = f"{len(contested)} disagreement{'' if len(contested) == 1 else 's'}"
    state = f"**{step.capitalize()}** · {differ}, {len(waiting)} undecided"
    decision = case.decisions.get(at)
    if decision is not None:
        state += f" · decided {SHAPES[decision.label][0]} by {plain(decision.reviewer)}"
        if decision.note:
            state += f": {plain(decision.note)}"
    st.markdown(state)
    draw_problem()
    previous = max((one for one in contested if one < at), default=contested[-1] if contested else at)
    following = min((one for one in contested if one > at), default=contested[0] if contested else at)
    note_key = f"note_{case.task_id}_{at}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button("Previous", shortcut="p", disabled=not contested, on_click=_go_to, args=(case.task_id, previous))
        st.button("Next", shortcut="n", disabled=not contested, on_click=_go_to, args=(case.task_id, following))
        draw_note(note_key)
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
        draw_next(workplace, case.task_id, "steps", is_done=not waiting)


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


def _posteriors(engine: sa.Engine, case: Case) -> Mapping[int, Mapping[int, float]]:
    from .posteriors import step_posteriors

    return step_posteriors(engine, case.project_id, case.solution_id)
