"""The page on which the work is done: the surface, and nothing beside it."""

import streamlit as st

from annotator.surface import show_surface

# The surface keeps its own distances, and its footer must reach the bottom of the window.
_PAGE_CSS = """
<style>
[data-testid="stMainBlockContainer"] { padding: 4.25rem 2rem 0; max-width: none; }
@media (max-width: 640px) { [data-testid="stMainBlockContainer"] { padding-inline: 0.75rem; } }
</style>
"""


def show() -> None:
    """Draws the page."""
    st.html(_PAGE_CSS)
    show_surface()
