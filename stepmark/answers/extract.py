r"""Reading the final answer out of a solution's text.

Where an answer may stand, the first that applies wins: the last `\boxed{...}`, a `# Answer` section, GSM8K's
`#### 42`, a last line `A: 42` / `Answer: 42` / `... the answer is 42`. What is found is returned as written,
without the markup around it; whether it is right is `compare`'s business.
"""

import re
from dataclasses import dataclass

from .tidy import has_unreadable_characters, strip_markup

_BOX = re.compile(r"\\f?box(?:ed)?(?![a-zA-Z])[ \t\n]*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"[^\s$]+")
_ANSWER_SECTION = re.compile(r"^#+[ \t]*(?:final[ \t]+)?answer[ \t]*(?::|$)", re.IGNORECASE | re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_HASHES = re.compile(r"^####(?!#)[ \t]*(.*)$", re.DOTALL)
_LINE_LABEL = re.compile(
    r"^(?:#+[ \t]*)?([*_]*)(?:a|(?:the[ \t]+)?(?:final[ \t]+)?answer)[ \t]*+[*_]*+[ \t]*+:", re.IGNORECASE
)
_SENTENCE = re.compile(r"\banswer[ \t]+is(?:[ \t]*:)?(?![a-zA-Z])", re.IGNORECASE)
_NUMBER = re.compile(r"[-−]?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)%?")


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer found in a text, or the place where one should have stood."""

    answer: str | None
    """The answer as written; None where there is none, or none that can be read. Never an empty string."""
    rule: str
    """boxed, answer_section, hashes, last_line, last_number or none; with no answer, the place looked at."""


def extract_answer(text: str, *, last_number: bool = False) -> Extracted:
    r"""Reads the final answer of a solution.

    An empty or unclosed last box is unreadable: an earlier box is an earlier thought, so it is not taken
    instead. An answer with control characters or lone surrogates is unreadable too: no database stores it.

    Args:
        text: The whole solution.
        last_number: Whether to fall back to the last number of the text. Off by default, because it makes an
            answer out of every truncated solution.

    >>> extract_answer("so \\boxed{3}, no: \\boxed{\\frac{1}{2}}")
    Extracted(answer='\\frac{1}{2}', rule='boxed')
    >>> extract_answer("Step 1: 9 + 5 = 14\n\n# Answer\n\n14")
    Extracted(answer='14', rule='answer_section')
    >>> extract_answer("13 * 2 = 26\n#### 1,026").answer, extract_answer("13 * 2 = 26\nA: 26").answer
    ('1,026', '26')
    >>> extract_answer("So the answer is $18.")
    Extracted(answer='$18', rule='last_line')
    >>> extract_answer("She has 26 left"), extract_answer("She has 26 left", last_number=True)
    (Extracted(answer=None, rule='none'), Extracted(answer='26', rule='last_number'))
    >>> extract_answer("I will put it in \\boxed{}")
    Extracted(answer=None, rule='boxed')
    """
    for rule, find in _RULES:
        found = find(text)
        if found is not None:
            return Extracted(_readable(found), rule)
    if last_number:
        numbers = _NUMBER.findall(text)
        if numbers:
            return Extracted(_readable(numbers[-1].rstrip(",")), "last_number")
    return Extracted(None, "none")


def _readable(found: str) -> str | None:
    """Strips the markup around an answer; None where nothing readable is left."""
    if has_unreadable_characters(found):
        return None
    return strip_markup(found) or None


def _find_boxed(text: str) -> str | None:
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    box = _BOX.match(text, start) if start >= 0 else None
    if box is None:
        return None
    if not text.startswith("{", box.end()):
        bare = _BARE_BOX.match(text, box.end())
        return bare.group() if bare else ""
    depth = 0
    for brace in _BRACE.finditer(text, box.end()):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[box.end() + 1 : brace.start()]
    return ""


def _find_section(text: str) -> str | None:
    heading = None
    for heading in _ANSWER_SECTION.finditer(text):  # noqa: B007  (the last one is what is wanted)
        pass
    if heading is None:
        return None
    section = _BLANK_LINE.split(text[heading.end() :].strip(), maxsplit=1)[0]
    return _after_label(section)


def _find_hashes(text: str) -> str | None:
    match = _HASHES.match(_last_line(text))
    return match.group(1) if match else None


def _find_last_line(text: str) -> str | None:
    line = _last_line(text)
    value = _after_label(line)
    return None if value is line else value


_RULES = (
    ("boxed", _find_boxed),
    ("answer_section", _find_section),
    ("hashes", _find_hashes),
    ("last_line", _find_last_line),
)


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2].strip()


def _after_label(line: str) -> str:
    """What stands after `A:`, `Answer:` or the last `answer is`; the same object where there is none."""
    label = _LINE_LABEL.match(line)
    if label is not None:
        line = line[label.end() :]
        if label.group(1) and line.startswith(label.group(1)):  # `**Answer:** 42`
            line = line[len(label.group(1)) :]
    sentence = None
    for sentence in _SENTENCE.finditer(line):  # noqa: B007  (the last one is what is wanted)
        pass
    return line if sentence is None else line[sentence.end() :]
