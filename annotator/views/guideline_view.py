"""Labelling rules drawn on a page: the three labels side by side, the flowchart, and the rest below."""

import streamlit as st

from stepmark.guidelines import GuidelineBody, Section

from .reading_page import escaped, plain

_SHAPES = {"good": ":green[✓]", "neutral": ":orange[◆]", "bad": ":red[✕]"}
_MARKS = {"good": "✓", "neutral": "◆", "bad": "✕"}


def draw_guideline(body: GuidelineBody) -> None:
    """Draws the rules, and the flowchart where there is one."""
    labels = [section for section in body.sections if section.kind]
    if labels:
        for column, section in zip(st.columns(len(labels)), labels, strict=True):
            with column.container(border=True, height="stretch"):
                _section(section)
    if body.flowchart:
        st.subheader("Which label?")
        st.html(_flowchart_html(body))
    for section in body.sections:
        if not section.kind:
            _section(section)


def _section(section: Section) -> None:
    shape = _SHAPES.get(section.kind or "")
    title = plain(section.title)
    st.subheader(f"{shape} {title}" if shape else title)
    st.markdown("\n".join(f"- {plain(rule)}" for rule in section.rules))


def _flowchart_html(body: GuidelineBody) -> str:
    rows = []
    for number, question in enumerate(body.flowchart, start=1):
        branches = "".join(
            f'<td class="sm-cell"><span class="sm-eyebrow">{name}</span> {_branch(branch)}</td>'
            for name, branch in (("yes", question.yes), ("no", question.no))
        )
        rows.append(
            f'<tr><td class="sm-cell"><b>{number}</b></td><td class="sm-step">{escaped(question.question)}</td>'
            f"{branches}</tr>"
        )
    return f'<div class="sm-scroll"><table class="sm-matrix">{"".join(rows)}</table></div>'


def _branch(branch: int | str) -> str:
    if isinstance(branch, int):
        return f"→ <b>{branch}</b>"
    kind = branch.casefold()
    if kind in _MARKS:
        return f'<span class="sm-label sm-{kind}">{_MARKS[kind]} {escaped(branch)}</span>'
    return escaped(branch)
