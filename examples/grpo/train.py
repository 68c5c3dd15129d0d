"""Trains a language model on a set of `stepmark export rl --format trl`, by TRL's GRPOTrainer and stepmark's reward.

    python examples/grpo/train.py --data grpo/sets --model examples/embedded/model --out grpo/model

Needs TRL (`make .venv-readers/.ready` makes an environment that has it) and this checkout on PYTHONPATH. The defaults
are for the embedded model, which is fastest on one thread (OMP_NUM_THREADS=1); a larger one takes a smaller rate.
"""

import argparse
import json
import time
from pathlib import Path

from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer

from stepmark.rewards import grpo_reward


def main() -> None:
    """Trains, saves the model and its tokenizer, and writes the reward of each step to OUT/rewards.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the exported set")
    parser.add_argument("--model", required=True, help="folder of a model, or its name on the Hub")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--group", type=int, default=8, help="completions of each prompt")
    parser.add_argument("--prompts", type=int, default=16, help="prompts of each step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=80, help="tokens of a completion at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rows = load_dataset(str(args.data), "rl", split="train")
    config = GRPOConfig(
        output_dir=str(args.out),
        max_steps=args.steps,
        num_generations=args.group,
        per_device_train_batch_size=args.prompts * args.group,
        learning_rate=args.lr,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        temperature=args.temperature,
        max_completion_length=args.max_tokens,
        model_init_kwargs={"dtype": "float32"},
        bf16=False,
        use_cpu=True,
        seed=args.seed,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(args.model, reward_funcs=grpo_reward, args=config, train_dataset=rows)
    started = time.process_time()
    trainer.train()
    print(f"{args.steps} steps on {len(rows)} rows: {time.process_time() - started:.0f} CPU-s")
    trainer.save_model(str(args.out))
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    with (args.out / "rewards.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(entry)}\n" for entry in steps)


if __name__ == "__main__":
    main()
