"""Layouts of step labels (config `prm`): one text with marks in it, a conversation, or a benchmark's columns.

Steps come rendered (`Step 1: ...`, and `# Answer` where the answer is labelled). Layouts whose tools number the steps
themselves, or not at all, take `Step k:` away.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stepmark.steps import SEPARATOR, bare_step, render_answer, render_segments

from ..columns import MESSAGES, Column
from .layout import (
    About,
    CannotExpress,
    Layout,
    LayoutOptions,
    Row,
    SolutionFacts,
    as_they_are,
    assistant,
    same_columns,
    these,
    user,
)

Label = bool | float | None
"""Of a step: right or wrong, how probable it is that it is right, or nothing where nobody judged it."""

MASKED = -100
"""The label of what is not trained on, as torch's losses have it."""
QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
"""What Qwen2.5-Math-PRM expects as its system prompt."""

_RATED: Any = {"text": "text", "rating": "int", "flagged": "bool"}
_WRITTEN: Any = {"text": "text", "rating": "int", "source": "text", "flagged": "bool"}
_CANDIDATES: Any = {"completions": [_RATED], "human_completion": _WRITTEN, "chosen_completion": "int"}

PRM800K = (
    Column("labeler", "text", "who labelled"),
    Column("timestamp", "text", "when"),
    Column("generation", "int", "of the reward model that chose the solution; null in phase 1, and where not known"),
    Column("is_quality_control_question", "bool", "whether it measured the labeller"),
    Column("is_initial_screening_question", "bool", "whether it was part of the entry test"),
    Column(
        "question",
        {
            "problem": "text",
            "ground_truth_solution": "text",
            "ground_truth_answer": "text",
            "pre_generated_steps": "texts",
            "pre_generated_answer": "text",
            "pre_generated_verifier_score": "float",
        },
        "the problem, and the solution that was shown",
    ),
    Column(
        "label",
        {"steps": [_CANDIDATES], "total_time": "int", "finish_reason": "text"},
        "each step's candidates with their ratings -1, 0, 1, and which was chosen; milliseconds",
    ),
)
"""PRM800K's own schema (Lightman et al. 2023), as openai/prm800k documents it."""


def _openrlhf(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    token = _token(row, options, "ки")
    text = "\n".join([row["prompt"], *(f"{completion} {token}" for completion in row["completions"])])
    return {"input": text, "value": _values(row["labels"], options, left_out)}


def _math_shepherd(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    token = _token(row, options, "ки")
    marks = _marks(row["labels"], options, left_out)

    def text(ends: Sequence[str]) -> str:
        ended = [f"{completion} {end}" for completion, end in zip(row["completions"], ends, strict=True)]
        return f"{row['prompt']} " + "\n".join(ended)

    return {"input": text([token] * len(marks)), "label": text(marks), "task": about.source}


def _rlhflow(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    turns = []
    for index, (step, mark) in enumerate(
        zip(row["completions"], _marks(row["labels"], options, left_out), strict=True)
    ):
        turns += [user(step if index else f"{row['prompt']} {step}"), assistant(mark)]
    return {"conversations": turns}


def _qwen(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    token = _token(row, options, "<extra_0>")
    answered = "".join(bare_step(completion) + token for completion in row["completions"])
    system = {"role": "system", "content": QWEN_SYSTEM}
    return {"messages": [system, user(row["prompt"]), assistant(answered)], "labels": list(row["labels"])}


def _lightman(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    token = _token(row, options, "<|prm_label|>")
    steps, answer, labels = _parted(row)
    (facts,) = about.solutions
    labels = [MASKED if label is None else label for label in labels]
    is_whole = steps == list(facts.steps) and min(labels) >= options.threshold
    if answer is None and facts.answer is not None and is_whole:
        # All steps are right and the outcome is not known: the answer stands there, its tag is not trained on.
        answer, labels = facts.answer, [*labels, MASKED]
    lines = [row["prompt"], *(f"Step: {number}: {step}{token}" for number, step in enumerate(steps, start=1))]
    text = "\n".join(lines)
    if answer is not None:
        text += f"{SEPARATOR}{render_answer(answer)}{token}"
    is_soft = any(isinstance(label, float) for label in labels)
    return {"text": text, "labels": [float(label) if is_soft else int(label) for label in labels]}


def _processbench(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    (facts,) = about.solutions
    if facts.outcome is None:
        raise CannotExpress("outcome_unknown")
    marks = _of_all_steps(row, facts, options, left_out, up_to_first_error=True)
    return {
        "id": facts.key,
        "generator": facts.generator or "unknown",
        "problem": facts.statement,
        "steps": list(facts.extra.get("steps", facts.steps)),
        "final_answer_correct": facts.outcome,
        "label": marks.index(False) if False in marks else -1,
    }


def _prmbench(row: Row, about: About, options: LayoutOptions, left_out: Counter[str]) -> dict[str, Any]:
    (facts,) = about.solutions
    marks = _of_all_steps(row, facts, options, left_out, up_to_first_error=False)
    kind = facts.extra.get("classification")
    return {
        "idx": facts.key if kind is None else facts.key.removesuffix(f"/{kind}"),
        "question": row["prompt"],
        "modified_question": row["prompt"],
        "modified_process": list(facts.extra.get("modified_process", facts.steps)),
        "error_steps": [number for number, is_right in enumerate(marks, start=1) if not is_right],
        "classification": kind or "unclassified",
    }


def _token(row: Row, options: LayoutOptions, own: str) -> str:
    """The step token, where the row does not hold it already: what a model wrote would be taken for a mark."""
    token = own if options.step_token is None else options.step_token
    if token in row["prompt"] or any(token in completion for completion in row["completions"]):
        raise CannotExpress("holds_step_token")
    return token


def _is_right(label: Label, options: LayoutOptions, left_out: Counter[str]) -> bool:
    if label is None:
        raise CannotExpress("unjudged_step")
    if isinstance(label, bool):
        return label
    left_out["soft_labels_cut"] += 1
    return label >= options.threshold


def _marks(labels: Sequence[Label], options: LayoutOptions, left_out: Counter[str]) -> list[str]:
    right, wrong = options.reward_tokens
    return [right if _is_right(label, options, left_out) else wrong for label in labels]


def _values(labels: Sequence[Label], options: LayoutOptions, left_out: Counter[str]) -> list[str] | list[float]:
    are_soft = any(isinstance(label, float) for label in labels)
    if options.values == "floats" or (options.values == "auto" and are_soft):
        floats = [float(label) for label in labels if label is not None]
        if len(floats) < len(labels):
            raise CannotExpress("unjudged_step")
        return floats
    return _marks(labels, options, left_out)


def _parted(row: Row) -> tuple[list[str], str | None, list[Any]]:
    """Bare steps, the answer where it is labelled, and all labels."""
    heading = render_answer("")
    *before, last = row["completions"]
    if last.startswith(heading):
        return [bare_step(step) for step in before], last.removeprefix(heading), list(row["labels"])
    return [bare_step(step) for step in row["completions"]], None, list(row["labels"])


def _of_all_steps(
    row: Row, facts: SolutionFacts, options: LayoutOptions, left_out: Counter[str], *, up_to_first_error: bool
) -> list[bool]:
    """Whether each of the solution's own steps is right; of those after the first error, only what was labelled."""
    rendered = render_segments(facts.steps, None)
    n = min(len(rendered), len(row["completions"]))
    if row["completions"][:n] != rendered[:n]:
        raise CannotExpress("not_the_solutions_own_steps")
    marks = []
    for label in row["labels"][: len(rendered)]:
        marks.append(_is_right(label, options, left_out))
        if up_to_first_error and not marks[-1]:
            break
    if len(marks) < len(rendered) and not (up_to_first_error and False in marks):
        raise CannotExpress("steps_unlabelled")
    return marks


def _value_kind(columns: tuple[Column, ...], options: LayoutOptions) -> Column:
    is_soft = next(column.kind for column in columns if column.name == "labels") == "floats"
    floats = options.values == "floats" or (options.values == "auto" and is_soft)
    return Column("value", "floats" if floats else "texts", "for each step, its reward token, or how right it is")


def _labels_or(kind: Any, meaning: str, columns: tuple[Column, ...]) -> Column:
    own = next(column.kind for column in columns if column.name == "labels")
    return Column("labels", "floats" if own == "floats" else kind, meaning)


LAYOUTS = (
    Layout(
        "trl", "TRL up to 1.13 (`PRMTrainer`), axolotl's stepwise_supervised, stepmark", as_they_are, same_columns
    ),
    Layout(
        "openrlhf",
        "OpenRLHF up to 0.9.5 (`train_prm`)",
        _openrlhf,
        lambda columns, options: (
            Column("input", "text", "the problem and the steps, each with the step token behind it"),
            _value_kind(columns, options),
        ),
        heeds=("step_token", "reward_tokens", "values", "threshold"),
        step_token="ки",
    ),
    Layout(
        "math-shepherd",
        "scripts made for peiyi9979/Math-Shepherd",
        _math_shepherd,
        these(
            Column("input", "text", "the problem and the steps, each with the step token behind it"),
            Column("label", "text", "the same with a reward token in the place of each step token"),
            Column("task", "text", "where the solution comes from"),
        ),
        heeds=("step_token", "reward_tokens", "threshold"),
        step_token="ки",
    ),
    Layout(
        "rlhflow",
        "RLHFlow's PRM recipe: chat fine-tuning on + and -",
        _rlhflow,
        these(Column("conversations", MESSAGES, "a step a turn, the first with the problem; the answers are + or -")),
        heeds=("reward_tokens", "threshold"),
    ),
    Layout(
        "qwen",
        "Qwen2.5-Math-PRM's chat",
        _qwen,
        lambda columns, _: (
            Column("messages", MESSAGES, "system, problem, and the bare steps, each with the step token behind it"),
            _labels_or("bools", "for each step token, whether the step before it is right", columns),
        ),
        heeds=("step_token",),
        step_token="<extra_0>",
    ),
    Layout(
        "lightman",
        "the special-token text of Lightman et al.",
        _lightman,
        lambda columns, _: (
            Column("text", "text", "the problem, and a line for each step with the step token at its end"),
            _labels_or(
                "ints",
                "for each step token 1 or 0; -100 where nobody judged it, or the outcome is not known",
                columns,
            ),
        ),
        heeds=("step_token", "threshold"),
        step_token="<|prm_label|>",
        needs_solutions=True,
    ),
    Layout(
        "processbench",
        "ProcessBench's evaluation",
        _processbench,
        these(
            Column("id", "text", "the solution's name in its source"),
            Column("generator", "text", "the model that wrote it"),
            Column("problem", "text", "the problem's statement"),
            Column("steps", "texts", "all steps of the solution, bare"),
            Column("final_answer_correct", "bool", "the outcome"),
            Column("label", "int", "0-based first wrong step; -1 where there is none"),
        ),
        heeds=("threshold",),
        needs_solutions=True,
    ),
    Layout(
        "prmbench",
        "PRMBench's evaluation",
        _prmbench,
        these(
            Column("idx", "text", "the solution's name in its source"),
            Column("question", "text", "the problem's statement"),
            Column("modified_question", "text", "the same: nothing was modified here"),
            Column("modified_process", "texts", "all steps of the solution, bare"),
            Column("error_steps", "ints", "1-based numbers of all wrong steps"),
            Column("classification", "text", "kind of error, where the source says so"),
        ),
        heeds=("threshold",),
        needs_solutions=True,
    ),
    Layout("prm800k", "scripts made for openai/prm800k", as_they_are, these(*PRM800K)),
)
