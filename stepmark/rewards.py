r"""Rewards of the tasks that `stepmark export rl` writes, as RL trainers call for them: TRL's GRPOTrainer, and verl.

1.0 where the verifier confirms what the model wrote, 0.0 where it does not, an answer or verdict that cannot be read
included. A problem to solve is judged by the final answer, read and compared as `stepmark verify` does it. A solution
to judge is judged by the verdict, read as that of a critic who applies the chain (`stepmark.verdicts`): a `pass` that
did not carry every step is no verdict. Whether the steps were carried faithfully is not looked at, and a `fail` needs
no reason: whoever fails everything earns the share of wrong solutions in the set.

A row that says no ground truth, or a task that is not known here, raises: it is never a reward of zero.
"""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from .answers import compare_answers, extract_answer
from .errors import InputError
from .steps import split_solution
from .verdicts import read_application

Completion = str | Sequence[Mapping[str, Any]]
"""What a model wrote: a text, or the messages of a conversation, the last one its own."""

TASKS = ("solve", "judge")
_DATA_SOURCES = {f"stepmark/{task}": task for task in TASKS}


def reward(task: str, completion: str, ground_truth: str | None, *, n_steps: int | None = None) -> float:
    r"""The reward of one completion.

    Args:
        task: `solve` or `judge`.
        completion: The text that the model wrote.
        ground_truth: The reference answer; of `judge`, the right verdict: `pass` or `fail`.
        n_steps: Of `judge`: how many steps the solution has.

    Raises:
        InputError: The row is not one that can be rewarded; names the value.

    >>> reward("solve", "Step 1: 9 + 7 = 16\n\n# Answer\n\n16", "16"), reward("solve", "It may be 16.", "16")
    (1.0, 0.0)
    >>> reward("judge", "Step 1: 4 + 10 = 14\nAnswer: 14\nFirst error: none\nVerdict: pass", "pass", n_steps=1)
    1.0
    >>> reward("judge", "Verdict: pass", "pass", n_steps=1)
    0.0
    """
    if task not in TASKS:
        raise InputError(f"task is {task!r}; rows of `stepmark export rl` have one of: {', '.join(TASKS)}")
    if not isinstance(ground_truth, str) or not ground_truth.strip():
        raise InputError(f"ground_truth is {ground_truth!r}, so nothing can be right; leave such rows out")
    if task == "solve":
        answer = split_solution(completion).answer or extract_answer(completion).answer
        return float(compare_answers(answer, ground_truth).result == "correct")
    if ground_truth not in ("pass", "fail"):
        raise InputError(f"ground_truth of a solution to judge is {ground_truth!r}; it must be pass or fail")
    if isinstance(n_steps, bool) or not isinstance(n_steps, Integral) or n_steps < 1:
        raise InputError(
            f"n_steps of a solution to judge is {n_steps!r}; export the set again, it then says how many"
        )
    return float(read_application(completion, int(n_steps)).verdict.word == ground_truth)


def grpo_reward(
    completions: Sequence[Completion],
    *,
    task: Sequence[str],
    ground_truth: Sequence[str | None],
    n_steps: Sequence[int | None] | None = None,
    **columns: Any,
) -> list[float]:
    r"""A reward function for TRL's GRPOTrainer (`reward_funcs=grpo_reward`), on a set of `export rl --format trl`.

    Args:
        completions: Texts, or conversations.
        task: The set's column of that name, a value for each completion; so are the next two.
        ground_truth: See `reward`.
        n_steps: See `reward`; a set without tasks to judge need not have it.
        columns: Whatever else the trainer hands over; not looked at.

    Raises:
        InputError: A row cannot be rewarded; names it by its `id`, where the set has one.

    >>> said = [{"role": "assistant", "content": "\\boxed{14}"}]
    >>> grpo_reward(completions=[said, said], task=["solve"] * 2, ground_truth=["14", "15"], prompts=["?", "?"])
    [1.0, 0.0]
    """
    n = n_steps if n_steps is not None else [None] * len(completions)
    rewards = []
    for index, (completion, one_task, truth, steps) in enumerate(
        zip(completions, task, ground_truth, n, strict=True)
    ):
        try:
            rewards.append(reward(one_task, _text_of(completion), truth, n_steps=steps))
        except InputError as err:
            name = columns["id"][index] if "id" in columns else f"number {index} of the batch"
            raise InputError(f"row {name}: {err}") from err
    return rewards


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str | None,
    extra_info: Mapping[str, Any] | None = None,
    **settings: Any,
) -> float:
    """A reward function for verl, on a set of `export rl --format verl`.

    Args:
        data_source: `stepmark/solve` or `stepmark/judge`.
        solution_str: The text that the model wrote.
        ground_truth: See `reward`.
        extra_info: The row's; `n_steps` is read from it.
        settings: Whatever else verl hands over; not looked at.

    Raises:
        InputError: The row cannot be rewarded; names it by its `id`, where it has one.

    >>> compute_score("stepmark/solve", "So the answer is 14.", "14")
    1.0
    """
    about = extra_info or {}
    try:
        if data_source not in _DATA_SOURCES:
            raise InputError(f"data_source is {data_source!r}; this function knows {', '.join(_DATA_SOURCES)}")
        return reward(_DATA_SOURCES[data_source], solution_str, ground_truth, n_steps=about.get("n_steps"))
    except InputError as err:
        if "id" in about:
            raise InputError(f"row {about['id']}: {err}") from err
        raise


def _text_of(completion: Completion) -> str:
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else None
    if not isinstance(content, str):
        raise InputError(f"a completion is {completion!r}; it must be a text, or messages that end in one")
    return content
