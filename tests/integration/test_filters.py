"""Filters on a database: flags that stand once, selection by them, pass rates and diversity, and the commands."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db.connect import open_database, reading, writing
from db.models import Problem, ProblemFlag, ProblemSource, Solution
from db.runs import ProblemSelection, count_problems, iterate_problems
from db.solutions import solution_text_hash
from stepmark.cli.main import app
from stepmark.errors import InputError, SettingsError
from stepmark.flows.filters import (
    clear_flags,
    flag_contaminated,
    flag_duplicates,
    measure_difficulty,
    measure_diversity,
)
from stepmark.intervals import share
from stepmark.problems import family_hash, statement_hash


def add_problem(database: sa.Engine, statement: str, *sources: str, outcomes: str = "") -> int:
    """A problem with a solution for each mark: `r` right, `w` wrong, `?` unknown."""
    with writing(database) as session:
        problem = Problem(
            statement=statement,
            statement_hash=statement_hash(statement),
            family=family_hash(statement),
            kind="original",
        )
        session.add(problem)
        session.flush()
        for source in sources:
            session.add(ProblemSource(problem_id=problem.problem_id, source=source, source_key=statement))
        for number, mark in enumerate(outcomes):
            session.add(
                Solution(
                    problem_id=problem.problem_id,
                    source="toy",
                    source_key=f"{statement} {number}",
                    generator="gen",
                    text=f"{number} + 1 = {number + 1}",
                    text_hash=solution_text_hash(problem.statement_hash, str(number)),
                    steps=[f"{number} + 1 = {number + 1}"],
                    answer=str(number % 2),
                    outcome={"r": True, "w": False, "?": None}[mark],
                )
            )
        return problem.problem_id


def flags(database: sa.Engine) -> list[tuple[int, str, str, str]]:
    columns = (ProblemFlag.problem_id, ProblemFlag.kind, ProblemFlag.against, ProblemFlag.rule)
    with reading(database) as session:
        return sorted(tuple(row) for row in session.execute(sa.select(*columns)))


def chosen(database: sa.Engine, selection: ProblemSelection) -> list[int]:
    found = [one.problem_id for chunk in iterate_problems(database, selection) for one in chunk]
    assert len(found) == count_problems(database, selection)
    return found


def test_duplicates_are_flagged_once_left_out_and_cleared(database: sa.Engine) -> None:
    first = add_problem(database, "Tom has 3 eggs. How many?", "a")
    second = add_problem(database, "tom has three eggs; how many?", "b")
    variant = add_problem(database, "Tom has 4 eggs. How many?", "b")
    report = flag_duplicates(database)
    assert (report.n_read, report.n_kept, report.dropped) == (3, 2, {"masked": 1})
    assert (report.n_new, report.n_removed) == (1, 0)
    again = flag_duplicates(database)
    assert (again.dropped, again.n_new, again.n_removed) == ({"masked": 1}, 0, 0)
    assert flags(database) == [(second, "duplicate", str(first), "masked")]
    assert chosen(database, ProblemSelection()) == [first, variant]
    assert chosen(database, ProblemSelection(with_flagged=True)) == [first, second, variant]
    assert (clear_flags(database, "duplicate"), flags(database)) == (1, [])
    with pytest.raises(SettingsError, match=r"between 0\.6 and 1, not 0\.1"):
        flag_duplicates(database, threshold=0.1)


def test_contamination_is_told_by_test_set_and_a_test_problem_is_never_flagged(database: sa.Engine) -> None:
    test = add_problem(database, "What is 2 + 3?", "bench/test", "mine")
    variant = add_problem(database, "What is 4 + 5?", "mine")
    fine = add_problem(database, "Who has 4 eggs and 5 hens?", "mine")
    add_problem(database, "Who has 6 eggs and 5 hens?", "other/test")
    report = flag_contaminated(database, ["bench/*"])
    assert (report.n_read, report.n_kept, report.dropped) == (3, 2, {"family": 1})
    assert (report.n_in_test_sets, report.n_in_both) == (1, 1)
    assert flag_contaminated(database, ["bench/*"]).n_new == 0
    assert flag_contaminated(database, ["other/test"]).n_new == 1
    both = [
        (variant, "contaminated", "bench/test", "family"),
        (fine, "contaminated", "other/test", "family"),
    ]
    assert flags(database) == both
    with reading(database) as session:
        extra = session.scalars(sa.select(ProblemFlag.extra).order_by(ProblemFlag.problem_id)).first()
    assert extra == {"problem_id": test, "n_13_grams": 0}
    assert clear_flags(database, "contaminated", ["bench/test"]) == 1
    assert flags(database) == both[1:]
    with pytest.raises(InputError, match="named like 'nowhere'; there are: bench/test, mine, other/test"):
        flag_contaminated(database, ["nowhere"])


def test_flags_that_no_longer_hold_go(database: sa.Engine) -> None:
    words = "a river runs by the old mill and the new mill and the boat of ann and bob"
    add_problem(database, f"{words} goes up {words} at noon")
    add_problem(database, f"{words} goes down {words} at noon")
    assert flag_duplicates(database, threshold=0.6).dropped == {"minhash": 1}
    assert (flag_duplicates(database, threshold=1.0).n_removed, flags(database)) == (1, [])


def test_pass_rates_count_known_outcomes_only_and_select_problems(database: sa.Engine) -> None:
    ids = [
        add_problem(database, f"p{marks}", outcomes=marks) for marks in ("rrrr", "rwww?", "wwww", "??", "rrrw", "")
    ]
    report = measure_difficulty(database, min_pass=0.25, max_pass=0.9)
    assert report.n_read == 5
    assert report.dropped == {"too easy": 1, "too hard": 1, "outcomes unknown": 1}
    assert [(one.problem_id, one.n_solutions, one.pass_rate) for one in report.problems] == [
        (ids[1], 5, share(1, 4)),
        (ids[4], 4, share(3, 4)),
    ]
    assert {name: n for name, n in report.histogram.items() if n} == {
        "never solved": 1,
        "0.2-0.3": 1,
        "0.7-0.8": 1,
        "always solved": 1,
    }
    assert measure_difficulty(database, generator="other").n_read == 0
    assert chosen(database, ProblemSelection(min_pass=0.25, max_pass=0.9)) == [ids[1], ids[4]]
    assert chosen(database, ProblemSelection(max_pass=0.0)) == [ids[2]]


def test_diversity_is_measured_where_there_are_two_solutions(database: sa.Engine) -> None:
    add_problem(database, "one", outcomes="r")
    two = add_problem(database, "four", outcomes="rrrr")
    report = measure_diversity(database)
    assert (report.n_read, report.dropped, list(report.problems)) == (2, {"one solution": 1}, [two])
    found = report.problems[two]
    assert (found.n, found.n_texts, found.n_answers, found.n_operator_sequences) == (4, 4, 2, 1)
    assert report.means == {"texts": 1.0, "answers": 0.5, "operator sequences": 0.25, "distinct 4-grams": 1.0}


def test_the_commands_print_what_was_read_kept_and_dropped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = open_database(url, create=True)
    add_problem(database, "Tom has 3 eggs. How many?", "a", outcomes="rw")
    add_problem(database, "Tom has three eggs. How many?", "b")

    def command(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--db", url], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert command("filter", "duplicates").splitlines() == [
        "duplicates: read 2, kept 1, dropped 1 (1 masked)",
        "  1 flags are new, 0 no longer hold and are gone",
    ]
    dry = command("generate", "solutions", "--model", "m", "--dry-run")
    assert "left out: 1 problems that repeat others" in dry
    assert "1 problems, 0 of them done before" in dry
    assert "2 problems, 0" in command("generate", "solutions", "--model", "m", "--dry-run", "--with-flagged")
    assert command("filter", "duplicates", "--clear") == "1 flags are gone\n"
    assert command("filter", "contamination", "--against", "a").splitlines() == [
        "contamination: read 1, kept 0, dropped 1 (1 family)",
        "  1 flags are new, 0 no longer hold and are gone",
        "  1 problems of the test sets, 0 of them in other sources too",
    ]
    (problem,) = json.loads(command("filter", "difficulty", "--json"))["problems"]
    assert (problem["pass_rate"]["n_yes"], problem["pass_rate"]["n"], problem["n_solutions"]) == (1, 2, 2)
    assert "difficulty: read 1, kept 1, dropped 0" in command("filter", "difficulty")
    assert "operator sequences for each solution   0.500" in command("filter", "diversity")
    assert json.loads(command("filter", "diversity", "--json"))["problems"][0]["n_texts"] == 2
    database.dispose()
