"""Scoring 64 candidates of one problem: prefix-shared against one by one.

    python benchmarks/training/scoring.py DATA [--size small] [--device cpu] [--problems 4]

DATA is a folder with `gsm8k/` and `gsm8k_cot_samples/`. A problem has its own sampled solutions (12 in the data),
filled up to 64 with those of others, so that all are real and differ. Two prompts: the bare question, and the
question behind eight worked examples, as few-shot graders and rubrics have it. And 64 texts that share their first
steps, as samples of one model do: every prefix of the question's own solutions. Equal texts are scored once either
way. The scores are compared before the times: CPU-seconds of one thread, or wall seconds on a GPU.

Writes benchmarks/results/scoring.json.
"""

import argparse
import itertools
import json
import random
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from rows import STEP_TOKEN, read, write_model

from trainer.models import build_net, load_tokenizer, save_net
from trainer.render import label_token_ids
from trainer.score import RewardModel

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "scoring.json"
N = 64
Items = list[tuple[int, str, list[str]]]


def candidates(data: Path) -> tuple[list[str], dict[str, list[list[str]]], str]:
    """Questions with at least ten solutions, the solutions as steps, and eight worked examples."""
    questions: dict[int, str] = {}
    numbers = (data / "gsm8k" / "test.source_lines.txt").read_text().split()
    for number, raw in zip(numbers, read(data / "gsm8k" / "test.jsonl.gz"), strict=False):
        questions[int(number)] = raw["question"]
    solutions: dict[str, list[list[str]]] = defaultdict(list)
    for path in sorted((data / "gsm8k_cot_samples").glob("*.gz")):
        for raw in read(path):
            steps = [step for step in re.split(r"(?<=[.!?])\s+|\n+", (raw["completion"] or "").strip()) if step]
            if raw["id"] in questions and 2 <= len(steps) <= 12:
                solutions[questions[raw["id"]]].append(steps)
    shown = list(itertools.islice(read(data / "gsm8k" / "train.jsonl.gz"), 8))
    examples = "\n\n".join(f"Question: {raw['question']}\nAnswer: {raw['answer']}" for raw in shown)
    return [q for q, found in solutions.items() if len(found) >= 10], solutions, examples


def sets(data: Path, n_problems: int) -> dict[str, Items]:
    questions, solutions, examples = candidates(data)
    rng = random.Random(0)
    chosen = rng.sample(questions, n_problems)
    others = [steps for q in questions for steps in solutions[q]]
    found: dict[str, Items] = {"bare question": [], "eight examples before it": [], "steps in common": []}
    for number, question in enumerate(chosen):
        own = solutions[question]
        pool = own + rng.sample(others, N - len(own))
        prefixes = [steps[:stop] for steps in own for stop in range(len(steps), 0, -1)][:N]
        for name, prompt, texts in (
            ("bare question", question, pool),
            ("eight examples before it", f"{examples}\n\nQuestion: {question}", pool),
            ("steps in common", question, prefixes),
        ):
            found[name] += [(number * N + i, prompt, steps) for i, steps in enumerate(texts)]
    return found


def seconds(model: RewardModel, items: Items, *, share: bool, device: str) -> tuple[float, list[float | None]]:
    model._known.clear()
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    scores = [scored.score for scored in model.score(items, share=share)]
    return clock() - started, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--problems", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = sets(args.data, args.problems)
        write_model(
            folder, args.size, (text for _, prompt, steps in found["bare question"] for text in (prompt, *steps))
        )
        tokenizer = load_tokenizer(str(folder))
        net = build_net(str(folder), "prm", tokenizer, label_ids=label_token_ids(tokenizer, "+", "-"))
        save_net(net, folder, layout="causal-lm")
        manifest = {"kind": "prm", "positive": "+", "negative": "-", "step_token": STEP_TOKEN, "layout": "causal-lm"}
        (folder / "stepmark.json").write_text(json.dumps({**manifest, "max_length": 4096}))
        model = RewardModel.load(folder, device=args.device)
        list(model.score(found["bare question"][:16]))  # warm
        for kind, items in found.items():
            times: dict[bool, list[float]] = {True: [], False: []}
            before: list[float | None] = []
            for share in (True, False, True, False):
                taken, scores = seconds(model, items, share=share, device=args.device)
                if before:
                    torch.testing.assert_close(torch.tensor(scores), torch.tensor(before), atol=1e-4, rtol=1e-3)
                before = scores
                times[share].append(taken)
            shared, alone = (len(items) / min(times[share]) for share in (True, False))
            rows.append(
                {
                    "row": f"{N} candidates of a problem, {kind}; {args.size}, {args.device}: scored a second",
                    "value": round(shared, 1),
                    "unit": "solutions/s",
                    "against": round(alone, 1),
                    "ratio": round(shared / alone, 3),
                    "better": "higher",
                }
            )
            print(f"{rows[-1]['row']:90} {shared:9.1f} against {alone:9.1f}  ratio {shared / alone:.2f}", flush=True)
    names = {row["row"] for row in rows}
    others = [row for row in json.loads(RESULTS.read_text()) if row["row"] not in names] if RESULTS.exists() else []
    RESULTS.write_text(json.dumps([*others, *rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
