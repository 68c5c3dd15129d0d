"""The rules by which steps are labelled."""

import streamlit as st

from annotator.guideline import DEFAULT, Section

from .reading_page import set_measure

_SHAPES = {"good": ":green[✓]", "neutral": ":orange[◆]", "bad": ":red[✕]"}


def show() -> None:
    """Draws the page: the three labels side by side, the rest below."""
    set_measure()
    st.title("Guidelines")
    st.caption(f"Version {DEFAULT.version}; every answer stores the version it was made under.")
    labels = [section for section in DEFAULT.sections if section.kind]
    for column, section in zip(st.columns(len(labels)), labels, strict=True):
        with column.container(border=True, height="stretch"):
            _section(section)
    for section in DEFAULT.sections:
        if not section.kind:
            _section(section)


def _section(section: Section) -> None:
    shape = _SHAPES.get(section.kind or "")
    st.subheader(f"{shape} {section.title}" if shape else section.title)
    st.markdown("\n".join(f"- {rule}" for rule in section.rules))
