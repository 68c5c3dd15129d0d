"""The page on which the work is done: the surface, and nothing beside it."""

import streamlit as st

from annotator.surface import show_surface

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
