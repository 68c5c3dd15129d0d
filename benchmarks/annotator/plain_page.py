"""The peer of `latency.py`: the same task on a Streamlit page of plain widgets, as one writes it in an afternoon.

A row of three buttons for each step, and keys by `st.button(shortcut=...)` for the step in turn; labels in the
session's state; every key runs the script anew. Submit stores the labels in SQLite. Started by `latency.py`, with
STEPMARK_BENCH_TASKS (a JSON file: `[[statement, [step, ...]], ...]`) and STEPMARK_BENCH_DB (where answers go).
"""

import json
import os
import sqlite3
from pathlib import Path

import streamlit as st

NAMES = {"1": "bad", "2": "neutral", "3": "good"}


@st.cache_data
def tasks() -> list[tuple[str, list[str]]]:
    return [(text, steps) for text, steps in json.loads(Path(os.environ["STEPMARK_BENCH_TASKS"]).read_text())]


def label(key: str, index: int | None = None) -> None:
    labels = st.session_state.labels
    at = next((k for k, name in enumerate(labels) if name is None), None) if index is None else index
    if at is not None:
        labels[at] = NAMES[key]


def submit() -> None:
    with sqlite3.connect(os.environ["STEPMARK_BENCH_DB"]) as database:
        database.execute("CREATE TABLE IF NOT EXISTS answers (task INTEGER, labels TEXT)")
        row = (st.session_state.at, json.dumps(st.session_state.labels))
        database.execute("INSERT INTO answers VALUES (?, ?)", row)
    st.session_state.at += 1
    st.session_state.pop("labels")


st.session_state.setdefault("at", 0)
statement, steps = tasks()[st.session_state.at]
st.session_state.setdefault("labels", [None] * len(steps))
st.markdown(f"**{statement}**")
for number, text in enumerate(steps):
    columns = st.columns([6, 1, 1, 1, 1])
    columns[0].markdown(text)
    for column, (sign, name) in zip(columns[1:], NAMES.items(), strict=False):
        column.button(name, key=f"{st.session_state.at}-{number}-{sign}", on_click=label, args=(sign, number))
    columns[4].markdown(
        f":blue[labelled {st.session_state.labels[number]}]" if st.session_state.labels[number] else "–"
    )
for sign, name in NAMES.items():
    st.button(f"{name} ({sign})", key=f"next-{sign}", shortcut=sign, on_click=label, args=(sign,))
st.button("Submit", shortcut="Enter", on_click=submit)
