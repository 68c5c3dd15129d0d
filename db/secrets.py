"""Random texts of this database alone: made when one is first asked for, the same ever after."""

import hmac
import secrets
from collections.abc import Callable

import sqlalchemy as sa

from .connect import reading, writing
from .models import Secret

PSEUDONYMS = "pseudonyms"
"""Name of the salt of pseudonyms."""


def get_secret(engine: sa.Engine, name: str) -> str:
    """The secret of this name, which is made where there is none; of two who make it at once one wins."""
    query = sa.select(Secret.value).where(Secret.name == name)
    with reading(engine) as session:
        found = session.scalar(query)
    if found is None:
        try:
            with writing(engine) as session:
                session.add(Secret(name=name, value=secrets.token_hex(32)))
        except sa.exc.IntegrityError:
            pass  # somebody else made it since
        with reading(engine) as session:
            found = session.scalars(query).one()
    return found


def pseudonyms(engine: sa.Engine) -> Callable[[int], str]:
    """A function from the id of an annotator to a name that tells nothing, and is the same in every export.

    An HMAC-SHA256 under a salt of the database's own: whoever has the set alone cannot try ids.
    """
    salt = get_secret(engine, PSEUDONYMS).encode()

    def pseudonym(annotator_id: int) -> str:
        return "annotator-" + hmac.digest(salt, str(annotator_id).encode(), "sha256").hex()[:12]

    return pseudonym
