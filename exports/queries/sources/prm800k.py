"""PRM800K: what a person said of every candidate for every step, and the path that was chosen among them.

The chosen path is the solution. A row of phase 2 judges a solution that was there before; while the path follows it,
that whole solution is stored, also what stands behind the last step that was judged. Other candidates are
alternatives; a step that the labeller wrote is a step of the path and a written step.

What no table holds stays in the annotation's extra as `row`: the row itself, with null in the place of each value
that the tables hold. `as_row` puts them back, so that a row goes out key for key as it came.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepmark.records import AlternativeRecord, AnnotationRecord, ImportedRow, ProblemRecord, SolutionRecord
from stepmark.steps import SEPARATOR, bare_step, split_answer

from .options import ImportOptions
from .rows import RowError, SourceRow, optional, required, shown

FINISH_REASONS = ("found_error", "solution", "bad_problem", "give_up")
PREFIX = "prm800k-"
"""Before a labeller's id in the annotator's name."""


@dataclass(slots=True)
class _Path:
    """The solution, with what is known of its steps, and the candidates beside it."""

    texts: list[str] = field(default_factory=list)
    """As the row has them."""
    labels: list[int | None] = field(default_factory=list)
    written: dict[int, str] = field(default_factory=dict)
    alternatives: list[AlternativeRecord] = field(default_factory=list)
    alternative_labels: list[int | None] = field(default_factory=list)
    n_unrated: int = 0


def parse(row: SourceRow, options: ImportOptions) -> ImportedRow:
    """Reads one row; the other candidates' keys are `ROW/STEP/CANDIDATE`, 0-based."""
    value = row.value
    question = required(value, "question", dict)
    label = required(value, "label", dict)
    reason = required(label, "finish_reason", str, where=" of 'label'")
    if reason not in FINISH_REASONS:
        raise RowError("unknown_finish_reason", f"'finish_reason' should be one of {FINISH_REASONS}, not {reason!r}")
    duration = label.get("total_time")
    duration = duration if isinstance(duration, int) and not isinstance(duration, bool) else None
    pre_generated = question.get("pre_generated_steps")
    if not isinstance(pre_generated, list) or not all(isinstance(text, str) for text in pre_generated):
        pre_generated = []
    rest = copy.deepcopy(dict(value))
    path = _path(required(label, "steps", list, where=" of 'label'"), pre_generated, row, rest["label"]["steps"])
    if path.texts == pre_generated[: len(path.texts)]:
        path.texts += pre_generated[len(path.texts) :]
    steps, answer = _steps_and_answer(path.texts)
    problem = ProblemRecord(
        statement=required(question, "problem", str, where=" of 'question'"),
        source=options.source,
        source_key=row.source_key,
        reference_answer=_known(question.get("ground_truth_answer")),
        reference_solution=_known(question.get("ground_truth_solution")),
        licence=options.licence,
    )
    stored = {
        "problem": problem.statement,
        "ground_truth_answer": problem.reference_answer,
        "ground_truth_solution": problem.reference_solution,
        "pre_generated_steps": path.texts or None,
        "pre_generated_answer": answer,
    }
    filled = [name for name, held in stored.items() if held is not None and question.get(name) == held]
    rest["question"].update(dict.fromkeys(filled))
    annotator = PREFIX + required(value, "labeler", str)
    rest["labeler"] = rest["label"]["finish_reason"] = None
    if duration is not None:
        rest["label"]["total_time"] = None
    is_apart = len(path.texts) > len(steps)
    rendered = _path_texts(steps, answer, is_apart=is_apart)
    odd = {str(i): text for i, text in enumerate(path.texts) if text != rendered[i]}
    extra = {"row": rest, "filled": filled, "answer_apart": is_apart} | ({"texts": odd} if odd else {})
    solution = SolutionRecord(
        source=options.source,
        source_key=row.source_key,
        text=SEPARATOR.join(path.texts),
        steps=tuple(steps),
        answer=answer,
        licence=options.licence,
        alternatives=tuple(path.alternatives),
        annotations=(
            AnnotationRecord(
                annotator=annotator,
                annotator_kind="person",
                labels=tuple(path.labels),
                finish_reason=reason,
                mode="all_steps",
                extra=extra,
                alternatives=tuple(path.alternative_labels),
                written=path.written or None,
                duration_ms=duration,
            ),
        ),
    )
    return ImportedRow(problem, (solution,), left_out=("rating_null",) * path.n_unrated)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What the tables hold of a row."""

    extra: Mapping[str, Any]
    """Of the annotation."""
    annotator: str
    statement: str
    """As the source has it: of the source row's extra where it stands there, else of the problem; so are the next."""
    reference_answer: str | None
    reference_solution: str | None
    steps: Sequence[str]
    answer: str | None
    labels: Mapping[int, int]
    """Step labels, by index."""
    written: Mapping[int, str]
    alternatives: Mapping[tuple[int, int], tuple[str, bool, int | None]]
    """Those that are rated, by step and candidate: the text, whether it is an answer, and the label."""
    finish_reason: str | None
    duration_ms: int | None


def as_row(stored: StoredRow) -> dict[str, Any]:
    """The row as it came, with the labels and texts that the tables hold now."""
    row: dict[str, Any] = copy.deepcopy(dict(stored.extra["row"]))
    path = _path_texts(stored.steps, stored.answer, is_apart=stored.extra["answer_apart"])
    for index, text in stored.extra.get("texts", {}).items():
        path[int(index)] = text
    row["labeler"] = stored.annotator.removeprefix(PREFIX)
    held = {
        "problem": stored.statement,
        "ground_truth_answer": stored.reference_answer,
        "ground_truth_solution": stored.reference_solution,
        "pre_generated_steps": path,
        "pre_generated_answer": stored.answer,
    }
    row["question"].update({name: held[name] for name in stored.extra["filled"]})
    label = row["label"]
    label["finish_reason"] = stored.finish_reason
    if stored.duration_ms is not None:
        label["total_time"] = stored.duration_ms
    for index, step in enumerate(label["steps"]):
        if step.get("human_completion") is not None and step["human_completion"].get("text") is None:
            step["human_completion"]["text"] = stored.written.get(index)
        for number, candidate in enumerate(step.get("completions") or []):
            alternative = stored.alternatives.get((index, number))
            if alternative is not None:
                text, rating = _rendered(alternative[0], is_answer=alternative[1]), alternative[2]
            elif candidate["text"] is None:
                text, rating = path[index], stored.labels.get(index)
            else:
                continue  # nobody rated it, so that it stands there whole
            if candidate["text"] is None:
                candidate["text"] = text
            if "rating" in candidate:
                candidate["rating"] = rating
    return row


def _path(
    steps: Sequence[Any], pre_generated: Sequence[Any], row: SourceRow, rest: Sequence[dict[str, Any]]
) -> _Path:
    """Walks along the steps; puts null in `rest` where a table will hold the value."""
    path = _Path()
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            raise RowError("wrong_type", f"each of 'steps' should be an object, not {shown(step)}")
        candidates = optional(step, "completions", list, where=f" of step {index}") or []
        chosen = optional(step, "chosen_completion", int, where=f" of step {index}")
        if chosen is not None and not 0 <= chosen < len(candidates):
            raise RowError(
                "label_out_of_range",
                f"'chosen_completion' of step {index} should be the index of one of {len(candidates)} candidates, "
                f"not {chosen}",
            )
        human = optional(step, "human_completion", dict, where=f" of step {index}")
        is_last = index == len(steps) - 1
        if chosen is None and human is None and is_last and index < len(pre_generated):
            # What ends a row of phase 2 is the wrong step of the solution itself; the rest was offered in its place.
            texts = [one.get("text") if isinstance(one, dict) else None for one in candidates]
            chosen = texts.index(pre_generated[index]) if pre_generated[index] in texts else None
        for number, candidate in enumerate(candidates):
            text, rating = _candidate(candidate, index)
            path.n_unrated += rating is None
            kept = rest[index]["completions"][number]
            if rating is not None:
                kept["rating"] = None
            if number == chosen:
                path.texts.append(text)
                path.labels.append(rating)
                kept["text"] = None
                continue
            bare, answer = split_answer(text)
            is_answer = answer is not None and not bare.strip()
            held = answer if is_answer and answer is not None else bare_step(text) or text.strip()
            path.alternatives.append(
                AlternativeRecord(f"{row.source_key}/{index}/{number}", index, held, is_answer=is_answer)
            )
            path.alternative_labels.append(rating)
            if rating is not None and _rendered(held, is_answer=is_answer) == text:
                kept["text"] = None
        if chosen is None and human is not None:
            text = required(human, "text", str, where=f" of the human completion of step {index}")
            path.texts.append(text)
            path.labels.append(1)  # whoever writes a step to go on from holds it right
            path.written[index] = text
            rest[index]["human_completion"]["text"] = None
        elif chosen is None and not is_last:
            raise RowError("path_breaks", f"nothing was chosen at step {index}, and {len(steps) - index - 1} follow")
    return path


def _candidate(candidate: Any, index: int) -> tuple[str, int | None]:
    if not isinstance(candidate, dict):
        raise RowError("wrong_type", f"each candidate of step {index} should be an object, not {shown(candidate)}")
    text = required(candidate, "text", str, where=f" of a candidate of step {index}")
    rating = optional(candidate, "rating", int, where=f" of a candidate of step {index}")
    if rating not in (-1, 0, 1, None):
        raise RowError("label_out_of_range", f"'rating' of step {index} should be -1, 0 or 1, not {rating}")
    return text, rating


def _steps_and_answer(texts: Sequence[str]) -> tuple[list[str], str | None]:
    """Bare steps, and the answer that stands at the end."""
    if not texts:
        return [], None
    last, answer = split_answer(texts[-1])
    every = [*texts[:-1], *([last] if last.strip() else [])] if answer is not None else texts
    return [bare_step(text) or text.strip() for text in every], answer


def _path_texts(steps: Sequence[str], answer: str | None, *, is_apart: bool) -> list[str]:
    """The path as PRM800K writes it: the answer section is a step of its own, or ends the last one."""
    if answer is None:
        return list(steps)
    section = _rendered(answer, is_answer=True)
    return [*steps, section] if is_apart else [*steps[:-1], f"{steps[-1]}{SEPARATOR}{section}"]


def _rendered(text: str, *, is_answer: bool) -> str:
    return f"# Answer{SEPARATOR}{text}" if is_answer else text


def _known(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
