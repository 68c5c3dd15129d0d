"""The script that Streamlit runs for every page: it sets the page up and hands over to a view."""

from importlib import import_module

import streamlit as st

from annotator.assets import ICON
from annotator.pages import PAGES
from annotator.signin.door import is_allowed
from annotator.workplace import current

st.set_page_config(page_title="stepmark", page_icon=str(ICON), layout="wide")
st.logo(str(ICON), size="large")
workplace = current()
st.navigation(
    [
        st.Page(
            import_module(f"annotator.views.{page.view}").show,
            title=page.title,
            url_path=page.view,
            default=page is PAGES[0],
        )
        for page in PAGES
        if is_allowed(workplace.role, page.role) and (workplace.sign_in or not page.is_for_accounts)
    ],
    position="top",
).run()
