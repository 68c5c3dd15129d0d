"""How the labelling goes: progress and forecast, time and cost, agreement, quality by annotator, anchoring."""

import csv
import datetime as dt
import io
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import streamlit as st

from annotator.workplace import current_as
from db import dashboards
from db.dashboards import Day, PersonFigures, Scope, Totals
from db.projects import ProjectRow, list_projects
from stepmark.forecast import Forecast, forecast
from stepmark.intervals import Difference, difference, share

from . import charts
from .agreement_panel import draw_agreement
from .reading_page import ENDS, set_measure

_ALL = "All projects"
_DATES = "Dates"
_SPANS = {"7 days": 7, "30 days": 30, "90 days": 90, "All": None, _DATES: None}
_FORECAST_DAYS = 14


def show() -> None:
    """Draws the page."""
    set_measure("78rem")
    engine = current_as("reviewer").engine
    st.title("Dashboard")
    rows = list_projects(engine)
    scope, project = _scope(rows)
    done, days, people = _figures(engine, scope)
    _progress(engine, scope, days)
    if not done.n_answers:
        st.info("Nothing was answered in this time. Figures appear with the first answer.")
        return
    _time_and_cost(engine, done, project)
    st.divider()
    draw_agreement(engine, scope)
    st.divider()
    _people(people)
    st.divider()
    _labels(done, people)
    st.divider()
    _anchoring(engine, scope)


@st.cache_data(ttl=60, max_entries=50, show_spinner=False, hash_funcs={sa.Engine: lambda engine: str(engine.url)})
def _figures(engine: sa.Engine, scope: Scope) -> tuple[Totals, list[Day], list[PersonFigures]]:
    """The figures that read every label of the scope; kept for a minute."""
    return (
        dashboards.totals(engine, scope),
        dashboards.work_by_day(engine, scope),
        dashboards.figures_by_person(engine, scope),
    )


def _scope(rows: Sequence[ProjectRow]) -> tuple[Scope, ProjectRow | None]:
    left, right = st.columns([2, 2], vertical_alignment="bottom")
    name = left.selectbox("Project", [_ALL, *(row.name for row in rows)], key="dashboard_project")
    with right:
        span = st.segmented_control("Time", list(_SPANS), default="30 days", key="dashboard_span")
    project = next((row for row in rows if row.name == name), None)
    project_id = None if project is None else project.project_id
    today = dt.datetime.now(dt.UTC).date()
    if span == _DATES:
        return Scope(project_id, *_dates(today)), project
    n_days = _SPANS[span or "All"]
    since = None if n_days is None else _midnight(today - dt.timedelta(days=n_days - 1))
    return Scope(project_id, since), project


def _dates(today: dt.date) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The days that are picked, both included; either may be left open."""
    _, first, last = st.columns([2, 1, 1])
    begin = first.date_input(
        "From", today - dt.timedelta(days=29), max_value=today, format="YYYY-MM-DD", key="dashboard_from"
    )
    end = last.date_input(
        "To", None, max_value=today, format="YYYY-MM-DD", key="dashboard_to", help="Empty: up to now."
    )
    if begin is not None and end is not None and end < begin:
        st.error(f"{begin} is after {end}: the days are turned round.")
        begin, end = end, begin
    since = None if begin is None else _midnight(begin)
    return since, None if end is None else _midnight(end + dt.timedelta(days=1))


def _midnight(day: dt.date) -> dt.datetime:
    """When a day begins (UTC)."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _progress(engine: sa.Engine, scope: Scope, days: Sequence[Day]) -> None:
    today = dt.datetime.now(dt.UTC).date()
    recent = dashboards.work_by_day(
        engine,
        Scope(scope.project_id, dt.datetime.now(dt.UTC) - dt.timedelta(days=_FORECAST_DAYS + 1)),
    )
    pace = finished_days(recent, today)
    left = dashboards.work_left(engine, scope.project_id)
    ahead = forecast(pace, left.n_answers)
    answers, labels, to_do, until = st.columns(4)
    answers.metric("Answers", f"{sum(day.n_answers for day in days):,}", border=True)
    labels.metric(
        "Step labels",
        f"{sum(day.n_labels for day in days):,}",
        help="Labels of steps in the time chosen above.",
        border=True,
    )
    to_do.metric(
        "Answers to come",
        f"{left.n_answers:,}",
        help=f"{left.n_tasks:,} open tasks, each wanted from as many annotators as it says.",
        border=True,
    )
    until.metric("Done by", _date(today, ahead), help=_forecast_words(today, ahead, pace), border=True)
    st.caption(_forecast_words(today, ahead, pace))
    if days:
        first, second = st.columns(2, gap="large")
        first.altair_chart(charts.by_day(days, "n_answers", "answers a day"), width="stretch")
        second.altair_chart(charts.by_day(days, "n_labels", "step labels a day"), width="stretch")


def finished_days(days: Sequence[Day], today: dt.date) -> list[int]:
    """Answers on each day of the last two weeks, idle ones too, from the first day of work on; without today.

    >>> finished_days([Day(dt.date(2026, 1, 1), 5, 9, 0.1)], dt.date(2026, 1, 4))
    [5, 0, 0]
    """
    done = {day.day: day.n_answers for day in days if day.day < today}
    if not done:
        return []
    first = max(min(done), today - dt.timedelta(days=_FORECAST_DAYS))
    return [done.get(first + dt.timedelta(days=index), 0) for index in range((today - first).days)]


def _date(today: dt.date, ahead: Forecast) -> str:
    if ahead.days == 0:
        return "done"
    return "–" if ahead.days is None else f"{today + dt.timedelta(days=ahead.days):%d %b %Y}"


def _forecast_words(today: dt.date, ahead: Forecast, pace: Sequence[int]) -> str:
    if ahead.days == 0:
        return "Nothing is left to do."
    if ahead.days is None:
        return f"No forecast: {ahead.because}."
    assert ahead.low is not None
    last = "later than two years from now"
    if ahead.high is not None:
        last = f"{today + dt.timedelta(days=ahead.high):%d %b %Y}"
    return (
        f"Eight times of ten between {today + dt.timedelta(days=ahead.low):%d %b %Y} and {last}, if the days to come "
        f"are like the last {len(pace)} ({sum(pace) / len(pace):,.0f} answers a day); people who join or leave, and "
        "tasks that are added, are not foreseen."
    )


def _time_and_cost(engine: sa.Engine, done: Totals, project: ProjectRow | None) -> None:
    st.subheader("Time and cost")
    people, median, label, hours = st.columns(4)
    people.metric("People", f"{done.n_people:,}", border=True)
    median.metric("Median time an answer", _seconds(done.median_s), border=True)
    label.metric("Time a step label", _seconds(done.s_per_label), border=True)
    hours.metric(
        "Hours",
        f"{done.hours:,.1f}",
        help=f"Of the {done.n_timed:,} of {done.n_answers:,} answers that say how long they took.",
        border=True,
    )
    rate = None if project is None else project.settings.usd_per_hour
    words = []
    if rate is not None:
        words.append(f"People: {done.hours * rate:,.2f} USD at {rate:,.2f} USD an hour")
        if done.n_labels_timed:
            words.append(f"{done.hours * rate / done.n_labels_timed:,.4f} USD a step label")
    else:
        words.append("What people cost: set USD an hour in a project's settings, and choose the project here")
    cost, unpriced = dashboards.model_cost(engine)
    words.append(
        f"models, in all runs: {cost:,.2f} USD" + (f" ({unpriced:,} answers of unknown price)" if unpriced else "")
    )
    st.caption("; ".join(words) + ".")


def _people(people: Sequence[PersonFigures]) -> None:
    st.subheader("Annotators")
    table = person_table(people)
    st.dataframe(table, hide_index=True, column_config=PERSON_COLUMNS)
    _download("annotators", table)
    gold = [(one, found) for one in people if (found := share(one.n_gold_right, one.n_gold)).value is not None]
    if gold:
        left, _ = st.columns([3, 2])
        left.markdown("**Gold answered right**, with 95 % intervals")
        left.altair_chart(
            charts.gold_intervals([(one, found.value or 0.0, found.low, found.high) for one, found in gold]),
            width="stretch",
        )
    else:
        st.caption("No gold task was answered yet: add some under Projects, Known answers.")


def person_table(people: Sequence[PersonFigures]) -> list[dict[str, Any]]:
    """A row for each annotator; without the columns on gold or repeats where nobody had any."""
    rows = [person_row(one) for one in people]
    empty = [
        name
        for count, name in (("gold", "gold right"), ("repeats", "same again"))
        if not any(row[count] for row in rows)
        for name in (count, name)
    ]
    return [{key: value for key, value in row.items() if key not in empty} for row in rows]


PERSON_COLUMNS = {
    name: st.column_config.NumberColumn(format="percent")
    for name in ("gold right", "same again", "too fast", "all good but wrong", "bad steps", "unsure")
}


def person_row(one: PersonFigures) -> dict[str, Any]:
    """One annotator's figures as a row of a table; shares of nothing are empty."""
    return {
        "annotator": one.annotator,
        "answers": one.n_answers,
        "step labels": one.n_labels,
        "hours": round(one.hours, 2),
        "s an answer": round(one.hours * 3600 / one.n_timed, 1) if one.n_timed else None,
        "gold": one.n_gold,
        "gold right": _part(one.n_gold_right, one.n_gold),
        "repeats": one.n_repeats,
        "same again": _part(one.n_repeats_same, one.n_repeats),
        "too fast": _part(one.n_too_fast, one.n_answers),
        "all good but wrong": _part(one.n_all_good_but_wrong, one.n_answers),
        "bad steps": _part(one.n_bad, one.n_labels),
        "unsure": _part(one.n_unsure, one.n_labels),
        "last answer": one.last_at.date() if one.last_at else None,
    }


def _part(n_yes: int, n: int) -> float | None:
    """A share to a tenth of a percent, as tables show it; None of nothing."""
    return round(n_yes / n, 3) if n else None


def _labels(done: Totals, people: Sequence[PersonFigures]) -> None:
    st.subheader("Labels")
    left, right = st.columns([3, 2], gap="large")
    rows = {"all": dict(done.by_label)}
    for one in people[:20]:
        if one.n_labels:
            rows[one.annotator] = {1: one.n_labels - one.n_bad - one.n_neutral, 0: one.n_neutral, -1: one.n_bad}
    if done.n_labels:
        left.altair_chart(charts.label_shares(rows), width="stretch")
    right.dataframe(
        [
            {"ended": ENDS.get(why, why), "answers": count, "share": _part(count, done.n_answers)}
            for why, count in sorted(done.by_reason.items(), key=lambda one: -one[1])
        ],
        hide_index=True,
        column_config={"share": st.column_config.NumberColumn(format="percent")},
    )
    right.caption(
        f"{done.n_unsure:,} labels are marked as unsure; {done.n_too_fast:,} answers came too fast; "
        f"{done.n_all_good_but_wrong:,} found no error though the final answer is wrong."
    )


def _anchoring(engine: sa.Engine, scope: Scope) -> None:
    st.subheader("Do suggestions pull?")
    found = {one.is_shown: one for one in dashboards.anchoring(engine, scope)}
    if len(found) < 2:
        st.caption(
            "Answers with and without a model's opinion on screen can be compared once there are both: set the share "
            "of tasks with evidence before the answer in a project's settings."
        )
        return
    hidden, shown = found[False], found[True]
    names = {"opinion hidden": hidden, "opinion shown": shown}
    table = [
        {
            "": name,
            "answers": one.n_answers,
            "found an error": _part(one.n_found_error, one.n_answers),
            "with a judge's verdict": one.n_with_verdict,
            "agree with it": _part(one.n_agreeing, one.n_with_verdict),
            **{
                word: _part(one.by_label.get(label, 0), sum(one.by_label.values()))
                for label, word in ((1, "good"), (0, "neutral"), (-1, "bad"))
            },
        }
        for name, one in names.items()
    ]
    percent = st.column_config.NumberColumn(format="percent")
    columns = ("found an error", "agree with it", "good", "neutral", "bad")
    st.dataframe(table, hide_index=True, column_config=dict.fromkeys(columns, percent))
    errors = difference(share(shown.n_found_error, shown.n_answers), share(hidden.n_found_error, hidden.n_answers))
    agreeing = difference(
        share(shown.n_agreeing, shown.n_with_verdict), share(hidden.n_agreeing, hidden.n_with_verdict)
    )
    st.markdown(
        f"With the opinion shown, answers agree with the judge {_points(agreeing)}, "
        f"and find an error {_points(errors)}."
    )
    st.caption("Differences with 95 % intervals (Newcombe). Where an interval holds 0, nothing is shown either way.")
    _download("anchoring", table)


def _points(found: Difference) -> str:
    if found.value is None:
        return "(nothing to compare)"
    word = "more often" if found.value >= 0 else "less often"
    return f"**{abs(found.value) * 100:.1f} points {word}** ({found.low * 100:+.1f} to {found.high * 100:+.1f})"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def _download(name: str, table: Sequence[dict[str, Any]]) -> None:
    if table:
        st.download_button(
            "Download CSV", as_csv(table), f"{name}.csv", "text/csv", key=f"download_{name}", type="tertiary"
        )


def as_csv(table: Sequence[dict[str, Any]]) -> str:
    """A table as CSV; a cell that a spreadsheet would run as a formula is quoted by an apostrophe.

    >>> as_csv([{"a": 1, "b": "=1+1"}]).splitlines()
    ['a,b', "1,'=1+1"]
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, list(table[0]))
    writer.writeheader()
    for row in table:
        writer.writerow(
            {
                key: f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
                for key, value in row.items()
            }
        )
    return out.getvalue()
