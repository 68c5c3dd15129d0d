"""The comparison of reward models, tiny: every kind trains, scores and stands in the table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.engines.transformers import TransformersEngine
from stepmark.engine import Message, Request, Sample, Sampling
from stepmark.flows.experiments.reward_models import AUDITED, MODELS, RewardModelsPlan, run_plan
from stepmark.progress import Progress, silent

PLAN = RewardModelsPlan(
    n_train_problems=12,
    n_test_problems=12,
    n_train_samples=6,
    n_test_samples=4,
    n_seeds=1,
    epochs=1,
    critic_epochs=1,
    n_critiques=1,
    n_judgements=1,
    workers=1,
)


@contextmanager
def watch(stage: str) -> Iterator[Progress]:
    yield silent


def test_every_kind_trains_scores_and_is_found_again(tmp_path: Path) -> None:
    findings = run_plan(tmp_path, PLAN, watch=watch)
    rows = findings.tables[0].rows
    assert [row[0] for row in rows] == [*MODELS, "pass1", "majority", "chance", "oracle"]
    assert all(isinstance(row[1], float) and 0 <= row[1] <= 1 for row in rows)
    assert [row[0] for row in rows if row[4] is not None] == ["PRM", "implicit PRM"]
    assert (tmp_path / "reward_models_best_of_n.png").stat().st_size > 1000
    assert {path.name for path in (tmp_path / "models" / "cloud-0").iterdir()} == {
        "critic",
        "own",
        "on-policy",
        "off-policy",
    }
    said, effects = findings.tables[1:]
    assert list(dict.fromkeys(row[0] for row in said.rows)) == list(AUDITED)
    assert all(isinstance(row[1], str) and row[1].endswith(".") for row in said.rows)
    assert effects.columns == ("effect", *AUDITED)
    assert len(effects.rows) > 5
    again = run_plan(tmp_path, PLAN, watch=watch)
    assert again.tables[1:] == findings.tables[1:]
    assert again.tables[0].rows[0][1:7] == rows[0][1:7]
    for folder in ("critic", "on-policy"):
        engine = TransformersEngine(str(tmp_path / "models" / "cloud-0" / folder), threads=1)
        request = Request("a", (Message("user", "Mia has 9 nuts."),), Sampling(max_tokens=8))
        ((_, completion),) = [answer for answer in engine.answer([request]) if answer is not None]
        assert isinstance(completion.samples[0], Sample)
        engine.close()
