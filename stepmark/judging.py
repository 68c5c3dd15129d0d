"""A model as judge of two solutions: reading its verdict, deciding by votes in both orders, and auditing it.

A judge is asked about a pair twice, once with either solution first, several times each. Here is what its texts and
votes mean; asking and storing happen elsewhere.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb, isqrt
from typing import Literal

from .intervals import Correlation, Share, share, spearman

Place = Literal["first", "second", "tie"]
"""What a verdict says: which solution as they stood in the prompt."""
Choice = Literal["a", "b", "equal"]
"""The same in the pair's own order, as preferences are stored."""

_MARKUP = re.compile(r"\\(?:boxed|text\w*)|[*_`#>\"'{}()\[\]$\\]")
_VERDICT = re.compile(
    r"(?:my |the )?(?:final )?verdict ?(?::|=| is\b) ?(?:solution )?(a|b|tie) ?[.!]?", re.IGNORECASE
)
_PLACES: dict[str, Place] = {"a": "first", "b": "second", "tie": "tie"}


def read_verdict(text: str) -> Place | None:
    r"""Reads the last line of a judge's text: `Verdict: A`, `Verdict: B` or `Verdict: tie`.

    Emphasis, quotes and brackets around the words do not matter, nor does case. None where the last line that holds a
    word is anything else: a verdict with reasons after it was not reached by them, and nobody knows what a text
    without a verdict means. It is never a tie.

    >>> read_verdict("A slips in step 2.\n\nVerdict: B"), read_verdict("Both hold.\n**Verdict:** [[tie]]\n```")
    ('second', 'tie')
    >>> read_verdict("Verdict: A\nbecause it is longer"), read_verdict("Verdict: A or B"), read_verdict("")
    (None, None, None)
    """
    for line in reversed(text.splitlines()):
        bare = " ".join(_MARKUP.sub(" ", line).split())
        if any(char.isalnum() for char in bare):
            found = _VERDICT.fullmatch(bare)
            return None if found is None else _PLACES[found[1].lower()]
    return None


def choice_of(place: Place | None, *, a_first: bool) -> Choice | None:
    """What a verdict means for the pair, whose `a` stood first or second in the prompt.

    >>> choice_of("first", a_first=True), choice_of("first", a_first=False), choice_of("tie", a_first=False)
    ('a', 'b', 'equal')
    """
    if place is None or place == "tie":
        return None if place is None else "equal"
    return "a" if (place == "first") == a_first else "b"


def majority(votes: Iterable[Choice | None]) -> Choice | None:
    """What most of the readable votes say; a draw is `equal`, and None where no vote can be read.

    >>> majority(["a", "b", "a", None]), majority(["a", "b"]), majority([None, None])
    ('a', 'equal', None)
    """
    counted = Counter(vote for vote in votes if vote is not None).most_common(2)
    if not counted:
        return None
    return "equal" if len(counted) == 2 and counted[0][1] == counted[1][1] else counted[0][0]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said of a pair in both orders."""

    forth: tuple[Choice | None, ...]
    """Votes with `a` first in the prompt; None for one that cannot be read."""
    back: tuple[Choice | None, ...]
    """Votes with `b` first."""

    @property
    def choice(self) -> Choice | None:
        """What both orders say; `equal` where they differ, None where one of them cannot be read at all."""
        forth, back = majority(self.forth), majority(self.back)
        if forth is None or back is None:
            return None
        return forth if forth == back else "equal"

    @property
    def is_flip(self) -> bool:
        """Whether the judge says otherwise once the solutions change places."""
        forth, back = majority(self.forth), majority(self.back)
        return forth is not None and back is not None and forth != back

    @property
    def n_unreadable(self) -> int:
        """Votes that cannot be read."""
        return (*self.forth, *self.back).count(None)

    @property
    def n_first(self) -> int:
        """Votes for the solution that stood first."""
        return self.forth.count("a") + self.back.count("b")

    @property
    def n_second(self) -> int:
        """Votes for the one that stood second."""
        return self.forth.count("b") + self.back.count("a")


def share_for_first(votes: Iterable[Choice | None], *, a_first: bool) -> float:
    """The share of readable votes for the solution that stood first; a tie is half a vote, and so is none at all.

    >>> share_for_first(["a", "equal", None, "a"], a_first=True), share_for_first(["a", "a"], a_first=False)
    (0.8333333333333334, 0.0)
    """
    first = "a" if a_first else "b"
    read = [1.0 if vote == first else 0.5 if vote == "equal" else 0.0 for vote in votes if vote is not None]
    return sum(read) / len(read) if read else 0.5


# ------------------------------------------------------------ auditing a judge


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A judged pair with what is known of its solutions."""

    choice: Choice
    judgement: Judgement
    lengths: tuple[int, int]
    """Characters of `a` and `b`."""
    outcomes: tuple[bool | None, bool | None]
    generators: tuple[str | None, str | None]
    by_people: tuple[Choice, ...] = ()
    """What people chose of the same pair."""
    problem: str = ""
    """Equal for pairs of one problem."""


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """How a judge judges, and by what it should not.

    Intervals take pairs, and votes where votes are counted, as independent; many votes of few pairs are not.
    """

    judge: str
    model: str
    n_pairs: int
    n_ties: int
    flips: Share
    """Pairs of which it said otherwise once the solutions changed places."""
    unreadable: Share
    """Votes that cannot be read, of pairs that could be judged nevertheless."""
    first_position: Share
    """Votes for the solution that stood first, of those for either."""
    length: Correlation
    """Spearman's, of the choice with the difference in length; positive: it likes the longer one."""
    length_same_outcome: Correlation
    """The same within pairs of equal outcome, where being right explains nothing."""
    outcomes: Share
    """Choices of the right solution, of those made between a right and a wrong one; ties stand apart."""
    n_ties_of_outcomes: int
    """Ties between a right and a wrong solution."""
    people: Share
    """Same choices (`equal` too) as people's of the same pairs, over all of those."""
    own: Share
    """Choices of the solution by the judge's own family, of those made between one of them and another's."""
    own_same_outcome: Share
    """The same within pairs of equal outcome."""


def report_judge(judge: str, model: str, pairs: Iterable[JudgedPair]) -> JudgeReport:
    """Measures what a judge prefers (position and self-preference bias: Zheng et al. 2023; length: Dubois 2024)."""
    n: Counter[str] = Counter()
    everywhere: tuple[list[int], list[int]] = ([], [])
    same_outcome: tuple[list[int], list[int]] = ([], [])
    family = model_family(model)
    for pair in pairs:
        n["pairs"] += 1
        n["ties"] += pair.choice == "equal"
        n["flips"] += pair.judgement.is_flip
        n["votes"] += len(pair.judgement.forth) + len(pair.judgement.back)
        n["unreadable"] += pair.judgement.n_unreadable
        n["first"] += pair.judgement.n_first
        n["second"] += pair.judgement.n_second
        n["people"] += len(pair.by_people)
        n["as people"] += pair.by_people.count(pair.choice)
        is_same = pair.outcomes[0] is not None and pair.outcomes[0] == pair.outcomes[1]
        for lists in (everywhere, same_outcome) if is_same else (everywhere,):
            lists[0].append({"a": 1, "equal": 0, "b": -1}[pair.choice])
            lists[1].append(pair.lengths[0] - pair.lengths[1])
        if None not in pair.outcomes and not is_same:
            right: Choice = "a" if pair.outcomes[0] else "b"
            n["outcome ties"] += pair.choice == "equal"
            n["outcomes"] += pair.choice != "equal"
            n["right"] += pair.choice == right
        is_own = [generator is not None and model_family(generator) == family for generator in pair.generators]
        if pair.choice != "equal" and None not in pair.generators and is_own[0] != is_own[1]:
            is_chosen = pair.choice == ("a" if is_own[0] else "b")
            n["own"] += 1
            n["own chosen"] += is_chosen
            n["own same"] += is_same
            n["own same chosen"] += is_same and is_chosen
    return JudgeReport(
        judge=judge,
        model=model,
        n_pairs=n["pairs"],
        n_ties=n["ties"],
        flips=share(n["flips"], n["pairs"]),
        unreadable=share(n["unreadable"], n["votes"]),
        first_position=share(n["first"], n["first"] + n["second"]),
        length=spearman(*everywhere),
        length_same_outcome=spearman(*same_outcome),
        outcomes=share(n["right"], n["outcomes"]),
        n_ties_of_outcomes=n["outcome ties"],
        people=share(n["as people"], n["people"]),
        own=share(n["own chosen"], n["own"]),
        own_same_outcome=share(n["own same chosen"], n["own same"]),
    )


def model_family(name: str) -> str:
    """The family of a model as its name suggests it: the first word of its last part. A guess.

    >>> model_family("Qwen/Qwen2.5-7B-Instruct"), model_family("gpt-4o"), model_family("meta-llama/Llama-3.1-8B")
    ('qwen', 'gpt', 'llama')
    """
    last = name.rstrip("/").rpartition("/")[2].lower()
    word = re.match(r"[^\W\d_]+", last)
    return last if word is None else word[0]


# ------------------------------------------------------------ which pairs

DrawnRule = Literal["outcome", "near", "random"]
"""`outcome`: one right, one wrong; `near`: both right or both wrong; `random`: any two."""
PairRule = Literal["outcome", "near", "random", "compared"]
"""Those, and `compared`: two that a person has compared, so that the judge can be set beside people."""


def draw_pairs(outcomes: Sequence[bool | None], rule: DrawnRule, *, most: int, seed: str) -> list[tuple[int, int]]:
    """Draws pairs among the solutions of one problem, without listing them all.

    Args:
        outcomes: Of each solution; with unknown ones only the rule `random` has to do.
        rule: Which pairs there are to draw from.
        most: So many at most.
        seed: The same seed and outcomes draw the same pairs.

    Returns:
        Indices into `outcomes`, the smaller one first, in ascending order.

    >>> draw_pairs([True, False, None, True], "outcome", most=9, seed="")
    [(0, 1), (1, 3)]
    >>> draw_pairs([True, False, None, True], "near", most=9, seed="")
    [(0, 3)]
    """
    right = [index for index, outcome in enumerate(outcomes) if outcome is True]
    wrong = [index for index, outcome in enumerate(outcomes) if outcome is False]
    n_in = comb(len(right), 2)
    n_pairs = {
        "outcome": len(right) * len(wrong),
        "near": n_in + comb(len(wrong), 2),
        "random": comb(len(outcomes), 2),
    }[rule]
    drawn = []
    for number in random.Random(seed).sample(range(n_pairs), min(most, n_pairs)):
        if rule == "outcome":
            one, other = right[number // len(wrong)], wrong[number % len(wrong)]
        elif rule == "random":
            one, other = _two_of(number)
        else:
            group, within = (right, number) if number < n_in else (wrong, number - n_in)
            one, other = (group[place] for place in _two_of(within))
        drawn.append((min(one, other), max(one, other)))
    return sorted(drawn)


def _two_of(number: int) -> tuple[int, int]:
    """The pair of this number among (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    second = (1 + isqrt(1 + 8 * number)) // 2
    return number - comb(second, 2), second
