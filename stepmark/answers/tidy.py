r"""Markup in and around an answer that says nothing about its value: `$...$`, `\left`, `**`, odd minus signs.

Superscripts, brackets, percent signs and units all mean something and stay.
"""

import re

_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", None),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        "\uff05": "%",
        "\u2044": "/",
        "\u2019": "'",
        "\u00bd": " 1/2",
        "\u00bc": " 1/4",
        "\u00be": " 3/4",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u00d7": "\\times ",
        "\u00f7": "/",
        "\u03c0": "\\pi ",
        "\u221e": "\\infty ",
    }
)
_LEADING_DASH = re.compile(r"^[\u2013\u2014]\s*(?=[\d.$\\])")
_SPACING = re.compile(r"\\(?:[,;: ]|quad(?![a-zA-Z])|qquad(?![a-zA-Z]))|(?<!\\)~")
_NOTHING = re.compile(r"\\(?:!|(?:left|right|displaystyle|limits|bigl?|bigr?|Bigl?|Bigr?)(?![a-zA-Z]))")
_FRAC = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_THOUSANDS_BRACE = re.compile(r"\{,\}|,\\!")
_THIN_THOUSANDS = re.compile(r"(?<=\d)\\,(?=\d{3}(?!\d))")
_WRAPPERS = (("**", "**"), ("__", "__"), ("`", "`"), ("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "$"))
_SPACES = re.compile(r"\s+")
_MAX_LAYERS = 10
"""More layers of markup than any answer wears; a bound for texts like ` . . . .` of a megabyte."""


def has_unreadable_characters(text: str) -> bool:
    r"""Tells whether a text holds control characters or lone surrogates.

    They come from escapes gone wrong (`"\frac"` read as a form feed and `rac`) and from broken decoding.

    >>> has_unreadable_characters("\x0crac{1}{2}"), has_unreadable_characters("a\tb\n")
    (True, False)
    """
    return _UNREADABLE.search(text) is not None


def strip_markup(text: str) -> str:
    r"""Strips white space, emphasis, math delimiters and the final full stop around an answer.

    >>> strip_markup(" **$18$.** "), strip_markup("\\(x+1\\)."), strip_markup("$5"), strip_markup("0.")
    ('18', 'x+1', '$5', '0')
    """
    for _ in range(_MAX_LAYERS):
        bare = text.strip()
        if bare.endswith(".") and not bare.endswith(("..", "\\right.")):
            bare = bare[:-1].rstrip()
        for opening, closing in _WRAPPERS:
            inner = bare[len(opening) : -len(closing)]
            if (
                len(bare) > len(opening) + len(closing)
                and bare.startswith(opening)
                and bare.endswith(closing)
                and opening not in inner
                and not bare.endswith("\\$")
            ):
                bare = inner
                break
        if bare == text:
            break
        text = bare
    return text


def tidy_answer(text: str) -> str:
    r"""Brings an answer to one spelling: ASCII minus and digits, no spacing commands, `\frac` for its kin.

    >>> tidy_answer("$\\dfrac{1}{2}$"), tidy_answer("\u22125"), tidy_answer("10{,}000")
    ('\\frac{1}{2}', '-5', '10,000')
    """
    text = strip_markup(text.translate(_CHARACTERS))
    text = _LEADING_DASH.sub("-", text)
    if "\\" in text or "{" in text or "~" in text:
        text = _THOUSANDS_BRACE.sub(",", text)
        text = _THIN_THOUSANDS.sub(",", text)
        text = _NOTHING.sub("", text)
        text = _SPACING.sub(" ", text)
        text = _FRAC.sub(r"\\frac", text)
        text = text.replace("\\%", "%").replace("\\$", "$").replace("\\lbrace", "\\{").replace("\\rbrace", "\\}")
    return strip_markup(_SPACES.sub(" ", text))
