"""CLoud's three stages, and scores behind critiques, by the commands, with the model that comes with stepmark."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch
from typer.testing import CliRunner

from db.connect import open_database, writing
from db.models import Critique, Score, Solution
from stepmark.cli.main import app
from stepmark.errors import SettingsError
from stepmark.flows import cloud, scores
from stepmark.flows.critiques import Sampled, critiques_by
from stepmark.flows.demo import MODEL
from tests.tiny_reward_model import write_split
from trainer.critiqued import usable
from trainer.score import RewardModel

PAIRS = [
    {
        "prompt": f"Mia has {a} nuts. She finds 2 nuts. How many nuts are there now?",
        "chosen": f"Step 1: {a} + 2 = {a + 2}\n\n# Answer\n\n{a + 2}",
        "rejected": f"Step 1: {a} + 2 = 59\n\n# Answer\n\n59",
        "chosen_feedback": [f"{a} + 2 = {a + 2} right"],
        "rejected_feedback": [f"{a} + 2 = 59 wrong"],
    }
    for a in range(1, 17)
]
SOLUTIONS = [
    {"id": f"x-{i}", "generator": "g", "problem": PAIRS[i // 2]["prompt"], "label": -1 if i % 2 == 0 else 0,
     "steps": [f"{i // 2 + 1} + 2 = {i // 2 + 3 if i % 2 == 0 else 59}"], "final_answer_correct": i % 2 == 0}
    for i in range(6)
]  # fmt: skip
SHORT = ["--critiques", "4", "--max-tokens", "12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, a database of six solutions, and the models of both kinds in `cloud` and `rm`."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("critiqued")
    write_split(folder / "data", "cloud", PAIRS)
    (folder / "solutions.json").write_text(json.dumps(SOLUTIONS))
    run("db", "upgrade", "--db", url(folder))
    assert "read 6, kept 6" in run("import", "processbench", folder / "solutions.json", "--db", url(folder))
    run(*training(folder, "cloud"), "--stages", "all", "--critic-epochs", "6", "--max-tokens", "12")
    run(*training(folder, "critique-rm", out="rm"))
    return folder


def training(folder: Path, kind: str, *, out: str = "cloud") -> list[Any]:
    return ["train", kind, "--data", folder / "data", "--model", MODEL, "--out", folder / out, "--epochs", 1]


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'stepmark.db'}"


def run(*arguments: Any) -> str:
    told = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.stdout


def stored(folder: Path, name: str) -> dict[int, tuple[str, float]]:
    with open_database(url(folder)).connect() as connection:
        rows = connection.execute(sa.select(Score.solution_id, Score.kind, Score.value).filter_by(reward_model=name))
        return {solution_id: (kind, value) for solution_id, kind, value in rows}


def test_the_three_stages_leave_a_critic_its_critiques_and_the_model(folder: Path) -> None:
    critic, model = (json.loads((folder / n / "stepmark.json").read_text()) for n in ("cloud-critic", "cloud"))
    assert (critic["kind"], critic["config"], critic["flags"]["epochs"]) == ("sft", "cloud", 6)
    assert (model["kind"], model["flags"]["epochs"], model["flags"]["lm_weight"]) == ("cloud", 1, 1.25)
    assert (model["base_model"], model["data"]) == (str(folder / "cloud-critic"), str(folder / "cloud-own"))
    rows = (folder / "cloud-own/cloud/train-00000-of-00001.jsonl").read_text().splitlines()
    assert model["rows"]["train"]["read"] == len(rows) > 8
    assert [json.loads(row)["chosen_feedback"] for row in rows] != [row["chosen_feedback"] for row in PAIRS]


def test_a_stage_that_is_finished_stays_when_the_command_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*training(folder, "cloud", out="again"), "--stages", "all", "--critic-epochs", "1", *SHORT]
    trains = cloud.train_reward_model
    kinds: list[str] = []

    def until_the_joint_stage(kind: Any, **given: Any) -> dict[str, Any]:
        kinds.append(kind)
        if kind == "cloud" and kinds.count("cloud") == 1:
            raise KeyboardInterrupt
        return trains(kind, **given)

    monkeypatch.setattr(cloud, "train_reward_model", until_the_joint_stage)
    assert CliRunner().invoke(app, list(map(str, command))).exit_code == 130
    with pytest.raises(SettingsError, match="continue it with --resume"):
        run(*command)
    own = folder / "again-own" / "cloud" / "train-00000-of-00001.jsonl"
    weights = folder / "again-critic" / "model.safetensors"
    before = [path.stat().st_mtime_ns for path in (own, weights)]
    report = json.loads(run(*command, "--resume", "--json"))
    assert [path.stat().st_mtime_ns for path in (own, weights)] == before
    assert report["critiques"]["train"]["read"] == 16
    assert report["cloud"] == json.loads((folder / "again" / "stepmark.json").read_text())
    assert kinds == ["sft", "cloud", "sft", "sft", "cloud"]
    with pytest.raises(SettingsError, match="of another plan or model"):
        run(*command, "--resume", "--temperature", "0.9")


def test_a_cloud_model_scores_by_the_mean_over_critiques_of_its_own_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = ["score", "--model", folder / "cloud", "--db", url(folder), *SHORT]
    told = re.fullmatch(
        r"score cloud: read 6, kept 6, dropped 0\n"
        r"  6 different texts went through the CLOUD behind (\d+) critiques\n",
        run(*score),
    )
    assert told is not None
    assert 6 <= int(told[1]) <= 24  # one that is blank does not count
    assert run(*score).startswith("score cloud: read 0, kept 0")
    found = stored(folder, "cloud")
    assert {kind for kind, _ in found.values()} == {"bt"}  # a reward that compares solutions of one problem
    write = critiques_by(folder / "cloud", Sampled(n=4, max_tokens=12))
    prompt, text = (("user", SOLUTIONS[0]["problem"]),), "Step 1: 1 + 2 = 3"
    (written,) = map(usable, write([(prompt, text)]))
    assert len(set(written)) > 1
    rewards = [
        one.score or 0.0
        for one in RewardModel.load(folder / "cloud").score_critiqued(
            (critique, prompt, [text], [critique]) for critique in written
        )
    ]
    assert found[1][1] == pytest.approx(sum(rewards) / len(rewards), abs=1e-5)

    monkeypatch.setattr(scores, "_CRITIQUED", 2)
    writes = scores.write_scores
    n_written = 0

    def twice(*given: Any, **named: Any) -> int:
        nonlocal n_written
        n_written += 1
        if n_written == 3:
            raise KeyboardInterrupt
        return writes(*given, **named)

    monkeypatch.setattr(scores, "write_scores", twice)
    assert CliRunner().invoke(app, [*map(str, score), "--name", "b"]).exit_code == 130
    assert len(stored(folder, "b")) == 4
    report = json.loads(run(*score, "--name", "b", "--json"))
    assert report["n_read"] == 2
    assert all(stored(folder, "b")[key][1] == pytest.approx(value, abs=1e-5) for key, (_, value) in found.items())


def test_a_model_that_is_given_critiques_takes_a_critic_s_or_stored_ones(folder: Path) -> None:
    score = ["score", "--model", folder / "rm", "--db", url(folder)]
    with pytest.raises(SettingsError, match="name a model that writes them: --critic FOLDER"):
        run(*score)
    with pytest.raises(SettingsError, match="a cloud: it has no use for --critic"):
        run("score", "--model", folder / "cloud", "--db", url(folder), "--critic", folder / "cloud-critic")
    with pytest.raises(SettingsError, match="choose one"):
        run(*score, "--critic", folder / "cloud-critic", "--critiques-by", "m")
    run(*score, "--critic", folder / "cloud-critic", *SHORT)
    assert len(stored(folder, "rm")) == 6
    assert stored(folder, "rm") != stored(folder, "cloud")

    texts = {1: ["All right.", "Right."], 2: ["Wrong."], 3: ["Not read."]}
    with writing(open_database(url(folder))) as session:
        for solution_id, some in texts.items():
            solution = session.get_one(Solution, solution_id)
            session.add_all(
                Critique(
                    solution_id=solution_id, problem_id=solution.problem_id, kind="judge", critic="judge-1",
                    text=text, source="c", source_key=text, verdict="unreadable" if solution_id == 3 else "pass",
                )
                for text in some
            )  # fmt: skip
    told = run(*score, "--critiques-by", "judge-*", "--name", "stored")
    assert told.splitlines()[0] == "score stored: read 6, kept 2, dropped 4 (4 no critique)"
    found = stored(folder, "stored")
    model = RewardModel.load(folder / "rm")
    (expected,) = model.score_critiqued(
        [(1, str(SOLUTIONS[0]["problem"]), ["Step 1: 1 + 2 = 3"], ["All right.", "Right."])]
    )
    assert found[1] == ("bt", pytest.approx(expected.score, abs=1e-5))
    run(*score, "--critiques-by", "judge-1", "--critiques", "1", "--name", "first")
    (alone,) = model.score_critiqued([(1, str(SOLUTIONS[0]["problem"]), ["Step 1: 1 + 2 = 3"], ["All right."])])
    assert stored(folder, "first")[1] == ("bt", pytest.approx(alone.score, abs=1e-5))


def test_an_audit_and_benchmarks_read_models_behind_critiques(folder: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.json"
    pairs.write_text(json.dumps([{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in PAIRS[:4]]))
    models = [f"--model={folder / name}" for name in ("cloud", "rm")]
    told = run(
        "evaluate", "rewardbench", pairs, *models, "--critic", folder / "cloud-critic", *SHORT, "--boot", 20, "--json"
    )
    assert list(json.loads(told)["models"]) == ["cloud", "rm"]
    items = tmp_path / "items.jsonl"
    rows = [
        {"prompt": row["prompt"], "completion": row[side], "is_correct": side == "chosen"}
        for row in PAIRS[:3]
        for side in ("chosen", "rejected")
    ]
    items.write_text("\n".join(map(json.dumps, rows)))
    report = json.loads(run("audit", folder / "cloud", "--data", items, *SHORT, "--boot", 20, "--json"))
    assert report["audit"]["cloud"]["counts"]["kept"] == 6
