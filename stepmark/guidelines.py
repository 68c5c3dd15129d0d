"""The rules by which people label: sections of rules, and a decision flowchart; as data, and as text to be edited.

A version is never changed once annotations name it: whoever edits the text makes a new one.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import InputError

LABELS = ("good", "neutral", "bad")
_HEADING = re.compile(r"#+\s*(.+?)(?:\s*\((good|neutral|bad)\))?\s*$")
_QUESTION = re.compile(r"(\d+)[.)]\s+(.+)$")
_BRANCH = re.compile(r"(yes|no)\s*:\s*(.+)$", re.IGNORECASE)


class Section(BaseModel):
    """A heading with its rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1, max_length=200)
    kind: Literal["good", "neutral", "bad"] | None = None
    """The label that it explains, for its colour and shape; None for rules of any other sort."""
    rules: tuple[str, ...] = ()


class Question(BaseModel):
    """A question of the flowchart, to be answered by yes or no."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=1)
    yes: int | str
    """The number, from 1, of the question that comes next; or what to do: a label, or words."""
    no: int | str


class GuidelineBody(BaseModel):
    """What a version of the rules says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sections: tuple[Section, ...] = Field(min_length=1)
    flowchart: tuple[Question, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The rules as plain data, as the database keeps them."""
        return self.model_dump(mode="json")


def read_guideline(body: Mapping[str, Any]) -> GuidelineBody:
    """Reads rules as stored.

    Raises:
        InputError: Names the first thing that is wrong, with its value.
    """
    try:
        found = GuidelineBody.model_validate(body)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"])) or "guideline"
        raise InputError(f"guideline: {where} is {first['input']!r}: {first['msg']}") from err
    for number, question in enumerate(found.flowchart, start=1):
        for branch in (question.yes, question.no):
            if isinstance(branch, int) and not number < branch <= len(found.flowchart):
                raise InputError(
                    f"guideline: question {number} leads to question {branch}; "
                    f"name a later one (there are {len(found.flowchart)}), or a label"
                )
    return found


def as_text(body: GuidelineBody) -> str:
    """The rules as text that `from_text` reads back.

    >>> body = read_guideline({
    ...     "sections": [{"title": "Good", "kind": "good", "rules": ["It is true."]}],
    ...     "flowchart": [{"question": "Is it true?", "yes": "good", "no": "bad"}],
    ... })
    >>> print(as_text(body))
    # Good (good)
    - It is true.
    <BLANKLINE>
    # Flowchart
    1. Is it true?
       yes: good
       no: bad
    >>> from_text(as_text(body)) == body
    True
    """
    parts = [
        "\n".join(
            [
                f"# {section.title}" + (f" ({section.kind})" if section.kind else ""),
                *(f"- {rule}" for rule in section.rules),
            ]
        )
        for section in body.sections
    ]
    if body.flowchart:
        lines = ["# Flowchart"]
        for number, question in enumerate(body.flowchart, start=1):
            lines += [f"{number}. {question.question}", f"   yes: {question.yes}", f"   no: {question.no}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def from_text(text: str) -> GuidelineBody:
    """Reads rules from text: `# Heading (good)`, `- rule`; under `# Flowchart`, `1. question`, `yes: 2`, `no: bad`.

    A line that begins none of these goes on with the rule or question above it.

    Raises:
        InputError: Says which line cannot be read.
    """
    sections: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    is_chart = False
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line:
            continue
        if heading := _HEADING.match(line):
            is_chart = heading[1].casefold() == "flowchart"
            if not is_chart:
                sections.append({"title": heading[1], "kind": heading[2], "rules": []})
        elif is_chart and (asked := _QUESTION.match(line)):
            if int(asked[1]) != len(questions) + 1:
                raise InputError(f"guideline, line {number}: {line!r} should be question {len(questions) + 1}")
            questions.append({"question": asked[2]})
        elif is_chart and questions and (branch := _BRANCH.match(line)):
            target = branch[2].strip()
            questions[-1][branch[1].lower()] = int(target) if target.isdecimal() else target
        elif not is_chart and sections and line.startswith("- "):
            sections[-1]["rules"].append(line[2:].strip())
        elif not is_chart and sections and sections[-1]["rules"]:
            sections[-1]["rules"][-1] += f" {line}"
        elif is_chart and questions and "yes" not in questions[-1] and "no" not in questions[-1]:
            questions[-1]["question"] += f" {line}"
        else:
            raise InputError(
                f"guideline, line {number}: {line!r} is neither a heading (# Good), a rule (- ...) nor part of one"
            )
    for number, question in enumerate(questions, start=1):
        for branch_name in ("yes", "no"):
            if branch_name not in question:
                raise InputError(f"guideline: question {number} of the flowchart has no line `{branch_name}: ...`")
    if not sections:
        raise InputError("guideline: there is no section; begin with a heading such as `# Good (good)`")
    return read_guideline({"sections": sections, "flowchart": questions})
