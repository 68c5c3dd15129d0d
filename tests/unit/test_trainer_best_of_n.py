"""Best-of-N against values worked out by hand, against enumeration, and on problems that must be refused."""

import gzip
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepmark.errors import InputError
from trainer.evaluate.best_of_n import best_of_n, paired_difference, read_problems
from trainer.evaluate.measures import auc, within_problem_auc
from trainer.evaluate.report import write_best_of_n


def solution(answer: str | None, right: bool | None, text: str | None = None, **scores: Any) -> dict[str, Any]:
    return {"text": text or f"so it is {answer}", "answer": answer, "is_correct": right, "scores": scores}


ONE_PROBLEM = {
    "solutions": [
        solution("4", True, "2 + 2 = 4", prm=0.6, orm=0.9, bt=-1.0),
        solution("4", True, "2 + 2 = 4", prm=0.6, orm=0.2, bt=-1.0),
        solution("5", False, "2 + 2 = 5", prm=0.9, orm=0.5, bt=3.0),
        solution("6", False, "2 + 2 = 6", prm=0.1, orm=0.1, bt=-2.0),
    ]
}


def means(report: dict[str, Any], n: int) -> dict[str, float]:
    return {method: cell["mean"] for method, cell in report["best_of_n"][str(n)].items()}


def test_all_samples_of_one_problem_give_the_values_worked_out_by_hand() -> None:
    """Prm and bt pick the 5 (0.9, 3.0), orm the first 4 (0.9); answer 4 has two votes, 1.2 of prm, 1.1 of orm."""
    report = best_of_n([ONE_PROBLEM], ns=[4], n_trials=50)
    assert means(report, 4) == pytest.approx(
        {
            "pass1": 0.5,
            "majority": 1.0,
            "orm": 1.0,
            "orm_vote": 1.0,
            "prm": 0.0,
            "prm_vote": 1.0,
            "bt": 0.0,
            "chance": 1 / 3,
            "oracle": 1.0,
        }
    )
    assert all(cell["std"] is None for cell in report["best_of_n"]["4"].values())
    assert report["counts"] == {
        "problems": 1,
        "samples": 4,
        "samples_without_answer": 0,
        "largest_n": 4,
        "problems_with_fewer_samples": 0,
        "mean_unique_texts": 3.0,
    }


def test_random_subsets_agree_with_the_enumeration_of_all_orders() -> None:
    """Every order of six samples (one without an answer) in the plain way of PRM800K's eval.py, ties to the first."""
    rng = np.random.default_rng(5)
    answers, right = ["a", "a", "b", None, "c", "b"], [True, True, False, None, False, False]
    samples = [
        solution(a, r, f"text {i % 4}", prm=float(p), orm=0.5, bt=float(p))
        for i, (a, r, p) in enumerate(zip(answers, right, rng.random(6), strict=True))
    ]
    samples[1]["text"] = samples[0]["text"]
    for n in (2, 3, 5):
        expected = dict.fromkeys(("majority", "prm", "orm", "prm_vote", "chance", "oracle"), 0.0)
        orders = list(itertools.permutations(samples))
        for order in orders:
            present = [s for s in order[:n] if s["answer"] is not None]
            if not present:
                continue
            counts: dict[str, float] = {}
            weights: dict[str, float] = {}
            for s in present:
                counts[s["answer"]] = counts.get(s["answer"], 0) + 1
                weights[s["answer"]] = weights.get(s["answer"], 0) + s["scores"]["prm"]
            unique = {s["text"]: s["is_correct"] for s in present}
            expected["majority"] += max(counts, key=counts.__getitem__) == "a"
            expected["prm_vote"] += max(weights, key=weights.__getitem__) == "a"
            expected["prm"] += max(present, key=lambda s: s["scores"]["prm"])["is_correct"]
            expected["orm"] += max(present, key=lambda s: s["scores"]["orm"])["is_correct"]
            expected["chance"] += sum(unique.values()) / len(unique)
            expected["oracle"] += any(s["is_correct"] for s in present)
        report = best_of_n([{"solutions": samples}], ns=[n], n_trials=20_000, n_boot=10)
        found = means(report, n)
        for method, total in expected.items():
            # four standard errors of 20,000 coin flips
            assert found[method] == pytest.approx(total / len(orders), abs=0.0142), (n, method)


def test_one_sample_is_chosen_by_every_method_alike() -> None:
    found = means(best_of_n([ONE_PROBLEM], ns=[1], n_trials=400), 1)
    chosen = {found[m] for m in found if m != "pass1"}
    assert len(chosen) == 1
    assert chosen.pop() == pytest.approx(0.5, abs=0.1)


def test_a_problem_without_any_answer_is_wrong_and_still_counts() -> None:
    silent = {"solutions": [solution(None, None, prm=None), solution(None, None, prm=None)]}
    sure = {"solutions": [solution("4", True, prm=0.5), solution("4", True, prm=0.5)]}
    found = means(best_of_n([silent, sure], ns=[2], n_trials=20), 2)
    assert found == {m: 0.5 for m in ("pass1", "majority", "prm", "prm_vote", "chance", "oracle")}


def test_a_problem_with_fewer_samples_is_filled_up_with_missing_ones() -> None:
    """One sample among two slots: at N = 1 half of the subsets are empty."""
    short = {"solutions": [solution("4", True, prm=0.5)]}
    full = {"solutions": [solution("4", True, prm=0.5), solution("4", True, prm=0.5)]}
    report = best_of_n([short, full], ns=[1, 2], n_trials=4000)
    assert report["best_of_n"]["1"]["oracle"]["mean"] == pytest.approx(0.75, abs=0.02)
    assert report["best_of_n"]["2"]["oracle"]["mean"] == 1.0
    assert report["counts"]["problems_with_fewer_samples"] == 1


def test_votes_with_zero_weight_still_fall_on_an_answer_of_the_subset() -> None:
    problem = {"solutions": [solution("4", True, prm=0.0, orm=0.0), solution("4", True, "other", prm=0.0, orm=0.0)]}
    assert means(best_of_n([problem], ns=[1, 2], n_trials=20), 1)["prm_vote"] == 1.0


def test_several_seeds_of_a_model_give_a_mean_and_a_deviation_over_them() -> None:
    problem = {
        "solutions": [solution("4", True, prm=[0.9, 0.1]), solution("5", False, prm=[0.2, 0.8])],
    }
    cell = best_of_n([problem], ns=[2], n_trials=10)["best_of_n"]["2"]
    assert cell["prm"] == {"mean": 0.5, "std": 0.5, "std_trials": 0.0}
    assert cell["majority"]["std"] is None


def test_differences_are_paired_by_problem() -> None:
    """PRM solves what ORM solves plus one of ten problems more: the interval is that of a share of 1 in 10."""
    problems = []
    for i in range(10):
        good = 0.9 if i < 5 else 0.1
        problems.append(
            {
                "solutions": [
                    solution("4", True, prm=0.9 if i < 6 else 0.1, orm=good),
                    solution("5", False, prm=0.5, orm=0.5),
                ]
            }
        )
    report = best_of_n(problems, ns=[2], n_trials=5)
    difference = report["differences"]["2"]["prm-orm"]
    assert difference["mean"] == pytest.approx(0.1)
    assert difference["interval"][0] == 0.0
    assert difference["interval"][1] == pytest.approx(0.3)
    assert set(report["differences"]["2"]) >= {"prm-orm", "orm-majority", "prm_vote-orm_vote"}


def test_the_bootstrap_interval_of_a_mean_has_the_normal_width() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.3, 1.0, 400)
    resamples = rng.integers(0, 400, (2000, 400))
    found = paired_difference(a, np.zeros(400), resamples)
    half = 1.96 * a.std() / math.sqrt(400)
    assert found["interval"] == pytest.approx([a.mean() - half, a.mean() + half], abs=0.012)


def test_auc_is_reported_within_problems_pooled_and_by_step() -> None:
    """Scores that follow the problem and not the solution: pooled 3 of 4 pairs half or fully won, within none."""
    problems = []
    for level, right_share in ((0.9, 3), (0.1, 1)):
        solutions = [solution(str(i), i < right_share, prm=level) for i in range(4)]
        solutions[0]["steps"] = [
            {"is_correct": True, "scores": {"prm": 0.8}},
            {"is_correct": False, "scores": {"prm": 0.3}},
        ]
        problems.append({"solutions": solutions})
    found = best_of_n(problems, ns=[4], n_trials=5)["auc"]["prm"]
    assert found == {"within_problem": 0.5, "n_problems_with_both": 2, "pooled": 0.75, "step": 1.0}


def test_auc_counts_ties_half_and_is_undefined_without_wrong_ones() -> None:
    assert auc([1.0, 1.0], [True, False]) == 0.5
    assert math.isnan(auc([1.0, 2.0], [True, True]))
    value, n = within_problem_auc([1, 2], [0.1, 0.2], [True, False])
    assert math.isnan(value)
    assert n == 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"solutions": []}, "a problem needs a list of solutions"),
        ({"solutions": [solution("4", None)]}, "the outcome of answer '4' is None; verify it first"),
        ({"solutions": [solution("4", True, prm=float("nan"))]}, "the score must be a finite number"),
        ({"solutions": [solution("4", True, prm=0.1), solution("4", True)]}, "the score must be a finite number"),
        (
            {"solutions": [solution("4", True, prm=[0.1, 0.2]), solution("4", True, prm=0.1)]},
            "different numbers of seeds",
        ),
        ({"solutions": [solution("4", True, prm=-0.1)]}, "prm has scores below zero"),
        ({"solutions": [{"text": None, "answer": "4", "is_correct": True}]}, "solution 0 has no text"),
    ],
)
def test_what_cannot_be_measured_is_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"problem 1: .*{message}|problem 1: {message}"):
        best_of_n([bad], ns=[1])


def test_problems_of_different_models_and_impossible_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="there is no problem"):
        best_of_n([])
    with pytest.raises(InputError, match="at most 4 samples"):
        best_of_n([ONE_PROBLEM], ns=[8])
    with pytest.raises(
        InputError, match=r"problem 2 has scores of {'prm': 1}, those before it of {'orm': 1, 'prm': 1, 'bt': 1}"
    ):
        best_of_n([ONE_PROBLEM, {"solutions": [solution("4", True, prm=0.5)]}], ns=[1])


def test_large_inputs_are_worked_through_in_blocks_with_the_same_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    import trainer.evaluate.best_of_n as module

    problems = [ONE_PROBLEM, {"solutions": [solution("4", True, prm=0.5, orm=0.5, bt=0.0)]}] * 3
    whole = best_of_n(problems, ns=[4], n_trials=30)
    monkeypatch.setattr(module, "_BLOCK", 1)
    parts = best_of_n(problems, ns=[4], n_trials=30)
    for method, cell in whole["best_of_n"]["4"].items():
        assert parts["best_of_n"]["4"][method]["mean"] == pytest.approx(cell["mean"]), method


def test_a_file_becomes_a_report_and_two_pictures(tmp_path: Path) -> None:
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps(ONE_PROBLEM) + "\n" + json.dumps(ONE_PROBLEM) + "\n")
    report = write_best_of_n(file, tmp_path / "out", ns=[1, 2, 4], n_trials=20, n_boot=20)
    assert json.loads((tmp_path / "out" / "best_of_n.json").read_text()) == report
    assert (tmp_path / "out" / "best_of_n.png").read_bytes().startswith(b"\x89PNG")
    assert "PRM-weighted vote" in (tmp_path / "out" / "best_of_n.svg").read_text()


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps(ONE_PROBLEM) + "\n{}\n")
    with pytest.raises(InputError, match=r"solutions.jsonl, line 2: a problem needs a list"):
        read_problems(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_problems(tmp_path / "nothing.jsonl")


def test_scores_of_another_evaluation_are_read_and_give_its_own_figures(tmp_path: Path) -> None:
    """Of two problems with two samples: 3 of 4 right, the highest score right in one of two."""
    rows = [
        {"code": ["a", "b"], "pred": ["4", "5"], "score": [True, False], "pred_score": [[-1.0], [2.0]]},
        {"code": ["c", "d"], "pred": ["7", "7.0"], "score": [True, True], "pred_score": [[0.5], [-3.0]]},
    ]
    file = tmp_path / "sampled.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    found = means(best_of_n(read_problems(file), ns=[2], n_trials=5), 2)
    assert found == {
        "pass1": 0.75,
        "majority": pytest.approx(0.75, abs=0.3),
        "bt": 0.5,
        "chance": 0.75,
        "oracle": 1.0,
    }
    file.write_bytes(gzip.compress(json.dumps(rows[0] | {"pred": ["4"]}).encode()))
    with pytest.raises(InputError, match="line 1: code, pred, score and pred_score must be lists of one length"):
        read_problems(file)
