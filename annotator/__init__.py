"""The Streamlit labelling app: pages, and the component that draws the labelling surface."""
