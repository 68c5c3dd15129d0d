"""How pages beside the labelling surface look: measure, colours, text as it is, what became of an action."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st

from stepmark.errors import StepmarkError

SHAPES = {1: ("good", "✓"), 0: ("neutral", "◆"), -1: ("bad", "✕")}
"""Word and shape of each step label."""

KINDS = {"steps": "steps", "preference": "pairs", "critique": "critiques"}
"""What is labelled, in words."""

ENDS = {
    "found_error": "error found",
    "solution": "no error",
    "answered": "answered",
    "bad_problem": "bad problem",
    "give_up": "given up",
    "skipped": "skipped",
}
"""How an answer ended (`db.queue.answered_how`), in words."""

OUTCOMES = {True: "Final answer right", False: "Final answer wrong", None: "Outcome unknown"}
"""A solution's outcome in words."""

_CSS = """
[data-testid="stMainBlockContainer"] { padding: 4.5rem 1.5rem 3rem; max-width: MEASURE; margin-inline: auto; }
[data-testid="stMetricValue"] { font-variant-numeric: tabular-nums; }
[data-testid="stBaseButton-primary"] *, [data-testid="stBaseButton-primaryFormSubmit"] * {
  color: light-dark(#fff, #14161a) !important;
}
.sm-text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.55; }
.sm-mono { font-family: ui-monospace, monospace; font-size: .86rem; }
.sm-eyebrow { font-size: .72rem; font-weight: 650; letter-spacing: .07em; text-transform: uppercase; opacity: .65; }
.sm-good { color: light-dark(#0b7a56, #4fc795); }
.sm-neutral { color: light-dark(#a35f08, #e0ad4b); }
.sm-bad { color: light-dark(#c22f4a, #ff7d90); }
.sm-label { display: inline-flex; align-items: center; gap: .3em; font-weight: 600; white-space: nowrap; }
.sm-label.sm-unsure::after { content: "?"; opacity: .7; }
.sm-none { opacity: .35; }
.sm-scroll { overflow-x: auto; }
.sm-matrix { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .92rem; }
.sm-matrix th { text-align: left; font-weight: 600; font-size: .8rem; opacity: .75; min-width: 4.5rem; }
.sm-matrix th:first-child, .sm-matrix.sm-slim th { min-width: 0; }
.sm-matrix th { max-width: 6.5rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.sm-matrix.sm-slim th, .sm-matrix.sm-slim td { padding: .35rem .5rem; }
.sm-matrix.sm-slim th:first-child, .sm-matrix.sm-slim td:first-child { padding-left: 0; }
.sm-matrix small { opacity: .65; }
.sm-matrix th, .sm-matrix td {
  padding: .5rem; vertical-align: top;
  border-bottom: 1px solid color-mix(in srgb, currentColor 12%, transparent);
}
.sm-matrix td.sm-cell { text-align: left; width: 1%; white-space: nowrap; }
.sm-matrix td.sm-step { min-width: 14rem; }
.sm-matrix tr.sm-differs td { background: light-dark(rgb(163 95 8 / .07), rgb(224 173 75 / .09)); }
.sm-matrix tr.sm-here { outline: 2px solid light-dark(#3d5bd9, #8fa5ff); outline-offset: -2px; border-radius: .5rem; }
.sm-vote { margin: .15rem 0 .4rem; }
.sm-side { margin-bottom: .4rem; display: flex; align-items: baseline; gap: .75rem; }
.sm-side b { font-size: 1.15rem; } .sm-side span { font-size: .82rem; opacity: .7; overflow-wrap: anywhere; }
.sm-bar {
  display: inline-flex; width: 5.5rem; height: .55rem; border-radius: .3rem; overflow: hidden; vertical-align: middle;
}
.sm-bar i { display: block; height: 100%; }
.sm-bar .sm-good { background: currentColor; } .sm-bar .sm-neutral { background: currentColor; }
.sm-bar .sm-bad { background: currentColor; }
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding-inline: 1rem; }
  .sm-matrix td.sm-step { min-width: 12rem; }
  [data-testid="stHorizontalBlock"]:has([data-testid="stMetric"]) > [data-testid="stColumn"] {
    min-width: calc(50% - .6rem); flex: 1 1 calc(50% - .6rem);
  }
  [data-testid="stHorizontalBlock"]:has([data-testid="stMetric"]) { gap: .6rem; }
  [data-testid="stMetricValue"] { font-size: 1.5rem; }
}
"""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:@^=])")


def set_measure(width: str = "66rem") -> None:
    """Gives the page a width at which its lines or tables read well, and the shared looks."""
    st.html(f"<style>{_CSS.replace('MEASURE', width)}</style>")


def plain(text: str) -> str:
    r"""Text for a place where Streamlit reads Markdown (labels, messages), so that it shows as it is.

    >>> print(plain("2*3 costs $5"))
    2\*3 costs \$5
    """
    return _MARKDOWN.sub(r"\\\1", text)


def escaped(text: str) -> str:
    """Text for HTML of our own."""
    return html.escape(text, quote=True)


def draw_text(text: str, *, title: str | None = None, is_mono: bool = False) -> None:
    """Draws foreign text as it is: nothing in it is Markdown, HTML or TeX."""
    head = f'<div class="sm-eyebrow">{escaped(title)}</div>' if title else ""
    st.html(f'{head}<div class="sm-text{" sm-mono" if is_mono else ""}">{escaped(text)}</div>')


def label_html(label: int | None, *, is_unsure: bool = False, has_word: bool = True) -> str:
    """A step label as shape, colour and word; a faint dash where there is none."""
    if label is None:
        return '<span class="sm-none">–</span>'
    word, shape = SHAPES[label]
    unsure = " sm-unsure" if is_unsure else ""
    text = f"{shape} {word}" if has_word else shape
    title = f"{word}{', unsure' if is_unsure else ''}"
    return f'<span class="sm-label sm-{word}{unsure}" title="{title}">{text}</span>'


def bar_html(parts: Mapping[int, float]) -> str:
    """Shares of good, neutral and bad as a small bar, with the figures as its title."""
    title = ", ".join(f"{SHAPES[label][0]} {parts.get(label, 0):.0%}" for label in (1, 0, -1))
    cells = "".join(
        f'<i class="sm-{SHAPES[label][0]}" style="width:{100 * parts.get(label, 0):.1f}%"></i>'
        for label in (1, 0, -1)
    )
    return f'<span class="sm-bar" role="img" aria-label="{title}" title="{title}">{cells}</span>'


def matrix_html(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, is_slim: bool = False) -> str:
    """A table of HTML cells; each row has a class. Column heads are text. A slim one fits a narrow column."""
    heads = "".join(f'<th title="{escaped(cell)}">{escaped(cell)}</th>' for cell in head)
    heads = f"<tr>{heads}</tr>" if heads else ""
    body = "".join(f'<tr class="{name}">{"".join(cells)}</tr>' for name, cells in rows)
    slim = " sm-slim" if is_slim else ""
    return f'<div class="sm-scroll"><table class="sm-matrix{slim}">{heads}{body}</table></div>'


def choose_one(label: str, options: Sequence[str], *, kept: str, words: Mapping[str, str] | None = None) -> str:
    """A row of options, one of which is always chosen; the choice is kept in the session under a name of its own.

    A widget's own state is gone once a run does not draw it.
    """
    before: Any = st.session_state.get(kept)
    chosen = st.segmented_control(
        label,
        options,
        default=before if before in options else options[0],
        format_func=lambda one: (words or {}).get(one, one),
        label_visibility="collapsed",
        key=f"{kept}_chosen",
    )
    found: str = chosen if chosen is not None else (before if before in options else options[0])
    st.session_state[kept] = found
    return found


@contextmanager
def told(message: str = "") -> Iterator[None]:
    """Runs an action: a mistake is said on the page; success is said on the next run, which begins at once."""
    try:
        yield
    except StepmarkError as err:
        st.error(plain(str(err)))
    else:
        if message:
            tell(message)
        st.rerun()


@contextmanager
def mistakes_said() -> Iterator[None]:
    """Says on the page what a user did wrong, where the action ends the script by itself."""
    try:
        yield
    except StepmarkError as err:
        st.error(plain(str(err)))


def tell(message: str) -> None:
    """Keeps a message for the next run of the page."""
    st.session_state["told"] = message


def show_told() -> None:
    """Shows what the last action said."""
    if message := st.session_state.pop("told", None):
        st.success(plain(message))


def counted(title: str, read: int, kept: int, dropped: Mapping[str, int]) -> str:
    """What became of things, in one line: read, kept, dropped by reason.

    >>> counted("queue", 3, 1, {"already queued": 2})
    'queue: read 3, kept 1, dropped 2 (2 already queued)'
    """
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(dropped.items()) if count)
    return f"{title}: read {read:,}, kept {kept:,}, dropped {sum(dropped.values()):,}" + (
        f" ({reasons})" if reasons else ""
    )
