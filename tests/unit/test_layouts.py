"""What layouts do with what their tools have no place for: soft labels, unjudged steps, marks within a text."""

from collections import Counter
from typing import Any, get_args

import pytest

from exports.formats.columns import CONFIGS, MARGIN, PRM, SOFT_PRM
from exports.formats.layouts import LAYOUTS, About, CannotExpress, LayoutOptions, SolutionFacts, layout_of
from stepmark.cli.export import critiques, outcomes, preferences, steps, tasks
from stepmark.errors import SettingsError

FACTS = SolutionFacts("s/1", "9 + 7 - 2?", "model-1", ["9 + 7 = 16", "16 - 2 = 14"], "14", None, {})
STEPS = ["Step 1: 9 + 7 = 16", "Step 2: 16 - 2 = 14"]


def converted(
    layout: str, labels: list[Any], completions: list[str] = STEPS, facts: SolutionFacts = FACTS, **options: Any
) -> tuple[dict[str, Any], Counter[str]]:
    told, left_out = LayoutOptions(**options), Counter[str]()
    row = {"prompt": "9 + 7 - 2?", "completions": completions, "labels": labels}
    found = layout_of("prm", layout, told)
    return found.convert(row, About(0, "train", "small", (facts,)), told, left_out), left_out


def test_soft_labels_are_floats_where_the_tool_takes_them() -> None:
    soft = [0.75, 0.25]
    assert converted("openrlhf", soft)[0]["value"] == soft
    assert converted("qwen", soft)[0]["labels"] == soft
    assert converted("lightman", soft)[0]["labels"] == soft
    kinds = {
        name: {column.name: column.kind for column in LAYOUTS["prm"][name].columns(SOFT_PRM, LayoutOptions())}
        for name in ("trl", "openrlhf", "qwen", "lightman")
    }
    assert (kinds["trl"]["labels"], kinds["openrlhf"]["value"]) == ("floats", "floats")
    assert (kinds["qwen"]["labels"], kinds["lightman"]["labels"]) == ("floats", "floats")


def test_soft_labels_are_cut_at_the_threshold_elsewhere_and_counted() -> None:
    row, left_out = converted("openrlhf", [0.75, 0.25], values="tokens")
    assert (row["value"], left_out) == (["+", "-"], {"soft_labels_cut": 2})
    row, _ = converted("rlhflow", [0.75, 0.25], threshold=0.8)
    assert [turn["content"] for turn in row["conversations"][1::2]] == ["-", "-"]
    row, left_out = converted("math-shepherd", [0.5, 0.49])
    assert row["label"].endswith("16 +\nStep 2: 16 - 2 = 14 -")
    assert left_out == {"soft_labels_cut": 2}


def test_hard_labels_become_floats_on_request() -> None:
    assert converted("openrlhf", [True, False], values="floats")[0]["value"] == [1.0, 0.0]
    (_, value) = LAYOUTS["prm"]["openrlhf"].columns(PRM, LayoutOptions(values="floats"))
    assert value.kind == "floats"


def test_a_row_that_holds_the_step_token_is_dropped_by_that_reason() -> None:
    for layout, token in (("openrlhf", "ки"), ("qwen", "<extra_0>"), ("lightman", "<|prm_label|>")):
        with pytest.raises(CannotExpress, match="holds_step_token"):
            converted(layout, [True], [f"Step 1: {token}"])
    row, _ = converted("openrlhf", [True], ["Step 1: ки"], step_token="<s>")
    assert row["input"] == "9 + 7 - 2?\nStep 1: ки <s>"


def test_a_step_that_nobody_judged_is_masked_or_the_row_dropped() -> None:
    labels = [None, True]
    assert converted("lightman", labels)[0]["labels"] == [-100, 1]
    assert converted("qwen", labels)[0]["labels"] == labels
    for layout in ("openrlhf", "math-shepherd", "rlhflow", "prmbench"):
        with pytest.raises(CannotExpress, match="unjudged_step"):
            converted(layout, labels)


def test_the_answer_stands_there_with_its_tag_masked_where_the_outcome_is_unknown() -> None:
    row, _ = converted("lightman", [True, True])
    assert row["text"].endswith("14<|prm_label|>\n\n# Answer\n\n14<|prm_label|>")
    assert row["labels"] == [1, 1, -100]
    row, _ = converted("lightman", [True, False])
    assert "# Answer" not in row["text"]


def test_benchmarks_take_only_the_solutions_own_steps_labelled_to_an_end() -> None:
    known = SolutionFacts("s/1", "9 + 7 - 2?", None, FACTS.steps, "14", True, {})
    assert converted("processbench", [False], STEPS[:1], known)[0]["label"] == 0
    with pytest.raises(CannotExpress, match="steps_unlabelled"):
        converted("processbench", [True], STEPS[:1], known)
    with pytest.raises(CannotExpress, match="steps_unlabelled"):
        converted("prmbench", [False], STEPS[:1], known)
    with pytest.raises(CannotExpress, match="not_the_solutions_own_steps"):
        converted("processbench", [True, True], ["Step 1: 9 + 7 = 16", "Step 2: 15"], known)
    with pytest.raises(CannotExpress, match="outcome_unknown"):
        converted("processbench", [True, True])


def test_a_problem_without_a_wrong_answer_makes_no_row_of_rewardbench() -> None:
    row = {"prompt": "p", "answers": ["a"], "labels": [1]}
    with pytest.raises(CannotExpress, match="no_wrong_answer"):
        layout_of("best_of_n", "rewardbench2").convert(row, About(0, "test", "s"), LayoutOptions(), Counter())


@pytest.mark.parametrize(
    ("config", "name", "options", "said"),
    [
        ("prm", "verl", {}, "prm has no layout 'verl'; choose one of: trl, openrlhf"),
        ("orm", "trl", {"step_token": "ки"}, "the layout trl has no step token"),
        ("prm", "rlhflow", {"values": "floats"}, "choose one that has it: openrlhf"),
        ("prm", "qwen", {"step_token": ""}, "an empty step token marks nothing"),
        ("prm", "openrlhf", {"reward_tokens": ("+", "+")}, "two that differ"),
    ],
)
def test_options_that_a_layout_does_not_heed_are_refused(
    config: str, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        layout_of(config, name, LayoutOptions(**options))


def test_the_command_line_offers_every_layout_and_the_first_by_itself() -> None:
    offered = {
        "prm": steps.PrmFormat,
        "orm": outcomes.OrmFormat,
        "best_of_n": outcomes.BestOfNFormat,
        "preference": preferences.PreferenceFormat,
        "critique": critiques.CritiqueFormat,
        "critique_preference": critiques.CritiquePreferenceFormat,
        "sft": critiques.CritiqueFormat,
        "rl": tasks.RlFormat,
    }
    assert {config: get_args(names) for config, names in offered.items()} == {
        config: tuple(layouts) for config, layouts in LAYOUTS.items() if config != "cloud"
    }


def test_every_column_of_every_layout_says_what_it_means() -> None:
    for config, layouts in LAYOUTS.items():
        for layout in layouts.values():
            columns = layout.columns((*CONFIGS[config], MARGIN), LayoutOptions())
            assert [column.name for column in columns if not column.meaning] == []
            assert layout.reader
