"""Layouts of outcomes (configs `orm` and `best_of_n`): one solution with its label, or all solutions of a problem."""

from collections import Counter
from typing import Any

from ..columns import MESSAGES, Column
from .layout import (
    TURNS,
    About,
    CannotExpress,
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


def _trl_chat(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {"prompt": [user(row["prompt"])], "completion": [assistant(row["completion"])], "label": row["label"]}


def _llamafactory(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {"conversations": [human(row["prompt"]), gpt(row["completion"])], "kto_tag": row["label"]}


def _rlhflow(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    mark = options.reward_tokens[0 if row["label"] else 1]
    return {"conversations": [user(f"{row['prompt']} {row['completion']}"), assistant(mark)]}


def _rewardbench2(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    chosen = [answer for answer, label in zip(row["answers"], row["labels"], strict=True) if label]
    rejected = [answer for answer, label in zip(row["answers"], row["labels"], strict=True) if not label]
    if not chosen or not rejected:
        raise CannotExpress("no_right_answer" if not chosen else "no_wrong_answer")
    return rewardbench2_row(row["prompt"], chosen, rejected, about)


def rewardbench2_row(prompt: str, chosen: list[str], rejected: list[str], about: About) -> dict[str, Any]:
    """A row of RewardBench 2: right texts first, then wrong ones, with their numbers."""
    return {
        "id": str(about.number),
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "num_correct": len(chosen),
        "num_incorrect": len(rejected),
        "total_completions": len(chosen) + len(rejected),
        "subset": about.source,
    }


REWARDBENCH2 = (
    Column("id", "text", "0-based number of the row in this set"),
    Column("prompt", "text", "the problem's statement"),
    Column("chosen", "texts", "the better solutions"),
    Column("rejected", "texts", "the worse solutions"),
    Column("num_correct", "int", "how many are chosen"),
    Column("num_incorrect", "int", "how many are rejected"),
    Column("total_completions", "int", "both together"),
    Column("subset", "text", "where they come from"),
)

ORM_LAYOUTS = (
    Layout(
        "trl", "TRL's KTOTrainer (unpaired preference, plain), OpenRLHF's KTO, stepmark", as_they_are, same_columns
    ),
    Layout(
        "trl-chat",
        "TRL's KTOTrainer (unpaired preference, conversational)",
        _trl_chat,
        these(
            Column("prompt", MESSAGES, "the problem"),
            Column("completion", MESSAGES, "the whole solution"),
            Column("label", "bool", "whether its final answer is right"),
        ),
    ),
    Layout(
        "llamafactory",
        "LLaMA-Factory's KTO",
        _llamafactory,
        these(
            Column("conversations", TURNS, "the problem and the whole solution"),
            Column("kto_tag", "bool", "whether its final answer is right"),
        ),
        beside=llamafactory_info(columns={"messages": "conversations", "kto_tag": "kto_tag"}),
    ),
    Layout(
        "rlhflow",
        "RLHFlow's ORM recipe: chat fine-tuning on + and -",
        _rlhflow,
        these(Column("conversations", MESSAGES, "problem and solution in one turn; the answer is + or -")),
        heeds=("reward_tokens",),
    ),
)

BEST_OF_N_LAYOUTS = (
    Layout("trl", "Best-of-N evaluations, stepmark", as_they_are, same_columns),
    Layout("rewardbench2", "RewardBench 2, also its ties", _rewardbench2, these(*REWARDBENCH2)),
)
