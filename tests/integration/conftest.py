"""What the tests of the app's pages share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.workplace import Workplace, open_workplace
from db.annotators import find_or_create_annotator
from db.connect import open_database


@pytest.fixture
def workplace(tmp_path: Path, sqlite_template: Path) -> Iterator[Workplace]:
    """The workplace of `annotator-1`, alone on an empty SQLite database, as Streamlit's pages find it."""
    path = tmp_path / "stepmark.db"
    shutil.copyfile(sqlite_template, path)
    engine = open_database(f"sqlite:///{path}")
    found = Workplace(engine, find_or_create_annotator(engine, "annotator-1"), "annotator-1", None)
    open_workplace(found)
    yield found
    engine.dispose()
