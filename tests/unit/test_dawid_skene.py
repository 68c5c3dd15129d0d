"""Dawid and Skene's model: the paper's data, known parameters recovered, and what the data cannot tell."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepmark.dawid_skene import DawidSkene, dawid_skene
from stepmark.errors import InputError

Array = np.ndarray

PATIENTS = """
    1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212
    1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111
    1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111
    2322222 1211111 2222222
"""
"""Dawid & Skene (1979), table 1: what observer 1 said of each patient three times, and observers 2 to 5 once each."""


def test_the_fit_of_the_papers_data_is_the_papers() -> None:
    rows = [
        (patient, max(place - 2, 0), int(said) - 1)
        for patient, all_said in enumerate(PATIENTS.split())
        for place, said in enumerate(all_said)
    ]
    found = dawid_skene(*np.array(rows).T, 4, smoothing=0)
    assert found.is_converged
    assert found.prior.round(2).tolist() == [0.40, 0.42, 0.11, 0.07]
    assert found.confusions[0].round(2).tolist() == [
        [0.89, 0.11, 0.00, 0.00],
        [0.07, 0.88, 0.05, 0.00],
        [0.00, 0.34, 0.66, 0.00],
        [0.00, 0.00, 0.56, 0.44],
    ]


def simulated(
    *, n_items: int, accuracy: list[float], n_each: int, seed: int, prior: tuple[float, ...] = (0.12, 0.15, 0.73)
) -> tuple[Array, Array, Array, Array, Array]:
    """Items, labellers and labels, the true categories, and the true confusion matrices.

    A wrong label is twice as often the next category (in a circle) as the one before.
    """
    rng = np.random.default_rng(seed)
    k = len(prior)
    right = np.array(accuracy)[:, None, None]
    slips = (2 * np.roll(np.eye(k), 1, axis=1) + np.roll(np.eye(k), -1, axis=1)) / 3
    confusions = right * np.eye(k) + (1 - right) * slips
    truth = rng.choice(k, n_items, p=prior)
    labeller = np.argsort(rng.random((n_items, len(accuracy))), axis=1)[:, :n_each].reshape(-1)
    item = np.repeat(np.arange(n_items), n_each)
    cumulated = confusions[labeller, truth[item]].cumsum(axis=1)
    category = (rng.random(len(item))[:, None] > cumulated).sum(axis=1)
    return item, labeller, category, truth, confusions


@pytest.fixture(scope="module")
def fitted() -> tuple[DawidSkene, tuple[Array, Array, Array, Array, Array]]:
    """Eight labellers of very different skill, three for each of 20,000 items."""
    data = simulated(n_items=20_000, accuracy=[0.95, 0.9, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5], n_each=3, seed=3)
    return dawid_skene(*data[:3], 3), data


def test_it_recovers_prior_and_confusions(fitted: tuple[DawidSkene, tuple[Array, ...]]) -> None:
    found, (_, _, _, _, confusions) = fitted
    assert found.is_converged
    assert np.abs(found.prior - [0.12, 0.15, 0.73]).max() < 0.01
    assert np.abs(found.confusions - confusions).max() < 0.05
    assert np.allclose(found.confusions.sum(axis=2), 1)


def test_its_posteriors_are_calibrated_and_beat_the_majority(fitted: tuple[DawidSkene, tuple[Array, ...]]) -> None:
    found, (item, _, category, truth, _) = fitted
    assert np.allclose(found.posteriors.sum(axis=1), 1)
    guess, sure = found.posteriors.argmax(axis=1), found.posteriors.max(axis=1)
    is_right = guess == truth
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1.01)):
        inside = (sure >= low) & (sure < high)
        assert inside.sum() > 300
        assert abs(is_right[inside].mean() - sure[inside].mean()) < 0.04
    votes = np.zeros((len(truth), 3))
    np.add.at(votes, (item, category), 1)
    ties_broken = votes + np.random.default_rng(0).random(votes.shape) / 10
    assert is_right.mean() > (ties_broken.argmax(axis=1) == truth).mean() + 0.03


def by_loops(rows: list[tuple[int, int, int]], k: int, rounds: int) -> list[list[float]]:
    """The paper's equations 3.1, 2.3, 2.4 and 2.5, one number at a time; every item has a label."""
    items, labellers = sorted({i for i, _, _ in rows}), sorted({a for _, a, _ in rows})
    said = {i: [label for item, _, label in rows if item == i] for i in items}
    posterior = {i: [said[i].count(j) / len(said[i]) for j in range(k)] for i in items}
    for _ in range(rounds):
        prior = [sum(posterior[i][j] for i in items) / len(items) for j in range(k)]
        rates = {}
        for a in labellers:
            for j in range(k):
                total = sum(posterior[i][j] for i, who, _ in rows if who == a)
                for label in range(k):
                    given_ = sum(posterior[i][j] for i, who, what in rows if who == a and what == label)
                    rates[a, j, label] = given_ / total if total else 1 / k
        for i in items:
            joint = list(prior)
            for j in range(k):
                for item, a, label in rows:
                    joint[j] *= rates[a, j, label] if item == i else 1
            posterior[i] = [one / sum(joint) for one in joint]
    return [posterior[i] for i in items]


ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=4), min_size=1, max_size=8
).map(lambda items: [(item, *label) for item, labels in enumerate(items) for label in labels])


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_it_is_the_papers_equations(rows: list[tuple[int, int, int]], rounds: int) -> None:
    found = dawid_skene(*np.array(rows).T, 3, smoothing=0, tolerance=1e-300, max_rounds=rounds)
    expected = by_loops(rows, 3, found.n_rounds)
    assert np.allclose(found.posteriors, expected, atol=1e-6)


@settings(deadline=None)
@given(ROWS, st.sampled_from([0.0, 0.01, 1.0, 10.0]))
def test_the_likelihood_never_falls(rows: list[tuple[int, int, int]], smoothing: float) -> None:
    found = dawid_skene(*np.array(rows).T, 3, smoothing=smoothing, max_rounds=50)
    steps = np.diff(found.log_likelihoods)
    assert (steps > -1e-9 * len(rows)).all()
    assert np.allclose(found.posteriors.sum(axis=1), 1)


def test_a_fit_that_has_not_converged_says_so() -> None:
    data = simulated(n_items=300, accuracy=[0.9, 0.7, 0.6, 0.5], n_each=2, seed=1)
    cut = dawid_skene(*data[:3], 3, max_rounds=2)
    assert (cut.is_converged, cut.n_rounds) == (False, 2)
    whole = dawid_skene(*data[:3], 3)
    assert whole.is_converged
    assert whole.log_likelihoods[:2] == cut.log_likelihoods
    assert whole.log_likelihoods[-1] > cut.log_likelihoods[-1]


def test_without_a_second_labeller_labels_stay_what_they_are() -> None:
    rng = np.random.default_rng(0)
    category = rng.choice(3, 200, p=[0.1, 0.2, 0.7])
    found = dawid_skene(np.arange(200), rng.integers(0, 4, 200), category, 3, smoothing=0)
    assert found.is_converged
    assert found.posteriors.tolist() == np.eye(3)[category].tolist()
    assert found.confusions[0].tolist() == np.eye(3).tolist()


def test_unanimous_labels_are_believed_and_unused_categories_are_not() -> None:
    found = dawid_skene(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([2, 2, 2, 2]), 3)
    assert found.posteriors.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert found.prior.tolist() == [0, 0, 1]
    # Two labels and one imagined one, .9 of it right; nothing but imagined ones where another category is true.
    assert found.confusions[0].round(3).tolist() == [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.017, 0.017, 0.967]]


def test_one_label_makes_no_labeller_infallible() -> None:
    item, labeller, category, _, _ = simulated(n_items=2000, accuracy=[0.9, 0.9, 0.9], n_each=2, seed=5)
    guest = (np.append(item, 0), np.append(labeller, 3), np.append(category, (category[0] + 1) % 3))
    found = dawid_skene(*guest, 3)
    assert found.confusions[3].diagonal().max() < 0.96
    assert np.abs(found.posteriors[1:] - dawid_skene(item, labeller, category, 3).posteriors[1:]).max() < 0.01


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there is no label"),
        ([(0, 0, 3)], "categories run from 0 to 2; labels from 3 to 3"),
        ([(0, 0, -1)], "labels from -1"),
        ([(-1, 0, 1)], "counted from 0"),
        ([(0, 0, 1), (2, 0, 1)], "1 of 3 items have no label, the first of them item 1"),
    ],
)
def test_labels_that_cannot_be_are_refused(rows: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dawid_skene(*np.array(rows, dtype=np.int64).reshape(-1, 3).T, 3)


@pytest.mark.parametrize("setting", [{"smoothing": -1}, {"tolerance": 0}, {"max_rounds": 0}])
def test_settings_that_cannot_be_are_refused(setting: dict[str, float]) -> None:
    one = np.zeros(1, dtype=np.int64)
    with pytest.raises(InputError, match="at least 0, above 0, and at least 1"):
        dawid_skene(one, one, one, 3, **setting)  # type: ignore[arg-type]


def test_items_that_stand_for_many_are_as_good_as_the_many() -> None:
    patterns = [([0, 1], [1, 1]), ([0, 1], [1, 0]), ([1, 2], [0, 0]), ([0, 2], [1, 2])]
    times = [40, 3, 20, 2]

    def fit(chosen: list[int], **more: Any) -> DawidSkene:
        item = np.repeat(np.arange(len(chosen)), 2)
        who, category = (np.concatenate([patterns[one][part] for one in chosen]) for part in (0, 1))
        return dawid_skene(item, who, category, 3, **more)

    each = fit([one for one, n in enumerate(times) for _ in range(n)])
    together = fit([0, 1, 2, 3], times=np.array(times))
    first = np.cumsum([0, *times[:-1]])
    assert np.allclose(together.posteriors, each.posteriors[first])
    assert np.allclose(together.log_likelihoods, each.log_likelihoods)
