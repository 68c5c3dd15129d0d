"""The files that the browser loads from this app, and from nowhere else: the surface's modules, and KaTeX."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import streamlit

COMPONENT = Path(__file__).parent / "component"
ICON = COMPONENT / "icon.svg"
_INSTALLED_KATEX = Path(__file__).parents[1] / "node_modules" / "katex" / "dist"


@dataclass(frozen=True, slots=True)
class Katex:
    """Where the browser finds KaTeX."""

    module: str
    """Address of the ES module whose default export is KaTeX."""
    css: str | None
    """Address of its style sheet; None where the page has one already."""
    directory: Path | None
    """What to serve under `/stepmark/katex`; None where Streamlit serves it."""


def find_katex(installed: Path = _INSTALLED_KATEX) -> Katex | None:
    """KaTeX as `npm ci` installed it; else the copy inside Streamlit; None where neither is there.

    Streamlit's copy is a chunk of its front end under a hashed name; its style sheet is part of the page's own.
    """
    if (installed / "katex.mjs").is_file():
        return Katex("/stepmark/katex/katex.mjs", "/stepmark/katex/katex.min.css", installed)
    bundled = sorted((Path(streamlit.__file__).parent / "static" / "static" / "js").glob("katex.*.js"))
    return Katex(f"/static/js/{bundled[0].name}", None, None) if bundled else None


@cache
def component_digest() -> str:
    """Changes whenever a file of the component does; as part of the address it keeps browsers from using old ones.

    Read once a process, which serves the files under the address that it began with.
    """
    digest = hashlib.sha256()
    for path in sorted(COMPONENT.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(COMPONENT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def style_sheet() -> str:
    """The component's styles, from files by subject, as one sheet."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((COMPONENT / "styles").glob("*.css")))


def component_url() -> str:
    """Address of the component's folder in this app."""
    return f"/stepmark/surface/{component_digest()}"
