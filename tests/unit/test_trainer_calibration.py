"""Calibration: known parameters are recovered, measures agree with values by hand, fits are saved and applied."""

import json
from pathlib import Path

import numpy as np
import pytest

from stepmark.errors import InputError, SettingsError
from stepmark.flows.calibration import calibrate, rows_of_items, rows_of_set
from stepmark.flows.items import divide
from tests.audit_scorers import Tasteful, sums
from tests.tiny_reward_model import write_split
from trainer.calibration import (
    CALIBRATION,
    Fit,
    calibrated,
    fit_calibration,
    logit,
    read_calibration,
    sigmoid,
    write_calibration,
)
from trainer.evaluate.calibration import Judged, evaluate_calibration, fit, judge_items, judge_pairs, pairs_of


def simulated(slope: float, intercept: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a model, and targets whose chance is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, n)
    return sigmoid(x), (rng.random(n) < sigmoid(slope * x + intercept)).astype(float)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1.0), (2.0, 0.7), (1.0, 0.0)])
def test_platt_recovers_the_parameters_that_made_the_data(slope: float, intercept: float) -> None:
    scores, targets = simulated(slope, intercept, 40_000, 0)
    found = fit_calibration(logit(scores), targets, "platt")
    assert found == (pytest.approx(slope, abs=0.06), pytest.approx(intercept, abs=0.06))


def test_a_temperature_is_recovered_from_data_without_a_shift() -> None:
    scores, targets = simulated(0.4, 0.0, 40_000, 1)
    slope, intercept = fit_calibration(logit(scores), targets, "temperature")
    assert (1 / slope, intercept) == (pytest.approx(2.5, abs=0.1), 0.0)


def test_the_fit_has_the_least_loss_around_it() -> None:
    scores, targets = simulated(0.7, 0.3, 500, 2)
    slope, intercept = fit_calibration(logit(scores), targets, "platt")
    n_right = targets.sum()
    smooth = np.where(targets > 0, (n_right + 1) / (n_right + 2), 1 / (len(targets) - n_right + 2))

    def loss(a: float, b: float) -> float:
        p = sigmoid(a * logit(scores) + b)
        return float(-(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).sum())

    best = loss(slope, intercept)
    assert all(loss(slope + da, intercept + db) > best for da in (-0.01, 0.01) for db in (-0.01, 0.01))


def test_scores_that_separate_without_a_mistake_have_a_finite_fit() -> None:
    slope, intercept = fit_calibration([-3.0, -2.0, 2.0, 3.0], [0, 0, 1, 1], "platt")
    assert 0 < slope < 5
    assert intercept == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        ([1.0, 2.0], [1, 1], "needs right and wrong ones; the rows have 2 of one kind"),
        ([], [], "have 0 of one kind"),
        ([1.0, 1.0], [0, 1], "needs different scores"),
        ([2.0, 1.0, 0.5, -1.0], [0, 0, 1, 1], "higher scores do not go with right ones"),
    ],
)
def test_rows_that_allow_no_fit_are_refused(logits: list[float], targets: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_calibration(logits, targets, "platt")


def judged(scores: list[float], targets: list[float]) -> Judged:
    return Judged("solutions", [f"p{i}" for i in range(len(scores))], np.array(scores), np.array(targets), {})


def test_ece_brier_and_nll_are_those_worked_out_by_hand() -> None:
    """Bins of 1/15: .9 and .9 share one (mean .9, half right: gap .4), .1 is alone (gap .1): (2 * .4 + .1) / 3 = .3.

    Brier (.01 + .81 + .01) / 3; NLL -(ln .9 + ln .1 + ln .9) / 3.
    """
    report = evaluate_calibration(
        {"m": judged([0.9, 0.9, 0.1], [1, 0, 0])}, {"m": {}}, fitted_on="a", measured_on="b"
    )
    found = {name: one["value"] for name, one in report["models"]["m"]["raw"].items()}
    assert found == {
        "ece": pytest.approx(0.3),
        "brier": pytest.approx(0.83 / 3),
        "nll": pytest.approx(-(2 * np.log(0.9) + np.log(0.1)) / 3),
    }
    assert [(b["score"], b["right"], b["n"]) for b in report["reliability"]["m"]["raw"]] == [
        (pytest.approx(0.1), 0.0, 1), (pytest.approx(0.9), 0.5, 2),
    ]  # fmt: skip


def test_a_fit_on_some_problems_mends_the_others() -> None:
    scores, targets = simulated(0.3, 0.0, 8000, 3)
    half = 4000
    fitted = judged(scores[:half].tolist(), targets[:half].tolist())
    tested = judged(scores[half:].tolist(), targets[half:].tolist())
    fits = {"m": {method: fit(fitted, method) for method in ("temperature", "platt")}}
    report = evaluate_calibration({"m": tested}, fits, fitted_on="a", measured_on="b", n_boot=200)["models"]["m"]
    assert report["raw"]["ece"]["value"] > 0.15
    for method in ("temperature", "platt"):
        assert report[method]["ece"]["value"] < 0.03
        low, high = report[method]["ece"]["interval"]
        assert low < report[method]["ece"]["value"] < high  # resampling alone would drive it up, past the figure
        assert report[method]["nll"]["interval"][1] < report["raw"]["nll"]["interval"][0]


def test_pairs_are_calibrated_without_a_side(tmp_path: Path) -> None:
    """Rewards four times too large: the slope is 1/4, and there is no intercept to prefer a side."""
    rng = np.random.default_rng(4)
    leads = rng.normal(0, 1, 6000)
    won = rng.random(6000) < sigmoid(leads)
    rewards = 4 * np.where(won, leads, -leads)
    pairs = Judged("pairs", [str(i) for i in range(6000)], rewards, np.ones(6000), {})
    found = fit(pairs, "platt")
    assert (found.method, found.intercept) == ("temperature", 0.0)
    assert found.slope == pytest.approx(0.25, abs=0.02)
    write_calibration(tmp_path, [found], fitted_on="v")
    assert calibrated(read_calibration(tmp_path), "bt", 8.0, (), how="product")[0] == pytest.approx(2.0, abs=0.2)


def test_models_are_judged_on_labelled_steps_known_outcomes_or_pairs() -> None:
    items = sums(4, n_solutions=4)
    steps = judge_items(Tasteful(kind="prm"), items, "steps")
    assert len(steps.scores) == sum(len(item.labels) for item in items)
    assert steps.targets.min() == 0
    assert len(judge_items(Tasteful(), items, "solutions").scores) == 16
    pairs = pairs_of(items)
    sides = [[item.is_correct for item in items if item.problem == f"problem-{n}"] for n in range(4)]
    n_pairs = sum(min(one.count(True), one.count(False)) for one in sides)
    assert len(judge_pairs(Tasteful(kind="bt"), pairs).scores) == len(pairs) == n_pairs
    with pytest.raises(SettingsError, match="a model of kind 'orm' has no calibration of steps"):
        judge_items(Tasteful(), items, "steps")


def test_calibrating_fits_on_one_half_measures_on_the_other_and_saves(tmp_path: Path) -> None:
    fitted, tested = divide(sums(60), 0.5, 0)
    assert not {item.problem for item in fitted} & {item.problem for item in tested}
    report = calibrate(
        {"m": Tasteful(kind="prm")},
        fit_on=rows_of_items(fitted, "some"),
        test_on=rows_of_items(tested, "others"),
        save={"m": tmp_path},
        n_boot=50,
    )
    saved = json.loads((tmp_path / CALIBRATION).read_text())["steps"]
    assert saved["slope"] == report["fits"]["m"]["platt"]["slope"]
    assert (saved["method"], saved["fitted_on"]) == ("platt", "some")
    assert saved["logit_sigma"] == pytest.approx(1 / saved["slope"])
    with pytest.raises(InputError, match="problems are in some and in all"):
        calibrate({"m": Tasteful()}, fit_on=rows_of_items(fitted, "some"), test_on=rows_of_items(sums(60), "all"))


def test_saved_fits_are_applied_by_what_the_model_scores(tmp_path: Path) -> None:
    steps = Fit("steps", "platt", 1.0, 1.0, 10, 5)
    whole = Fit("solutions", "temperature", 0.5, 0.0, 10, 5, "product")
    write_calibration(tmp_path, [steps], fitted_on="v")
    write_calibration(tmp_path, [whole], fitted_on="v")
    fits = read_calibration(tmp_path)
    assert fits == {"steps": steps, "solutions": whole}
    score, values = calibrated(fits, "prm", 0.8, (0.5,), how="product")
    assert score == pytest.approx(2 / 3)
    assert values == (pytest.approx(1 / (1 + np.exp(-1))),)
    assert np.isnan(calibrated(fits, "prm", 0.8, (0.5,), how="min")[0])
    assert calibrated(fits, "orm", 0.8, (), how="product")[0] == pytest.approx(2 / 3)
    with pytest.raises(SettingsError, match="the calibration is of steps, solutions, not of pairs"):
        calibrated(fits, "bt", 0.8, (), how="product")
    with pytest.raises(SettingsError, match="scored by product, not by min"):
        calibrated({"solutions": whole}, "prm", 0.8, (0.5,), how="min")
    with pytest.raises(SettingsError, match=r"has no calibration\.json; fit one"):
        read_calibration(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["prm", "orm", "bt"])
def test_splits_of_an_exported_set_serve_fit_and_measure(tmp_path: Path, kind: str) -> None:
    """Each model reads its own config: PRM rows with their labels, ORM rows, preferences."""
    for seed, split in enumerate(("validation", "test")):
        items = sums(30, n_solutions=2, seed=seed)
        rows = [(item.prompt[0][1], item) for item in items]
        prm = [
            {
                "prompt": asked,
                "completions": item.segments[: len(item.labels)],
                "labels": [bool(x) for x in item.labels],
            }
            for asked, item in rows
        ]
        orm = [{"prompt": asked, "completion": item.text, "label": item.is_correct} for asked, item in rows]
        pairs = [
            {"prompt": pair[1][0][1], "chosen": "\n\n".join(pair[2]), "rejected": "\n\n".join(pair[3])}
            for pair in pairs_of(items)
        ]
        for config, written in (("prm", prm), ("orm", orm), ("preference", pairs)):
            write_split(tmp_path, config, written, split=split)
    fit_on, test_on = rows_of_set(tmp_path, "validation"), rows_of_set(tmp_path, "test")
    report = calibrate({"m": Tasteful(kind=kind)}, fit_on=fit_on, test_on=test_on, n_boot=20)
    assert report["settings"]["fitted_on"] == f"{tmp_path.name}/validation"
    read = report["counts"]["m"]["read"]
    expected = {
        "prm": sum(len(item.labels) for item in sums(30, n_solutions=2, seed=1)),
        "orm": 60,
        "bt": len(pairs_of(sums(30, n_solutions=2, seed=1))),
    }
    assert read == expected[kind]
