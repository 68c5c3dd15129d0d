"""The pages of the app in their order: what they are called, and who may open them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A page; its view is the module of that name in `annotator.views`, its address the same."""

    view: str
    title: str
    role: str = "annotator"
    """Who may open it: this role and those above it. The guard, the navigation and the view itself hold to it."""
    is_for_accounts: bool = False
    """Only where people sign in."""


PAGES = (
    Page("label", "Label"),
    Page("progress", "Progress"),
    Page("guidelines", "Guidelines"),
    Page("dashboard", "Dashboard", role="reviewer"),
    Page("adjudicate", "Adjudicate", role="reviewer"),
    Page("browse", "Browse", role="reviewer"),
    Page("rounds", "Rounds", role="reviewer"),
    Page("projects", "Projects", role="admin"),
    Page("team", "Team", role="admin"),
    Page("data", "Data", role="admin"),
    Page("people", "People", role="admin", is_for_accounts=True),
    Page("account", "Account", is_for_accounts=True),
)
