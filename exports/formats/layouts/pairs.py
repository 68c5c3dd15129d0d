"""Layouts of pairs (configs `preference`, `critique_preference` and `cloud`)."""

from collections import Counter
from typing import Any

from ..columns import MESSAGES, Column
from .layout import (
    TURN,
    TURNS,
    About,
    Columns,
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
from .outcomes import REWARDBENCH2, rewardbench2_row


def _trl_chat(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    return {
        "prompt": [user(row["prompt"])],
        "chosen": [assistant(row["chosen"])],
        "rejected": [assistant(row["rejected"])],
        **_margin(row),
    }


def _whole(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    asked = user(row["prompt"])
    return {
        "chosen": [asked, assistant(row["chosen"])],
        "rejected": [asked, assistant(row["rejected"])],
        **_margin(row),
    }


def _llamafactory(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    _without_margin(row, left_out)
    return {
        "conversations": [human(row["prompt"])],
        "chosen": gpt(row["chosen"]),
        "rejected": gpt(row["rejected"]),
    }


def _axolotl(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    _without_margin(row, left_out)
    # The strategy looks the key up whether there is a system prompt or not.
    return {"system": "", "input": row["prompt"], "chosen": row["chosen"], "rejected": row["rejected"]}


def _rewardbench(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    _without_margin(row, left_out)
    return {
        "id": about.number,
        "prompt": row["prompt"],
        "chosen": row["chosen"],
        "rejected": row["rejected"],
        "subset": about.source,
    }


def _rewardbench2(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    _without_margin(row, left_out)
    return rewardbench2_row(row["prompt"], [row["chosen"]], [row["rejected"]], about)


def _margin(row: Row) -> dict[str, float]:
    return {"margin": row["margin"]} if "margin" in row else {}


def _without_margin(row: Row, left_out: Counter[str]) -> None:
    if row.get("margin"):
        left_out["margins_left_out"] += 1


def _with_margin(*columns: Column) -> Columns:
    """These columns, and the margin where the rows have one."""
    return lambda rows, options: (*columns, *(column for column in rows if column.name == "margin"))


_PROMPT = Column("prompt", MESSAGES, "what was asked")
_CHOSEN, _REJECTED = Column("chosen", MESSAGES, "the better answer"), Column("rejected", MESSAGES, "the worse answer")

PAIR_LAYOUTS = (
    Layout("trl", "TRL's DPO and reward trainers (explicit prompt, plain), stepmark", as_they_are, same_columns),
    Layout(
        "trl-chat",
        "TRL's DPO and reward trainers (explicit prompt, conversational)",
        _trl_chat,
        _with_margin(_PROMPT, _CHOSEN, _REJECTED),
    ),
    Layout(
        "trl-implicit",
        "TRL's RewardTrainer, which prefers whole conversations",
        _whole,
        _with_margin(_CHOSEN, _REJECTED),
    ),
    Layout(
        "openrlhf",
        "OpenRLHF's train_rm with --apply_chat_template",
        _whole,
        _with_margin(_CHOSEN, _REJECTED),
    ),
    Layout(
        "llamafactory",
        "LLaMA-Factory's reward modelling and DPO",
        _llamafactory,
        these(
            Column("conversations", TURNS, "what was asked"),
            Column("chosen", TURN, "the better answer"),
            Column("rejected", TURN, "the worse answer"),
        ),
        beside=llamafactory_info(
            ranking=True, columns={"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
        ),
    ),
    Layout(
        "axolotl",
        "axolotl's bradley_terry.chat_template",
        _axolotl,
        these(
            Column("system", "text", "the system prompt: none"),
            Column("input", "text", "what was asked"),
            Column("chosen", "text", "the better answer"),
            Column("rejected", "text", "the worse answer"),
        ),
    ),
)

PREFERENCE_LAYOUTS = (
    *PAIR_LAYOUTS,
    Layout(
        "rewardbench",
        "RewardBench 1",
        _rewardbench,
        these(
            Column("id", "int", "0-based number of the row in this set"),
            Column("prompt", "text", "the problem's statement"),
            Column("chosen", "text", "the better solution"),
            Column("rejected", "text", "the worse solution"),
            Column("subset", "text", "where they come from"),
        ),
    ),
    Layout("rewardbench2", "RewardBench 2", _rewardbench2, these(*REWARDBENCH2)),
)

CLOUD_LAYOUTS = (Layout("cloud", "CLoud's reward modelling, stepmark", as_they_are, same_columns),)
