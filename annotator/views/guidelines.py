"""The rules by which steps are labelled."""

import streamlit as st

from annotator.guideline import DEFAULT

_SHAPES = {"good": "✓", "neutral": "◆", "bad": "✕"}


def show() -> None:
    """Draws the page."""
    st.title("Guidelines")
    st.caption(f"Version {DEFAULT.version}; every answer stores the version it was made under.")
    for section in DEFAULT.sections:
        shape = _SHAPES.get(section.kind or "")
        st.subheader(f"{shape} {section.title}" if shape else section.title)
        st.markdown("\n".join(f"- {rule}" for rule in section.rules))
