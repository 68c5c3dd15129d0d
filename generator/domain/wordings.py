"""The words of the embedded domain: names, things, and the sentences that a problem is put together from.

Only text stands here. What a sentence means is in `problems.py`. No two sentences of different kinds may read
alike, since a problem is read back from its text alone.
"""

from typing import Literal

Kind = Literal["gain", "lose", "times", "bags", "more", "half"]
"""What an event does to the value: + n, - n, * k, + k * n, + k * value, / 2."""

NAMES: dict[str, Literal["he", "she"]] = {
    "Ana": "she",
    "Ben": "he",
    "Cleo": "she",
    "Dan": "he",
    "Eva": "she",
    "Finn": "he",
    "Grace": "she",
    "Hugo": "he",
    "Iris": "she",
    "Jack": "he",
    "Kim": "she",
    "Leo": "he",
    "Mia": "she",
    "Noah": "he",
    "Olga": "she",
    "Paul": "he",
    "Rosa": "she",
    "Sam": "he",
    "Tara": "she",
    "Yuri": "he",
}
"""The people of the problems, with the pronoun that the later sentences use."""

THINGS = (
    "apples",
    "balls",
    "beads",
    "books",
    "cards",
    "coins",
    "cups",
    "eggs",
    "hats",
    "keys",
    "nuts",
    "pears",
    "pens",
    "plums",
    "roses",
    "shells",
    "stamps",
    "stones",
    "tickets",
    "toys",
)
"""What they count."""

OPENINGS = (
    "{name} has {a} {thing}.",
    "{name} starts with {a} {thing}.",
    "At first {name} has {a} {thing}.",
)
"""First sentences; `{a}` is the start value."""

EVENTS: dict[Kind, tuple[str, ...]] = {
    "gain": (
        "{He} finds {a} {thing}.",
        "{He} buys {a} more {thing}.",
        "A friend gives {him} {a} {thing}.",
    ),
    "lose": (
        "{He} loses {a} {thing}.",
        "{He} sells {a} of the {thing}.",
        "{He} gives {a} {thing} to a friend.",
    ),
    "times": (
        "Soon {he} has {a} times as many.",
        "A week later {he} has {a} times as many {thing}.",
        "In May {he} owns {a} times as many.",
    ),
    "bags": (
        "{He} buys {a} bags of {b} {thing}.",
        "{He} gets {a} boxes with {b} {thing} each.",
        "A friend brings {him} {a} bags of {b} {thing}.",
    ),
    "more": (
        "Soon {he} gets {a} times as many more.",
        "A week later {he} wins {a} times as many more {thing}.",
        "In May {he} buys {a} times as many more.",
    ),
    "half": (
        "{He} gives away half of the {thing}.",
        "{He} sells half of {his} {thing}.",
        "Then {he} loses half of the {thing}.",
    ),
}
"""Later sentences by kind; `{a}` and `{b}` are the event's numbers in order."""

QUESTIONS = (
    "How many {thing} does {name} have now?",
    "How many {thing} does {he} have in the end?",
    "How many {thing} are there now?",
)
"""Last sentences."""


def fill(wording: str, name: str, thing: str, numbers: tuple[int | str, ...] = ()) -> str:
    """Writes one sentence out.

    >>> fill("A friend gives {him} {a} {thing}.", "Mia", "nuts", (7,))
    'A friend gives her 7 nuts.'
    """
    is_he = NAMES[name] == "he"
    return wording.format(
        name=name,
        thing=thing,
        he="he" if is_he else "she",
        He="He" if is_he else "She",
        him="him" if is_he else "her",
        his="his" if is_he else "her",
        **dict(zip("ab", numbers, strict=False)),
    )
