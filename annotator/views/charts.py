"""Charts of the lead's pages, by Streamlit's own Altair; their colours hold in light and dark mode."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

import altair as alt

from db.dashboards import Day, PersonFigures

_COLOURS = {"good": "#2f9e78", "neutral": "#cf9630", "bad": "#d9566d"}
_INK = "#6680ea"
_LABELS = {1: "good", 0: "neutral", -1: "bad"}


def by_day(days: Sequence[Day], value: str, title: str) -> alt.Chart:
    """A bar for each day, days without work among them."""
    done = {day.day: getattr(day, value) for day in days}
    first, last = min(done), max(done)
    every = [first + dt.timedelta(days=index) for index in range((last - first).days + 1)]
    rows = [{"day": day.isoformat(), "n": done.get(day, 0)} for day in every]
    # Each day is a band of its own, so that its name stands below its bar; names that would touch are left out.
    axis = alt.Axis(
        labelExpr="utcFormat(toDate(datum.value), '%d %b')",
        labelAngle=0,
        labelOverlap="greedy",
        labelSeparation=12,
        grid=False,
        ticks=False,
    )
    chart: alt.Chart = (
        _chart(rows)
        .mark_bar(color=_INK, cornerRadiusTopLeft=3, cornerRadiusTopRight=3)
        .encode(
            x=alt.X("day:O", title=None, axis=axis, scale=alt.Scale(paddingInner=0.15)),
            y=alt.Y("n:Q", title=title, axis=alt.Axis(tickCount=4, format="~s")),
            tooltip=[alt.Tooltip("day:O"), alt.Tooltip("n:Q", title=title, format=",")],
        )
        .properties(height=220)
    )
    return chart


def label_shares(rows: Mapping[str, Mapping[int, int]]) -> alt.Chart:
    """Shares of good, neutral and bad, a stacked bar for each row."""
    cells = [
        {"who": who, "label": _LABELS[label], "n": counts.get(label, 0), "order": -label}
        for who, counts in rows.items()
        for label in (1, 0, -1)
    ]
    chart: alt.Chart = (
        _chart(cells)
        .mark_bar()
        .encode(
            x=alt.X("n:Q", stack="normalize", title=None, axis=alt.Axis(format="%", tickCount=5, grid=False)),
            y=alt.Y("who:N", title=None, sort=list(rows), axis=alt.Axis(labelLimit=150, labelOverlap=False)),
            color=alt.Color(
                "label:N",
                scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
                legend=alt.Legend(orient="top", title=None),
            ),
            order="order:Q",
            tooltip=["who:N", "label:N", alt.Tooltip("n:Q", format=",")],
        )
        .properties(height=max(110, 34 * len(rows) + 70))
    )
    return chart


def gold_intervals(people: Sequence[tuple[PersonFigures, float, float, float]]) -> alt.LayerChart:
    """Share of gold right by annotator, with its interval."""
    rows = [
        {"who": one.annotator, "share": value, "low": low, "high": high, "n": one.n_gold}
        for one, value, low, high in people
    ]
    scale = alt.Scale(domain=[0, 1])
    y = alt.Y(
        "who:N",
        title=None,
        sort=[one.annotator for one, _, _, _ in people],
        axis=alt.Axis(labelLimit=150, labelOverlap=False),
    )
    lines = (
        _chart(rows)
        .mark_rule(color=_INK, strokeWidth=2)
        .encode(x=alt.X("low:Q", scale=scale, title=None, axis=alt.Axis(format="%", tickCount=5)), x2="high:Q", y=y)
    )
    dots = (
        _chart(rows)
        .mark_point(color=_INK, filled=True, size=70, opacity=1)
        .encode(
            x=alt.X("share:Q", scale=scale),
            y=y,
            tooltip=["who:N", alt.Tooltip("share:Q", format=".0%"), alt.Tooltip("n:Q", title="gold tasks")],
        )
    )
    chart: alt.LayerChart = (lines + dots).properties(height=max(90, 30 * len(people) + 40))
    return chart


def over_rounds(
    name: str, values: Sequence[tuple[int, float]], *, bound: float | None = None, tripped: Collection[int] = ()
) -> alt.LayerChart:
    """A figure over the rounds of a loop; a guard's with its bound, and a cross where it tripped."""
    rows = [
        {"round": number, "value": value, "state": "tripped" if number in tripped else "within"}
        for number, value in values
    ]
    y = alt.Y(
        "value:Q", title=None, scale=alt.Scale(zero=False, padding=8), axis=alt.Axis(tickCount=4, format=",.4~g")
    )
    x = alt.X("round:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap="greedy", ticks=False))
    line = _chart(rows).mark_line(color=_INK, strokeWidth=2).encode(x=x, y=y)
    dots = (
        _chart(rows)
        .mark_point(size=70, filled=True, opacity=1, strokeWidth=3)
        .encode(
            x=x,
            y=y,
            shape=alt.Shape(
                "state:N", legend=None, scale=alt.Scale(domain=["within", "tripped"], range=["circle", "cross"])
            ),
            color=alt.Color(
                "state:N",
                legend=None,
                scale=alt.Scale(domain=["within", "tripped"], range=[_INK, _COLOURS["bad"]]),
            ),
            tooltip=[
                alt.Tooltip("round:O"),
                alt.Tooltip("value:Q", title=name, format=",.4~g"),
                *([] if bound is None else [alt.Tooltip("state:N", title="guard")]),
            ],
        )
    )
    layers = [line, dots]
    if bound is not None:
        rule = _chart([{"bound": bound}]).mark_rule(color=_COLOURS["neutral"], strokeDash=[5, 4], strokeWidth=2)
        layers.insert(0, rule.encode(y=alt.Y("bound:Q", title=None)))
    chart: alt.LayerChart = alt.LayerChart(layer=layers).properties(height=150)
    return chart


def _chart(rows: Sequence[Mapping[str, object]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))
