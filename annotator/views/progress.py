"""The annotator's own counts, notes from reviewers, the last answers, and the state of the queue."""

import streamlit as st

from annotator.workplace import Workplace, current
from db.notes import NoteRow, list_notes, mark_read
from db.own_quality import GOLD_AT_ONCE, own_quality
from db.queue import progress, queue_state, recently_answered
from stepmark.intervals import share

from .reading_page import ENDS, KINDS, draw_text, plain, set_measure

_LABELS = {1: "good", 0: "neutral", -1: "bad"}
_NOTES = {"sent_back": "Sent back to you", "feedback": "A label was changed", "message": "Message"}


def show() -> None:
    """Draws the page."""
    set_measure()
    workplace = current()
    found = progress(workplace.engine, workplace.annotator_id, reason=workplace.reason)
    st.title("Progress")
    where = "" if workplace.sign_in else f" at {workplace.engine.url.render_as_string(hide_password=True)}"
    st.caption(f"{workplace.annotator}{where}")
    answered, left, labels, pace = st.columns(4)
    answered.metric("Tasks answered", f"{found.n_answered:,}", border=True)
    left.metric("Left for you", f"{found.n_left:,}", border=True)
    labels.metric("Step labels", f"{sum(found.by_label.values()):,}", border=True)
    pace.metric("Median time a task", "–" if found.median_s is None else f"{found.median_s:.0f} s", border=True)
    _notes(workplace)
    _quality(workplace)
    _queue(workplace)
    if found.n_answered:
        how, what = st.columns(2)
        how.subheader("How tasks ended")
        how.dataframe(
            [{"ended": ENDS.get(why, why), "tasks": count} for why, count in sorted(found.by_reason.items())],
            hide_index=True,
        )
        what.subheader("Labels")
        what.dataframe(
            [{"label": _LABELS[label], "steps": found.by_label.get(label, 0)} for label in (1, 0, -1)],
            hide_index=True,
        )
        what.caption(f"{found.n_unsure} of them marked as unsure")
        _last(workplace)


def _notes(workplace: Workplace) -> None:
    notes = list_notes(workplace.engine, workplace.annotator_id, n=50)
    if not notes:
        return
    unread = [note for note in notes if note.is_unread]
    st.subheader(f"Notes ({len(unread)} unread)" if unread else "Notes")
    for note in unread:
        with st.container(border=True):
            _note(note)
    readable = [note.note_id for note in unread if note.kind != "sent_back"]
    if readable and st.button("Mark as read"):
        mark_read(workplace.engine, workplace.annotator_id, readable)
        st.rerun()
    if any(note.kind == "sent_back" for note in unread):
        st.caption("What was sent back comes first when you label; it counts as read once you have answered again.")
    if read := [note for note in notes if not note.is_unread]:
        with st.expander(f"Earlier notes ({len(read)})"):
            for note in read:
                _note(note)


def _note(note: NoteRow) -> None:
    task = f", task {note.task_id}" if note.task_id else ""
    st.markdown(f"**{_NOTES[note.kind]}**{task}")
    draw_text(note.text)
    st.caption(f"{plain(note.author)}, {note.created_at:%Y-%m-%d %H:%M} UTC")


def _quality(workplace: Workplace) -> None:
    """The own share right of tasks with a known answer, in the projects that show it."""
    found = own_quality(workplace.engine, workplace.annotator_id)
    if not found:
        return
    st.subheader("How often you were right")
    for one in found:
        st.markdown(f"**{plain(one.project)}**")
        figures = []
        if one.n_entry:
            figures.append(("Entry test, right", f"{one.n_entry_right} of {one.n_entry}", ""))
        between = share(one.n_gold_right, one.n_gold)
        words = "None is counted yet."
        if between.value is not None:
            words = f"{one.n_gold_right} of {one.n_gold}; between {between.low:.0%} and {between.high:.0%}."
        figures.append(("Known answers, right", "–" if between.value is None else f"{between.value:.0%}", words))
        for column, (title, value, said) in zip(st.columns(4), figures, strict=False):
            column.metric(title, value, border=True)
            if said:
                column.caption(said)
    st.caption(
        f"Some tasks have an answer that is known beforehand. Which ones is not said, and they count {GOLD_AT_ONCE} "
        "at a time."
    )


def _queue(workplace: Workplace) -> None:
    st.subheader("Queue")
    states = queue_state(workplace.engine)
    if states:
        st.dataframe(
            [
                {
                    **({"project": state.project or "–"} if any(one.project for one in states) else {}),
                    "rule": state.reason or "–",
                    "what": state.mode.replace("_", " ") if state.kind == "steps" else KINDS[state.kind],
                    "open": state.n_open,
                    "in somebody's hands": state.n_leased,
                    "done": state.n_closed,
                }
                for state in states
            ],
            hide_index=True,
        )
    else:
        st.write("The queue is empty. Fill it under Projects, or in a terminal:")
        st.code(workplace.fill_command, language=None)


def _last(workplace: Workplace) -> None:
    st.subheader("Last answers")
    st.dataframe(
        [
            {
                "task": row.task_id,
                "problem": row.statement[:160],
                "ended": ENDS.get(row.finish_reason, row.finish_reason),
                "first error": "–" if row.first_error is None else str(row.first_error + 1),
                "seconds": "–" if row.duration_ms is None else f"{row.duration_ms / 1000:.0f}",
            }
            for row in recently_answered(workplace.engine, workplace.annotator_id)
        ],
        hide_index=True,
    )
