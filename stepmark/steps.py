"""Steps of a solution: splitting a text into them, and rendering them back.

Steps are stored bare and 0-based; they are rendered 1-based as `Step k: ...`, separated by a blank line, with
the final answer last under `# Answer`. This is the one textual layout that the generator asks for, the
exporters write and the trainer reads.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

SEPARATOR = "\n\n"
"""What stands between two segments of a rendered solution."""

ANSWER_HEADING = "# Answer"
"""The line above the final answer."""

# White space within a line, taken whole (`*+`): given back piece by piece it costs quadratic time.
_GAP = r"[^\S\n]*+"
_STEP_LINE = re.compile(rf"^{_GAP}Step{_GAP}:?{_GAP}\d+{_GAP}[:.)]", re.IGNORECASE | re.MULTILINE)
_ANSWER_SECTION = re.compile(rf"^#++{_GAP}Answer{_GAP}:?{_GAP}$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SplitSolution:
    """A solution's text taken apart."""

    steps: tuple[str, ...]
    """Bare steps in order, without `Step k:` and never empty strings."""
    answer: str | None
    """What stood under `# Answer`; None where there was no such heading or nothing under it."""


def split_solution(text: str) -> SplitSolution:
    r"""Splits a solution into bare steps and the answer section.

    Steps begin at lines `Step k:` where there are any (text before the first is a step of its own); else at blank
    lines; else, in a text without blank lines, at every line.

    >>> split_solution("Step 1: 9 + 7 = 16\n\nStep 2: 16 - 2 = 14\n\n# Answer\n\n14")
    SplitSolution(steps=('9 + 7 = 16', '16 - 2 = 14'), answer='14')
    >>> split_solution("16 - 3 = 13 eggs\n13 * 2 = 26\nA: 26")
    SplitSolution(steps=('16 - 3 = 13 eggs', '13 * 2 = 26', 'A: 26'), answer=None)
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    answer: str | None = None
    headings = list(_ANSWER_SECTION.finditer(text))
    if headings:
        answer = text[headings[-1].end() :].strip() or None
        text = text[: headings[-1].start()]
    starts = [match.start() for match in _STEP_LINE.finditer(text)]
    if starts:
        bounds = [0, *starts, len(text)]
        parts = [text[a:b] for a, b in itertools.pairwise(bounds)]
    elif re.search(r"\n[ \t]*\n", text.strip()):
        parts = re.split(r"\n(?:[ \t]*\n)+", text)
    else:
        parts = text.split("\n")
    bare = (bare_step(part) for part in parts)
    return SplitSolution(tuple(step for step in bare if step), answer)


def bare_step(text: str) -> str:
    """A single step without `Step k:` and the white space around it; empty where nothing else was there.

    >>> bare_step("Step 1: 9 + 7 = 16 ")
    '9 + 7 = 16'
    """
    text = text.strip()
    prefix = _STEP_LINE.match(text)
    return text if prefix is None else text[prefix.end() :].lstrip()


def render_step(index: int, step: str) -> str:
    """Renders one bare step; `index` is 0-based, the rendering 1-based.

    >>> render_step(0, "9 + 7 = 16")
    'Step 1: 9 + 7 = 16'
    """
    return f"Step {index + 1}: {step}"


def render_answer(answer: str) -> str:
    r"""Renders the answer section.

    >>> render_answer("14")
    '# Answer\n\n14'
    """
    return f"{ANSWER_HEADING}{SEPARATOR}{answer}"


def render_segments(steps: Sequence[str], answer: str | None) -> list[str]:
    r"""Renders a solution as the list of texts that carry one label each: every step, then the answer if known.

    >>> render_segments(["9 + 7 = 16"], "16")
    ['Step 1: 9 + 7 = 16', '# Answer\n\n16']
    """
    segments = [render_step(index, step) for index, step in enumerate(steps)]
    return segments if answer is None else [*segments, render_answer(answer)]


def render_solution(steps: Sequence[str], answer: str | None) -> str:
    r"""Renders a whole solution; `split_solution` reads it back.

    >>> render_solution(["9 + 7 = 16"], "16")
    'Step 1: 9 + 7 = 16\n\n# Answer\n\n16'
    """
    return SEPARATOR.join(render_segments(steps, answer))


def render_prefix(steps: Sequence[str]) -> str:
    r"""Renders the first steps of a solution up to where the next segment begins; nothing where there is no step.

    >>> render_prefix(["9 + 7 = 16"]), render_prefix([])
    ('Step 1: 9 + 7 = 16\n\n', '')
    """
    return render_solution(steps, None) + SEPARATOR if steps else ""
