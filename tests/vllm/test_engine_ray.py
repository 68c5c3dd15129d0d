"""The engine `ray` on a Ray of this machine: the samples of the engine inside, and none drawn twice after a kill."""

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from generator.engines.ray import Inside, RayEngine
from generator.engines.transformers import TransformersEngine
from stepmark.engine import Failure, Request, Sample, payload_hash
from tests.vllm.conftest import EMBEDDED
from tests.vllm.runs import VLLM, database_with, run, signal_when, start, statements, stored
from tests.vllm.test_engine_vllm import QUESTIONS, answers, ask, texts

MODEL = str(EMBEDDED)
INSIDE = Inside("transformers", MODEL, {"threads": 1, "batch_tokens": 2000})


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "answers").glob("*.parquet"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RayEngine]:
    with closing(RayEngine(INSIDE, tmp_path / "ray", shard_requests=5)) as engine:
        yield engine


def test_samples_are_those_of_the_engine_inside_and_are_read_again_from_the_files(
    engine: RayEngine, tmp_path: Path
) -> None:
    long = "12 pens " * 400
    requests = ask([*QUESTIONS, long])
    found = answers(engine, requests)
    with closing(TransformersEngine(MODEL)) as other:
        assert found == answers(other, requests)
    assert [sample.kind for sample in found[long].samples if isinstance(sample, Failure)] == ["too_long"] * 4

    first = shards(tmp_path / "ray")
    rows = [row for path in first for row in pq.read_table(path).to_pylist()]
    assert sorted(row["request_id"] for row in rows) == sorted(
        f"{payload_hash(engine.identity, request.messages, request.sampling)}/0,1,2,3" for request in requests
    )
    assert len(first) == 5

    with closing(RayEngine(INSIDE, tmp_path / "ray")) as again:
        assert answers(again, requests) == found
    asked_again = [
        row for path in set(shards(tmp_path / "ray")) - set(first) for row in pq.read_table(path).to_pylist()
    ]
    assert [row["is_whole"] for row in asked_again] == [False]


def test_requests_that_depend_on_answers_come_in_a_later_wave(engine: RayEngine) -> None:
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


def test_a_worker_that_cannot_load_its_model_ends_the_run(tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    with closing(RayEngine(Inside("transformers", str(broken), {}), tmp_path / "ray")) as engine:
        found = [answer for answer in engine.answer(ask(QUESTIONS[:2])) if answer is not None]
    ((_, completion),) = found
    failure = completion.samples[0]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.is_fatal) == ("worker", True)
    assert "cannot load the model" in failure.message


def test_a_killed_run_does_not_draw_finished_shards_again(database_url: str, tmp_path: Path) -> None:
    problems = statements(400)
    database = database_with(database_url, problems)
    folder = tmp_path / "ray"
    flags = ("--engine", "ray", "--ray-engine", "transformers", "--ray-dir", str(folder), "--model", MODEL)
    flags += ("--n", "16", "--max-tokens", "128", "--prompt", "plain", "--threads", "1", "--batch-tokens", "3000")
    process = start(database, *flags)
    signal_when(process, lambda: len(shards(folder)) >= 1, signal.SIGKILL)
    first = {path: path.stat().st_mtime_ns for path in shards(folder)}
    drawn_first = {row["request_id"] for path in first for row in pq.read_table(path).to_pylist()}

    report = run(database, *flags)
    then = [path for path in shards(folder) if path not in first]
    drawn_then = [row["request_id"] for path in then for row in pq.read_table(path).to_pylist()]
    assert report["status"] == "done"
    assert 0 < len(drawn_first) < 400
    assert not drawn_first.intersection(drawn_then)
    assert len(drawn_first) + len(drawn_then) == 400
    assert {path: path.stat().st_mtime_ns for path in first} == first
    with closing(TransformersEngine(MODEL)) as other:
        expected = texts(other, ask(problems[:20], range(16)))
    rows = stored(database)
    assert len(rows) == 6400
    assert [row for row in rows if row[0] in expected] == sorted(
        (question, index, text) for question, drawn in expected.items() for index, text in enumerate(drawn)
    )
    database.dispose()


def test_vllm_samples_inside_as_in_process(model: str, tmp_path: Path) -> None:
    found = []
    inside_ray = ("--engine", "ray", "--ray-dir", str(tmp_path / "ray"), *VLLM[2:])
    for number, flags in enumerate((VLLM, inside_ray)):
        database = database_with(f"sqlite:///{tmp_path}/{number}.db", QUESTIONS)
        report = run(database, *flags, "--model", model, "--n", "2", "--max-tokens", "128", "--prompt", "plain")
        assert (report["status"], report["n_stored"]) == ("done", 48)
        found.append(stored(database))
        database.dispose()
    assert found[0] == found[1]
