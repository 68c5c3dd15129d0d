r"""The identity of a problem: which statements are the same problem, and which are one family.

A problem is identified by the hash of its normalised statement, so the same question from two sources is one
problem. A family joins the problems that differ in their numbers only: it is the unit of every split, because
a model that was trained on `12 eggs` must not be tested on `15 eggs`.
"""

import hashlib
import re
import unicodedata

from .answers.words import SCALES, SMALL

MASK = "#"
"""What stands for a number in a masked signature."""
HASH_CHARS = 32
"""Hex characters of a hash: 128 bits, half of a SHA-256."""

_QUOTES = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´`ʼ", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None),
    }
)
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SUPERSCRIPT_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_VULGAR = re.compile("(?<=[0-9])(?=[¼-¾⅐-⅞])")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_SPACE_BEFORE_STOP = re.compile(r" (?=[.,;:?!](?: |$))")
# What follows runs over every statement that comes in. A pattern that begins with a character is tried only where it
# stands; one that begins with a look-behind or `\b`, at every place, which takes several times as long.
_NUMBER = re.compile(r"[\d.](?:(?<=\d)(?:\d{0,2}(?:,\d{3})+(?!\d)|\d*)(?:\.\d+)?|(?<=\.)\d+)")
_FRACTION = re.compile(rf"{MASK}(?:\s*/\s*|\s+){MASK}\s*/\s*{MASK}|{MASK}\s*/\s*{MASK}")
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|[^\w\s.,;:?\"']")  # sentence marks are none
_TWICE = re.compile(r"t(?<=\bt)(?:wice|hrice)\b")
_HALF = re.compile(r"h(?<=\bh)alf\b")
_HYPHEN = re.compile(rf"-(?:(?<=[^\W\d_]-)|(?<={MASK}-)(?=[^\W\d_]))")
_PLURAL = re.compile(r"s(?<=[^\W\d_]{3}s)(?<!ss)\b")
_WORDS = (*SMALL, *SCALES)
_NUMBER_WORDS = re.compile(
    "(?:"
    + "|".join(
        f"{first}(?<=\\b{first})(?:{'|'.join(rests)})"
        for first, rests in (
            (first, sorted((word[1:] for word in _WORDS if word[0] == first), key=len, reverse=True))
            for first in sorted({word[0] for word in _WORDS})
        )
    )
    + rf")(?:(?:[ -]|[ ]and[ ])(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))}))*\b"
)
"""`stepmark.answers.words.NUMBER_WORDS`, in lower case."""


def normalise_statement(text: str) -> str:
    r"""Brings a statement to the spelling that identifies it.

    Unicode NFKC, but `10²` becomes `10^2` and not `102`, and `2½` becomes `2 1/2`; typographic quotes and
    dashes become ASCII; control, zero-width and soft-hyphen characters go; white space shrinks to single
    blanks, and none stands before a sentence mark. Case and wording stay: they may matter.

    >>> normalise_statement("Janet’s  ducks lay 16\u00a0eggs .\n\nHow many  “spare” eggs ?")
    'Janet\'s ducks lay 16 eggs. How many "spare" eggs?'
    >>> normalise_statement("x² − 2½ = 0")
    'x^2 - 2 1/2 = 0'
    """
    if text.isascii():
        text = text.replace("`", "'")
    else:
        text = _SUPERSCRIPTS.sub(lambda match: "^" + match.group().translate(_SUPERSCRIPT_DIGITS), text)
        text = _VULGAR.sub(" ", text.translate(_QUOTES))
        text = unicodedata.normalize("NFKC", text).replace("\u2044", "/").translate(_QUOTES)
    return _SPACE_BEFORE_STOP.sub("", " ".join(_CONTROL.sub("", text).split()))


def statement_hash(text: str) -> str:
    """The identity of a problem: 32 hex characters over its normalised statement.

    >>> statement_hash("What is  2 + 2 ?") == statement_hash("What is 2 + 2?")
    True
    >>> statement_hash("What is 2 + 2?")
    '38d46ad3618826cf660df542bcf13a3b'
    """
    return normalised_hash(normalise_statement(text))


def normalised_hash(normalised: str) -> str:
    """The identity of a problem, from its normalised statement."""
    return _hash(normalised)


def masked_signature(text: str) -> str:
    """A statement with its numbers masked, for telling families.

    Numbers in digits (with commas, decimals, fractions) and in words (`half` and `twice` too) become `#`.
    Case, white space, hyphens, sentence marks and the plural's `s` go, since they change with the numbers;
    operators, currency and percent signs stay.

    >>> masked_signature("Tom has 1,200 eggs and sells 1/2 of them at $2.50.")
    'tom has # egg and sell # of them at $ #'
    >>> masked_signature("Tom has one egg and sells half of them at $3.")
    'tom has # egg and sell # of them at $ #'
    """
    masked = _NUMBER_WORDS.sub(MASK, normalise_statement(text).replace(MASK, " ").casefold())
    masked = _HALF.sub(MASK, _TWICE.sub(f"{MASK} times", masked))
    masked = _FRACTION.sub(MASK, _NUMBER.sub(MASK, masked))
    masked = _PLURAL.sub("", _HYPHEN.sub(" ", masked))
    return " ".join(_TOKEN.findall(masked))


def family_hash(text: str) -> str:
    """The family of a problem: 32 hex characters over its masked signature.

    >>> family_hash("Tom has 5 eggs. How many?") == family_hash("Tom has twelve eggs. How many?")
    True
    >>> family_hash("Tom has 5 eggs. How many?") == family_hash("Ann has 5 eggs. How many?")
    False
    """
    return _hash(masked_signature(text))


def _hash(text: str) -> str:
    # A lone surrogate cannot be encoded; replaced, it still gives the same hash for the same text.
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:HASH_CHARS]
