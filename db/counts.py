"""How many rows each table holds."""

import sqlalchemy as sa

from . import models as _models  # noqa: F401 - fills the metadata
from .connect import reading
from .schema import Base


def table_counts(engine: sa.Engine) -> dict[str, int]:
    """Counts the rows of each table, by name."""
    with reading(engine) as session:
        return {
            name: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for name, table in sorted(Base.metadata.tables.items())
        }
