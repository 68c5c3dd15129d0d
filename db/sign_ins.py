"""Who is signed in: a random secret in a cookie, whose hash is a row here; so any process of the app knows it.

A sign-in ends after twelve hours without use, a working day with a break, and after seven days whatever happens; when
the person signs out; or when somebody takes the right away. Times are the database's clock.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .connect import reading, writing
from .models import Account, Annotator, SignIn
from .schema import utc_now

IDLE_S = 12 * 3600
LONGEST_S = 7 * 24 * 3600
_PROLONG_EVERY_S = 600
"""Use prolongs a sign-in by writing to the database, but no more often than this."""
_KEPT_S = 30 * 24 * 3600
"""How long ended sign-ins are kept, for whoever must look into a misuse."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person who is signed in, with the role held now."""

    token_hash: str
    annotator_id: int
    name: str
    role: str


def hash_token(secret: str) -> str:
    """What is stored of a secret of 256 random bits; those need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    """256 random bits as text for a cookie or a link."""
    return secrets.token_urlsafe(32)


def begin(engine: sa.Engine, annotator_id: int) -> str:
    """Signs a person in, and returns the secret for the cookie."""
    secret = new_secret()
    with writing(engine) as session:
        session.execute(
            sa.delete(SignIn).where(SignIn.annotator_id == annotator_id, SignIn.expires_at < utc_now(-_KEPT_S))
        )
        session.add(SignIn(token_hash=hash_token(secret), annotator_id=annotator_id, expires_at=utc_now(IDLE_S)))
    return secret


def find(engine: sa.Engine, secret: str | None) -> SignedIn | None:
    """Who the secret stands for; None if it is forged, expired or ended, or the account was closed."""
    return None if not secret else find_by_hash(engine, hash_token(secret))


def find_by_hash(engine: sa.Engine, token_hash: str) -> SignedIn | None:
    """Who the secret with this hash stands for, and prolongs the sign-in."""
    with reading(engine) as session:
        found = session.execute(
            sa.select(
                Annotator.annotator_id,
                Annotator.name,
                Annotator.role,
                SignIn.created_at,
                SignIn.expires_at,
                utc_now(),
            )
            .join(SignIn, SignIn.annotator_id == Annotator.annotator_id)
            .where(SignIn.token_hash == token_hash, _is_alive())
        ).first()
    if found is None:
        return None
    annotator_id, name, role, created_at, expires_at, now = found
    until = min(now + dt.timedelta(seconds=IDLE_S), created_at + dt.timedelta(seconds=LONGEST_S))
    if until - expires_at > dt.timedelta(seconds=_PROLONG_EVERY_S):
        with writing(engine) as session:
            session.execute(
                sa.update(SignIn)
                .where(SignIn.token_hash == token_hash, SignIn.ended_at.is_(None))
                .values(expires_at=until)
            )
    return SignedIn(token_hash, annotator_id, name, role)


def alive(engine: sa.Engine, token_hashes: Collection[str]) -> set[str]:
    """Those of the hashes that still stand for somebody."""
    with reading(engine) as session:
        return set(
            session.scalars(
                sa.select(SignIn.token_hash)
                .join(Annotator, Annotator.annotator_id == SignIn.annotator_id)
                .where(SignIn.token_hash.in_(token_hashes), _is_alive())
            )
        )


def end(engine: sa.Engine, token_hash: str) -> None:
    """Signs one browser out."""
    with writing(engine) as session:
        session.execute(
            sa.update(SignIn)
            .where(SignIn.token_hash == token_hash, SignIn.ended_at.is_(None))
            .values(ended_at=utc_now())
        )


def sign_out_everywhere(engine: sa.Engine, annotator_id: int, *, but: str | None = None) -> int:
    """Signs a person out in all browsers, but for the one with this hash; returns how many."""
    with writing(engine) as session:
        return end_all(session, annotator_id, but=but)


def end_all(session: Session, annotator_id: int, *, but: str | None = None) -> int:
    """The same, within a transaction."""
    which = [SignIn.annotator_id == annotator_id, SignIn.ended_at.is_(None), SignIn.expires_at > utc_now()]
    if but is not None:
        which.append(SignIn.token_hash != but)
    ended = session.execute(
        sa.update(SignIn)
        .where(*which)
        .values(ended_at=utc_now())
        .returning(SignIn.token_hash)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def _is_alive() -> sa.ColumnElement[bool]:
    has_account = sa.exists().where(Account.annotator_id == SignIn.annotator_id)
    return sa.and_(SignIn.ended_at.is_(None), SignIn.expires_at > utc_now(), Annotator.is_active, has_account)
