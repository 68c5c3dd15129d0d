"""Tasks to practise on that come with the app, for databases in which nobody has made any; and handing one out."""

import json
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from db.tasks import BuiltIn, ClaimedTask, Pool, practice_task

_FILE = Path(__file__).parent / "practice.json"


def practice_for(
    engine: sa.Engine, annotator_id: int, project: Pool | None = None, *, lease_s: int = 1800
) -> ClaimedTask:
    """A task to practise on, of the project's kind; the app's own where the project has none."""
    task = practice_task(
        engine,
        annotator_id,
        project_id=None if project is None else project.project_id,
        kind="steps" if project is None else project.kind,
        built_in=built_in_tasks(),
        lease_s=lease_s,
    )
    assert task is not None, "the app comes with tasks of every kind"
    return task


@cache
def built_in_tasks() -> tuple[BuiltIn, ...]:
    """The tasks of `practice.json`."""
    stored = json.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(BuiltIn(**item, licence=stored["licence"]) for item in stored["tasks"])
