"""The labelling surface's server side: what the browser is shown, and what becomes of what it sends.

The surface sends its whole outbox each time, and names the leases it holds. Every submission is answered by id, so
that the browser can drop it; the answers of one session are repeated until the page is loaded anew, because
Streamlit may hand several of our messages to the browser as one.
"""

from dataclasses import asdict
from typing import Any

import streamlit as st

from db.queue import counts_for
from db.tasks import claim_tasks, heartbeat, submit

from .assets import component_url, find_katex, style_sheet
from .guideline import DEFAULT as GUIDELINE
from .messages import Unreadable, read_held, read_outbox
from .workplace import HELD_TASKS, LEASE_S, Workplace, current

_KEY = "surface"
_ANSWERS_KEPT = 100

# The component's own modules are fetched by address: inline code is a module without one and can import nothing.
_LOADER = """
let module;
export default function (component) {
  let isGone = false;
  let unmount = () => {};
  const address = new URL(`${component.data.assets}/surface.js`, window.location.origin).href;
  module ??= import(address);
  module.then(({ mount }) => {
    if (!isGone) unmount = mount(component);
  });
  return () => {
    isGone = true;
    unmount();
  };
}
"""

_mount = st.components.v2.component(
    "stepmark.surface",
    css=style_sheet(),
    js=_LOADER,
    isolate_styles=False,
)


def show_surface() -> None:
    """Mounts the surface with the tasks in this annotator's hands."""
    workplace = current()
    _mount(key=_KEY, data=surface_data(workplace), on_sync_change=_on_sync, height="content")


def surface_data(workplace: Workplace) -> dict[str, Any]:
    """Everything the surface draws from; claims tasks up to the number to hold."""
    tasks = claim_tasks(
        workplace.engine, workplace.annotator_id, n=HELD_TASKS, lease_s=LEASE_S, reason=workplace.reason
    )
    answered, left = counts_for(workplace.engine, workplace.annotator_id, reason=workplace.reason)
    katex = find_katex()
    return {
        "assets": component_url(),
        "katex": {"module": katex.module, "css": katex.css} if katex else None,
        "scope": workplace.scope,
        "math_mode": "auto",
        "tasks": [asdict(task) for task in tasks],
        "acknowledged": st.session_state.get("acknowledged", []),
        "counts": {"answered": answered, "left": left},
        "guideline": GUIDELINE.as_json(),
        "fill_command": workplace.fill_command,
    }


def take(workplace: Workplace, message: object) -> list[dict[str, str]]:
    """Stores what a message brings and prolongs the leases it names; returns one answer for each submission."""
    answers: list[dict[str, str]] = []
    for submission in read_outbox(message, workplace.annotator_id):
        if isinstance(submission, Unreadable):
            status, why = "invalid", submission.message
        else:
            answer = submit(workplace.engine, submission)
            status, why = answer.status, answer.message
        answers.append({"submission_id": submission.submission_id, "status": status, "message": why})
    if held := read_held(message):
        heartbeat(workplace.engine, workplace.annotator_id, held, lease_s=LEASE_S)
    return answers


def _on_sync() -> None:
    answers = take(current(), st.session_state[_KEY].get("sync"))
    st.session_state["acknowledged"] = [*st.session_state.get("acknowledged", []), *answers][-_ANSWERS_KEPT:]
