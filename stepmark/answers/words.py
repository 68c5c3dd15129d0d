"""English number words: reading them (`twenty-five` is 25) and finding them in a statement."""

import re

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SMALL = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
"""Words that add: zero to nineteen and the tens."""
SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
"""Words that multiply what stands before them."""

_ONE = "(?:" + "|".join(sorted([*SMALL, *SCALES], key=len, reverse=True)) + ")"
NUMBER_WORDS = re.compile(rf"\b{_ONE}(?:(?:[ -]|[ ]and[ ]){_ONE})*\b", re.IGNORECASE)
"""A run of number words, such as `two hundred and five`."""


def read_number_words(text: str) -> int | None:
    """Reads a number written out in words; None where the text is anything else.

    >>> read_number_words("Twenty-five"), read_number_words("two hundred and five")
    (25, 205)
    >>> read_number_words("one two"), read_number_words("often")
    (None, None)
    """
    match = NUMBER_WORDS.fullmatch(text.strip())
    if match is None:
        return None
    total = group = 0
    last = 10**15
    for word in re.split(r"[ -]+", match.group().lower()):
        if word == "and":
            continue
        if word in SMALL:
            value = SMALL[word]
            # After a ten only a single digit may follow, and a small number never follows another one.
            if last < 20 or (last < 100 and not 0 < value < 10):
                return None
            group, last = group + value, value
        elif SCALES[word] <= 100:
            group, last = (group or 1) * SCALES[word], 100
        else:
            total, group, last = total + (group or 1) * SCALES[word], 0, SCALES[word]
    return total + group
