"""Variants from templates: a statement with places, ranges, conditions, and an answer worked out exactly.

After GSM-Symbolic (Mirzadeh et al., arXiv 2410.05229), with one difference: only numbers change, never names, so
that a chain of steps carries over word by word. A template is trusted because it reproduces its original: the
statement read by its places, the answer by its expression. Problems of the embedded domain are templates in
themselves, with an exact checker.
"""

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from db.variants import NewVariant, Parent
from stepmark.answers import compare_answers
from stepmark.errors import InputError, JobError
from stepmark.expressions import Expression, parse_expression
from stepmark.problems import statement_hash
from stepmark.variants import (
    Number,
    Posed,
    StatementTemplate,
    parse_template,
    refuse_new_numbers,
    render_number,
)

from ..asking import Dropped, Script
from ..domain import DomainProblem, check_answer, draw_variant, parse_problem
from .task import Made

_TRIES = 200
"""Draws for one variant at most."""
_MAX_CHOICES = 100_000
_MAX_NUMBER = 10**12
_FIELDS = frozenset({"problem_id", "statement", "template", "variables", "conditions", "answer"})

_Draw: TypeAlias = Callable[[random.Random], tuple[Posed, dict[str, Any]] | None]
"""Draws a variant, and says what it was made from; None where these numbers lead nowhere."""


@dataclass(frozen=True, slots=True)
class Template:
    """One line of a file of templates, checked."""

    where: str
    """File and line."""
    line_hash: str
    """Of the line's text."""
    problem: int | str
    """The problem's id, or the hash of its statement."""
    statement: StatementTemplate
    variables: Mapping[str, Sequence[Fraction]]
    """What each may be."""
    conditions: tuple[Expression, ...]
    answer: Expression

    def record(self) -> dict[str, str]:
        """What is stored of it beside a variant."""
        return {"template": self.where, "template_hash": self.line_hash}

    def answer_to(self, values: Mapping[str, Fraction]) -> str | None:
        """The answer; None where a condition does not hold, or there is none."""
        if not all(condition.value(values) for condition in self.conditions):
            return None
        value = self.answer.value(values)
        return render_number(value) if isinstance(value, Fraction) else None


@dataclass(frozen=True, slots=True)
class Templates:
    """Problems of the embedded domain, and those for which there is a template."""

    templates: Sequence[Template] = ()
    seed: int = 0
    _by_problem: dict[int | str, list[Template]] = field(init=False, repr=False)

    kind = "template"

    def __post_init__(self) -> None:
        by_problem: dict[int | str, list[Template]] = defaultdict(list)
        for template in self.templates:
            by_problem[template.problem].append(template)
        object.__setattr__(self, "_by_problem", dict(by_problem))

    def record(self) -> dict[str, Any]:
        """All that is needed to make the same again."""
        return {"templates": [template.record() for template in self.templates], "seed": self.seed}

    def work(self, parent: Parent, indices: Sequence[int]) -> Script[Made]:
        """Draws new numbers for a problem; asks nothing."""
        yield from ()
        made = Made()
        known = list(parent.known)
        of_domain = parse_problem(parent.statement)
        if of_domain is not None:
            if not check_answer(of_domain, parent.reference_answer):
                return Dropped("reference_is_wrong")
            for index in indices:
                self._add(made, known, parent, index, partial(_draw_domain, of_domain))
            return made
        reason = "no_template"
        templates = self._by_problem.get(parent.statement_hash) or self._by_problem.get(parent.problem_id, [])
        for template in templates:
            original = template.statement.read(parent.statement)
            if original is None:
                reason = "template_gives_another_statement"
                continue
            values = {name: number.value for name, number in original.items()}
            if compare_answers(template.answer_to(values), parent.reference_answer).result != "correct":
                reason = "template_gives_another_answer"
                continue
            for index in indices:
                self._add(made, known, parent, index, partial(_draw_template, template, original))
            return made
        return Dropped(reason)

    def _add(self, made: Made, known: list[str], parent: Parent, index: int, draw: _Draw) -> None:
        """Draws until a variant fits, and counts the most frequent refusal where none does."""
        rng = random.Random(f"{self.seed}/{parent.statement_hash}/{index}")
        original = Posed(parent.statement, parent.reference_answer)
        refusals = Counter[str]()
        for _ in range(_TRIES):
            drawn = draw(rng)
            if drawn is None:
                refusals["no_numbers_found"] += 1
                continue
            variant, extra = drawn
            refusal = refuse_new_numbers(original, variant, known=known)
            if refusal is None:
                known.append(variant.statement)
                extra = {**extra, "seed": self.seed}
                made.variants.append(NewVariant(parent, index, variant.statement, variant.answer, "template", extra))
                return
            refusals[refusal] += 1
        made.refused[refusals.most_common(1)[0][0]] += 1


def _draw_domain(problem: DomainProblem, rng: random.Random) -> tuple[Posed, dict[str, Any]] | None:
    try:
        variant = draw_variant(problem, rng)
    except JobError:
        return None
    return Posed(variant.statement, variant.answer), {"template": "embedded domain", "numbers": list(variant.numbers)}


def _draw_template(
    template: Template, original: Mapping[str, Number], rng: random.Random
) -> tuple[Posed, dict[str, Any]] | None:
    values = {name: rng.choice(choices) for name, choices in template.variables.items()}
    answer = template.answer_to(values)
    if answer is None:
        return None
    extra = {**template.record(), "parameters": {name: str(value) for name, value in values.items()}}
    return Posed(template.statement.fill(values, original), answer), extra


# ---------------------------------------------------------------- reading a file


def read_templates(path: Path) -> list[Template]:
    r"""Reads a file of templates, one JSON object in each line.

    - `statement` (or `problem_id`): the original problem, as the database holds it;
    - `template`: its statement with a place `{name}` for each number that changes;
    - `variables`: by name, what each may be: `[low, high]` (whole numbers, both included), `[low, high, step]`, or
      `{"choices": [...]}`;
    - `conditions`: expressions that must hold, such as `"eggs % 2 == 0"`; may be left out;
    - `answer`: the expression of the answer. Expressions are as `stepmark.expressions.parse_expression` takes them.

    Raises:
        InputError: A line cannot be read; says which, and why.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"cannot read the templates {str(path)!r}: {err}") from err
    templates = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            templates.append(_read_template(json.loads(line), where, hashlib.sha256(line.encode()).hexdigest()[:32]))
        except json.JSONDecodeError as err:
            raise InputError(f"{where}: this is no JSON ({err}); write one object in each line") from err
        except (InputError, RecursionError) as err:
            raise InputError(f"{where}: {err}") from err
    return templates


def _read_template(row: Any, where: str, line_hash: str) -> Template:
    if not isinstance(row, dict):
        raise InputError("this is no JSON object")
    if strange := row.keys() - _FIELDS:
        raise InputError(f"unknown field {sorted(strange)[0]!r}; known are: {', '.join(sorted(_FIELDS))}")
    if not isinstance(row.get("problem_id", 0), int) or ("problem_id" in row) == ("statement" in row):
        raise InputError("give either statement (a text) or problem_id (a number)")
    statement = parse_template(_text(row, "template"))
    variables = row.get("variables")
    if not isinstance(variables, dict) or variables.keys() != set(statement.places):
        raise InputError(f"variables must be an object that names the places {', '.join(statement.places)}")
    conditions = row.get("conditions", [])
    if not isinstance(conditions, list) or not all(isinstance(condition, str) for condition in conditions):
        raise InputError("conditions must be a list of expressions")
    parsed = [parse_expression(condition, names=statement.places) for condition in conditions]
    answer = parse_expression(_text(row, "answer"), names=statement.places)
    if answer.kind != "number":
        raise InputError(f"the answer {answer.text!r} is a condition; write an expression that gives a number")
    for condition in parsed:
        if condition.kind != "truth":
            raise InputError(f"the condition {condition.text!r} is a number; compare it with something")
    return Template(
        where,
        line_hash,
        row["problem_id"] if "problem_id" in row else statement_hash(_text(row, "statement")),
        statement,
        {name: _choices(name, choices) for name, choices in variables.items()},
        tuple(parsed),
        answer,
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise InputError(f"{name} must be a text, not {value!r}")
    return value


def _choices(name: str, described: Any) -> Sequence[Fraction]:
    """What a variable may be.

    >>> [str(value) for value in _choices("n", [1, 2, 0.5])], [str(value) for value in _choices("n", [2, 4])]
    (['1', '3/2', '2'], ['2', '3', '4'])
    """
    is_range = isinstance(described, list)
    given = described if is_range else described.get("choices") if isinstance(described, dict) else None
    if not isinstance(given, list) or not given or not all(_is_number(value) for value in given):
        raise InputError(f"the variable {name!r} is {described!r}; write [low, high], [low, high, step] or choices")
    numbers = [Fraction(repr(value)) for value in given]
    if not is_range:
        return numbers
    low, high, step = (*numbers, Fraction(1))[:3] if len(numbers) in (2, 3) else (Fraction(0),) * 3
    n = (high - low) // step + 1 if step > 0 else 0
    if not 0 < n <= _MAX_CHOICES:
        raise InputError(f"the range {described!r} of {name!r} holds {n} numbers; give low, high and a step above 0")
    return tuple(low + step * index for index in range(n))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER
