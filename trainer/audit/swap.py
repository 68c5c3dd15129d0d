"""The audit of whatever compares two answers at once: does their order decide, or their length.

A model that scores answers one by one has no order to be swayed by; a judge of pairs has (MT-Bench: one model agreed
with itself after a swap in 65 %). Judgements may be asked for here, or come from where they are stored.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.evaluate.bootstrap import Estimate, Floats, estimate, ratio, resampled_totals

from .finding import Finding, Skipped, percent
from .scored import FEWEST, AuditSettings

Preference = Callable[[str, str, str], float]
"""From prompt, first and second answer to the chance, in [0, 1], that the first is better."""

_N_EFFECTS = 2


@dataclass(frozen=True, slots=True)
class PairInOrders:
    """What a judge said of two answers, a and b, in both orders."""

    problem: str
    """Equal for pairs of one problem: problems are resampled, never pairs."""
    forth: float
    """The chance, or the share of votes, by which the first is better, with a first; a tie is one half."""
    back: float
    """The same with b first."""
    lengths: tuple[int, int] = (0, 0)
    """Characters of a and b."""
    outcomes: tuple[bool | None, bool | None] = (None, None)

    @property
    def choice(self) -> int:
        """What both orders together say: 1 for a, -1 for b, 0 for neither."""
        return _sign(self.forth - self.back)


def swap_test(
    prefer: Preference,
    pairs: Iterable[tuple[str, str, str]],
    *,
    n_boot: int = 5000,
    seed: int = 0,
    level: float = 0.95,
) -> Finding:
    """Asks in both orders; the effect is how much more often the first place wins than the second.

    Args:
        prefer: The judge.
        pairs: Prompt and two answers, in any order.
        n_boot: Bootstrap samples of the prompts.
        seed: Of the bootstrap.
        level: Of the interval.
    """
    asked = [PairInOrders(one, prefer(one, a, b), prefer(one, b, a)) for one, a, b in pairs]
    return _order(asked, AuditSettings(n_boot=n_boot, seed=seed), level)


def audit_judge(pairs: Iterable[PairInOrders], settings: AuditSettings | None = None) -> dict[str, Any]:
    """Audits a judge of pairs; returns a report as `audit` does of a model that scores.

    Args:
        pairs: What it said, in both orders.
        settings: How.
    """
    settings = settings or AuditSettings()
    given = list(pairs)
    level = 1 - (1 - settings.level) / _N_EFFECTS
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    if len({pair.problem for pair in given}) < FEWEST:
        skipped.append(Skipped("swap", f"fewer than {FEWEST} problems have a judged pair"))
    else:
        findings.append(_order(given, settings, level))
    alike = [pair for pair in given if pair.outcomes[0] is not None and pair.outcomes[0] == pair.outcomes[1]]
    alike = [pair for pair in alike if pair.lengths[0] != pair.lengths[1]]
    if len({pair.problem for pair in alike}) < FEWEST:
        skipped.append(
            Skipped("length", f"fewer than {FEWEST} problems have a pair of equal outcome and different length")
        )
    else:
        findings.append(_length(alike, settings, level))
    unlike = [pair for pair in given if None not in pair.outcomes and pair.outcomes[0] != pair.outcomes[1]]
    right = [0.5 + 0.5 * pair.choice * (1 if pair.outcomes[0] else -1) for pair in unlike]
    accuracy = _mean(unlike, right, settings, settings.level)
    return {
        "kind": "judge of pairs",
        "unit": "pairs",
        "accuracy": accuracy.as_json(),
        "said": [one.sentence for one in findings if one.sentence is not None],
        "findings": [one.as_json() for one in findings],
        "skipped": [{"check": one.check, "reason": one.reason} for one in skipped],
        "counts": {"read": len(given), "kept": len(given), "dropped": {}},
        "n_problems": len({pair.problem for pair in given}),
        "settings": {
            "level": settings.level,
            "level_of_one_interval": level,
            "n_boot": settings.n_boot,
            "seed": settings.seed,
            "how": None,
        },
    }


def _order(pairs: Sequence[PairInOrders], settings: AuditSettings, level: float) -> Finding:
    leads = [(_sign(pair.forth - 0.5) + _sign(pair.back - 0.5)) / 2 for pair in pairs]
    effect = _mean(pairs, leads, settings, level)
    is_flip = [_sign(pair.forth - 0.5) * _sign(pair.back - 0.5) > 0 for pair in pairs]
    flips = float(np.mean(is_flip)) if is_flip else None
    words = f"answers change with the order in {percent(flips)} of the pairs; the lead of a place should be 0"
    return Finding(
        "swap",
        "order",
        "lead of the first place",
        "share",
        "both",
        effect,
        above=f"It prefers what it reads first: {words}",
        below=f"It prefers what it reads last: {words}",
        details={"flip_rate": flips, "n_pairs": len(pairs)},
    )


def _length(pairs: Sequence[PairInOrders], settings: AuditSettings, level: float) -> Finding:
    longer = [pair.choice * _sign(pair.lengths[0] - pair.lengths[1]) for pair in pairs]
    shares = [float(np.mean([one == side for one in longer])) for side in (1, -1)]
    words = (
        f"of two answers that are both right or both wrong it chooses the longer one in {percent(shares[0])} and the "
        f"shorter one in {percent(shares[1])}; the lead of the longer should be 0"
    )
    return Finding(
        "length",
        "longer",
        "lead of the longer answer, equal outcomes",
        "share",
        "both",
        _mean(pairs, longer, settings, level),
        above=f"It likes length: {words}",
        below=f"It likes brevity: {words}",
        details={"n_pairs": len(pairs), "share_longer": shares[0], "share_shorter": shares[1]},
    )


def _mean(pairs: Sequence[PairInOrders], values: Sequence[float], settings: AuditSettings, level: float) -> Estimate:
    """The mean over pairs, with an interval over problems."""
    groups: dict[str, int] = {}
    for pair in pairs:
        groups.setdefault(pair.problem, len(groups))
    sums: Floats = np.zeros((max(1, len(groups)), 2))
    for pair, value in zip(pairs, values, strict=True):
        sums[groups[pair.problem]] += (value, 1.0)
    totals = sums.sum(axis=0)
    resamples = resampled_totals(sums, n_boot=settings.n_boot, seed=settings.seed)
    return estimate(
        float(ratio(totals[0], totals[1])), ratio(resamples[:, 0], resamples[:, 1]), len(groups), level=level
    )


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
