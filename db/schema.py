"""What every table shares: the declarative base, column types and the database's own clock."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Integer key: 64 bits on PostgreSQL, the rowid on SQLite."""

Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
"""A JSON document; Python's None is SQL's NULL."""

Hash = sa.String(32)
"""The first 128 bits of a SHA-256, in hex."""


class Base(DeclarativeBase):
    """The root of all models; its naming rule gives every constraint a stable name for migrations."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """A moment in UTC; aware in Python on both databases, refused when naive."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """Turns an aware datetime into what the driver stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: give it a time zone (UTC)")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """Gives back an aware datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class utc_now(FunctionElement[dt.datetime]):  # noqa: N801 - reads as an SQL function
    """The database's clock, plus `offset_s` whole seconds; leases use it, so that hosts' clocks do not matter."""

    type = UtcDateTime()
    # The compiled form of a statement is kept and used again; the offset belongs to what tells two apart.
    _traverse_internals = [*FunctionElement._traverse_internals, ("offset_s", InternalTraversal.dp_plain_obj)]  # noqa: RUF012
    inherit_cache = True

    def __init__(self, offset_s: int = 0) -> None:
        super().__init__()
        self.offset_s = int(offset_s)


@compiles(utc_now, "sqlite")
def _utc_now_sqlite(element: utc_now, compiler: Any, **kw: Any) -> str:
    # Six digits, as SQLAlchemy writes its own datetimes, so that comparing the text compares the time.
    return f"(strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.offset_s:+d} seconds'))"


@compiles(utc_now, "postgresql")
def _utc_now_postgresql(element: utc_now, compiler: Any, **kw: Any) -> str:
    return f"(clock_timestamp() + interval '{element.offset_s} seconds')"


def one_of(column: str, values: tuple[str, ...], *, name: str) -> sa.CheckConstraint:
    """A check that a text column holds one of `values` (NULL passes)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=name)


def creation_time() -> Mapped[dt.datetime]:
    """A column that takes the database's clock when its row is made."""
    return mapped_column(UtcDateTime, server_default=utc_now(), nullable=False)
