"""Steps of a solution: splitting a text into them, and rendering them back.

Steps are stored bare and 0-based; they are rendered 1-based as `Step k: ...`, separated by a blank line, with
the final answer last under `# Answer`. This is the one textual layout that the generator asks for, the
exporters write and the trainer reads.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add

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
    text, answer = split_answer(text.replace("\r\n", "\n").replace("\r", "\n"))
    prefixes = list(_STEP_LINE.finditer(text))
    if prefixes:
        starts = [0, *(prefix.end() for prefix in prefixes)]
        ends = [*(prefix.start() for prefix in prefixes), len(text)]
        steps = (text[start:end].strip() for start, end in zip(starts, ends, strict=True))
        return SplitSolution(tuple(filter(None, steps)), answer)
    has_blank_lines = re.search(r"\n[ \t]*\n", text.strip()) is not None
    parts = re.split(r"\n(?:[ \t]*\n)+", text) if has_blank_lines else text.split("\n")
    return SplitSolution(tuple(filter(None, map(str.strip, parts))), answer)


def split_answer(text: str) -> tuple[str, str | None]:
    r"""What stands before the last answer section, and the answer in it; None where there is no such section.

    >>> split_answer("So it is 14.\n\n# Answer\n\n14"), split_answer("So it is 14.")
    (('So it is 14.\n\n', '14'), ('So it is 14.', None))
    """
    headings = list(_ANSWER_SECTION.finditer(text))
    if not headings:
        return text, None
    return text[: headings[-1].start()], text[headings[-1].end() :].strip() or None


def is_rendered(text: str) -> bool:
    r"""Whether a text is laid out in steps or ends in an answer section, as `render_solution` writes it.

    >>> is_rendered("Step 1: 9 + 7 = 16"), is_rendered("It is 16.")
    (True, False)
    """
    return _STEP_LINE.search(text) is not None or _ANSWER_SECTION.search(text) is not None


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


_HEADS = [render_step(index, "") for index in range(200)]
"""What stands before each of the first steps: an export renders ten million."""


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
    heads = _HEADS if len(steps) <= len(_HEADS) else [render_step(index, "") for index in range(len(steps))]
    segments = list(map(add, heads, steps))
    if answer is not None:
        segments.append(render_answer(answer))
    return segments


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


# Words with which a train of thought turns round; at the beginning of a sentence only.
_TURN = re.compile(
    r"(?:But wait|Wait|Hold on|Hmm|Actually|Alternatively|On second thought|No, wait"
    r"|Let me (?:double-check|double check|re-?check|check|verify|re-?consider|try again|start over))\b"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[^\S\n]++(?=\S)")
_MARK = re.compile(r"```|~~~|\$\$|\\[\[\]]|\\(?:begin|end)\{")
_FENCE = re.compile(r"[^\S\n]*+(```|~~~)")


def split_reasoning_steps(text: str, *, least: int = 200, longest: int = 2000, most: int = 1000) -> tuple[str, ...]:
    r"""Splits a long train of thought into steps; joined they are the text again, white space aside.

    A step ends where a paragraph does, once it holds `least` characters, and before a sentence that turns round
    ("Wait, ..."). Code between fences and displayed formulas are never cut; everything else is where a step would
    be over `longest` characters: at the end of a line, of a sentence, of a word.

    Args:
        text: What a model thought before it answered.
        least: Characters below which a paragraph is joined with the next one.
        longest: Characters of a step; only an uncuttable part is longer.
        most: Steps; where there would be more, neighbours are joined, and `longest` no longer holds.

    >>> split_reasoning_steps("9 + 7 is 16.\n\nSo 16 - 2 = 15. Wait, that is 14.\n\nThe answer is 14.")
    ('9 + 7 is 16.\n\nSo 16 - 2 = 15.', 'Wait, that is 14.\n\nThe answer is 14.')
    """
    steps: list[str] = []
    held: list[str] = []
    n_held = 0
    for part in _parts(text.replace("\r\n", "\n").replace("\r", "\n"), longest):
        gap = "" if not held else "\n\n" if part.opens_paragraph else "\n" if part.opens_line else " "
        is_full = n_held + len(gap) + len(part.text) > longest
        if held and (is_full or part.is_turn or (part.opens_paragraph and n_held >= least)):
            steps.append("".join(held))
            held, n_held, gap = [], 0, ""
        held += [gap, part.text]
        n_held += len(gap) + len(part.text)
    if held:
        steps.append("".join(held))
    size = -(-len(steps) // most)
    if size <= 1:
        return tuple(steps)
    return tuple(SEPARATOR.join(steps[start : start + size]) for start in range(0, len(steps), size))


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a train of thought that is not cut: a sentence, a block of code, a displayed formula."""

    text: str
    """Without white space around it, never empty."""
    opens_paragraph: bool
    """Whether a blank line stands before it."""
    opens_line: bool
    is_turn: bool


def _parts(text: str, longest: int) -> Iterator[_Part]:
    lines = text.split("\n")
    ends = _ends_of_blocks(lines)
    after_blank = False
    at = 0
    while at < len(lines):
        if not lines[at]:
            after_blank = True
            at += 1
            continue
        end = ends.get(at, at)
        chunk = "\n".join(lines[at : end + 1]).strip()
        if not chunk:
            after_blank = True
        elif at in ends or "$$" in chunk or "\\[" in chunk:
            yield _Part(chunk, after_blank, opens_line=True, is_turn=False)
            after_blank = False
        else:
            pieces = (piece for sentence in _SENTENCE_END.split(chunk) for piece in _cut(sentence, longest))
            for number, piece in enumerate(pieces):
                yield _Part(piece, after_blank, opens_line=number == 0, is_turn=_TURN.match(piece) is not None)
                after_blank = False
        at = end + 1


def _cut(sentence: str, longest: int) -> Iterator[str]:
    """Cuts a sentence between words into pieces of at most `longest` characters; a longer word stays whole."""
    if len(sentence) <= longest:
        yield sentence
        return
    start: int | None = None
    end = 0
    for word in re.finditer(r"\S++", sentence):
        if start is not None and word.end() - start > longest:
            yield sentence[start:end]
            start = None
        start = word.start() if start is None else start
        end = word.end()
    yield sentence[start:end]


def _ends_of_blocks(lines: Sequence[str]) -> dict[int, int]:
    """The last line of each block of code and displayed formula, by its first; what never ends is no block."""
    marked = [index for index, line in enumerate(lines) if line and _MARK.search(line)]
    closings: dict[str, list[int]] = {"```": [], "~~~": [], "$$": [], "\\[": []}
    for index in marked:
        line = lines[index]
        if (fence := _FENCE.match(line)) is not None:
            closings[fence[1]].append(index)
        if line.count("$$") % 2:
            closings["$$"].append(index)
        if line.count("\\]") > line.count("\\["):
            closings["\\["].append(index)
    environments = _ends_of_environments(lines, marked)
    ends: dict[int, int] = {}
    last = -1
    for index in marked:
        if index <= last:
            continue
        line = lines[index]
        if (fence := _FENCE.match(line)) is not None:
            end = _next(closings[fence[1]], index)
        elif line.count("$$") % 2:
            end = _next(closings["$$"], index)
        elif line.count("\\[") > line.count("\\]"):
            end = _next(closings["\\["], index)
        else:
            end = environments.get(index)
        if end is not None:
            ends[index] = last = end
    return ends


def _ends_of_environments(lines: Sequence[str], marked: Sequence[int]) -> dict[int, int]:
    """The line on which a LaTeX environment ends that begins on a line before, by that line; the outermost counts."""
    ends: dict[int, int] = {}
    open_at: list[int] = []
    for index in marked:
        change = lines[index].count("\\begin{") - lines[index].count("\\end{")
        if change > 0:
            open_at += [index] * change
        for _ in range(min(-change, len(open_at))):
            ends[open_at.pop()] = index
    return ends


def _next(sorted_lines: Sequence[int], after: int) -> int | None:
    place = bisect_right(sorted_lines, after)
    return sorted_lines[place] if place < len(sorted_lines) else None
