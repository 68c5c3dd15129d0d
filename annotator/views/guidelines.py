"""The rules by which steps are labelled: of a project, or the default ones; with their history."""

import streamlit as st

from annotator.guideline import DEFAULT, default_body
from annotator.signin.door import is_allowed
from annotator.workplace import current
from db.guidelines import list_guidelines
from db.projects import list_projects
from db.tasks import workable_pools

from .guideline_view import draw_guideline
from .reading_page import plain, set_measure


def show() -> None:
    """Draws the page."""
    set_measure()
    st.title("Guidelines")
    workplace = current()
    engine = workplace.engine
    stored = {row.version: row for row in list_guidelines(engine)}
    seen = {pool.project_id for pool in workable_pools(engine, workplace.annotator_id)}
    leads = is_allowed(workplace.role, "reviewer")
    projects = [row for row in list_projects(engine) if row.is_open and (leads or row.project_id in seen)]
    in_force: dict[str, list[str]] = {}
    for project in projects:
        in_force.setdefault(project.guideline or DEFAULT.version, []).append(project.name)
    versions = sorted({DEFAULT.version, *stored}, key=lambda one: (one not in in_force, one != DEFAULT.version))
    chosen = next((row for row in projects if row.project_id == st.session_state.get("project_id")), None)
    version = versions[0] if chosen is None else chosen.guideline or DEFAULT.version
    if len(versions) > 1:
        version = st.selectbox(
            "Version",
            versions,
            index=versions.index(version),
            format_func=lambda one: f"{one} ({', '.join(in_force[one])})" if one in in_force else one,
        )
    row = stored.get(version)
    st.caption(f"Version {plain(version)}; every answer stores the version it was made under.")
    draw_guideline(default_body() if row is None else row.body)
    if stored:
        st.subheader("Versions")
        st.dataframe(
            [
                {
                    "version": one,
                    "since": f"{stored[one].created_at:%Y-%m-%d}" if one in stored else "–",
                    "by": stored[one].author if one in stored else "the app's own",
                    "in force in": ", ".join(in_force.get(one, [])) or "–",
                }
                for one in versions
            ],
            hide_index=True,
        )
