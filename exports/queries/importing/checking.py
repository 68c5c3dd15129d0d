"""Rows of a source, parsed and checked, before the database sees them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from stepmark.errors import InputError
from stepmark.problems import normalise_statement, normalised_hash
from stepmark.records import CritiqueRecord, ImportedRow, ProblemRecord

from ..sources import BadRow, ImportOptions, SourceFormat, SourceRow
from ..sources.rows import RowError, shown
from .report import ImportReport

_LONGEST = {
    "source": 128,
    "source_key": 256,
    "generator": 256,
    "licence": 128,
    "critic": 256,
    "annotator": 128,
    "reward_model": 256,
}


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """One row of the source, fit to be stored."""

    line: int
    records: tuple[ImportedRow, ...]
    statement_hashes: tuple[str | None, ...]
    """Of each record's problem; None where it refers to one that another file brought."""


def checked_rows(
    rows: Iterable[SourceRow | BadRow],
    source_format: SourceFormat,
    options: ImportOptions,
    report: ImportReport,
    *,
    skip_bad: bool,
) -> Iterator[CheckedRow]:
    """Parses rows; counts those read, and those that cannot be taken."""
    hash_of = _Hashes()
    for found in rows:
        report.n_read += 1
        if isinstance(found, BadRow):
            report.drop(found, skip_bad=skip_bad)
            continue
        try:
            yield _checked(found.line, parsed(found, source_format, options), hash_of)
        except RowError as err:
            report.drop(BadRow(found.line, err.reason, err.message), skip_bad=skip_bad)


def parsed(row: SourceRow, source_format: SourceFormat, options: ImportOptions) -> tuple[ImportedRow, ...]:
    """What a row says, as the format and the options have it.

    Raises:
        RowError: It cannot be taken.
    """
    if options.columns:
        row = replace(row, value=_renamed(row.value, options.columns))
    if options.keys is not None:
        if row.index >= len(options.keys):
            raise RowError("no_key", f"row {row.index + 1} has no key: there are {len(options.keys)} of them")
        row = replace(row, key=options.keys[row.index])
    found = source_format.parse(row, options)
    return (found,) if isinstance(found, ImportedRow) else tuple(found)


def check_length(name: str, value: str | None, error: type[InputError] | type[RowError] = RowError) -> None:
    """Refuses a name that is longer than its column."""
    if value is None or len(value) <= _LONGEST[name]:
        return
    message = f"{name} {shown(value)} has {len(value)} characters, at most {_LONGEST[name]} are kept"
    raise InputError(message + "; give a shorter one") if error is InputError else RowError("too_long", message)


class _Hashes:
    """Hashes of statements; rows about one problem often stand together."""

    def __init__(self) -> None:
        self._statement = ""
        self._hash = ""

    def __call__(self, statement: str) -> str:
        if statement != self._statement:
            normalised = normalise_statement(statement)
            if not normalised:
                raise RowError("empty_statement", f"the problem's statement is empty: {shown(statement)}")
            self._statement, self._hash = statement, normalised_hash(normalised)
        return self._hash


def _renamed(value: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, object]:
    theirs = set(columns.values())
    found = {f"given_{name}" if name in columns else name: part for name, part in value.items() if name not in theirs}
    for ours, name in columns.items():
        if name not in value:
            raise RowError("missing_key", f"no key {name!r}; the row has {', '.join(map(shown, list(value)[:8]))}")
        found[ours] = value[name]
    return found


def _checked(line: int, records: tuple[ImportedRow, ...], hash_of: Callable[[str], str]) -> CheckedRow:
    hashes: list[str | None] = []
    for record in records:
        problem = record.problem
        check_length("source_key", problem.source_key)
        if isinstance(problem, ProblemRecord):
            hashes.append(hash_of(problem.statement))
            if problem.parent is not None and not normalise_statement(problem.parent.statement):
                raise RowError("empty_statement", "the statement of the problem's parent is empty")
        else:
            hashes.append(None)
        for preference in record.preferences:
            check_length("annotator", preference.annotator)
        for solution in record.solutions:
            check_length("source_key", solution.source_key)
            check_length("generator", solution.generator)
            for annotation in solution.annotations:
                check_length("annotator", annotation.annotator)
            for alternative in solution.alternatives:
                check_length("source_key", alternative.source_key)
            for score in solution.scores:
                check_length("reward_model", score.reward_model)
            _check_critiques(solution.critiques)
    return CheckedRow(line, records, tuple(hashes))


def _check_critiques(critiques: tuple[CritiqueRecord, ...]) -> None:
    for critique in critiques:
        check_length("source_key", critique.source_key)
        check_length("critic", critique.critic)
        for judgement in critique.judgements:
            check_length("annotator", judgement.annotator)
        _check_critiques(critique.critiques)
