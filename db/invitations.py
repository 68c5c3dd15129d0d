"""Links that let a person make an account, or set a new password, once and for a while; only their hash is stored."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import UserError
from stepmark.projects import read_settings

from .accounts import add_account, put_password
from .connect import reading, writing
from .models import Account, Annotator, Event, Invitation, Membership, Project
from .models.people import ANNOTATOR_ROLES
from .passwords import check_password, hash_password
from .schema import utc_now
from .sign_ins import end_all, hash_token, new_secret

INVITATION_S = 7 * 24 * 3600
RESET_S = 24 * 3600
_DEAD = "this link was used already, or has expired; ask whoever sent it for a new one"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a link offers."""

    kind: str
    """`invite` or `reset`."""
    role: str
    name: str | None
    """Whose password is set anew; None for an invitation."""


def invite(
    engine: sa.Engine,
    *,
    role: str = "annotator",
    project: str | None = None,
    by: int | None = None,
    valid_s: int = INVITATION_S,
) -> str:
    """Makes an invitation, and returns the secret of its link.

    Args:
        engine: The database.
        role: The new account's.
        project: Name of a project that the new account joins.
        by: Who invites.
        valid_s: Seconds until the link expires.

    Raises:
        UserError: The role or the project is unknown.
    """
    if role not in ANNOTATOR_ROLES:
        raise UserError(f"there is no role {role!r}; use one of {', '.join(ANNOTATOR_ROLES)}")
    secret = new_secret()
    with writing(engine) as session:
        project_id = None
        if project is not None:
            project_id = session.scalar(sa.select(Project.project_id).where(Project.name == project))
            if project_id is None:
                raise UserError(f"there is no project {project!r}; see `stepmark projects list`")
        session.add(
            Invitation(
                token_hash=hash_token(secret),
                kind="invite",
                role=role,
                project_id=project_id,
                created_by_id=by,
                expires_at=utc_now(valid_s),
            )
        )
        session.add(Event(kind="invited", data={"role": role, "by": by}))
    return secret


def invite_reset(engine: sa.Engine, annotator_id: int, *, by: int | None = None, valid_s: int = RESET_S) -> str:
    """Makes a link that sets an account's password anew, and returns its secret; earlier ones are void.

    Raises:
        UserError: There is no such account, or it is closed.
    """
    secret = new_secret()
    with writing(engine) as session:
        annotator = session.get(Annotator, annotator_id)
        if annotator is None or session.get(Account, annotator_id) is None:
            raise UserError("there is no such account; make one with `stepmark annotators add`")
        if not annotator.is_active:
            raise UserError(f"the account {annotator.name!r} is closed")
        session.execute(
            sa.update(Invitation)
            .where(Invitation.annotator_id == annotator_id, Invitation.used_at.is_(None))
            .values(used_at=utc_now())
        )
        session.add(
            Invitation(
                token_hash=hash_token(secret),
                kind="reset",
                annotator_id=annotator_id,
                created_by_id=by,
                expires_at=utc_now(valid_s),
            )
        )
        session.add(Event(kind="reset_offered", annotator_id=annotator_id, data={"by": by}))
    return secret


def look_at(engine: sa.Engine, secret: str) -> Offer | None:
    """What a link offers, without using it; None if it offers nothing any more."""
    with reading(engine) as session:
        found = session.execute(
            sa.select(Invitation.kind, Invitation.role, Annotator.name)
            .outerjoin(Annotator, Annotator.annotator_id == Invitation.annotator_id)
            .where(Invitation.token_hash == hash_token(secret), _is_open())
        ).first()
    return None if found is None else Offer(*found)


def take_up(
    engine: sa.Engine, secret: str, *, name: str = "", password: str | None = None, identity: str | None = None
) -> int:
    """Uses a link up: makes its account, or sets the password (or the identity) of the account it names.

    Args:
        engine: The database.
        secret: Of the link.
        name: The new account's; of no meaning for a reset.
        password: The new one; or
        identity: Issuer and subject at an OpenID provider.

    Returns:
        The account's annotator.

    Raises:
        UserError: The link offers nothing any more; or the name or the password is refused, and the link stays good.
    """
    offer = look_at(engine, secret)
    if offer is None:
        raise UserError(_DEAD)
    if password is not None:
        check_password(password, name=offer.name or name)
    password_hash = None if password is None else hash_password(password)
    with writing(engine) as session:
        # Whoever sets `used_at` has the link; the other of two at once finds it used.
        taken = session.execute(
            sa.update(Invitation)
            .where(Invitation.token_hash == hash_token(secret), _is_open())
            .values(used_at=utc_now())
            .returning(Invitation.kind, Invitation.role, Invitation.annotator_id, Invitation.project_id)
            .execution_options(synchronize_session=False)
        ).first()
        if taken is None:
            raise UserError(_DEAD)
        kind, role, annotator_id, project_id = taken
        if kind == "invite":
            annotator_id = add_account(
                session, name, role=role, password_hash=password_hash, identity=identity, takes_existing=False
            )
            if project_id is not None:
                _join(session, project_id, annotator_id)
            return annotator_id
        assert annotator_id is not None  # of a reset, by a constraint
        if password_hash is not None:
            put_password(session, annotator_id, password_hash)
        if identity is not None:
            session.execute(sa.update(Account).where(Account.annotator_id == annotator_id).values(identity=identity))
        end_all(session, annotator_id)
        return annotator_id


def _join(session: Session, project_id: int, annotator_id: int) -> None:
    project = session.get_one(Project, project_id)
    is_tested = read_settings(project.settings).n_entry_tasks > 0
    session.add(
        Membership(project_id=project_id, annotator_id=annotator_id, state="testing" if is_tested else "active")
    )


def _is_open() -> sa.ColumnElement[bool]:
    return sa.and_(Invitation.used_at.is_(None), Invitation.expires_at > utc_now())
