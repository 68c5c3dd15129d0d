"""TRL's trainers on our files: each tokenises them and takes a step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import golden
from .models import language_model, reward_model

trl = pytest.importorskip("trl", minversion="1.16")

ANN = "Ann has 9 eggs and finds 7 more. How many has she?"


def arguments(config: type, folder: Path, **more: Any) -> Any:
    return config(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
        **more,
    )


@pytest.mark.parametrize(
    "name",
    [
        "preference_trl",
        "preference_trl-chat",
        "preference_trl-implicit",
        "preference_scores",
        "preference_alternatives",
        "critique_preference_trl-chat",
    ],
)
def test_reward_trainer(load: Callable[[str], Any], tokenizer: Any, tmp_path: Path, name: str) -> None:
    rows = load(name)
    trainer = trl.RewardTrainer(
        reward_model(tokenizer),
        arguments(trl.RewardConfig, tmp_path, max_length=None),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    first, row = trainer.train_dataset[0], golden(name)[0]
    for side in ("chosen", "rejected"):
        read = tokenizer.decode(first[f"{side}_ids"])
        if "prompt" in row and isinstance(row["prompt"], str):
            # The explicit prompt is joined to plain texts with nothing in between.
            assert read == row["prompt"] + row[side] + "</s>"
        else:
            whole = [*row.get("prompt", []), *row[side]]
            assert read == tokenizer.apply_chat_template(whole, tokenize=False)
    assert first.get("margin") == row.get("margin")
    assert trainer.train().global_step == 1


@pytest.mark.parametrize("name", ["preference_trl", "preference_trl-chat", "preference_trl-implicit"])
def test_dpo_trainer(load: Callable[[str], Any], tokenizer: Any, tmp_path: Path, name: str) -> None:
    trainer = trl.DPOTrainer(
        language_model(tokenizer),
        ref_model=language_model(tokenizer),
        args=arguments(trl.DPOConfig, tmp_path, max_length=None),
        train_dataset=load(name),
        processing_class=tokenizer,
    )
    assert ANN in tokenizer.decode(trainer.train_dataset[0]["prompt_ids"])
    assert trainer.train().global_step == 1


@pytest.mark.parametrize("name", ["orm_trl", "orm_trl-chat"])
def test_kto_trainer(load: Callable[[str], Any], tokenizer: Any, tmp_path: Path, name: str) -> None:
    trainer = trl.KTOTrainer(
        language_model(tokenizer),
        ref_model=language_model(tokenizer),
        args=arguments(trl.KTOConfig, tmp_path, max_length=None),
        train_dataset=load(name),
        processing_class=tokenizer,
    )
    assert [row["label"] for row in trainer.train_dataset] == [row["label"] for row in golden(name)]
    assert trainer.train().global_step == 1


@pytest.mark.parametrize(
    "name",
    [
        "sft_messages",
        "sft_prompt-completion",
        "sft_prompt-completion-chat",
        "critique_messages",
        "critique_prompt-completion-chat",
    ],
)
def test_sft_trainer(load: Callable[[str], Any], tokenizer: Any, tmp_path: Path, name: str) -> None:
    trainer = trl.SFTTrainer(
        language_model(tokenizer),
        args=arguments(trl.SFTConfig, tmp_path, max_length=None),
        train_dataset=load(name),
        processing_class=tokenizer,
    )
    assert "Step 1: 9 + 7 = 16" in tokenizer.decode(trainer.train_dataset[0]["input_ids"])
    assert trainer.train().global_step == 1


def test_grpo_trainer_hands_the_columns_to_the_reward(
    load: Callable[[str], Any], tokenizer: Any, tmp_path: Path
) -> None:
    seen: list[dict[str, Any]] = []

    def reward(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        seen.append({"prompts": prompts, **columns})
        return [float(index) for index in range(len(completions))]

    trainer = trl.GRPOTrainer(
        language_model(tokenizer),
        reward_funcs=reward,
        args=arguments(trl.GRPOConfig, tmp_path, num_generations=2, max_completion_length=4),
        train_dataset=load("rl_trl"),
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == 1
    (batch,) = seen
    row = next(row for row in golden("rl_trl") if row["id"] == batch["id"][0])
    assert batch["prompts"][0] == row["prompt"]
    assert (batch["ground_truth"][0], batch["task"][0], batch["trust"][0]) == (
        row["ground_truth"],
        "solve",
        row["trust"],
    )
