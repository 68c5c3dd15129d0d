"""Training beside TRL's trainers and a plain padded loop: the same rows, model and device, in one run.

    python benchmarks/training/throughput.py DATA [--size small] [--device cpu] [--prm-rows 96] [--bt-rows 96]
        [--trl-prm PYTHON] [--trl-reward PYTHON]

DATA is a folder with `processbench/`, `prmbench/` and `hh_rlhf_helpful/` as their publishers write them. TRL dropped
its PRM trainer after 1.13, so its two trainers come from two environments (`make bench-training` makes them). Useful
tokens are those of the rows: padding is none, and a prompt that two solutions share counts for both.

Writes benchmarks/results/training.json and the losses to benchmarks/results/training_losses.json; rows of other sizes
that stand there already stay.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

from rows import many_step_rows, pair_rows, step_rows, texts_of, tokenise, write_model

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "training.json"
LOSSES = ROOT / "benchmarks" / "results" / "training_losses.json"


def run(python: str, *arguments: object, device: str) -> dict[str, Any]:
    out = Path(str(arguments[4]))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    script = Path(__file__).with_name("contender.py")
    command = [python, str(script), *map(str, arguments), "--device", device]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(out.read_text())


def loss_at(losses: list[list[float]], n_tokens: float) -> float:
    """Mean loss over the quarter of the tokens before `n_tokens`, weighted by each step's tokens."""
    before = 0.0
    total = weight = 0.0
    for tokens, loss in losses:
        if 0.75 * n_tokens < tokens <= n_tokens:
            total += loss * (tokens - before)
            weight += tokens - before
        before = tokens
    return total / weight


def measured(title: str, found: dict[str, dict[str, Any]], where: str) -> list[dict[str, Any]]:
    ours = found["stepmark"]
    rows: list[dict[str, Any]] = []
    n_tokens = min(one["n_tokens"] for one in found.values())
    for name, other in found.items():
        if name == "stepmark":
            continue
        for what, unit, value, against, better in (
            ("useful tokens/s", "tokens/s", ours["tokens_per_s"], other["tokens_per_s"], "higher"),
            ("peak memory", "MiB", ours["peak_bytes"] / 2**20, other["peak_bytes"] / 2**20, "lower"),
            (
                "loss at the end",
                "nats",
                loss_at(ours["losses"], n_tokens),
                loss_at(other["losses"], n_tokens),
                "lower",
            ),
        ):
            rows.append(
                {
                    "row": f"{title}, {where}: {what} against {name}",
                    "value": round(value, 4 if unit == "nats" else 1),
                    "unit": unit,
                    "against": round(against, 4 if unit == "nats" else 1),
                    "ratio": round(value / against, 3),
                    "better": better,
                }
            )
    rows.append(
        {
            "row": f"{title}, {where}: share of the measured matrix peak (MFU)",
            "value": round(ours["mfu"], 4),
            "unit": "share",
            "against": f"{ours['peak_flops'] / 1e9:,.0f} GFLOP/s; {ours['useful_share']:.3f} useful tokens for each "
            f"computed; batches in form {ours['form']}",
            "ratio": round(ours["mfu"], 4),
            "better": "higher",
        }
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", choices=["small", "0.5B", "1.7B"], action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prm-rows", type=int)
    parser.add_argument("--bt-rows", type=int)
    parser.add_argument("--batch-rows", type=int)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--trl-prm", metavar="PYTHON", help="an interpreter with TRL 1.13")
    parser.add_argument("--trl-reward", metavar="PYTHON", help="an interpreter with TRL 1.16")
    args = parser.parse_args()
    is_gpu = args.device != "cpu"
    rows: list[dict[str, Any]] = []
    curves: dict[str, Any] = {}
    steps, many, pairs = step_rows(args.data), many_step_rows(args.data), pair_rows(args.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in args.size or (["0.5B", "1.7B"] if is_gpu else ["small"]):
            model = folder / size
            write_model(model, size, chain(texts_of(steps), texts_of(many), texts_of(pairs)))
            for title, kind, raw, n, python in (
                ("prm", "prm", steps, args.prm_rows, args.trl_prm),
                ("prm of several solutions a problem", "prm", many, args.prm_rows, args.trl_prm),
                ("bt", "bt", pairs, args.bt_rows, args.trl_reward),
            ):
                n = n or (1024 if is_gpu else 96)
                file = folder / "rows.jsonl"
                tokens = tokenise(raw, kind, model, most=args.max_length, n=n)
                file.write_text("".join(json.dumps(row) + "\n" for row in tokens))
                contenders = {"stepmark": sys.executable, "padded": sys.executable}
                if python:
                    contenders["trl"] = python
                found = {}
                for contender, interpreter in contenders.items():
                    batch = args.batch_rows or (32 if is_gpu else 8)
                    out = folder / "found.json"
                    found[contender] = run(
                        interpreter, contender, kind, model, file, out, "--batch-rows", batch, device=args.device
                    )
                    one = found[contender]
                    print(
                        f"{size} {title} {contender:9} {one['tokens_per_s']:10,.0f} useful tokens/s  "
                        f"{one['peak_bytes'] / 2**20:8,.0f} MiB  loss {loss_at(one['losses'], one['n_tokens']):.4f}  "
                        f"{one['n_steps']} steps, {one['n_tokens']:,} tokens",
                        flush=True,
                    )
                where = f"{size}, {args.device}"
                rows += measured(title, found, where)
                curves[f"{title}, {where}"] = {contender: one["losses"] for contender, one in found.items()}
    _write(RESULTS, [*_others(RESULTS, rows), *rows])
    before = json.loads(LOSSES.read_text()) if LOSSES.exists() else {}
    _write(LOSSES, before | curves)
    for row in rows:
        against = row["against"] if isinstance(row["against"], str) else f"{row['against']:,}"
        print(f"{row['row']:60} {row['value']:>10,} {row['unit']:9} against {against:>10}  ratio {row['ratio']}")


def _others(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {row["row"] for row in rows}
    return [row for row in json.loads(path.read_text()) if row["row"] not in names] if path.exists() else []


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
