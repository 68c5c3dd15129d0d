"""The people who label: their figures, pausing and resuming, calibration rounds, notes."""

import sqlalchemy as sa
import streamlit as st

from annotator.workplace import Workplace, current_as
from db.accounts import list_people
from db.calibration import compare_round, list_rounds, start_round
from db.dashboards import Scope, figures_by_person
from db.members import list_members
from db.notes import write_note
from db.projects import ProjectRow, list_projects

from .dashboard import PERSON_COLUMNS, person_table
from .projects import set_member
from .reading_page import plain, set_measure, show_told, tell, told

_ALL = "All projects"
_PARTS = ("Figures", "Calibration", "Notes")


def show() -> None:
    """Draws the page."""
    set_measure("78rem")
    workplace = current_as("admin")
    st.title("Team")
    show_told()
    rows = list_projects(workplace.engine)
    name = st.selectbox("Project", [_ALL, *(row.name for row in rows)], key="team_project")
    project = next((row for row in rows if row.name == name), None)
    part = st.segmented_control("Part", _PARTS, default=_PARTS[0], label_visibility="collapsed", key="team_part")
    if part == "Calibration":
        _calibration(workplace, project)
    elif part == "Notes":
        _notes(workplace)
    else:
        _figures(workplace, project)


def _figures(workplace: Workplace, project: ProjectRow | None) -> None:
    engine = workplace.engine
    states = {}
    if project is not None:
        states = {one.name: one for one in list_members(engine, project.project_id)}
    people = figures_by_person(engine, Scope(None if project is None else project.project_id))
    table = []
    for row in person_table(people):
        member = states.get(row["annotator"])
        if project is not None:
            row["state"] = "–" if member is None else member.state
            row["why"] = "–" if member is None else member.reason or "–"
        table.append(row)
    idle = sorted(set(states) - {one.annotator for one in people})
    if table:
        st.dataframe(table, hide_index=True, column_config=PERSON_COLUMNS)
    else:
        st.info("Nobody has answered anything here yet.")
    if idle:
        st.caption(plain(f"Members without an answer: {', '.join(idle)}"))
    if project is None:
        st.caption("Choose a project to pause or resume somebody in it.")
        return
    names = sorted(set(states) | {one.annotator for one in people})
    left, _ = st.columns([2, 1])
    with left, st.form("pause"):
        st.subheader("Pause or resume")
        who = st.selectbox("Name", names)
        what = st.selectbox("What", ["pause", "resume"])
        reason = st.text_input("Reason of a pause", help="The person reads it in the place of tasks.")
        if st.form_submit_button("Do it") and who is not None:
            set_member(workplace, project.project_id, who, what, reason)


def _calibration(workplace: Workplace, project: ProjectRow | None) -> None:
    if project is None:
        st.info("Choose a project: a round gives the same tasks to everybody in it.")
        return
    engine = workplace.engine
    rounds = list_rounds(engine, project.project_id)
    if rounds:
        name = st.selectbox("Round", list(rounds), format_func=lambda one: f"{one} ({rounds[one]} tasks)")
        _comparison(engine, project, name)
    else:
        st.write("There was no round yet. In a round everybody labels the same tasks; then you talk about them.")
    left, _ = st.columns([2, 1])
    with left, st.form("round"):
        st.subheader("Start a round")
        n = st.number_input("Tasks", min_value=1, max_value=200, value=10)
        source = st.text_input("Source", value="*", help="Name of a source; * stands for any text.")
        if st.form_submit_button("Start", type="primary"):
            with told():
                name = start_round(
                    engine, project.project_id, n=int(n), source=source or "*", author_id=workplace.annotator_id
                )
                tell(f"Round {name} has begun: its tasks come before all others.")


def _comparison(engine: sa.Engine, project: ProjectRow, name: str) -> None:
    found = compare_round(engine, project.project_id, name)
    people = sorted({person for one in found for person in one.answers})
    answered = [one for one in found if len(one.answers) > 1]
    if answered:
        same = sum(one.is_unanimous for one in answered)
        st.caption(f"{same} of {len(answered)} tasks with two answers or more are unanimous.")
    elif not people:
        st.caption("Nobody has answered one of its tasks yet; they come before all others.")
    st.dataframe(
        [
            {
                "task": one.task_id,
                "differ": "" if one.is_unanimous else "≠",
                **({"known": one.known} if any(task.known for task in found) else {}),
                **{person: one.answers.get(person, "–") for person in people},
                "problem": one.statement[:160],
            }
            for one in found
        ],
        hide_index=True,
    )


def _notes(workplace: Workplace) -> None:
    people = {one.name: one.annotator_id for one in list_people(workplace.engine) if one.erased_at is None}
    left, _ = st.columns([2, 1])
    with left, st.form("note"):
        st.subheader("Write to somebody")
        to = st.multiselect("To", list(people))
        text = st.text_area("Note", max_chars=5000)
        if st.form_submit_button("Send", disabled=not people):
            if not to:
                st.error("Say to whom.")
            else:
                with told(f"Sent to {len(to)}."):
                    for name in to:
                        write_note(
                            workplace.engine,
                            kind="message",
                            to_id=people[name],
                            author_id=workplace.annotator_id,
                            text=text,
                        )
    st.caption("They read it on their Progress page. Roles, invitations and passwords are under People.")
