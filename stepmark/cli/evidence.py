"""`stepmark evidence`: what is known beside the steps of one solution."""

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from stepmark.errors import InputError

from .options import Db, Json, open_db
from .output import print_json

if TYPE_CHECKING:
    from stepmark.arithmetic import Finding
    from stepmark.evidence import Application, Evidence, RolloutValue

_WIDTH = 100
_MARKS = {"holds": "ok", "holds when rounded": "ok, rounded", "fails": "WRONG", "not checkable": "unchecked"}


def evidence(
    solution_id: Annotated[int, typer.Argument(help="The solution's id.")], db: Db = None, json: Json = False
) -> None:
    """Shows what is known beside the steps of a solution: arithmetic, rollouts, scores, critics, variants.

    Chains of equations that nobody has carried over to variants yet are carried over on the spot, without a model.
    Nothing is stored.
    """
    from stepmark.flows.evidence import evidence_of

    found = evidence_of(open_db(db), [solution_id]).get(solution_id)
    if found is None:
        raise InputError(f"there is no solution {solution_id}; `stepmark db status` says how many there are")
    if json:
        print_json(dataclasses.asdict(found))
        return
    for line in _lines(found):
        print(line)


def _lines(found: "Evidence") -> Iterator[str]:
    outcome = {True: "right", False: "wrong", None: "of unknown outcome"}[found.outcome]
    by = "" if found.generator is None else f", by {found.generator}"
    yield f"solution {found.solution_id} of problem {found.problem_id}{by}: {outcome}"
    yield from textwrap.wrap(found.statement, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    for value in found.start_values:
        yield f"  before any step: {_value(value)}"
    for segment in found.segments:
        yield ""
        name = "answer" if segment.is_answer else f"step {segment.index + 1}"
        yield from _wrapped(segment.text, f"{name:<8}")
        yield from (f"          {_finding(one)}" for one in segment.arithmetic)
        yield from (f"          {_value(value)}" for value in segment.values)
        yield from (f"          {score.reward_model}: {score.value:.3f}" for score in segment.scores)
    if found.scores:
        yield ""
        yield "scores: " + ", ".join(f"{one.reward_model} ({one.kind}) {one.value:.3f}" for one in found.scores)
    for votes in found.votes:
        named = ", ".join(f"{n} x step {step + 1}" for step, n in votes.first_errors)
        yield ""
        yield (
            f"{votes.kind} by {votes.critic or 'unknown'}: {votes.n_pass} pass, {votes.n_fail} fail, "
            f"{votes.n_unreadable} unreadable" + (f"; first error: {named}" if named else "")
        )
    for application in found.applications:
        yield ""
        yield from _application(application)
    if found.left_out:
        yield ""
        yield "left out: " + ", ".join(f"{n:,} {what}" for what, n in found.left_out.items())


def _application(one: "Application") -> Iterator[str]:
    by = "a program" if one.kind == "replay" else f"{one.critic or 'unknown'} ({one.kind})"
    stored = "worked out now" if one.critique_id is None else f"critique {one.critique_id}"
    trust = "" if one.reference_trust is None else f", its answer known by {one.reference_trust}"
    yield f"carried over by {by} to variant {one.variant_id} ({one.variant_kind}{trust}); {stored}:"
    yield from textwrap.wrap(one.statement, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    width = max((len(value or "-") for step in one.steps for value in (step.here, step.there)), default=1)
    for step in one.steps:
        there = step.there or "-"
        said = step.text if step.text is not None else step.state
        yield f"  step {step.index + 1:<3} {step.here or '-':>{width}} here, {there:>{width}} there:  {said}"
        yield from (f"           {_finding(found)}" for found in step.arithmetic if found.result == "fails")
    if one.found is not None:
        agrees = {True: "the chain holds here", False: "THE CHAIN BREAKS", None: "nobody can tell if that is one"}
        yield f"  found {one.found}, expected {one.expected}: {agrees[one.agrees]}"
    else:
        yield f"  found no answer, expected {one.expected}" + ("" if one.reason is None else f": {one.reason}")
    if one.leaves_at is not None:
        yield f"  step {one.leaves_at + 1} comes to the same as the reference solution here, but not there"
    confirmed = {True: "confirmed", False: "refuted", None: "neither confirmed nor refuted"}[one.is_confirmed]
    rule = f" by {one.confirmation_rule}" if one.is_confirmed is not None else ""
    yield f"  verdict {one.verdict}, {confirmed}{rule}"


def _wrapped(text: str, name: str) -> Iterator[str]:
    lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, _WIDTH - 10)]
    for number, line in enumerate(lines or [""]):
        yield f"{name if number == 0 else '':<10}{line}"


def _finding(found: "Finding") -> str:
    mark = _MARKS[found.result]
    why = "" if found.reason is None else f" ({found.reason})"
    text = " ".join(found.text.split())
    left = f": the left side is {found.left.value}" if found.result in ("fails", "holds when rounded") else ""
    return f"{mark}{why}: {text}{left}"


def _value(value: "RolloutValue") -> str:
    return (
        f"rollouts of run {value.run_id}: {value.n_right} of {value.n_rollouts} right "
        f"[{value.low:.2f}, {value.high:.2f}]"
    )
