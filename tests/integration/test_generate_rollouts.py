"""Step values by rollouts: what is asked, how answers are counted, resuming, labels and consensus."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from db import migrate
from db.connect import create_engine, open_database, reading, writing
from db.models import Annotation, Annotator, Critique, Problem, Run, Solution, StepLabel
from db.models import Request as RequestRow
from db.models import StepValue as StepValueRow
from db.problems import add_problems
from db.step_values import valued_solutions
from db.subjects import SolutionSelection
from generator.asking import Report, run_task
from generator.domain import draw_problems, parse_problem
from generator.engines.decoding import Conversations
from generator.engines.openai import OpenAIEngine
from generator.engines.transformers import TransformersEngine
from generator.rollouts import Mode, RolloutsTask, rollout_answer
from generator.solutions import generate_solutions
from stepmark.answers import AnswerVerifier
from stepmark.cli.main import app
from stepmark.engine import Failure, Message, Request, Sample, Sampling
from stepmark.flows.rollout_labels import label_by_consensus, label_by_rollouts
from stepmark.flows.verify import verify_solutions
from stepmark.prompts import Prompt
from stepmark.records import ProblemRecord
from stepmark.step_values import START, StepValue
from stepmark.steps import render_prefix, render_solution
from tests.completion_server import CompletionServer
from tests.scripted_engine import Reply, ScriptedEngine

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "examples" / "embedded" / "model")
PLAIN = Prompt("plain", "{problem}")
STEPS = ("9 + 7 = 16", "16 - 2 = 14", "14 * 3 = 42", "42 + 1 = 44", "44 - 4 = 40")
"""The fourth is wrong; the right answer is 39."""


@pytest.fixture(scope="module")
def verifier() -> Iterator[AnswerVerifier]:
    with AnswerVerifier(workers=1) as found:
        yield found


def add_solution(
    database: sa.Engine,
    steps: tuple[str, ...] = STEPS,
    answer: str = "40",
    *,
    outcome: bool | None = False,
    statement: str = "How many?",
    reference: str | None = "39",
    answer_kind: str = "value",
) -> int:
    with writing(database) as session:
        problem = session.scalar(sa.select(Problem).where(Problem.statement == statement))
        if problem is None:
            problem = Problem(
                statement=statement,
                statement_hash=f"{hash(statement)}"[:32],
                family="f",
                kind="original",
                reference_answer=reference,
                answer_kind=answer_kind,
            )
            session.add(problem)
            session.flush()
        n = session.scalar(sa.select(sa.func.count()).select_from(Solution))
        solution = Solution(
            problem_id=problem.problem_id,
            source="test",
            source_key=str(n),
            text=render_solution(steps, answer),
            text_hash=f"{n}",
            steps=list(steps),
            answer=answer,
            outcome=outcome,
        )
        session.add(solution)
        session.flush()
        return solution.solution_id


def prefix_length(request: Request) -> int:
    """Steps of the prefix that a request continues."""
    last = request.messages[-1]
    return 0 if last.role == "user" else last.content.count("Step ")


def right_below(n_steps: int, n_right: int = 3) -> Reply:
    """Samples 0 to `n_right` - 1 from prefixes of fewer than `n_steps` steps are right."""

    def reply(request: Request, index: int) -> str:
        return "# Answer\n\n" + ("39" if prefix_length(request) < n_steps and index < n_right else "41")

    return reply


def roll_out(
    database: sa.Engine,
    reply: Reply | ScriptedEngine,
    verifier: AnswerVerifier,
    *,
    k: int = 4,
    mode: Mode = "full",
    **options: object,
) -> Report:
    engine = reply if isinstance(reply, ScriptedEngine) else ScriptedEngine(reply)
    task = RolloutsTask(PLAIN, Sampling(), k, verifier, mode=mode, **options)  # type: ignore[arg-type]
    return run_task(database, engine, task)


def found(database: sa.Engine, run_id: int | None = 1) -> dict[int, dict[int, StepValue]]:
    assert run_id is not None
    return {one.solution_id: one.values for chunk in valued_solutions(database, run_id) for one in chunk}


def test_every_prefix_is_put_as_the_beginning_of_the_models_answer(
    database: sa.Engine, verifier: AnswerVerifier
) -> None:
    solution = add_solution(database)
    asked: list[tuple[Message, ...]] = []

    def reply(request: Request, index: int) -> str:
        asked.append(request.messages)
        return right_below(4)(request, index)

    report = roll_out(database, reply, verifier, k=4)
    user = Message("user", "How many?")
    prefixes = [render_prefix(STEPS[:n]) for n in range(1, 6)]
    assert set(asked) == {(user,), *((user, Message("assistant", prefix)) for prefix in prefixes)}
    assert prefixes[1] == "Step 1: 9 + 7 = 16\n\nStep 2: 16 - 2 = 14\n\n"
    assert found(database) == {
        solution: {index: StepValue(3 if index < 3 else 0, 4) for index in range(START, len(STEPS))}
    }
    assert report.counts == {
        "step values": 6,
        "rollouts": 24,
        "rollouts that are right": 12,
        "rollouts without a readable answer": 0,
        "rollouts that failed": 0,
    }


class TestFaultsOfOthers:
    """What a packaged implementation (distilabel 1.5.3) gets wrong."""

    def test_completions_are_samples_of_one_prompt_each_by_itself(
        self, database: sa.Engine, verifier: AnswerVerifier
    ) -> None:
        add_solution(database, STEPS[:1])
        engine = ScriptedEngine(right_below(9))
        roll_out(database, engine, verifier, k=5)
        assert engine.asked == {("How many?", i): 1 for i in range(5)} | {
            (render_prefix(STEPS[:1]), i): 1 for i in range(5)
        }

    def test_answers_are_compared_by_what_they_mean(self, database: sa.Engine, verifier: AnswerVerifier) -> None:
        solution = add_solution(database, STEPS[:1], reference="1/2")
        texts = ["# Answer\n\n0.5", "# Answer\n\n\\frac{2}{4}", "so \\boxed{\\dfrac12}", "# Answer\n\n2"]
        roll_out(database, lambda request, index: texts[index], verifier)
        assert found(database)[solution] == {START: StepValue(3, 4), 0: StepValue(3, 4)}

    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
    def test_an_unreadable_completion_erases_no_success_wherever_it_comes(
        self, database: sa.Engine, verifier: AnswerVerifier, order: tuple[int, ...]
    ) -> None:
        solution = add_solution(database, STEPS[:1])
        texts = ["# Answer\n\n39", "I do not know.", "# Answer\n\n"]
        roll_out(database, lambda request, index: texts[order[index]], verifier, k=3)
        assert found(database)[solution] == {START: StepValue(1, 3, 2), 0: StepValue(1, 3, 2)}

    def test_a_failed_sample_lowers_k_and_is_not_wrong(self, database: sa.Engine, verifier: AnswerVerifier) -> None:
        solution = add_solution(database, STEPS[:1])

        def reply(request: Request, index: int) -> Failure | str:
            return Failure("timeout", "too late") if index else "# Answer\n\n39"

        report = roll_out(database, reply, verifier)
        assert found(database)[solution] == {START: StepValue(1, 1), 0: StepValue(1, 1)}
        assert (report.counts["rollouts that failed"], report.failures) == (6, {"timeout": 6})

    def test_a_step_without_any_sample_gets_no_value_and_is_asked_again(
        self, database: sa.Engine, verifier: AnswerVerifier
    ) -> None:
        solution = add_solution(database, STEPS[:2])

        def reply(request: Request, index: int) -> Failure | str:
            return Failure("timeout", "too late") if prefix_length(request) == 1 else "# Answer\n\n39"

        for mode in ("full", "binary"):
            report = roll_out(database, reply, verifier, mode=mode)  # type: ignore[arg-type]
            assert (report.status, report.dropped) == ("done", {"every rollout of a step failed": 1})
            assert found(database, report.run_id) == {}
        engine = ScriptedEngine(right_below(9))
        roll_out(database, engine, verifier)
        assert set(engine.asked) == {(render_prefix(STEPS[:1]), index) for index in range(4)}
        assert set(found(database)[solution]) == {START, 0, 1}


@pytest.mark.parametrize(
    ("prefix", "rollout", "answer"),
    [
        ("Step 1: a\n\n", Sample("Step 2: b\n\n# Answer\n\n14", "stop"), "14"),
        ("Step 1: a\n\n# Answer\n\n", Sample("14", "stop"), "14"),
        ("Step 1: so \\boxed{5}\n\n", Sample("No, the answer is 6.", "stop"), "6"),
        ("Step 1: so \\boxed{5}\n\n", Sample("", "stop"), "5"),
        ("Step 1: so \\boxed{5}\n\n", Sample("No: \\boxed{", "stop"), None),
        ("Step 1: so \\boxed{5}\n\n", Sample("No", "length"), None),
        ("Step 1: a\n\n", Sample("# Answer\n\n1", "length"), None),
        ("Step 1: a\n\n", Sample("\\boxed{14} and now", "length"), "14"),
        ("Step 1: a\n\n", Sample("", "stop"), None),
    ],
)
def test_the_answer_is_the_completed_solutions(prefix: str, rollout: Sample, answer: str | None) -> None:
    assert rollout_answer(prefix, rollout) == answer


@pytest.mark.parametrize("first_hopeless", range(1, 7))
def test_binary_search_finds_the_first_step_of_value_0_with_few_questions(
    verifier: AnswerVerifier, first_hopeless: int
) -> None:
    database = open_database("sqlite://", create=True)
    solution = add_solution(database)
    report = roll_out(database, right_below(first_hopeless), verifier, mode="binary")
    values = found(database)[solution]
    assert {index: value.hard for index, value in values.items()} == {i: i + 1 < first_hopeless for i in values}
    assert len(values) <= 1 + 3  # the problem itself, and log2(5 + 1) steps rounded up
    assert report.n_stored == 4 * len(values)
    label_by_rollouts(database)
    with reading(database) as session:
        labelled = session.scalars(sa.select(Annotation)).one()
    assert labelled.first_error == (first_hopeless - 1 if first_hopeless <= 5 else None)
    database.dispose()


def test_nothing_is_searched_in_a_problem_that_is_never_solved(database: sa.Engine, verifier: AnswerVerifier) -> None:
    solution = add_solution(database)
    roll_out(database, right_below(0), verifier, mode="binary")
    assert found(database) == {solution: {START: StepValue(0, 4)}}
    report = label_by_rollouts(database)
    assert (report.n_read, report.n_kept, report.dropped) == (1, 0, {"unsolved": 1})


def test_more_rollouts_are_drawn_where_the_problem_is_rarely_solved(
    database: sa.Engine, verifier: AnswerVerifier
) -> None:
    hard = add_solution(database, STEPS[:1], statement="hard")
    easy = add_solution(database, STEPS[:1], statement="easy")

    def reply(request: Request, index: int) -> str:
        return "# Answer\n\n" + ("39" if request.messages[0].content == "easy" or index == 0 else "1")

    roll_out(database, reply, verifier, by_difficulty=True)
    assert found(database) == {
        hard: {START: StepValue(1, 4), 0: StepValue(1, 16)},
        easy: {START: StepValue(4, 4), 0: StepValue(4, 4)},
    }


@pytest.mark.parametrize("window", [1, 100])
def test_what_solutions_of_a_problem_have_in_common_is_asked_once(
    database: sa.Engine, verifier: AnswerVerifier, window: int
) -> None:
    other = (*STEPS[:2], "14 * 2 = 28")
    solutions = [add_solution(database), add_solution(database, other, "28"), add_solution(database, STEPS[:3], "42")]
    engine = ScriptedEngine(right_below(3), window=window)
    report = roll_out(database, engine, verifier)
    # 6 + 4 + 4 prefixes with the empty one; the second solution shares 3, the third all 4.
    assert (report.n_wanted, report.n_stored, report.n_stored_before) == (4 * 14, 4 * 7, 4 * 7)
    assert set(engine.asked.values()) == {1}
    values = found(database)
    assert sorted(values) == solutions
    assert values[solutions[2]] == {index: values[solutions[0]][index] for index in range(START, 3)}


def test_samples_of_solutions_serve_as_rollouts_of_the_problem(database: sa.Engine, verifier: AnswerVerifier) -> None:
    with writing(database) as session:
        add_problems(session, [ProblemRecord("How many?", "test", "0", reference_answer="39")])
    engine = ScriptedEngine(lambda request, index: render_solution(STEPS[: index % 2 + 1], str(39 + index % 2)))
    generate_solutions(database, engine, n=4, prompt=PLAIN, sampling=Sampling())
    verify_solutions(database)
    roll_out(database, engine, verifier, k=4)
    assert {key: n for key, n in engine.asked.items() if key[0] == "How many?"} == {
        ("How many?", i): 1 for i in range(4)
    }
    assert {values[START] for values in found(database, 2).values()} == {StepValue(2, 4)}


def test_what_cannot_be_rolled_out_is_left_out_by_reason(database: sa.Engine, verifier: AnswerVerifier) -> None:
    add_solution(database, ())
    add_solution(database, statement="open", reference=None)
    add_solution(database, statement="code", reference="assert f(1) == 2", answer_kind="tests")
    add_solution(database, outcome=None)
    add_solution(database, outcome=True)
    wrong = add_solution(database)
    report = roll_out(database, right_below(2), verifier, mode="binary")
    assert report.dropped == {
        "no steps": 1,
        "no reference answer": 1,
        "answer is decided by tests": 1,
        "outcome unknown": 1,
        "right: binary mode is for wrong solutions": 1,
    }
    assert list(found(database)) == [wrong]


@pytest.mark.parametrize("mode", ["full", "binary"])
def test_a_stopped_run_goes_on_and_a_finished_one_asks_and_stores_nothing_again(
    database: sa.Engine, verifier: AnswerVerifier, mode: Mode
) -> None:
    solutions = [add_solution(database, (f"{n} + 7 = 16", *STEPS[1:]), statement=f"problem {n}") for n in range(6)]
    n_answers = 0

    def interrupted(request: Request, index: int) -> str:
        nonlocal n_answers
        n_answers += 1
        if n_answers > 60:
            raise KeyboardInterrupt
        return right_below(4)(request, index)

    first = roll_out(database, interrupted, verifier, mode=mode)
    assert first.status == "stopped"
    before = found(database)
    assert 0 < len(before) < 6
    engine = ScriptedEngine(right_below(4))
    second = roll_out(database, engine, verifier, mode=mode)
    assert (second.status, second.run_id, second.n_items) == ("done", first.run_id, 6 - len(before))
    assert set(engine.asked.values()) == {1}
    values = found(database)
    assert list(values) == solutions
    assert len({json.dumps([[i, v.n_right] for i, v in sorted(one.items())]) for one in values.values()}) == 1
    with reading(database) as session:
        n_rows = session.scalar(sa.select(sa.func.count()).select_from(StepValueRow))
        n_asked = session.scalar(sa.select(sa.func.count()).select_from(RequestRow))
    assert n_asked == first.n_stored + second.n_stored
    silent = ScriptedEngine(right_below(4))
    third = roll_out(database, silent, verifier, mode=mode)
    assert (third.n_items, third.n_wanted, silent.asked) == (0, 0, {})
    with reading(database) as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(StepValueRow)) == n_rows


def labels_by(database: sa.Engine, annotator: str) -> dict[int, dict[int, int]]:
    query = (
        sa.select(Annotation.solution_id, StepLabel.step_index, StepLabel.label)
        .join(StepLabel, StepLabel.annotation_id == Annotation.annotation_id)
        .join(Annotator, Annotator.annotator_id == Annotation.annotator_id)
        .where(Annotator.name == annotator, Annotator.kind == "model", Annotation.superseded_by_id.is_(None))
    )
    labels: dict[int, dict[int, int]] = {}
    with reading(database) as session:
        for solution_id, index, label in session.execute(query):
            labels.setdefault(solution_id, {})[index] = label
    return labels


def test_labels_end_at_the_first_error_and_come_once(database: sa.Engine, verifier: AnswerVerifier) -> None:
    solution = add_solution(database)
    roll_out(database, right_below(4), verifier)
    report = label_by_rollouts(database)
    assert (report.annotator, report.n_kept, report.n_new, report.n_wrong) == ("rollouts:1:hard", 1, 1, 1)
    assert labels_by(database, "rollouts:1:hard") == {solution: {0: 1, 1: 1, 2: 1, 3: -1}}
    again = label_by_rollouts(database)
    assert (again.n_kept, again.n_new) == (1, 0)


def judge(
    database: sa.Engine, solution_id: int, verdict: str, first_error: int | None = None, **fields: object
) -> None:
    with writing(database) as session:
        solution = session.get_one(Solution, solution_id)
        critique = {"kind": "judge", "critic": "judge-1", "problem_id": solution.problem_id} | fields
        session.add(
            Critique(solution_id=solution_id, text="...", verdict=verdict, first_error=first_error, **critique)
        )


def test_the_consensus_keeps_what_rollouts_and_the_judges_majority_both_say(
    database: sa.Engine, verifier: AnswerVerifier
) -> None:
    names = ["agree", "right", "elsewhere", "pass", "tied", "unreadable", "unjudged", "unsolved", "beyond"]
    ids = {name: add_solution(database, statement=name) for name in names}
    hopeless = {"right": 9, "unsolved": 0}
    roll_out(
        database,
        lambda request, index: right_below(hopeless.get(request.messages[0].content, 4))(request, index),
        verifier,
    )
    for verdict, first_error in (("fail", 3), ("fail", 1), ("fail", 3), ("unreadable", None)):
        judge(database, ids["agree"], verdict, first_error)
    judge(database, ids["right"], "pass")
    judge(database, ids["elsewhere"], "fail", 2)
    judge(database, ids["pass"], "pass")
    judge(database, ids["tied"], "fail", 3)
    judge(database, ids["tied"], "pass")
    judge(database, ids["unreadable"], "unreadable")
    judge(database, ids["unsolved"], "fail", 3)
    judge(database, ids["beyond"], "fail", len(STEPS))
    # None of these is a judge's verdict on the solution itself.
    judge(database, ids["unjudged"], "fail", 3, kind="apply")
    judge(database, ids["unjudged"], "fail", 3, problem_id=1)
    judge(database, ids["unjudged"], "fail", 3, critic="another")
    report = label_by_consensus(database, critic="judge-*")
    assert report.dropped == {
        "another step": 1,
        "only rollouts see an error": 1,
        "judge: tied": 1,
        "judge: no readable verdict": 2,
        "judge: none": 1,
        "rollouts: unsolved": 1,
    }
    assert (report.n_read, report.n_kept, report.n_wrong, report.n_new) == (9, 2, 1, 2)
    assert labels_by(database, "consensus") == {
        ids["agree"]: {0: 1, 1: 1, 2: 1, 3: -1},
        ids["right"]: dict.fromkeys(range(5), 1),
    }


def test_a_value_from_before_values_of_problems_survives(database_url: str) -> None:
    engine = create_engine(database_url)
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO problems (statement_hash, family, statement, kind) VALUES ('h', 'f', 'q', 'original')",
            "INSERT INTO runs (run_key, kind, engine, model, record, status) "
            "VALUES ('k', 'rollouts', 'e', 'm', '{}', 'done')",
            "INSERT INTO solutions (problem_id, source, source_key, text, text_hash, steps) "
            "VALUES (1, 's', '0', 't', 'h', '[\"t\"]')",
            "INSERT INTO step_values (solution_id, step_index, run_id, n_right, n_rollouts) VALUES (1, 0, 1, 3, 8)",
        ):
            connection.execute(sa.text(statement))
    migrate.upgrade(engine)
    assert found(engine) == {1: {0: StepValue(3, 8)}}
    insert = sa.text(
        "INSERT INTO step_values (solution_id, step_index, run_id, n_right, n_rollouts) VALUES (1, :index, 1, 3, 8)"
    )
    with engine.begin() as connection:
        connection.execute(insert, {"index": -1})
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(insert, {"index": -2})
    engine.dispose()


class TestTheEmbeddedModel:
    """A prefix is continued as if the model had written it."""

    def test_prompt_prefix_and_the_rest_are_the_tokens_of_the_whole(self) -> None:
        conversations = Conversations(MODEL)
        for problem in draw_problems(20, 921, part="reserved"):
            user = Message("user", problem.statement)
            text = render_solution(problem.steps, problem.answer)
            whole = conversations.encode((user, Message("assistant", text)))
            for n in range(1, len(problem.steps) + 1):
                prefix = render_prefix(problem.steps[:n])
                tokens = conversations.encode((user, Message("assistant", prefix)))
                assert tokens == whole[: len(tokens)]
                assert text.startswith(prefix)

    def test_the_likeliest_rollout_of_its_own_solution_is_the_rest_of_it(self) -> None:
        engine = TransformersEngine(MODEL, threads=1)
        greedy = Sampling(temperature=0.0, max_tokens=128)
        for problem in draw_problems(3, 922, part="reserved"):
            user = Message("user", problem.statement)

            def ask(*messages: Message) -> str:
                ((_, completion),) = filter(None, engine.answer([Request("k", messages, greedy)]))
                assert isinstance(completion.samples[0], Sample)
                return completion.samples[0].text

            text = ask(user)
            starts = [place for place in range(len(text)) if text.startswith(("Step", "# Answer"), place)]
            assert len(starts) >= 3
            for start in starts[1:]:
                assert ask(user, Message("assistant", text[:start])) == text[start:]
        engine.close()

    def test_on_the_command_line_values_and_labels_agree_with_the_checker(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'a.db'}"
        database = open_database(url, create=True)
        problems = draw_problems(8, 923, part="reserved")
        with writing(database) as session:
            add_problems(
                session,
                [ProblemRecord(p.statement, "embedded", str(i), p.answer) for i, p in enumerate(problems)],
            )
        flags = [
            "--engine",
            "transformers",
            "--model",
            MODEL,
            "--prompt",
            "plain",
            "--max-tokens",
            "128",
            "--db",
            url,
        ]

        def run(*words: str) -> dict[str, object]:
            result = CliRunner().invoke(app, [*words, "--json"])
            assert result.exit_code == 0, result.output
            answer: dict[str, object] = json.loads(result.stdout)
            return answer

        run("generate", "solutions", *flags, "--n", "4")
        run("verify", "--db", url)
        report = run("generate", "rollouts", *flags, "--k", "4")
        assert report["status"] == "done"
        again = run("generate", "rollouts", *flags, "--k", "4")
        assert (again["n_items"], again["n_wanted"]) == (0, 0)
        labelled = run("label", "rollouts", "--db", url)
        assert labelled["n_kept"] > 0  # type: ignore[operator]
        values = found(database, 2)
        with reading(database) as session:
            solutions = {s.solution_id: s for s in session.scalars(sa.select(Solution))}
            statements = {p.problem_id: p.statement for p in session.scalars(sa.select(Problem))}
            assert session.scalars(sa.select(Run.kind).order_by(Run.run_id)).all() == ["solutions", "rollouts"]
        # From a whole chain of right steps the model hardly misses the answer.
        right = [
            values[key][len(s.steps) - 1].soft
            for key, s in solutions.items()
            if key in values
            and (problem := parse_problem(statements[s.problem_id])) is not None
            and tuple(s.steps) == problem.steps
        ]
        assert right
        assert sum(right) / len(right) > 0.9
        database.dispose()


def test_a_server_is_told_to_continue_the_prefix(database: sa.Engine, verifier: AnswerVerifier) -> None:
    add_solution(database, STEPS[:1])
    with CompletionServer() as server:
        engine = OpenAIEngine("m", base_url=server.base_url)
        task = RolloutsTask(PLAIN, Sampling(), 3, verifier, selection=SolutionSelection(source="test"))
        report = run_task(database, engine, task)
        engine.close()
    assert (report.status, report.n_stored) == ("done", 6)
    asked: list[Mapping[str, object]] = sorted(server.asked, key=lambda body: len(str(body["messages"])))
    keys: Callable[[Mapping[str, object]], tuple[object, ...]] = lambda body: (  # noqa: E731
        body.get("continue_final_message"),
        body.get("add_generation_prompt"),
        body["n"],
    )
    assert [keys(body) for body in asked] == [(None, None, 3), (True, False, 3)]
    assert asked[1]["messages"] == [
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": "Step 1: 9 + 7 = 16\n\n"},
    ]
