r"""Reading what a critic wrote: its verdict on a solution, the step it blames, the chain it carried over.

A verdict is about the solution: `pass` says that every step holds, `fail` that one does not, or that the answer is
wrong. Text that says neither, or contradicts itself, is `unreadable`, with the reason.

Two ways of counting steps meet here. A judge's paragraphs are numbered from 0, as in ProcessBench; `Step k` counts
from 1, as solutions are rendered. What is returned is 0-based.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .answers import extract_answer

Word = Literal["pass", "fail", "unreadable"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a critic says of a solution."""

    word: Word
    first_error: int | None = None
    """0-based first wrong step; None where it names none."""
    reason: str | None = None
    """Why it is unreadable; None of a readable one."""


@dataclass(frozen=True, slots=True)
class CarriedStep:
    """A step of a solution, worked out on another input."""

    step: int
    """0-based."""
    text: str
    value: str | None = None
    """The number that it comes to; None where none can be read."""


@dataclass(frozen=True, slots=True)
class Application:
    """What a critic wrote who carried a solution's chain over to an input."""

    verdict: Verdict
    carried: tuple[CarriedStep, ...]
    """The steps it worked out, in order, each once."""
    answer: str | None
    """The answer that the carried chain reached; None where it reached none."""
    stuck: CarriedStep | None = None
    """The first step of which it says that it cannot be carried over, with its words."""


_INDEX = re.compile(r"(?:<?paragraph[ _]*)?([-+]?[0-9]{1,6})>?", re.IGNORECASE)
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")
_WORDS: dict[str, Literal["pass", "fail"]] = {
    **dict.fromkeys(("pass", "passes", "passed", "correct", "right", "valid"), "pass"),
    **dict.fromkeys(("fail", "fails", "failed", "incorrect", "wrong", "invalid", "not correct"), "fail"),
}
_VERDICT_LABELS = frozenset(
    f"{final}{word}" for final in ("", "final ", "overall ") for word in ("verdict", "judgement", "judgment")
)
_ERROR_LABELS = frozenset(("first error", "first error step", "first wrong step", "first incorrect step"))
_ANSWER_LABELS = frozenset(("answer", "final answer", "carried answer"))
_NONE = frozenset(
    ("none", "n/a", "na", "no", "no error", "no errors", "null", "-", "-1", "not applicable", "nothing")
)
_MARKUP = "*_`#>\"'“”[](){}<>$. \t"
_LIST_MARK = re.compile(r"^(?:[-*+•][ \t]+|[0-9]{1,3}[.)][ \t]+)")
_LABEL = re.compile(r"([A-Za-z][A-Za-z ]{2,30}?)[*_`\t ]*:(.*)", re.DOTALL)
_STEP = re.compile(r"[*_#\t ]*step[ \t]*([0-9]{1,4})[*_\t ]*[:.)](.*)", re.IGNORECASE | re.DOTALL)
_NAMED_STEP = re.compile(r"(?:in |at )?(?:steps?[ #]*)?([0-9]{1,6})(?![0-9.,]*[0-9%])", re.IGNORECASE)
_CANNOT = re.compile(r"\b(?:can ?not|can['’]t) be carried\b", re.IGNORECASE)
_VALUE = re.compile(r"-?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)")


def read_judgement(text: str, n_steps: int) -> Verdict:
    r"""Reads a judge's last box: the 0-based index of the earliest wrong paragraph, or -1 where all are right.

    >>> read_judgement("... so \\boxed{1}", 3), read_judgement("\\boxed{0}, no: \\boxed{-1}", 3)
    (Verdict(word='fail', first_error=1, reason=None), Verdict(word='pass', first_error=None, reason=None))
    >>> read_judgement("\\boxed{3}", 3).reason, read_judgement("Paragraph 1 is wrong.", 3).reason
    ('index out of range', 'no box')
    """
    found = extract_answer(text)
    if found.rule != "boxed":
        return Verdict("unreadable", reason="no box")
    boxed = _TEXT_COMMAND.sub(r"\1", found.answer or "").replace("\\_", "_").replace("−", "-").strip(_MARKUP)
    index = _INDEX.fullmatch(boxed)
    if index is None:
        return Verdict("unreadable", reason="no index in the box")
    return _judged(int(index[1]), n_steps)


def _judged(index: int, n_steps: int) -> Verdict:
    if index == -1:
        return Verdict("pass")
    if not 0 <= index < n_steps:
        return Verdict("unreadable", reason="index out of range")
    return Verdict("fail", index)


def read_verdict(text: str, n_steps: int) -> Verdict:
    r"""Reads a verdict in words: the last line `Verdict: pass|fail`, and the last `First error: step k|none`.

    Other words for the same are taken (`Final Judgement: wrong`, `First Error Step: 2`). A line whose value is
    neither word, such as a form repeated from the prompt, is passed over. Steps count from 1 here.

    >>> read_verdict("First error: step 2\nVerdict: fail", 3)
    Verdict(word='fail', first_error=1, reason=None)
    >>> read_verdict("**Verdict:** pass", 3).word, read_verdict("It looks fine to me.", 3).reason
    ('pass', 'no verdict')
    >>> read_verdict("Verdict: pass\nFirst error: step 1", 3).reason
    'pass with a first error'
    """
    word: Literal["pass", "fail"] | None = None
    named: int | None = None
    for label, value in _labelled(text):
        if label in _VERDICT_LABELS:
            word = _WORDS.get(value.strip(_MARKUP).casefold(), word)
        elif label in _ERROR_LABELS:
            bare = value.strip(_MARKUP)
            if bare.casefold() in _NONE:
                named = None
            elif (step := _NAMED_STEP.match(bare)) is not None:
                named = int(step[1]) - 1
    if word is None:
        return Verdict("unreadable", reason="no verdict")
    if named is not None and not 0 <= named < n_steps:
        return Verdict("unreadable", reason="first error out of range")
    if word == "pass" and named is not None:
        return Verdict("unreadable", reason="pass with a first error")
    return Verdict(word, named)


def read_application(text: str, n_steps: int) -> Application:
    r"""Reads what a critic wrote who applied a solution to an input, step by step, with lines `Step k: ...`.

    Whoever says pass must have carried every step and reached an answer; else he has only read the solution, and his
    verdict is unreadable. The first step of which he says that it cannot be carried over is the first error, where
    he names no other.

    >>> said = "Step 1: 4 * 10 = 40\nStep 2: 40 + 2 = 42\nAnswer: 42\nFirst error: none\nVerdict: pass"
    >>> found = read_application(said, 2)
    >>> found.verdict.word, found.answer, [step.value for step in found.carried]
    ('pass', '42', ['40', '42'])
    >>> found = read_application("Step 1: cannot be carried over: 10 is no height.\nAnswer: none\nVerdict: fail", 2)
    >>> found.verdict, found.answer, found.stuck.text
    (Verdict(word='fail', first_error=0, reason=None), None, 'cannot be carried over: 10 is no height.')
    >>> read_application("Answer: 42\nVerdict: pass", 2).verdict.reason
    'pass without carrying every step'
    """
    verdict = read_verdict(text, n_steps)
    carried: dict[int, CarriedStep] = {}
    stuck: CarriedStep | None = None
    for index, said in _steps(text):
        if not 0 <= index < n_steps:
            continue
        if _CANNOT.search(said):
            if stuck is None or index < stuck.step:
                stuck = CarriedStep(index, said)
            carried.pop(index, None)
        elif said:
            carried[index] = CarriedStep(index, said, _value(said))
    answer = None
    for label, value in _labelled(text):
        if label in _ANSWER_LABELS:
            none = value.strip(_MARKUP).casefold() in _NONE - {"-1"}
            answer = None if none else extract_answer(f"Answer: {value}").answer
    if verdict.word == "pass":
        if stuck is not None:
            verdict = Verdict("unreadable", reason="pass with a step that cannot be carried")
        elif len(carried) < n_steps:
            verdict = Verdict("unreadable", reason="pass without carrying every step")
        elif answer is None:
            verdict = Verdict("unreadable", reason="pass without an answer")
    elif verdict.word == "fail" and verdict.first_error is None and stuck is not None:
        verdict = Verdict("fail", stuck.step)
    return Application(verdict, tuple(carried[index] for index in sorted(carried)), answer, stuck)


def vote(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that most of several readings of one solution share, by step; unreadable ones have no vote.

    A tie goes to the verdict that came first, as in the evaluation that ProcessBench published.

    >>> vote([Verdict("fail", 2), Verdict("pass"), Verdict("unreadable", reason="no box"), Verdict("pass")])
    Verdict(word='pass', first_error=None, reason=None)
    >>> vote([Verdict("fail", 2), Verdict("fail", 1)]).first_error, vote([]).reason
    (2, 'no readable vote')
    """
    counted = Counter((verdict.word, verdict.first_error) for verdict in verdicts if verdict.word != "unreadable")
    if not counted:
        return Verdict("unreadable", reason="no readable vote")
    ((word, first_error), _), *_ = counted.most_common(1)
    return Verdict(word, first_error)


def numbered_paragraphs(steps: Sequence[str]) -> str:
    r"""Renders steps for a judge, numbered from 0.

    >>> numbered_paragraphs(["9 + 7 = 16", "16 - 2 = 14"])
    '<paragraph_0>\n9 + 7 = 16\n</paragraph_0>\n\n<paragraph_1>\n16 - 2 = 14\n</paragraph_1>'
    """
    return "\n\n".join(f"<paragraph_{index}>\n{step}\n</paragraph_{index}>" for index, step in enumerate(steps))


def _labelled(text: str) -> Iterator[tuple[str, str]]:
    """Lines `Label: value`, the label in lower case; an empty value is the next line that is not empty."""
    waiting: str | None = None
    for line in text.splitlines():
        bare = _bare(line)
        match = _LABEL.fullmatch(bare)
        if match is not None:
            waiting = " ".join(match[1].casefold().split())
            value = match[2].strip(_MARKUP) and match[2].strip()
        elif waiting is not None:
            value = bare.strip(_MARKUP) and bare
        else:
            continue
        if waiting is not None and value:
            yield waiting, value
            waiting = None


def _bare(line: str) -> str:
    """A line without list mark, heading mark and emphasis at its beginning."""
    return _LIST_MARK.sub("", line.strip().lstrip("#>* \t_")).lstrip("*_ \t")


def _steps(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs `Step k: ...`, 0-based, each up to the next such line or a labelled one."""
    index: int | None = None
    lines: list[str] = []
    for line in text.splitlines():
        step = _STEP.fullmatch(_bare(line))
        label = None if step is not None else _LABEL.fullmatch(_bare(line))
        ends = label is not None and label[1].casefold() in _VERDICT_LABELS | _ERROR_LABELS | _ANSWER_LABELS
        if step is not None or ends:
            if index is not None:
                yield index, " ".join(lines).strip("*_ \t")
            index, lines = (int(step[1]) - 1, [step[2].strip()]) if step is not None else (None, [])
        elif index is not None and line.strip():
            lines.append(line.strip())
    if index is not None:
        yield index, " ".join(lines).strip("*_ \t")


def _value(said: str) -> str | None:
    """The number behind the last equals sign."""
    _before, equals, after = said.rpartition("=")
    number = _VALUE.search(after.replace("−", "-")) if equals else None
    return None if number is None else number[0].replace(",", "")
