"""Arithmetic written by others: what is worked out, and that nothing else ever is."""

import ast
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepmark.errors import InputError
from stepmark.expressions import FUNCTIONS, parse_expression

HOSTILE = [
    "__import__('os').system('true')",
    "open('/etc/passwd').read()",
    "().__class__.__bases__[0].__subclasses__()",
    "n.__class__",
    "n.real",
    "[x for x in range(9)]",
    "lambda: 1",
    "(lambda: 1)()",
    "exec(n)",
    "eval(n)",
    "n if n else 1",
    "(n := 5)",
    "max(*n, 1)",
    "round(n, ndigits=1)",
    "min(n)",
    "n and 1",
    "not n",
    "(n > 1) + 1",
    "n < 3 < (n > 1)",
    "'a' * 9",
    "f'{n}'",
    "b''",
    "0x10",
    "1_000",
    "1e9",
    "1j",
    "n | 1",
    "n << 9",
    "~n",
    "n @ n",
    "n is n",
    "n in (n, 1)",
    "(n, 1)",
    "True",
    "None",
    "m + 1",
    "ｎ + 1",
    "n; n",
    "n\nn",
    "",
    " ",
    "-" * 600,
    "-" * 400 + "1",
    "(" * 250 + "1" + ")" * 249,
    "1+" * 240 + "1",
    "9" * 200,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_all_but_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_expression(text, names=["n"])


@pytest.mark.parametrize(
    "text",
    [
        "n ** n ** n",
        "9 ** 9 ** 9",
        "n ** 64 ** 2",
        "(n ** 40) * (n ** 40)",
        "1 / (n - 1000)",
        "n % 0",
        "gcd(n / 3, 2)",
    ],
)
def test_what_has_no_value_or_too_large_a_one_is_none_at_once(text: str) -> None:
    started = time.process_time()
    assert parse_expression(text, names=["n"]).value({"n": Fraction(1000)}) is None
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n * 2.50 + 1", Fraction(37, 2)),
        ("-n // 2 + n % 4", Fraction(-1)),
        ("max(n, 9, 2) - min(n, 2)", Fraction(7)),
        ("gcd(n, 21) * lcm(2, 3) + ceil(n / 2) + floor(n / 2) + abs(-n)", Fraction(56)),
        ("round(n / 3, 2)", Fraction(233, 100)),
        ("2 ** -2", Fraction(1, 4)),
        ("1 < n <= 7 and not n == 8 or n > 9", True),
        ("n != 7", False),
    ],
)
def test_arithmetic_is_worked_out_exactly(text: str, value: Fraction | bool) -> None:
    found = parse_expression(text, names=["n"]).value({"n": Fraction(7)})
    assert (found, type(found)) == (value, type(value))


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="n01.9+-*/%<>=!(), _axmind[]'\"\\:\n", max_size=40))
def test_no_text_does_anything_but_arithmetic(text: str) -> None:
    """What is taken is a number or a truth, made of nothing but the nodes of arithmetic."""
    try:
        expression = parse_expression(text, names=["n"])
    except InputError:
        return
    value = expression.value({"n": Fraction(3)})
    assert value is None or type(value) is (bool if expression.kind == "truth" else Fraction)
    called = {node.func.id for node in ast.walk(ast.parse(text.strip())) if isinstance(node, ast.Call)}  # type: ignore[attr-defined]
    assert called <= set(FUNCTIONS)
    assert not any(isinstance(node, ast.Attribute | ast.Subscript) for node in ast.walk(ast.parse(text.strip())))


_NUMBERS = st.integers(0, 99).map(str) | st.just("n")
_OPERATORS = st.sampled_from(["+", "-", "*", "/", "//", "%"])
_TEXTS = st.recursive(
    _NUMBERS,
    lambda inner: st.tuples(inner, _OPERATORS, inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(_TEXTS, st.integers(0, 50))
def test_arithmetic_agrees_with_pythons_own_on_fractions(text: str, number: int) -> None:
    class Exact(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            return ast.Call(ast.Name("F", ast.Load()), [node], [])

        def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
            # A fraction divided by `//` is an int, and two of those would be divided as floats.
            return ast.Call(ast.Name("F", ast.Load()), [self.generic_visit(node)], [])

    tree = ast.fix_missing_locations(Exact().visit(ast.parse(text, mode="eval")))
    try:
        expected = eval(compile(tree, "test", "eval"), {"F": Fraction, "n": Fraction(number)})
    except ZeroDivisionError:
        expected = None
    assert parse_expression(text, names=["n"]).value({"n": Fraction(number)}) == expected
