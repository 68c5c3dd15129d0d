"""Math-Verify as a last resort. Imported by worker processes only: it is slow to load and may not come back.

Math-Verify's LaTeX reader is used without its extraction from prose, so that nothing of a model's text
reaches `sympify` or `parse_expr`, which run Python.
"""

import logging

from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify
from math_verify.grader import should_treat_as_complex
from sympy import Basic, MatrixBase

from .comparison import Comparison

# It warns at every call without its own timeout; ours is the process that gets killed.
logging.getLogger("math_verify").setLevel(logging.CRITICAL)

_NORMALISATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)


def compare_expressions(found: str, reference: str) -> Comparison:
    """Compares two LaTeX expressions; equal only if Math-Verify says so in both directions."""
    try:
        is_real = not (should_treat_as_complex(found) or should_treat_as_complex(reference))
        a, b = _parse(found, is_real=is_real), _parse(reference, is_real=is_real)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # the reader raises bare Exception for whatever it cannot read
        return Comparison("unparsable", "math_verify_parse")
    try:
        is_equal = _verify(a, b) and _verify(b, a)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # sympy raises anything at all on odd but readable input
        return Comparison("unparsable", "math_verify_error")
    return Comparison("correct" if is_equal else "incorrect", "math_verify")


def _parse(text: str, *, is_real: bool) -> Basic | MatrixBase:
    normalised = normalize_latex(text, config=_NORMALISATION)
    parsed = latex2sympy(normalised, is_real=is_real, convert_degrees=False, normalization_config=None)
    if not isinstance(parsed, Basic | MatrixBase):
        raise ValueError(f"read as {type(parsed).__name__}")
    return parsed


def _verify(gold: Basic | MatrixBase, target: Basic | MatrixBase) -> bool:
    return bool(
        verify(
            gold,
            target,
            strict=True,
            allow_set_relation_comp=True,
            timeout_seconds=None,
            raise_on_error=True,
        )
    )
