"""Variants into the database: what is kept and why the rest is not, trust, families, resuming, hostile programs."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.connect import reading, writing
from db.models import Problem, ProblemSource, Run, Solution
from db.problems import add_problems
from db.runs import ProblemSelection
from exports.queries.exporting import Target, export_set
from exports.queries.orm_rows import best_of_n_set, orm_set
from exports.queries.preference_rows import PreferenceOptions, preference_set
from exports.queries.selection import Selection
from generator.asking import Report, run_task
from generator.domain import check_answer, draw_problems, parse_problem
from generator.variants import (
    Backward,
    Programs,
    Rephrased,
    Solving,
    Templates,
    VariantsTask,
    Way,
    make_variants,
    read_templates,
)
from stepmark.engine import Failure, Request, Sampling
from stepmark.errors import InputError, SandboxUnavailable
from stepmark.problems import masked_signature
from stepmark.prompts import Prompt, read_prompt
from stepmark.records import ProblemRecord
from stepmark.variants import find_numbers
from tests.scripted_engine import ScriptedEngine

ROOT = Path(__file__).parents[2]
PEARS = "Ann has 12 pears and gives 5 away. How many pears are left?"
EGGS = "Tom buys 4 boxes of 6 eggs at $2.50 a box. What does he pay in dollars?"
SAMPLING = Sampling()
PLAIN = Prompt("plain", "Solve: {problem}")
Reply = Callable[[Request, int], Failure | str]


def add(database: sa.Engine, *problems: tuple[str, str | None], source: str = "toy") -> None:
    """Adds original problems with their answers."""
    with writing(database) as session:
        add_problems(
            session,
            [
                ProblemRecord(statement, source, f"{source}-{number}", answer, licence="MIT")
                for number, (statement, answer) in enumerate(problems)
            ],
        )


def make(database: sa.Engine, way: Way, *, n: int = 1, limit: int | None = None) -> Report:
    return make_variants(database, VariantsTask(way, n, ProblemSelection(limit=limit)))


def ask(database: sa.Engine, engine: ScriptedEngine, way: Way, *, n: int = 1) -> Report:
    return run_task(database, engine, VariantsTask(way, n, ProblemSelection()))


def variants(database: sa.Engine) -> list[tuple[Problem, ProblemSource, Problem]]:
    """Every variant with its source row and its parent, in the order of their ids."""
    parent = sa.orm.aliased(Problem)
    query = (
        sa.select(Problem, ProblemSource, parent)
        .join(ProblemSource, ProblemSource.problem_id == Problem.problem_id)
        .join(parent, parent.problem_id == Problem.parent_id)
        .order_by(Problem.problem_id)
    )
    with reading(database) as session:
        return [(row[0], row[1], row[2]) for row in session.execute(query)]


def kept(database: sa.Engine) -> list[tuple[str, str | None, str | None]]:
    """Statement, answer and trust of every variant."""
    return [(one.statement, one.reference_answer, one.reference_trust) for one, _, _ in variants(database)]


# ---------------------------------------------------------------- templates


def test_variants_of_the_embedded_domain_hold_all_conditions_and_the_exact_checker_agrees(
    database: sa.Engine,
) -> None:
    add(database, *((problem.statement, problem.answer) for problem in draw_problems(100, 7, part="reserved")))
    report = make(database, Templates(), n=3)
    found = variants(database)
    refused = {what: count for what, count in report.counts.items() if what != "variants"}
    assert (report.n_items, report.n_items_done, report.dropped) == (100, 100, {})
    assert report.counts["variants"] == len(found) == 300 - sum(refused.values())
    assert sum(refused.values()) < 10
    for variant, source, parent in found:
        problem = parse_problem(variant.statement)
        assert problem is not None
        assert check_answer(problem, variant.reference_answer) is True
        assert (variant.kind, variant.reference_trust, variant.family) == ("template", "template", parent.family)
        assert masked_signature(variant.statement) == masked_signature(parent.statement)
        assert variant.reference_answer != parent.reference_answer
        values = [number.value for number in find_numbers(variant.statement)]
        assert len(set(values)) == len(values)
        assert source.source == "variants/template"
        assert source.source_key.startswith(f"{parent.statement_hash}/")
        assert source.licence == "MIT"
    assert len({variant.statement for variant, _, _ in found} | {parent.statement for _, _, parent in found}) == (
        len(found) + 100
    )


def test_a_second_run_makes_only_what_is_missing_and_the_same_again_elsewhere(
    database: sa.Engine, tmp_path: Path
) -> None:
    problems = [(problem.statement, problem.answer) for problem in draw_problems(20, 8, part="reserved")]
    add(database, *problems)
    assert make(database, Templates(), n=1, limit=5).counts == {"variants": 5}
    first = kept(database)
    assert make(database, Templates(), n=1, limit=5).n_items == 0
    assert make(database, Templates(), n=3).counts == {"variants": 55}
    assert kept(database)[:5] == first
    assert make(database, Templates(), n=3).n_items == 0
    from db.connect import open_database

    other = open_database(f"sqlite:///{tmp_path / 'other.db'}", create=True)
    add(other, *problems)
    make(other, Templates(), n=3)
    assert sorted(map(repr, kept(other))) == sorted(map(repr, kept(database)))
    assert sorted(map(repr, kept(other))) != []
    other.dispose()


def write_templates(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


EGG_TEMPLATE = {
    "statement": EGGS,
    "template": "Tom buys {boxes} boxes of 6 eggs at ${price} a box. What does he pay in dollars?",
    "variables": {"boxes": [2, 20], "price": [1.5, 9, 0.25]},
    "conditions": ["boxes * price % 1 == 0", "price != boxes"],
    "answer": "boxes * price",
}


def test_a_template_gives_variants_where_it_reproduces_its_original(database: sa.Engine, tmp_path: Path) -> None:
    add(database, (EGGS, "10"), (PEARS, "7"), ("Bo has 3 hats. How many?", "3"), ("Cy has 4 hats.", None))
    rows = (
        EGG_TEMPLATE,
        {
            "statement": PEARS,
            "template": "Ann has {n} pears and gives {k} away. How many pears are left?",
            "variables": {"n": [10, 30], "k": {"choices": [2, 3, 4]}},
            "answer": "n + k",
        },
        {
            "statement": "Bo has 3 hats. How many?",
            "template": "Bo has {n} cats. How many?",
            "variables": {"n": [1, 9]},
            "answer": "n",
        },
    )
    report = make(database, Templates(read_templates(write_templates(tmp_path / "t.jsonl", *rows))), n=4)
    assert (report.n_items, report.n_items_done) == (3, 1)
    assert report.dropped == {"template_gives_another_answer": 1, "template_gives_another_statement": 1}
    found = variants(database)
    assert report.counts == {"variants": 4}
    for variant, source, _ in found:
        match = re.fullmatch(r"Tom buys (\d+) boxes of 6 eggs at \$(\d\.\d\d) a box\. What .*", variant.statement)
        assert match is not None
        assert source.extra is not None
        assert source.extra == {
            "template": "t.jsonl:1",
            "template_hash": hashlib.sha256(json.dumps(EGG_TEMPLATE).encode()).hexdigest()[:32],
            "parameters": {"boxes": match[1], "price": source.extra["parameters"]["price"]},
            "seed": 0,
        }
        assert float(variant.reference_answer or "") == int(match[1]) * float(match[2])
        assert "." not in (variant.reference_answer or ".")
        assert (variant.reference_trust, variant.kind) == ("template", "template")
    assert make(database, Templates(), n=4).dropped == {"no_template": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "__import__('os')"}, "only arithmetic"),
        ({"answer": "boxes * cost"}, "names 'cost'"),
        ({"answer": "boxes > 1"}, "is a condition"),
        ({"conditions": ["boxes"]}, "is a number"),
        ({"conditions": "boxes > 1"}, "list of expressions"),
        ({"variables": {"boxes": [2, 20]}}, "names the places boxes, price"),
        ({"variables": {"boxes": [20, 2], "price": [1, 2]}}, "holds -17 numbers"),
        ({"variables": {"boxes": [1, 10**9], "price": [1, 2]}}, "holds 1000000000 numbers"),
        ({"variables": {"boxes": [True, 2], "price": [1, 2]}}, "write \\[low, high\\]"),
        ({"variables": {"boxes": "1-9", "price": [1, 2]}}, "write \\[low, high\\]"),
        ({"template": "Tom buys boxes."}, "no place"),
        ({"statement": 5}, "must be a text"),
        ({"problem_id": 5}, "either statement"),
        ({"anwser": "5"}, "unknown field 'anwser'"),
    ],
)
def test_a_template_that_cannot_be_read_is_named_by_its_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^t\.jsonl:2: .*{message}"):
        read_templates(write_templates(tmp_path / "t.jsonl", EGG_TEMPLATE, EGG_TEMPLATE | change))


# ---------------------------------------------------------------- programs

RIGHT = """
STATEMENT = "Ann has {pears} pears and gives {given} away. How many pears are left?"

def solve(pears=12, given=5):
    return pears - given

def generate(rng):
    pears = rng.randint(5, 60)
    return {"pears": pears, "given": rng.randint(2, pears - 1)}
"""
OTHER = """
STATEMENT = "Ann has {a} pears and gives {b} away. How many pears are left?"

def solve(a=12.0, b=5.0):
    left = a
    left -= b
    return left

def generate(rng):
    return {"a": 90, "b": 1}
"""
FORK_BOMB = "import os\nwhile True:\n    os.fork()\n"
NETWORK = "import socket\nsocket.create_connection(('127.0.0.1', 1))\n" + RIGHT
READS_FILES = "open('/etc/passwd').read()\n" + RIGHT
ENDLESS = RIGHT + "\nwhile True:\n    pass\n"
FLOOD = RIGHT + "\nimport sys\nwhile True:\n    sys.stderr.write('x' * 9999)\n"
WRONG_ANSWER = RIGHT.replace("pears - given\n", "pears - given - 1\n")
WRONG_STATEMENT = RIGHT.replace("Ann", "Ben")
UNUSED = RIGHT.replace("return pears - given", "return 7")
READS_ONE = OTHER.replace("{b}", "5").replace(", b=5.0", "").replace("-= b", "-= 5")
OVERFIT = RIGHT.replace("return pears - given", "return pears * given - 53")
FORGED = "import os\nos.write(1, b'[' * 100000)\nos._exit(0)\n"
HUGE = RIGHT.replace('return {"pears": pears', 'return {"pears": 10 ** 5000')
NO_NUMBER = RIGHT.replace("return pears - given", "return 'seven'")


def fenced(program: str) -> str:
    return f"Here it is.\n\n```python{program if program.startswith(chr(10)) else chr(10) + program}```\n"


def writes(*programs: str, solution: Callable[[str, int], str] = lambda statement, index: "none") -> Reply:
    """The first samples are these programs; a question that begins with `Solve:` is answered by `solution`."""

    def reply(request: Request, index: int) -> str:
        text = request.messages[-1].content
        return (
            solution(text.removeprefix("Solve: "), index) if text.startswith("Solve: ") else fenced(programs[index])
        )

    return reply


def left(statement: str) -> int:
    pears, given = (int(number.value) for number in find_numbers(statement))
    return pears - given


def programs(n: int = 2, **more: Any) -> Programs:
    return Programs(read_prompt("program"), SAMPLING, n, **more)


@pytest.mark.usefixtures("sandbox")
def test_two_programs_that_reproduce_the_original_and_agree_give_variants(database: sa.Engine) -> None:
    add(database, (PEARS, "7"), ("How high is it?", "very high"))
    engine = ScriptedEngine(writes(RIGHT, OTHER))
    report = ask(database, engine, programs(), n=3)
    assert (report.counts, report.dropped) == ({"variants": 3}, {"answer_is_no_number": 1})
    for variant, source, parent in variants(database):
        assert variant.statement.startswith("Ann has ")
        assert variant.reference_answer == str(left(variant.statement))
        assert (variant.kind, variant.reference_trust, variant.family) == ("program", "programs", parent.family)
        assert source.extra is not None
        assert len({program["hash"] for program in source.extra["programs"]}) == 2
        assert [program["sample_index"] for program in source.extra["programs"]] == [0, 1]
    again = ScriptedEngine(writes(RIGHT, OTHER))
    assert ask(database, again, programs(), n=3).n_items == 1
    assert ask(database, again, programs(), n=5).counts == {"variants": 2}
    assert again.asked == Counter()
    assert len(variants(database)) == 5


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (RIGHT, WRONG_ANSWER, "one_program_only"),
        (RIGHT, OVERFIT, "programs_disagree"),
        (RIGHT, RIGHT, "one_program_only"),
        (WRONG_ANSWER, WRONG_ANSWER + "#", "answer_not_reproduced"),
        (WRONG_STATEMENT, WRONG_STATEMENT, "statement_not_reproduced"),
        (UNUSED, UNUSED, "parameter_unused"),
        (NETWORK, NETWORK, "program_failed"),
        (READS_FILES, READS_FILES, "program_failed"),
        (FORGED, FORGED, "program_unreadable"),
        (NO_NUMBER, NO_NUMBER, "answer_not_reproduced"),
        ("", "", "program_failed"),
    ],
)
def test_programs_that_do_not_count_give_no_variant(first: str, second: str, reason: str, tmp_path: Path) -> None:
    from db.connect import open_database

    database = open_database(f"sqlite:///{tmp_path / 'a.db'}", create=True)
    add(database, (PEARS, "7"))
    report = ask(database, ScriptedEngine(writes(first, second)), programs())
    assert (report.counts, report.dropped) == ({}, {reason: 1})
    assert variants(database) == []
    database.dispose()


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("program", "reason"),
    [(FORK_BOMB, "program_failed"), (ENDLESS, "program_stopped_by_time"), (FLOOD, "program_stopped_by_output")],
)
def test_a_program_that_would_take_the_machine_is_ended(program: str, reason: str, tmp_path: Path) -> None:
    from db.connect import open_database

    database = open_database(f"sqlite:///{tmp_path / 'a.db'}", create=True)
    add(database, (PEARS, "7"))
    report = ask(database, ScriptedEngine(writes(program)), programs(1))
    (found,) = report.dropped
    assert found in {reason, "program_stopped_by_time"}
    assert variants(database) == []
    database.dispose()


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("first", "second", "refusal"),
    [
        (RIGHT.replace("rng.randint(2, pears - 1)", "4"), READS_ONE, "programs_read_otherwise"),
        (HUGE, OTHER, "no_numbers_found"),
        (RIGHT.replace("rng.randint(2, pears - 1)", "pears + 1"), OTHER, "answer_not_positive"),
        (RIGHT.replace("rng.randint(2, pears - 1)", "pears - 7"), OTHER, "answer_unchanged"),
        (RIGHT.replace("rng.randint(5, 60)", "20").replace("rng.randint(2, pears - 1)", "10 + 0.5"), OTHER, None),
    ],
)
def test_variants_on_which_programs_differ_or_that_do_not_fit_are_refused(
    first: str, second: str, refusal: str | None, tmp_path: Path
) -> None:
    from db.connect import open_database

    database = open_database(f"sqlite:///{tmp_path / 'a.db'}", create=True)
    add(database, (PEARS, "7"))
    report = ask(database, ScriptedEngine(writes(first, second)), programs(), n=2)
    assert report.counts == {f"refused: {refusal or 'answer_not_whole'}": 2}
    assert variants(database) == []
    database.dispose()


def solving(n: int = 3, n_agreeing: int = 2) -> Solving:
    return Solving(PLAIN, SAMPLING, n, n_agreeing)


def answered(answer: object) -> str:
    return f"Step 1: I count.\n\n# Answer\n\n{answer}"


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("solution", "counts"),
    [
        (lambda statement, index: answered(left(statement) if index else 0), {"variants": 2}),
        (lambda statement, index: answered(left(statement) + 1), {"refused: majority_disagrees": 2}),
        (lambda statement, index: answered(index), {"refused: no_majority": 2}),
        (lambda statement, index: "no idea", {"refused: no_majority": 2}),
    ],
)
def test_the_majority_of_solutions_may_stand_for_the_second_program(
    solution: Callable[[str, int], str], counts: dict[str, int], tmp_path: Path
) -> None:
    from db.connect import open_database

    database = open_database(f"sqlite:///{tmp_path / 'a.db'}", create=True)
    add(database, (PEARS, "7"))
    engine = ScriptedEngine(writes(RIGHT, WRONG_ANSWER, solution=solution))
    report = ask(database, engine, programs(solving=solving()), n=2)
    assert report.counts == counts
    for statement, answer, trust in kept(database):
        assert (answer, trust) == (str(left(statement)), "program_and_majority")
    assert len(kept(database)) == counts.get("variants", 0)
    database.dispose()


@pytest.mark.usefixtures("sandbox")
def test_the_majoritys_answer_alone_is_taken_only_where_silver_is_allowed(database: sa.Engine) -> None:
    add(database, (PEARS, "7"))
    reply = writes(WRONG_ANSWER, FORK_BOMB, solution=lambda statement, index: answered(left(statement)))
    report = ask(database, ScriptedEngine(reply), programs(solving=solving()))
    assert (report.counts, kept(database)) == ({}, [])
    report = ask(database, ScriptedEngine(reply), programs(solving=solving(), is_silver_allowed=True))
    assert report.counts == {"variants": 1}
    ((statement, answer, trust),) = kept(database)
    assert (answer, trust) == (str(left(statement)), "majority")


def test_a_problem_whose_answer_is_only_a_majoritys_is_in_no_test_split(database: sa.Engine, tmp_path: Path) -> None:
    """The same solutions, exported twice: once the answers are silver, the test split is empty and no other."""
    add(database, *((f"{PEARS} {number}", "7") for number in range(40)))
    with writing(database) as session:
        for problem_id in session.scalars(sa.select(Problem.problem_id)).all():
            for index, outcome in enumerate((True, False)):
                key, text = f"{problem_id}/{index}", f"text {index}"
                session.add(
                    Solution(
                        problem_id=problem_id, source="toy", source_key=key, text=text, text_hash=key,
                        steps=[text], outcome=outcome,
                    )
                )  # fmt: skip
        parents = session.scalars(sa.select(Problem.problem_id)).all()
        # Families of their own, so that some are in each split.
        for problem_id in parents:
            session.execute(
                sa.update(Problem).where(Problem.problem_id == problem_id).values(family=f"family-{problem_id}")
            )
    shares = {"train": 0.5, "test": 0.5}

    def export(name: str) -> list[tuple[dict[str, int], dict[str, int]]]:
        outcomes = PreferenceOptions(origin="outcomes")
        target = Target(tmp_path / name, shares=shares)
        reports = (
            export_set(database, target, orm_set(Selection())),
            export_set(database, target, best_of_n_set(Selection())),
            export_set(database, target, preference_set(Selection(), outcomes)),
        )
        return [(report.splits, report.dropped) for report in reports]

    before = export("before")
    with writing(database) as session:
        session.execute(sa.update(Problem).values(reference_trust="majority"))
    after = export("after")
    for (splits, dropped), (splits_after, dropped_after) in zip(before, after, strict=True):
        assert splits["test"] > 0
        assert splits["train"] > 0
        assert splits_after == {"train": splits["train"]}
        assert dropped_after == {**dropped, "silver_in_test": splits["test"]}


def test_without_a_sandbox_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise SandboxUnavailable("bwrap is not installed")

    monkeypatch.setattr("generator.variants.programs.check_sandbox", refuse)
    with pytest.raises(SandboxUnavailable):
        programs()


# ---------------------------------------------------------------- rephrased

REWRITTEN = "Of the 12 pears that Ann had, 5 were given away. How many does she still have?"


def rewrites(*texts: str | Failure, solution: Callable[[str, int], str]) -> Reply:
    def reply(request: Request, index: int) -> Failure | str:
        text = request.messages[-1].content
        return solution(text.removeprefix("Solve: "), index) if text.startswith("Solve: ") else texts[index]

    return reply


def rephrased(n: int = 3, n_agreeing: int = 2) -> Rephrased:
    return Rephrased(read_prompt("rephrase"), SAMPLING, solving(n, n_agreeing))


def test_a_rewriting_is_kept_where_solutions_of_it_still_reach_the_answer(database: sa.Engine) -> None:
    add(database, (PEARS, "7"))
    texts = (
        REWRITTEN,
        "Ann had 12 pears, 5 of which she ate. How many did she eat?",
        "Ann had 12 pears and gave five away, 5. How many are left?",
        f" {PEARS}\n",
        "Ann had 12 pears. After 5 were given away, the answer is how many? Answer: 7",
        "Of the twelve  pears that Ann had, five were given away. How many does she still have?",
        Failure("timeout", "too late"),
        "  ",
    )

    def solution(statement: str, index: int) -> str:
        return answered(5 if "ate" in statement else 7 if index < 2 else 6)

    engine = ScriptedEngine(rewrites(*texts, solution=solution))
    report = ask(database, engine, rephrased(), n=8)
    assert report.counts == {
        "variants": 1,
        "refused: not_reached_by_solutions": 1,
        "refused: numbers_changed": 1,
        "refused: statement_unchanged": 1,
        "refused: leak": 1,
        "refused: duplicate": 1,
        "refused: failed_sample": 1,
        "refused: empty": 1,
    }
    ((variant, source, parent),) = variants(database)
    assert (variant.statement, variant.reference_answer) == (REWRITTEN, "7")
    assert (variant.kind, variant.reference_trust, variant.family) == ("rephrased", "source", parent.family)
    assert source.extra is not None
    assert (source.extra["n_solutions"], source.extra["n_right"], source.extra["sample_index"]) == (3, 2, 0)
    asked = engine.asked.total()
    ask(database, engine, rephrased(), n=8)
    assert engine.asked.total() == asked + 1  # the one that failed
    assert len(variants(database)) == 1


def test_a_killed_run_asks_again_only_what_is_missing(database: sa.Engine) -> None:
    add(database, (PEARS, "7"), ("Bo has 9 hats and loses 4. How many hats are left?", "5"))
    other = "Bo, with 9 hats, loses 4. How many hats remain?"

    def reply(request: Request, index: int) -> str:
        text = request.messages[-1].content
        if text.startswith("Solve: "):
            return answered(7 if "pears" in text else 5)
        return REWRITTEN if "pears" in text else other

    def interrupted(request: Request, index: int) -> str:
        if request.messages[-1].content.startswith("Solve: Bo"):
            raise KeyboardInterrupt
        return reply(request, index)

    first, second = ScriptedEngine(interrupted, window=1), ScriptedEngine(reply)
    assert ask(database, first, rephrased()).status == "stopped"
    assert [statement for statement, _, _ in kept(database)] == [REWRITTEN]
    assert ask(database, second, rephrased()).status == "done"
    assert [statement for statement, _, _ in kept(database)] == [REWRITTEN, other]
    assert second.asked == Counter({(f"Solve: {other}", index): 1 for index in range(3)})


# ---------------------------------------------------------------- backward


def backward(check: Solving | None = None) -> Backward:
    return Backward(read_prompt("backward"), solving=check)


def test_backward_variants_hide_one_number_and_ask_for_it(database: sa.Engine) -> None:
    add(
        database,
        (PEARS, "7"),
        ("Bo has 3 hats, 3 cats and seven dogs, 10 in all. How many hats and dogs?", "10"),
        ("How high?", "high"),
    )
    report = make(database, backward(), n=3)
    assert report.counts == {"variants": 2, "refused: no_number_left": 4}
    assert report.dropped == {"answer_is_no_number": 1}
    tail = "Suppose that the answer to this question is known: it is 7. Which number does x stand for?"
    assert sorted(kept(database)) == sorted(
        [
            (f"Ann has x pears and gives 5 away. How many pears are left? {tail}", "12", "source"),
            (f"Ann has 12 pears and gives x away. How many pears are left? {tail}", "5", "source"),
        ]
    )
    assert {(variant.kind, variant.family == parent.family) for variant, _, parent in variants(database)} == {
        ("backward", True)
    }
    assert make(database, backward(), n=3).counts == {"refused: no_number_left": 4}


def test_backward_variants_that_no_solution_reaches_are_refused(database: sa.Engine) -> None:
    add(database, (PEARS, "7"))
    engine = ScriptedEngine(lambda request, index: answered(12 if "x pears" in request.messages[-1].content else 4))
    report = ask(database, engine, backward(solving()), n=2)
    assert report.counts == {"variants": 1, "refused: not_reached_by_solutions": 1}
    ((variant, source, _),) = variants(database)
    assert (variant.reference_answer, source.extra) == (
        "12",
        {"hidden": "12", "unknown": "x", "seed": 0, "n_solutions": 3, "n_right": 3},
    )


# ---------------------------------------------------------------- the command


def command(url: str, *options: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "stepmark", "generate", "variants", "--db", url, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240)


def test_the_command_makes_variants_of_domain_problems_without_a_model(database_url: str) -> None:
    from db.connect import open_database

    database = open_database(database_url, create=True)
    add(database, *((problem.statement, problem.answer) for problem in draw_problems(10, 5, part="reserved")))
    first = command(database_url, "--kind", "template", "--n", "2")
    assert (first.returncode, first.stdout) == (
        0,
        "problems: read 10, kept 10, dropped 0\nstored: 20 variants\n",
    ), first.stderr
    second = command(database_url, "--kind", "template", "--n", "2", "--json")
    assert json.loads(second.stdout)["n_items"] == 0
    assert len(variants(database)) == 20
    with reading(database) as session:
        assert session.scalars(sa.select(Run)).all() == []
    database.dispose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--kind", "rephrased"), "give --model"),
        (("--kind", "backward", "--check-samples", "2"), "give --model"),
        (("--kind", "template", "--check-samples", "2"), "are exact"),
        (("--kind", "backward", "--templates", "a.jsonl"), "is for --kind template"),
        (("--kind", "program", "--model", "m", "--silver"), "--check-samples"),
        (("--kind", "rephrased", "--model", "m", "--check-samples", "0"), "give --check-samples"),
        (("--kind", "rephrased", "--model", "m", "--check-agree", "9"), "can never be"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(options: Sequence[str], message: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from stepmark.cli.main import app

    result = CliRunner().invoke(app, ["generate", "variants", "--db", f"sqlite:///{tmp_path / 'a.db'}", *options])
    assert message in str(result.exception)
