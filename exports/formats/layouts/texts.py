"""Layouts of texts to learn to write (configs `sft` and `critique`) and of tasks with a verifier (`rl`)."""

from collections import Counter
from typing import Any

from ..columns import MESSAGES, Column
from .layout import (
    TURNS,
    About,
    Layout,
    LayoutOptions,
    Row,
    as_they_are,
    assistant,
    gpt,
    human,
    llamafactory_info,
    same_columns,
    these,
    user,
)

_ABILITIES = {"solve": "math", "judge": "critique"}


def _messages(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {"messages": [user(row["prompt"]), assistant(row["completion"])]}


def _chat(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {"prompt": [user(row["prompt"])], "completion": [assistant(row["completion"])]}


def _llamafactory(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {"conversations": [human(row["prompt"]), gpt(row["completion"])]}


def _verl(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {
        "data_source": f"stepmark/{row['task']}",
        "prompt": [user(row["prompt"])],
        "ability": _ABILITIES[row["task"]],
        "reward_model": {"style": "rule", "ground_truth": row["ground_truth"]},
        "extra_info": {
            "split": about.split,
            "index": about.number,
            **{name: row[name] for name in ("id", "task", "problem", "trust", "n_steps")},
            "source": about.source,
        },
    }


def _grpo(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {**row, "prompt": [user(row["prompt"])]}


TEXT_LAYOUTS = (
    Layout(
        "messages",
        "TRL's SFTTrainer, axolotl's chat_template, anything that reads OpenAI's messages",
        _messages,
        these(Column("messages", MESSAGES, "what is asked, and the answer")),
    ),
    Layout("prompt-completion", "TRL's SFTTrainer (prompt-completion, plain)", as_they_are, same_columns),
    Layout(
        "prompt-completion-chat",
        "TRL's SFTTrainer (prompt-completion, conversational)",
        _chat,
        these(Column("prompt", MESSAGES, "what is asked"), Column("completion", MESSAGES, "the answer")),
    ),
    Layout(
        "llamafactory",
        "LLaMA-Factory's supervised fine-tuning",
        _llamafactory,
        these(Column("conversations", TURNS, "what is asked, and the answer")),
        beside=llamafactory_info(columns={"messages": "conversations"}),
    ),
)

RL_LAYOUTS = (
    Layout(
        "verl",
        "verl's RLHFDataset",
        _verl,
        these(
            Column("data_source", "text", "`stepmark/solve` or `stepmark/judge`, by which rewards are chosen"),
            Column("prompt", MESSAGES, "what the model is asked"),
            Column("ability", "text", "`math`, or `critique`"),
            Column("reward_model", {"style": "text", "ground_truth": "text"}, "what the answer is held against"),
            Column(
                "extra_info",
                {
                    "split": "text",
                    "index": "int",
                    "id": "text",
                    "task": "text",
                    "problem": "text",
                    "trust": "text",
                    "n_steps": "int",
                    "source": "text",
                },
                "where the row comes from, and how its ground truth is known",
            ),
        ),
    ),
    Layout(
        "trl",
        "TRL's GRPOTrainer: reward functions get the further columns by name",
        _grpo,
        lambda columns, options: (Column("prompt", MESSAGES, "what the model is asked"), *columns[1:]),
    ),
)
