"""CLoud's second stage: the critiques of a set, written again by the model that will be trained on them.

A reward head that learns behind critiques of another model meets other texts when it is used; critiques of its own
(on-policy) were 5.6 points better on RewardBench (Ankner et al. 2024). What writes is passed in.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from stepmark.errors import SettingsError
from stepmark.progress import Progress, silent

from .critiqued import Write, usable
from .rows import as_pair, raw_rows, read_rows, split_files

COUNTS = "counts.json"
"""What became of the rows, beside the set."""

_ROWS_AT_ONCE = 64


def write_critiques(
    data: Path, out: Path, *, write: Write, resume: bool = False, progress: Progress = silent
) -> dict[str, dict[str, int]]:
    """Copies the `cloud` set of a folder into a new one, its critiques replaced by what `write` gives.

    A row without any critique of one of its solutions is left out and counted. What is written stands in
    `OUT.partial` until it is whole.

    Args:
        data: An exported set with `cloud`.
        out: A folder that is not there yet.
        write: Criticises solutions.
        resume: Go on where an earlier call with the same data and the same `write` stopped.
        progress: Told the rows done and to do.

    Returns:
        For each split, rows read, kept, and dropped.

    Raises:
        SettingsError: `out` is there already.
    """
    if out.exists():
        raise SettingsError(f"--out {out} is there already; name a new folder.")
    partial = out.with_name(out.name + ".partial")
    (partial / "cloud").mkdir(parents=True, exist_ok=True)
    splits = [split for split in ("train", "validation", "test") if split_files(data, "cloud", split)]
    total = 0
    for split in splits:
        for _ in read_rows(data, "cloud", split):
            total += 1  # and every row is checked before anything is asked of the model
    done = 0
    counts: dict[str, dict[str, int]] = {}
    for split in splits:
        count = counts[split] = {"read": 0, "kept": 0, "dropped": 0}
        written = partial / f"{split}.jsonl"
        n_known = _n_whole_lines(written) if resume else 0
        with written.open("a" if n_known else "w", encoding="utf-8") as file:
            raws = (raw for path in split_files(data, "cloud", split) for raw in raw_rows(path))
            done += sum(1 for _ in islice(raws, n_known))
            while window := list(islice(raws, _ROWS_AT_ONCE)):
                file.writelines(json.dumps(raw, ensure_ascii=False) + "\n" for raw in _written(window, write))
                file.flush()
                done += len(window)
                progress(done, total)
        whole = partial / "cloud" / f"{split}-00000-of-00001.jsonl"
        with written.open(encoding="utf-8") as lines, whole.open("w", encoding="utf-8") as file:
            for line in lines:
                raw = json.loads(line)
                kept = bool(raw["chosen_feedback"] and raw["rejected_feedback"])
                count["read"] += 1
                count["kept" if kept else "dropped"] += 1
                if kept:
                    file.write(line)
    for split in splits:
        (partial / f"{split}.jsonl").unlink()
    (partial / COUNTS).write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    partial.rename(out)
    return counts


def _written(raws: list[dict[str, Any]], write: Write) -> Iterator[dict[str, Any]]:
    pairs = [as_pair(raw) for raw in raws]
    asked = [(pair.prompt, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    critiques = [usable(found) for found in write(asked)]
    for number, raw in enumerate(raws):
        chosen, rejected = critiques[2 * number : 2 * number + 2]
        yield {**raw, "chosen_feedback": chosen, "rejected_feedback": rejected}


def _n_whole_lines(file: Path) -> int:
    """Counts the lines of a file, and cuts off what an interruption left of one."""
    if not file.exists():
        return 0
    n = end = 0
    with file.open("rb+") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                n, end = n + 1, end + len(line)
        lines.truncate(end)
    return n
