"""The page of a person's own account: who is signed in, the password, signing out."""

import streamlit as st

from annotator.signin.door import SIGN_IN
from annotator.workplace import Workplace, current, lead_to
from db import accounts, sign_ins
from stepmark.errors import UserError

from .reading_page import set_measure


def show() -> None:
    """Draws the page."""
    set_measure()
    workplace = current()
    assert workplace.sign_in is not None
    st.title(workplace.annotator)
    st.caption(f"Role: {workplace.role}")
    here, everywhere, _rest = st.columns([1, 2, 3])
    if here.button("Sign out"):
        sign_ins.end(workplace.engine, workplace.sign_in)
        lead_to(SIGN_IN)
        st.stop()
    if everywhere.button("Sign out all other browsers"):
        n = sign_ins.sign_out_everywhere(workplace.engine, workplace.annotator_id, but=workplace.sign_in)
        st.success(f"Signed out: {n}")
    st.subheader("Password")
    with st.form("password", clear_on_submit=True):
        now = st.text_input("Password now", type="password", autocomplete="current-password")
        new = st.text_input("New password", type="password", autocomplete="new-password")
        again = st.text_input("The same again", type="password", autocomplete="new-password")
        if st.form_submit_button("Change password"):
            _change(workplace, now=now, new=new, again=again)


def _change(workplace: Workplace, *, now: str, new: str, again: str) -> None:
    if new != again:
        st.error("The two new passwords differ.")
        return
    checked = accounts.check_sign_in(workplace.engine, workplace.annotator, now)
    if checked.wait_s:
        st.error(f"Too many tries; wait {checked.wait_s} seconds.")
    elif checked.annotator_id != workplace.annotator_id:
        st.error("That is not the password now.")
    else:
        try:
            accounts.set_password(workplace.engine, workplace.annotator_id, new, but=workplace.sign_in)
        except UserError as err:
            st.error(f"Not changed: {err}.")
        else:
            st.success("Changed; all other browsers are signed out.")
