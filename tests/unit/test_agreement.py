"""Coefficients of agreement: published worked examples, the definitions written out, and what is undefined."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.agreement import (
    NO_ERROR,
    Coefficient,
    Level,
    cohen_kappa,
    count_labels,
    first_error_agreement,
    fleiss_kappa,
    gwet_ac,
    krippendorff_alpha,
    ordinal_weights,
    pair_tables,
    raw_agreement,
)
from stepmark.agreement.kappa import ac_of_tables
from stepmark.agreement.tables import Floats, Ints

VOTES = Path(__file__).parents[1] / "data" / "pandalm" / "votes.json"


def counts_of(matrix: str, n_categories: int) -> Ints:
    """Counts of a reliability matrix: a row for each labeller, a character for each unit, a dot where none is."""
    names = sorted(set(matrix) - {".", " "})
    cells = [(unit, names.index(said)) for row in matrix.split() for unit, said in enumerate(row) if said in names]
    unit, category = np.array(cells).T
    return count_labels(unit, category, n_categories)


def counts_of_table(table: Ints) -> Ints:
    """Counts of two labellers whose table is given."""
    single = np.eye(len(table), dtype=np.int64)
    cells = [left + right for left, right in itertools.product(single, single)]
    return np.repeat(cells, table.reshape(-1), axis=0)


# Published examples

TWO_BINARY = counts_of("0100000010 1110010000", 2)
"""Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section A; the next ones sections B, C and D."""
TWO_NOMINAL = counts_of("aabbdcccedda babbbcccedd" + "d", 5)
FOUR_OBSERVERS = counts_of("123321412... 1233224125.3 .3332342251. 12332441251.", 5)
FOUR_RATERS = counts_of("123321412... 1233224125.. .33323422513 12332441251.", 5)
"""Gwet (2014), Handbook of Inter-Rater Reliability, p. 120; `cac.raw4raters` of his R package irrCAC."""
ABSTRACTORS = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
"""The same, `cont3x3abstractors`: two reviewers of 100 files."""
DIAGNOSES = np.array([[40, 4, 4, 17], [6, 25, 2, 13], [4, 1, 21, 12], [15, 5, 9, 45]])
"""The same, `cont4x4diagnosis`: two ways to a diagnosis, 223 patients."""
PSYCHIATRISTS_ROWS = "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031"
PSYCHIATRISTS = np.array([[int(n) for n in row] for row in PSYCHIATRISTS_ROWS.split()])
"""The same, `distrib.6raters`, a part of Fleiss (1971): six psychiatrists' diagnoses of 15 patients."""


KAPPAS_OF_PANDALM = {(1, 2): "0.871", (1, 3): "0.871", (2, 3): "0.877"}


def as_printed(value: float | None, printed: str) -> bool:
    """Whether a value is the printed one, to the digits that are printed."""
    return value is not None and f"{value:.{len(printed.partition('.')[2])}f}" == printed


@pytest.mark.parametrize(
    ("counts", "level", "printed"),
    [
        (TWO_BINARY, "nominal", "0.095"),
        (TWO_NOMINAL, "nominal", "0.692"),
        (FOUR_OBSERVERS, "nominal", "0.743"),
        (FOUR_OBSERVERS, "ordinal", "0.815"),
        (FOUR_OBSERVERS, "interval", "0.849"),
        (FOUR_RATERS, "nominal", "0.74342"),
        (PSYCHIATRISTS, "nominal", "0.4204384"),
        (counts_of_table(ABSTRACTORS), "nominal", "0.7972585"),
    ],
)
def test_alpha_is_what_is_published(counts: Ints, level: Level, printed: str) -> None:
    assert as_printed(krippendorff_alpha(counts, level).value, printed)


@pytest.mark.parametrize(
    ("counts", "ac1", "ac2"),
    [
        (FOUR_RATERS, "0.77544", "0.899"),
        (PSYCHIATRISTS, "0.4448007", None),
        (counts_of_table(ABSTRACTORS), "0.8493305", "0.925"),
        (counts_of_table(DIAGNOSES), "0.456", "0.324"),
    ],
)
def test_ac1_and_ac2_are_what_is_published(counts: Ints, ac1: str, ac2: str | None) -> None:
    assert as_printed(gwet_ac(counts).value, ac1)
    assert ac2 is None or as_printed(gwet_ac(counts, ordinal_weights(counts.shape[1])).value, ac2)


def test_kappas_and_raw_agreement_are_what_is_published() -> None:
    assert as_printed(cohen_kappa(ABSTRACTORS).value, "0.7964094")
    assert as_printed(fleiss_kappa(PSYCHIATRISTS).value, "0.4139265")
    assert as_printed(fleiss_kappa(FOUR_RATERS).value, "0.76117")
    assert as_printed(raw_agreement(FOUR_RATERS).value, "0.8181818")
    assert as_printed(raw_agreement(PSYCHIATRISTS).value, "0.5511111")


def test_the_kappas_of_pandalms_annotators_are_what_its_rows_give() -> None:
    """On 761 of 999 pairs; the data's card gives .871, .871 and .877 for these, upstream .85, .88, .86 for all."""
    votes = np.array(json.loads(VOTES.read_text(encoding="utf-8")))
    said, times = votes[:, :3], votes[:, 3]
    assert times.sum() == 761
    kappas = {}
    for left, right in itertools.combinations(range(3), 2):
        table = np.zeros((3, 3), dtype=np.int64)
        np.add.at(table, (said[:, left], said[:, right]), times)
        kappas[left + 1, right + 1] = cohen_kappa(table).value
    assert all(as_printed(kappas[pair], kappa) for pair, kappa in KAPPAS_OF_PANDALM.items())
    counts = np.repeat((said[:, :, None] == np.arange(3)).sum(axis=1), times, axis=0)
    mean = np.mean([kappa for kappa in kappas.values() if kappa is not None])
    assert fleiss_kappa(counts).value == pytest.approx(mean, abs=1e-3)  # labellers with almost the same shares
    assert as_printed(raw_agreement(counts).value, "0.925")  # (675 unanimous + 86 two to one / 3) / 761


# The definitions, written out

CATEGORIES = 3
LABELS = st.lists(st.lists(st.integers(0, CATEGORIES - 1), min_size=1, max_size=4), min_size=1, max_size=8)
"""For each unit, the labels it got."""


def counted(units: Sequence[Sequence[int]]) -> Ints:
    unit = np.array([number for number, labels in enumerate(units) for _ in labels])
    return count_labels(unit, np.array([label for labels in units for label in labels]), CATEGORIES)


def alpha_by_definition(units: Sequence[Sequence[int]], level: Level) -> float | None:
    paired = [labels for labels in units if len(labels) > 1]
    pool = [label for labels in paired for label in labels]
    n = len(pool)

    def difference(left: int, right: int) -> float:
        if level == "nominal":
            return float(left != right)
        if level == "interval":
            return float((left - right) ** 2)
        low, high = sorted((left, right))
        between = sum(pool.count(category) for category in range(low, high + 1))
        return (between - (pool.count(low) + pool.count(high)) / 2) ** 2

    observed = sum(
        difference(left, right) / (len(labels) - 1)
        for labels in paired
        for left, right in itertools.permutations(labels, 2)
    )
    expected = sum(difference(left, right) for left, right in itertools.permutations(pool, 2))
    return None if expected == 0 else 1 - (observed / n) / (expected / (n * (n - 1)))


def weighted_agreement(units: Sequence[Sequence[int]], weights: Floats) -> float:
    each = [
        np.mean([weights[left, right] for left, right in itertools.permutations(labels, 2)])
        for labels in units
        if len(labels) > 1
    ]
    return float(np.mean(each))


def shares_of(units: Sequence[Sequence[int]]) -> list[float]:
    return [float(np.mean([labels.count(k) / len(labels) for labels in map(list, units)])) for k in range(CATEGORIES)]


@given(LABELS, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_its_definition(units: list[list[int]], level: Level) -> None:
    found = krippendorff_alpha(counted(units), level)
    expected = alpha_by_definition(units, level)
    assert (found.value is None) == (expected is None) == (found.because is not None)
    assert found.value == (expected if expected is None else pytest.approx(expected, abs=1e-9))


@given(LABELS)
def test_gwets_coefficients_and_fleiss_kappa_are_their_definitions(units: list[list[int]]) -> None:
    counts, shares = counted(units), shares_of(units)
    if not any(len(labels) > 1 for labels in units):
        nothing = Coefficient(None, 0, because="no unit has two labels")
        assert raw_agreement(counts) == gwet_ac(counts) == fleiss_kappa(counts) == nothing
        return
    raw = weighted_agreement(units, np.eye(CATEGORIES))
    assert raw_agreement(counts).value == pytest.approx(raw)
    for weights in (np.eye(CATEGORIES), ordinal_weights(CATEGORIES)):
        chance = weights.sum() / (CATEGORIES * (CATEGORIES - 1)) * sum(share * (1 - share) for share in shares)
        expected = (weighted_agreement(units, weights) - chance) / (1 - chance)
        assert gwet_ac(counts, weights).value == pytest.approx(expected)
    chance = sum(share**2 for share in shares)
    kappa = fleiss_kappa(counts).value
    assert kappa == (None if max(shares) == 1 else pytest.approx((raw - chance) / (1 - chance)))


PAIRED = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


@given(PAIRED)
def test_cohens_kappa_is_its_definition(pairs: list[tuple[int, int]]) -> None:
    table = np.zeros((3, 3), dtype=np.int64)
    for left, right in pairs:
        table[left, right] += 1
    observed = np.mean([left == right for left, right in pairs])
    chance = np.mean([left == right for (left, _), (_, right) in itertools.product(pairs, pairs)])
    found = cohen_kappa(table)
    if chance == 1:
        assert found.value is None
        assert found.because is not None
    else:
        assert found.value == pytest.approx((observed - chance) / (1 - chance))
    # Two labellers without gaps: Gwet's coefficient of the counts.
    weights = ordinal_weights(3)
    assert ac_of_tables(table[None], weights)[0] == pytest.approx(gwet_ac(counts_of_table(table), weights).value)


@given(st.lists(st.dictionaries(st.integers(0, 3), st.integers(0, 1), max_size=4), min_size=1, max_size=6))
def test_pair_tables_hold_what_every_two_labellers_said(units: list[dict[int, int]]) -> None:
    expected = np.zeros((4, 4, 2, 2), dtype=np.int64)
    for labels in units:
        for one, other in itertools.permutations(labels, 2):
            expected[one, other, labels[one], labels[other]] += 1
    long = [(unit, labeller, label) for unit, said in enumerate(units) for labeller, label in sorted(said.items())]
    unit, labeller, label = np.array(long, dtype=np.int64).reshape(-1, 3).T
    found = pair_tables(unit, labeller, label, n_labellers=4, n_categories=2)
    assert found.tolist() == expected.tolist()


@given(LABELS, st.permutations(range(CATEGORIES)))
def test_nominal_figures_do_not_care_what_categories_are_called(units: list[list[int]], names: list[int]) -> None:
    counts, renamed = counted(units), counted([[names[label] for label in labels] for labels in units])
    for figure in (raw_agreement, fleiss_kappa, gwet_ac, lambda counts: krippendorff_alpha(counts, "nominal")):
        assert figure(counts).value == pytest.approx(figure(renamed).value)


# What is undefined, and prevalence


def test_alpha_and_kappa_of_unanimous_labels_are_undefined_and_say_why() -> None:
    counts = np.array([[0, 0, 3], [0, 0, 2], [1, 0, 0]])  # the unit with one label shows nothing of agreement
    reason = "all labels are alike, so that no disagreement can be expected"
    assert krippendorff_alpha(counts, resamples=100) == Coefficient(None, 2, because=reason)
    assert fleiss_kappa(counts[:2]).because == "all labels are alike, so that chance would agree as well"
    assert raw_agreement(counts).value == 1
    assert gwet_ac(counts[:2], ordinal_weights(3)).value == 1


def test_alpha_falls_with_prevalence_at_the_same_raw_agreement_and_ac_does_not() -> None:
    """Ninety of a hundred pairs agree; half of these on +1, or all but two.

    Of 200 labels 20 differ from the other one: D_o = .1; D_e = 2 * 100 * 100 / (200 * 199), or 2 * 14 * 186 instead.
    AC2: T = 17 / 3 and p_e = T / 6 * 2 * .5 * .5, or T / 6 * 2 * .07 * .93; p_a = .9.
    """
    even = counts_of_table(np.array([[45, 0, 5], [0, 0, 0], [5, 0, 45]]))
    skewed = counts_of_table(np.array([[2, 0, 5], [0, 0, 0], [5, 0, 88]]))
    weights = ordinal_weights(3)
    assert raw_agreement(even).value == raw_agreement(skewed).value == 0.9
    assert as_printed(krippendorff_alpha(even).value, "0.801")
    assert as_printed(krippendorff_alpha(skewed).value, "0.236")
    assert as_printed(gwet_ac(even, weights).value, "0.811")
    assert as_printed(gwet_ac(skewed, weights).value, "0.886")


# Intervals


def test_an_interval_holds_for_its_seed_and_has_a_reason_where_it_cannot_be_had() -> None:
    counts = np.array([[2, 0, 0]] * 5 + [[0, 0, 3]] * 20 + [[1, 0, 1]] * 4)
    one, again = (krippendorff_alpha(counts, resamples=200, seed=1) for _ in range(2))
    assert one == again != krippendorff_alpha(counts, resamples=200, seed=2)
    assert one.low is not None
    assert one.high is not None
    assert one.value is not None
    assert one.low < one.value < one.high
    rare = krippendorff_alpha(np.array([[0, 0, 2]] * 20 + [[1, 0, 1]]), resamples=200)
    assert rare.value is not None
    assert (rare.low, rare.high) == (None, None)
    assert rare.because is not None
    assert rare.because.startswith("no interval: in 3")  # (20 / 21) ** 21 = .36 of the draws are unanimous


@pytest.mark.parametrize(
    ("is_grouped", "coverage"), [(True, (0.88, 1.0)), (False, (0.0, 0.80))], ids=["by solution", "by step"]
)
def test_intervals_cover_the_true_value_only_where_dependent_units_are_drawn_together(
    is_grouped: bool, coverage: tuple[float, float]
) -> None:
    """Solutions of ten steps, on some of which both labellers guess throughout: 95 % intervals of raw agreement.

    Labels are +1 or -1. On a careful solution both tell the truth, on another one they agree by chance, half the
    time: the true agreement is 1 - .3 / 2.
    """
    rng = np.random.default_rng(7)
    groups, hits = np.repeat(np.arange(60), 10), 0
    for seed in range(150):
        is_careless = (rng.random(60) < 0.3)[groups]
        first = rng.integers(0, 2, 600)
        second = np.where(is_careless, rng.integers(0, 2, 600), first)
        counts = np.eye(2, dtype=np.int64)[first] + np.eye(2, dtype=np.int64)[second]
        found = raw_agreement(counts, groups=groups if is_grouped else None, resamples=200, seed=seed)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.85 <= found.high
    assert coverage[0] <= hits / 150 <= coverage[1]


# First errors


def test_first_errors_are_compared_by_solution() -> None:
    """0: all three alike. 1: 2, 3 and none: of three pairs one is near. 2: no error is not near step 0. 3: alone."""
    answers = [(0, 4), (0, 4), (0, 4), (1, 2), (1, 3), (1, NO_ERROR), (2, 0), (2, NO_ERROR), (3, 1)]
    solution, position = np.array(answers).T
    found = first_error_agreement(solution, position, resamples=50)
    assert (found.n_solutions, found.n_single) == (3, 1)
    assert found.exact.value == pytest.approx((1 + 0 + 0) / 3)
    assert found.within_one.value == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert found.within_one.low is not None
    # Of 8 paired positions 3 are step 4 and 2 none: D_o = (0 + 6 / 2 + 2 / 1) / 8, D_e = (64 - 9 - 4 - 3) / 56.
    assert found.alpha.value == pytest.approx(1 - (5 / 8) / (48 / 56))


def test_no_solution_with_two_answers_gives_no_figure() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    for solution, position in ((nothing, nothing), (np.array([0, 1]), np.array([3, NO_ERROR]))):
        found = first_error_agreement(solution, position)
        assert found.n_solutions == 0
        assert {found.exact, found.within_one, found.alpha} == {
            Coefficient(None, 0, because="no unit has two labels")
        }
