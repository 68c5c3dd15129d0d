"""Trains the embedded model from nothing, in about ten minutes on one CPU core, and measures it.

    OMP_NUM_THREADS=1 python examples/embedded/train_model.py --out examples/embedded/model

What happens, in order: a tokenizer is trained on the domain's words; a small Llama learns from a clean teacher;
then, shortly, from a teacher who misreads some sentences, so that its mistakes are those of a pupil; then it is
measured on problems of reserved families, which neither phase has seen, and saved in the layout that
Transformers and vLLM read. One thread and one seed throughout: the same machine and versions give the same
weights. The wish for a model with *varied* mistakes is why the second phase exists: an undertrained model is
wrong too, but jumps from knowing nothing to knowing everything within a minute.
"""

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from generator.domain import (  # noqa: E402
    DomainProblem,
    check_solution,
    draw_problems,
    teach,
    teach_with_misreadings,
)
from stepmark.steps import split_solution  # noqa: E402

PAD, BOS, USER, ASSISTANT, END, LABEL = SPECIAL_TOKENS = (
    "<|pad|>",
    "<|bos|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|prm_label|>",
)
MAX_POSITIONS = 512
VOCABULARY_SIZE = 1024
CORPUS_SEED, MISREAD_SEED, MEASURE_SEED = 1, 2, 900
N_CLEAN, N_MISREAD = 120_000, 7_500
BATCH_TOKENS = 1024

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""System messages are left out: the model knows one task and reads nothing but the problem."""

PRE_TOKENS = Regex(
    "|".join(
        [
            r"Step [0-9]{1,2}: ",
            r"# Answer",
            r"\n\n",
            r"(?<![0-9])[0-9]{1,2}(?![0-9])",  # a number of one or two digits is one token wherever it stands
            r"[0-9]",
            r" [-+*/=] ",
            r" ?\p{L}+(?: (?=[0-9]))?",  # a word takes the space before a number with it
            r" ?[^\s\p{L}0-9]+",
            r"\s",
        ]
    )
)
"""Cuts text into the pieces that may become tokens. No piece reaches over the end of a segment (a step or the
answer) into the blank line after it, so segments may be tokenized one by one and joined."""

CRITIQUE_WORDS = (
    "a about above according add adds after again all also an and another answer any apply are as at be "
    "because before below but by can carry carried changed chain check checks compare complete correct "
    "critique different does each end equal equals error expected fail fails false final find first "
    "follow follows following for found from give given gives has have here holds how if in input inputs "
    "instead into is it its judge label last line makes matches means method missing must new next no not "
    "now number numbers of on one only operation or original other pass passes problem problems question "
    "read reads replace replaced result right rule same score should so solution solutions solve still "
    "step steps sum task text than that the their then there therefore these they this times to true use "
    "used uses value values variant variants verdict was we what when where which why with without word "
    "work works would write written wrong yes you your "
)
"""Words that critiques, verdicts and variants are written in; the model meets them later, if at all."""


def words_of_the_corpus(problems: Sequence[DomainProblem]) -> Iterator[str]:
    """Yields what the tokenizer is trained on; what is repeated is sure to become single tokens."""
    for problem in problems:
        yield problem.statement
        yield teach(problem).text
    for _ in range(60):
        for step in range(1, 21):
            yield f"Step {step}: "
        for number in range(100):
            yield str(number)
    for _ in range(12):
        for word in CRITIQUE_WORDS.split():
            yield f"{word.capitalize()}. {word} {word}: {word}"


def train_tokenizer(problems: Sequence[DomainProblem]) -> PreTrainedTokenizerFast:
    """Trains the byte-level BPE; whatever it has no token for is written in bytes, so any text comes back whole."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PRE_TOKENS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words_of_the_corpus(problems), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, LABEL],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
        padding_side="left",
    )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Makes the untrained model: Llama's layout, half a million parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        top_k=0,
        max_new_tokens=64,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return model


Row = tuple[list[int], int]
"""Token ids of prompt and solution, and how many of them are the prompt."""


def encode(
    tokenizer: PreTrainedTokenizerFast, problems: Sequence[DomainProblem], solutions: Sequence[str]
) -> list[Row]:
    """Tokenizes conversations of one problem and one solution."""
    prompts = tokenizer([f"{BOS}{USER}{problem.statement}{ASSISTANT}" for problem in problems])["input_ids"]
    answers = tokenizer([f"{solution}{END}" for solution in solutions])["input_ids"]
    return [(prompt + answer, len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)]


def batches(rows: Sequence[Row], rng: random.Random) -> list[list[Row]]:
    """Cuts shuffled rows into batches of about `BATCH_TOKENS` tokens whose rows are of like length."""
    shuffled = rng.sample(rows, len(rows))
    result: list[list[Row]] = []
    for at in range(0, len(shuffled), 2000):
        batch: list[Row] = []
        for row in sorted(shuffled[at : at + 2000], key=lambda row: len(row[0])):
            if (len(batch) + 1) * len(row[0]) > BATCH_TOKENS:
                result.append(batch)
                batch = []
            batch.append(row)
        result.append(batch)
    return rng.sample(result, len(result))


def solution_loss(model: LlamaForCausalLM, batch: Sequence[Row]) -> torch.Tensor:
    """Mean cross-entropy of the solutions' tokens.

    Rows are padded on the right, where a causal model cannot look, so no attention mask is needed. The head is
    applied only where a loss is taken.
    """
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([row + [model.config.pad_token_id] * (longest - len(row)) for row, _ in batch])
    wanted = torch.tensor([[n - 1 <= at < len(row) - 1 for at in range(longest - 1)] for row, n in batch])
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][wanted])


def train(model: LlamaForCausalLM, rows: Sequence[Row], *, name: str, peak_rate: float, seed: int) -> float:
    """One epoch over `rows` with a warm-up and a cosine; returns the CPU seconds that it took."""
    model.train()
    todo = batches(rows, random.Random(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    n_warm_up = 50

    def rate(step: int) -> float:
        if step < n_warm_up:
            return (step + 1) / n_warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - n_warm_up) / max(1, len(todo) - n_warm_up)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    started_cpu, started, recent = time.process_time(), time.monotonic(), 0.0
    for number, batch in enumerate(todo, 1):
        loss = solution_loss(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent = loss.item() if number == 1 else 0.98 * recent + 0.02 * loss.item()
        if number % 200 == 0 or number == len(todo):
            left = (time.monotonic() - started) / number * (len(todo) - number)
            print(f"{name}: step {number}/{len(todo)}, loss {recent:.3f}, {left:.0f} s left", file=sys.stderr)
    return time.process_time() - started_cpu


@torch.inference_mode()
def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[DomainProblem],
    *,
    n: int,
    temperature: float,
) -> list[list[str]]:
    """Samples `n` solutions for every problem; temperature 0 is greedy."""
    model.eval()
    texts: list[list[str]] = []
    per_batch = max(1, 256 // n)
    how: dict[str, Any] = {"do_sample": False, "temperature": 1.0}
    if temperature > 0:
        how = {"do_sample": True, "temperature": temperature, "num_return_sequences": n}
    for at in range(0, len(problems), per_batch):
        some = problems[at : at + per_batch]
        prompts = [f"{BOS}{USER}{problem.statement}{ASSISTANT}" for problem in some]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
        output = model.generate(**inputs, **how)
        new = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        texts += [new[i * n : (i + 1) * n] for i in range(len(some))]
    return texts


def measure(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[DomainProblem],
    *,
    n: int,
    temperature: float,
) -> dict[str, Any]:
    """Samples, checks every solution exactly, and counts what is right, wrong, and how."""
    texts = sample(model, tokenizer, problems, n=n, temperature=temperature)
    faults, n_right, n_by_wrong, n_unknown, n_unique, n_right_unique, n_most = (
        Counter[str](),
        0,
        0,
        0,
        0,
        0,
        0,
    )
    n_covered = 0
    for problem, own in zip(problems, texts, strict=True):
        split = {text: split_solution(text) for text in own}
        checks = {text: check_solution(problem, s.steps, s.answer) for text, s in split.items()}
        n_unique += len(checks)
        n_right_unique += sum(check.outcome is True for check in checks.values())
        n_covered += any(check.outcome is True for check in checks.values())
        votes = Counter(split[text].answer for text in own)
        n_most += votes.most_common(1)[0][0] == problem.answer
        for text in own:
            check = checks[text]
            n_right += check.outcome is True
            n_unknown += check.outcome is None
            n_by_wrong += check.is_right_by_wrong_steps
            if not check.is_right:
                faults[check.fault or "answer only"] += 1
    n_all = len(problems) * n
    return {
        "n_problems": len(problems),
        "n_samples": n,
        "temperature": temperature,
        "pass_at_1": round(n_right / n_all, 4),
        "right_by_wrong_steps_of_right": round(n_by_wrong / max(1, n_right), 4),
        "unreadable_answers": round(n_unknown / n_all, 4),
        "first_faults": dict(faults.most_common()),
        "majority": round(n_most / len(problems), 4),
        "any_right": round(n_covered / len(problems), 4),
        "unique_texts": round(n_unique / len(problems), 2),
        "right_of_unique_texts": round(n_right_unique / n_unique, 4),
    }


def main() -> None:
    """Trains, measures, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, tokenizer and results.json")
    parser.add_argument("--seed", type=int, default=1, help="seed of the weights, the batches and the sampling")
    parser.add_argument("--n-clean", type=int, default=N_CLEAN, help="problems of the first phase")
    parser.add_argument("--n-misread", type=int, default=N_MISREAD, help="problems of the second phase")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    print("drawing problems", file=sys.stderr)
    clean = draw_problems(arguments.n_clean, CORPUS_SEED, part="corpus")
    clean_families = {problem.family for problem in clean}
    misread = draw_problems(arguments.n_misread, MISREAD_SEED, part="corpus", exclude_families=clean_families)
    tokenizer = train_tokenizer(clean[:5000])
    model = new_model(tokenizer, arguments.seed)

    rows = encode(tokenizer, clean, [teach(problem).text for problem in clean])
    n_tokens = sum(len(ids) for ids, _ in rows)
    print(f"{model.num_parameters()} parameters, {n_tokens / len(rows):.1f} tokens a row", file=sys.stderr)
    clean_s = train(model, rows, name="clean", peak_rate=3e-3, seed=arguments.seed)

    fresh = draw_problems(200, MEASURE_SEED, part="reserved")
    after_clean = measure(model, tokenizer, fresh, n=4, temperature=1.0)
    rng = random.Random(MISREAD_SEED)
    rows = encode(tokenizer, misread, [teach_with_misreadings(problem, rng).text for problem in misread])
    n_tokens += sum(len(ids) for ids, _ in rows)
    misread_s = train(model, rows, name="misread", peak_rate=1e-3, seed=arguments.seed)

    torch.manual_seed(arguments.seed)
    results = {
        "seed": arguments.seed,
        "n_parameters": model.num_parameters(),
        "n_vocabulary": len(tokenizer),
        "n_training_tokens": n_tokens,
        "cpu_s": {"clean": round(clean_s, 1), "misread": round(misread_s, 1)},
        "after_the_clean_teacher": after_clean,
        "sampled": measure(model, tokenizer, fresh, n=16, temperature=0.7),
        "sampled_at_1": measure(model, tokenizer, fresh, n=16, temperature=1.0),
        "greedy": measure(model, tokenizer, fresh, n=1, temperature=0.0),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    (arguments.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
