"""Reward models behind a real vLLM give the scores that they give here.

What is known to go wrong: a padding token that is the end token, one label with a sigmoid that nobody wants, a step
token found in the wrong place, `num_labels` missing. Scores are compared on solutions of different lengths, batched.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.tiny_reward_model import save_tiny_lm, write_sums
from tests.vllm.conftest import Server
from trainer.rows import Kind
from trainer.score import RewardModel
from trainer.served import ServedRewardModel
from trainer.train import TrainSettings, train_reward_model

ITEMS = [
    (i, f"{i} + 3?", [f"Step {s + 1}: {i} + {s} = {i + s}" for s in range(i % 5)] + [f"# Answer\n\n{i + 3}"])
    for i in range(40)
]
Trained = tuple[Kind, Path, Server]


@pytest.fixture(scope="module", params=["prm", "prm-step", "orm", "bt"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A trained model of each kind on a server of its own; the PRM with pooling of every token and of steps."""
    kind: Kind = request.param.partition("-")[0]
    folder = tmp_path_factory.mktemp(request.param)
    base, data = save_tiny_lm(folder / "base", heads=2, head_dim=32), write_sums(folder / "data", n=30)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token  # the trap: a base without a padding token of its own
    tokenizer.save_pretrained(base)
    settings = TrainSettings(epochs=2, layout="token-classification" if kind == "prm" else None)
    train_reward_model(kind, data=data, model=base, out=folder / "model", settings=settings)
    words = ["--runner", "pooling"]
    if request.param == "prm-step":
        step_tag = RewardModel.load(folder / "model")._renderer._step_id
        words += ["--pooler-config", json.dumps({"pooling_type": "STEP", "step_tag_id": step_tag})]
    server = Server(str(folder / "model"), folder / "log", words=words)
    try:
        server.start()
        yield kind, folder / "model", server
    finally:
        server.stop()


def test_a_served_reward_model_gives_the_scores_that_it_gives_here(served: Trained) -> None:
    kind, folder, server = served
    here = list(RewardModel.load(folder).score(ITEMS))
    with closing(ServedRewardModel(folder, server.base_url)) as model:
        there = list(model.score(ITEMS))
    assert [one.key for one in there] == [one.key for one in here]
    assert [one.score for one in there] == pytest.approx([one.score for one in here], abs=1e-4)
    assert [one.step_scores for one in there] == [pytest.approx(one.step_scores, abs=1e-4) for one in here]
    assert len({round(one.score or 0.0, 4) for one in here}) > 20
    if kind == "bt":
        assert min(one.score or 0.0 for one in there) < 0 < max(one.score or 0.0 for one in there)
