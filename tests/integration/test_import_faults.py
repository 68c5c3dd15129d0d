"""Broken input: one message with file, line and value, exit code 2, and the database as it was."""

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.connect import open_database
from db.counts import table_counts
from exports.queries.importing import import_file
from exports.queries.sources import FORMATS
from exports.queries.sources.reading import MAX_ROW_BYTES
from stepmark.errors import InputError, LimitReached

ROOT = Path(__file__).parents[2]
GOOD = b'{"question": "What is 1 + 1?", "answer": "1 + 1 = <<1+1=2>>2\\n#### 2"}\n'
ALSO_GOOD = b'{"question": "What is 1 + 2?", "answer": "1 + 2 = 3\\n#### 3"}\n'

BAD_LINES = {
    "cut off": (b'{"question": "What is 1', "malformed_json", "not JSON"),
    "not an object": (b"[1, 2]", "wrong_type", "a row should be an object, not [1, 2]"),
    "a missing key": (b'{"question": "What?"}', "missing_key", "no key 'answer'; the row has 'question'"),
    "a wrong type": (b'{"question": 5, "answer": "#### 5"}', "wrong_type", "'question' should be text, not 5"),
    "no gold answer": (
        b'{"question": "What?", "answer": "It is 5."}',
        "no_reference_answer",
        "should end in a line '#### VALUE', not 'It is 5.'",
    ),
    "an empty statement": (b'{"question": " ", "answer": "#### 5"}', "empty_statement", "statement is empty: ' '"),
    "a line of five megabytes": (
        b'{"question": "' + b"a" * 5_000_000 + b'", "answer": "#### 5"}',
        "too_long",
        "the line has 5,000,",
    ),
    "another encoding": (
        '{"question": "Wie viel kostet das Öl?", "answer": "#### 5"}'.encode("latin-1"),
        "not_utf8",
        "not UTF-8: byte 0xd6",
    ),
    "an escaped NUL": (b'{"question": "What\\u0000?", "answer": "#### 5"}', "nul_character", "a NUL character in"),
    "a raw NUL": (b'{"question": "What\x00?", "answer": "#### 5"}', "nul_character", "a NUL character at 18"),
    "half a surrogate pair": (
        b'{"question": "What \\ud83d?", "answer": "#### 5"}',
        "lone_surrogate",
        "half a surrogate pair in 'What \\ud83d?'",
    ),
    "a number that is none": (b'{"question": "What?", "answer": "#### 5", "x": NaN}', "malformed_json", "NaN is no"),
    "a number beyond all": (b'{"question": "What?", "answer": "#### 5", "x": 1e999}', "malformed_json", "1e999"),
    "nesting without end": (b'{"question": ' + b"[" * 200_000, "too_deep", "values nest more than 200 deep in"),
    "deep nesting": (
        b'{"question": "What?", "answer": "#### 5", "x": ' + b'{"y": ' * 200 + b"1" + b"}" * 201,
        "too_deep",
        "values nest more than 200 deep in",
    ),
}


@pytest.fixture
def holding_one(database: sa.Engine, tmp_path: Path) -> sa.Engine:
    """A database with one problem in it."""
    path = tmp_path / "before.jsonl"
    path.write_text('{"problem": "What is 5 + 5?", "answer": "10"}\n')
    import_file(database, FORMATS["problems"], path)
    return database


def stepmark(*words: str | Path, db: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepmark", *map(str, words), "--db", db],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_bad_line_stops_the_file_and_the_database_is_as_before(holding_one: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    before = table_counts(holding_one)
    for line, _, message in BAD_LINES.values():
        path.write_bytes(GOOD + line + b"\n" + ALSO_GOOD)
        with pytest.raises(InputError) as caught:
            import_file(holding_one, FORMATS["gsm8k"], path)
        assert str(caught.value).startswith(f"{path}, line 2: ")
        assert message in str(caught.value)
        assert str(caught.value).endswith("correct it, or leave such rows out with --skip-bad.")
        assert len(str(caught.value)) < 500
        assert table_counts(holding_one) == before


def test_bad_lines_are_left_out_and_counted_by_reason_on_request(holding_one: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_bytes(GOOD + b"".join(line + b"\n" for line, _, _ in BAD_LINES.values()) + ALSO_GOOD)
    report = import_file(holding_one, FORMATS["gsm8k"], path, skip_bad=True)
    assert (report.n_read, report.n_kept) == (len(BAD_LINES) + 2, 2)
    assert report.dropped == {
        "malformed_json": 3,
        "too_deep": 2,
        "wrong_type": 2,
        "missing_key": 1,
        "no_reference_answer": 1,
        "empty_statement": 1,
        "too_long": 1,
        "not_utf8": 1,
        "nul_character": 2,
        "lone_surrogate": 1,
    }
    assert report.n_read == report.n_kept + report.n_already_there + report.dropped.total()
    assert len(report.first_bad) == 10
    assert table_counts(holding_one)["problems"] == 3


def _truncated_gzip(path: Path) -> str:
    whole = gzip.compress(b"".join(GOOD.replace(b"1 + 1", b"%d + 1" % n) for n in range(2_000)))
    path.write_bytes(whole[: len(whole) // 2])
    return "is cut off or damaged after row"


def _damaged_gzip(path: Path) -> str:
    whole = bytearray(gzip.compress(GOOD))
    whole[-6] ^= 0xFF  # a byte of the length behind the data
    path.write_bytes(whole)
    return "cut off or damaged"


def _empty(path: Path) -> str:
    path.write_bytes(b"")
    return "is empty: it holds no row"


def _blank(path: Path) -> str:
    path.write_bytes(b"\n  \n")
    return "is empty: it holds no row"


def _empty_array(path: Path) -> str:
    path.write_bytes(b"[ ]")
    return "is empty: it holds no row"


def _missing(path: Path) -> str:
    return "No such file or directory"


def _folder(path: Path) -> str:
    path.mkdir()
    return "Is a directory"


def _cut_array(path: Path) -> str:
    path.write_bytes(b"[" + GOOD + b"," + ALSO_GOOD)
    return "line 3: the array is cut off"


def _cut_element(path: Path) -> str:
    path.write_bytes(b"[" + GOOD + b',{"question": "What')
    return "line 2: not JSON (Unterminated string"


def _broken_array(path: Path) -> str:
    path.write_bytes(b"[" + GOOD + b', {"question": oops}, ' + ALSO_GOOD + b"]")
    return 'line 2: not JSON (Expecting value): \'{"question": oops}'


def _array_with_a_tail(path: Path) -> str:
    path.write_bytes(b"[" + GOOD + b"] tail")
    return "line 2: more text after the array's end: 'tail'"


def _array_in_another_encoding(path: Path) -> str:
    path.write_bytes(b"[" + GOOD + b', {"question": "\xd6l"}]')
    return "not UTF-8 (byte 0xd6)"


WHOLE_FILES = [
    _truncated_gzip,
    _damaged_gzip,
    _empty,
    _blank,
    _empty_array,
    _missing,
    _folder,
    _cut_array,
    _cut_element,
    _broken_array,
    _array_with_a_tail,
    _array_in_another_encoding,
]


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_file_that_cannot_be_read_to_its_end_is_refused_whole(
    holding_one: sa.Engine, tmp_path: Path, skip_bad: bool
) -> None:
    before = table_counts(holding_one)
    for make in WHOLE_FILES:
        path = tmp_path / f"{make.__name__}.jsonl"
        message = make(path)
        with pytest.raises(InputError) as caught:
            import_file(holding_one, FORMATS["gsm8k"], path, skip_bad=skip_bad)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert table_counts(holding_one) == before


CONTRADICTIONS: list[tuple[dict[str, object], str, str]] = [
    ({"label": 7}, "label_out_of_range", "the index of one of the 4 steps, not 7"),
    ({"label": True}, "wrong_type", "'label' should be a whole number, not True"),
    ({"steps": ["One.", ""]}, "wrong_type", "each of 'steps' should be text, not ''"),
    ({"steps": []}, "label_out_of_range", "one of the 0 steps"),
    ({"id": "k" * 300}, "too_long", "has 300 characters, at most 256 are kept"),
    ({"generator": None}, "wrong_type", "'generator' should be text, not None"),
]


def test_a_processbench_row_that_contradicts_itself_is_refused(holding_one: sa.Engine, tmp_path: Path) -> None:
    good = json.loads((ROOT / "examples/data/processbench/gsm8k.json").read_text(encoding="utf-8"))[-6]
    path = tmp_path / "gsm8k.json"
    for change, reason, message in CONTRADICTIONS:
        path.write_text(json.dumps([good, good | {"id": "other"} | change]), encoding="utf-8")
        with pytest.raises(InputError, match="line 1") as caught:
            import_file(holding_one, FORMATS["processbench"], path)
        assert message in str(caught.value)
        report = import_file(holding_one, FORMATS["processbench"], path, skip_bad=True)
        assert (report.n_kept + report.n_already_there, dict(report.dropped)) == (1, {reason: 1})


def test_a_key_that_stands_for_another_text_is_refused_and_names_the_way_out(
    holding_one: sa.Engine, tmp_path: Path
) -> None:
    path = tmp_path / "test.jsonl"
    path.write_bytes(GOOD + ALSO_GOOD)
    import_file(holding_one, FORMATS["gsm8k"], path)
    before = table_counts(holding_one)
    path.write_bytes(ALSO_GOOD)
    with pytest.raises(InputError, match="has another text under the key '0' already; give this file a --source"):
        import_file(holding_one, FORMATS["gsm8k"], path)
    report = import_file(holding_one, FORMATS["gsm8k"], path, skip_bad=True)
    assert (report.n_kept, dict(report.dropped)) == (0, {"key_taken": 1})
    assert table_counts(holding_one) == before


def test_the_longest_row_that_is_allowed_is_read(holding_one: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    head, tail = b'{"question": "', b'", "answer": "#### 5"}\n'
    path.write_bytes(head + b"a" * (MAX_ROW_BYTES - len(head) - len(tail)) + tail)
    assert import_file(holding_one, FORMATS["gsm8k"], path).n_kept == 1


def test_depth_counts_brackets_of_values_and_not_of_texts(holding_one: sa.Engine, tmp_path: Path) -> None:
    deep = [{"question": "How deep?", "answer": "#### 200", "x": json.loads("[" * 199 + "]" * 199)}]
    deep += [{"question": "How deep?", "answer": "#### 201", "x": json.loads("[" * 200 + "]" * 200)}]
    texts = [{"question": '"' + "{" * 300 + '\\"', "answer": "[" * 300 + "\n#### 300"}]
    lines, array = tmp_path / "rows.jsonl", tmp_path / "rows.json"
    lines.write_text("".join(json.dumps(row) + "\n" for row in deep + texts))
    array.write_text(json.dumps(deep + texts))
    for path in (lines, array):
        report = import_file(holding_one, FORMATS["gsm8k"], path, skip_bad=True, is_dry_run=True)
        assert (report.n_read, report.n_kept, report.dropped) == (3, 2, {"too_deep": 1})


@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_pipe_is_read_like_a_file(holding_one: sa.Engine, tmp_path: Path, is_gzip: bool) -> None:
    rows = "".join(json.dumps({"problem": f"How much is 1 + {n}?", "answer": str(1 + n)}) + "\n" for n in range(250))
    pipe = tmp_path / "rows.jsonl"
    os.mkfifo(pipe)
    content = gzip.compress(rows.encode()) if is_gzip else rows.encode()
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    report = import_file(holding_one, FORMATS["problems"], pipe)
    writer.join()
    assert (report.n_read, report.n_kept) == (250, 250)


def test_the_command_exits_2_with_one_message_and_no_traceback(holding_one: sa.Engine, tmp_path: Path) -> None:
    url = holding_one.url.render_as_string(hide_password=False)
    path = tmp_path / "test.jsonl"
    path.write_bytes(GOOD + b'{"question": 5, "answer": "#### 5"}\n')
    before = table_counts(holding_one)
    done = stepmark("import", "gsm8k", path, db=url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"stepmark: {path}, line 2: 'question' should be text, not 5. Nothing of the file was imported: "
        "correct it, or leave such rows out with --skip-bad.\n"
    )
    assert table_counts(holding_one) == before
    done = stepmark("import", "gsm9k", path, db=url)
    assert done.returncode == 2
    assert done.stderr == (
        "stepmark: 'gsm9k' is no format that can be imported; there are " + ", ".join(FORMATS) + "\n"
    )


def test_the_command_reports_what_it_left_out_and_stored(holding_one: sa.Engine, tmp_path: Path) -> None:
    url = holding_one.url.render_as_string(hide_password=False)
    path = tmp_path / "test.jsonl"
    path.write_bytes(GOOD + b"oops\n")
    done = stepmark("import", "gsm8k", path, "--skip-bad", db=url)
    assert (done.returncode, done.stdout) == (
        0,
        f"{path}: read 2, kept 1, dropped 1 (1 malformed_json)\n  already there 0\n"
        "  stored 1 problems, 1 problem_sources\n",
    )
    assert "line 2: not JSON" in done.stderr
    done = stepmark("import", "gsm8k", path, "--skip-bad", "--dry-run", "--json", db=url)
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)["files"]
    assert (report["n_read"], report["n_kept"], report["n_already_there"]) == (2, 0, 1)
    assert report["dropped"] == {"malformed_json": 1}


def many_problems(path: Path, n: int) -> Path:
    with path.open("w") as file:
        for number in range(n):
            statement = f"What is {number} + 1? " + "Think about it. " * 20
            file.write(json.dumps({"problem": statement, "answer": number + 1}) + "\n")
    return path


def test_a_full_database_says_so_and_keeps_what_it_had(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'small.db'}", create=True)
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    @sa.event.listens_for(engine, "connect")
    def limit(connection: object, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 50}")  # type: ignore[attr-defined]

    engine.dispose()
    first = many_problems(tmp_path / "few.jsonl", 10)
    import_file(engine, FORMATS["problems"], first)
    before = table_counts(engine)
    with pytest.raises(LimitReached, match="is full; nothing of this batch was stored"):
        import_file(engine, FORMATS["problems"], many_problems(tmp_path / "many.jsonl", 5_000))
    assert table_counts(engine) == before
    engine.dispose()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_makes_the_command_exit_1_and_keeps_what_was_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    try:
        url = f"sqlite:///{disk / 'small.db'}"
        engine = open_database(url, create=True)
        import_file(engine, FORMATS["problems"], many_problems(tmp_path / "few.jsonl", 10))
        before = table_counts(engine)
        engine.dispose()
        done = stepmark("import", "problems", many_problems(tmp_path / "many.jsonl", 20_000), db=url)
        assert done.returncode == 1
        assert "is full; nothing of this batch was stored. Free some space" in done.stderr
        assert "Traceback" not in done.stderr
        engine = open_database(url)
        assert table_counts(engine) == before
        engine.dispose()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
