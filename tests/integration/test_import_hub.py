"""Sets on the Hub, streamed over its protocol by the real library, into the same formats as files."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

server = pytest.importorskip("tests.hub_server", reason="the server that speaks the Hub's protocol is not here yet")

ROOT = Path(__file__).parents[2]
REPO = "owner/sums"
CARD = """---
license: mit
configs:
- config_name: lines
  data_files:
  - {split: train, path: lines/train.jsonl}
  - {split: test, path: lines/test.jsonl}
---
"""


@pytest.fixture
def hub() -> Iterator[Any]:
    with server.HubServer() as found:
        yield found


def problems(first: int, n: int) -> list[dict[str, object]]:
    return [{"question": f"What is {number} + 2?", "answer": number + 2} for number in range(first, first + n)]


def lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, object]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def test_sets_are_read_by_revision_config_and_split_and_what_is_not_there_is_named(hub: Any, tmp_path: Path) -> None:
    hub.create(REPO, is_private=True)
    files = {"README.md": CARD.encode(), "tables/a.parquet": table(problems(100, 700))}
    first = hub.put(
        REPO, {**files, "lines/train.jsonl": lines(problems(0, 3)), "lines/test.jsonl": lines(problems(3, 2))}
    )
    hub.put(REPO, {"lines/test.jsonl": lines(problems(50, 4))})
    hub.create("team/tables", is_private=False)
    hub.put("team/tables", {"data/train-00000-of-00001.parquet": table(problems(100, 700))})
    script = tmp_path / "imports.py"
    script.write_text(IMPORTS)
    wanted = [
        f"hub:{REPO}:lines/test",
        f"hub:{REPO}@{first}:lines/test",
        f"hub:{REPO}:lines",
        "hub:team/tables",
        f"hub:{REPO}:lines/validation",
        "hub:owner/nothing",
    ]
    done = subprocess.run(
        [sys.executable, str(script), f"sqlite:///{tmp_path / 'x.db'}", *wanted],
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": server.TOKEN,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "DO_NOT_TRACK": "1",
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found[:4] == [
        ["problems/sums/lines/test", 4, 4, 4],
        ["problems/sums/lines/test at first", 2, 2, 2],
        ["problems/sums/lines", 7, 7, 3],
        ["problems/tables", 700, 700, 700],
    ]
    assert found[4].startswith(f"hub:{REPO}:lines/validation: ")
    assert found[5].startswith("hub:owner/nothing: ")
    assert all("Check the name, the config and the split" in message for message in found[4:])
    assert hub.unknown == []


IMPORTS = """
import json, sys
from dataclasses import replace
from db.connect import open_database
from exports.queries.importing import default_options, import_file
from exports.queries.sources import FORMATS, HubSet
from stepmark.errors import InputError

engine = open_database(sys.argv[1], create=True)
found = []
for text in sys.argv[2:]:
    wanted = HubSet.parse(text)
    options = default_options(FORMATS["problems"], wanted)
    if wanted.revision:
        options = replace(options, source=options.source + " at first")
    try:
        report = import_file(engine, FORMATS["problems"], wanted, options=options)
        found.append([report.source, report.n_read, report.n_kept, report.stored["problems"]])
    except InputError as err:
        found.append(str(err))
print(json.dumps(found))
"""
