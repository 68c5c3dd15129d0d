"""Equations in steps: found in their places, checked exactly, and none called wrong that may be right."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.arithmetic import Finding, check_arithmetic
from stepmark.replay import written


def checked(text: str) -> list[tuple[str, str]]:
    return [(found.text, found.result) for found in check_arithmetic(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 + 4 = 7", "holds"),
        ("3 + 4 = 8", "fails"),
        ("3 + 4 = 7 eggs per day.", "holds"),
        ("16 eggs - 3 eggs = 12 eggs", "fails"),
        ("So she makes 2 * 9 = $18 every day.", "holds"),
        ("$10 - $75 = $-65", "holds"),
        ("1,200 + 34 = 1,234", "holds"),
        ("3 + -8 - -9 = 4", "holds"),
        ("-3 + 5 = 2", "holds"),
        ("7 − 2 × 3 = 1", "holds"),
        ("16 ÷ 4 = 5", "fails"),
        ("2 x 3.50 = 7", "holds"),
        ("2x3 = 6", "holds"),
        ("3 boxes times 4 = 12", "holds"),
        ("2(3 + 4)(5) = 70", "holds"),
        ("20% of 50 = 10", "holds"),
        ("20% * 50 = 10", "holds"),
        ("5 / 20 * 100 = 25%", "holds"),
        ("5 / 20 = 25%", "holds"),
        ("100% - 60% = 30%", "fails"),
        ("1/2 of 30 = 15", "holds"),
        ("2 1/2 + 1 = 3 1/2", "holds"),
        ("1/2 / 1/4 = 2", "holds"),
        ("6/2(3) = 1", "holds"),
        ("2^10 = 1024 and 2**3", "holds"),
        ("0.6 / 2.4 x 10^8 = 2.5 x 10^-9", "holds"),
        (r"\frac{1}{2} + \frac13 = \frac{5}{6}", "holds"),
        (r"\[ 3 \times 4 \cdot 2 = 24 \]", "holds"),
        (r"$2\frac{1}{2} = 2.5$", "holds"),
        (r"1.25 \text{ pounds/week} \times 5 \text{ weeks} = 6.25 \text{ pounds}", "holds"),
        (r"90^\circ - 30^\circ = 50^\circ", "fails"),
        (r"\sqrt{16} + 5! = 124", "holds"),
        ("√(9 + 16) = 5", "holds"),
        (r"\binom{5}{2} = 10", "holds"),
        ("10 / 3 = 3.33", "holds when rounded"),
        ("10 / 3 = 3.34", "fails"),
        ("2 / 3 = 0.66", "holds when rounded"),
        ("5 + 3.333333333333333 + 2.5 = 10.833333333333332", "holds when rounded"),
        ("14 / 19 = 0.736...", "holds when rounded"),
        ("31 / 3 = 10 full sets", "holds when rounded"),
        ("10 / 13 = 0 remainder 10", "holds when rounded"),
        ("22 / 7 ≈ 3.14", "holds when rounded"),
        (r"5508 \approx 5500", "holds when rounded"),
        ("22 / 7 ≈ 5", "fails"),
        ("5 > 3", "holds"),
        ("5 + 5 ≤ 9", "fails"),
        (r"12 \neq 13", "holds"),
        ("(x + 1)^2 = x^2 + 2x + 1", "holds"),
        (r"\frac{4x + 6}{2} = 2x + 3", "holds"),
    ],
)
def test_one_equation_is_read_and_checked(text: str, expected: str) -> None:
    assert [result for _, result in checked(text)] == [expected]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2x + 3 = 7", "letters"),
        ("(x + 1)^2 = x^2 + 1", "letters"),
        ("Time to heat up to 400 degrees = 20 + 8", "a name, or a change of units"),
        ("5 dimes = 5 * 10 = 50 cents", "a calculation that runs on"),
        ("2 * 24 = 48 + 2 = 50", "a calculation that runs on"),
        ("1 hour + 10 minutes = 70 minutes", "a change of units"),
        ("50 cents * 4 = $2", "a change of units"),
        ("3 miles / 440 feet per minute = 36 minutes", "a change of units"),
        ("50 + 56 = 1 hour 46 minutes", "part of something longer"),
        ("The differences are (2-2), (5-2) = 0, 3", "a list"),
        ("60 miles = 96", "no calculation"),
        ("2 * 3 million = 6,000,000", "a number in words"),
        ("$50 + 10% = $55", "a percentage of something is added"),
        ("Plug in 1: 1 = 3 + 4", "a condition that is tried"),
        ("2 + 1 = 1 (False)", "denied behind it"),
        ("The average of 3 + 5 = 4", "part of something longer"),
        ("9 + 5 = 2 (mod 12)", "modular arithmetic, or another base"),
        ("0.3 + 0.4 = 1", "rounded to a whole number, or wrong"),
        ("2^999 = 5", "no value within the limits"),
        ("Is 3 + 4 = 8?", "a question"),
        ("- 3 + 4 = 1", "a list mark, or a sign"),
        ("-3^2 = 9", "a sign before a power"),
        ("2 m + 3 = 11", "a unit, or a variable"),
    ],
)
def test_what_is_in_doubt_is_not_checkable_for_a_reason(text: str, reason: str) -> None:
    assert check_arithmetic(text)[0].reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "Step 3: 4 = x",
        "x = 3",
        "The ratio is 3:4 = 6:9.",
        "f(3) = 10 and f'(2) = 5",
        "log_2(8) = 4, sin 30 = 2",
        "x - 3 = 4 has x - 3 = 4",
        "12/25 was a Sunday",
        "(1, 2) + (3, 4) = (4, 7)",
        "a => 3, b -> 4, c := 5",
        "x + y = 3, so |x - 3| = 4",
        "==== Results ====",
        r"\begin{pmatrix} 2 \\ 1 \end{pmatrix} = 5",
        "",
    ],
)
def test_what_is_no_calculation_is_never_called_wrong(text: str) -> None:
    assert "fails" not in [result for _, result in checked(text)]


def test_a_chain_is_a_finding_for_each_pair_of_neighbours() -> None:
    assert checked("A = 2 * 3 + 1 = 6 + 1 = 8, then 8 - 3 = 5") == [
        ("2 * 3 + 1 = 6 + 1", "holds"),
        ("6 + 1 = 8", "fails"),
        ("8 - 3 = 5", "holds"),
    ]
    assert checked("3 * 4 + 2\n= 12 + 2\n= 15") == [("3 * 4 + 2\n= 12 + 2", "holds"), ("12 + 2\n= 15", "fails")]


def test_list_marks_and_step_numbers_are_no_operands() -> None:
    text = "Step 1: 3 + 4 = 7\n2. 5 * 3 = 15\n(3) 6 - 1 = 5\n* 2 * 2 = 4\na) 1 + 1 = 2"
    assert [result for _, result in checked(text)] == ["holds"] * 5


def test_a_note_is_told_apart_and_left_out_where_the_text_says_the_same() -> None:
    (found,) = check_arithmetic("She makes 9 * 2 = $<<9*2=18>>18.")
    assert (found.text, found.is_note) == ("9 * 2 = $<<9*2=18>>18", False)
    (found,) = check_arithmetic("She makes $<<9*2=17>>17 a day.")
    assert (found.text, found.result, found.is_note) == ("9*2=17", "fails", True)


def test_values_are_shown_as_a_person_reads_them() -> None:
    found = check_arithmetic("10 / 3 = 3.33, 29686700/2989517 = 9.93, 1/8 + 1 = 1.125")
    assert [(one.left.value, one.right.value) for one in found] == [
        ("10/3", "3.33"),
        ("9.930266", "9.93"),
        ("1.125", "1.125"),
    ]


def test_a_very_long_step_is_looked_at_up_to_a_limit() -> None:
    found = check_arithmetic("1 + 1 = 3. " * 10_000)
    assert 1_500 < len(found) < 2_000


# ------------------------------------------------------------ properties


class Drawn:
    """Arithmetic with its exact value, written in several ways."""

    def __init__(self, value: Fraction, write: Callable[[str], str]) -> None:
        self.value = value
        self.write = write


def number(value: int) -> Drawn:
    return Drawn(Fraction(value), lambda style: f"{value:,}" if style == "grouped" else str(value))


SIGNS = {
    "plain": {"+": " + ", "-": " - ", "*": " * ", "/": " / "},
    "unicode": {"+": " + ", "-": " − ", "*": " × ", "/": " ÷ "},
    "grouped": {"+": " + ", "-": " - ", "*": " x ", "/": " / "},
    "tight": {"+": "+", "-": "-", "*": "*", "/": "/"},
    "tex": {"+": " + ", "-": " - ", "*": r" \times ", "/": "/"},
}


def combined(left: Drawn, sign: str, right: Drawn) -> Drawn:
    work = {"+": left.value + right.value, "-": left.value - right.value, "*": left.value * right.value}
    value = left.value / right.value if sign == "/" else work[sign]

    def write(style: str) -> str:
        one, other = left.write(style), right.write(style)
        if style == "tex" and sign == "/":
            return rf"\frac{{{one}}}{{{other}}}"
        return f"({one}{SIGNS[style][sign]}{other})"

    return Drawn(value, write)


numbers = st.integers(1, 5000).map(number)
arithmetic = st.recursive(
    numbers,
    lambda inner: st.builds(combined, inner, st.sampled_from("+-*/"), inner.filter(lambda one: one.value != 0)),
    max_leaves=6,
).filter(lambda one: abs(one.value) < 10**12 and one.value.denominator < 10**6)
styles = st.sampled_from(sorted(SIGNS))
BEFORE = ("", "So ", "Step 3: ", "Therefore, we get ", "x = ", "1. ", r"\[ ", "The total is $")
BEHIND = ("", ".", " eggs per day.", ", as wanted", " dollars in all", r" \]", "\n", ", and 1 + 1 = 2")


@given(arithmetic, styles, st.sampled_from(BEFORE), st.sampled_from(BEHIND))
def test_right_calculations_never_fail(drawn: Drawn, style: str, before: str, behind: str) -> None:
    text = f"{before}{drawn.write(style)} = {written(drawn.value)}{behind}"
    results = [found.result for found in check_arithmetic(text)]
    assert "fails" not in results
    if "/" not in written(drawn.value) and "(" in drawn.write("plain"):
        assert "holds" in results


@given(
    arithmetic.filter(lambda one: one.value.denominator == 1 and "(" in one.write("plain")),
    styles,
    st.sampled_from(BEFORE),
    st.sampled_from(BEHIND),
    st.integers(1, 40),
    st.booleans(),
)
def test_a_corrupted_result_always_fails(
    drawn: Drawn, style: str, before: str, behind: str, off_by: int, is_more: bool
) -> None:
    wrong = drawn.value + (off_by if is_more else -off_by)
    text = f"{before}{drawn.write(style)} = {written(wrong)}{behind}"
    found = check_arithmetic(text)[0]
    is_hundredfold = drawn.value and wrong and max(drawn.value / wrong, wrong / drawn.value) == 100
    assert found.result == "fails" or (is_hundredfold and found.reason == "a change of units")


PIECES = st.sampled_from(
    [
        *"125xa+-*/^=<>≈≤()[]{}$%!²,.:'|−√  \n",
        *("25", "3.5", "1,000", ".5", "1e5", "y_1", "eggs", "per", "of", "times", "mod", "<<", ">>", "..."),
        *(r"\frac", r"\sqrt", r"\binom", r"\text{ cm}", r"\times", r"\left"),
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=60)))
def test_places_always_cut_the_text_that_is_shown(text: str) -> None:
    def is_cut_right(found: Finding) -> bool:
        return all(text[one.start : one.end] == one.text and one.text for one in (found, found.left, found.right))

    findings = check_arithmetic(text)
    assert all(map(is_cut_right, findings))
    assert all((found.reason is not None) == (found.result == "not checkable") for found in findings)
