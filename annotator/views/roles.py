"""Who may open which page: one function that each page calls first."""

import streamlit as st

from annotator.workplace import Workplace, current

REVIEW = ("reviewer", "admin")
LEAD = ("admin",)


def role() -> str:
    """The role of whoever asks; on a machine without accounts, everybody is an admin."""
    return getattr(current(), "role", None) or "admin"


def may(*roles: str) -> bool:
    """Whether whoever asks has one of these roles."""
    return role() in roles


def require(*roles: str) -> Workplace:
    """The workplace, for whoever has one of these roles; for others the page ends here, with the reason."""
    if not may(*roles):
        st.title("Not for you")
        st.write(f"This page is for {' and '.join(f'{one}s' for one in roles)}; you are here as {role()}.")
        st.stop()
    return current()
