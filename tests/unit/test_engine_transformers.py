"""The engine `transformers` on the embedded model: what it samples, and that nothing but the request decides it."""

import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch
import transformers

from generator.domain import draw_problems
from generator.engines.transformers import TransformersEngine
from stepmark.engine import Completion, Failure, Message, Request, Sample, Sampling, payload_hash
from stepmark.errors import SettingsError

MODEL = str(Path(__file__).parents[2] / "examples" / "embedded" / "model")
QUESTIONS = [problem.statement for problem in draw_problems(24, 5, part="reserved")]


def ask(
    questions: Iterable[str], *, n: int = 4, temperature: float = 0.7, max_tokens: int = 128, **sampling: object
) -> list[Request]:
    parameters = Sampling(temperature=temperature, max_tokens=max_tokens, **sampling)  # type: ignore[arg-type]
    return [Request(question, (Message("user", question),), parameters, tuple(range(n))) for question in questions]


def answers(engine: TransformersEngine, requests: Sequence[Request]) -> dict[str, Completion]:
    with closing(engine):
        found = [answer for answer in engine.answer(requests) if answer is not None]
    assert sorted(request.key for request, _ in found) == sorted(request.key for request in requests)
    return {request.key: completion for request, completion in found}


def texts(engine: TransformersEngine, requests: Sequence[Request]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, completion in answers(engine, requests).items():
        found[key] = [sample.text for sample in completion.samples if isinstance(sample, Sample)]
    return found


@pytest.fixture(scope="module")
def usual() -> dict[str, list[str]]:
    return texts(TransformersEngine(MODEL), ask(QUESTIONS))


@pytest.mark.parametrize("batch_tokens", [500, 3000])
def test_texts_are_the_same_in_batches_of_any_size(usual: dict[str, list[str]], batch_tokens: int) -> None:
    assert texts(TransformersEngine(MODEL, batch_tokens=batch_tokens), ask(QUESTIONS)) == usual


def test_texts_are_the_same_in_any_order_and_company(usual: dict[str, list[str]]) -> None:
    some = QUESTIONS[::-3]
    assert texts(TransformersEngine(MODEL), ask(some)) == {question: usual[question] for question in some}


def test_texts_are_the_same_from_two_workers(usual: dict[str, list[str]]) -> None:
    assert texts(TransformersEngine(MODEL, workers=2, batch_tokens=3000), ask(QUESTIONS)) == usual


def test_single_samples_asked_for_later_are_those_of_the_whole(usual: dict[str, list[str]]) -> None:
    request = Request("late", (Message("user", QUESTIONS[0]),), ask(QUESTIONS)[0].sampling, (3, 1))
    assert texts(TransformersEngine(MODEL), [request]) == {"late": [usual[QUESTIONS[0]][3], usual[QUESTIONS[0]][1]]}


def test_samples_of_one_problem_differ_and_another_seed_gives_others(usual: dict[str, list[str]]) -> None:
    assert sum(len(set(samples)) > 1 for samples in usual.values()) > len(usual) / 2
    assert texts(TransformersEngine(MODEL), ask(QUESTIONS, seed=1)) != usual


def test_temperature_zero_gives_what_generate_gives() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL)
    expected = {}
    for question in QUESTIONS[:6]:
        turns = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        settings = transformers.GenerationConfig(
            do_sample=False, max_new_tokens=128, eos_token_id=tokenizer.eos_token_id, pad_token_id=0
        )
        out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        expected[question] = [tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)]
    assert texts(TransformersEngine(MODEL), ask(QUESTIONS[:6], n=1, temperature=0.0)) == expected


def test_a_trailing_assistant_message_is_continued_where_it_ends() -> None:
    (whole,) = texts(TransformersEngine(MODEL), ask(QUESTIONS[:1], n=1, temperature=0.0))[QUESTIONS[0]]
    end = whole.index("\n\n") + 2
    messages = (Message("user", QUESTIONS[0]), Message("assistant", whole[:end]))
    request = Request("rest", messages, Sampling(temperature=0.0, max_tokens=128))
    assert texts(TransformersEngine(MODEL), [request]) == {"rest": [whole[end:]]}


def test_a_sample_that_reaches_the_limit_is_marked_truncated() -> None:
    (completion,) = answers(TransformersEngine(MODEL), ask(QUESTIONS[:1], n=2, max_tokens=5)).values()
    samples = [sample for sample in completion.samples if isinstance(sample, Sample)]
    assert [(sample.finish_reason, sample.n_tokens) for sample in samples] == [("length", 5)] * 2
    assert completion.n_completion_tokens == 10


def test_a_text_ends_where_a_stop_string_begins(usual: dict[str, list[str]]) -> None:
    stopped = texts(TransformersEngine(MODEL), ask(QUESTIONS[:8], n=1, temperature=0.0, stop=("# Answer", "Step 9")))
    whole = texts(TransformersEngine(MODEL), ask(QUESTIONS[:8], n=1, temperature=0.0))
    assert stopped == {question: [text.partition("# Answer")[0]] for question, (text,) in whole.items()}


def test_a_prompt_longer_than_the_model_fails_alone() -> None:
    found = answers(TransformersEngine(MODEL), ask(["7 " * 600, QUESTIONS[0]], n=2))
    long = found["7 " * 600].samples
    assert [(sample.kind, sample.is_fatal) for sample in long if isinstance(sample, Failure)] == [
        ("too_long", False)
    ] * 2
    assert all(isinstance(sample, Sample) for sample in found[QUESTIONS[0]].samples)


def test_a_worker_that_dies_is_a_fatal_failure_and_no_hang() -> None:
    engine = TransformersEngine(MODEL, workers=2, batch_tokens=1500)

    def requests() -> Iterator[Request]:
        for number, request in enumerate(ask(QUESTIONS * 4, n=8)):
            if number == 30:
                assert engine._pool is not None
                os.kill(next(iter(engine._pool._processes)), signal.SIGKILL)
            yield request

    with closing(engine):
        found = [answer for answer in engine.answer(requests()) if answer is not None]
    last = found[-1][1].samples[0]
    assert isinstance(last, Failure)
    assert (last.kind, last.is_fatal) == ("worker", True)
    assert all(isinstance(completion.samples[0], Sample) for _, completion in found[:-1])


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot load the model"):
        answers(TransformersEngine(str(tmp_path)), ask(QUESTIONS[:1]))


def test_the_identity_changes_with_the_weights_and_not_with_the_readme(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors", "README.md"):
        (tmp_path / name).write_text("{}")
    before = TransformersEngine(str(tmp_path)).identity
    (tmp_path / "README.md").write_text("changed")
    assert TransformersEngine(str(tmp_path)).identity == before
    (tmp_path / "model.safetensors").write_text("changed")
    assert TransformersEngine(str(tmp_path)).identity != before


def test_a_model_is_known_by_its_files_wherever_its_folder_stands(tmp_path: Path) -> None:
    def cache_key(folder: Path) -> str:
        return payload_hash(TransformersEngine(str(folder)).identity, [Message("user", "Why?")], Sampling())

    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(MODEL, here)
    shutil.copytree(MODEL, there)
    assert cache_key(here) == cache_key(there)
    (there / "generation_config.json").write_text('{"eos_token_id": 1}')
    assert cache_key(here) != cache_key(there)
