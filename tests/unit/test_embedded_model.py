"""The embedded model: its tokenizer keeps every text whole, its weights solve problems, its program trains."""

import importlib.util
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from generator.domain import check_answer, draw_problems, teach
from generator.domain.wordings import NAMES, THINGS
from stepmark.steps import SEPARATOR, render_segments, render_solution, split_solution

FOLDER = Path(__file__).parents[2] / "examples" / "embedded"
SPECIAL_TOKENS = ["<|pad|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>", "<|prm_label|>"]
TOKENIZER: Any = AutoTokenizer.from_pretrained(FOLDER / "model")

ordinary_text = st.text().filter(lambda text: "<|" not in text)
bare_text = ordinary_text.map(str.strip).filter(bool)


def ids(text: str) -> list[int]:
    """Token ids of a text."""
    return list(TOKENIZER(text)["input_ids"])


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER / "model").eval()


@pytest.fixture(scope="module")
def train_model() -> ModuleType:
    """The training program as a module."""
    spec = importlib.util.spec_from_file_location("train_model", FOLDER / "train_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(ordinary_text)
@example("")
@example("Mia has 12 nuts. Verdict: pass, expected 123456 ...  \t\r\n\n\n")
@example("\\frac{1}{2} × 🙂 漢字 é e\u0301 ﷽ \u200d \x00 \ufeff")
@example("a 1 b  2\n3 c\n\n4")
def test_any_text_comes_back_exactly(text: str) -> None:
    assert TOKENIZER.decode(ids(text)) == text


@given(st.lists(bare_text), st.none() | bare_text)
@example(["9 + 7 = 16", "so # Answer", "x\n", "3 Step 4: "], "1 / 2")
def test_segments_may_be_tokenized_one_by_one(steps: list[str], answer: str | None) -> None:
    steps = [step.strip() for step in steps]
    joined: list[int] = []
    for index, segment in enumerate(render_segments(steps, answer)):
        joined += (ids(SEPARATOR) if index else []) + ids(segment)
    assert joined == ids(render_solution(steps, answer))


def test_a_number_of_one_or_two_digits_is_the_same_token_wherever_it_stands() -> None:
    for number in range(100):
        (token,) = ids(str(number))
        for around in ("has {} nuts", "9 + {} = 5", "5 = {}\n\n", "({})", "{}."):
            assert ids(around.format(number)).count(token) == 1 + (around.count(str(number)) if number < 10 else 0)
    assert [TOKENIZER.decode([token]) for token in ids("2024")] == ["2", "0", "2", "4"]


def test_the_frame_of_a_solution_is_cheap() -> None:
    assert [TOKENIZER.decode([token]) for token in ids("Step 1: 9 + 7 = 16\n\n# Answer\n\n16")] == [
        *("Step 1: ", "9", " + ", "7", " = ", "16"),
        *("\n\n", "# Answer", "\n\n", "16"),
    ]
    assert all(len(ids(f"Step {step}: ")) == 1 for step in range(1, 21))


def test_words_of_the_domain_and_of_critiques_are_single_tokens(train_model: ModuleType) -> None:
    words = [*NAMES, *THINGS, *train_model.CRITIQUE_WORDS.split(), "bags", "boxes", "times", "half"]
    assert [word for word in words if len(ids(f" {word}")) != 1] == []
    assert {"check", "pass", "fail", "variant", "verdict", "expected", "found"} <= set(words)


def test_a_problem_and_its_solution_take_about_seventy_tokens() -> None:
    lengths = [len(ids(p.statement)) + len(ids(teach(p).text)) + 4 for p in draw_problems(200, 901)]
    assert 60 < sum(lengths) / len(lengths) < 80
    assert max(lengths) < 128


def test_labels_and_special_tokens_are_single_tokens_of_their_own() -> None:
    tokens = [ids(token) for token in (*SPECIAL_TOKENS, "+", "-")]
    assert [len(token) for token in tokens] == [1] * 8
    assert len({token[0] for token in tokens}) == 8
    assert (TOKENIZER.pad_token, TOKENIZER.bos_token, TOKENIZER.eos_token) == ("<|pad|>", "<|bos|>", "<|end|>")
    assert TOKENIZER.decode(ids("a<|prm_label|>\n\nb<|end|>"), skip_special_tokens=True) == "a\n\nb"
    assert set(TOKENIZER.all_special_tokens) == set(SPECIAL_TOKENS)


def test_the_chat_template_writes_the_layout_of_the_training() -> None:
    user = {"role": "user", "content": "Mia has 9 nuts."}
    begun = {"role": "assistant", "content": "Step 1: 9 - 5 = 4"}

    def chat(messages: list[dict[str, str]], **options: bool) -> str:
        return str(TOKENIZER.apply_chat_template(messages, tokenize=False, **options))

    opened = "<|bos|><|user|>Mia has 9 nuts.<|assistant|>"
    assert chat([user], add_generation_prompt=True) == opened
    assert chat([{"role": "system", "content": "Be brief."}, user], add_generation_prompt=True) == opened
    assert chat([user, begun]) == f"{opened}Step 1: 9 - 5 = 4<|end|>"
    assert chat([user, begun], continue_final_message=True) == f"{opened}Step 1: 9 - 5 = 4"


def test_the_folder_is_small_and_its_results_belong_to_its_weights(model: Any) -> None:
    assert sum(file.stat().st_size for file in (FOLDER / "model").iterdir()) < 5_000_000
    results = json.loads((FOLDER / "model" / "results.json").read_text())
    assert results["n_parameters"] == model.num_parameters()
    assert results["n_vocabulary"] == len(TOKENIZER) == model.config.vocab_size
    assert 0.35 < results["sampled"]["pass_at_1"] < 0.65


def test_the_model_solves_a_share_of_fresh_problems(model: Any) -> None:
    problems = draw_problems(64, 903, part="reserved")
    prompts = [
        TOKENIZER.apply_chat_template(
            [{"role": "user", "content": problem.statement}], tokenize=False, add_generation_prompt=True
        )
        for problem in problems
    ]
    inputs = TOKENIZER(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.inference_mode():
        output = model.generate(**inputs, do_sample=False, temperature=1.0)
    texts = TOKENIZER.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    outcomes = [
        check_answer(problem, split_solution(text).answer) for problem, text in zip(problems, texts, strict=True)
    ]
    assert outcomes.count(None) <= 3
    assert 0.4 < outcomes.count(True) / len(outcomes) < 0.9


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_batches_hold_every_row_once_and_keep_to_their_size(train_model: ModuleType, seed: int) -> None:
    rng = random.Random(seed)
    rows = [([0] * rng.randint(1, 200), 0) for _ in range(300)]
    batches = train_model.batches(rows, rng)
    assert sorted(len(ids) for batch in batches for ids, _ in batch) == sorted(len(ids) for ids, _ in rows)
    assert all(len(batch) * max(len(ids) for ids, _ in batch) <= train_model.BATCH_TOKENS for batch in batches)


def test_training_twice_gives_the_same_weights_and_a_smaller_loss(train_model: ModuleType) -> None:
    problems = draw_problems(200, 904, part="corpus")
    trained = []
    for _ in range(2):
        fresh = train_model.new_model(TOKENIZER, seed=3)
        rows = train_model.encode(TOKENIZER, problems, [teach(problem).text for problem in problems])
        before = train_model.solution_loss(fresh, rows[:16]).item()
        train_model.train(fresh, rows, name="test", peak_rate=3e-3, seed=3)
        assert train_model.solution_loss(fresh, rows[:16]).item() < 0.9 * before
        trained.append(fresh.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
