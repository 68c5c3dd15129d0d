"""Accounts of people: making one, checking a password, changes of role, closing, erasing.

Who is signed in is in `db.sign_ins`; links that let people make accounts themselves are in `db.invitations`. Whatever
takes a right away ends the person's sign-ins in the same transaction.
"""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from stepmark.errors import UserError

from .connect import reading, writing
from .models import Account, Annotation, Annotator, Claim, Draft, Event, Invitation, Membership, Note, SignIn
from .models.people import ANNOTATOR_ROLES
from .passwords import check_password, hash_password, is_password, wait_after
from .schema import utc_now
from .sign_ins import end_all


@dataclass(frozen=True, slots=True)
class Person:
    """A person who labels, with or without an account."""

    annotator_id: int
    name: str
    role: str
    is_active: bool
    has_account: bool
    has_password: bool
    identity: str | None
    n_sign_ins: int
    """Browsers signed in now."""
    created_at: dt.datetime
    erased_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a name and a password."""

    annotator_id: int | None
    """Whose they are; None if they are not right, or were not looked at."""
    wait_s: int = 0
    """Seconds until the next try is looked at; positive only if this one was not."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an identity is."""

    annotator_id: int
    is_active: bool


@dataclass(frozen=True, slots=True)
class Erased:
    """What erasing a person took away, and what stays."""

    name: str
    """What the person is called from now on."""
    n_sign_ins: int
    n_drafts: int
    n_notes: int
    """Notes to the person."""
    n_comments: int
    """Comments beside the person's labels that were taken away."""
    n_annotations_kept: int
    n_comments_kept: int
    n_notes_kept: int
    """Notes that the person wrote to others."""


def has_accounts(engine: sa.Engine) -> bool:
    """Whether there is any account, closed and erased ones included: from the first on, the app asks who comes."""
    with reading(engine) as session:
        return session.scalar(sa.select(sa.exists().where(Account.annotator_id.is_not(None)))) or False


def is_account(engine: sa.Engine, name: str) -> bool:
    """Whether somebody of this name has an account."""
    with reading(engine) as session:
        return (
            session.scalar(
                sa.select(
                    sa.exists().where(Annotator.name == name.strip(), Annotator.annotator_id == Account.annotator_id)
                )
            )
            or False
        )


def list_people(engine: sa.Engine) -> list[Person]:
    """All people, by name."""
    n_sign_ins = (
        sa.select(sa.func.count())
        .where(
            SignIn.annotator_id == Annotator.annotator_id, SignIn.ended_at.is_(None), SignIn.expires_at > utc_now()
        )
        .scalar_subquery()
    )
    with reading(engine) as session:
        rows = session.execute(
            sa.select(Annotator, Account, n_sign_ins)
            .outerjoin(Account, Account.annotator_id == Annotator.annotator_id)
            .where(Annotator.kind == "person")
            .order_by(Annotator.name)
        ).all()
        return [
            Person(
                annotator_id=annotator.annotator_id,
                name=annotator.name,
                role=annotator.role,
                is_active=annotator.is_active,
                has_account=account is not None,
                has_password=account is not None and account.password_hash is not None,
                identity=None if account is None else account.identity,
                n_sign_ins=n,
                created_at=annotator.created_at,
                erased_at=annotator.erased_at,
            )
            for annotator, account, n in rows
        ]


def find_person(engine: sa.Engine, name: str) -> Person:
    """The person of this name.

    Raises:
        UserError: There is none.
    """
    people = list_people(engine)
    for person in people:
        if person.name == name.strip():
            return person
    known = ", ".join(repr(person.name) for person in people[:10]) or "nobody yet"
    raise UserError(f"nobody is called {name!r}; there are: {known}")


def create_account(
    engine: sa.Engine, name: str, *, role: str = "annotator", password: str | None = None, identity: str | None = None
) -> int:
    """Makes an account, and returns its annotator's id.

    A person of this name who labelled before there were accounts gets the account, and keeps the labels.

    Raises:
        UserError: The name is empty, has an account already or is not a person's; the role is unknown; the password
            is refused.
    """
    if password is not None:
        check_password(password, name=name)
    password_hash = None if password is None else hash_password(password)
    with writing(engine) as session:
        return add_account(
            session, name, role=role, password_hash=password_hash, identity=identity, takes_existing=True
        )


def add_account(
    session: Session,
    name: str,
    *,
    role: str,
    password_hash: str | None,
    identity: str | None,
    takes_existing: bool,
) -> int:
    """Adds an account within a transaction; `takes_existing` lets it be that of a person who labelled without one.

    Raises:
        UserError: As `create_account`, but for the password.
    """
    name = check_name(name)
    _check_role(role)
    annotator = session.scalar(sa.select(Annotator).where(Annotator.name == name))
    if annotator is None:
        annotator = Annotator(name=name, kind="person", role=role)
        session.add(annotator)
        session.flush()
    elif annotator.kind != "person":
        raise UserError(f"{name!r} is a {annotator.kind}, not a person; choose another name")
    elif session.get(Account, annotator.annotator_id) is not None:
        raise UserError(f"there is an account {name!r} already; choose another name")
    elif not takes_existing:
        raise UserError(f"the name {name!r} is taken; choose another")
    annotator.role, annotator.is_active = role, True
    session.add(
        Account(annotator_id=annotator.annotator_id, password_hash=password_hash, identity=identity, settings={})
    )
    session.add(Event(kind="account_made", annotator_id=annotator.annotator_id, data={"role": role}))
    session.flush()
    return annotator.annotator_id


def check_name(name: str) -> str:
    """The name without white space around it.

    Raises:
        UserError: It is empty, too long, or holds control characters.
    """
    name = name.strip()
    if not name:
        raise UserError("the name is empty; give one, such as annotator-1")
    if len(name) > 128:
        raise UserError(f"the name has {len(name)} characters; at most 128 are kept")
    if not name.isprintable():
        raise UserError(f"the name {name!r} holds characters that cannot be seen; leave them out")
    return name


def check_sign_in(engine: sa.Engine, name: str, password: str) -> Checked:
    """Looks at a name and a password; right, wrong or unknown, the work is the same.

    A try counts as a wrong one before the password is looked at, so that tries side by side are counted too; a right
    one sets the count back. While an account waits, no password is looked at, not even the right one.
    """
    with writing(engine) as session:
        found = session.execute(
            sa.select(Account, Annotator.is_active, utc_now())
            .join(Annotator, Annotator.annotator_id == Account.annotator_id)
            .where(Annotator.name == name.strip(), Annotator.kind == "person")
            .with_for_update(of=Account)
        ).first()
        password_hash, annotator_id = None, None
        if found is not None:
            account, is_active, now = found
            if account.locked_until is not None and account.locked_until > now:
                return Checked(None, wait_s=int((account.locked_until - now).total_seconds()) + 1)
            account.n_failures += 1
            wait_s = wait_after(account.n_failures)
            account.locked_until = now + dt.timedelta(seconds=wait_s) if wait_s else None
            annotator_id = account.annotator_id
            password_hash = account.password_hash if is_active else None
    if not is_password(password, password_hash):
        return Checked(None)
    with writing(engine) as session:
        session.execute(
            sa.update(Account).where(Account.annotator_id == annotator_id).values(n_failures=0, locked_until=None)
        )
    return Checked(annotator_id)


def set_password(engine: sa.Engine, annotator_id: int, password: str, *, but: str | None = None) -> None:
    """Sets a new password and ends the person's sign-ins, all but the one whose token's hash is `but`.

    Raises:
        UserError: The password is refused, or there is no such account.
    """
    with reading(engine) as session:
        name = session.scalar(sa.select(Annotator.name).where(Annotator.annotator_id == annotator_id))
    check_password(password, name=name or "")
    password_hash = hash_password(password)
    with writing(engine) as session:
        put_password(session, annotator_id, password_hash)
        end_all(session, annotator_id, but=but)


def put_password(session: Session, annotator_id: int, password_hash: str) -> None:
    """Replaces the hash within a transaction, and forgets wrong tries.

    Raises:
        UserError: There is no such account.
    """
    account = session.get(Account, annotator_id)
    if account is None:
        raise UserError(f"annotator {annotator_id} has no account; make one with `stepmark annotators add`")
    account.password_hash, account.n_failures, account.locked_until = password_hash, 0, None
    session.add(Event(kind="password_set", annotator_id=annotator_id))


def find_by_identity(engine: sa.Engine, identity: str) -> Owner | None:
    """Whose identity at an OpenID provider this is."""
    with reading(engine) as session:
        found = session.execute(
            sa.select(Account.annotator_id, Annotator.is_active)
            .join(Annotator, Annotator.annotator_id == Account.annotator_id)
            .where(Account.identity == identity)
        ).first()
    return None if found is None else Owner(*found)


def free_name(engine: sa.Engine, wanted: str) -> str:
    """The name, with a number behind it if somebody has it."""
    with reading(engine) as session:
        begins_so = Annotator.name.startswith(wanted, autoescape=True)
        taken = set(session.scalars(sa.select(Annotator.name).where(begins_so)))
    names = (wanted if n == 1 else f"{wanted}-{n}" for n in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def change_role(engine: sa.Engine, annotator_id: int, role: str, *, by: int | None = None) -> None:
    """Gives a person another role; it holds from the next request on.

    Raises:
        UserError: The role is unknown, or the person is the last admin.
    """
    _check_role(role)
    with writing(engine) as session:
        annotator = _person(session, annotator_id)
        if role != "admin":
            _check_another_admin(session, annotator)
        before, annotator.role = annotator.role, role
        session.add(
            Event(kind="role_changed", annotator_id=annotator_id, data={"from": before, "to": role, "by": by})
        )


def close_account(engine: sa.Engine, annotator_id: int, *, by: int | None = None) -> int:
    """Closes an account: nobody signs in with it any more, its tasks go to others, its labels stay.

    Returns:
        How many browsers were signed out.

    Raises:
        UserError: The person is the last admin.
    """
    with writing(engine) as session:
        annotator = _person(session, annotator_id)
        _check_another_admin(session, annotator)
        annotator.is_active = False
        session.add(Event(kind="account_closed", annotator_id=annotator_id, data={"by": by}))
        return _take_away_work(session, annotator_id)


def reopen_account(engine: sa.Engine, annotator_id: int, *, by: int | None = None) -> None:
    """Opens a closed account again, with the password it had.

    Raises:
        UserError: The person was erased.
    """
    with writing(engine) as session:
        annotator = _person(session, annotator_id)
        if annotator.erased_at is not None:
            raise UserError(f"{annotator.name!r} was erased and cannot come back; make a new account")
        annotator.is_active = True
        session.add(Event(kind="account_reopened", annotator_id=annotator_id, data={"by": by}))


def erase_person(
    engine: sa.Engine, annotator_id: int, *, erases_comments: bool = False, by: int | None = None
) -> Erased:
    """Takes away who a person is: name, password, identity, settings, sign-ins, drafts, memberships, notes to them.

    The labels stay, under a name that says nothing. So do notes that the person wrote to others, and, unless
    `erases_comments`, comments beside labels: they explain the labels, and a lead should read whether they tell more.
    The row of the account stays, empty, so that an app whose last account is erased does not stand open.

    Raises:
        UserError: The person is the last admin.
    """
    with writing(engine) as session:
        annotator = _person(session, annotator_id)
        _check_another_admin(session, annotator)
        _take_away_work(session, annotator_id)
        annotator.name = f"erased-{annotator_id}"
        annotator.role, annotator.is_active, annotator.erased_at = "annotator", False, utc_now()
        session.execute(
            sa.update(Account)
            .where(Account.annotator_id == annotator_id)
            .values(password_hash=None, identity=None, settings={}, n_failures=0, locked_until=None)
        )
        session.execute(sa.delete(Invitation).where(Invitation.annotator_id == annotator_id))
        session.execute(sa.delete(Membership).where(Membership.annotator_id == annotator_id))
        commented = sa.and_(Annotation.annotator_id == annotator_id, Annotation.comment.is_not(None))
        n_comments = 0
        if erases_comments:
            n_comments = _n_rows(session.execute(sa.update(Annotation).where(commented).values(comment=None)))
        erased = Erased(
            name=annotator.name,
            n_sign_ins=_n_rows(session.execute(sa.delete(SignIn).where(SignIn.annotator_id == annotator_id))),
            n_drafts=_n_rows(session.execute(sa.delete(Draft).where(Draft.annotator_id == annotator_id))),
            n_notes=_n_rows(session.execute(sa.delete(Note).where(Note.annotator_id == annotator_id))),
            n_comments=n_comments,
            n_annotations_kept=_count(session, Annotation.annotator_id == annotator_id),
            n_comments_kept=_count(session, commented),
            n_notes_kept=_count(session, Note.author_id == annotator_id),
        )
        session.add(
            Event(
                kind="person_erased",
                annotator_id=annotator_id,
                data={"by": by, "drafts": erased.n_drafts, "notes": erased.n_notes, "comments": n_comments},
            )
        )
        return erased


def _take_away_work(session: Session, annotator_id: int) -> int:
    """Ends sign-ins, links and leases; returns how many browsers were signed out."""
    session.execute(
        sa.update(Invitation)
        .where(Invitation.annotator_id == annotator_id, Invitation.used_at.is_(None))
        .values(used_at=utc_now())
    )
    session.execute(
        sa.update(Claim)
        .where(Claim.annotator_id == annotator_id, Claim.expires_at > utc_now())
        .values(expires_at=utc_now())
    )
    return end_all(session, annotator_id)


def _person(session: Session, annotator_id: int) -> Annotator:
    annotator = session.get(Annotator, annotator_id, with_for_update=True)
    if annotator is None or annotator.kind != "person":
        raise UserError(f"annotator {annotator_id} is not a person; see `stepmark annotators list`")
    return annotator


def _check_role(role: str) -> None:
    if role not in ANNOTATOR_ROLES:
        raise UserError(f"there is no role {role!r}; use one of {', '.join(ANNOTATOR_ROLES)}")


def _check_another_admin(session: Session, annotator: Annotator) -> None:
    """Refuses to take the last admin's rights away, for nobody could give them back in the app."""
    if annotator.role != "admin" or not annotator.is_active or session.get(Account, annotator.annotator_id) is None:
        return
    # All of them are locked, so that two admins cannot remove each other at the same time.
    admins = session.scalars(
        sa.select(Annotator.annotator_id)
        .join(Account, Account.annotator_id == Annotator.annotator_id)
        .where(Annotator.role == "admin", Annotator.is_active)
        .order_by(Annotator.annotator_id)
        .with_for_update(of=Annotator)
    ).all()
    if set(admins) <= {annotator.annotator_id}:
        raise UserError(f"{annotator.name!r} is the last admin; make another one first")


def _count(session: Session, condition: sa.ColumnElement[bool]) -> int:
    return session.scalar(sa.select(sa.func.count()).where(condition)) or 0


def _n_rows(result: sa.Result[tuple[object, ...]]) -> int:
    assert isinstance(result, sa.CursorResult)
    return result.rowcount
