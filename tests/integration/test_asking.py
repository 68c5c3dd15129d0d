"""The core of every generator task: follow-up questions, shared payloads, budgets, redoing and resuming."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.connect import reading
from db.locks import holding_run
from db.models import Request as RequestRow
from db.models import Run
from db.runs import list_runs
from generator.asking import Answers, Dropped, Question, Report, Script, first_failure, run_task
from generator.budget import Limits
from stepmark.engine import Failure, Message, Request, Sample, Sampling
from stepmark.errors import LimitReached, SettingsError, UserError
from tests.scripted_engine import ScriptedEngine


@dataclass
class Halving:
    """Finds each number below 16 by asking `is X below Y?` (answers yes or no); `store` keeps what was found."""

    numbers: Sequence[int]
    n: int = 1
    max_tokens: int = 100
    asks_by_value: bool = False
    """Whether two equal numbers ask the same questions."""
    stored: list[tuple[int, int]] = field(default_factory=list)

    kind = "rollouts"
    unit = "numbers"
    product = None

    def record(self) -> dict[str, Any]:
        return {"numbers": list(self.numbers)}

    def count(self, database: sa.Engine, run_id: int | None) -> int:
        return len(self.numbers)

    def items(self, database: sa.Engine, run_id: int | None) -> Iterator[Sequence[tuple[int, int]]]:
        for start in range(0, len(self.numbers), 3):
            yield list(enumerate(self.numbers))[start : start + 3]

    def work(self, item: tuple[int, int]) -> Script[tuple[int, int]]:
        place, number = item
        low, high = 0, 16
        while high - low > 1:
            middle = (low + high) // 2
            name = "" if self.asks_by_value else f"{place}: "
            question = Question(
                (Message("user", f"{name}is {number} below {middle}?"),), Sampling(max_tokens=self.max_tokens), self.n
            )
            (answers,) = yield [question]
            if first_failure(answers) is not None:
                return Dropped("failed sample", is_for_now=True)
            assert len({answer.text for answer in answers}) == 1
            low, high = (low, middle) if answers[0].text == "yes" else (middle, high)
        return place, low

    def store(self, session: Session, run_id: int, results: Sequence[tuple[int, int]]) -> Mapping[str, int]:
        self.stored += results
        return {"found": len(results)}


def reply(request: Request, index: int) -> str:
    words = request.messages[0].content.removesuffix("?").split()
    return "yes" if int(words[-3]) < int(words[-1]) else "no"


NUMBERS = [0, 15, 7, 8, 3, 12, 9]


@pytest.mark.parametrize(("window", "last_first"), [(1, False), (4, False), (4, True), (100, True)])
def test_questions_that_depend_on_answers_are_asked_in_their_turn(
    database: sa.Engine, window: int, last_first: bool
) -> None:
    task, engine = Halving(NUMBERS), ScriptedEngine(reply, window=window, last_first=last_first)
    report = run_task(database, engine, task)
    assert sorted(task.stored) == list(enumerate(NUMBERS))
    assert (report.status, report.n_items, report.n_items_done) == ("done", 7, 7)
    assert (report.n_wanted, report.n_stored, report.counts) == (28, 28, {"found": 7})
    assert set(engine.asked.values()) == {1}


def test_a_run_stopped_between_two_questions_of_an_item_goes_on_from_there(database: sa.Engine) -> None:
    n_answers = 0

    def interrupted(request: Request, index: int) -> str:
        nonlocal n_answers
        n_answers += 1
        if n_answers > 11:
            raise KeyboardInterrupt
        return reply(request, index)

    first = run_task(database, ScriptedEngine(interrupted), Halving(NUMBERS))
    assert (first.status, first.n_stored) == ("stopped", 11)
    task, engine = Halving(NUMBERS), ScriptedEngine(reply)
    second = run_task(database, engine, task)
    assert sorted(task.stored) == list(enumerate(NUMBERS))
    assert (second.status, second.n_stored_before, second.n_stored) == ("done", 11, 17)
    assert first.run_id == second.run_id
    with reading(database) as session:
        run = session.scalars(sa.select(Run)).one()
    assert (run.n_samples, run.n_prompt_tokens, run.n_completion_tokens) == (28, 28 * 20, 28 * 10)
    assert (run.cost_usd, run.n_unpriced, run.status) == (0.0, 28, "done")


def test_runs_are_listed_with_what_they_used_and_what_failed(database: sa.Engine) -> None:
    late = Failure("timeout", "too late")

    def failing(request: Request, index: int) -> Failure | str:
        return late if request.messages[0].content == "2: is 7 below 8?" else reply(request, index)

    run_task(database, ScriptedEngine(failing), Halving(NUMBERS), limits=Limits(10.0, 50.0))
    run_task(database, ScriptedEngine(reply, model="other"), Halving([1]))
    first, second = list_runs(database)
    assert (first.model, first.status, first.n_samples, first.failures) == ("scripted", "done", 24, {"timeout": 1})
    # The failed one was answered, too, for its prompt of 20 tokens.
    assert first.cost_usd == pytest.approx(24 * 700e-6 + 20 * 10e-6)
    assert (second.model, second.n_prompt_tokens, second.cost_usd, second.failures) == ("other", 80, None, {})
    assert list_runs(database, run_id=second.run_id) == [second]
    assert second.record["numbers"] == [1]


def test_what_two_items_ask_alike_is_asked_once(database: sa.Engine) -> None:
    task = Halving([5, 5, 5, 6], n=2, asks_by_value=True)
    engine = ScriptedEngine(reply, window=8)
    report = run_task(database, engine, task)
    assert sorted(task.stored) == [(0, 5), (1, 5), (2, 5), (3, 6)]
    assert set(engine.asked.values()) == {1}
    assert len(engine.asked) == 2 * 2 * 4
    assert (report.n_wanted, report.n_stored, report.n_stored_before, report.n_not_asked) == (32, 16, 16, 0)


def test_a_failed_sample_is_kept_as_a_failure_and_asked_again_by_the_next_run(database: sa.Engine) -> None:
    late = Failure("timeout", "too late")

    def failing(request: Request, index: int) -> Failure | str:
        return late if request.messages[0].content == "2: is 7 below 4?" else reply(request, index)

    task = Halving(NUMBERS)
    report = run_task(database, ScriptedEngine(failing), task)
    assert sorted(task.stored) == [pair for pair in enumerate(NUMBERS) if pair[0] != 2]
    assert (report.status, report.dropped, report.failures) == ("done", {"failed sample": 1}, {"timeout": 1})
    engine = ScriptedEngine(reply)
    again = run_task(database, engine, task := Halving(NUMBERS))
    assert sorted(task.stored) == list(enumerate(NUMBERS))
    assert engine.asked == {("2: is 7 below 4?", 0): 1, ("2: is 7 below 6?", 0): 1, ("2: is 7 below 7?", 0): 1}
    assert again.n_retried == 1


class TestBudget:
    """A budget holds for the run, whatever is in flight, and the run goes on with a larger one."""

    @pytest.mark.parametrize("window", [1, 7])
    def test_tokens(self, database: sa.Engine, window: int) -> None:
        engine = ScriptedEngine(reply, window=window)
        report = run_task(database, engine, Halving(NUMBERS), limits=Limits(budget_tokens=600))
        used = report.n_prompt_tokens + report.n_completion_tokens
        assert report.status == "budget"
        assert report.message is not None
        assert "the budget of 600 tokens is reached" in report.message
        # A question may take 100 tokens and its prompt, so the run stops within one question of the budget.
        assert 600 - 200 < used <= 600
        assert run_task(database, engine, Halving(NUMBERS), limits=Limits(budget_tokens=600)).n_stored == 0
        task = Halving(NUMBERS)
        assert run_task(database, engine, task, limits=Limits(budget_tokens=6000)).status == "done"
        assert sorted(task.stored) == list(enumerate(NUMBERS))
        assert set(engine.asked.values()) == {1}

    def test_money(self, database: sa.Engine) -> None:
        # A question costs 20 x 10 + 10 x 50 = 700 millionths, at most (about 45) x 10 + 100 x 50 = 5,450.
        limits = Limits(10.0, 50.0, budget_usd=0.012)
        report = run_task(database, ScriptedEngine(reply), Halving(NUMBERS), limits=limits)
        assert report.status == "budget"
        assert report.cost_usd == pytest.approx(report.n_stored * 700e-6)
        assert 0.012 - 0.0056 < report.cost_usd <= 0.012
        with reading(database) as session:
            assert session.scalars(sa.select(Run.cost_usd)).one() == pytest.approx(report.cost_usd)
            assert session.scalar(sa.select(sa.func.sum(RequestRow.cost_usd))) == pytest.approx(report.cost_usd)

    def test_a_budget_in_money_without_a_price_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="budget of 5 USD can only be kept where prices are known"):
            Limits(budget_usd=5.0)
        with pytest.raises(SettingsError, match="give both"):
            Limits(1.0)


def test_truncated_samples_are_asked_again_with_a_larger_limit_and_nothing_else_is(database: sa.Engine) -> None:
    def short(request: Request, index: int) -> Sample | str:
        if index == 1 and request.sampling.max_tokens == 100:
            return Sample(reply(request, index)[0], "length", 100)
        return reply(request, index)

    class Lenient(Halving):
        """Takes truncated answers as they are."""

        def work(self, item: tuple[int, int]) -> Script[tuple[int, int]]:
            (answers,) = yield [Question((Message("user", f"is {item[1]} below 8?"),), Sampling(max_tokens=100), 3)]
            self.seen.append(tuple(answer.text for answer in answers))
            return item

        seen: list[tuple[str | None, ...]]

    def lenient() -> Lenient:
        task = Lenient([3, 9])
        task.seen = []
        return task

    first = lenient()
    report = run_task(database, ScriptedEngine(short), first)
    assert sorted(first.seen) == [("no", "n", "no"), ("yes", "y", "yes")]
    assert report.n_truncated == 2
    second, engine = lenient(), ScriptedEngine(short)
    report = run_task(database, engine, second, redo_truncated=400)
    assert sorted(second.seen) == [("no", "no", "no"), ("yes", "yes", "yes")]
    assert engine.asked == {("is 3 below 8?", 1): 1, ("is 9 below 8?", 1): 1}
    assert (report.n_stored_before, report.n_stored, report.n_truncated) == (6, 2, 0)
    third, engine = lenient(), ScriptedEngine(short)
    run_task(database, engine, third, redo_truncated=400)
    assert (sorted(third.seen), engine.asked) == (sorted(second.seen), Counter())


def test_an_estimate_is_of_the_first_questions_and_asks_and_writes_nothing(database: sa.Engine) -> None:
    engine = ScriptedEngine(reply)
    limits = Limits(10.0, 50.0, budget_usd=0.0)
    report = run_task(database, engine, Halving(NUMBERS, n=2), limits=limits, is_dry_run=True)
    found = report.estimate
    assert found is not None
    assert (found.n_requests, found.n_samples, found.n_completion_tokens_at_most) == (7, 14, 1400)
    assert (found.n_completion_tokens_likely, found.cost_usd_likely) == (None, None)
    assert found.cost_usd_at_most == pytest.approx((found.n_prompt_tokens * 10 + 1400 * 50) / 1e6)
    assert engine.asked == Counter()
    with reading(database) as session:
        assert session.scalars(sa.select(Run)).all() == []
    run_task(database, engine, Halving([1]))
    later = run_task(database, engine, Halving(NUMBERS), is_dry_run=True).estimate
    assert later is not None
    assert later.n_completion_tokens_likely == 70


def test_the_answers_of_a_question_know_their_rows_when_results_are_stored(database: sa.Engine) -> None:
    class Keeping(Halving):
        def work(self, item: tuple[int, int]) -> Script[Any]:
            (first,) = yield [Question((Message("user", f"is {item[1]} below 8?"),), Sampling(), 2)]
            (second,) = yield [Question((Message("user", f"is {item[1]} below 4?"),), Sampling(), 1)]
            return item[0], (*first, *second)

        def store(self, session: Session, run_id: int, results: Sequence[tuple[int, Answers]]) -> Mapping[str, int]:
            for _, answers in results:
                rows = [session.get(RequestRow, answer.request_id) for answer in answers]
                assert [(row.response, row.sample_index, row.run_id) for row in rows if row is not None] == [
                    (answer.text, answer.sample_index, run_id) for answer in answers
                ]
            return {"kept": len(results)}

    for _ in range(2):  # the second time from what is stored
        assert run_task(database, ScriptedEngine(reply), Keeping(NUMBERS)).counts == {"kept": 7}


def test_a_full_disk_is_not_taken_for_a_budget(database: sa.Engine) -> None:
    class Full(Halving):
        def store(self, session: Session, run_id: int, results: Sequence[tuple[int, int]]) -> Mapping[str, int]:
            raise LimitReached("the disk is full")

    report = run_task(database, ScriptedEngine(reply), Full(NUMBERS), limits=Limits(budget_tokens=10_000))
    assert (report.status, report.message) == ("failed", "the disk is full")


def test_a_run_that_another_process_is_at_is_refused_and_goes_on_there(database: sa.Engine) -> None:
    first = ScriptedEngine(reply)
    refused: list[str] = []

    def look(report: Report) -> None:
        if not refused:
            with pytest.raises(UserError, match="under way in another process") as err:
                run_task(database, ScriptedEngine(reply), Halving(NUMBERS))
            refused.append(str(err.value))

    report = run_task(database, first, Halving(NUMBERS), on_progress=look)
    assert (report.status, len(refused)) == ("done", 1)
    again = run_task(database, ScriptedEngine(reply), Halving(NUMBERS))  # it was let go of
    assert (again.status, again.n_stored) == ("done", 0)
    assert [row.status for row in list_runs(database)] == ["done"]


def test_a_run_is_let_go_of_by_a_process_that_is_killed(database_url: str, database: sa.Engine) -> None:
    program = (
        "import sys, time\nfrom db.connect import open_database\nfrom db.locks import holding_run\n"
        "with holding_run(open_database(sys.argv[1]), '0' * 32):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, database_url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError), holding_run(database, "0" * 32):
        pass
    process.kill()
    process.communicate()
    with holding_run(database, "0" * 32):
        pass
