"""The engine `vllm` in this process, on the embedded model: what it samples, and that a run survives anything."""

import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from generator.engines.transformers import TransformersEngine
from generator.engines.vllm import VLLMEngine
from generator.solutions import generate_solutions
from stepmark.engine import Completion, Engine, Failure, Message, Request, Sample, Sampling
from stepmark.errors import SettingsError
from stepmark.prompts import Prompt
from tests.vllm.runs import VLLM, database_with, run, signal_when, start, statements, stored

QUESTIONS = statements(24)


def ask(
    questions: Iterable[str],
    indices: Sequence[int] = (0, 1, 2, 3),
    *,
    temperature: float = 0.7,
    max_tokens: int = 128,
    prefix: str | None = None,
    **sampling: object,
) -> list[Request]:
    parameters = Sampling(temperature=temperature, max_tokens=max_tokens, **sampling)  # type: ignore[arg-type]
    turn = () if prefix is None else (Message("assistant", prefix),)
    return [Request(text, (Message("user", text), *turn), parameters, tuple(indices)) for text in questions]


def answers(engine: Engine, requests: Sequence[Request]) -> dict[str, Completion]:
    found = [answer for answer in engine.answer(requests) if answer is not None]
    assert sorted(request.key for request, _ in found) == sorted(request.key for request in requests)
    return {request.key: completion for request, completion in found}


def texts(engine: Engine, requests: Sequence[Request]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, completion in answers(engine, requests).items():
        found[key] = [sample.text for sample in completion.samples if isinstance(sample, Sample)]
        assert len(found[key]) == len(completion.samples)
    return found


def test_solutions_end_up_with_their_problems(engine: VLLMEngine, database_url: str) -> None:
    database = database_with(database_url, QUESTIONS)
    sampling = Sampling(max_tokens=128)
    report = generate_solutions(database, engine, n=4, prompt=Prompt("plain", "{problem}"), sampling=sampling)
    expected = texts(engine, ask(QUESTIONS))
    assert stored(database) == sorted(
        (question, index, text) for question, drawn in expected.items() for index, text in enumerate(drawn)
    )
    assert (report.status, report.n_stored, report.failures) == ("done", 96, {})
    again = generate_solutions(database, engine, n=4, prompt=Prompt("plain", "{problem}"), sampling=sampling)
    assert (again.n_stored_before, again.n_stored) == (96, 0)
    database.dispose()


def test_a_sample_depends_on_its_seed_and_index_and_not_on_its_company(engine: VLLMEngine) -> None:
    usual = texts(engine, ask(QUESTIONS))
    assert texts(engine, ask(QUESTIONS)) == usual
    assert texts(engine, ask(QUESTIONS[:3], [3, 1])) == {
        question: [usual[question][3], usual[question][1]] for question in QUESTIONS[:3]
    }
    assert texts(engine, ask(QUESTIONS, seed=1)) != usual
    assert sum(len(set(drawn)) for drawn in usual.values()) > 1.5 * len(QUESTIONS)


def test_greedy_texts_are_those_of_the_transformers_engine(engine: VLLMEngine, model: str) -> None:
    requests = ask(QUESTIONS, [0, 1], temperature=0.0)
    with closing(TransformersEngine(model)) as other:
        assert texts(engine, requests) == texts(other, requests)


@pytest.mark.parametrize("prefix", ["Step 1: 12 + 5 = 17\n\nStep 2:", "Step 1: 1 + 1 = 2\n\n", "Step 1: 40 "])
def test_a_prefix_is_continued_as_by_the_transformers_engine(engine: VLLMEngine, model: str, prefix: str) -> None:
    requests = ask(QUESTIONS, [0], temperature=0.0, prefix=prefix)
    with closing(TransformersEngine(model)) as other:
        found, expected = answers(engine, requests), answers(other, requests)
    assert {key: one.n_prompt_tokens for key, one in found.items()} == {
        key: one.n_prompt_tokens for key, one in expected.items()
    }
    for key, completion in expected.items():
        (mine,), (theirs,) = found[key].samples, completion.samples
        assert isinstance(mine, Sample)
        assert isinstance(theirs, Sample)
        assert mine.text == theirs.text


def test_samples_obey_a_json_schema(engine: VLLMEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["pass", "fail"]}, "is_sure": {"type": "boolean"}},
        "required": ["verdict", "is_sure"],
        "additionalProperties": False,
    }
    drawn = texts(engine, ask(QUESTIONS[:4], json_schema=json.dumps(schema)))
    found = [json.loads(text) for samples in drawn.values() for text in samples]
    assert len(found) == 16
    assert all(sorted(value) == ["is_sure", "verdict"] for value in found)
    assert {value["verdict"] for value in found} <= {"pass", "fail"}
    assert {type(value["is_sure"]) for value in found} == {bool}


def test_a_schema_that_is_none_fails_that_request_alone(engine: VLLMEngine) -> None:
    bad = Request("bad", (Message("user", "x"),), Sampling(json_schema='{"type": "nothing"}'), (0, 1))
    found = answers(engine, [bad, *ask(QUESTIONS[:1])])
    assert [sample.kind for sample in found["bad"].samples if isinstance(sample, Failure)] == ["bad_request"] * 2
    assert all(isinstance(sample, Sample) for sample in found[QUESTIONS[0]].samples)


def test_a_prompt_too_long_fails_that_request_alone(engine: VLLMEngine) -> None:
    long = "12 pens " * 400
    found = answers(engine, ask([long, QUESTIONS[0]], [0, 1]))
    assert [sample.kind for sample in found[long].samples if isinstance(sample, Failure)] == ["too_long", "too_long"]
    assert {QUESTIONS[0]: texts(engine, ask(QUESTIONS[:1], [0, 1]))[QUESTIONS[0]]} == {
        QUESTIONS[0]: [sample.text for sample in found[QUESTIONS[0]].samples if isinstance(sample, Sample)]
    }


def test_samples_end_at_their_limit_and_at_the_end_of_the_context(engine: VLLMEngine) -> None:
    (cut,) = answers(engine, ask(QUESTIONS[:1], [0], max_tokens=5))[QUESTIONS[0]].samples
    assert isinstance(cut, Sample)
    assert (cut.finish_reason, cut.n_tokens) == ("length", 5)

    found = answers(engine, ask(QUESTIONS[:1], [0], max_tokens=10_000, prefix="1 + 1 = 2\n\n" * 70))[QUESTIONS[0]]
    (last,) = found.samples
    assert isinstance(last, Sample)
    assert found.n_prompt_tokens is not None
    assert last.n_tokens is not None
    assert found.n_prompt_tokens + last.n_tokens <= 512


def test_follow_up_requests_are_answered_and_a_caller_may_stop_early(engine: VLLMEngine) -> None:
    came: list[str] = []

    def requests() -> Iterator[Request | None]:
        yield from ask(QUESTIONS[:2], [0])
        while len(came) < 2:
            yield None
        yield from ask([came[0]], [0])

    for answer in engine.answer(requests()):
        if answer is not None:
            (sample,) = answer[1].samples
            assert isinstance(sample, Sample)
            came.append(sample.text)
    assert len(came) == 3

    stopped = engine.answer(ask(QUESTIONS))
    while next(stopped) is None:
        pass
    stopped.close()
    assert len(texts(engine, ask(QUESTIONS[3:5]))) == 2


def test_an_option_that_vllm_does_not_have_is_a_mistake_of_the_caller(model: str) -> None:
    wrong = VLLMEngine(model, options={"dtypo": "float32"})
    with closing(wrong), pytest.raises(SettingsError, match="dtypo"):
        next(wrong.answer(ask(QUESTIONS[:1])))


@pytest.mark.timeout(600)
def test_a_killed_and_an_interrupted_run_resume_with_the_rows_of_an_undisturbed_one(
    engine: VLLMEngine, model: str, database_url: str, tmp_path: Path
) -> None:
    problems = statements(250)
    database = database_with(database_url, problems)
    flags = (*VLLM, "--model", model, "--n", "8", "--max-tokens", "128", "--prompt", "plain")
    process = start(database, *flags)
    signal_when(process, lambda: len(stored(database)) >= 100, signal.SIGKILL)
    n_killed = len(stored(database))

    process = start(database, *flags)
    _, err = signal_when(process, lambda: len(stored(database)) >= n_killed + 100, signal.SIGINT)
    n_interrupted = len(stored(database))
    assert (process.returncode, "run the same command again to resume" in err) == (130, True), err
    assert "Traceback" not in err

    report = run(database, *flags)
    assert 100 <= n_killed < n_interrupted < 2000
    assert (report["n_stored_before"], report["n_stored"]) == (n_interrupted, 2000 - n_interrupted)
    expected = texts(engine, ask(problems, range(8)))
    assert stored(database) == sorted(
        (question, index, text) for question, drawn in expected.items() for index, text in enumerate(drawn)
    )
    database.dispose()
