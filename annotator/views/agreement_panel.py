"""The dashboard's part on agreement: raw, Krippendorff's alpha, Gwet's AC2, and agreement on the first error."""

from collections.abc import Sequence

import sqlalchemy as sa
import streamlit as st

from db.agreement import LabelSelection, find_labellers, labelled_solutions
from db.dashboards import Scope
from db.decisions import WithDecisions, agreement_with_decisions
from stepmark.agreement.coefficient import Coefficient
from stepmark.agreement.report import AgreementReport, report_agreement

from .reading_page import plain

_RESAMPLES = 500


def draw_agreement(engine: sa.Engine, scope: Scope) -> None:
    """Draws the figures; they are kept for five minutes, because they read every label."""
    heading, choice = st.columns([2, 2], vertical_alignment="bottom")
    heading.subheader("Agreement")
    with choice:
        chosen = st.segmented_control(
            "Answers",
            list(_SUGGESTIONS),
            default=next(iter(_SUGGESTIONS)),
            help="Answers made with, or without, a model's opinion on screen before them.",
            key="agreement_suggestion",
        )
    selection = LabelSelection(
        project_id=scope.project_id,
        since=scope.since,
        until=scope.until,
        suggestion_shown=_SUGGESTIONS[chosen] if chosen else None,
    )
    with st.spinner("Reading labels"):
        report, decided = _report(engine, selection)
    total = report.total
    if not total.n_shared:
        _decisions(decided)
        st.caption(
            f"{total.n_steps:,} steps are labelled, none of them by two people: agreement needs tasks that want two "
            "annotators or more."
        )
        return
    first = total.first_errors
    for column, (title, found, words) in zip(
        st.columns(5),
        (
            ("Raw", total.raw, "Share of pairs of annotators who say the same of a step."),
            ("Alpha", total.alpha, "Krippendorff's, ordinal: 1 is full agreement, 0 what chance gives."),
            ("AC2", total.ac2, "Gwet's, ordinal weights: steady where most labels are alike."),
            ("First error, same", first.exact, "Pairs who name the same first error, or both none."),
            ("First error, within 1", first.within_one, "The same, or one step apart."),
        ),
        strict=True,
    ):
        with column:
            _figure(title, found, words)
    st.caption(
        f"Over {total.n_shared:,} steps with two annotators or more, of {total.n_solutions:,} solutions by "
        f"{total.n_labellers} people; intervals of 95 %, drawn by solution."
    )
    with st.expander("By annotator and by pair"):
        st.dataframe(
            [
                {
                    "annotator": one.annotator,
                    "with others": one.others.n,
                    "the same": _rounded(one.others.raw),
                    "AC2": one.others.ac2,
                    "again": one.itself.n,
                    "the same again": _rounded(one.itself.raw),
                }
                for one in report.annotators
            ],
            hide_index=True,
            column_config=_PERCENT,
        )
        st.dataframe(
            [
                {
                    "annotator": one.annotators[0],
                    "and": one.annotators[1],
                    "steps": one.agreement.n,
                    "the same": _rounded(one.agreement.raw),
                    "AC2": one.agreement.ac2,
                }
                for one in report.pairs
            ],
            hide_index=True,
            column_config=_PERCENT,
        )
    _decisions(decided)


def _decisions(decided: Sequence[WithDecisions]) -> None:
    """Each annotator beside the reviewers' decisions, as beside one more labeller."""
    if not decided:
        return
    kinds = [kind for kind in _DECIDED if any(getattr(one, f"n_{kind}") for one in decided)]
    with st.expander("Beside the reviewers' decisions"):
        st.dataframe(
            [
                {
                    "annotator": one.annotator,
                    "decided" if len(kinds) > 1 else f"{kinds[0]} decided": one.n,
                    "as decided": _rounded(one.n_same / one.n),
                    **({kind: _of(one, kind) for kind in kinds} if len(kinds) > 1 else {}),
                }
                for one in decided
            ],
            hide_index=True,
            column_config=_PERCENT,
        )
        st.caption(
            "Of what reviewers decided on Adjudicate, how much an annotator had said as well. Tasks are decided "
            "where people differ, and who was adopted agrees by that alone: read it to tell people apart."
        )


def _rounded(share: float | None) -> float | None:
    """A share to a tenth of a percent."""
    return None if share is None else round(share, 3)


def _of(one: WithDecisions, kind: str) -> str:
    n = getattr(one, f"n_{kind}")
    return f"{getattr(one, f'n_{kind}_same')} of {n}" if n else "–"


_DECIDED = ("steps", "pairs", "critiques")
"""What reviewers decide."""

_SUGGESTIONS = {"All": None, "Opinion hidden": False, "Opinion shown": True}
"""Which answers count, by whether a model's opinion was on screen before them."""

_PERCENT = {
    name: st.column_config.NumberColumn(format="percent") for name in ("the same", "the same again", "as decided")
} | {"AC2": st.column_config.NumberColumn(format="%.2f")}


def _figure(title: str, found: Coefficient, words: str) -> None:
    st.metric(title, "–" if found.value is None else f"{found.value:.2f}", help=words, border=True)
    if found.value is None:
        st.caption(plain(found.because or "undefined"))
    elif found.low is not None and found.high is not None:
        st.caption(f"{found.low:.2f} to {found.high:.2f}")
    elif found.because:
        st.caption(plain(found.because))


@st.cache_data(ttl=300, max_entries=20, show_spinner=False, hash_funcs={sa.Engine: lambda engine: str(engine.url)})
def _report(engine: sa.Engine, selection: LabelSelection) -> tuple[AgreementReport, list[WithDecisions]]:
    labellers = find_labellers(engine, selection)
    chunks = labelled_solutions(engine, selection, labellers)
    report = report_agreement(chunks, labellers.names, resamples=_RESAMPLES)
    return report, agreement_with_decisions(engine, selection)
