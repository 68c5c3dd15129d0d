"""What people with an account set for themselves, so that it is there in every browser: their keys."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from .connect import reading, writing
from .models import Account


def own_keys(engine: sa.Engine, annotator_id: int) -> dict[str, list[str]] | None:
    """A person's own keys, by action; None where none were ever set, or there is no account."""
    with reading(engine) as session:
        settings = session.scalar(sa.select(Account.settings).where(Account.annotator_id == annotator_id))
    return None if settings is None else settings.get("keys")


def keep_keys(engine: sa.Engine, annotator_id: int, keys: Mapping[str, Sequence[str]]) -> None:
    """Keeps a person's own keys in the place of the earlier ones; without an account nothing is kept."""
    with writing(engine) as session:
        account = session.get(Account, annotator_id, with_for_update=True)
        if account is not None:
            account.settings = {**account.settings, "keys": {action: list(each) for action, each in keys.items()}}
