r"""Cutting a step's text into the tokens of arithmetic, each with its place in the text."""

import re
from typing import Literal, NamedTuple

Kind = Literal[
    "break", "arrow", "relation", "number", "frac", "sqrt", "binom", "degree", "dots", "text", "operator", "power",
    "percent", "open", "close", "factorial", "name", "word", "comma", "colon", "stop", "bullet", "other", "end",
]  # fmt: skip
"""`name`: a letter or a Greek one; `word`: other words; `text`: words within TeX; `power`: ² and ³; `end`: of all."""


class Token(NamedTuple):
    """A piece of a text."""

    kind: str
    """One of `Kind`."""
    text: str
    """As written, but for spellings of one sign: `×` is `*`."""
    start: int
    end: int


_SPELLINGS = str.maketrans(
    {
        **dict.fromkeys("−–‐‑﹣－", "-"),
        **dict.fromkeys("×✕✖·⋅∙∗", "*"),
        **dict.fromkeys("÷∕⁄", "/"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f\u2061\u200b", " "),
        **dict.fromkeys("’‘", "'"),
        **dict.fromkeys("≃≅≒", "≈"),
        "≦": "≤",
        "≧": "≥",
        "＝": "=",
        "＋": "+",
    }
)
"""One character for one character, so that places stay."""
_MARKER = re.compile(
    r"^[ \t]*(?:(?:\*\*)?(?:step|case|part|option|choice|question|problem|day|week)\b[ \t]*:?[ \t]*)?"
    r"(?:\(?(?:\d{1,3}|[a-z])[.):]+(?=\s)|[-*•](?=\s))",
    re.IGNORECASE | re.MULTILINE,
)
_TOKEN = re.compile(
    r"""
      (?P<break> \n | \\\\ | \\[\[\]] | \$\$
        | \\(?:begin|end)\{(?:align|gather|equation|eqnarray|split|multline)[a-z]*\*?\} )
    | (?P<space> [ \t\r&`$€£]+ | \\[,;:!> ()$]
        | \\(?:left|right|[bB]igg?[lr]?|displaystyle|q?quad|hspace\{[^{}]*\}|boxed|fbox|mathbf|bm)(?![a-zA-Z])
        | (?<![\d)])\*\*+ | \*\*+(?![-\d(]) )
    | (?P<arrow> <=>|<->|==+>|=>|-+>|<-+(?!\d)|<<|>>|:=|={3,}|[-+]= )
    | (?P<relation> \\(?:leq?|geq?|leqslant|geqslant|approx|simeq|neq?|lt|gt)(?![a-zA-Z])
        | [≤≥≈≠] | <= | >= | (?<![\d)])!= | ==? | < | > )
    | (?P<number> (?:\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,2}(?![\w.]))? | \.\d+ )
    | (?P<frac> \\[dtc]?frac(?![a-zA-Z]) )
    | (?P<sqrt> \\sqrt(?![a-zA-Z]) | √ )
    | (?P<binom> \\[dt]?binom(?![a-zA-Z]) )
    | (?P<degree> \^\s?(?:\\circ|\{\s?\\circ\s?\}) | ° )
    | (?P<dots> \\[lc]?dots[cb]?(?![a-zA-Z]) | \.{3,} | … | ⋯ )
    | (?P<text> \\(?:text|mathrm|textrm|mbox|textbf|mathit|textit)\s*\{[^{}]*\} )
    | (?P<operator> \\(?:times|cdot|ast|div)(?![a-zA-Z]) | \*\* | [-+*/^] | (?<=\d)[xX](?=\d) )
    | (?P<power> [²³] )
    | (?P<percent> \\?% )
    | (?P<open> [(\[{] )
    | (?P<close> [)\]}] )
    | (?P<factorial> ! )
    | (?P<name> (?: [a-zA-Z](?![^\W\d_]|'[a-zA-Z])
        | \\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|phi|omega)(?![a-zA-Z]) )
        (?:_\{[^{}]*\}|_?\d+|_[^\W_])? )
    | (?P<word> [^\W\d_]+(?:['-][^\W\d_]+)*(?:_\{[^{}]*\}|_?\d+|_[^\W_])* )
    | (?P<comma> , )
    | (?P<colon> : )
    | (?P<bullet> • )
    | (?P<stop> [.;"“”?] | → | ⇒ )
    | (?P<other> \\(?:[a-zA-Z]+|[{}|]) | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def plain_spelling(text: str) -> str:
    """The text with one spelling for each sign, as long as it was.

    >>> plain_spelling("9 × 7 − 3")
    '9 * 7 - 3'
    """
    return text.translate(_SPELLINGS)


def without_markers(text: str) -> str:
    r"""The text with spaces in the place of list marks and `Step 3:`; a dash, which may be a sign, becomes a bullet.

    >>> without_markers("Step 3: 4 + 5 = 9"), without_markers("- 4 + 5 = 9")
    ('        4 + 5 = 9', '• 4 + 5 = 9')
    """
    return _MARKER.sub(_blank, text)


def _blank(marker: re.Match[str]) -> str:
    blank = " " * len(marker[0])
    return blank[:-1] + "•" if marker[0].endswith("-") else blank


def cut(text: str, *, offset: int = 0) -> list[Token]:
    """Cuts a plainly spelt text into tokens; spaces, currency signs and TeX's brackets of formulas are passed over.

    Args:
        text: As `plain_spelling` returns it.
        offset: Added to every place.

    >>> [(token.kind, token.text) for token in cut("9 * $2 = 18")]
    [('number', '9'), ('operator', '*'), ('number', '2'), ('relation', '='), ('number', '18')]
    """
    return [
        Token(match.lastgroup or "other", match[0], match.start() + offset, match.end() + offset)
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "space"
    ]
