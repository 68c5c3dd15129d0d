"""What counts as the same answer: plain numbers, words, lists, and what Math-Verify decides behind limits."""

import os
import string
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepmark.answers import AnswerVerifier, Comparison, compare_answers
from stepmark.answers.pool import compare_inline


@pytest.fixture(scope="module")
def verifier() -> Iterator[AnswerVerifier]:
    with AnswerVerifier(workers=1, timeout_s=20) as verifier:
        yield verifier


def _compare(verifier: AnswerVerifier, found: str | None, reference: str) -> Comparison:
    ((_, comparison),) = verifier.verify([(0, found, reference)])
    return comparison


@pytest.mark.parametrize(
    ("found", "reference", "result", "rule"),
    [
        ("18", "18", "correct", "same_text"),
        ("$18.00", "18", "correct", "number"),
        ("1,000", "1000", "correct", "number"),
        ("10{,}000", "10000", "correct", "number"),
        ("007", "7", "correct", "number"),
        ("-3", "\u22123", "correct", "number"),
        ("\u20135", "-5", "correct", "number"),
        ("\\$-5", "-5", "correct", "number"),
        ("0.5", "1/2", "correct", "number"),
        (r"\dfrac{3}{4}", ".75", "correct", "number"),
        (r"1\frac{1}{10}", "1.1", "correct", "number"),
        ("2 1/2", "2½", "correct", "number"),
        (r"-\frac12", "-0.5", "correct", "number"),
        ("1e3", "1000", "correct", "number"),
        ("5 million", "5,000,000", "correct", "number"),
        ("twenty-five", "25", "correct", "number"),
        (r"0.\overline{3}", "1/3", "correct", "number"),
        ("0.333333", "1/3", "correct", "number_rounded"),
        ("17.999999999999996", "18", "correct", "number_rounded"),
        ("0.33", "1/3", "incorrect", "number"),
        ("0.0000001", "0.0000002", "incorrect", "number"),
        ("0.000000001234", "0.000000001235", "incorrect", "number"),
        ("18 eggs", "18", "correct", "number"),
        (r"18\text{ dollars}", "$18", "correct", "number"),
        ("50 cents", "$0.50", "correct", "number"),
        ("1 hour", "60 minutes", "correct", "number"),
        ("12 square feet", r"12\text{ ft}^2", "correct", "number"),
        ("5 cm", "5 m", "incorrect", "number"),
        ("5 hours", "5 miles", "incorrect", "unit_differs"),
        (r"90^\circ", "90", "correct", "number"),
        ("x = 5", "5", "correct", "number"),
        ("x = 5", "y = 5", "incorrect", "name_differs"),
        ("50%", "50 percent", "correct", "number"),
        ("50%", "50", "unparsable", "percent_unclear"),
        ("50\\%", "0.5", "unparsable", "percent_unclear"),
        ("50%", r"\frac{\sqrt{1}}{2}", "unparsable", "percent_unclear"),
        ("33%", "25", "incorrect", "percent_differs"),
        ("75 + 100 = 175", "175", "correct", "number"),
        ("8,800 - 8100 = 700 calories", "700", "correct", "number"),
        ("x = 27 - 7 = 20", "x = 20", "correct", "number"),
        ("x = 27 - 7 = 20", "y = 20", "incorrect", "name_differs"),
        ("880$", "$880", "correct", "number"),
        ("$9 500", "9500", "correct", "number"),
        ("2 dozen eggs", "24", "unparsable", "prose"),
        ("2600g", "2600", "unparsable", "unit_unclear"),
        (r"4:30\text{ p.m.}", "04:30 PM", "correct", "clock"),
        ("4:30 pm", "4:30", "correct", "clock"),
        ("4:30 pm", "4:30 am", "incorrect", "clock"),
        ("4 and 4", "4", "incorrect", "list_length"),
        ("Monday", r"\text{monday}", "correct", "text"),
        ("(A)", "A", "correct", "text"),
        ("a", "A", "incorrect", "text"),
        ("east", "seat", "incorrect", "text"),
        ("blue car", "the blue car", "unparsable", "text"),
        ("no solution", "5", "unparsable", "text"),
        ("She has 42 eggs left", "42", "unparsable", "prose"),
        ("(1, 2)", r"\{1, 2\}", "incorrect", "bracket_differs"),
        ("(1, 2)", "[1, 2]", "incorrect", "bracket_differs"),
        ("[1, 2)", r"\left[1, 2.0\right)", "correct", "list"),
        ("(2, 1)", "(5, 3)", "incorrect", "list"),
        ("(1, 2)", "(2, 1)", "incorrect", "list"),
        ("1, 2", "2, 1", "correct", "list"),
        ("1, 2", "(1, 2)", "correct", "list"),
        ("1, 2", "(2, 1)", "incorrect", "list"),
        (r"\{1, 0.5\}", r"\{\frac12, 1\}", "correct", "list"),
        ("x = 1, 2", "x = 2 or x = 1", "correct", "list"),
        ("x = 1, y = 2", "x = 2, y = 1", "incorrect", "list"),
        ("1, 2, 3", "1, 2", "incorrect", "list_length"),
        ("1 2", "3", "unparsable", "spaced_digits"),
        ("1/0", "1/0 ", "correct", "same_text"),
        ("", "", "unparsable", "empty"),
        ("   ", "5", "unparsable", "empty"),
        (None, "5", "unparsable", "no_answer"),
        ("4\x00", "4", "unparsable", "unreadable_characters"),
        ("\ud800", "\ud800", "unparsable", "unreadable_characters"),
    ],
)
def test_these_pairs_are_decided_without_any_worker(
    found: str | None, reference: str, result: str, rule: str
) -> None:
    assert compare_inline(found, reference) == Comparison(result, rule)  # type: ignore[arg-type]
    if found is not None:
        assert compare_inline(reference, found) == Comparison(result, rule)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "reference", "result", "rule"),
    [
        # As the models of MR-Ben end (dvlab-research/Mr-Ben, MIT), beside the letter of its gold answer.
        ("Choice_C", "C", "correct", "choice"),
        ("Choice_D", "C", "incorrect", "choice"),
        ("Choice B", "B", "correct", "choice"),
        ("Choice D.", "A", "incorrect", "choice"),
        (r"Choice\_B", "B", "correct", "choice"),
        ("Choice_A: Enhancer", "A", "correct", "choice"),
        ("Choice_C: Batesian mimicry.", "C", "correct", "choice"),
        ("Choice_D (Promoter)", "A", "incorrect", "choice"),
        ("Choice C and D", "C", "unparsable", "text"),
        ("Choice_A or Choice_B", "A", "unparsable", "prose"),
        ("Choice_A/B", "A", "unparsable", "prose"),
        ("Choice_A/C/D", "A", "unparsable", "prose"),
        ("None of the choices are correct.", "B", "unparsable", "text"),
        ("None of the choices (A, B, C, or D) is correct.", "B", "unparsable", "prose"),
        # Other ways to write one.
        ("B", "B", "correct", "same_text"),
        ("(B)", "(C)", "incorrect", "text"),
        (r"\text{B}", "B", "correct", "text"),
        (r"\text{(B)}", "B", "correct", "text"),
        (r"\textbf{(B) } 12", "B", "correct", "choice"),
        ("B) 12", "B", "correct", "choice"),
        ("B. 12", "B", "correct", "choice"),
        ("(B) 12", "(B)", "correct", "choice"),
        ("(B) 12", "C", "incorrect", "choice"),
        ("Option B", "(B) 12", "correct", "choice"),
    ],
)
def test_a_choice_is_its_letter_and_two_letters_are_none(found: str, reference: str, result: str, rule: str) -> None:
    assert compare_inline(found, reference) == Comparison(result, rule)  # type: ignore[arg-type]
    assert compare_inline(reference, found) == Comparison(result, rule)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "reference"), [("(A) or (B)", "A"), ("(A) + 1", "A"), ("(A)^2", "A"), (r"(A) \cdot 2", "A")]
)
def test_two_letters_or_mathematics_with_one_are_not_that_choice(
    verifier: AnswerVerifier, found: str, reference: str
) -> None:
    assert _compare(verifier, found, reference).result != "correct"


@pytest.mark.parametrize(
    ("found", "reference", "result"),
    [
        ("x+1", "1 + x", "correct"),
        ("(x+1)^2", "x^2+2x+1", "correct"),
        ("2**10", "1024", "correct"),
        (r"\frac{\sqrt3}{3}", r"\frac{1}{\sqrt{3}}", "correct"),
        (r"\sqrt{2}", "1.414214", "correct"),
        (r"7\pi \text{ cm}", r"7\pi", "correct"),
        (r"7\pi \text{ cm}", r"70\pi \text{ mm}", "correct"),
        ("2+3i", "3i+2", "correct"),
        (r"x \in (1,2)", "1<x<2", "correct"),
        (r"(-\infty, 3)", "x<3", "correct"),
        (r"(\sqrt{4}, 1)", "(2, 1)", "correct"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", "incorrect"),
        ("4t", "4", "incorrect"),
        ("2x+z=1", "1", "incorrect"),
        ("x^2", "x^3", "incorrect"),
        (r"\frac{1}{", "x", "unparsable"),
    ],
)
def test_expressions_are_decided_by_math_verify_the_same_both_ways(
    verifier: AnswerVerifier, found: str, reference: str, result: str
) -> None:
    assert compare_inline(found, reference) is None
    assert _compare(verifier, found, reference).result == result
    assert _compare(verifier, reference, found).result == result


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("9**9**9**9", "power_tower"),
        ("9^9^9^9", "power_tower"),
        ("9^{9^{9^{9}}}", "power_tower"),
        ("x^{y^{z^{2}}}", "power_tower"),
        ("10^{1000000000}", "exponent"),
        ("(10^9)!", None),
        ("1000000000!", "factorial"),
        (r"\binom{1000000}{500000}", "factorial"),
        ("7" * 500, "digits"),
        ("{" * 100_000, "characters"),
        ("(" * 100 + "1" + ")" * 100, "nesting"),
        ("1" * 1_000_000, "characters"),
        ("a, " * 300 + "a", None),
    ],
    ids=lambda value: value[:20] if value else "none",
)
def test_a_hostile_answer_is_refused_at_once_or_sent_to_a_worker(text: str, rule: str | None) -> None:
    started = time.perf_counter()
    comparison = compare_inline(text, "x+1")
    assert time.perf_counter() - started < 5
    if rule is not None:
        assert comparison == Comparison("limit", rule)


def test_the_text_of_an_answer_is_never_run_as_python(
    verifier: AnswerVerifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (
        "__import__('os').system('touch a')",
        "exec(\"open('a', 'w')\")",
        "().__class__.__bases__[0]",
        "f(open('a','w'))",
        r"\operatorname{open}('a','w')",
        "x.__class__",
        "S('open(1)')",
    ):
        assert _compare(verifier, text, "x+1").result in ("incorrect", "unparsable")
    assert os.listdir(tmp_path) == []


def test_one_comparison_needs_no_verifier_of_the_caller() -> None:
    assert compare_answers("2x", "x+x") == Comparison("correct", "math_verify")
    assert compare_answers(None, "5").outcome is None


_NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.integers(0, 10**9).map("{:,}".format),
    st.decimals(-1000, 1000, places=7).map(str),
    st.builds("{}/{}".format, st.integers(-50, 50), st.integers(1, 50)),
    st.builds(r"\frac{{{}}}{{{}}}".format, st.integers(-50, 50), st.integers(1, 50)),
    st.builds("{}{}".format, st.integers(0, 99), st.sampled_from(["%", " cm", "cm", " eggs", r"\text{ m}", "x"])),
)
_ANSWERS = st.one_of(
    _NUMBERS,
    st.text(string.ascii_letters + string.digits + r" \{}()[]^_+-*/=<>,.$%!", max_size=20),
    st.text(max_size=20),
    st.lists(_NUMBERS, min_size=1, max_size=4).map(", ".join),
    st.lists(_NUMBERS, min_size=2, max_size=3).map(lambda items: "(" + ", ".join(items) + ")"),
)


@given(_ANSWERS, _ANSWERS)
def test_swapping_the_sides_changes_nothing(found: str, reference: str) -> None:
    assert compare_inline(found, reference) == compare_inline(reference, found)


@given(_ANSWERS)
def test_an_answer_equals_itself_unless_it_is_unreadable(text: str) -> None:
    comparison = compare_inline(text, text)
    assert comparison is not None
    assert comparison.result in ("correct", "unparsable")
    assert (comparison.result == "unparsable") == (comparison.rule in ("empty", "unreadable_characters"))


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_integers_are_equal_exactly_when_their_values_are(a: int, b: int) -> None:
    comparison = compare_inline(f"{a:,}", str(b))
    assert comparison is not None
    assert (comparison.result == "correct") == (a == b)


@settings(max_examples=40, deadline=None)
@given(
    st.text(string.ascii_letters + string.digits + r" \{}()[]^_+-*/=<>,.$!", max_size=12),
    st.sampled_from(["x+1", r"\frac{1}{2}", "1<x<2", r"\sqrt{2}", "(1,2)", r"\{x, y\}"]),
)
def test_math_verify_is_symmetric_behind_the_policy(verifier: AnswerVerifier, found: str, reference: str) -> None:
    # A verifier remembers pairs as they were given, so the swapped pair is decided anew.
    assert _compare(verifier, found, reference) == _compare(verifier, reference, found)


def test_solutions_of_gsm8k_get_the_outcome_their_authors_gave_them() -> None:
    """Rows in the form of OpenAI's example model solutions: tail of a solution, gold answer, is_correct."""
    from stepmark.answers import extract_answer

    rows = [
        ("She has 13 * 2 = $<<13*2=26>>26\nA: 26", "18", False),
        ("She makes 9 * 2 = $<<9*2=18>>18 a day\nA: 18", "18", True),
        ("So it sold for 150000+80000=<<150000+80000=230000>>230000\nA: 70,000", "70000", True),
        ("The house is worth <<80000+10000=90000>>90,000\nA: 90,000", "70000", False),
        ("They average 10.833333333333332\nA: 10.833333333333332", "18", False),
        ("2125 times\nA: 2125", "2,125", True),
        ("He owes <<5-5.5=-0.5>>-0.5\nA: -0.5", "4", False),
        ("For the thirteenth glass Kylar needs to pay 5 * 1", "64", False),
    ]
    outcomes = [compare_answers(extract_answer(text).answer, gold).result for text, gold, _ in rows]
    assert [result == "correct" for result in outcomes] == [is_correct for _, _, is_correct in rows]
    assert outcomes[-1] == "unparsable"
