"""The script that Streamlit runs for every page: it sets the page up and hands over to a view."""

import streamlit as st

from annotator.assets import ICON
from annotator.views import guidelines, label, progress

st.set_page_config(page_title="stepmark", page_icon=str(ICON), layout="wide")
st.logo(str(ICON), size="large")
st.navigation(
    [
        st.Page(label.show, title="Label", url_path="label", default=True),
        st.Page(progress.show, title="Progress", url_path="progress"),
        st.Page(guidelines.show, title="Guidelines", url_path="guidelines"),
    ],
    position="top",
).run()
