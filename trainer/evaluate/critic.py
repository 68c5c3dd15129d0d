"""Critics: are their verdicts right, what wrong solutions do they catch, how often do they cry wolf.

A verdict counts where the verifier knows whether it is right (`stepmark.confirmation`); then it also tells whether
the solution is. Several verdicts of a critic on one solution share one vote. Critics are compared on the solutions
that all of them judged, so that none is measured on easier ones.

Wrong solutions are told apart by kind: as planted (`overfit`: a rule that fits this input only; `fudged`: a step bent
towards the answer; `slipped`: a false calculation), or, where nothing was planted, by whether the answer is right.

Shapes: as in `comparison`; K = 5: right ones passed and failed, wrong ones failed and passed, unreadable.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepmark.errors import InputError
from stepmark.verdicts import Word

from .bootstrap import Floats, ratio
from .comparison import Benchmark, Tally, compare

EVERY = "every solution"
WRONG_ANSWER = "wrong answer"
RIGHT_ANSWER = "right answer by a wrong step"


@dataclass(frozen=True, slots=True)
class CriticRow:
    """One verdict on one solution."""

    critic: str
    """Model and way of working, such as `m, judge` and `m, apply`."""
    solution: int
    problem: str
    word: Word
    is_right: bool | None
    """Whether the solution holds; None of an unreadable verdict on a solution of which nothing else tells."""
    flaw: str | None = None
    """Kind of a wrong solution: planted, or one of the two above; None of a right one."""


def verdict_accuracy(totals: Floats) -> Floats:
    """Returns the share of readable verdicts that are right."""
    return ratio(totals[..., 0] + totals[..., 2], totals[..., :4].sum(axis=-1))


def recall(totals: Floats) -> Floats:
    """Returns the share of wrong solutions that were failed."""
    return ratio(totals[..., 2], totals[..., 2] + totals[..., 3])


def false_alarms(totals: Floats) -> Floats:
    """Returns the share of right solutions that were failed.

    >>> false_alarms(np.array([3.0, 1.0, 5.0, 5.0, 0.0]))
    array(0.25)
    """
    return ratio(totals[..., 1], totals[..., 0] + totals[..., 1])


def unreadable(totals: Floats) -> Floats:
    """Returns the share of verdicts that could not be read; they are in no other share."""
    return ratio(totals[..., 4], totals.sum(axis=-1))


def evaluate_critics(
    rows: Iterable[CriticRow], *, on_common: bool = True, n_boot: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Measures critics side by side; returns the report of `comparison.compare`.

    Args:
        rows: Verdicts of any critics.
        on_common: Only solutions that every critic judged.
        n_boot: Bootstrap samples of the problems.
        seed: Of the bootstrap.

    Raises:
        InputError: Nothing is known of any verdict, or no solution was judged by every critic.
    """
    given = list(rows)
    truth: dict[int, bool] = {row.solution: row.is_right for row in given if row.is_right is not None}
    flaws: dict[int, str] = {row.solution: row.flaw for row in given if row.flaw is not None}
    votes: dict[str, dict[int, list[Word]]] = defaultdict(lambda: defaultdict(list))
    problem_of: dict[int, str] = {}
    unknown: Counter[str] = Counter()
    for row in given:
        if row.solution not in truth:
            unknown[row.critic] += 1
            continue
        votes[row.critic][row.solution].append(row.word)
        problem_of[row.solution] = row.problem
    if not votes:
        raise InputError(
            "it is known of no verdict whether it is right; import or make labels, then `stepmark verify`."
        )
    common = set.intersection(*(set(of_critic) for of_critic in votes.values()))
    if on_common and not common:
        sizes = ", ".join(f"{critic}: {len(found)}" for critic, found in votes.items())
        raise InputError(
            f"no solution was judged by every critic ({sizes}); measure each on its own: --each-on-its-own"
        )
    used = common if on_common else set(problem_of)
    kinds = [EVERY, *sorted({flaws.get(solution, WRONG_ANSWER) for solution in used if not truth[solution]})]
    groups: dict[str, int] = {}
    for solution in sorted(used):
        groups.setdefault(problem_of[solution], len(groups))
    tallies = {}
    for critic, of_critic in sorted(votes.items()):
        sums = np.zeros((len(groups), len(kinds), 5))
        n_kept = 0
        for solution in sorted(set(of_critic) & used):
            words = of_critic[solution]
            cells = [sums[groups[problem_of[solution]], 0]]
            if not truth[solution]:
                kind = kinds.index(flaws.get(solution, WRONG_ANSWER))
                cells.append(sums[groups[problem_of[solution]], kind])
            for word in words:
                for cell in cells:
                    cell[_column(word, truth[solution])] += 1 / len(words)
            n_kept += len(words)
        n_read = sum(map(len, of_critic.values())) + unknown[critic]
        dropped = Counter(
            {"nothing tells": unknown[critic], "not judged by every critic": n_read - unknown[critic] - n_kept}
        )
        tallies[critic] = Tally(sums, n_read, n_kept, dict(+dropped))
    benchmark = Benchmark(
        name="critic",
        title="Critics: whose verdicts are right",
        subsets=kinds,
        measures={
            "verdict_accuracy": verdict_accuracy,
            "recall": recall,
            "false_alarms": false_alarms,
            "unreadable": unreadable,
        },
        overall=None,
        notes=(
            f"Measured on {len(used)} solutions, {sum(truth[s] for s in used)} of them right"
            + (
                ", judged by every critic."
                if on_common
                else ": each critic on its own solutions, so compare with care."
            ),
            "Recall is the share of wrong solutions that were failed, also by kind; false alarms that of right "
            "ones that were failed. In the rows of one kind of wrong solution, accuracy is recall.",
            "Whether a solution holds is told by step labels, outcomes and variants (docs/generate.md); a true "
            "outcome is weak evidence: the answer may be right by a chain that does not hold.",
        ),
        settings={"on_common": on_common},
    )
    return compare(benchmark, tallies, n_boot=n_boot, seed=seed)


def _column(word: Word, is_right: bool) -> int:
    if word == "unreadable":
        return 4
    if is_right:
        return 0 if word == "pass" else 1
    return 2 if word == "fail" else 3
