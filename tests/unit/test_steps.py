"""Splitting solutions into steps: what was rendered comes back, and no text takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.answers import extract_answer
from stepmark.steps import (
    SplitSolution,
    bare_step,
    render_segments,
    render_solution,
    split_reasoning_steps,
    split_solution,
)


def _is_paragraph(text: str) -> bool:
    """Whether this is one stripped paragraph in which no further line opens a step or a heading."""
    lines = text.split("\n")
    begins = [line.lstrip().casefold() for line in lines]
    return text == text.strip() != "" and all(begins) and not any(b.startswith(("step", "#")) for b in begins[1:])


LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=30)
NEARLY_STRUCTURE = st.sampled_from(
    ["Step 1: 2 + 3 = 5", "step 9", "# Answer", "Answer: 4", "####", ":", "1.", "$5", "**Step 2:**", "\\(x\\)"]
)
STEP = st.lists(LINE | NEARLY_STRUCTURE, min_size=1, max_size=3).map("\n".join).filter(_is_paragraph)
ANSWER = (LINE | NEARLY_STRUCTURE).filter(lambda text: text == text.strip() != "" and not text.startswith("#"))


@given(steps=st.lists(STEP, max_size=6), answer=st.none() | ANSWER)
def test_what_was_rendered_is_split_into_the_same_steps_and_answer(steps: list[str], answer: str | None) -> None:
    assert split_solution(render_solution(steps, answer)) == SplitSolution(tuple(steps), answer)


@given(steps=st.lists(STEP, max_size=6), answer=st.none() | ANSWER, end=st.sampled_from(["\r\n", "\r"]))
def test_line_ends_of_other_systems_make_no_difference(steps: list[str], answer: str | None, end: str) -> None:
    text = render_solution(steps, answer)
    assert split_solution(text.replace("\n", end)) == split_solution(text)


@given(st.text(st.sampled_from("Step 1:#Answer\n\r\t .2") | st.characters(exclude_categories=("Cs",))))
def test_any_text_is_split_and_no_step_or_answer_is_empty_or_padded(text: str) -> None:
    found = split_solution(text)
    assert [step for step in found.steps if not step or step != step.strip()] == []
    assert found.answer is None or found.answer == found.answer.strip() != ""


@given(steps=st.lists(STEP, max_size=6), answer=st.none() | ANSWER)
def test_every_step_and_a_known_answer_is_one_segment(steps: list[str], answer: str | None) -> None:
    segments = render_segments(steps, answer)
    assert [bare_step(segment) for segment in segments[: len(steps)]] == steps
    assert segments[len(steps) :] == ([] if answer is None else [f"# Answer\n\n{answer}"])


@pytest.mark.parametrize(
    ("text", "steps", "answer"),
    [
        ("", (), None),
        (" \n \n ", (), None),
        ("# Answer\n\n", (), None),
        ("# Answer\n\n42", (), "42"),
        ("Let x be 2.\n\nstep 1. x = 2\n  STEP 2) x + 1 = 3", ("Let x be 2.", "x = 2", "x + 1 = 3"), None),
        ("Step 1: a\n\nmore of a\n\nStep 2: b", ("a\n\nmore of a", "b"), None),
        ("Step : 1 : a\nStep2: b", ("a", "b"), None),
        ("Step 1:\n\nStep 2: b", ("b",), None),
        ("First a.\n \nThen b,\nand c.", ("First a.", "Then b,\nand c."), None),
        ("a\n## answer:\n5\n# Answer \n\n6", ("a", "## answer:", "5"), "6"),
        ("Stepping 1: a", ("Stepping 1: a",), None),
        ("Step one: a", ("Step one: a",), None),
    ],
)
def test_steps_begin_where_the_text_says(text: str, steps: tuple[str, ...], answer: str | None) -> None:
    assert split_solution(text) == SplitSolution(steps, answer)


LONG = 200_000
"""At quadratic cost a text of this length takes minutes; at linear cost, a twentieth of a second."""


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a" + "\n" * LONG + "b", id="blank lines"),
        pytest.param("\r\n" * LONG, id="blank lines of Windows"),
        pytest.param("a" + "\n \t" * LONG + "b", id="lines of spaces"),
        pytest.param("Step" + "\n" * LONG, id="a step and blank lines"),
        pytest.param("Step" + " " * LONG + "x", id="a step and spaces"),
        pytest.param("Step 1" + " " * LONG + "x", id="a number and spaces"),
        pytest.param("Step " + "1" * LONG, id="a long number"),
        pytest.param("#" + "\n" * LONG, id="a heading and blank lines"),
        pytest.param("# Answer" + " " * LONG + "x", id="an answer and spaces"),
        pytest.param("#" * LONG, id="hashes"),
        pytest.param("Step 1: a\n" * (LONG // 10), id="many steps"),
        pytest.param("# Answer\n" * (LONG // 10), id="many headings"),
        pytest.param("A" + " " * LONG + "x", id="a label and spaces"),
    ],
)
def test_no_text_takes_longer_than_its_length_deserves(text: str) -> None:
    started = time.process_time()
    split_solution(text)
    extract_answer(text)
    # Not a benchmark: it tells minutes from a fraction of a second.
    assert time.process_time() - started < 5


FORMULA = "$$\na = b.\n\nWait, c\n$$"
CODE = "```python\nx = 1\n\nprint(x)\n```"
ALIGNED = "\\begin{align}\na &= b \\\\\n\n\\begin{pmatrix}1\n\\end{pmatrix}\n\nc\n\\end{align}"
THOUGHT = st.lists(
    LINE
    | NEARLY_STRUCTURE
    | st.sampled_from(
        [
            "",
            FORMULA,
            CODE,
            ALIGNED,
            "\\[\nx\n\n\\]",
            "$$",
            "```",
            "~~~",
            "\\[",
            "\\end{a}",
            "\\begin{a}",
            "Wait, no. Hmm.",
        ]
    ),
    max_size=30,
).map("\n".join)


@given(THOUGHT, st.integers(1, 60), st.integers(1, 80), st.integers(1, 9))
def test_reasoning_steps_joined_are_the_reasoning_and_are_few_enough(
    text: str, least: int, longest: int, most: int
) -> None:
    steps = split_reasoning_steps(text, least=least, longest=longest, most=most)
    assert "".join("".join(steps).split()) == "".join(text.split())
    assert [step for step in steps if not step or step != step.strip()] == []
    assert len(steps) <= most


@given(st.text(st.sampled_from("ab. \n"), max_size=400), st.integers(3, 40))
def test_no_reasoning_step_is_longer_than_allowed_but_by_one_word(text: str, longest: int) -> None:
    for step in split_reasoning_steps(text, longest=longest, most=10**6):
        assert len(step) <= max(longest, max(len(word) for word in step.split()))


@given(
    st.lists(st.sampled_from([CODE, FORMULA, ALIGNED, "Then.", "Wait, no."]), min_size=1, max_size=12),
    st.integers(1, 50),
)
def test_code_and_displayed_formulas_are_never_cut(parts: list[str], longest: int) -> None:
    steps = split_reasoning_steps("\n\n".join(parts), least=1, longest=longest)
    for block in (CODE, FORMULA, ALIGNED):
        assert sum(step.count(block) for step in steps) == parts.count(block)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", ()),
        (" \n\n ", ()),
        ("First.\n\nSecond.", ("First.", "Second.")),
        ("It is 4. Wait, it is 5. So 5.", ("It is 4.", "Wait, it is 5. So 5.")),
        ("It is 4.\nBut wait, is it?", ("It is 4.", "But wait, is it?")),
        ("They await me. We wait.", ("They await me. We wait.",)),
        ("Waiting is long. Actual.", ("Waiting is long. Actual.",)),
        ("See:\n```\nWait, a\n\nb\n```\nend", ("See:\n```\nWait, a\n\nb\n```\nend",)),
        ("never closed ```\n```\n\na\n\nb", ("never closed ```\n```", "a", "b")),
        ("a\r\n\r\nb", ("a", "b")),
    ],
)
def test_reasoning_steps_begin_where_the_thought_turns(text: str, steps: tuple[str, ...]) -> None:
    assert split_reasoning_steps(text, least=1) == steps


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "ab ",
        "\n",
        " ",
        "a.  ",
        "Wait, ",
        "$$\n",
        "```\n",
        "\\[\n",
        "\\begin{a}\n",
        "\\end{a}\n",
        "So 1 + 1 is 2.\n\n",
        "~~~\n$$\n",
    ],
)
def test_no_reasoning_takes_longer_than_its_length_deserves(piece: str) -> None:
    text = piece * (LONG // len(piece))
    started = time.process_time()
    split_reasoning_steps(text)
    # Not a benchmark: it tells minutes from a fraction of a second.
    assert time.process_time() - started < 5


def test_a_megabyte_of_reasoning_is_split_at_once() -> None:
    thought = (
        "There are 3 boxes of 4, so $3 \\cdot 4 = 12$ in all. That leaves 2.\n\nWait, did I read that right? Yes.\n\n"
    )
    text = thought * (1_000_000 // len(thought))
    started = time.process_time()
    steps = split_reasoning_steps(text)
    assert time.process_time() - started < 5
    assert 500 <= len(steps) <= 1000
