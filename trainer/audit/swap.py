"""The swap test for whatever compares two answers at once: does the order decide.

A model that scores answers one by one has no order to be swayed by; a judge of pairs has (MT-Bench: one model agreed
with itself after a swap in 65 %). `stepmark judges` reads the same off judgements that are stored.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from trainer.evaluate.bootstrap import estimate, ratio, resampled_totals

from .finding import Finding, percent

Preference = Callable[[str, str, str], float]
"""From prompt, first and second answer to the chance, in [0, 1], that the first is better."""


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
    groups: dict[str, int] = {}
    rows: list[tuple[int, float, float]] = []
    for asked, a, b in pairs:
        forth, back = prefer(asked, a, b), prefer(asked, b, a)
        lead = math.copysign(forth != 0.5, forth - 0.5) + math.copysign(back != 0.5, back - 0.5)
        flipped = (forth > 0.5 and back > 0.5) or (forth < 0.5 and back < 0.5)
        rows.append((groups.setdefault(asked, len(groups)), lead / 2, float(flipped)))
    sums: np.ndarray[Any, Any] = np.zeros((max(1, len(groups)), 3))
    for group, led, changed in rows:
        sums[group] += (led, changed, 1.0)
    totals, resamples = sums.sum(axis=0), resampled_totals(sums, n_boot=n_boot, seed=seed)
    effect = estimate(
        float(ratio(totals[0], totals[2])), ratio(resamples[:, 0], resamples[:, 2]), len(groups), level=level
    )
    flips = float(ratio(totals[1], totals[2]))
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
        details={"flip_rate": flips, "n_pairs": len(rows)},
    )
