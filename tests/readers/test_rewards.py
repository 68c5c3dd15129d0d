"""Rewards within TRL's GRPOTrainer, on exported tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from db.connect import open_database, reading, writing
from db.models import Solution
from db.problems import add_problems
from exports.formats.layouts import layout_of
from exports.queries.exporting import Target, export_set
from exports.queries.importing import import_file
from exports.queries.selection import Selection
from exports.queries.sources import FORMATS
from exports.queries.task_rows import RlOptions, rl_set
from generator.domain import draw_problems, problem_record
from stepmark.flows.demo import MODEL
from stepmark.flows.verify import verify_solutions
from stepmark.rewards import grpo_reward

from .conftest import Exported
from .models import language_model

trl = pytest.importorskip("trl", minversion="1.16")

N_STEPS = 3


def config(folder: Path, **more: Any) -> Any:
    return trl.GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        seed=1,
        **more,
    )


def verified(folder: Path, completions: list[dict[str, str]]) -> list[bool | None]:
    """What `stepmark import solutions` and `stepmark verify` say of each; None: nobody can tell."""
    file = folder / "completions.jsonl"
    file.write_text("\n".join(map(json.dumps, completions)), encoding="utf-8")
    database = open_database(f"sqlite:///{folder / 'verified.db'}", create=True)
    assert import_file(database, FORMATS["solutions"], file).n_kept == len(completions)
    verify_solutions(database)
    with reading(database) as session:
        stored = session.execute(sa.select(Solution.source_key, Solution.outcome)).all()
    outcomes = {int(key): outcome for key, outcome in stored}
    return [outcomes[index] for index in range(len(completions))]


def test_grpo_on_exported_problems_is_rewarded_by_what_the_verifier_says(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'stepmark.db'}", create=True)
    drawn = draw_problems(12, 6990, part="reserved")
    with writing(database) as session:
        add_problems(session, [problem_record(problem, "drawn", i) for i, problem in enumerate(drawn)])
    target = Target(tmp_path / "sets", shares={"train": 1.0})
    tasks = rl_set(Selection(), RlOptions(tasks=("solve",), solve_prompt="plain"))
    assert export_set(database, target, tasks, layout=layout_of("rl", "trl")).n_kept == 12

    seen: list[dict[str, str]] = []
    rewards: list[float] = []

    def spying(completions: list[Any], **columns: Any) -> list[float]:
        given = grpo_reward(completions, **columns)
        rewards.extend(given)
        for completion, problem, truth in zip(completions, columns["problem"], columns["ground_truth"], strict=True):
            row = {"question": problem, "reference_answer": truth, "solution": completion[0]["content"]}
            seen.append(row | {"id": str(len(seen))})
        return given

    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trainer = trl.GRPOTrainer(
        model,
        reward_funcs=spying,
        args=config(
            tmp_path / "out",
            max_steps=N_STEPS,
            num_generations=4,
            per_device_train_batch_size=16,
            max_completion_length=64,
            learning_rate=1e-4,
        ),
        train_dataset=load_dataset(str(tmp_path / "sets"), "rl", split="train"),
        processing_class=AutoTokenizer.from_pretrained(MODEL),
    )
    assert trainer.train().global_step == N_STEPS

    assert len(rewards) == 16 * N_STEPS
    assert rewards == [float(outcome is True) for outcome in verified(tmp_path, seen)]
    assert 0 < sum(rewards) < len(rewards)
    logged = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    assert logged == pytest.approx([sum(rewards[at : at + 16]) / 16 for at in range(0, len(rewards), 16)])
    assert any(not torch.equal(weight, before[name]) for name, weight in trainer.model.named_parameters())


def test_grpo_hands_tasks_of_both_kinds_to_one_reward(exported: Exported, tokenizer: Any, tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{exported('rl_trl').parent / 'small.db'}")
    tasks = rl_set(Selection(), RlOptions(solve_prompt="plain"))
    export_set(database, Target(tmp_path / "sets", shares={"train": 1.0}), tasks, layout=layout_of("rl", "trl"))
    rows = load_dataset(str(tmp_path / "sets"), "rl", split="train")
    assert {(row["task"], row["n_steps"]) for row in rows} == {("solve", None), ("judge", 2), ("judge", 3)}
    answers = {"solve": "# Answer\n\n14", "judge": "Step 1: 3\nStep 2: 4\nVerdict: fail"}
    given: list[tuple[str, str, float]] = []

    def answered(completions: list[Any], task: list[str], **columns: Any) -> list[float]:
        # An untrained model writes nothing that can be read, so its completions are replaced.
        said = [[{"role": "assistant", "content": answers[one]}] for one in task]
        rewards = grpo_reward(said, task=task, **columns)
        given.extend(zip(task, columns["ground_truth"], rewards, strict=True))
        return rewards

    trainer = trl.GRPOTrainer(
        language_model(tokenizer),
        reward_funcs=answered,
        args=config(
            tmp_path / "out",
            num_train_epochs=1,
            num_generations=2,
            per_device_train_batch_size=2,
            max_completion_length=4,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == len(rows)
    right = {"solve": "14", "judge": "fail"}
    assert {(task, truth) for task, truth, _ in given} == {(row["task"], row["ground_truth"]) for row in rows}
    assert all(reward == float(truth == right[task]) for task, truth, reward in given)
