"""The annotator's own counts, the last answers, and the state of the queue."""

import streamlit as st

from annotator.workplace import current
from db.queue import progress, queue_state, recently_answered

from .reading_page import set_measure

_REASONS = {
    "found_error": "error found",
    "solution": "no error",
    "bad_problem": "bad problem",
    "give_up": "given up",
    "skipped": "skipped",
}
_LABELS = {1: "good", 0: "neutral", -1: "bad"}


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
    st.subheader("Queue")
    states = queue_state(workplace.engine)
    if states:
        st.dataframe(
            [
                {
                    "rule": state.reason,
                    "mode": state.mode.replace("_", " "),
                    "open": state.n_open,
                    "in somebody's hands": state.n_leased,
                    "done": state.n_closed,
                }
                for state in states
            ],
            hide_index=True,
        )
    else:
        st.write("The queue is empty. Fill it in a terminal:")
        st.code(workplace.fill_command, language=None)
    if found.n_answered:
        how, what = st.columns(2)
        how.subheader("How tasks ended")
        how.dataframe(
            [{"ended": _REASONS.get(why, why), "tasks": count} for why, count in sorted(found.by_reason.items())],
            hide_index=True,
        )
        what.subheader("Labels")
        what.dataframe(
            [{"label": _LABELS[label], "steps": found.by_label.get(label, 0)} for label in (1, 0, -1)],
            hide_index=True,
        )
        what.caption(f"{found.n_unsure} of them marked as unsure")
        st.subheader("Last answers")
        st.dataframe(
            [
                {
                    "task": row.task_id,
                    "problem": row.statement[:160],
                    "ended": _REASONS.get(row.finish_reason, row.finish_reason),
                    "first error": "–" if row.first_error is None else str(row.first_error + 1),
                    "seconds": "–" if row.duration_ms is None else f"{row.duration_ms / 1000:.0f}",
                }
                for row in recently_answered(workplace.engine, workplace.annotator_id)
            ],
            hide_index=True,
        )
