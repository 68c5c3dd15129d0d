"""Variants from programs that a model writes: the statement with places, a solver, and a drawer of new numbers.

After ReasonAgain (Yu et al., arXiv 2410.19056) and EFAGen (Khan et al., arXiv 2504.09763). A program counts where
it reproduces the original, statement and answer. Two that were sampled independently must agree on a variant; the
second reads the numbers out of the first one's statement by its own places, so the two need not name anything
alike. Where only one counts, the majority of sampled solutions may stand for the second.

Programs run in the sandbox and nowhere else, and what they print is read as any text by a stranger.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from db.variants import NewVariant, Parent
from stepmark.answers import compare_answers
from stepmark.answers.plain import read_plain
from stepmark.engine import Message, Sample, Sampling
from stepmark.errors import InputError
from stepmark.prompts import Prompt
from stepmark.sandbox import check_sandbox, run_python
from stepmark.variants import (
    Number,
    Posed,
    StatementTemplate,
    parse_template,
    refuse_new_numbers,
    render_number,
)

from ..asking import Answer, Answers, Dropped, Question, Script
from .solving import Solving
from .task import Made, asked_as

_TRIES = 20
"""Draws for one variant at most."""
_MAX_DIGITS = 40
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_DRIVER = Path(__file__).with_name("program_driver.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Programs:
    """Programs sampled from a model.

    Raises:
        SandboxUnavailable: Programs cannot be run here; known before anything is asked.
    """

    prompt: Prompt
    """Has the place `{problem}`."""
    sampling: Sampling
    n_programs: int = 2
    """Programs sampled for each problem; the first two that count are held against each other."""
    seed: int = 0
    solving: Solving | None = None
    """Solutions whose majority stands for the second program; None: two programs or nothing."""
    is_silver_allowed: bool = False
    """Where no program reproduces the answer, and one the statement: take the majority's answer alone."""

    kind = "program"

    def __post_init__(self) -> None:
        check_sandbox()

    def record(self) -> dict[str, Any]:
        """All that is needed to make the same again."""
        return {
            "prompt": self.prompt.record(),
            "sampling": asdict(self.sampling),
            "n_programs": self.n_programs,
            "seed": self.seed,
            "solving": None if self.solving is None else self.solving.record(),
            "is_silver_allowed": self.is_silver_allowed,
        }

    def work(self, parent: Parent, indices: Sequence[int]) -> Script[Made]:
        """Asks for programs, runs them, and asks for solutions where only one counts."""
        if read_plain(parent.reference_answer) is None:
            return Dropped("answer_is_no_number")
        messages = (Message("user", self.prompt.fill({"problem": parent.statement})),)
        (samples,) = yield [Question(messages, self.sampling, self.n_programs, parent.problem_id)]
        if all(answer.text is None for answer in samples):
            return Dropped("failed_sample", is_for_now=True)
        programs, refused = self._check(parent, samples, indices)
        right = [program for program in programs if program.is_right]
        if len(right) >= 2:
            return _agreeing(parent, *right[:2])
        silver = programs if self.is_silver_allowed else []
        if self.solving is not None and (right or silver):
            made = yield from _confirmed(parent, (right or silver)[0], self.solving)
            return made
        if right:
            refused["one_program_only"] += len(samples)
        return Dropped(refused.most_common(1)[0][0], is_for_now="failed_sample" in refused)

    def _check(
        self, parent: Parent, samples: Answers, indices: Sequence[int]
    ) -> tuple[list["_Program"], Counter[str]]:
        """Runs each program; returns those that reproduce the statement, and why the others do not count."""
        seeds = {
            index: [f"{self.seed}/{parent.statement_hash}/{index}/{number}" for number in range(_TRIES)]
            for index in indices
        }
        programs, refused = list[_Program](), Counter[str]()
        for answer in samples:
            program = _read_program(parent, answer, seeds)
            if isinstance(program, str):
                refused[program] += 1
            elif any(program.source == other.source for other in programs):
                # Two of one text agree with each other whatever they say.
                refused["programs_equal"] += 1
            else:
                programs.append(program)
                if not program.is_right:
                    refused["answer_not_reproduced"] += 1
        return programs, refused


@dataclass(frozen=True, slots=True)
class _Program:
    """A program that reproduces the original statement."""

    source: str
    answer: Answer
    template: StatementTemplate
    original: Mapping[str, Number]
    is_right: bool
    """Whether it reproduces the answer too."""
    draws: Mapping[int, Sequence["_Drawn"]]
    """By the variant's number."""

    def record(self) -> dict[str, Any]:
        """What is stored of it beside a variant."""
        digest = hashlib.sha256(self.source.encode("utf-8", "replace")).hexdigest()[:32]
        return {"hash": digest, **asked_as(self.answer)}


@dataclass(frozen=True, slots=True)
class _Drawn:
    """New numbers, the statement with them, and the program's own answer."""

    values: Mapping[str, Fraction]
    posed: Posed

    def parameters(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.values.items()}


def _agreeing(parent: Parent, first: _Program, second: _Program) -> Made | Dropped:
    """Takes for each variant the first numbers that fit, where the two programs agree on all numbers that fit.

    To take those on which they happen to agree would keep the accidents of a wrong program.
    """
    fitting = [one for draws in first.draws.values() for one in draws if _refusal(parent, one.posed, ()) is None]
    theirs = dict(zip(map(id, fitting), _second_answers(second, fitting), strict=True))
    if "programs_disagree" in theirs.values():
        return Dropped("programs_disagree")
    made, known = Made(), list(parent.known)
    for index, draws in first.draws.items():
        refusals = Counter[str]()
        for one in draws:
            refusal = _refusal(parent, one.posed, known) or theirs[id(one)]
            if refusal is None:
                known.append(one.posed.statement)
                extra = {"parameters": one.parameters(), "programs": [first.record(), second.record()]}
                made.variants.append(
                    NewVariant(parent, index, one.posed.statement, one.posed.answer, "programs", extra)
                )
                break
            refusals[refusal] += 1
        else:
            made.refused[_most_common(refusals)] += 1
    return made


def _second_answers(program: _Program, drawn: Sequence[_Drawn]) -> Iterator[str | None]:
    """For each drawn variant, why the program does not confirm its answer; None where it does."""
    read = [program.template.read(one.posed.statement) for one in drawn]
    cases = [{name: str(number.value) for name, number in numbers.items()} for numbers in read if numbers is not None]
    said = _run(program.source, cases=cases)
    answers = iter(said.get("answers", []) if isinstance(said, dict) else [])
    for one, numbers in zip(drawn, read, strict=True):
        if numbers is None:
            yield "programs_read_otherwise"
            continue
        answer = _number(next(answers, None))
        is_same = answer is not None and compare_answers(render_number(answer), one.posed.answer).result == "correct"
        yield None if is_same else "programs_disagree"


def _confirmed(parent: Parent, program: _Program, solving: Solving) -> Script[Made]:
    """Takes the first numbers that fit, and keeps a variant where the majority of its solutions says the same.

    Where the program's answers are not to be trusted (silver), the majority's answer is taken for the answer.
    """
    made, chosen, known = Made(), dict[int, _Drawn](), list(parent.known)
    for index, draws in program.draws.items():
        refusals = Counter[str]()
        for one in draws:
            refusal = _refusal(parent, one.posed, known) if program.is_right else None
            if refusal is None:
                known.append(one.posed.statement)
                chosen[index] = one
                break
            refusals[refusal] += 1
        else:
            made.refused[_most_common(refusals)] += 1
    solved = yield from solving.solve([one.posed.statement for one in chosen.values()], problem_id=parent.problem_id)
    stored = list(parent.known)
    for (index, one), solutions in zip(chosen.items(), solved, strict=True):
        majority = solutions.majority()
        if majority is None or majority[1] < solving.n_agreeing:
            made.refused["failed_sample" if solutions.n_failed else "no_majority"] += 1
            continue
        answer, n_agreeing = majority
        posed = one.posed if program.is_right else replace(one.posed, answer=answer)
        if compare_answers(answer, posed.answer).result != "correct":
            made.refused["majority_disagrees"] += 1
        elif (refusal := _refusal(parent, posed, stored)) is not None:
            made.refused[refusal] += 1
        else:
            stored.append(posed.statement)
            trust = "program_and_majority" if program.is_right else "majority"
            extra = {
                "parameters": one.parameters(),
                "programs": [program.record()],
                "n_solutions": solving.n,
                "n_agreeing": n_agreeing,
            }
            made.variants.append(NewVariant(parent, index, posed.statement, posed.answer, trust, extra))
    return made


def _refusal(parent: Parent, posed: Posed, known: Sequence[str]) -> str | None:
    return refuse_new_numbers(Posed(parent.statement, parent.reference_answer), posed, known=known)


def _most_common(refusals: Counter[str]) -> str:
    return refusals.most_common(1)[0][0] if refusals else "no_numbers_found"


# ---------------------------------------------------------------- what a program says


def _read_program(parent: Parent, answer: Answer, seeds: Mapping[int, Sequence[str]]) -> _Program | str:
    """Runs a program and holds it against the original; returns why it does not count where it does not."""
    if not isinstance(answer.sample, Sample):
        return "failed_sample"
    blocks = _FENCED.findall(answer.sample.text)
    if len(blocks) != 1:
        return "no_program"
    said = _run(blocks[0], seeds=[seed for of_index in seeds.values() for seed in of_index])
    if isinstance(said, str):
        return said
    try:
        template = parse_template(said["statement"])
        defaults = {name: Fraction(_sized(text)) for name, text in said["defaults"].items()}
        unused = set(said["unused"])
        draws = [_drawn_values(drawn) for drawn in said["draws"]]
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, InputError):
        return "program_unreadable"
    original = template.read(parent.statement)
    if original is None or {name: number.value for name, number in original.items()} != defaults:
        return "statement_not_reproduced"
    if unused:
        return "parameter_unused"
    gold = _number(said.get("answer"))
    is_right = gold is not None and compare_answers(render_number(gold), parent.reference_answer).result == "correct"
    waiting = iter(draws)
    by_index = {
        index: [
            _Drawn(values, Posed(template.fill(values, original), render_number(found)))
            for values, found in (drawn for drawn in (next(waiting, None) for _ in of_index) if drawn is not None)
            if values.keys() == defaults.keys()
        ]
        for index, of_index in seeds.items()
    }
    return _Program(blocks[0], answer, template, original, is_right, by_index)


def _run(source: str, *, seeds: Sequence[str] = (), cases: Sequence[Mapping[str, str]] = ()) -> dict[str, Any] | str:
    """What the driver says of a program; a reason where it says nothing."""
    asked = {"program": source, "seeds": list(seeds), "cases": list(cases)}
    ran = run_python(_DRIVER, stdin=json.dumps(asked))
    if ran.stopped_by is not None:
        return f"program_stopped_by_{ran.stopped_by}"
    if not ran.is_ok:
        return "program_failed"
    try:
        said = json.loads(ran.stdout)
    except (ValueError, RecursionError):
        return "program_unreadable"
    return said if isinstance(said, dict) else "program_unreadable"


def _drawn_values(drawn: Any) -> tuple[dict[str, Fraction], Fraction] | None:
    if drawn is None:
        return None
    answer = _number(drawn["answer"])
    values = {name: _number(text) for name, text in drawn["values"].items()}
    if answer is None or None in values.values():
        return None
    return {name: value for name, value in values.items() if value is not None}, answer


def _number(text: Any) -> Fraction | None:
    """Reads a number of a program; one that floating point left a hair beside a simple fraction is that fraction.

    >>> _number("17.999999999999996"), _number("1/3"), _number("nan"), _number("1e999999999")
    (Fraction(18, 1), Fraction(1, 3), None, None)
    """
    try:
        value = Fraction(_sized(text))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    simple = value.limit_denominator(10**6)
    return simple if abs(simple - value) <= max(Fraction(1), abs(value)) / 10**9 else value


def _sized(text: Any) -> str:
    # Python writes out all digits of 1e999999999.
    if not isinstance(text, str) or len(text) > _MAX_DIGITS or re.search(r"[eE][-+]?[0-9]{3}", text):
        raise ValueError(f"{text!r} is no number of a program")
    return text
