r"""Comparing one answer with one reference answer.

For more than a handful use `AnswerVerifier`, which keeps several workers busy; the rules are the same.
"""

import atexit
import threading
from functools import cache

from .comparison import Comparison, Result
from .pool import AnswerVerifier

__all__ = ["Comparison", "Result", "compare_answers"]

_lock = threading.Lock()


def compare_answers(found: str | None, reference: str) -> Comparison:
    r"""Compares an answer with the reference answer, by the rules of `policy`.

    Plain numbers, words and lists of them are compared here and now. For anything else one worker process is
    started at the first need, shared by all threads, and ended with this process.

    Args:
        found: The extracted answer; None (nothing readable) gives `unparsable`.
        reference: The reference answer.

    >>> compare_answers("1,000", "1000.0")
    Comparison(result='correct', rule='number')
    >>> compare_answers("\\(\\frac{1}{2}\\)", "0.5").result, compare_answers("\u22125", "-5").result
    ('correct', 'correct')
    >>> compare_answers("(1, 2)", "\\{1, 2\\}")
    Comparison(result='incorrect', rule='bracket_differs')
    >>> compare_answers(None, "5"), compare_answers("9**9**9**9", "5")
    (Comparison(result='unparsable', rule='no_answer'), Comparison(result='limit', rule='power_tower'))
    """
    ((_, comparison),) = _shared_verifier().verify([(None, found, reference)])
    return comparison


def _shared_verifier() -> AnswerVerifier:
    with _lock:
        return _make_verifier()


@cache
def _make_verifier() -> AnswerVerifier:
    verifier = AnswerVerifier(workers=1)
    atexit.register(verifier.close)
    return verifier
