"""An export sees one state of the database, though two sessions read it and others write meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import snapshots
from db.connect import writing
from db.models import Problem, Solution
from db.snapshots import snapshot, two_snapshots
from exports.formats.columns import Column
from exports.formats.sets import read_rows
from exports.queries import selection
from exports.queries.ahead import read_ahead
from exports.queries.exporting import Target, export_set
from exports.queries.importing import default_options, import_file
from exports.queries.orm_rows import orm_set
from exports.queries.selection import Selection
from exports.queries.sources import FORMATS

PROCESSBENCH = Path(__file__).parents[2] / "examples" / "data" / "processbench" / "gsm8k.json"
ALL_TRAIN = {"train": 1.0}


@pytest.fixture
def labelled(database: sa.Engine) -> sa.Engine:
    found = FORMATS["processbench"]
    import_file(database, found, PROCESSBENCH, options=default_options(found, PROCESSBENCH))
    return database


def delete_answers(engine: sa.Engine) -> None:
    with writing(engine) as session:
        session.execute(sa.update(Solution).values(outcome=None))


def test_two_sessions_see_what_was_there_when_they_began(labelled: sa.Engine) -> None:
    known = sa.select(sa.func.count()).select_from(Solution).where(Solution.outcome.is_not(None))
    with two_snapshots(labelled) as (first, second):
        delete_answers(labelled)
        assert (first.scalar(known), second.scalar(known)) == (13, 13)
    with two_snapshots(labelled) as (first, second):
        assert (first.scalar(known), second.scalar(known)) == (0, 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_two_sessions_begin_anew_when_something_was_written_between_their_beginnings(
    labelled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    @contextmanager
    def slow_snapshot(engine: sa.Engine) -> Iterator[Session]:
        with snapshot(engine) as session:
            begun.append(session)
            if len(begun) == 1:
                delete_answers(engine)
            yield session

    monkeypatch.setattr(snapshots, "snapshot", slow_snapshot)
    known = sa.select(sa.func.count()).select_from(Solution).where(Solution.outcome.is_not(None))
    with two_snapshots(labelled) as (first, second):
        assert (first.scalar(known), second.scalar(known)) == (0, 0)
    assert len(begun) == 2


def test_rows_read_ahead_are_of_the_state_in_which_the_export_began(
    labelled: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "_PAGE", 2)
    wanted = orm_set(Selection())

    def rows(session: Session, columns: tuple[Column, ...], counts: selection.Counts) -> Iterator[selection.SetRow]:
        for number, row in enumerate(wanted.rows(session, columns, counts)):
            if number == 1:
                delete_answers(labelled)
            yield row

    report = export_set(labelled, Target(tmp_path / "set", shares=ALL_TRAIN), replace(wanted, rows=rows))
    assert (report.n_kept, report.dropped) == (13, {})
    assert len(list(read_rows(tmp_path / "set", "orm", "train"))) == 13


def test_an_error_of_the_thread_that_reads_ahead_is_the_callers(database: sa.Engine) -> None:
    with two_snapshots(database) as (_, session):

        def items() -> Iterator[int]:
            yield session.scalar(sa.select(sa.func.count()).select_from(Problem)) or 0
            raise LookupError("no further page")

        found = read_ahead(session, items())
        assert next(found) == 0
        with pytest.raises(LookupError, match="no further page"):
            next(found)
