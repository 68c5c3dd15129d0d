"""The page on which an admin invites people, and gives and takes rights."""

import streamlit as st

from annotator.signin.door import ROLES
from annotator.workplace import Workplace, current_as, invitation_link
from db import accounts, invitations, sign_ins
from db.accounts import Person
from stepmark.errors import UserError

from .reading_page import set_measure


def show() -> None:
    """Draws the page."""
    set_measure()
    workplace = current_as("admin")
    st.title("People")
    table = st.container()  # filled last, so that it shows what the buttons below did
    invite, change = st.columns(2, gap="large")
    with invite:
        _invite(workplace)
    with change:
        _change(workplace)
    table.dataframe([_row(person) for person in accounts.list_people(workplace.engine)], hide_index=True)


def _row(person: Person) -> dict[str, str | int]:
    state = "erased" if person.erased_at else "open" if person.is_active else "closed"
    return {
        "name": person.name,
        "role": person.role,
        "account": state if person.has_account else "none",
        "signs in by": "password" if person.has_password else "provider" if person.identity else "–",
        "browsers signed in": person.n_sign_ins,
        "since": person.created_at.date().isoformat(),
    }


def _invite(workplace: Workplace) -> None:
    st.subheader("Invite somebody")
    with st.form("invite"):
        role = st.selectbox("Role", ROLES)
        if st.form_submit_button("Make a link"):
            secret = invitations.invite(workplace.engine, role=role, by=workplace.annotator_id)
            st.write("Send this link to one person. It makes one account, within a week, and is not shown again:")
            st.code(invitation_link(secret), language=None, wrap_lines=True)


def _change(workplace: Workplace) -> None:
    st.subheader("Change an account")
    people = [person for person in accounts.list_people(workplace.engine) if person.has_account]
    names = {person.name: person for person in people if person.erased_at is None}
    with st.form("change"):
        name = st.selectbox("Name", list(names), index=None)
        what = st.selectbox(
            "What",
            [*(f"make {role}" for role in ROLES), "link for a new password", "sign out", "close", "open again"],
            index=None,
        )
        if st.form_submit_button("Do it") and name is not None and what is not None:
            try:
                _do(workplace, names[name], what)
            except UserError as err:
                st.error(f"Not done: {err}.")


def _do(workplace: Workplace, person: Person, what: str) -> None:
    engine, by = workplace.engine, workplace.annotator_id
    if what == "close":
        n = accounts.close_account(engine, person.annotator_id, by=by)
        st.success(f"{person.name} is closed; browsers signed out: {n}. The labels stay.")
    elif what == "open again":
        accounts.reopen_account(engine, person.annotator_id, by=by)
        st.success(f"{person.name} is open.")
    elif what == "sign out":
        n = sign_ins.sign_out_everywhere(engine, person.annotator_id)
        st.success(f"{person.name}: browsers signed out: {n}.")
    elif what == "link for a new password":
        secret = invitations.invite_reset(engine, person.annotator_id, by=by)
        st.write(f"Send this link to {person.name}. It is good once, within a day, and is not shown again:")
        st.code(invitation_link(secret), language=None, wrap_lines=True)
    else:
        role = what.removeprefix("make ")
        accounts.change_role(engine, person.annotator_id, role, by=by)
        st.success(f"{person.name} is {role}.")
