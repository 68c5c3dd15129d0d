"""Looking through the database: problems, solutions, labels, critiques, runs; and all that was said of a solution."""

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from annotator.workplace import LEASE_S, Workplace, current_as
from db.browsing import NOUNS, SolutionView, Wanted, browse, solutions_of_problem, view_solution
from db.models import RUN_KINDS, VERDICTS
from db.projects import list_projects
from db.tasks import STEP_MODES, add_tasks, open_solution, open_task
from db.votes import SolutionVotes, solution_votes

from .judges import draw_votes, named_html
from .label import show_task
from .reading_page import (
    ENDS,
    counted,
    draw_text,
    escaped,
    label_html,
    matrix_html,
    mistakes_said,
    plain,
    set_measure,
    show_told,
    tell,
    told,
)

_OUTCOMES = {"solutions": ("right", "wrong", "unknown"), "critiques": VERDICTS, "runs": RUN_KINDS}
_MAKER = {"solutions": "Generator", "labels": "Labeller", "critiques": "Critic", "runs": "Model"}
_OUTSIDE = "none"
_FILLING = ("label", "relabel")
_LINKED = "solution"
_YES_NO = {"labelled": True, "without labels": False}


def show() -> None:
    """Draws the page."""
    set_measure("82rem")
    workplace = current_as("reviewer")
    _open_linked()
    solution_id = st.session_state.get("browse_solution")
    found = None if solution_id is None else view_solution(workplace.engine, solution_id)
    if found is None:
        _search(workplace)
    else:
        _solution(workplace, found)


def link_to(solution_id: int) -> str:
    """The address of a solution on this page, for links of other pages.

    >>> link_to(12)
    'browse?solution=12'
    """
    return f"browse?{_LINKED}={solution_id}"


def _open_linked() -> None:
    """Opens the solution that the address names; then it names none, so that one can go back to the list."""
    if (linked := st.query_params.get(_LINKED)) is not None:
        del st.query_params[_LINKED]
        if linked.isascii() and linked.isdigit():
            st.session_state["browse_solution"] = int(linked[:18])


def _search(workplace: Workplace) -> None:
    st.title("Browse")
    noun = st.segmented_control("What", NOUNS, default=NOUNS[0], label_visibility="collapsed", key="browse_noun")
    noun = noun or NOUNS[0]
    wanted = _wanted(noun)
    key = json.dumps([noun, wanted.text, wanted.source, wanted.maker, wanted.outcome, wanted.is_labelled])
    if st.session_state.get("browse_key") != key:
        st.session_state["browse_key"] = key
        st.session_state["browse_below"] = []
    below: list[int] = st.session_state["browse_below"]
    page = browse(workplace.engine, noun, wanted, below=below[-1] if below else None)
    if page.rows:
        picked = st.dataframe(
            [_shown(row) for row in page.rows],
            hide_index=True,
            height="content",
            on_select="rerun",
            selection_mode="single-row",
            key=f"found_{len(below)}_{hash(key)}",
            column_config={"problem": st.column_config.TextColumn(width="large"), **_WHEN},
        )
        if picked.selection.rows:
            _open(workplace, noun, page.rows[picked.selection.rows[0]])
        st.caption(
            f"Rows {len(below) * 25 + 1} to {len(below) * 25 + len(page.rows)}, newest first."
            + (" Select a row to open its solution." if noun != "runs" else " Select a row for its record.")
        )
    else:
        st.info("Nothing fits." if key != json.dumps([noun, "", "", "", "", None]) else "There is nothing here yet.")
    earlier, following, _ = st.columns([1, 1, 4])
    if below and earlier.button("Newer", width="stretch"):
        below.pop()
        st.rerun()
    if page.next_below is not None and following.button("Older", width="stretch"):
        below.append(page.next_below)
        st.rerun()


_WHEN = {"when": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")}
_CLAIMS = {"outcome": ("right", "wrong"), "confirmed": ("yes", "no"), "current": ("yes", "superseded")}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row with claims in words, and a dash for what is unknown."""
    found = dict(row)
    if "ended" in found:
        found["ended"] = ENDS.get(found["ended"], found["ended"])
    for name, (yes, no) in _CLAIMS.items():
        if name in found and found[name] is not None:
            found[name] = yes if found[name] else no
    return {
        name: "–" if value is None else str(value) if name == "first error" else value
        for name, value in found.items()
    }


def _wanted(noun: str) -> Wanted:
    text, source, maker, outcome, labelled = st.columns([3, 2, 2, 2, 2])
    found: dict[str, Any] = {
        "text": text.text_input(
            "Text or number",
            key=f"text_{noun}",
            placeholder="number" if noun == "runs" else "words of the problem, or a number",
        )
    }
    if noun != "runs":
        found["source"] = source.text_input("Source", key=f"source_{noun}", placeholder="gsm8k/*")
    if noun in _MAKER:
        found["maker"] = maker.text_input(_MAKER[noun], key=f"maker_{noun}", placeholder="*")
    if noun in _OUTCOMES:
        title = {"solutions": "Outcome", "critiques": "Verdict", "runs": "Kind"}[noun]
        found["outcome"] = outcome.selectbox(title, ("", *_OUTCOMES[noun]), key=f"outcome_{noun}")
    if noun in ("solutions", "problems"):
        chosen = labelled.selectbox("Labels", ("", *_YES_NO), key=f"labelled_{noun}")
        found["is_labelled"] = _YES_NO.get(chosen)
    return Wanted(**found)


def _open(workplace: Workplace, noun: str, row: dict[str, Any]) -> None:
    if noun == "runs":
        st.json({**row, "when": str(row["when"])})
        return
    if noun == "problems":
        ids = solutions_of_problem(workplace.engine, row["id"])
        if not ids:
            draw_text(row["problem"], title=f"Problem {row['id']}, without a solution")
            return
        with st.container(border=True):
            chosen = st.selectbox(f"Solutions of problem {row['id']}", ids)
            if st.button("Open the solution"):
                _go(chosen)
        return
    _go(row["id"] if noun == "solutions" else row["solution"])


def _go(solution_id: int | None) -> None:
    st.session_state["browse_solution"] = solution_id
    st.rerun()


def _solution(workplace: Workplace, found: SolutionView) -> None:
    if st.button("← Back to the list"):
        _go(None)
    st.title(f"Solution {found.solution_id}")
    show_told()
    facts = [
        f"problem {found.problem_id}",
        *([found.source] if found.source else []),
        *([f"run {found.run_id}"] if found.run_id else []),
        *([found.generator] if found.generator else []),
        {True: "answer right", False: "answer wrong", None: "outcome unknown"}[found.outcome]
        + (f" (by {found.outcome_rule})" if found.outcome_rule else ""),
        *([f"licence {found.licence}"] if found.licence else []),
    ]
    st.caption(plain(" · ".join(facts)))
    votes = solution_votes(workplace.engine, found.solution_id)
    left, right = st.columns([2, 5], gap="large")
    with left:
        with st.container(border=True):
            draw_text(found.statement, title="Problem")
            if found.reference_answer is not None:
                draw_text(found.reference_answer, title="Reference answer")
            st.caption(plain("found in " + (", ".join(found.sources) or "no source")))
        _as_task(workplace, found)
        _tasks(workplace, found)
        draw_votes(votes)
    with right:
        st.html(_steps_html(found, votes))
        for one in found.said:
            if one.comment:
                draw_text(one.comment, title=f"Comment by {one.annotator}")
    _history(found)
    _critiques(found)


def _steps_html(found: SolutionView, votes: Sequence[SolutionVotes]) -> str:
    said = [one for one in found.said if one.is_current and not one.has_own_segments][:8]
    scores = found.scores[:2]
    segments = (*found.steps, *([] if found.answer is None else [found.answer]))
    named = named_html(votes, len(segments))
    rows = []
    for index, text in enumerate(segments):
        number = "=" if index == len(found.steps) else str(index + 1)
        cells = [
            f'<td class="sm-cell"><b>{number}</b></td>',
            f'<td class="sm-step"><div class="sm-text">{escaped(text)}</div></td>',
            *(
                f'<td class="sm-cell">'
                f"{label_html(one.labels.get(index), is_unsure=index in one.unsure, has_word=len(said) < 4)}</td>"
                for one in said
            ),
            *(
                f'<td class="sm-cell">{values[index]:.2f}</td>'
                if index < len(values)
                else '<td class="sm-cell">–</td>'
                for _, _, _, values in scores
            ),
        ]
        if found.step_values:
            n = found.step_values.get(index)
            cells.append(f'<td class="sm-cell">{"–" if n is None else f"{n[0]} of {n[1]}"}</td>')
        if named:
            cells.append(f'<td class="sm-cell">{named[index]}</td>')
        rows.append(("", cells))
    head = [
        "",
        "Step",
        *(one.annotator for one in said),
        *(model for model, _, _, _ in scores),
        *(["Rollouts right"] if found.step_values else []),
        *(["Judges"] if named else []),
    ]
    return matrix_html(head, rows)


def _as_task(workplace: Workplace, found: SolutionView) -> None:
    """Opens the solution as a task at the labelling page, or puts it into the queue."""
    projects = {
        row.name: row.project_id for row in list_projects(workplace.engine) if row.kind == "steps" and row.is_open
    }
    with st.expander("Open as a task"), st.form("as_task", border=False):
        name = st.selectbox("Project", [_OUTSIDE, *projects])
        project_id = projects.get(name or _OUTSIDE)
        mode = st.selectbox("Mode", [one for one in STEP_MODES if one != "alternatives"], format_func=_words)
        if st.form_submit_button("Label it now", type="primary", help="It is yours, and stands before your others."):
            with mistakes_said():
                task_id = open_solution(
                    workplace.engine,
                    workplace.annotator_id,
                    found.solution_id,
                    project_id=project_id,
                    mode=mode,
                    lease_s=LEASE_S,
                )
                show_task(task_id, project_id)
        st.divider()
        n_wanted = st.number_input("Annotators", min_value=1, max_value=50, value=1)
        is_first = st.toggle("Before all others", value=True)
        if st.form_submit_button("Put into the queue"):
            with told():
                added = add_tasks(
                    workplace.engine,
                    [(found.solution_id, 1000.0 if is_first else 0.0)],
                    project_id=project_id,
                    mode=mode,
                    n_wanted=int(n_wanted),
                    reason="by hand",
                )
                tell(counted("queue", added.read, added.kept, added.dropped))


def _tasks(workplace: Workplace, found: SolutionView) -> None:
    """The tasks there are about the solution, each to be opened at the labelling page."""
    if not found.tasks:
        return
    st.html('<div class="sm-eyebrow">Tasks</div>')
    for one in found.tasks:
        what = _words(one.mode) if one.kind == "steps" else one.kind.replace("preference", "pair")
        purpose = "" if one.purpose == "label" else f", {one.purpose}"
        state = (
            f"{one.n_answers} of {one.n_wanted} answers" if one.purpose in _FILLING else f"{one.n_answers} answers"
        )
        words = f"{one.task_id}: {what}{purpose}" + (f" in {one.project}" if one.project else "") + f", {state}"
        if not (one.is_open and one.purpose in _FILLING):
            st.caption(plain(words))
        elif st.button(f"{plain(words)} →", key=f"open_{one.task_id}", type="tertiary", help="Label it now."):
            with mistakes_said():
                project_id = open_task(workplace.engine, workplace.annotator_id, one.task_id, lease_s=LEASE_S)
                show_task(one.task_id, project_id)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _history(found: SolutionView) -> None:
    st.subheader("Labels")
    if not found.said:
        st.caption("Nobody has labelled it.")
        return
    st.dataframe(
        [
            {
                "by": one.annotator,
                "kind": one.annotator_kind,
                "when": one.created_at,
                "state": "current" if one.is_current else "superseded",
                "ended": ENDS.get(one.finish_reason or "", one.finish_reason or "–"),
                "labels": " ".join(
                    {1: "✓", 0: "◆", -1: "✕"}[one.labels[index]] if index in one.labels else "–"
                    for index in range(max(one.labels, default=-1) + 1)
                ),
                "steps": "own" if one.has_own_segments else "as they are",
                "guideline": one.guideline or "–",
                "task": "–" if one.task_id is None else str(one.task_id),
            }
            for one in found.said
        ],
        hide_index=True,
        column_config=_WHEN,
    )
    if found.scores:
        st.subheader("Scores")
        st.dataframe(
            [{"reward model": name, "kind": kind, "value": value} for name, kind, value, _ in found.scores],
            hide_index=True,
        )


def _critiques(found: SolutionView) -> None:
    if not found.critiques:
        return
    st.subheader("Critiques")
    for critique_id, kind, critic, verdict, first_error, is_confirmed, text in found.critiques:
        said = f"{verdict}, first error {first_error + 1}" if first_error is not None else verdict
        confirmed = {True: ", confirmed", False: ", refuted", None: ""}[is_confirmed]
        with st.expander(plain(f"{kind} by {critic or 'unknown'}: {said}{confirmed} (critique {critique_id})")):
            draw_text(text, is_mono=True)
