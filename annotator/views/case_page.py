"""What cases of every kind share: the head, names that can be hidden, comments, sending back, the next task."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import streamlit as st

from annotator.workplace import Workplace
from db.adjudications import Answer, Contested, WholeAnswer, contested_tasks
from db.notes import send_back
from stepmark.errors import StepmarkError

from .reading_page import draw_text, plain

KIND, PROJECT = "adjudicate_kind", "adjudicate_project"
"""Where the session keeps which part of the queue is worked through."""

_CSS = """
.st-key-decide { position: sticky; bottom: 0; z-index: 5; padding: .75rem 0 1rem;
  background: light-dark(#fcfbf8, #14161a); border-top: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
@media (max-width: 640px) {
  .st-key-decide { position: static; }
  .st-key-decide [data-testid="stElementContainer"]:has([data-testid="stTextInput"]) { min-width: 100%; }
}
"""


GivenAnswer: TypeAlias = Answer | WholeAnswer


def draw_head(task_id: int, project: str | None) -> None:
    """The way back, which task this is, and the switch that hides names."""
    st.html(f"<style>{_CSS}</style>")
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        if st.button("← All disagreements"):
            leave()
        st.subheader(f"Task {task_id}" + (f", {plain(project)}" if project else ""), width="content")
        st.toggle("Hide names", key="hide_names", help="Annotators become Person 1, Person 2, ...")


def names_of(answers: Sequence[GivenAnswer]) -> dict[int, str]:
    """The annotators' names by annotation, or numbers in their place."""
    is_hidden = st.session_state.get("hide_names", False)
    return {
        answer.annotation_id: f"Person {number}" if is_hidden else answer.annotator
        for number, answer in enumerate(answers, start=1)
    }


def draw_comments(answers: Sequence[GivenAnswer], names: Mapping[int, str]) -> None:
    """What annotators wrote, and who was asked to look again."""
    for answer in answers:
        if answer.comment:
            draw_text(answer.comment, title=f"Comment by {names[answer.annotation_id]}")
        if answer.is_sent_back:
            st.caption(f"Sent back to {plain(names[answer.annotation_id])}, not answered again yet")


def draw_send_back(
    workplace: Workplace, task_id: int, answers: Sequence[GivenAnswer], names: Mapping[int, str]
) -> None:
    """The form that asks annotators to look again."""
    with st.expander("Send back"), st.form(f"send_back_{task_id}", border=False):
        to = st.multiselect(
            "To", list(names), format_func=lambda annotation_id: names[annotation_id], default=list(names)
        )
        text = st.text_area("What should they look at?", max_chars=5000)
        if st.form_submit_button("Send"):
            wanted = [one.annotator_id for one in answers if one.annotation_id in to]
            try:
                n = send_back(
                    workplace.engine,
                    task_id=task_id,
                    annotator_ids=wanted,
                    author_id=workplace.annotator_id,
                    text=text,
                )
            except StepmarkError as err:
                st.error(plain(str(err)))
            else:
                st.success(f"Sent back to {n}; their answers stay until they correct them.")


def draw_note(key: str) -> None:
    """The field for the reviewer's words."""
    st.text_input(
        "Note", placeholder="Note (optional; the annotators read it)", label_visibility="collapsed", key=key
    )


def draw_problem() -> None:
    """Says why the last decision was not stored, if it was not."""
    if problem := st.session_state.pop("case_problem", None):
        st.error(plain(problem))


def draw_next(workplace: Workplace, task_id: int, kind: str, *, is_done: bool) -> None:
    """The button that goes to the next undecided task of the part of the queue that is worked through."""
    if not st.button("Next task", shortcut="Shift+N", type="primary" if is_done else "secondary"):
        return
    engine, project_id = workplace.engine, st.session_state.get(PROJECT)
    found = contested_tasks(engine, kind=kind, project_id=project_id, after=st.session_state.get("case_after"), n=2)
    if all(one.task_id == task_id for one in found):  # behind the last one comes the first
        found = contested_tasks(engine, kind=kind, project_id=project_id, n=2)
    following = next((one for one in found if one.task_id != task_id), None)
    if following is None:
        st.session_state["told"] = (
            "That was the last disagreement." if is_done else "This is the only disagreement that is left."
        )
        leave()
        return
    open_case(following)


def open_case(one: Contested) -> None:
    """Goes to a case."""
    st.session_state["case"], st.session_state["case_after"] = one.task_id, one.after
    st.rerun()


def leave() -> None:
    """Goes back to the queue."""
    st.session_state.pop("case", None)
    st.session_state.pop("case_after", None)
    st.rerun()
