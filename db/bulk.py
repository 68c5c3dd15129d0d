"""Many rows at the driver's speed: reserved ids, COPY on PostgreSQL, one prepared statement on SQLite.

Python-side column defaults are not applied here: a row names each column that has no default in the database.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session


def table_of(model: type) -> sa.Table:
    """The table behind a model."""
    table: object = sa.inspect(model).local_table
    assert isinstance(table, sa.Table)
    return table


def reserve_ids(session: Session, table: sa.Table, n: int) -> list[int]:
    """Reserves `n` unused values of the table's integer key, ascending.

    On SQLite this needs the write lock that `db.connect.writing` holds, and the rows must be inserted before the
    next call; on PostgreSQL the ids come from the key's sequence.
    """
    (key,) = table.primary_key.columns
    if session.get_bind().dialect.name == "sqlite":
        last = session.scalar(sa.select(sa.func.max(key))) or 0
        return list(range(last + 1, last + n + 1))
    drawn = session.scalars(
        sa.text("SELECT nextval(pg_get_serial_sequence(:table, :column)) FROM generate_series(1, :n)"),
        {"table": table.name, "column": key.name, "n": n},
    )
    return sorted(drawn)


def is_among(session: Session, column: Any, values: Collection[str] | Collection[int]) -> sa.ColumnElement[bool]:
    """The condition that a column holds one of many values, which travel as one parameter, however many they are."""
    listed = list(values)
    if session.get_bind().dialect.name == "sqlite":
        rows = sa.func.json_each(json.dumps(listed)).table_valued("value")
        return cast(sa.ColumnElement[bool], column.in_(sa.select(rows.c.value)))
    # Without a type of SQLAlchemy's: it would cast texts to the column's length, and so cut them.
    array = sa.any_(sa.bindparam(None, listed, type_=sa.types.NullType()))
    return cast(sa.ColumnElement[bool], column == array)


def bulk_insert(session: Session, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows, which all have the keys of the first, into the session's transaction.

    Raises:
        sqlalchemy.exc.IntegrityError: A row breaks a constraint.
        sqlalchemy.exc.OperationalError: The disk is full, or the server went away.
    """
    if rows:
        by_column = ([row[name] for row in rows] for name in rows[0])
        bulk_insert_values(session, table, tuple(rows[0]), list(zip(*by_column, strict=True)))


def bulk_insert_values(
    session: Session, table: sa.Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Inserts rows that hold a value for each of these columns; as `bulk_insert`, for many small rows.

    Raises:
        sqlalchemy.exc.IntegrityError, sqlalchemy.exc.OperationalError: As `bulk_insert`.
    """
    if not rows:
        return
    connection = session.connection()
    rows = _encoded(table, columns, rows, connection.dialect)
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", rows)
    else:  # from three rows on faster than a pipelined executemany, and hardly slower for one
        _copy(connection, f"COPY {table.name} ({names}) FROM STDIN", rows)


def fetch_each(connection: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Runs a statement of SQLite for each row, and returns what comes back of all; `executemany` gives nothing back.

    Raises:
        sqlalchemy.exc.IntegrityError, sqlalchemy.exc.OperationalError: As `bulk_insert`.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    cursor = driver.cursor()
    found: list[tuple[Any, ...]] = []
    with _as_sqlalchemy_errors(statement):
        for row in rows:
            found += cursor.execute(statement, row)
    return found


@contextmanager
def _as_sqlalchemy_errors(statement: str) -> Iterator[None]:
    """The driver's errors come bare where it is called by itself; callers know SQLAlchemy's."""
    try:
        yield
    except (psycopg.IntegrityError, sqlite3.IntegrityError) as err:
        raise sa.exc.IntegrityError(statement, None, err) from err
    except (psycopg.OperationalError, sqlite3.OperationalError) as err:
        raise sa.exc.OperationalError(statement, None, err) from err


def _copy(connection: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with _as_sqlalchemy_errors(statement), driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _encoded(
    table: sa.Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], dialect: sa.Dialect
) -> Sequence[tuple[Any, ...]]:
    """The driver's parameters; only columns whose type needs it are touched."""
    to_driver: list[tuple[int, Callable[[Any], Any]]] = []
    for index, name in enumerate(columns):
        type_ = table.c[name].type
        processor: Callable[[Any], Any] | None = type_.dialect_impl(dialect).bind_processor(dialect)
        if processor is not None and not isinstance(type_, sa.Boolean):  # which both drivers take as they are
            to_driver.append((index, processor))
    if not to_driver:
        return rows
    by_column = list(zip(*rows, strict=True))
    for index, convert in to_driver:
        by_column[index] = tuple(map(convert, by_column[index]))
    return list(zip(*by_column, strict=True))
