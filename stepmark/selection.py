"""Which solutions people label next: the rules, as arithmetic on scores and labels; no database.

A rule weighs a candidate or says why it does not take it; `select` takes the heaviest, few of each problem, and
counts all others by reason. A tenth of all texts is set apart, by hash and for ever: no rule takes from it, only the
random stream does, so that what is measured on the random stream holds for the whole pool, however many rounds of
selection went before.
"""

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .errors import InputError

SelectionRule = Literal["convincing-wrong", "ensemble", "disagreement", "jump", "random"]
RULES: tuple[SelectionRule, ...] = get_args(SelectionRule)

RANDOM_STREAM = "random stream"
"""Reason of the tasks that were drawn by chance alone."""

RESERVED = 0.1
"""Share of the texts that only the random stream takes."""

WRONG_SHARE = 0.8
"""Of `convincing-wrong`: share of the most convincing wrong solutions, beside the most convincing of the rest."""

SURE = 0.95
"""Of `ensemble`: a step is sure where the mean score of right, or of wrong, is at least this (ActPRM)."""
SPREAD = 0.005
"""Of `ensemble`: and where its scores spread by no more than this standard deviation (ActPRM)."""

_RIGHT_FROM = 0.5
"""A step scored below is predicted to be wrong."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A solution that might be labelled, with what is known of it."""

    solution_id: int
    problem_id: int
    text_hash: str
    """Equal texts of one problem share it: one of them is labelled."""
    outcome: bool | None = None
    value: float | None = None
    """The solution's score, mean over the reward models; None where one of them did not score it."""
    step_scores: tuple[tuple[float, ...], ...] = ()
    """[reward models][segments] P(right); empty where one of them gave none."""
    first_errors: Mapping[str, int | None] | None = None
    """By labeller, the first step said to be wrong; None where it found none."""
    left_out: str | None = None
    """Why it cannot be selected, such as `already queued`."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a rule makes of a candidate."""

    weight: float
    """Larger is taken first; between 0 and 1."""
    why: str
    """For people to read."""
    step_index: int | None = None
    """0-based, the step that decided it; None where it was the whole solution."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A solution that is to be labelled."""

    solution_id: int
    problem_id: int
    reason: str
    """The rule, or `RANDOM_STREAM`."""
    priority: float
    why: str
    step_index: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What was selected, and what became of the rest."""

    chosen: tuple[Selected, ...]
    """In the order in which it is to be labelled."""
    n_read: int
    dropped: dict[str, int]
    """Solutions not selected, by reason."""


def select(
    groups: Iterable[Sequence[Candidate]],
    rule: SelectionRule,
    *,
    limit: int,
    random_share: float = 0.1,
    per_problem: int = 1,
    seed: int = 0,
) -> Selection:
    """Selects what is labelled next.

    Ties go to the smaller solution id. The random stream is spread evenly among what the rule chose, so that people
    who stop half-way have labelled its share of it.

    Args:
        groups: The candidates, all of one problem together; read once, and kept only where they may be chosen.
        rule: `convincing-wrong`: four of five are the wrong solutions with the highest scores, the rest those with
            the highest scores of all that is left (Lightman et al. 2023, section 2.4); too few wrong ones are made up
            from the rest. `ensemble`, `jump`, `disagreement`: see `ensemble_doubt`, `largest_fall`, `disagreement`.
            `random`: any, in the order of a hash.
        limit: At most so many, the random stream included.
        random_share: Share of the random stream, which is not bound by `per_problem`. Short of what was set apart
            for it, it is smaller, and the rule's part is not larger for that.
        per_problem: At most so many of one problem by the rule.
        seed: Of the draw and of what is set apart; keep it from round to round.

    Raises:
        InputError: A number is out of range, or the rule is unknown.

    >>> wrong = [Candidate(n, n, f"text {n}", outcome=False, value=n / 10) for n in range(4)]
    >>> found = select([[one] for one in wrong], "convincing-wrong", limit=2, random_share=0.0)
    >>> [(one.solution_id, one.why) for one in found.chosen], found.dropped
    ([(3, 'wrong answer, score 0.300'), (2, 'wrong answer, score 0.200')], {'ranked lower': 2})
    """
    _check(rule, limit, random_share, per_problem)
    n_random = round(limit * random_share)
    n_ruled = limit - n_random
    dropped: Counter[str] = Counter()
    stream, ranked, rest = _Best(n_random), _Best(2 * n_ruled), _Best(2 * n_ruled)
    n_read = 0
    for group in groups:
        n_read += len(group)
        fit = []
        for one in _distinct(group, dropped):
            place = _place(one, seed)
            if place < RESERVED:
                stream.add([_Ranked(one, Weighed(1 - place, "drawn by chance"))])
            else:
                fit.append(one)
        for best, found in zip((ranked, rest), _weigh_group(fit, rule, seed, dropped), strict=True):
            best.add(heapq.nsmallest(per_problem, found))
            dropped["over the limit of its problem"] += max(0, len(found) - per_problem)
    drawn = stream.result()
    dropped["kept for the random stream"] += stream.n_added - len(drawn)
    first = ranked.result()
    chosen = first[: round(WRONG_SHARE * n_ruled) if rule == "convincing-wrong" else n_ruled]
    of_problem = Counter(one.candidate.problem_id for one in chosen)
    for next_best in sorted([*first[len(chosen) :], *rest.result()]):
        if len(chosen) < n_ruled and of_problem[next_best.candidate.problem_id] < per_problem:
            of_problem[next_best.candidate.problem_id] += 1
            chosen.append(next_best)
    dropped["ranked lower"] += ranked.n_added + rest.n_added - len(chosen)
    selected = tuple(_interleaved(sorted(chosen), drawn, rule.replace("-", " ")))
    return Selection(selected, n_read, {why: n for why, n in sorted(dropped.items()) if n})


@dataclass(frozen=True, slots=True)
class _Ranked:
    candidate: Candidate
    found: Weighed

    def __lt__(self, other: "_Ranked") -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[float, int]:
        return -self.found.weight, self.candidate.solution_id


class _Best:
    """Keeps the best of what is added, so that a pool of any size fits into memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[_Ranked] = []
        self.n_added = 0

    def add(self, items: Sequence[_Ranked]) -> None:
        self.n_added += len(items)
        self._kept += items
        if len(self._kept) > 2 * self._most + 1000:
            self._kept = heapq.nsmallest(self._most, self._kept)

    def result(self) -> list[_Ranked]:
        return heapq.nsmallest(self._most, self._kept)


def ensemble_doubt(
    step_scores: Sequence[Sequence[float]], *, sure: float = SURE, spread: float = SPREAD
) -> Weighed | None:
    """Where several PRMs are unsure of a step up to the first one they predict to be wrong; None where nowhere.

    ActPRM (arXiv 2504.10559): a step is unsure where max(mu, 1 - mu) < `sure`, or sigma > `spread`, over cheap heads
    of one body. Whole models differ by more than its heads, so nearly all that is not sure by the first condition
    passes the second; the order is ours: the largest min(mu, 1 - mu) + sigma comes first.

    Args:
        step_scores: [reward models][segments], at least two models.
        sure: See above.
        spread: See above.

    >>> ensemble_doubt([[0.99, 0.7, 0.1], [0.99, 0.5, 0.5]])
    Weighed(weight=0.5, why='step 2: mean score 0.600, spread 0.100', step_index=1)
    >>> ensemble_doubt([[0.99, 0.01, 0.5], [0.99, 0.01, 0.5]]) is None
    True
    """
    best: Weighed | None = None
    for index, scores in enumerate(zip(*step_scores, strict=True)):
        mean = math.fsum(scores) / len(scores)
        deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
        if max(mean, 1 - mean) < sure or deviation > spread:
            weight = round(min(mean, 1 - mean) + deviation, 9)
            if best is None or weight > best.weight:
                best = Weighed(weight, f"step {index + 1}: mean score {mean:.3f}, spread {deviation:.3f}", index)
        if mean < _RIGHT_FROM:
            break
    return best


def largest_fall(step_scores: Sequence[float]) -> Weighed | None:
    """The largest fall of the score from one step to the next; None where it never falls.

    The first step falls from 1, what the empty solution would have.

    >>> largest_fall([0.9, 0.95, 0.35, 0.3])
    Weighed(weight=0.6, why='step 3: score falls from 0.950 to 0.350', step_index=2)
    """
    best: Weighed | None = None
    before = 1.0
    for index, score in enumerate(step_scores):
        fall = round(before - score, 9)
        if fall > 0 and (best is None or fall > best.weight):
            best = Weighed(fall, f"step {index + 1}: score falls from {before:.3f} to {score:.3f}", index)
        before = score
    return best


def disagreement(first_errors: Mapping[str, int | None]) -> Weighed | None:
    """How far labellers differ on the first error: the share that does not name what most do; None where all agree.

    >>> disagreement({"judge": 1, "rollouts": 1, "prm": None})
    Weighed(weight=0.333333333, why='judge step 2, prm no error, rollouts step 2', step_index=1)
    """
    named = Counter(first_errors.values())
    if len(named) < 2:
        return None
    said = (
        f"{name} {'no error' if index is None else f'step {index + 1}'}"
        for name, index in sorted(first_errors.items())
    )
    earliest = min(index for index in named if index is not None)
    return Weighed(round(1 - max(named.values()) / len(first_errors), 9), ", ".join(said), earliest)


def predicted_first_error(step_scores: Sequence[float]) -> int | None:
    """The first step that a PRM scores below a half.

    >>> predicted_first_error([0.9, 0.4, 0.1]), predicted_first_error([0.9])
    (1, None)
    """
    return next((index for index, score in enumerate(step_scores) if score < _RIGHT_FROM), None)


def _check(rule: str, limit: int, random_share: float, per_problem: int) -> None:
    if rule not in RULES:
        raise InputError(f"rule {rule!r} is unknown; use one of {', '.join(RULES)}")
    if limit < 1:
        raise InputError(f"limit is {limit}; give at least 1")
    if not 0 <= random_share <= 1:
        raise InputError(f"random share is {random_share:g}; give a number from 0 to 1")
    if per_problem < 1:
        raise InputError(f"per problem is {per_problem}; give at least 1")


def _distinct(group: Sequence[Candidate], dropped: Counter[str]) -> Iterator[Candidate]:
    """The candidates whose text none of the group has that is taken, each text once; counts the others."""
    taken: dict[str, str] = {one.text_hash: one.left_out for one in group if one.left_out is not None}
    seen: set[str] = set()
    for one in sorted(group, key=lambda candidate: candidate.solution_id):
        if one.left_out is not None:
            dropped[one.left_out] += 1
        elif one.text_hash in taken:
            dropped[taken[one.text_hash]] += 1
        elif one.text_hash in seen:
            dropped["same text as another"] += 1
        else:
            seen.add(one.text_hash)
            yield one


def _place(one: Candidate, seed: int) -> float:
    """A number from 0 to 1 that depends on problem, text and seed only."""
    digest = hashlib.sha256(f"{seed}:{one.text_hash}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _weigh_group(
    group: Sequence[Candidate], rule: SelectionRule, seed: int, dropped: Counter[str]
) -> tuple[list[_Ranked], list[_Ranked]]:
    """What the rule ranks of one problem; for `convincing-wrong` also what comes after the wrong ones."""
    first, second = list[_Ranked](), list[_Ranked]()
    for one in group:
        if rule == "random":
            first.append(_Ranked(one, Weighed(1 - _place(one, seed), "drawn by chance")))
            continue
        if rule == "disagreement":
            said = one.first_errors or {}
            found = disagreement(said)
            why = "labellers agree" if len(said) > 1 else "fewer than two labellers"
        elif rule == "convincing-wrong":
            found, why = None, "no score"
            if one.value is not None:
                answer = {True: "right answer", False: "wrong answer", None: "answer not judged"}[one.outcome]
                found = Weighed(one.value, f"{answer}, score {one.value:.3f}")
        elif not one.step_scores:
            found, why = None, "no step scores"
        elif rule == "ensemble":
            found, why = ensemble_doubt(one.step_scores), "sure"
        else:
            found, why = largest_fall(_means(one.step_scores)), "no fall"
        if found is None:
            dropped[why] += 1
        elif rule == "convincing-wrong" and one.outcome is not False:
            second.append(_Ranked(one, found))
        else:
            first.append(_Ranked(one, found))
    return first, second


def _means(step_scores: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(scores) / len(scores) for scores in zip(*step_scores, strict=True)]


def _interleaved(ruled: Sequence[_Ranked], drawn: Sequence[_Ranked], reason: str) -> Iterator[Selected]:
    """The rule's choice in order, the drawn ones spread evenly among it with the priority of the one before."""
    step = (len(ruled) + 1) / (len(drawn) + 1)
    n_drawn = 0
    for place in range(len(ruled) + 1):
        while n_drawn < len(drawn) and (place == len(ruled) or place >= step * (n_drawn + 1)):
            priority = ruled[max(0, place - 1)].found.weight if ruled else 0.0
            yield _selected(drawn[n_drawn], RANDOM_STREAM, priority)
            n_drawn += 1
        if place < len(ruled):
            yield _selected(ruled[place], reason, ruled[place].found.weight)


def _selected(one: _Ranked, reason: str, priority: float) -> Selected:
    candidate, found = one.candidate, one.found
    return Selected(candidate.solution_id, candidate.problem_id, reason, priority, found.why, found.step_index)
