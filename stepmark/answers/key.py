"""A key under which equal answers meet, for counting votes without comparing every pair."""

from .plain import read_plain
from .tidy import tidy_answer


def answer_key(answer: str) -> str:
    r"""The same text for answers that are written differently and read alike; coarser than a comparison.

    Plain numbers meet by value, units and currency aside; anything else by its tidied text.

    >>> answer_key("1,000"), answer_key("$1000.00"), answer_key("0.5") == answer_key("\\frac{1}{2}")
    ('1000', '1000', True)
    >>> answer_key(" x + 1 ")
    'x + 1'
    """
    number = read_plain(answer)
    if number is None:
        return tidy_answer(answer)
    return f"{number.value}%" if number.is_percent else str(number.value)
