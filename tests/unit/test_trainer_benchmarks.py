"""ProcessBench, PRMBench, RewardBench and critics: the published definitions on cases worked out by hand."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepmark.errors import InputError, SettingsError
from trainer.evaluate import critic, prmbench, processbench, rewardbench
from trainer.evaluate.bootstrap import estimate, resampled_totals
from trainer.evaluate.critic import CriticRow, evaluate_critics
from trainer.evaluate.files import benchmark_files, read_json_rows
from trainer.evaluate.page import write_evaluation
from trainer.evaluate.prmbench import ErrorRow, evaluate_prmbench, prm_score
from trainer.evaluate.processbench import ProcessRow, choose_threshold, evaluate_processbench, predict
from trainer.evaluate.rewardbench import RankRow, evaluate_rewardbench, overall_of, ties_score
from trainer.score import Scored


class Reader:
    """A model that reads its scores out of the text: a step `x 0.3` has P(right) .3; `too long` has none."""

    def __init__(self, kind: str = "prm", change: Callable[[float], float] = lambda score: score) -> None:
        self.kind, self._change = kind, change

    def score(self, items: Any, *, how: Any = "product") -> Iterator[Scored]:
        for key, _, segments in items:
            if "too long" in segments[-1]:
                yield Scored(key, None, reason="longer than max_length")
                continue
            steps = tuple(self._change(float(segment.split()[-1])) for segment in segments)
            yield Scored(key, steps[-1], steps if self.kind == "prm" else ())


def row(problem: str, scores: Sequence[float | str], label: int) -> ProcessRow:
    return ProcessRow(problem, tuple(f"x {score}" for score in scores), label)


def values(report: dict[str, Any], model: str = "m") -> dict[str, dict[str, float | None]]:
    return {
        subset: {name: one["value"] for name, one in measures.items()}
        for subset, measures in report["models"][model].items()
    }


PROCESS = {
    "easy": [
        row("a", [0.9, 0.4, 0.2], 1),  # found
        row("b", [0.9, 0.9, 0.4], 1),  # one too late
        row("c", [0.4, 0.9], 0),  # found
        row("d", [0.9, 0.8], 1),  # missed
        row("e", [0.9, 0.8], -1),  # passed
        row("f", [0.9, 0.3], -1),  # a false alarm
        row("g", [0.5, 0.5], -1),  # passed: .5 is not below .5
    ],
    "hard": [row("h", [0.2], 0), row("i", [0.6], -1)],
}


def test_processbench_f1_is_the_harmonic_mean_of_two_accuracies() -> None:
    """Easy: 2 of 4 and 2 of 3, so 2 (1/2) (2/3) / (7/6) = 4/7; hard: 1; all: their mean, 11/14."""
    report = evaluate_processbench({"m": Reader()}, PROCESS)
    assert values(report) == {
        "easy": {"f1": pytest.approx(4 / 7), "accuracy_erroneous": 0.5, "accuracy_correct": pytest.approx(2 / 3)},
        "hard": {"f1": 1.0, "accuracy_erroneous": 1.0, "accuracy_correct": 1.0},
        "all": {"f1": pytest.approx(11 / 14)},
    }
    assert report["settings"]["threshold_rule"] == "fixed"


def test_processbench_agrees_with_the_published_program() -> None:
    """Its lines, on random scores: two means of `match`, by whether the label is -1, and 2ab / (a + b)."""
    rng = np.random.default_rng(0)
    rows, matches = [], []
    for i in range(200):
        scores = rng.random(4).round(2).tolist()
        label = int(rng.integers(-1, 4))
        rows.append(row(f"p{i}", scores, label))
        prediction = -1
        for index, score in enumerate(scores):
            if score < 0.5:
                prediction = index
                break
        matches.append((label, prediction == label))
    acc1 = np.mean([match for label, match in matches if label != -1])
    acc2 = np.mean([match for label, match in matches if label == -1])
    found = values(evaluate_processbench({"m": Reader()}, {"s": rows}))["s"]
    assert found["f1"] == pytest.approx(2 * acc1 * acc2 / (acc1 + acc2))


def test_a_threshold_is_chosen_on_a_subset_that_is_then_in_no_figure() -> None:
    """The model is half as sure as it should be: .5 fails everything, the chosen threshold repairs it."""
    halved = Reader(change=lambda score: score / 2)
    subsets = {
        "choose": [row("h", [0.9, 0.2], 1), row("k", [0.8, 0.7], -1)],
        "test": [*PROCESS["easy"], row("h", [0.9], -1)],
    }
    fixed = evaluate_processbench({"m": halved}, {"test": PROCESS["easy"]})
    assert values(fixed)["test"]["f1"] == 0.0
    report = evaluate_processbench({"m": halved}, subsets, choose_on="choose")
    assert list(values(report)) == ["test", "all"]
    assert report["settings"]["threshold"]["m"] == pytest.approx((0.1 + 0.35) / 2)
    assert report["settings"]["rows_left_out_with_chosen_problems"] == 1
    assert report["counts"]["m"]["read"] == 7
    assert values(report)["test"]["f1"] == pytest.approx(4 / 7)
    with pytest.raises(InputError, match="no row is left to measure"):
        evaluate_processbench({"m": halved}, {"choose": subsets["choose"]}, choose_on="choose")


def test_a_chosen_threshold_is_the_best_of_all_by_trying() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(-1, 3, 60).tolist()
    scores = [[float(rng.beta(2, 5) if i >= label >= 0 else rng.beta(5, 2)) for i in range(3)] for label in labels]

    def f1_at(threshold: float) -> float:
        right = [predict(s, threshold) == label for s, label in zip(scores, labels, strict=True)]
        a = np.mean([r for r, label in zip(right, labels, strict=True) if label >= 0])
        b = np.mean([r for r, label in zip(right, labels, strict=True) if label < 0])
        return float(2 * a * b / (a + b)) if a + b else 0.0

    found = f1_at(choose_threshold(scores, labels))
    assert found == max(f1_at(threshold) for threshold in np.linspace(0, 1, 1001))


def test_solutions_without_a_score_count_as_not_found_and_are_counted() -> None:
    report = evaluate_processbench({"m": Reader()}, {"s": [row("a", ["too long"], 0), *PROCESS["hard"]]})
    assert values(report)["s"]["accuracy_erroneous"] == 0.5
    assert report["counts"]["m"] == {"read": 3, "kept": 2, "dropped": {"longer than max_length": 1}}


def test_models_are_compared_on_the_same_resamples() -> None:
    """A model against itself differs by nothing in every resample."""
    report = evaluate_processbench({"a": Reader(), "b": Reader(), "c": Reader(change=lambda s: 1 - s)}, PROCESS)
    assert report["differences"]["b - a"]["easy"] == {"value": 0.0, "interval": [0.0, 0.0], "n": 9}
    assert report["differences"]["c - a"]["all"]["value"] == pytest.approx(-11 / 14)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"problem": "p", "steps": ["a"], "label": 1}, "label must be -1 or the index of one of the 1 steps, not 1"),
        ({"problem": "p", "steps": ["a"], "label": True}, "not True"),
        ({"problem": "p", "steps": [], "label": -1}, "a row needs problem, steps and label"),
        ({"problem": "p", "steps": [1], "label": -1}, "each of steps must be a text"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_their_place(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"file, row 1: .*{message}|file, row 1: {message}"):
        processbench.parse_rows([raw], "file")


def test_a_benchmark_of_steps_refuses_models_without_them() -> None:
    with pytest.raises(SettingsError, match="m is of kind 'orm'; ProcessBench needs scores of steps"):
        evaluate_processbench({"m": Reader("orm")}, PROCESS)
    with pytest.raises(SettingsError, match="PRMBench needs scores of steps"):
        evaluate_prmbench({"m": Reader("bt")}, [])


def error_row(scores: Sequence[float | str], wrong: Sequence[int], kind: str) -> dict[str, Any]:
    return {
        "modified_question": "q",
        "modified_process": [f"x {score}" for score in scores],
        "error_steps": list(wrong),
        "classification": kind,
    }


def test_prmbench_is_half_f1_and_half_negative_f1_with_steps_from_1() -> None:
    """Step 2 of 4 is wrong and called so, step 4 is right and called wrong: TP 2, FP 0, FN 1, TN 1.

    F1 = 4 / 5, negative F1 = 2 / 3, PRMScore 11/15.
    """
    rows = prmbench.parse_rows([error_row([0.9, 0.2, 0.5, 0.4], [2], "circular")], "file")
    assert rows[0].wrong == {1}
    assert values(evaluate_prmbench({"m": Reader()}, rows))["circular"] == {
        "prm_score": pytest.approx(11 / 15),
        "f1": pytest.approx(0.8),
        "negative_f1": pytest.approx(2 / 3),
    }


def test_prmbench_passes_over_and_reports_wrong_steps_behind_the_end() -> None:
    rows = prmbench.parse_rows(
        [error_row([0.9, 0.2], [2, 3, 7], "circular"), error_row([0.9], [], "multi_solutions")], "f"
    )
    assert rows[0] == ErrorRow("q", ("x 0.9", "x 0.2"), frozenset({1}), "circular", 2)
    report = evaluate_prmbench({"m": Reader()}, rows)
    assert report["settings"]["error_steps_out_of_range"] == 2
    assert any("2 wrong steps in 1 of 2 rows lie behind the last step" in note for note in report["notes"])
    assert values(report)["multi_solutions"] == {"prm_score": None, "f1": 1.0, "negative_f1": None}
    assert values(report)["all"]["prm_score"] == 1.0
    unscored = prmbench.parse_rows([error_row(["too long"], [1], "circular")], "f")
    more = evaluate_prmbench({"m": Reader()}, [*rows, *unscored])
    assert values(more) == values(report)
    assert more["counts"]["m"] == {"read": 3, "kept": 2, "dropped": {"longer than max_length": 1}}
    with pytest.raises(InputError, match=r"f, row 1: error_steps must be step numbers from 1, not \[0\]"):
        prmbench.parse_rows([error_row([0.9], [0], "circular")], "f")


def test_calling_every_step_right_is_no_skill() -> None:
    totals = np.array([95.0, 5.0, 0.0, 0.0])
    assert prm_score(totals) == pytest.approx(0.5 * 190 / 195)


def rank(chosen: Any, rejected: Any, subset: str = "s", row_id: str = "", prompt: str = "q") -> RankRow:
    def texts(scores: Any) -> tuple[str, ...]:
        return tuple(f"x {score}" for score in (scores if isinstance(scores, list) else [scores]))

    return RankRow(prompt, texts(chosen), texts(rejected), subset, row_id)


def test_rewardbench_wants_chosen_strictly_above_and_shares_ties_of_four() -> None:
    rows = [
        rank(2, 1, "pairs", prompt="a"),
        rank(1, 1, "pairs", prompt="b"),
        rank(1, 2, "pairs", prompt="c"),
        rank("too long", 2, "pairs", prompt="d"),
        rank([5], [1, 2, 3], "four", prompt="e"),
        rank([5], [5, 5, 3], "four", prompt="f"),
    ]
    report = evaluate_rewardbench({"m": Reader("bt")}, rows)
    assert values(report) == {
        "pairs": {"accuracy": 0.25, "share_tied": 0.25},
        "four": {"accuracy": pytest.approx(2 / 3), "share_tied": 0.5},
        "all": {"accuracy": pytest.approx((1 / 4 + 2 / 3) / 2)},
    }
    assert report["counts"]["m"]["dropped"] == {"longer than max_length": 1}


def test_rewardbench_sections_weigh_mathematics_as_much_as_code() -> None:
    """Reasoning: mathematics 1/1, code 1/4 over its subsets' rows: 5/8. Chat 3/4. Mean 11/16."""
    subsets = ["math-prm", "hep-cpp", "hep-rust", "mt-bench-easy"]
    totals = np.array([[1.0, 1, 0], [1, 3, 0], [0, 1, 0], [3, 4, 0]])
    assert overall_of(subsets)(totals) == pytest.approx(11 / 16)
    assert overall_of(["math-prm", "other"])(totals[:2]) == pytest.approx((1 + 1 / 3) / 2)


def test_the_ties_subset_wants_a_margin_wider_than_the_spread() -> None:
    rows = [rank([4, 4.5], [1], "Ties", "tied:1"), rank([6], [3], "Ties", "ref:1"), rank(2, 1)]
    report = evaluate_rewardbench({"m": Reader("bt")}, rows)
    expected = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * np.tanh(3 / 0.5 - 1)
    assert report["ties"]["m"] == pytest.approx(expected)
    assert list(values(report)) == ["s", "all"]
    assert ties_score([("tied:1", [4, 1], [2]), ("ref:1", [6], [3])]) == pytest.approx(
        0.3 + 0.01 * np.tanh(-1 / 3 - 1)
    )
    with pytest.raises(InputError, match="must be ref:N or tied:N, not '7'"):
        rewardbench.parse_rows([{"prompt": "q", "chosen": "a", "rejected": "b", "id": 7}], "f", default_subset="ties")


def verdicts(name: str, words: str, *, n: int = 4) -> list[CriticRow]:
    """p, f and u for each of four solutions: right, wrong answer, overfit, right."""
    truth, flaws = [True, False, False, True], [None, None, "overfit", None]
    long = {"p": "pass", "f": "fail", "u": "unreadable"}
    return [
        CriticRow(name, i, f"problem {i}", long[w], None if w == "u" else truth[i], flaws[i])  # type: ignore[arg-type]
        for i, w in enumerate(words[:n])
    ]


def test_critics_are_measured_side_by_side_on_what_all_of_them_judged() -> None:
    """The reader passes everything; the applier catches the overfit one and cries wolf; its last is unreadable."""
    rows = [*verdicts("reader", "pppp"), *verdicts("applier", "ffffu"), *verdicts("hasty", "pfp", n=3)]
    report = evaluate_critics(rows)
    every = critic.EVERY
    assert report["settings"]["on_common"]
    assert values(report, "reader")[every] == {
        "verdict_accuracy": pytest.approx(1 / 3), "recall": 0.0, "false_alarms": 0.0, "unreadable": 0.0,
    }  # fmt: skip
    assert values(report, "applier")["overfit"]["recall"] == 1.0
    assert values(report, "hasty")["overfit"]["recall"] == 0.0
    assert values(report, "hasty")[critic.WRONG_ANSWER]["recall"] == 1.0
    assert report["counts"]["reader"] == {"read": 4, "kept": 3, "dropped": {"not judged by every critic": 1}}
    alone = evaluate_critics(rows, on_common=False)
    assert values(alone, "applier")[every]["false_alarms"] == 1.0
    assert report["differences"]["hasty - applier"][every]["value"] == pytest.approx(0.0)


def test_an_unreadable_verdict_is_in_no_share_and_several_verdicts_share_one_vote() -> None:
    rows = [*verdicts("a", "pufp"), *verdicts("a", "fpfp"), CriticRow("a", 9, "problem 9", "pass", None)]
    found = values(evaluate_critics(rows), "a")[critic.EVERY]
    assert found["unreadable"] == pytest.approx(0.5 / 4)
    assert found["false_alarms"] == pytest.approx(0.25)
    assert found["recall"] == pytest.approx(1 / 1.5)
    with pytest.raises(InputError, match="it is known of no verdict whether it is right"):
        evaluate_critics([CriticRow("a", 9, "problem 9", "pass", None)])


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """300 experiments on 25 problems each: a 90 % interval of a mean of skewed values holds it in about 90 %."""
    rng = np.random.default_rng(7)
    held = 0
    for seed in range(300):
        sums = np.stack([rng.exponential(1.0, 25), np.ones(25)], axis=1)
        drawn = resampled_totals(sums, n_boot=400, seed=seed)
        found = estimate(sums[:, 0].mean(), drawn[:, 0] / drawn[:, 1], 25, level=0.9)
        held += found.low <= 1.0 <= found.high
    assert 0.84 <= held / 300 <= 0.95


def test_resamples_do_not_depend_on_the_sums_nor_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    import trainer.evaluate.bootstrap as module

    sums = np.eye(5)
    whole = resampled_totals(sums, n_boot=50, seed=1)
    assert (whole.sum(axis=1) == 5).all()
    assert (resampled_totals(sums[:, :2], n_boot=50, seed=1) == whole[:, :2]).all()
    monkeypatch.setattr(module, "_BLOCK", 20)
    assert (resampled_totals(sums, n_boot=50, seed=1) == whole).all()


def test_files_are_read_as_arrays_or_lines_and_gzipped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"x": 1}]))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"x": 2}\n\n{"x": "\xe2\x80\xa8"}\n'))
    (tmp_path / "SOURCE.md").write_text("no rows")
    found = {name: read_json_rows(file) for name, file in benchmark_files([tmp_path]).items()}
    assert found == {"a": [{"x": 1}], "b": [{"x": 2}, {"x": "\u2028"}]}
    (tmp_path / "c.jsonl").write_text('{"x": 1}\nnonsense\n')
    with pytest.raises(InputError, match=r"c.jsonl, line 2: not JSON"):
        read_json_rows(tmp_path / "c.jsonl")
    with pytest.raises(InputError, match=r"would both be the subset 'a'"):
        benchmark_files([tmp_path / "a.json", tmp_path])
    with pytest.raises(InputError, match="cannot be read"):
        read_json_rows(tmp_path / "nothing.json")


def test_a_report_becomes_a_page_with_every_model_a_picture_and_json(tmp_path: Path) -> None:
    models = {"first": Reader(), "<second>": Reader(change=lambda score: score / 2)}
    report = evaluate_processbench(models, PROCESS, n_boot=50)
    write_evaluation(report, tmp_path)
    assert json.loads((tmp_path / "processbench.json").read_text()) == report
    assert (tmp_path / "processbench.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "processbench.html").read_text()
    assert "&lt;second&gt; - first" in page
    assert "0.571 [" in page
    assert "fixed beforehand" in page
