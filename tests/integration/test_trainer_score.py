"""Scoring: every solution once, in order, whatever the batches; and what has no score."""

from pathlib import Path

import pytest

from tests.tiny_reward_model import save_tiny_lm, write_sums
from trainer.render import TOO_LONG
from trainer.rows import Kind
from trainer.score import RewardModel, Scored, aggregate
from trainer.train import TrainSettings, train_reward_model

PROMPT = "2 + 3?"
GOOD, BAD = ["Step 1: 2 + 3 = 5", "# Answer\n\n5"], ["Step 1: 2 + 3 = 99", "# Answer\n\n99"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    folder = tmp_path_factory.mktemp("score")
    base, data = save_tiny_lm(folder / "base"), write_sums(folder / "data", n=80)
    kinds: list[Kind] = ["prm", "orm", "bt"]
    for kind in kinds:
        train_reward_model(kind, data=data, model=base, out=folder / kind, settings=TrainSettings(epochs=2))
    return {kind: folder / kind for kind in kinds}


@pytest.mark.parametrize("kind", ["prm", "orm", "bt"])
def test_a_trained_model_prefers_the_right_solution(trained: dict[Kind, Path], kind: Kind) -> None:
    good, bad = RewardModel.load(trained[kind]).score([("good", PROMPT, GOOD), ("bad", PROMPT, BAD)])
    assert (good.key, bad.key) == ("good", "bad")
    assert good.score is not None
    assert bad.score is not None
    assert good.score > bad.score


@pytest.mark.parametrize("kind", ["prm", "orm", "bt"])
def test_scores_do_not_depend_on_the_batch(trained: dict[Kind, Path], kind: Kind) -> None:
    items = [(i, PROMPT, [f"Step 1: {i} + 3 = {i + 3}"] + ["# Answer\n\n5"] * (i % 3)) for i in range(20)]
    model = RewardModel.load(trained[kind])
    together = [scored.score for scored in model.score(items)]
    alone = [scored.score for scored in RewardModel.load(trained[kind]).score(items, batch_tokens=1)]
    unshared = [scored.score for scored in RewardModel.load(trained[kind]).score(items, share=False)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert unshared == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == 20


def test_equal_solutions_of_a_prompt_go_through_the_model_once(trained: dict[Kind, Path]) -> None:
    model = RewardModel.load(trained["prm"])
    items = [(i, PROMPT, GOOD if i % 2 else BAD) for i in range(10)] + [("other", "5?", GOOD)]
    scored = list(model.score(items))
    assert [s.key for s in scored] == [*range(10), "other"]
    assert model.n_forwarded == 3
    assert len({s.score for s in scored if isinstance(s.key, int)}) == 2
    again = list(model.score(items[:2]))
    assert model.n_forwarded == 3
    assert again == scored[:2]


def test_a_prm_s_solution_score_is_the_aggregate_of_its_steps(trained: dict[Kind, Path]) -> None:
    model = RewardModel.load(trained["prm"])
    for how in ("product", "min", "mean", "last"):
        (scored,) = model.score([("a", PROMPT, GOOD)], how=how)
        assert len(scored.step_scores) == 2
        assert scored.score == aggregate(scored.step_scores, how)


def test_a_solution_beyond_the_trained_length_or_without_segments_has_no_score_and_a_reason(
    trained: dict[Kind, Path],
) -> None:
    model = RewardModel.load(trained["prm"])
    items = [("long", PROMPT, ["9 + " * 100]), ("empty", PROMPT, []), ("good", PROMPT, GOOD)]
    long, empty, good = model.score(items)
    assert long == Scored("long", None, reason=TOO_LONG)
    assert empty == Scored("empty", None, reason="no segments")
    assert good.score is not None


def test_a_step_token_in_the_text_does_not_shift_the_scores(trained: dict[Kind, Path]) -> None:
    model = RewardModel.load(trained["prm"])
    (clean,) = model.score([("a", PROMPT, GOOD)])
    (dirty,) = model.score([("b", PROMPT, [GOOD[0], GOOD[1] + " <|prm_label|>"])])
    assert len(dirty.step_scores) == 2
    assert dirty.step_scores[0] == pytest.approx(clean.step_scores[0], abs=1e-6)


def test_a_prompt_may_be_a_conversation(trained: dict[Kind, Path]) -> None:
    model = RewardModel.load(trained["orm"])
    plain, chat = model.score([("a", PROMPT, GOOD), ("b", (("user", PROMPT),), GOOD)])
    assert chat.score == pytest.approx(plain.score, abs=1e-6)


def test_scoring_reads_no_further_ahead_than_a_window(trained: dict[Kind, Path]) -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield taken, PROMPT, GOOD

    scored = RewardModel.load(trained["bt"]).score(endless())  # type: ignore[arg-type]
    assert next(scored).key == 1
    assert taken == 2048
