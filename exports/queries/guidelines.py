"""Under which versions of the guidelines the labels of a set were made, collected while its rows go by."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import is_among
from db.models import Annotation

_ASKED_AT_ONCE = 5_000


class GuidelineVersions:
    """Collects the versions; labels that name none, such as imported ones, add nothing."""

    def __init__(self, session: Session) -> None:
        self._session = session
        with_version = sa.select(Annotation.annotation_id).where(Annotation.guideline.is_not(None)).limit(1)
        self._has_any = session.scalar(with_version) is not None
        self._waiting: set[int] = set()
        self._found: set[str] = set()

    def see(self, annotation_ids: Iterable[int]) -> None:
        """Takes the labels of a row."""
        if self._has_any:
            self._waiting.update(annotation_ids)
            if len(self._waiting) >= _ASKED_AT_ONCE:
                self._ask()

    def found(self) -> list[str]:
        """The versions of all rows so far, in order."""
        self._ask()
        return sorted(self._found)

    def _ask(self) -> None:
        if self._waiting:
            is_seen = is_among(self._session, Annotation.annotation_id, self._waiting)
            wanted = sa.select(Annotation.guideline).distinct().where(is_seen)
            found = self._session.connection().scalars(wanted)  # past the ORM's own loading
            self._found.update(version for version in found if version)
            self._waiting.clear()
