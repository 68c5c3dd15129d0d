"""A progress bar on stderr: done, rate and time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from stepmark.progress import Progress


@contextmanager
def progress_bar(title: str, *, in_bytes: bool = False) -> Iterator[Progress]:
    """Shows a bar while the block runs; the block hands the yielded function to the work.

    Where stderr is no terminal, nothing is drawn.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    console = Console(stderr=True)
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=None, note="")
        before = 0

        def show(done: int, total: int | None, note: str = "") -> None:
            nonlocal before
            if done < before:  # another piece of work has begun
                bar.reset(task)
            before = done
            bar.update(task, completed=done, total=total, note=note)

        yield show


def stages_of(command: str) -> Callable[[str], AbstractContextManager[Progress]]:
    """How a command shows the stages of a longer job: a bar for each, and where stderr is no terminal a line."""

    @contextmanager
    def watch(stage: str) -> Iterator[Progress]:
        started = time.perf_counter()
        with progress_bar(stage) as show:
            yield show
        if not sys.stderr.isatty():
            print(f"{command}: {stage}, {time.perf_counter() - started:.1f} s", file=sys.stderr)

    return watch
