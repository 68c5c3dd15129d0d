"""`stepmark export orm` and `best-of-n`."""

from stepmark.cli.flags import with_flags

from .flags import Rows, Text, Writing


@with_flags
def orm(writing: Writing, rows: Rows, text: Text = "steps") -> None:
    """Outcomes for an outcome reward model: prompt, completion, label."""
    from exports.queries.orm_rows import orm_set

    writing.write(orm_set(rows.selection(), text=text))


@with_flags
def best_of_n(writing: Writing, rows: Rows, text: Text = "steps") -> None:
    """The Best-of-N test file: prompt, answers, labels; one row for each problem.

    Equal samples always stay: their number is part of what Best-of-N measures.
    """
    from exports.queries.orm_rows import best_of_n_set

    writing.write(best_of_n_set(rows.selection(), text=text))
