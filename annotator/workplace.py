"""What every page needs to know: the database, who labels, and in which role.

A process serves either the one annotator it was started for, or whoever signs in (`annotator.signin`); pages ask
`current()` and need not know which.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa
import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

from db import sign_ins
from db.sign_ins import SignedIn
from stepmark.evidence import Evidence

from .signin.door import INVITATION, SIGN_IN, Door, is_allowed

LEASE_S = 1800
HELD_TASKS = 2
"""The task on screen, and the next one, so that it appears at once."""


EvidenceOf: TypeAlias = Callable[[sa.Engine, Collection[int]], Mapping[int, Evidence]]
"""Finds what is known beside the steps of solutions, by id (`stepmark.flows.evidence.evidence_of`)."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """One annotator at one database."""

    engine: sa.Engine
    annotator_id: int
    annotator: str
    reason: str | None
    """Only the part of the queue that this rule made; None for all."""
    role: str = "admin"
    """`annotator`, `reviewer` or `admin`; the one person of a machine without accounts is admin."""
    sign_in: str | None = None
    """Hash of the cookie's secret; None where nobody needs to sign in."""
    evidence: EvidenceOf | None = None
    """None: there is none to show."""

    @property
    def scope(self) -> str:
        """Names this database and annotator in the browser's storage."""
        return hashlib.sha256(f"{self.engine.url}/{self.annotator_id}".encode()).hexdigest()[:16]

    @property
    def fill_command(self) -> str:
        """The command that puts solutions into this queue; to people who signed in it does not tell where it is."""
        where = "" if self.sign_in else f" --db '{self.engine.url.render_as_string(hide_password=True)}'"
        return f"stepmark queue add{where} --source '*' --limit 100 --mode first_error"


@dataclass(slots=True)
class _Process:
    """What the pages of this process use."""

    single: Workplace | None = None
    door: Door | None = None
    reason: str | None = None
    evidence: EvidenceOf | None = None


_process = _Process()


def open_workplace(workplace: Workplace) -> None:
    """Sets the one workplace of this process, where nobody needs to sign in."""
    _process.single, _process.door = workplace, None
    _process.reason, _process.evidence = workplace.reason, workplace.evidence


def open_door(
    door: Door, *, single: Workplace | None, reason: str | None = None, evidence: EvidenceOf | None = None
) -> None:
    """Lets people sign in to this process; until there is an account, `single` is the workplace."""
    _process.single, _process.door = single, door
    _process.reason, _process.evidence = reason, evidence


def current() -> Workplace:
    """The workplace of whoever asks for this page.

    Who is not signed in any more is led to the sign-in page, and the page's script ends here.
    """
    door = _process.door
    if _process.single is not None and (door is None or not door.asks()):
        return _process.single
    assert door is not None
    person = _person_here(door)
    if person is None:
        lead_to(SIGN_IN)
        st.stop()
    return Workplace(
        door.engine,
        person.annotator_id,
        person.name,
        _process.reason,
        role=person.role,
        sign_in=person.token_hash,
        evidence=_process.evidence,
    )


def current_as(role: str) -> Workplace:
    """The same for a page that needs a role; others read that it does, and the script ends here."""
    workplace = current()
    if not is_allowed(workplace.role, role):
        st.error(f"This page is for the role {role}; {workplace.annotator} is {workplace.role}.")
        st.stop()
    return workplace


def database() -> sa.Engine:
    """The database of this process, whoever asks."""
    if _process.door is not None:
        return _process.door.engine
    assert _process.single is not None
    return _process.single.engine


def invitation_link(secret: str) -> str:
    """The link to send to a person, at the address by which this page was asked for."""
    public_url = _process.door.public_url if _process.door is not None else None
    return f"{public_url or 'http://' + st.context.headers.get('Host', '127.0.0.1:8501')}{INVITATION}/{secret}"


def lead_to(path: str) -> None:
    """Makes the browser leave the app's pages for another of our addresses, as `st.logout` does."""
    context = get_script_run_ctx()
    if context is not None:
        message = ForwardMsg()
        message.auth_redirect.url = path
        context.enqueue(message)


def _person_here(door: Door) -> SignedIn | None:
    """Whose session this script runs in: by the cookie of its WebSocket, never by another header."""
    context = get_script_run_ctx()
    if context is None:
        return None
    if secret := st.context.cookies.get(door.cookie):
        person = door.who(secret)
        if person is not None:
            door.remember_session(context.session_id, person.token_hash)
        return person
    # The browser is gone, and what it sent last is still being done: the session is whose it was.
    token_hash = door.owner_of_session(context.session_id)
    return None if token_hash is None else sign_ins.find_by_hash(door.engine, token_hash)
