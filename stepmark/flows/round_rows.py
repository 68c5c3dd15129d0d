"""Which of a round's solutions its model learns from, by which rule; and the sets made of them."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import is_among
from db.models import Problem, Solution
from db.rounds import RunSample
from exports.queries.selection import Counts, Selection, SetRow, TrainingSet, source_name
from stepmark.answers.key import answer_key
from stepmark.prompts import Prompt

LearnFrom = Literal["verified", "majority"]
"""What a model may learn from: solutions that a verifier found right; or, to see a loop collapse, those whose answer
most samples give, unverified."""


@dataclass(slots=True)
class ChosenRows:
    """The solutions that enter a round's training set."""

    rule_of: dict[int, str] = field(default_factory=dict)
    """By solution id, what let it in: `verified` or `majority`."""
    n_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def choose_rows(samples: Sequence[RunSample], *, learn_from: LearnFrom, per_problem: int) -> ChosenRows:
    """Chooses the solutions that a model is to learn from.

    With `verified`, only right solutions of problems that are solved at times and not always (the difficulty filter).
    With `majority` nothing is held against a reference: the answer given most often counts as right, ties take the
    first one given, and no problem is left out.

    Args:
        samples: Of one run, those of a problem one after the other.
        learn_from: See `LearnFrom`.
        per_problem: Different texts of one problem at most; the first ones are kept.
    """
    chosen = ChosenRows(n_read=len(samples))
    for _, group in groupby(samples, key=lambda sample: sample.problem_id):
        of_problem = list(group)
        n_right = sum(sample.outcome is True for sample in of_problem)
        if learn_from == "verified" and not 0 < n_right < len(of_problem):
            chosen.dropped["never solved" if n_right == 0 else "always solved"] += len(of_problem)
            continue
        said = Counter(answer_key(sample.answer) for sample in of_problem if sample.answer is not None)
        most = said.most_common(1)[0][0] if said else None
        texts: set[str] = set()
        for sample in of_problem:
            if sample.is_truncated or sample.answer is None:
                chosen.dropped["truncated" if sample.is_truncated else "no answer"] += 1
            elif learn_from == "verified" and sample.outcome is not True:
                chosen.dropped["wrong" if sample.outcome is False else "outcome unknown"] += 1
            elif learn_from == "majority" and answer_key(sample.answer) != most:
                chosen.dropped["another answer"] += 1
            elif sample.text_hash in texts:
                chosen.dropped["repeated text"] += 1
            elif len(texts) >= per_problem:
                chosen.dropped["enough of this problem"] += 1
            else:
                texts.add(sample.text_hash)
                chosen.rule_of[sample.solution_id] = learn_from
    return chosen


def sft_rows_of(chosen: Mapping[int, str], prompt: Prompt, *, run_id: int) -> TrainingSet:
    """The chosen solutions as rows to learn solving from, each with the rule that let it in."""
    selection = Selection(run_id=run_id)

    def rows(session: Session, _: Any, counts: Counts) -> Iterator[SetRow]:
        query = (
            sa.select(
                Solution.solution_id,
                Solution.problem_id,
                Solution.text,
                Solution.source,
                Solution.run_id,
                Solution.licence,
                Problem.statement,
                Problem.family,
                Problem.reference_trust,
            )
            .join(Problem, Problem.problem_id == Solution.problem_id)
            .where(is_among(session, Solution.solution_id, list(chosen)))
            .order_by(Solution.problem_id, Solution.solution_id)
        )
        for row in session.execute(query).all():
            counts.n_read += 1
            yield SetRow(
                row.family,
                {"prompt": prompt.fill({"problem": row.statement}), "completion": row.text.strip()},
                source_name(row),
                row.licence,
                trust=row.reference_trust,
                trace={
                    "problem_ids": [row.problem_id],
                    "solution_ids": [row.solution_id],
                    "run_ids": [row.run_id],
                    "rule": chosen[row.solution_id],
                },
            )

    rules = dict(sorted(Counter(chosen.values()).items()))
    return TrainingSet("sft", selection, {"prompt_hash": prompt.text_hash, "rules": rules}, rows)


def only_solutions(wanted: TrainingSet, solution_ids: frozenset[int]) -> TrainingSet:
    """The set without rows of other solutions than these; those are counted as of another loop."""

    def rows(session: Session, columns: Any, counts: Counts) -> Iterator[SetRow]:
        for row in wanted.rows(session, columns, counts):
            if solution_ids.issuperset(row.trace["solution_ids"]):
                yield row
            else:
                counts.dropped["of_another_loop"] += 1

    return replace(wanted, rows=rows, flags={**wanted.flags, "n_solutions": len(solution_ids)})


@dataclass(frozen=True, slots=True)
class ChosenToLabel:
    """Solutions chosen to be labelled, by one rule."""

    reason: str
    solution_ids: tuple[int, ...]

    def as_json(self, *, n_examples: int = 5) -> dict[str, Any]:
        """What the database keeps of it: the reason, the number and a few ids."""
        return {
            "reason": self.reason,
            "n": len(self.solution_ids),
            "examples": list(self.solution_ids[:n_examples]),
        }


def select_to_label(samples: Sequence[RunSample], *, n: int, random_share: float, seed: int) -> list[ChosenToLabel]:
    """Chooses solutions to label: convincing wrong ones by score, and a random stream beside them.

    Lightman et al. 2023, section 2.4: four fifths of the labels go where a reward model likes a wrong solution best;
    the random rest keeps what is measured on labels unbiased. Where no solution has a score, all are drawn at random.
    One of several equal texts is enough. The texts decide, not their ids, which follow the order of storing.

    Args:
        samples: Of one run.
        n: Solutions wanted.
        random_share: Of them, the share drawn at random.
        seed: Of the drawing.
    """
    first_of: dict[tuple[int, str], RunSample] = {}
    for sample in samples:
        if sample.steps:
            first_of.setdefault((sample.problem_id, sample.text_hash), sample)
    unique = list(first_of.values())
    scored = [sample for sample in unique if sample.score is not None and sample.outcome is False]
    scored.sort(key=lambda sample: (-(sample.score or 0.0), *_text_of(sample)))
    n_convincing = min(len(scored), n - round(n * random_share))
    convincing = [sample.solution_id for sample in scored[:n_convincing]]
    taken = set(convincing)
    others = (sample for sample in unique if sample.solution_id not in taken)
    rest = [sample.solution_id for sample in sorted(others, key=_text_of)]
    drawn = random.Random(f"{seed} labels").sample(rest, min(len(rest), n - n_convincing))
    found = [ChosenToLabel("convincing wrong", tuple(convincing)), ChosenToLabel("random", tuple(drawn))]
    return [one for one in found if one.solution_ids]


def _text_of(sample: RunSample) -> tuple[str, int]:
    return sample.text_hash, sample.problem_id
