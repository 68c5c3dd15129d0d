"""Reading the final answer out of solutions, well written and hostile ones."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.answers import Extracted, extract_answer
from stepmark.steps import render_solution


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        (r"so \boxed{42}", "42", "boxed"),
        (r"\boxed{1} or rather \boxed{2}", "2", "boxed"),
        (r"\boxed{x = \boxed{4}}", "4", "boxed"),
        (r"\boxed{\frac{1}{\sqrt{2}}}.", r"\frac{1}{\sqrt{2}}", "boxed"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right.", "boxed"),
        (r"\fbox{7}", "7", "boxed"),
        (r"thus \boxed 5$.", "5", "boxed"),
        (r"\boxed{$\frac12$}", r"\frac12", "boxed"),
        ("Step 1: 1 + 1 = 2\n\n# Answer\n\n2", "2", "answer_section"),
        ("# Answer\n\n2\n\nI hope that helps.", "2", "answer_section"),
        ("## Final Answer: **2**", "2", "answer_section"),
        ("# Answer\n\nThe answer is $5$.", "5", "answer_section"),
        ("5 + 5 = 10\n#### 1,000", "1,000", "hashes"),
        ("5 + 5 = 10\nA: 10", "10", "last_line"),
        ("5 + 5 = 10\n**Answer:** 10 eggs", "10 eggs", "last_line"),
        ("5 + 5 = 10\nFinal answer: 10.", "10", "last_line"),
        ("She eats 5 of 15. So the answer is 10.\n\n", "10", "last_line"),
        ("The answer is: $18", "$18", "last_line"),
    ],
)
def test_the_answer_is_found_where_solutions_put_it(text: str, answer: str, rule: str) -> None:
    assert extract_answer(text) == Extracted(answer, rule)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "none"),
        ("5 + 5 = 10", "none"),
        ("A: 10\nbut I am not done", "none"),
        ("#### Step 2: multiply\n5 * 5 = 25", "none"),
        (r"\boxed{}", "boxed"),
        (r"\boxed{  }", "boxed"),
        (r"\boxed{3} hm, put it in \boxed{}", "boxed"),
        (r"cut off at \boxed{\frac{1}{2", "boxed"),
        ("\\boxed{4\x00}", "boxed"),
        ("\\boxed{\x0crac{1}{2}}", "boxed"),
        ("A: \ud800", "last_line"),
        ("# Answer\n\n", "answer_section"),
        ("####", "hashes"),
        ("A:", "last_line"),
        ("\\boxedness is a virtue", "none"),
    ],
)
def test_an_unreadable_answer_is_none_and_never_empty(text: str, rule: str) -> None:
    assert extract_answer(text) == Extracted(None, rule)


def test_the_last_number_is_taken_only_when_asked_for() -> None:
    text = "She has 16 - 3 = 13 left and earns $2,600"
    assert extract_answer(text) == Extracted(None, "none")
    assert extract_answer(text, last_number=True) == Extracted("$2,600", "last_number")
    assert extract_answer("no number", last_number=True) == Extracted(None, "none")


def test_a_rendered_solution_gives_its_answer_back() -> None:
    for answer in ("14", r"\frac{1}{2}", "x = 3", "$1,000", "Monday"):
        assert extract_answer(render_solution(["9 + 5 = 14"], answer)) == Extracted(answer, "answer_section")


@given(st.text(max_size=300))
def test_any_text_gives_a_readable_answer_or_none(text: str) -> None:
    found = extract_answer(text, last_number=True).answer
    assert found is None or (found == found.strip() != "" and "\x00" not in found)


@given(st.recursive(st.text("ab1\\ ", max_size=3), lambda inner: st.builds("{{{}}}".format, inner), max_leaves=5))
def test_what_stands_in_a_box_with_paired_braces_is_what_comes_out(inner: str) -> None:
    text = "\\boxed{" + inner.replace("\\", "") + "}"
    expected = inner.replace("\\", "").strip() or None
    assert extract_answer(text) == Extracted(expected, "boxed")


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        "\\boxed{" + "{" * 100_000 + "}" * 100_000,
        "\\boxed{" * 100_000,
        "#" * 1_000_000,
        "\n" * 1_000_000,
        "# Answer\n" * 100_000,
        "answer is " * 100_000,
        "A:" * 500_000,
        "9" * 1_000_000,
        " " * 1_000_000,
        "$" * 100_000,
        "**" * 50_000,
        "." * 100_000,
        " ." * 200_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_hostile_text_is_read_in_linear_time(text: str) -> None:
    started = time.perf_counter()
    extract_answer(text, last_number=True)
    extract_answer("\\boxed{" + text + "}")
    # Quadratic behaviour at these sizes takes minutes; the bound only has to tell the two apart.
    assert time.perf_counter() - started < 20
