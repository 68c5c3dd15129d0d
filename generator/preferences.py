"""The task `preferences`: a model compares two solutions of a problem under a written constitution.

Reinforcement learning from AI feedback (Bai et al. 2022, arXiv 2212.08073; Lee et al. 2023, arXiv 2309.00267), with
the controls that a judge needs: both orders of each pair, several votes in each, the verdict after the rationale.
What differs: the votes are sampled verdicts and no token probabilities, so that every engine will do; and a pair on
which the two orders disagree becomes a tie, where Lee et al. average over the orders.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.preferences import JudgedAnnotation, PairSelection, PairToJudge, add_judged, count_pairs, iterate_pairs
from stepmark.engine import Message, Sample, Sampling
from stepmark.judging import Choice, Judgement, choice_of, majority, read_verdict
from stepmark.prompts import Prompt

from .asking import Answer, Answers, Dropped, Question, Script, first_failure

PLACES = ("constitution", "problem", "first", "second")
"""Places of the prompt."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair with the judge's answers in both orders."""

    pair: PairToJudge
    judgement: Judgement
    forth: Answers
    """With the pair's `a` first."""
    back: Answers


@dataclass(frozen=True, slots=True)
class PreferencesTask:
    """A preference for each pair, by `votes` samples in each order."""

    prompt: Prompt
    """Has the places `PLACES`."""
    constitution: Prompt
    """The rules to judge by; it has no places."""
    sampling: Sampling
    votes: int
    selection: PairSelection

    kind = "preferences"
    unit = "pairs"
    product = None

    def record(self) -> dict[str, Any]:
        """All that is needed to repeat it."""
        return {
            "prompt": self.prompt.record(),
            "constitution": self.constitution.record(),
            "sampling": asdict(self.sampling),
            "votes": self.votes,
            "selection": asdict(self.selection),
        }

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        """Pairs of the selection that this judge has not judged."""
        return count_pairs(database, self.selection, run_id)

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[PairToJudge]]:
        """The same pairs, in the order of their problems."""
        return iterate_pairs(database, self.selection, run_id)

    def work(self, item: PairToJudge) -> Script[Judged]:
        """Asks for the votes in both orders at once."""
        forth, back = yield [
            self._question(item, item.a_text, item.b_text),
            self._question(item, item.b_text, item.a_text),
        ]
        if first_failure((*forth, *back)) is not None:
            return Dropped("failed sample", is_for_now=True)
        judgement = Judgement(
            tuple(_vote(answer, a_first=True) for answer in forth),
            tuple(_vote(answer, a_first=False) for answer in back),
        )
        if judgement.choice is None:
            return Dropped("unreadable")
        return Judged(item, judgement, forth, back)

    def store(self, session: Session, run_id: int, results: Sequence[Judged]) -> Mapping[str, int]:
        """Stores a preference for each pair; counts choices, ties, flips and votes that could not be read."""
        new = add_judged(session, run_id, [_to_store(result) for result in results])
        counts = Counter({"choices": 0, "ties": 0, "flips": 0, "unreadable votes": 0})
        for one in new:
            counts["ties" if one.choice == "equal" else "choices"] += 1
            counts["flips"] += one.judgement.is_flip
            counts["unreadable votes"] += one.judgement.n_unreadable
        return counts

    def _question(self, item: PairToJudge, first: str, second: str) -> Question:
        values = {
            "constitution": self.constitution.text,
            "problem": item.statement,
            "first": first.strip(),
            "second": second.strip(),
        }
        return Question((Message("user", self.prompt.fill(values)),), self.sampling, self.votes, item.problem_id)


def _vote(answer: Answer, *, a_first: bool) -> Choice | None:
    """What a sample says for the pair; a text that was cut off has not come to its verdict."""
    sample = answer.sample
    if not isinstance(sample, Sample) or sample.finish_reason == "length":
        return None
    return choice_of(read_verdict(sample.text), a_first=a_first)


def _to_store(result: Judged) -> JudgedAnnotation:
    choice = result.judgement.choice
    assert choice is not None, "the script drops a pair that cannot be judged"
    # The rationale names the solutions A and B: taken from this order, they are the pair's a and b.
    voted = majority(result.judgement.forth)
    of_majority = (a for a, vote in zip(result.forth, result.judgement.forth, strict=True) if vote == voted)
    rationale = next(of_majority, result.forth[0])
    return JudgedAnnotation(
        result.pair.a_id,
        result.pair.b_id,
        choice,
        result.judgement,
        (_request_ids(result.forth), _request_ids(result.back)),
        rationale.text or "",
    )


def _request_ids(answers: Answers) -> tuple[int | None, ...]:
    return tuple(answer.request_id for answer in answers)
