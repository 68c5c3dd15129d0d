"""Answers of solutions: pulling them out of a text, comparing them with a reference, doing so for millions.

`extract` reads the answer out of a solution, `compare` compares one pair, `pool` verifies a stream of pairs,
`programs` runs a solution that is a program with its problem's tests. Plain numbers are compared exactly in this
process; only what is left goes to Math-Verify, behind size limits, in worker processes that may be killed. Nothing
here knows a database.
"""

from .compare import compare_answers
from .comparison import Comparison, Result
from .extract import Extracted, extract_answer
from .pool import AnswerVerifier
from .programs import verify_program

__all__ = [
    "AnswerVerifier",
    "Comparison",
    "Extracted",
    "Result",
    "compare_answers",
    "extract_answer",
    "verify_program",
]
