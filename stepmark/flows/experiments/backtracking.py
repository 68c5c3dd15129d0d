"""A critic put to use: solve, criticise, on fail try again; beside majority vote and best-of-N at equal tokens.

Works on solutions, critiques and scores that have been sampled before, so that every way of choosing sees the same
ones. Tokens are those that were generated: solutions, critiques, and the solutions of a variant whose answer is
nobody's but the model's own majority. A reward model generates none; what its reading costs is not counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from generator.domain.carrying import carried_answer

from .estimates import mean_of


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sampled solution."""

    answer: str | None
    n_tokens: int
    score: float
    """By the process reward model."""
    critiques: tuple[tuple[str, int], ...]
    """On the first, second and third variant: text and tokens; none where it was not criticised."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The attempts at one problem, in the order in which they were sampled."""

    gold: str
    attempts: tuple[Attempt, ...]
    variant_golds: tuple[str, ...]
    variant_votes: tuple[tuple[str, int], ...]
    """The model's own majority on each variant, and the tokens that it took."""


def use_the_critic(pools: Sequence[Pool], *, n_tries: int) -> dict[str, Any]:
    """Accuracy and mean tokens of each way, for every number of tries or samples; intervals by problem."""
    tries = [k for k in (1, 2, 3, 4, 6, 8, 12, 16) if k <= n_tries]
    ns = [k for k in (1, 2, 3, 4, 6, 8, 12, 16) if k <= len(pools[0].attempts)]
    return {
        "majority": [_measured(pools, n, _majority) for n in ns],
        "PRM best-of-N": [_measured(pools, n, _best_of) for n in ns],
        "PRM-weighted vote": [_measured(pools, n, _weighted) for n in ns],
        "critic, answers known": [_measured(pools, k, lambda p, n: _retry(p, n, True, False)) for k in tries],
        "critic, answers voted": [_measured(pools, k, lambda p, n: _retry(p, n, False, False)) for k in tries],
        "critic, known, adaptive": [_measured(pools, k, lambda p, n: _retry(p, n, True, True)) for k in tries],
        "critic, voted, adaptive": [_measured(pools, k, lambda p, n: _retry(p, n, False, True)) for k in tries],
    }


def _measured(pools: Sequence[Pool], n: int, choose: Callable[[Pool, int], tuple[str | None, int]]) -> dict[str, Any]:
    chosen = [choose(pool, n) for pool in pools]
    right = [answer == pool.gold for (answer, _), pool in zip(chosen, pools, strict=True)]
    return {"n": n, "accuracy": mean_of(right), "tokens": sum(cost for _, cost in chosen) / len(chosen)}


def _most(answers: Sequence[str | None]) -> str | None:
    """The most frequent answer, the earliest of several; None where there is none."""
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0] if votes else None


def _majority(pool: Pool, n: int) -> tuple[str | None, int]:
    some = pool.attempts[:n]
    return _most([one.answer for one in some]), sum(one.n_tokens for one in some)


def _best_of(pool: Pool, n: int) -> tuple[str | None, int]:
    some = pool.attempts[:n]
    return max(some, key=lambda one: one.score).answer, sum(one.n_tokens for one in some)


def _weighted(pool: Pool, n: int) -> tuple[str | None, int]:
    some, weights = pool.attempts[:n], Counter[str]()
    for one in some:
        if one.answer is not None:
            weights[one.answer] += one.score  # type: ignore[assignment]
    return (max(weights, key=lambda answer: weights[answer]) if weights else None), sum(one.n_tokens for one in some)


def _retry(pool: Pool, n: int, is_known: bool, is_adaptive: bool) -> tuple[str | None, int]:
    """The first attempt that passes; without one, the majority of all that were made.

    Adaptive: what the first variant says is asked of a second, and of a third where they disagree.
    """
    cost, asked, made = 0, set[int](), list[Attempt]()
    for attempt in pool.attempts[:n]:
        made.append(attempt)
        cost += attempt.n_tokens
        passes = list[bool]()
        for place, (text, n_tokens) in enumerate(attempt.critiques):
            if (place and not is_adaptive) or (place == 2 and passes[0] == passes[1]):
                break
            cost += n_tokens
            gold = pool.variant_golds[place]
            if not is_known:
                gold, n_voted = pool.variant_votes[place]
                cost += 0 if place in asked else n_voted
                asked.add(place)
            passes.append(carried_answer(text) == gold)
        if sum(passes) * 2 > len(passes):
            return attempt.answer, cost
    return _most([one.answer for one in made]), cost
