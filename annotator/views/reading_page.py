"""The measure of pages that are read rather than worked on."""

import streamlit as st

_CSS = """
[data-testid="stMainBlockContainer"] { padding: 4.5rem 1.5rem 3rem; max-width: 66rem; margin-inline: auto; }
"""


def set_measure() -> None:
    """Gives the page a width at which lines read well."""
    st.html(f"<style>{_CSS}</style>")
