"""What a PRM and an ORM of random weights learn from real text: labels of people and outcomes, beside plain guesses.

    python benchmarks/training/real_text.py DATA [--folder DIR] [--epochs 2] [--per-problem 6]

DATA is a folder with `processbench/`, `gsm8k/` and `gsm8k_cot_samples/` as their publishers write them. They are
imported and exported as `stepmark import` and `stepmark export` do it, split by problem family; a language model of
3 M random weights and a vocabulary learnt from the same text is trained by `stepmark train`'s code, and measured on
the test split: the chance that a right step, or solution, scores above a wrong one, in all and within problems, with
intervals over problems. Beside it stands what needs no model: the place of a step, and lengths.

Prints a table, and writes it to DIR/real_text.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rows import STEP_TOKEN, write_model

from db.connect import open_database
from exports.formats import read_rows
from exports.queries.exporting import Target, export_set
from exports.queries.importing import default_options, import_file
from exports.queries.orm_rows import orm_set
from exports.queries.prm_rows import PrmOptions, prm_set
from exports.queries.selection import Selection, TrainingSet
from exports.queries.sources import FORMATS
from stepmark.flows.experiments.estimates import in_words, mean_of
from stepmark.flows.verify import verify_solutions
from trainer.evaluate.items import Item, read_items
from trainer.evaluate.measures import auc, auc_by_problem
from trainer.score import RewardModel
from trainer.train import TrainSettings, train_reward_model

Scored = tuple[list[str], list[float], list[bool]]
"""Problems, scores, and what is right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path, help="where files go, and stay; by default a temporary folder")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--per-problem", type=int, default=6, help="solutions of a problem for the ORM at most")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sets = folder / "sets"
        export(args.data, folder / "real.db", sets, args.per_problem)
        write_model(folder / "base", "small", texts(sets))
        found: dict[str, Any] = {}
        for kind in ("prm", "orm"):
            began = time.process_time()
            settings = TrainSettings(epochs=args.epochs, lr=5e-4, batch_tokens=4096, step_token=STEP_TOKEN, threads=1)
            report = train_reward_model(
                kind, data=sets, model=str(folder / "base"), out=folder / kind, settings=settings, overwrite=True
            )
            seconds = time.process_time() - began
            model = RewardModel.load(folder / kind)
            items = test_items(sets, kind)
            measured = {name: measure(scored) for name, scored in contenders(kind, model, items)}
            found[kind] = {"rows": report["rows"], "cpu_s": seconds, "n_tested": len(items), "measures": measured}
            kept = report["rows"]["train"]["kept"]
            print(f"{kind}: {kept:,} rows, {args.epochs} epochs, {seconds:.0f} CPU-s; {len(items)} solutions tested")
            for name, one in measured.items():
                print(
                    f"  {name:22} in all {one['pooled']:.3f}, within problems {one['within']} ({one['n']} problems)"
                )
        (folder / "real_text.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def export(data: Path, database: Path, sets: Path, per_problem: int) -> None:
    """Imports both sources, and writes the sets that their labels and outcomes make."""
    engine = open_database(f"sqlite:///{database}", create=True)
    try:
        gold = (data / "gsm8k" / "test.source_lines.txt").read_text(encoding="utf-8").split()
        for name, folder, pattern, keys in (
            ("processbench", "processbench", "*.json*", None),
            ("gsm8k", "gsm8k", "test.jsonl*", gold),
            ("gsm8k-cot-samples", "gsm8k_cot_samples", "*.jsonl*", None),
        ):
            for file in sorted((data / folder).glob(pattern)):
                import_file(engine, FORMATS[name], file, options=default_options(FORMATS[name], file, keys=keys))
        verify_solutions(engine)
        shares = {"train": 0.8, "test": 0.2}
        wanted: tuple[TrainingSet, ...] = (
            prm_set(Selection(sources=("processbench*",)), PrmOptions()),
            orm_set(Selection(sources=("gsm8k-cot*",), max_per_problem=per_problem)),
        )
        for one in wanted:
            report = export_set(engine, Target(sets, shares=shares, overwrite=True), one)
            print(f"export {one.config}: {report.n_read:,} read, {report.n_kept:,} kept, dropped {report.dropped}")
    finally:
        engine.dispose()


def texts(sets: Path) -> Iterator[str]:
    """The text of the training splits."""
    for row in read_rows(sets, "prm", "train"):
        yield from (row["prompt"], *row["completions"])
    for row in read_rows(sets, "orm", "train"):
        yield from (row["prompt"], row["completion"])


def test_items(sets: Path, kind: str) -> list[Item]:
    items, _ = read_items(sets, "test")
    if kind == "prm":
        return [item for item in items if item.labels]
    return [item for item in items if item.is_correct is not None and not item.labels]


def contenders(kind: str, model: RewardModel, items: Sequence[Item]) -> Iterator[tuple[str, Scored]]:
    """Each way of scoring, with what it says of the tested steps or solutions."""
    scores = list(model.score((number, item.prompt, item.segments) for number, item in enumerate(items)))
    if kind == "orm":
        by_model = {int(str(one.key)): one.score for one in scores}
        yield "ORM", _solutions(items, lambda number: by_model[number])
        yield "shorter", _solutions(items, lambda number: -float(len(items[number].text)))
        return
    of_steps = {int(str(one.key)): one.step_scores for one in scores}
    yield "PRM", _steps(items, lambda number, step: of_steps[number][step])
    yield "earlier step", _steps(items, lambda number, step: -float(step))
    yield "shorter step", _steps(items, lambda number, step: -float(len(items[number].segments[step])))


def _solutions(items: Sequence[Item], score: Callable[[int], float | None]) -> Scored:
    known = [(number, value) for number in range(len(items)) if (value := score(number)) is not None]
    return (
        [items[number].problem for number, _ in known],
        [value for _, value in known],
        [bool(items[number].is_correct) for number, _ in known],
    )


def _steps(items: Sequence[Item], score: Callable[[int, int], float]) -> Scored:
    found: Scored = ([], [], [])
    for number, item in enumerate(items):
        for step, label in enumerate(item.labels[: len(item.steps)]):
            if label is not None:
                for column, value in zip(found, (item.problem, score(number, step), label > 0.5), strict=True):
                    column.append(value)  # type: ignore[attr-defined]
    return found


def measure(scored: Scored) -> dict[str, Any]:
    """AUC over everything, and its mean within the problems that have both kinds, with a 95 % interval."""
    problems, scores, right = scored
    numbers = {problem: number for number, problem in enumerate(dict.fromkeys(problems))}
    each = auc_by_problem([numbers[problem] for problem in problems], scores, right)
    return {
        "pooled": auc(scores, right),
        "within": in_words(mean_of(each)),
        "n": len(each),
        "n_scored": len(scores),
    }


if __name__ == "__main__":
    main()
