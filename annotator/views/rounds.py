"""The rounds of a loop: how its figures went, what its guards say, what was chosen and why, what stopped it.

The page only reads: `stepmark loop` runs the rounds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from annotator.workplace import current_as
from db.rounds import LoopState, RoundState, list_loops, list_rounds

from . import charts
from .browse import link_to
from .reading_page import counted, draw_text, escaped, matrix_html, plain, set_measure

_COLUMNS = 3
_SIGNS = {"min": "at least", "max": "at most"}
_CSS = """
.sm-guards td { vertical-align: top; }
.sm-reason { display: grid; grid-template-columns: minmax(9rem, 1fr) auto minmax(12rem, 2fr); gap: .3rem 1.25rem;
  align-items: baseline; margin: .4rem 0 1rem; }
.sm-reason > * { overflow-wrap: anywhere; }
.sm-reason .sm-count { font-variant-numeric: tabular-nums; text-align: right; }
.sm-links a { margin-right: .7rem; white-space: nowrap; }
@media (max-width: 640px) {
  .sm-reason { grid-template-columns: 1fr auto; }
  .sm-reason .sm-links { grid-column: 1 / -1; margin-bottom: .5rem; }
}
"""


def show() -> None:
    """Draws the page."""
    set_measure("78rem")
    engine = current_as("reviewer").engine
    st.html(f"<style>{_CSS}</style>")
    st.title("Rounds")
    loops = list_loops(engine)
    if not loops:
        st.info("No loop has run here yet. A loop generates, verifies, selects, labels and trains in rounds:")
        st.code("stepmark loop --help", language=None)
        return
    names = [loop.loop for loop in loops]
    left, _ = st.columns([2, 2])
    name = left.selectbox("Loop", names, key="rounds_loop")
    loop = next(one for one in loops if one.loop == name)
    rounds = list_rounds(engine, loop.loop)
    _state(loop, rounds)
    _curves(rounds)
    _guards(rounds)
    _one_round(rounds)


def _state(loop: LoopState, rounds: Sequence[RoundState]) -> None:
    """Where the loop stands, in a sentence; and what stopped it."""
    if loop.stop_reason is not None:
        st.error(f"✕ **Stopped in round {rounds[-1].number}.** {plain(loop.stop_reason)}")
    elif loop.finished_at is None:
        st.info(f"Round {rounds[-1].number} is under way, or was interrupted.")
    else:
        st.success(f"No guard has stopped it: {loop.n_finished} of {loop.n_rounds} rounds are finished.")
    ended = "" if loop.finished_at is None else f" to {loop.finished_at:%Y-%m-%d %H:%M}"
    st.caption(f"{loop.n_rounds} rounds from {loop.started_at:%Y-%m-%d %H:%M}{ended} UTC; the first is round 0.")


def _curves(rounds: Sequence[RoundState]) -> None:
    """A curve for each figure, in the order in which the rounds first gave it."""
    names = list(dict.fromkeys(name for one in rounds for name in one.metrics))
    if not names:
        return
    st.subheader("Figures")
    for start in range(0, len(names), _COLUMNS):
        for column, name in zip(st.columns(_COLUMNS, gap="large"), names[start : start + _COLUMNS], strict=False):
            values = [(one.number, one.metrics[name]) for one in rounds if name in one.metrics]
            column.markdown(f"**{plain(name)}**: {_change(values)}")
            column.altair_chart(charts.over_rounds(name, values), width="stretch")


def _change(values: Sequence[tuple[int, float]]) -> str:
    """The first and the last value.

    >>> _change([(0, 0.5), (1, 0.62)]), _change([(0, 1200)])
    ('0.5 → 0.62', '1,200')
    """
    first, last = values[0][1], values[-1][1]
    return _number(last) if len(values) == 1 else f"{_number(first)} → {_number(last)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.3g}"


def _guards(rounds: Sequence[RoundState]) -> None:
    """Each guard's reading in each round beside its bound; tripped ones in shape, word and sentence."""
    readings = _readings(rounds)
    if not readings:
        return
    st.subheader("Guards")
    tripped = [
        f"Round {number}: **{plain(name)}** is {_number(one['value'])}, and should be {plain(_bound(one))}. "
        f"{plain(str(one.get('words') or ''))}"
        for name, by_round in readings.items()
        for number, one in by_round.items()
        if one["tripped"]
    ]
    if tripped:
        st.error(f"✕ **{len(tripped)} tripped**\n\n" + "\n\n".join(tripped))
    else:
        st.caption("None has tripped.")
    shown = [one for one in rounds if one.guards]
    rows = [
        (
            "",
            [
                f"<td>{escaped(name)}</td>",
                f'<td class="sm-cell">{escaped(_bound(next(reversed(by_round.values()))))}</td>',
                *(f'<td class="sm-cell">{_reading_html(by_round.get(one.number))}</td>' for one in shown),
            ],
        )
        for name, by_round in readings.items()
    ]
    head = ["Guard", "Should be", *(f"Round {one.number}" for one in shown)]
    st.html(f'<div class="sm-guards">{matrix_html(head, rows)}</div>')
    drawn = [name for name, by_round in readings.items() if len(by_round) > 1]
    if drawn:
        with st.expander("Guards over the rounds", expanded=bool(tripped)):
            for start in range(0, len(drawn), _COLUMNS):
                names = drawn[start : start + _COLUMNS]
                for column, name in zip(st.columns(_COLUMNS, gap="large"), names, strict=False):
                    by_round = readings[name]
                    last = next(reversed(by_round.values()))
                    column.markdown(f"**{plain(name)}**, {plain(_bound(last))} (dashed)")
                    chart = charts.over_rounds(
                        name,
                        [(number, one["value"]) for number, one in by_round.items()],
                        bound=last["bound"],
                        tripped=[number for number, one in by_round.items() if one["tripped"]],
                    )
                    column.altair_chart(chart, width="stretch")


def _readings(rounds: Sequence[RoundState]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Guards by name, then by round."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for one in rounds:
        for guard in one.guards:
            found.setdefault(guard["name"], {})[one.number] = guard
    return found


def _bound(guard: Mapping[str, Any]) -> str:
    """The bound in words.

    >>> _bound({"bound": 0.95, "direction": "min"})
    'at least 0.95'
    """
    return f"{_SIGNS[guard['direction']]} {_number(guard['bound'])}"


def _reading_html(guard: Mapping[str, Any] | None) -> str:
    if guard is None:
        return '<span class="sm-none">–</span>'
    value = _number(guard["value"])
    if guard["tripped"]:
        return f'<span class="sm-label sm-bad">✕ {value} tripped</span>'
    return f'<span class="sm-label sm-good" title="within its bound">✓ {value}</span>'


def _one_round(rounds: Sequence[RoundState]) -> None:
    """What one round chose and why, what became of the rest, and its plan."""
    st.subheader("What was chosen, and why")
    numbers = [one.number for one in rounds]
    chosen = st.segmented_control(
        "Round", numbers, default=numbers[-1], format_func=lambda number: f"Round {number}", key="rounds_number"
    )
    one = next(one for one in rounds if one.number == (numbers[-1] if chosen is None else chosen))
    if one.selected:
        st.html(f'<div class="sm-reason">{"".join(map(_reason_html, one.selected))}</div>')
    else:
        st.caption("Nothing was chosen in this round.")
    if one.stop_reason is not None:
        st.markdown(f"The loop stopped after this round: {plain(one.stop_reason)}")
    for stage, counts in one.counts.items():
        st.caption(plain(counted(stage, counts.get("read", 0), counts.get("kept", 0), counts.get("dropped") or {})))
    with st.expander("Plan of this round"):
        for name, value in one.plan.items():
            draw_text(str(value), title=str(name))


def _reason_html(selected: Mapping[str, Any]) -> str:
    links = "".join(f'<a href="{link_to(int(id_))}">Solution {int(id_)}</a>' for id_ in selected.get("examples", ()))
    return (
        f"<div>{escaped(str(selected['reason']))}</div>"
        f'<div class="sm-count">{int(selected["n"]):,}</div><div class="sm-links">{links}</div>'
    )
