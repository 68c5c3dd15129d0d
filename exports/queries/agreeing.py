"""How far those agree whose labels a set is made of, counted while its rows are read, for card and manifest."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from stepmark.agreement.alpha import krippendorff_alpha
from stepmark.agreement.kappa import gwet_ac, raw_agreement
from stepmark.agreement.tables import ordinal_weights


class AgreementTally:
    """Labels by unit (a step, a pair). Only how often each row of labels occurs is held, and few differ."""

    def __init__(self, categories: Sequence[Hashable], *, is_ordinal: bool) -> None:
        self._categories = tuple(categories)
        self._is_ordinal = is_ordinal
        self._times: Counter[tuple[Hashable, ...]] = Counter()

    def see(self, labels: Iterable[Hashable]) -> None:
        """Counts one unit; one that a single labeller judged tells nothing."""
        found = tuple(labels)
        if len(found) > 1:
            self._times[found] += 1

    def see_all(self, units: Iterable[tuple[Hashable, ...]]) -> None:
        """Counts units, each judged by two labellers or more."""
        self._times.update(units)

    @property
    def n_units(self) -> int:
        """Units with two labels or more."""
        return self._times.total()

    def measures(self) -> dict[str, float]:
        """Raw agreement, Krippendorff's alpha and Gwet's coefficient of units with two labels or more, where defined.

        >>> tally = AgreementTally((-1, 0, 1), is_ordinal=True)
        >>> for labels in ((1, 1), (1, 1), (-1, -1), (1, -1)):
        ...     tally.see(labels)
        >>> {name: round(value, 3) for name, value in tally.measures().items()}
        {'raw agreement': 0.75, 'alpha (ordinal)': 0.533, 'AC2': 0.551}
        """
        if not self._times:
            return {}
        patterns: Counter[tuple[int, ...]] = Counter()
        for labels, times in self._times.items():
            each = Counter(labels)
            patterns[tuple(each[category] for category in self._categories)] += times
        counts = np.repeat(list(patterns), list(patterns.values()), axis=0)
        ordinal = self._is_ordinal
        found = {
            "raw agreement": raw_agreement(counts),
            f"alpha ({'ordinal' if ordinal else 'nominal'})": krippendorff_alpha(
                counts, "ordinal" if ordinal else "nominal"
            ),
            "AC2" if ordinal else "AC1": gwet_ac(counts, ordinal_weights(len(self._categories)) if ordinal else None),
        }
        return {name: one.value for name, one in found.items() if one.value is not None}
