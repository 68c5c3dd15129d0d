"""The page on which the work is done: the surface, and nothing beside it."""

import streamlit as st

from annotator.pages import PAGES
from annotator.surface import FIRST_TASK, show_surface

# The surface keeps its own distances, and its footer must reach the bottom of the window. It also says itself when
# the server is away, and work goes on: Streamlit's dialog about that would only stand before it.
_PAGE_CSS = """
[data-testid="stMainBlockContainer"] { padding: 4rem 2rem 0; max-width: none; }
[data-testid="stDialog"] { display: none; }
@media (max-width: 640px) { [data-testid="stMainBlockContainer"] { padding-inline: 0.75rem; } }
"""


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{_PAGE_CSS}</style>")
    show_surface()


def show_task(task_id: int, project_id: int | None) -> None:
    """Switches to this page, on which a task in this person's hands comes first; the script ends here."""
    st.session_state[FIRST_TASK] = task_id
    if st.session_state.get("project_id") not in (None, project_id):
        st.session_state["project_id"] = project_id
    page = PAGES[0]
    st.switch_page(st.Page(show, title=page.title, url_path=page.view, default=True))
