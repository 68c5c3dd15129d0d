"""Many rows at the driver's speed: reserved ids, COPY on PostgreSQL, one prepared statement on SQLite.

Python-side column defaults are not applied here: a row names each column that has no default in the database.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

COPY_FROM = 50
"""From this many rows on, COPY beats a pipelined executemany on PostgreSQL."""


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


def bulk_insert(session: Session, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows, which all have the keys of the first, into the session's transaction.

    Raises:
        sqlalchemy.exc.IntegrityError: A row breaks a constraint.
        sqlalchemy.exc.OperationalError: The disk is full, or the server went away.
    """
    if not rows:
        return
    columns = list(rows[0])
    encode = _encoder(table, columns, session.get_bind().dialect)
    connection = session.connection()
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", [encode(r) for r in rows])
    elif len(rows) < COPY_FROM:
        marks = ", ".join(["%s"] * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", [encode(r) for r in rows])
    else:
        _copy(connection, f"COPY {table.name} ({names}) FROM STDIN", [encode(row) for row in rows])


def _copy(connection: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    # The driver's errors come bare here; callers know SQLAlchemy's.
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.IntegrityError as err:
        raise sa.exc.IntegrityError(statement, None, err) from err
    except psycopg.OperationalError as err:
        raise sa.exc.OperationalError(statement, None, err) from err


def _encoder(
    table: sa.Table, columns: Sequence[str], dialect: sa.Dialect
) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """From a row to the driver's parameters; only columns whose type needs it are touched."""
    to_driver: list[tuple[int, Callable[[Any], Any]]] = []
    for index, name in enumerate(columns):
        processor = table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        if processor is not None:
            to_driver.append((index, processor))

    def encode(row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = [row[name] for name in columns]
        for index, processor in to_driver:
            values[index] = processor(values[index])
        return tuple(values)

    return encode
