"""The record of training sets that were written."""

from typing import Any

import sqlalchemy as sa

from .connect import writing
from .models import Export


def record_export(
    engine: sa.Engine, *, config: str, path: str, flags: dict[str, Any], counts: dict[str, Any], manifest_sha256: str
) -> int:
    """Notes that a set was written, and returns the note's id."""
    with writing(engine) as session:
        export = Export(config=config, path=path, flags=flags, counts=counts, manifest_sha256=manifest_sha256)
        session.add(export)
        session.flush()
        return export.export_id
