"""The engine `openai` against a real `vllm serve`, and both engines behind the same command line."""

import json
import signal
from contextlib import closing
from pathlib import Path

import pytest

from generator.engines.openai import OpenAIEngine
from generator.engines.transformers import TransformersEngine
from stepmark.engine import Failure, Sample
from tests.vllm.conftest import Server
from tests.vllm.runs import VLLM, database_with, run, start, statements, stored
from tests.vllm.test_engine_vllm import QUESTIONS, answers, ask, texts


def opened(server: Server) -> OpenAIEngine:
    return OpenAIEngine("tiny", base_url=server.base_url)


def test_every_sample_comes_once_and_the_same_seed_brings_the_same_texts(server: Server) -> None:
    with closing(opened(server)) as engine:
        usual = texts(engine, ask(QUESTIONS))
        assert {key: len(drawn) for key, drawn in usual.items()} == dict.fromkeys(QUESTIONS, 4)
        assert sum(len(set(drawn)) for drawn in usual.values()) > 1.5 * len(QUESTIONS)
        assert texts(engine, ask(QUESTIONS)) == usual
        assert texts(engine, ask(QUESTIONS, seed=1)) != usual


@pytest.mark.parametrize("prefix", ["Step 1: 12 + 5 = 17\n\nStep 2:", "Step 1: 1 + 1 = 2\n\n"])
def test_a_prefix_is_continued_as_by_the_transformers_engine(server: Server, model: str, prefix: str) -> None:
    requests = ask(QUESTIONS, [0], temperature=0.0, prefix=prefix)
    with closing(opened(server)) as engine, closing(TransformersEngine(model)) as other:
        found, expected = answers(engine, requests), answers(other, requests)
    assert {key: one.n_prompt_tokens for key, one in found.items()} == {
        key: one.n_prompt_tokens for key, one in expected.items()
    }
    assert {
        key: [sample.text for sample in one.samples if isinstance(sample, Sample)] for key, one in found.items()
    } == {key: [sample.text for sample in one.samples if isinstance(sample, Sample)] for key, one in expected.items()}


def test_samples_obey_a_json_schema(server: Server) -> None:
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["pass", "fail"]}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
    with closing(opened(server)) as engine:
        drawn = texts(engine, ask(QUESTIONS[:4], json_schema=json.dumps(schema)))
    found = [json.loads(text) for samples in drawn.values() for text in samples]
    assert len(found) == 16
    assert {tuple(value) for value in found} == {("verdict",)}
    assert {value["verdict"] for value in found} <= {"pass", "fail"}


def test_a_prompt_too_long_fails_that_request_alone(server: Server) -> None:
    long = "12 pens " * 400
    with closing(opened(server)) as engine:
        found = answers(engine, ask([long, QUESTIONS[0]], [0, 1]))
    assert [sample.kind for sample in found[long].samples if isinstance(sample, Failure)] == ["too_long", "too_long"]
    assert all(isinstance(sample, Sample) for sample in found[QUESTIONS[0]].samples)


def test_the_server_says_how_many_requests_wait(server: Server) -> None:
    assert "vllm:num_requests_waiting" in server.get("/metrics")


def test_one_command_line_brings_the_same_greedy_solutions_from_either_engine(
    server: Server, model: str, tmp_path: Path
) -> None:
    found = []
    for number, flags in enumerate(
        ([*VLLM, "--model", model], ["--engine", "openai", "--base-url", server.base_url, "--model", "tiny"])
    ):
        database = database_with(f"sqlite:///{tmp_path}/{number}.db", QUESTIONS)
        report = run(database, *flags, "--n", "1", "--temperature", "0", "--max-tokens", "128", "--prompt", "plain")
        assert (report["status"], report["n_stored"]) == ("done", 24)
        found.append(stored(database))
        database.dispose()
    assert len(found[0]) == 24
    assert found[0] == found[1]


def test_a_run_whose_server_dies_fails_and_goes_on_when_it_is_back(server: Server, database_url: str) -> None:
    database = database_with(database_url, statements(300))
    flags = ("--base-url", server.base_url, "--model", "tiny", "--n", "4", "--max-tokens", "128", "--prompt", "plain")
    process = start(database, *flags, "--concurrency", "8")
    while len(stored(database)) < 100:
        assert process.poll() is None, process.communicate()
    server.stop(signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    n_before = len(stored(database))
    assert (process.returncode, json.loads(out)["status"]) == (1, "failed"), err
    assert "run the same command again to resume" in err
    assert "Traceback" not in err

    server.start()
    report = run(database, *flags)
    assert 100 <= n_before < 1200
    assert (report["status"], report["n_stored_before"], report["n_stored"]) == ("done", n_before, 1200 - n_before)
    assert len(stored(database)) == 1200
    database.dispose()
