"""Labelling projects: made and changed, their people, their queue, their tasks with known answers, their rules."""

import json
from typing import Any

import sqlalchemy as sa
import streamlit as st

from annotator.guideline import DEFAULT, default_body
from annotator.workplace import Workplace, current_as
from db import assignments, guidelines, known_tasks, members, projects, relabelling
from db.accounts import list_people
from db.models import CRITIQUE_JUDGEMENTS, MEMBER_STATES, PROJECT_ACCESS, TASK_KINDS, TASK_MODES
from db.previews import count_candidates
from db.projects import ProjectRow
from db.queue import CRITIQUE_ORDERS, ORDERS, PAIR_ORDERS, queue_state
from stepmark.errors import InputError
from stepmark.guidelines import as_text, from_text
from stepmark.known_answers import check_known_answer

from .guideline_view import draw_guideline
from .reading_page import KINDS, counted, plain, set_measure, show_told, tell, told

_PARTS = ("Overview", "Queue", "Members", "Known answers", "Guideline", "Settings")
_DEFAULT_RULES = "the default rules"
_RULES = {"steps": ORDERS, "preference": PAIR_ORDERS, "critique": CRITIQUE_ORDERS}
_CHOICES = {"a": "A is better", "b": "B is better", "equal": "equally good", "both_bad": "both bad"}


def show() -> None:
    """Draws the page."""
    set_measure("72rem")
    workplace = current_as("admin")
    st.title("Projects")
    show_told()
    rows = projects.list_projects(workplace.engine)
    if not rows:
        st.write("There is no project yet. A project says what is labelled, by whom, and by which rules.")
        _new(workplace)
        return
    names = [row.name for row in rows]
    choice, new = st.columns([4, 1], vertical_alignment="bottom")
    name = choice.selectbox("Project", names, key="project_name")
    with new.popover("New project", width="stretch"):
        _new(workplace)
    row = rows[names.index(name or names[0])]
    part = st.segmented_control("Part", _PARTS, default=_PARTS[0], label_visibility="collapsed", key="project_part")
    draw = {
        "Queue": _queue,
        "Members": _members,
        "Known answers": _known,
        "Guideline": _guideline,
        "Settings": _settings,
    }.get(part or _PARTS[0], _overview)
    draw(workplace, row)


def _new(workplace: Workplace) -> None:
    with st.form("new_project", border=False):
        name = st.text_input("Name", placeholder="gsm8k first errors", max_chars=128)
        kind = st.selectbox("What is labelled", TASK_KINDS, format_func=KINDS.__getitem__)
        mode = st.selectbox("How steps are labelled", TASK_MODES, format_func=_words)
        n_wanted = st.number_input("Annotators of each task", min_value=1, max_value=50, value=1)
        access = st.selectbox("For whom", PROJECT_ACCESS)
        if st.form_submit_button("Make the project", type="primary"):
            with told(f"Project {name.strip()} is there. Fill its queue next."):
                projects.create_project(
                    workplace.engine,
                    name,
                    kind=kind,
                    mode=mode,
                    n_wanted=int(n_wanted),
                    access=access,
                    author_id=workplace.annotator_id,
                )


def _overview(workplace: Workplace, row: ProjectRow) -> None:
    total = row.n_open + row.n_closed
    opened, done, answers, people = st.columns(4)
    opened.metric("Tasks to do", f"{row.n_open:,}", border=True)
    done.metric("Tasks done", f"{row.n_closed:,}", border=True)
    answers.metric("Answers", f"{row.n_answers:,}", border=True)
    people.metric("Members", f"{row.n_members:,}", border=True)
    if total:
        st.progress(row.n_closed / total, text=f"{row.n_closed / total:.0%} of the tasks are done")
    else:
        st.info("The queue is empty: fill it under Queue.")
    known = known_tasks.known_counts(workplace.engine, row.project_id)
    facts = {
        "What": f"steps, {_words(row.mode)}" if row.kind == "steps" else KINDS[row.kind],
        "Annotators of each task": str(row.n_wanted),
        "For whom": row.access,
        "Rules": row.guideline or f"{_DEFAULT_RULES} ({DEFAULT.version})",
        "Known answers": ", ".join(f"{count} {purpose}" for purpose, count in sorted(known.items())) or "none",
        "State": "open" if row.is_open else "closed: no task is handed out",
        "Made": f"{row.created_at:%Y-%m-%d}",
    }
    st.dataframe([{"": key, "this project": value} for key, value in facts.items()], hide_index=True)
    verb = "Close the project" if row.is_open else "Open the project"
    if st.button(verb, help="A closed project hands out no tasks; nothing is lost."):
        with told(f"Project {row.name} is {'closed' if row.is_open else 'open'}."):
            projects.change_project(
                workplace.engine, row.project_id, author_id=workplace.annotator_id, is_open=not row.is_open
            )


def _queue(workplace: Workplace, row: ProjectRow) -> None:
    states = [state for state in queue_state(workplace.engine) if getattr(state, "project", row.name) == row.name]
    if states:
        st.dataframe(
            [
                {
                    "rule": state.reason or "–",
                    "what": _words(state.mode) if state.kind == "steps" else KINDS[state.kind],
                    "open": state.n_open,
                    "in somebody's hands": state.n_leased,
                    "done": state.n_closed,
                }
                for state in states
            ],
            hide_index=True,
        )
    fill, assign = st.columns([3, 2], gap="large")
    with fill:
        st.subheader("Fill the queue")
        source = st.text_input("Source", value="*", help="Name of a source; * stands for any text.")
        rules = ORDERS[:1] if row.kind == "steps" and row.mode == "alternatives" else _RULES[row.kind]
        rule = st.selectbox("Rule", rules, format_func=_words)
        _preview(workplace.engine, row, source)
        with st.form("fill"):
            limit = st.number_input("Tasks at most", min_value=1, max_value=1_000_000, value=100)
            seed = st.number_input("Seed of the draw", min_value=0, value=0)
            if st.form_submit_button("Put into the queue", type="primary"):
                _fill(workplace.engine, row, source, rule, int(limit), int(seed))
    with assign:
        st.subheader("Give tasks to one person")
        with st.form("assign"):
            name = st.selectbox("Annotator", _names(workplace.engine))
            n = st.number_input("Tasks", min_value=1, max_value=100_000, value=20)
            if st.form_submit_button("Give") and name is not None:
                with told(f"Tasks were given to {name} alone."):
                    assignments.assign_tasks(
                        workplace.engine, row.project_id, name, n=int(n), author_id=workplace.annotator_id
                    )
        st.caption("Open tasks that nobody has begun; the most urgent first.")


def _preview(engine: sa.Engine, row: ProjectRow, source: str) -> None:
    try:
        found = count_candidates(
            engine, project_id=row.project_id, kind=row.kind, mode=row.mode, source=source or "*"
        )
    except InputError as err:
        st.error(plain(str(err)))
        return
    words = {
        "steps": f"{found.n_fitting:,} fit the source: {found.n_queued:,} are in this project already, "
        f"{found.n_fitting - found.n_queued:,} can be added; {found.n_scored:,} of these have a score.",
        "preference": f"{found.n_fitting:,} solutions fit the source; pairs are drawn of them, at most four of each "
        f"problem. {found.n_queued:,} stand first in a pair of this project already.",
        "critique": f"{found.n_fitting:,} critiques fit the source: {found.n_queued:,} are in this project already, "
        f"{found.n_fitting - found.n_queued:,} can be added.",
    }
    st.caption(words[row.kind])


def _fill(engine: sa.Engine, row: ProjectRow, source: str, rule: str, limit: int, seed: int) -> None:
    from db.queue import queue_tasks

    with told():
        added = queue_tasks(engine, project=row.name, source=source or "*", order=rule, limit=limit, seed=seed)
        tell(counted("queue", added.read, added.kept, added.dropped))


def _members(workplace: Workplace, row: ProjectRow) -> None:
    found = members.list_members(workplace.engine, row.project_id)
    if row.access == "everyone":
        st.caption("The project is for everyone; members are those who were tested, paused, or named here.")
    if found:
        st.dataframe(
            [
                {
                    "name": member.name,
                    "role": member.role,
                    "state": member.state,
                    "why": member.reason or "–",
                    "answers": member.n_answers,
                    "since": member.created_at.date(),
                }
                for member in found
            ],
            hide_index=True,
        )
    else:
        st.write("Nobody is a member yet.")
    add, change = st.columns(2, gap="large")
    with add, st.form("add_members"):
        st.subheader("Add people")
        known = {member.name for member in found}
        names = st.multiselect("Names", [name for name in _names(workplace.engine) if name not in known])
        state = st.selectbox("As", [one for one in MEMBER_STATES if one != "paused"], index=1)
        if st.form_submit_button("Add"):
            with told(f"{len(names)} people were added."):
                members.set_members(
                    workplace.engine, row.project_id, names, state=state, author_id=workplace.annotator_id
                )
    with change, st.form("change_members"):
        st.subheader("Pause, resume, remove")
        name = st.selectbox("Name", [member.name for member in found])
        what = st.selectbox("What", ["pause", "resume", "remove"])
        reason = st.text_input("Reason of a pause", help="The person reads it in the place of tasks.")
        if st.form_submit_button("Do it") and name is not None:
            set_member(workplace, row.project_id, name, what, reason)


def set_member(workplace: Workplace, project_id: int, name: str, what: str, reason: str) -> None:
    """Pauses, resumes or removes a member, and says so."""
    with told(f"{name}: {what}d." if what != "pause" else f"{name} is paused."):
        if what == "remove":
            members.remove_members(workplace.engine, project_id, [name], author_id=workplace.annotator_id)
        else:
            members.set_members(
                workplace.engine,
                project_id,
                [name],
                state="paused" if what == "pause" else "active",
                reason=reason,
                author_id=workplace.annotator_id,
            )


def _known(workplace: Workplace, row: ProjectRow) -> None:
    st.write(
        "Tasks whose answer is known: **gold** comes silently among the others, **entry** before them, "
        "**practice** and **calibration** show the answer afterwards."
    )
    counts = known_tasks.known_counts(workplace.engine, row.project_id)
    for column, purpose in zip(st.columns(4), known_tasks.KNOWN_PURPOSES, strict=True):
        column.metric(purpose.capitalize(), f"{counts.get(purpose, 0):,}", border=True)
    taken, typed = st.columns(2, gap="large")
    with taken, st.form("known_from_labels"):
        st.subheader("From labels that are there")
        labeller = st.text_input("Labeller", value="*", help="A person, model or program; * stands for any text.")
        source = st.text_input("Source", value="*", help="Name of a source; * stands for any text.")
        purpose = st.selectbox("As", known_tasks.KNOWN_PURPOSES, key="purpose_taken")
        limit = st.number_input("At most", min_value=1, max_value=10_000, value=30)
        if st.form_submit_button("Add"):
            with told():
                answers = known_tasks.known_from_labels(
                    workplace.engine, labeller=labeller, kind=row.kind, source=source, limit=int(limit)
                )
                _add_known(workplace, row, answers, purpose)
    with typed, st.form("known_typed"):
        st.subheader("Typed in")
        given = _TYPED[row.kind]()
        note = st.text_area("Why", help="Shown after the answer, but for gold.")
        purpose = st.selectbox("As", known_tasks.KNOWN_PURPOSES, key="purpose_typed")
        if st.form_submit_button("Add"):
            with told():
                given["answer"] = check_known_answer(_parsed(given["answer"]), row.kind)
                known = known_tasks.Known(**given, note=note.strip() or None)
                _add_known(workplace, row, [known], purpose)
    st.caption(_RIGHT[row.kind])


def _typed_steps() -> dict[str, Any]:
    solution_id = st.number_input("Solution", min_value=1, value=1, help="Its number, as Browse shows it.")
    labels = st.text_input("Labels", placeholder="1, 1, -1", help="1, 0, -1 or - for each step, in order.")
    return {"solution_id": int(solution_id), "answer": {"labels": labels}}


def _typed_pair() -> dict[str, Any]:
    first, second = st.columns(2)
    a = first.number_input("Solution A", min_value=1, value=1, help="Its number, as Browse shows it.")
    b = second.number_input("Solution B", min_value=1, value=2, help="Another solution of the same problem.")
    choice = st.selectbox("Right choice", list(_CHOICES), format_func=_CHOICES.__getitem__)
    return {"solution_id": int(a), "other_solution_id": int(b), "answer": {"choice": choice}}


def _typed_critique() -> dict[str, Any]:
    critique_id = st.number_input("Critique", min_value=1, value=1, help="Its number, as Browse shows it.")
    judgement = st.selectbox("What it says is", CRITIQUE_JUDGEMENTS)
    return {"solution_id": None, "critique_id": int(critique_id), "answer": {"judgement": judgement}}


_TYPED = {"steps": _typed_steps, "preference": _typed_pair, "critique": _typed_critique}
_RIGHT = {
    "steps": "An answer is right if it names the same first error, or none where there is none.",
    "preference": "An answer is right if it makes the same choice; strength and reasons do not matter. "
    "Annotators see the two in an order of their own.",
    "critique": "An answer is right if it judges the same of what the critique says.",
}


def _parsed(answer: dict[str, Any]) -> dict[str, Any]:
    return {"labels": _typed_labels(answer["labels"])} if "labels" in answer else answer


def _add_known(workplace: Workplace, row: ProjectRow, answers: list[known_tasks.Known], purpose: str) -> None:
    added = known_tasks.add_known_tasks(
        workplace.engine, row.project_id, answers, purpose=purpose, author_id=workplace.annotator_id
    )
    tell(counted(purpose, added.read, added.kept, added.dropped))


def _typed_labels(text: str) -> list[int | None]:
    words = {"1": 1, "+1": 1, "0": 0, "-1": -1, "-": None, "": None}
    found = []
    for word in text.replace(";", ",").split(","):
        if word.strip() not in words:
            raise InputError(f"label {word.strip()!r} is none; write 1, 0, -1 or - with commas between")
        found.append(words[word.strip()])
    return found


def _guideline(workplace: Workplace, row: ProjectRow) -> None:
    stored = {found.version: found for found in guidelines.list_guidelines(workplace.engine)}
    choices = [_DEFAULT_RULES, *stored]
    with st.form("choose_rules"):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        version = left.selectbox("Rules in force", choices, index=choices.index(row.guideline or _DEFAULT_RULES))
        if right.form_submit_button("Put in force", width="stretch"):
            with told(f"In force: {version}."):
                projects.change_project(
                    workplace.engine,
                    row.project_id,
                    author_id=workplace.annotator_id,
                    guideline=None if version == _DEFAULT_RULES else version,
                )
    n_stale = relabelling.count_stale(workplace.engine, row.project_id)
    if n_stale:
        st.warning(f"{n_stale:,} tasks have answers under other rules than those in force.")
        if st.button("Queue them once more", help="The old answers stay."):
            with told():
                added = relabelling.queue_relabel(
                    workplace.engine, row.project_id, limit=n_stale, author_id=workplace.annotator_id
                )
                tell(counted("relabel", added.read, added.kept, added.dropped))
    st.subheader("Write a new version")
    base = stored[row.guideline].body if row.guideline in stored else default_body()
    text = st.text_area(
        "Rules",
        value=as_text(base),
        height=360,
        key=f"rules_{row.project_id}_{row.guideline}",
        help="# Heading (good) begins a section, - a rule; under # Flowchart, `1. question`, `yes: 2`, `no: bad`.",
    )
    try:
        body = from_text(text)
    except InputError as err:
        st.error(plain(str(err)))
        return
    with st.expander("Preview"):
        draw_guideline(body)
    with st.form("new_version"):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        name = left.text_input("Name of the version", placeholder="rules-2", max_chars=64)
        if right.form_submit_button("Store and put in force", width="stretch"):
            with told(f"Version {name.strip()} is stored and in force."):
                guidelines.add_guideline(workplace.engine, name, body, author_id=workplace.annotator_id)
                projects.change_project(
                    workplace.engine, row.project_id, author_id=workplace.annotator_id, guideline=name.strip()
                )


def _settings(workplace: Workplace, row: ProjectRow) -> None:
    with st.form("settings"):
        changes = _settings_fields(row)
        if st.form_submit_button("Save", type="primary"):
            with told():
                changes["settings"]["mix"] = _mix(changes.pop("mix"))
                changed = projects.change_project(
                    workplace.engine, row.project_id, author_id=workplace.annotator_id, **changes
                )
                tell(f"Saved: {', '.join(changed)}." if changed else "Nothing has changed.")


def _settings_fields(row: ProjectRow) -> dict[str, Any]:
    now = row.settings
    found: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Tasks")
        found["name"] = st.text_input("Name", value=row.name, max_chars=128)
        if row.kind == "steps":
            found["mode"] = st.selectbox(
                "Mode of new tasks", TASK_MODES, TASK_MODES.index(row.mode), format_func=_words
            )
        found["n_wanted"] = int(st.number_input("Annotators of each new task", 1, 50, min(row.n_wanted, 50)))
        found["access"] = st.selectbox("For whom", PROJECT_ACCESS, PROJECT_ACCESS.index(row.access))
        if row.kind == "steps":
            settings["label_scheme"] = _choice("Labels", ("good_neutral_bad", "good_bad"), now.label_scheme)
            mended = ("error", "self_corrected")
            settings["repaired_steps"] = _choice("Mended mistakes are", mended, now.repaired_steps)
        settings["math_mode"] = _choice("Mathematics", ("auto", "tex", "plain"), now.math_mode)
        if row.kind == "preference":
            settings["asks_strength"] = st.toggle("Ask how much better", now.asks_strength)
            reasons = st.text_input("Reasons offered, with commas", ", ".join(now.pair_reasons))
            settings["pair_reasons"] = [one.strip() for one in reasons.split(",") if one.strip()]
    with right:
        st.subheader("Quality")
        settings["gold_share"] = _share("Gold, share of tasks", now.gold_share)
        settings["repeat_share"] = _share("Repeats, share of tasks", now.repeat_share)
        settings["n_entry_tasks"] = int(st.number_input("Entry test, tasks", 0, 1000, now.n_entry_tasks))
        settings["entry_pass_share"] = _share("Entry test, share to get right", now.entry_pass_share)
        below = _share("Pause below this share of gold right (0: never)", now.pause_below or 0.0)
        settings["pause_below"] = below or None
        settings["shows_own_quality"] = st.toggle(
            "Annotators see their own share of gold right",
            now.shows_own_quality,
            help="On their Progress page, five gold answers at a time, so that no single task is given away.",
        )
        settings["min_ms_per_step"] = int(
            st.number_input("Too fast below, ms a step", 0, 60_000, now.min_ms_per_step, step=100)
        )
        settings["shows_evidence"] = st.toggle("Show evidence after the answer", now.shows_evidence)
        settings["suggestion_share"] = _share("Evidence before the answer, share of tasks", now.suggestion_share)
        settings["usd_per_hour"] = st.number_input("USD an hour", 0.0, None, now.usd_per_hour, placeholder="unknown")
        found["mix"] = st.text_input(
            "Mix of rules, as JSON", json.dumps(now.mix), help='{"random": 0.5, "uncertain": 0.5}; {}: one rule.'
        )
    found["settings"] = settings
    return found


def _mix(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as err:
        raise InputError(f'mix {text!r} is not JSON; write {{"random": 0.5, "uncertain": 0.5}}') from err


def _share(label: str, value: float) -> float:
    return float(st.number_input(label, 0.0, 1.0, value, step=0.05))


def _choice(label: str, options: tuple[str, ...], value: str) -> str:
    return st.selectbox(label, options, options.index(value), format_func=_words)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _names(engine: sa.Engine) -> list[str]:
    return [person.name for person in list_people(engine) if person.is_active and person.erased_at is None]
