"""Files into the database: streamed, in batches, one transaction for each file.

A file arrives whole or not at all. Importing it again changes nothing; its rows are then counted as already
there. A row that cannot be taken stops the file, or is left out and counted, as the caller wishes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.annotations import ImportedAnnotation, add_annotations
from db.connect import writing
from db.problems import add_problems, lock_imports, problems_of_keys
from db.solutions import add_solutions, solution_text_hash, solutions_of_keys
from stepmark.errors import InputError
from stepmark.problems import normalise_statement, statement_hash
from stepmark.progress import Progress, silent
from stepmark.records import ImportedRow

from .sources import BadRow, ImportOptions, SourceFormat, SourceRow, read_rows
from .sources.reading import RowError, shown

_BATCH = 500
_LONGEST = {"source": 128, "source_key": 256, "generator": 256, "licence": 128}
_ENDINGS = (".gz", ".jsonl", ".json", ".ndjson")


@dataclass(slots=True)
class ImportReport:
    """What became of the rows of one file."""

    path: str
    source: str
    n_read: int = 0
    n_kept: int = 0
    """Rows that brought something new: a problem, a finding of one, a solution, an outcome or an annotation."""
    n_already_there: int = 0
    """Rows of which every part was in the database."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows left out, by reason."""
    stored: Counter[str] = field(default_factory=Counter)
    """Rows added, by table; and `outcomes` learnt, `references_filled`, `references_differ`,
    `annotations_superseded`."""
    first_bad: list[str] = field(default_factory=list)
    """Messages of the first rows left out."""

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "path": self.path,
            "source": self.source,
            "n_read": self.n_read,
            "n_kept": self.n_kept,
            "n_already_there": self.n_already_there,
            "dropped": dict(self.dropped),
            "stored": dict(self.stored),
            "first_bad": self.first_bad,
        }


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    record: ImportedRow
    statement_hash: str
    text_hashes: tuple[str, ...]


def import_file(
    engine: sa.Engine,
    source_format: SourceFormat,
    path: Path,
    *,
    options: ImportOptions | None = None,
    skip_bad: bool = False,
    is_dry_run: bool = False,
    progress: Progress = silent,
) -> ImportReport:
    """Imports one file in one transaction.

    Args:
        engine: The database.
        source_format: How to read the file.
        path: The file, gzipped or not.
        options: Name of the source, licence and fields; by default those of the format.
        skip_bad: Leave out and count rows that cannot be taken, instead of stopping.
        is_dry_run: Do everything, then undo it.
        progress: Told how many bytes of the file have been read.

    Raises:
        InputError: The file, or (without `skip_bad`) a row of it, cannot be taken; nothing was stored.
        LimitReached: The disk is full; nothing was stored.
    """
    options = options or default_options(source_format, path)
    report = ImportReport(str(path), options.source)
    for name in ("source", "licence"):
        _check_length(name, getattr(options, name), InputError)
    on_bytes = _byte_counter(path, report, progress)
    with writing(engine) as session:
        lock_imports(session)
        rows = _parsed_rows(path, source_format, options, report, skip_bad=skip_bad, on_bytes=on_bytes)
        while batch := list(islice(rows, _BATCH)):
            _store(session, batch, options.source, report, skip_bad=skip_bad)
        if is_dry_run:
            session.rollback()
    return report


def default_options(source_format: SourceFormat, path: Path, **given: Any) -> ImportOptions:
    """The options for a file: what is given, else the format's own source name and licence.

    >>> from exports.queries.sources import FORMATS
    >>> default_options(FORMATS["gsm8k"], Path("data/test.jsonl.gz")).source
    'gsm8k/test'
    """
    part = path.name
    while ending := next((ending for ending in _ENDINGS if part.endswith(ending)), None):
        part = part.removesuffix(ending)
    given = {name: value for name, value in given.items() if value is not None}
    return ImportOptions(
        **{"source": source_format.source.format(part=part), "licence": source_format.licence, **given}
    )


def _byte_counter(path: Path, report: ImportReport, progress: Progress) -> Callable[[int], None]:
    size = path.stat().st_size if path.is_file() else None
    return lambda done: progress(done, size, f"{report.n_read:,} rows")


def _parsed_rows(
    path: Path,
    source_format: SourceFormat,
    options: ImportOptions,
    report: ImportReport,
    *,
    skip_bad: bool,
    on_bytes: Callable[[int], None],
) -> Iterator[_Row]:
    for found in read_rows(path, on_bytes=on_bytes):
        report.n_read += 1
        if isinstance(found, BadRow):
            _bad(report, found, skip_bad=skip_bad)
            continue
        try:
            yield _checked(found, source_format.parse(found, options))
        except RowError as err:
            _bad(report, BadRow(found.line, err.reason, err.message), skip_bad=skip_bad)


def _checked(found: SourceRow, record: ImportedRow) -> _Row:
    if not normalise_statement(record.problem.statement):
        raise RowError("empty_statement", f"the problem's statement is empty: {shown(record.problem.statement)}")
    _check_length("source_key", record.problem.source_key, RowError)
    for solution in record.solutions:
        _check_length("source_key", solution.source_key, RowError)
        _check_length("generator", solution.generator, RowError)
    hash_ = statement_hash(record.problem.statement)
    texts = tuple(solution_text_hash(hash_, solution.text) for solution in record.solutions)
    return _Row(found.line, record, hash_, texts)


def _check_length(name: str, value: str | None, error: type[InputError] | type[RowError]) -> None:
    if value is None or len(value) <= _LONGEST[name]:
        return
    message = f"{name} {shown(value)} has {len(value)} characters, at most {_LONGEST[name]} are kept"
    raise InputError(message + "; give a shorter one") if error is InputError else RowError("too_long", message)


def _bad(report: ImportReport, bad: BadRow, *, skip_bad: bool) -> None:
    message = f"{report.path}, line {bad.line}: {bad.message}"
    if not skip_bad:
        raise InputError(
            f"{message}. Nothing of the file was imported: correct it, or leave such rows out with --skip-bad."
        )
    report.dropped[bad.reason] += 1
    if len(report.first_bad) < 10:
        report.first_bad.append(message)


def _store(session: Session, batch: Sequence[_Row], source: str, report: ImportReport, *, skip_bad: bool) -> None:
    rows = _without_taken_keys(session, batch, source, report, skip_bad=skip_bad)
    problems = add_problems(session, [row.record.problem for row in rows])
    owners = [index for index, row in enumerate(rows) for _ in row.record.solutions]
    records = [solution for row in rows for solution in row.record.solutions]
    solutions = add_solutions(
        session,
        records,
        problem_ids=[problems.problem_ids[owner] for owner in owners],
        text_hashes=[text_hash for row in rows for text_hash in row.text_hashes],
    )
    judged = [
        (owner, ImportedAnnotation(annotation, solution_id, record.source, record.source_key))
        for owner, record, solution_id in zip(owners, records, solutions.solution_ids, strict=True)
        for annotation in record.annotations
    ]
    annotations = add_annotations(session, [item for _, item in judged])

    is_new = list(problems.is_new_source)
    for owner, is_changed in zip(owners, solutions.is_changed, strict=True):
        is_new[owner] |= is_changed
    for (owner, _), is_added in zip(judged, annotations.is_new, strict=True):
        is_new[owner] |= is_added
    report.n_kept += sum(is_new)
    report.n_already_there += len(is_new) - sum(is_new)
    report.stored.update(
        problems=problems.n_problems,
        problem_sources=problems.n_sources,
        references_filled=problems.n_references_filled,
        references_differ=problems.n_references_differ,
        solutions=solutions.n_solutions,
        outcomes=solutions.n_outcomes,
        annotations=annotations.n_annotations,
        step_labels=annotations.n_step_labels,
        annotations_superseded=annotations.n_superseded,
    )


def _without_taken_keys(
    session: Session, batch: Sequence[_Row], source: str, report: ImportReport, *, skip_bad: bool
) -> list[_Row]:
    """The rows whose keys are free, or stand for the same text already."""
    problem_of = problems_of_keys(session, source, [row.record.problem.source_key for row in batch])
    text_of = solutions_of_keys(session, source, [s.source_key for row in batch for s in row.record.solutions])
    rows = []
    for row in batch:
        key = row.record.problem.source_key
        texts = {s.source_key: hash_ for s, hash_ in zip(row.record.solutions, row.text_hashes, strict=True)}
        taken = next((k for k, hash_ in texts.items() if text_of.get(k, hash_) != hash_), None)
        if problem_of.get(key, row.statement_hash) != row.statement_hash:
            taken = key
        if taken is not None:
            what = f"{source} has another text under the key {taken!r} already; give this file a --source of its own"
            _bad(report, BadRow(row.line, "key_taken", what), skip_bad=skip_bad)
            continue
        problem_of[key] = row.statement_hash
        text_of.update(texts)
        rows.append(row)
    return rows
