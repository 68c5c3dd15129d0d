"""Evidence beside the steps of solutions: what the database holds, and what can be worked out on the spot.

Arithmetic is checked here and now. Where no program has carried a solution over to variants yet, and there are
variants with an answer, that is done too: it needs no model and takes milliseconds. Nothing is stored.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import sqlalchemy as sa

from db.critiques import VariantProblem
from db.evidence import AppliedTo, StoredCritique, StoredEvidence, StoredValue, stored_evidence
from stepmark.answers.pool import compare_inline
from stepmark.arithmetic import check_arithmetic
from stepmark.confirmation import Known, confirm
from stepmark.evidence import (
    Application,
    CarriedOver,
    CarriedState,
    Evidence,
    Opinion,
    RolloutValue,
    Segment,
    SegmentScore,
    SolutionScore,
    Votes,
)
from stepmark.replay import read_equations, replay, verdict_of, written
from stepmark.step_values import START
from stepmark.steps import split_solution
from stepmark.verdicts import Application as Said
from stepmark.verdicts import CarriedStep, read_application

REPLAY = "replay"
"""The kind of critique that a program makes."""
MAX_TEXT = 4_000
"""Characters of a critic's words that are shown."""
MAX_CHECKED = 200_000
"""Characters of a solution whose arithmetic is checked."""


def evidence_of(engine: sa.Engine, solution_ids: Collection[int]) -> dict[int, Evidence]:
    """All that is known beside the steps of a few solutions, by id; ids without a solution are left out.

    It takes a handful of queries whatever the number of solutions, and is bounded: what there is more of is counted
    in `left_out`.

    Args:
        engine: The database.
        solution_ids: A few: the tasks in somebody's hands.
    """
    return {solution_id: _evidence(one) for solution_id, one in stored_evidence(engine, solution_ids).items()}


def _evidence(stored: StoredEvidence) -> Evidence:
    opinions = [one for one in stored.critiques if one.applied_to is None]
    applied = [one for one in stored.critiques if one.applied_to is not None]
    segments = tuple(_segments(stored))
    chain = [_value_of(segment) for segment in segments if not segment.is_answer]
    applications = [_application(stored, one, chain) for one in applied]
    if not any(count.kind == REPLAY for count in stored.counts):
        applications += [_replayed(stored, variant, chain) for variant in stored.variants]
        applications.sort(key=_weight)
    left_out = {
        "critiques": sum(one.n for one in stored.counts if not one.on_variant) - len(opinions),
        "critiques on variants": sum(one.n for one in stored.counts if one.on_variant) - len(applied),
        "runs of rollouts": stored.n_runs - len({one.run_id for one in stored.values}),
        "reward models": stored.n_reward_models - len(stored.scores),
        "segments whose arithmetic is not checked": sum(not is_checked for _, is_checked in _texts(stored)),
    }
    return Evidence(
        stored.solution_id,
        stored.problem_id,
        stored.statement,
        stored.outcome,
        stored.generator,
        segments,
        _values(stored.values, START),
        tuple(SolutionScore(one.reward_model, one.kind, one.value) for one in stored.scores),
        tuple(_votes(stored)),
        tuple(_opinion(one) for one in opinions),
        tuple(applications),
        {what: n for what, n in left_out.items() if n},
    )


# ---------------------------------------------------------------- segments


def _texts(stored: StoredEvidence) -> Iterator[tuple[str, bool]]:
    """The segments' texts, and whether their arithmetic is checked."""
    n_chars = 0
    for text in (*stored.steps, *(() if stored.answer is None else (stored.answer,))):
        n_chars += len(text)
        yield text, n_chars <= MAX_CHECKED


def _segments(stored: StoredEvidence) -> Iterator[Segment]:
    for index, (text, is_checked) in enumerate(_texts(stored)):
        yield Segment(
            index,
            text,
            index == len(stored.steps),
            tuple(check_arithmetic(text)) if is_checked else (),
            _values(stored.values, index),
            tuple(
                SegmentScore(one.reward_model, one.segments[index])
                for one in stored.scores
                if index < len(one.segments)
            ),
        )


def _values(values: Sequence[StoredValue], index: int) -> tuple[RolloutValue, ...]:
    found = []
    for one in values:
        if one.step_index == index:
            value = one.value
            low, high = value.interval
            found.append(
                RolloutValue(
                    one.run_id, one.model, value.n_right, value.n_rollouts, value.n_unreadable, value.soft, low, high
                )
            )
    return tuple(found)


# ---------------------------------------------------------------- critiques


def _votes(stored: StoredEvidence) -> Iterator[Votes]:
    votes: dict[tuple[str, str | None], Votes] = {}
    for count in stored.counts:
        if count.on_variant:
            continue
        before = votes.get((count.kind, count.critic)) or Votes(count.kind, count.critic, 0, 0, 0, ())
        named = Counter(dict(before.first_errors))
        if count.first_error is not None:
            named[count.first_error] += count.n
        votes[count.kind, count.critic] = Votes(
            count.kind,
            count.critic,
            before.n_pass + count.n * (count.verdict == "pass"),
            before.n_fail + count.n * (count.verdict == "fail"),
            before.n_unreadable + count.n * (count.verdict == "unreadable"),
            tuple(sorted(named.items())),
        )
    yield from votes.values()


def _opinion(critique: StoredCritique) -> Opinion:
    return Opinion(
        critique.critique_id,
        critique.kind,
        critique.critic,
        critique.verdict,
        critique.first_error,
        critique.reason,
        critique.is_confirmed,
        critique.confirmation_rule,
        _cut(critique.text),
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


# ---------------------------------------------------------------- chains carried over


def _weight(application: Application) -> int:
    if application.verdict == "fail":
        return 0 if application.is_confirmed else 1
    return 2 if application.verdict == "pass" else 3


def _application(stored: StoredEvidence, critique: StoredCritique, chain: Sequence[str | None]) -> Application:
    """A stored critique on a variant; `chain` holds what the solution's steps come to as they stand."""
    variant = critique.applied_to
    assert variant is not None
    carried, states, said = critique.carried, None, None
    if critique.kind == REPLAY:
        states = _states_of_replay(stored.steps, carried, critique.first_error)
    else:
        said = read_application(critique.text, len(stored.steps))
        carried = carried or said.carried
    steps = tuple(_carried_over(chain, carried, states, said))
    agrees = _agrees(critique.answer, variant.reference_answer)
    return Application(
        critique_id=critique.critique_id,
        kind=critique.kind,
        critic=critique.critic,
        variant_id=variant.problem_id,
        statement=variant.statement,
        variant_kind=variant.kind,
        reference_trust=variant.reference_trust,
        steps=steps,
        found=critique.answer,
        expected=variant.reference_answer,
        agrees=agrees,
        leaves_at=_leaves_at(stored, variant, steps) if agrees is False else None,
        verdict=critique.verdict,
        first_error=critique.first_error,
        reason=critique.reason,
        is_confirmed=critique.is_confirmed,
        confirmation_rule=critique.confirmation_rule,
        text=None if said is None else _cut(critique.text),
    )


def _replayed(stored: StoredEvidence, variant: VariantProblem, chain: Sequence[str | None]) -> Application:
    """What `generate replays` would store, worked out now."""
    found = replay(stored.statement, stored.steps, stored.answer, variant.statement)
    agrees = _agrees(found.answer, variant.reference_answer)
    verdict = verdict_of(found, is_reached=agrees)
    known = Known(
        outcome=stored.outcome, on_variant=True, reached_answer=found.answer is not None, carried_right=agrees
    )
    confirmation = confirm(verdict.word, known)
    states = _states_of_replay(stored.steps, found.carried, found.wrong_step)
    steps = tuple(_carried_over(chain, found.carried, states, None))
    return Application(
        critique_id=None,
        kind=REPLAY,
        critic=REPLAY,
        variant_id=variant.problem_id,
        statement=variant.statement,
        variant_kind=variant.kind,
        reference_trust=variant.reference_trust,
        steps=steps,
        found=found.answer,
        expected=variant.reference_answer,
        agrees=agrees,
        leaves_at=_leaves_at(stored, variant, steps) if agrees is False else None,
        verdict=verdict.word,
        first_error=verdict.first_error,
        reason=verdict.reason,
        is_confirmed=confirmation.is_confirmed,
        confirmation_rule=confirmation.rule,
        text=None,
    )


def _agrees(found: str | None, expected: str | None) -> bool | None:
    """Whether two answers are one; None where only computer algebra could tell."""
    if found is None or expected is None:
        return None
    comparison = compare_inline(found, expected)
    return None if comparison is None else comparison.outcome


def _states_of_replay(
    steps: Sequence[str], carried: Sequence[CarriedStep], wrong_step: int | None
) -> Mapping[int, CarriedState]:
    """What became of the steps that a program did not carry over."""
    done = {step.step for step in carried}
    states: dict[int, CarriedState] = {}
    is_stopped = False
    for index, step in enumerate(steps):
        if index in done:
            continue
        if is_stopped:
            states[index] = "not reached"
        elif index == wrong_step:
            states[index], is_stopped = "wrong as it stands", True
        elif read_equations(step) == ():
            states[index] = "no equation"
        else:
            states[index], is_stopped = "cannot be carried", True
    return states


def _carried_over(
    chain: Sequence[str | None],
    carried: Sequence[CarriedStep],
    states: Mapping[int, CarriedState] | None,
    said: Said | None,
) -> Iterator[CarriedOver]:
    """One for each step of the chain; `states` tells of a program's steps, `said` of a model's."""
    by_step = {step.step: step for step in carried}
    stuck = None if said is None else said.stuck
    for index, here in enumerate(chain):
        moved = by_step.get(index)
        state: CarriedState
        if moved is not None:
            arithmetic = tuple(check_arithmetic(moved.text))
            yield CarriedOver(index, "carried", here, moved.value, moved.text, arithmetic)
            continue
        if states is not None:
            state = states[index]
        elif stuck is None or index < stuck.step:
            state = "left out"
        else:
            state = "cannot be carried" if index == stuck.step else "not reached"
        words = stuck.text if stuck is not None and index == stuck.step else None
        yield CarriedOver(index, state, here, None, words, ())


def _value_of(segment: Segment) -> str | None:
    """The number that a step comes to: the right side of its last equation."""
    values = [one.right.value for one in segment.arithmetic if one.relation in ("=", "≈") and one.right.value]
    return values[-1] if values else None


def _leaves_at(
    stored: StoredEvidence, variant: AppliedTo | VariantProblem, steps: Sequence[CarriedOver]
) -> int | None:
    """Where a chain that breaks on a variant leaves the reference solution's, which holds there."""
    if stored.reference_solution is None:
        return None
    reference = split_solution(stored.reference_solution).steps
    found = replay(stored.statement, reference, stored.reference_answer, variant.statement)
    if not _agrees(found.answer, variant.reference_answer):
        return None
    expected: dict[str | None, set[str | None]] = defaultdict(set)
    for moved in found.carried:
        equations = read_equations(reference[moved.step])
        if equations:
            expected[written(equations[-1].result.value)].add(moved.value)
    for step in steps:
        if step.there is not None and step.here in expected and step.there not in expected[step.here]:
            return step.index
    return None
