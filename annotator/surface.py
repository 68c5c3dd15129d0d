"""The labelling surface's server side: what the browser is shown, and what becomes of what it sends.

The surface sends its whole outbox each time, and names the leases it holds. Every submission is answered by id, so
that the browser can drop it; the answers of one session are repeated until the page is loaded anew, because
Streamlit may hand several of our messages to the browser as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
import streamlit as st

from db.drafts import save_drafts
from db.guidelines import bodies_of
from db.own_settings import keep_keys, own_keys
from db.queue import counts_for
from db.tasks import ClaimedTask, Pool, claim_tasks, heartbeat, submit, workable_pools
from stepmark.confirmation import STEP_LABELS
from stepmark.evidence import Evidence

from .assets import component_url, find_katex, style_sheet
from .guideline import DEFAULT as GUIDELINE
from .guideline import default_body
from .messages import (
    Unreadable,
    read_drafts,
    read_held,
    read_keys,
    read_outbox,
    read_practice,
    read_project,
    storable,
)
from .practice import practice_for
from .workplace import HELD_TASKS, LEASE_S, Workplace, current

_KEY = "surface"
FIRST_TASK = "first_task_id"
"""Where the session keeps the task that this person opened (`db.tasks.opening`); once it is answered, it is passed
over."""
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
    engine, annotator_id = workplace.engine, workplace.annotator_id
    projects = workable_pools(engine, annotator_id)
    project_id = _chosen_project(projects)
    tasks = claim_tasks(
        engine,
        annotator_id,
        n=HELD_TASKS,
        lease_s=LEASE_S,
        reason=workplace.reason,
        project_id=project_id,
        first=st.session_state.get(FIRST_TASK),
    )
    if st.session_state.get("is_practising"):
        chosen = next((pool for pool in projects if pool.project_id == project_id), None)
        practice = practice_for(engine, annotator_id, chosen, lease_s=LEASE_S)
        st.session_state["practice_task_id"] = practice.task_id
        tasks.append(practice)
    answered, left = counts_for(engine, annotator_id, reason=workplace.reason, project_id=project_id)
    katex = find_katex()
    return {
        "assets": component_url(),
        "katex": {"module": katex.module, "css": katex.css} if katex else None,
        "scope": workplace.scope,
        "math_mode": "auto",
        "tasks": with_evidence(workplace, tasks),
        "projects": [
            {
                "project_id": pool.project_id,
                "name": pool.name,
                "kind": pool.kind,
                "mode": pool.mode,
                "state": pool.state,
                "reason": pool.reason,
            }
            for pool in projects
        ],
        "project_id": project_id,
        "paused": None if tasks and project_id is None else _why_nothing(projects, project_id),
        "acknowledged": st.session_state.get("acknowledged", []),
        "counts": {"answered": answered, "left": left},
        "guideline": GUIDELINE.version,
        "guidelines": _guidelines(engine, tasks),
        "settings": {"keys": own_keys(engine, annotator_id)} if workplace.sign_in else None,
        "fill_command": workplace.fill_command,
    }


def with_evidence(workplace: Workplace, tasks: Sequence[ClaimedTask]) -> list[dict[str, Any]]:
    """Tasks as plain data, each with the evidence about its solution where it is to be shown.

    Pairs have none: their solutions' outcomes are there already. Nor has an entry test, which helps nobody.
    """
    shown = {
        task.task_id: task.solution_ids[0]
        for task in tasks
        if task.kind != "preference"
        and task.purpose != "entry"
        and (task.project.shows_evidence or task.mode == "verify")
    }
    found: Mapping[int, Evidence] = {}
    if workplace.evidence is not None and shown:
        found = workplace.evidence(workplace.engine, sorted(set(shown.values())))
    plain: list[dict[str, Any]] = []
    for task in tasks:
        data = asdict(task)
        del data["solution_ids"]
        data["project"]["guideline"] = task.project.guideline or GUIDELINE.version
        evidence = found.get(shown.get(task.task_id, 0))
        data["evidence"] = None if evidence is None else asdict(_without_labels_of_others(evidence))
        data["evidence_before"] = task.evidence_before and evidence is not None and task.mode != "verify"
        plain.append(data)
    return plain


def _without_labels_of_others(evidence: Evidence) -> Evidence:
    """Leaves out that a verdict is right where step labels say so: annotators label independently of each other."""
    hidden: dict[str, Any] = {"is_confirmed": None, "confirmation_rule": None}
    return replace(
        evidence,
        opinions=tuple(
            replace(one, **hidden) if one.confirmation_rule == STEP_LABELS else one for one in evidence.opinions
        ),
        applications=tuple(
            replace(one, **hidden) if one.confirmation_rule == STEP_LABELS else one for one in evidence.applications
        ),
    )


def take(workplace: Workplace, message: object) -> list[dict[str, str]]:
    """Stores what a message brings and prolongs the leases it names; returns one answer for each submission."""
    answers: list[dict[str, str]] = []
    message = storable(message)
    if read_practice(message):
        st.session_state["is_practising"] = True
    for submission in read_outbox(message, workplace.annotator_id):
        if isinstance(submission, Unreadable):
            answers.append(_told(submission.submission_id, "invalid", submission.message))
            continue
        answer = submit(workplace.engine, submission)
        told = _told(submission.submission_id, answer.status, answer.message)
        answers.append(told if answer.paused is None else {**told, "paused": answer.paused})
        if answer.is_accepted and submission.task_id == st.session_state.get("practice_task_id"):
            st.session_state["is_practising"] = False
            st.session_state["practice_task_id"] = None
    if drafts := read_drafts(message):
        save_drafts(workplace.engine, workplace.annotator_id, drafts)
    if held := read_held(message):
        heartbeat(workplace.engine, workplace.annotator_id, held, lease_s=LEASE_S)
    is_chosen, project_id = read_project(message)
    if is_chosen:
        st.session_state["project_id"] = project_id
    keys = read_keys(message)
    if keys is not None and workplace.sign_in:
        keep_keys(workplace.engine, workplace.annotator_id, keys)
    return answers


def _guidelines(engine: sa.Engine, tasks: Sequence[ClaimedTask]) -> dict[str, dict[str, Any]]:
    """The rules by version: the default ones, and those of the projects whose tasks are at hand."""
    own = {task.project.guideline for task in tasks if task.project.guideline}
    stored = bodies_of(engine, own) if own else {}
    return {version: body.as_json() for version, body in {GUIDELINE.version: default_body(), **stored}.items()}


def _told(submission_id: str, status: str, message: str) -> dict[str, str]:
    return {"submission_id": submission_id, "status": status, "message": message}


def _chosen_project(projects: Sequence[Pool]) -> int | None:
    """The project that this session works in; None for all, also where the chosen one is closed by now."""
    chosen: int | None = st.session_state.get("project_id")
    return chosen if any(pool.project_id == chosen for pool in projects) else None


def _why_nothing(projects: Sequence[Pool], project_id: int | None) -> str | None:
    """Why there is no task, where projects, or the chosen one, keep this person from their own."""
    reasons = [pool.reason for pool in projects if pool.reason and project_id in (None, pool.project_id)]
    return " ".join(reasons) or None


def _on_sync() -> None:
    answers = take(current(), st.session_state[_KEY].get("sync"))
    st.session_state["acknowledged"] = [*st.session_state.get("acknowledged", []), *answers][-_ANSWERS_KEPT:]
