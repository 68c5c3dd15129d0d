"""CLoud's three stages in one call: what each leaves, and what an interruption leaves."""

import json
import math
from pathlib import Path

import pytest

from stepmark.flows.cloud import CloudJob, score_with_own_critiques, train_cloud
from tests.tiny_reward_model import save_tiny_lm, write_split

PAIRS = [
    {
        "prompt": f"{a} + 2?",
        "chosen": f"{a} + 2 = {a + 2}",
        "rejected": f"{a} + 2 = 99",
        "chosen_feedback": ["Good."],
        "rejected_feedback": ["Bad."],
    }
    for a in range(1, 9)
]


@pytest.fixture
def job(tmp_path: Path) -> CloudJob:
    write_split(tmp_path / "data", "cloud", PAIRS)
    base = save_tiny_lm(tmp_path / "base", n_positions=512)
    return CloudJob("cloud", tmp_path / "data", base, tmp_path / "out", 0, 1, 1, max_tokens=6)


def test_the_reward_learns_behind_the_critics_own_critiques(job: CloudJob) -> None:
    partial = job.out / "own.partial" / "cloud"
    partial.mkdir(parents=True)
    (partial / "train-00000-of-00001.jsonl").write_text("half a ro")
    found = train_cloud([job], workers=1, policies=("on-policy", "off-policy"))
    assert found.keys() == {"cloud/on-policy", "cloud/off-policy"}
    own = (job.out / "own" / "cloud" / "train-00000-of-00001.jsonl").read_text().splitlines()
    texts = {text for row in map(json.loads, own) for text in (*row["chosen_feedback"], *row["rejected_feedback"])}
    assert texts
    assert texts.isdisjoint({"Good.", "Bad."})
    on, off = found["cloud/on-policy"], found["cloud/off-policy"]
    assert (on["data"], off["data"]) == (str(job.out / "own"), str(job.data))
    assert on["base_model"] == off["base_model"] == str(job.out / "critic")
    assert on["flags"]["lm_weight"] == 1.25
    assert train_cloud([job], workers=1) == {"cloud/on-policy": on}


def test_solutions_are_scored_behind_critiques_that_the_model_writes(job: CloudJob) -> None:
    train_cloud([job], workers=1)
    items = [("a", "1 + 2?", ["1 + 2 = 3"]), ("b", "1 + 2?", ["1 + 2 = 99"])]
    folder = job.out / "on-policy"
    found = list(score_with_own_critiques(folder, items, n=2, max_tokens=6))
    assert [one.key for one in found] == ["a", "b"]
    assert all(one.score is not None and math.isfinite(one.score) for one in found)
    assert list(score_with_own_critiques(folder, items, n=2, max_tokens=6)) == found
