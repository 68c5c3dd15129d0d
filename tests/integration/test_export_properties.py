"""Exports of random databases hold what a plain reading of the labels says, and lose nothing uncounted."""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.connect import open_database, writing
from db.models import Annotation, Annotator, Problem, Solution, StepLabel
from exports.formats.sets import read_rows
from exports.queries.exporting import Target, export_set
from exports.queries.orm_rows import orm_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection
from stepmark.errors import InputError
from stepmark.splits import split_of
from stepmark.steps import render_answer, render_segments

SHARES = {"train": 0.6, "test": 0.4}
LABELS = st.sampled_from([1, 0, -1, None])


class Attempt(NamedTuple):
    """A solution of a problem, and what up to three labellers say of its steps and answer; None: no annotation."""

    problem: int
    steps: list[str]
    answer: str | None
    outcome: bool | None
    said: list[list[int | None] | None]


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    steps = draw(st.lists(st.sampled_from(["1 + 1 = 2", "so 3", "dann é „so“", "x < y"]), max_size=4))
    labels = st.lists(LABELS, min_size=len(steps) + 1, max_size=len(steps) + 1)
    return Attempt(
        problem=draw(st.integers(0, 3)),
        steps=steps,
        answer=draw(st.sampled_from([None, "3", "4"])),
        outcome=draw(st.sampled_from([True, False, None])),
        said=draw(st.lists(st.none() | labels, min_size=3, max_size=3)),
    )


def fill(path: Path, found: list[Attempt]) -> Any:
    engine = open_database(f"sqlite:///{path}")
    with writing(engine) as session:
        session.add_all(Annotator(annotator_id=who, name=f"annotator-{who}") for who in (1, 2, 3))
        session.add_all(
            Problem(problem_id=n + 1, statement_hash=f"{n:032x}", family=f"{n // 2:032x}", statement=f"Problem {n}?")
            for n in range(4)
        )
        session.flush()
        for number, attempt in enumerate(found, start=1):
            session.add(
                Solution(
                    solution_id=number,
                    problem_id=attempt.problem + 1,
                    source="made",
                    source_key=str(number),
                    text="\n".join(attempt.steps),
                    text_hash=f"{number:032x}",
                    steps=attempt.steps,
                    answer=attempt.answer,
                    outcome=attempt.outcome,
                )
            )
            session.flush()
            for who, labels in enumerate(attempt.said, start=1):
                if labels is None:
                    continue
                id_ = 10 * number + who
                session.add(
                    Annotation(
                        annotation_id=id_,
                        submission_id=str(id_),
                        kind="steps",
                        annotator_id=who,
                        solution_id=number,
                        finish_reason="solution",
                    )
                )
                session.flush()
                session.add_all(
                    StepLabel(annotation_id=id_, step_index=index, label=label)
                    for index, label in enumerate(labels)
                    if label is not None and (index < len(attempt.steps) or attempt.answer is not None)
                )
    return engine


def expected_row(attempt: Attempt, labels: list[int | None], neutral: str, after: str) -> tuple[str, str, str] | None:
    """What the guide says a row of one labeller is, written again without looking at how it is made."""
    marks: list[bool] = []
    for label in labels[: len(attempt.steps)]:
        if label is None or (label == 0 and neutral == "drop"):
            break
        marks.append(label == 1 or (label == 0 and neutral == "positive"))
        if after == "stop" and not marks[-1]:
            break
    if not marks:
        return None
    completions = render_segments(attempt.steps[: len(marks)], None)
    if len(marks) == len(attempt.steps) and attempt.answer is not None:
        said = labels[-1]
        is_right: bool | None = attempt.outcome if all(marks) else None
        if said is not None and not (said == 0 and neutral == "drop") and (all(marks) or after == "all"):
            is_right = said == 1 or (said == 0 and neutral == "positive")
        if is_right is not None:
            completions = [*completions, render_answer(attempt.answer)]
            marks.append(is_right)
    return f"Problem {attempt.problem}?", json.dumps(completions), json.dumps(marks)


@settings(max_examples=40, deadline=None)
@given(
    found=st.lists(attempts(), min_size=1, max_size=6),
    neutral=st.sampled_from(["positive", "negative", "drop"]),
    after=st.sampled_from(["stop", "all"]),
    keeps=st.booleans(),
)
def test_a_set_of_step_labels_is_what_the_labels_say_row_for_row(
    sqlite_template: Path, found: list[Attempt], neutral: Any, after: Any, keeps: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stepmark.db"
        shutil.copyfile(sqlite_template, path)
        engine = fill(path, found)
        expected: Counter[tuple[int, str, str, str]] = Counter()
        n_read = 0
        for attempt in found:
            for who, labels in enumerate(attempt.said, start=1):
                n_read += labels is not None
                row = None if labels is None else expected_row(attempt, labels, neutral, after)
                if row is not None:
                    expected[(who, *row)] += 1
        wanted = prm_set(Selection(keep_duplicates=keeps), PrmOptions(neutral=neutral, after_first_error=after))
        target = Target(Path(folder) / "set", shares=SHARES)
        if not expected:
            with pytest.raises(InputError, match="no row to export"):
                export_set(engine, target, wanted)
            engine.dispose()
            return
        report = export_set(engine, target, wanted)
        engine.dispose()
        written: Counter[tuple[str, str, str]] = Counter()
        for split in SHARES:
            for row in read_rows(target.folder, "prm", split, verify=True):
                number = int(row["prompt"].removeprefix("Problem ").removesuffix("?"))
                assert split == split_of(f"{number // 2:032x}", SHARES, 0), "a family stands on two sides"
                written[row["prompt"], json.dumps(row["completions"]), json.dumps(row["labels"])] += 1
        once: Counter[tuple[str, str, str]] = Counter()
        if keeps:
            for (_, *rest), n in expected.items():
                once[tuple(rest)] += n  # type: ignore[index]
        else:
            # Of rows with one text by one labeller the first stands, whatever its labels.
            kept: dict[tuple[int, str, str], str] = {}
            for attempt in sorted(found, key=lambda one: one.problem):
                for who, labels in enumerate(attempt.said, start=1):
                    row = None if labels is None else expected_row(attempt, labels, neutral, after)
                    if row is not None:
                        kept.setdefault((who, row[0], row[1]), row[2])
            for (_, prompt, completions), marks in kept.items():
                once[prompt, completions, marks] += 1
        assert written == once
        assert report.n_read == n_read == report.n_kept + sum(report.dropped.values())


@settings(max_examples=25, deadline=None)
@given(found=st.lists(attempts(), min_size=1, max_size=6))
def test_a_set_of_outcomes_holds_every_known_one_and_the_same_bytes_twice(
    sqlite_template: Path, found: list[Attempt]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stepmark.db"
        shutil.copyfile(sqlite_template, path)
        engine = fill(path, found)
        targets = [Target(Path(folder) / name, shares={"train": 1.0}) for name in ("one", "two")]
        known = [one for one in found if one.outcome is not None and (one.steps or one.answer is not None)]
        wanted = orm_set(Selection(keep_duplicates=True))
        if not known:
            with pytest.raises(InputError, match="no row to export"):
                export_set(engine, targets[0], wanted)
            engine.dispose()
            return
        reports = [export_set(engine, target, wanted) for target in targets]
        engine.dispose()
        rows = list(read_rows(targets[0].folder, "orm", "train"))
        expected = Counter((f"Problem {one.problem}?", one.outcome) for one in known)
        assert Counter((row["prompt"], row["label"]) for row in rows) == expected
        assert reports[0].n_read == reports[0].n_kept + sum(reports[0].dropped.values()) == len(found)
        files = [sorted(path for path in target.folder.rglob("*") if path.is_file()) for target in targets]
        assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
