"""Sets and models to the Hub and back, by the real clients against a server that speaks the Hub's protocol."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard, set_client_factory
from huggingface_hub.utils._http import default_client_factory

from db.connect import open_database
from exports.formats import SetWriter, read_rows
from exports.formats.card import addressed
from exports.formats.files import FileFormat
from exports.hub import PushPlan, PushReport, plan_pull, plan_push, pull, push, status
from exports.hub.folders import STATE
from exports.hub.model_card import model_card
from exports.hub.remote import ParentMoved
from stepmark.cli.main import main
from stepmark.errors import InputError, JobError, LimitReached, SettingsError
from tests.hub_server import TOKEN, Fault, HubServer

# The client hands httpx2 its files in a way that httpx2 would rather see otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

ROOT = Path(__file__).parents[2]
REPO = "owner/steps"
PRM = [
    {
        "prompt": f"What is {n} + 1?",
        "completions": [f"Step 1: {n} + 1 = {n + 1}", "½ ❤"],
        "labels": [True, n % 2 == 0],
    }
    for n in range(40)
]
ORM = [{"prompt": f"What is {n} + 1?", "completion": str(n + 1), "label": n % 3 == 0} for n in range(30)]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A Hub in which nothing is yet."""
    with HubServer() as server:
        yield server
        assert server.unknown == []


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client is the owner's, without Xet, and its waits between attempts are written down and not waited."""
    found: list[float] = []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)  # it asks for a list of agents
    clock = SimpleNamespace(sleep=found.append)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    monkeypatch.setattr("huggingface_hub.file_download.time", clock)
    monkeypatch.setattr("exports.hub.remote.time", clock)
    return found


def write(folder: Path, config: str = "prm", *, file_format: FileFormat = "jsonl", **options: Any) -> Path:
    """Writes a set into a folder; `rows`, `query` and `per_shard` in place of the usual ones."""
    per_shard = options.pop("per_shard", 10)
    rows, query = options.pop("rows", {"prm": PRM, "orm": ORM}[config]), options.pop("query", {})
    with SetWriter(folder, config, file_format=file_format, overwrite=True, rows_per_shard=per_shard) as writer:
        for number, row in enumerate(rows):
            writer.write("test" if number % 10 == 9 else "train", row)
        counts = {"read": len(rows), "kept": len(rows), "dropped": {}}
        writer.finish(
            version="0.1.0",
            format="trl",
            query=query,
            counts=counts,
            licences={"MIT": len(rows)},
            sources={"gsm8k": 1},
        )
    return folder


def plan(folder: Path, hub: HubServer, repo_id: str = REPO, **options: Any) -> PushPlan:
    return plan_push(folder, repo_id, endpoint=hub.url, **options)


def send(folder: Path, hub: HubServer, repo_id: str = REPO, **options: Any) -> PushReport:
    return push(plan(folder, hub, repo_id, **options), endpoint=hub.url)


def fetch(folder: Path, hub: HubServer, **options: Any) -> None:
    pull(plan_pull(REPO, folder, endpoint=hub.url, **options), endpoint=hub.url)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but what is remembered of the Hub."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items()) if name != STATE}


def there(hub: HubServer, branch: str = "main") -> dict[str, bytes]:
    found = dict(sorted(hub.files(REPO, branch=branch).items()))
    del found[".gitattributes"]
    return found


def test_a_push_shows_what_it_will_send_and_makes_a_private_repository(tmp_path: Path, hub: HubServer) -> None:
    write(write(tmp_path), "orm")
    found = plan(tmp_path, hub)
    assert hub.repos == {}
    assert (found.is_new, found.is_private, found.user, found.kind) == (True, True, "owner", "dataset")
    assert found.configs == {"orm": {"train": 27, "test": 3}, "prm": {"train": 36, "test": 4}}
    assert (found.licences, found.annotator_names, found.notes) == (["MIT"], [], [])
    assert {change.path: change.bytes for change in found.sent} == {
        name: len(content if name != "README.md" else addressed(content.decode(), REPO).encode())
        for name, content in contents(tmp_path).items()
    }
    report = push(found, endpoint=hub.url)
    assert hub.repo(REPO).is_private
    assert there(hub) == contents(tmp_path)
    assert list(hub.repo(REPO).messages.values()) == [
        "initial commit",
        "Training sets of stepmark: orm 30, prm 40 rows",
    ]
    assert report.commit == hub.repo(REPO).branches["main"]
    assert DatasetCard(hub.cards[0]).data.license == ["mit"]
    assert b'load_dataset("owner/steps", "prm")' in there(hub)["README.md"]
    assert b"OWNER/NAME" not in there(hub)["README.md"]
    send(tmp_path, hub, "team/copy")
    assert b'load_dataset("team/copy", "prm")' in hub.files("team/copy")["README.md"]
    assert [one.relation for one in status(tmp_path)] == ["same", "same"]


def test_a_second_push_of_the_same_set_sends_nothing(tmp_path: Path, hub: HubServer) -> None:
    send(write(tmp_path), hub)
    before = dict(hub.calls)
    report = send(tmp_path, hub)
    assert (report.n_sent, report.n_bytes) == (0, 0)
    for name in ("preupload", "lfs", "upload", "commit"):
        assert hub.calls[name] == before.get(name, 0)
    assert len(hub.repo(REPO).trees) == 2


def test_only_what_differs_is_sent_and_what_is_no_longer_ours_stays(tmp_path: Path, hub: HubServer) -> None:
    write(write(tmp_path), "orm")
    send(tmp_path, hub)
    theirs = {"LICENSE": b"Do what you like.", "orm/notes.txt": b"mine"}
    commit = hub.put(REPO, theirs)
    (tmp_path / STATE).write_text((tmp_path / STATE).read_text().replace(plan_commit(tmp_path), commit))
    write(tmp_path, rows=[*PRM[:-1], {**PRM[-1], "labels": [False, False]}])
    for path in (tmp_path / "orm").iterdir():
        path.unlink()
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    del manifest["configs"]["orm"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    found = plan(tmp_path, hub)
    assert {change.path: change.what for change in found.changes} == {
        "README.md": "changed",
        "manifest.json": "changed",
        "orm/test-00000-of-00001.jsonl": "removed",
        "orm/train-00000-of-00003.jsonl": "removed",
        "orm/train-00001-of-00003.jsonl": "removed",
        "orm/train-00002-of-00003.jsonl": "removed",
        "prm/test-00000-of-00001.jsonl": "changed",
        "prm/train-00000-of-00004.jsonl": "unchanged",
        "prm/train-00001-of-00004.jsonl": "unchanged",
        "prm/train-00002-of-00004.jsonl": "unchanged",
        "prm/train-00003-of-00004.jsonl": "unchanged",
    }
    push(found, endpoint=hub.url)
    assert there(hub) == contents(tmp_path) | theirs


def plan_commit(folder: Path) -> str:
    (known,) = json.loads((folder / STATE).read_bytes())["branches"].values()
    return str(known["commit"])


def test_a_pulled_set_is_the_pushed_one_byte_for_byte_and_a_set_again(tmp_path: Path, hub: HubServer) -> None:
    ours, theirs = write(write(tmp_path / "ours"), "orm"), tmp_path / "theirs"
    send(ours, hub)
    fetch(theirs, hub)
    assert contents(theirs) == contents(ours)
    assert [*read_rows(theirs, "prm", "test", verify=True)] == PRM[9::10]
    write(theirs, rows=PRM[:20])
    send(theirs, hub)
    assert there(hub) == contents(theirs)
    fetch(ours, hub)
    assert contents(ours) == contents(theirs), "shards that are no more are gone, those that did not change stay"


def test_a_revision_that_the_folder_does_not_come_from_is_not_overwritten(tmp_path: Path, hub: HubServer) -> None:
    ours, theirs = write(tmp_path / "ours"), tmp_path / "theirs"
    send(ours, hub)
    fetch(theirs, hub)
    send(write(theirs, rows=PRM[:20]), hub)
    before = there(hub)
    write(ours, rows=PRM[:10])
    with pytest.raises(SettingsError, match=r"which this folder does not come from: it comes from .*--overwrite"):
        plan(ours, hub)
    with pytest.raises(SettingsError, match="it was neither pushed there nor pulled from there"):
        plan(write(tmp_path / "other", rows=PRM[:5]), hub)
    assert there(hub) == before
    found = plan(ours, hub, overwrite=True)
    assert "it is overwritten" in found.notes[0]
    push(found, endpoint=hub.url)
    assert there(hub) == contents(ours)


def test_a_commit_between_plan_and_push_is_not_overwritten(tmp_path: Path, hub: HubServer) -> None:
    send(write(tmp_path), hub)
    found = plan(write(tmp_path, rows=PRM[:10]), hub)
    hub.put(REPO, {"README.md": b"Their card."})
    with pytest.raises(
        ParentMoved, match=r"somebody committed to dataset owner/steps .* meanwhile; nothing was changed"
    ):
        push(found, endpoint=hub.url)
    assert there(hub)["README.md"] == b"Their card."


def test_a_repository_that_somebody_makes_between_plan_and_push_gets_nothing(tmp_path: Path, hub: HubServer) -> None:
    found = plan(write(tmp_path), hub)
    hub.create(REPO, is_private=False)
    with pytest.raises(JobError, match="was made public by somebody meanwhile; nothing was sent"):
        push(found, endpoint=hub.url)
    assert there(hub) == {}
    found = plan(tmp_path, hub, "team/other")
    hub.create("team/other")
    hub.put("team/other", {"theirs.txt": b"x"})
    with pytest.raises(ParentMoved, match=r"somebody made .* meanwhile, and it is not empty"):
        push(found, endpoint=hub.url)
    assert hub.calls["commit"] == 0


def test_a_push_that_was_cut_goes_on_and_sends_no_file_twice(tmp_path: Path, hub: HubServer) -> None:
    write(tmp_path, file_format="parquet")
    uploads: list[str] = []

    def cut_after_two(method: str, path: str) -> Fault | None:
        if method == "PUT":
            uploads.append(path)
        return Fault(after_bytes=500) if method == "PUT" and len(set(uploads)) > 2 else None

    hub.fault = cut_after_two
    with pytest.raises(JobError, match=r"cannot be reached .* what has arrived is not sent twice"):
        send(tmp_path, hub)
    assert hub.files(REPO).keys() == {".gitattributes"}
    arrived = dict(hub.large)
    assert 0 < len(arrived) < 5
    hub.fault = lambda method, path: None
    hub.put_bytes.clear()
    send(tmp_path, hub)
    assert there(hub) == contents(tmp_path)
    rest = {oid: len(content) for oid, content in hub.large.items() if oid not in arrived}
    assert dict(hub.put_bytes) == rest, "each file that had not arrived, once and whole"


def test_a_push_whose_process_was_killed_goes_on_and_sends_no_file_twice(tmp_path: Path, hub: HubServer) -> None:
    write(tmp_path, file_format="parquet", per_shard=3)
    reached, hold = threading.Event(), threading.Event()

    def stand_still(method: str, path: str) -> Fault | None:
        if method != "PUT" or len(hub.large) < 2:
            return None
        reached.set()
        return Fault(hold=hold)

    hub.fault = stand_still
    process = subprocess.Popen(
        [sys.executable, "-m", "stepmark", "hub", "push", str(tmp_path), REPO, "--yes"],
        env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "DO_NOT_TRACK": "1"},
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert reached.wait(60), process.communicate(timeout=5)[1]
    process.kill()
    process.communicate(timeout=10)
    hold.set()
    hub.wait_idle()
    hub.fault = lambda method, path: None
    arrived = set(hub.large)
    hub.put_bytes.clear()
    assert 2 <= len(arrived) < 14
    send(tmp_path, hub)
    assert there(hub) == contents(tmp_path)
    assert set(hub.put_bytes) == set(hub.large) - arrived


def test_an_upload_that_is_cut_once_is_sent_again_at_once(tmp_path: Path, hub: HubServer, waits: list[float]) -> None:
    cuts = iter([Fault(after_bytes=100)])
    hub.fault = lambda method, path: next(cuts, None) if method == "PUT" else None
    send(write(tmp_path, file_format="parquet"), hub)
    assert there(hub) == contents(tmp_path)
    assert waits == [1]


def test_a_connection_that_stands_still_is_given_up(
    tmp_path: Path, hub: HubServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exports.hub.remote.STALLED_S", 0.3)
    set_client_factory(default_client_factory)
    hold = threading.Event()
    stalls = iter([Fault(hold=hold)])
    hub.fault = lambda method, path: next(stalls, None) if method == "PUT" else None
    send(write(tmp_path, file_format="parquet"), hub)
    hold.set()
    set_client_factory(default_client_factory)
    assert there(hub) == contents(tmp_path)
    assert waits == [1]


def test_bursts_of_errors_are_waited_out(tmp_path: Path, hub: HubServer, waits: list[float]) -> None:
    faults = {
        "/api/whoami-v2": [Fault(status=503), Fault()],
        "/api/repos/create": [Fault(status=500)],
        f"/api/datasets/{REPO}/preupload/main": [Fault(status=429, headers={"retry-after": "7"})],
        f"/api/datasets/{REPO}/commit/main": [Fault(status=503), Fault(status=502), Fault(is_done=True)],
    }
    hub.fault = lambda method, path: faults[path].pop() if faults.get(path) else None
    send(write(tmp_path), hub)
    assert there(hub) == contents(tmp_path)
    assert not any(faults.values())
    assert len(hub.repo(REPO).trees) == 2, "the commit whose answer was lost is not made twice"
    assert 8 in waits, "the wait that the Hub asks for, and a second"


def test_a_repository_that_swallows_files_is_noticed(tmp_path: Path, hub: HubServer) -> None:
    hub.create(REPO)
    hub.put(REPO, {".gitignore": b"*.jsonl\n"})
    with pytest.raises(JobError, match=r"5 of 7 files are not in it .* \.gitignore keeps them out"):
        send(write(tmp_path), hub, overwrite=True)


def test_large_uploads_go_in_parts(tmp_path: Path, hub: HubServer) -> None:
    hub.part_size = 700
    send(write(tmp_path, file_format="parquet"), hub)
    assert there(hub) == contents(tmp_path)
    assert hub.calls["upload_part"] > hub.calls["complete"] > 0


def test_branches_are_made_and_kept_apart(tmp_path: Path, hub: HubServer) -> None:
    send(write(tmp_path), hub)
    main = there(hub)
    found = plan(write(tmp_path, rows=PRM[:10]), hub, branch="small")
    assert found.is_new_branch
    push(found, endpoint=hub.url)
    assert there(hub) == main
    assert there(hub, "small") == contents(tmp_path)
    fetch(tmp_path / "again", hub, revision="small")
    assert contents(tmp_path / "again") == there(hub, "small")
    with pytest.raises(SettingsError, match="has no such branch, tag or commit"):
        plan_pull(REPO, tmp_path / "x", revision="nowhere", endpoint=hub.url)


def test_names_of_annotators_are_told_before_they_are_sent(tmp_path: Path, hub: HubServer) -> None:
    write(tmp_path, query={"annotators": ["annotator-1"], "trace": "names", "tokenizer": "/models/tokenizer"})
    found = plan(tmp_path, hub)
    assert found.annotator_names == ["the flags of prm: annotator-1", "the traces of prm"]
    assert found.notes == ["a path of this machine stands in the flags of prm: tokenizer /models/tokenizer"]


def test_the_card_gets_its_language_and_title(tmp_path: Path, hub: HubServer) -> None:
    send(write(tmp_path), hub, about={"language": ["de"], "pretty_name": "Bruchrechnen"}, is_public=True)
    data = DatasetCard(there(hub)["README.md"].decode()).data
    assert (data.language, data.pretty_name) == (["de"], "Bruchrechnen")
    assert there(hub) == contents(tmp_path)
    assert not hub.repo(REPO).is_private


def refused(folder: Path, hub: HubServer, error: type[Exception], message: str, repo_id: str = REPO) -> None:
    with pytest.raises(error, match=message):
        send(folder, hub, repo_id)


def test_what_the_hub_refuses_is_told_with_what_to_do(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    refused(tmp_path, hub, SettingsError, r"may not do that .*403.*right to write", "strangers/steps")
    refused(tmp_path, hub, SettingsError, "'a//b' is no name of a repository", "a//b")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    refused(tmp_path, hub, SettingsError, r"does not know this token .*HF_TOKEN")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    refused(tmp_path, hub, SettingsError, "there is no token for the Hub; set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fault = lambda method, path: Fault(status=429, headers={"retry-after": "1"})
    refused(tmp_path, hub, LimitReached, "too many requests")
    hub.fault = lambda method, path: Fault(status=503)
    refused(tmp_path, hub, JobError, r"the Hub failed \(503")
    hub.fault = lambda method, path: Fault()
    refused(tmp_path, hub, JobError, "cannot be reached")
    hub.fault = lambda method, path: None
    with pytest.raises(
        SettingsError, match=r"there is no dataset owner/nothing .*private and this token may not see"
    ):
        plan_pull("owner/nothing", tmp_path / "x", endpoint=hub.url)


def test_a_set_that_is_not_as_it_was_written_is_not_sent(tmp_path: Path, hub: HubServer) -> None:
    shard = write(tmp_path) / "prm" / "test-00000-of-00001.jsonl"
    shard.write_bytes(shard.read_bytes().replace(b"true", b"null"))
    refused(tmp_path, hub, InputError, "is not as it was exported")
    shard.unlink()
    refused(tmp_path, hub, InputError, "is missing; export the set again")
    (tmp_path / "manifest.json").unlink()
    refused(tmp_path, hub, InputError, r"holds neither manifest\.json nor stepmark\.json")
    assert hub.repos == {}


def test_a_pull_that_was_cut_goes_on_and_leaves_no_half_set(tmp_path: Path, hub: HubServer) -> None:
    ours, theirs = write(tmp_path / "ours", file_format="parquet"), tmp_path / "theirs"
    send(ours, hub)
    hub.fault = lambda method, path: Fault() if method == "GET" and "train-00002" in path else None
    with pytest.raises(JobError, match="cannot be reached"):
        fetch(theirs, hub)
    assert not (theirs / "manifest.json").exists()
    assert not (theirs / "prm").exists()
    hub.fault = lambda method, path: None
    hub.calls.clear()
    fetch(theirs, hub)
    assert contents(theirs) == contents(ours)


def test_a_pull_keeps_what_was_changed_here(tmp_path: Path, hub: HubServer) -> None:
    ours, theirs = write(tmp_path / "ours"), tmp_path / "theirs"
    send(ours, hub)
    fetch(theirs, hub)
    send(write(ours, rows=PRM[:20]), hub)
    (theirs / "README.md").write_text("My own words.")
    with pytest.raises(SettingsError, match=r"holds 1 files that did not come from .*README\.md.*--overwrite"):
        fetch(theirs, hub)
    fetch(theirs, hub, overwrite=True)
    assert contents(theirs) == contents(ours)


def test_files_that_the_manifest_does_not_know_so_are_not_taken(tmp_path: Path, hub: HubServer) -> None:
    send(write(tmp_path / "ours"), hub)
    shard = "prm/test-00000-of-00001.jsonl"
    content = there(hub)[shard]
    hub.put(REPO, {shard: content.replace(b"true", b"fals")})
    with pytest.raises(InputError, match=rf"{shard} is not what manifest\.json says"):
        fetch(tmp_path / "theirs", hub)
    manifest = there(hub)["manifest.json"].replace(shard.encode(), b"../../evil")
    hub.put(REPO, {"manifest.json": manifest})
    with pytest.raises(InputError, match="is no path of a set's file"):
        fetch(tmp_path / "theirs", hub)
    hub.put(REPO, {"manifest.json": b"{}"})
    with pytest.raises(InputError, match="is no manifest of an exported set"):
        fetch(tmp_path / "theirs", hub)


def test_the_status_says_on_which_side_a_set_was_changed(tmp_path: Path, hub: HubServer) -> None:
    with pytest.raises(InputError, match="was neither pushed nor pulled"):
        status(write(tmp_path))
    send(tmp_path, hub)

    def now() -> tuple[str, list[str]]:
        (one,) = status(tmp_path)
        return one.relation, one.changed_here

    assert now() == ("same", [])
    shard = tmp_path / "prm" / "test-00000-of-00001.jsonl"
    content = shard.read_bytes()
    shard.write_bytes(b"{}\n")
    assert now() == ("changed here", ["prm/test-00000-of-00001.jsonl"])
    hub.put(REPO, {"x": b""})
    assert now() == ("changed on both sides", ["prm/test-00000-of-00001.jsonl"])
    shard.write_bytes(content)
    assert now() == ("changed there", [])
    hub.repos.clear()
    assert now() == ("gone", [])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny reward models of each kind and layout, trained on sums."""
    from tests.tiny_reward_model import save_tiny_lm, write_sums
    from trainer.train import TrainSettings, train_reward_model

    folder = tmp_path_factory.mktemp("trained")
    base, data = save_tiny_lm(folder / "base"), write_sums(folder / "data", n=6, n_validation=2)
    for name, kind, layout in (
        ("prm", "prm", None),
        ("served", "prm", "token-classification"),
        ("orm", "orm", None),
        ("bt", "bt", None),
    ):
        settings = TrainSettings(epochs=1, layout=layout)  # type: ignore[arg-type]
        train_reward_model(kind, data=data, model=base, out=folder / name, settings=settings)  # type: ignore[arg-type]
    return folder


def test_a_reward_model_goes_there_and_back_with_a_card(trained: Path, tmp_path: Path, hub: HubServer) -> None:
    ours = shutil.copytree(trained / "prm", tmp_path / "ours")
    results = {"best_of_n": {"1": {"prm": {"mean": 0.5}}, "4": {"prm": {"mean": 0.75}}}}
    (ours / "results").mkdir()
    (ours / "results" / "best_of_n.json").write_text(json.dumps(results))
    (ours / "checkpoint.pt").write_bytes(b"state of the trainer")
    found = plan(ours, hub, "owner/prm")
    assert found.kind == "model"
    assert found.notes == []
    before = (ours / "stepmark.json").read_bytes()
    push(found, endpoint=hub.url)
    (ours / "checkpoint.pt").unlink()
    sent = hub.files("owner/prm", "model")
    del sent[".gitattributes"]
    told = json.loads(sent.pop("stepmark.json"))
    kept = contents(ours)
    assert kept.pop("stepmark.json") == before, "the trainer goes on by the paths that stand here"
    assert dict(sorted(sent.items())) == kept
    here = json.loads(before)
    named = {"data": f"data@{here['data_sha256'][:16]}", "base_model": "base"}
    assert told == {**here, **named}
    assert not [name for name, content in sent.items() if str(trained).encode() in content]
    pull(plan_pull("owner/prm", ours, kind="model", endpoint=hub.url), endpoint=hub.url)
    assert contents(ours) == {**kept, "stepmark.json": before}
    theirs = tmp_path / "theirs"
    pull(plan_pull("owner/prm", theirs, kind="model", endpoint=hub.url), endpoint=hub.url)
    assert contents(theirs) == {**sent, "stepmark.json": (theirs / "stepmark.json").read_bytes()}
    assert json.loads((theirs / "stepmark.json").read_bytes()) == told
    assert send(theirs, hub, "owner/prm").n_sent == 0
    card = ModelCard.load(theirs / "README.md")
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "token-classification",
        "tags": ["reward-model", "stepmark", "process-reward-model"],
    }
    said = json.loads((theirs / "stepmark.json").read_bytes())
    assert said["data_sha256"] in card.text
    assert said["base_sha256"] in card.text
    assert "| 4 | 0.750 |" in card.text
    assert send(ours, hub, "owner/prm").n_sent == 0
    with pytest.raises(SettingsError, match="is a model, not a dataset"):
        plan(ours, hub, kind="dataset")
    hub.create("owner/other", "model")
    with pytest.raises(InputError, match=r"holds no stepmark\.json: it is no reward model"):
        plan_pull("owner/other", tmp_path / "x", kind="model", endpoint=hub.url)


def test_a_converted_model_names_where_it_comes_from_without_a_path(tmp_path: Path, hub: HubServer) -> None:
    model = tmp_path / "classifier"
    model.mkdir()
    (model / "stepmark.json").write_text(json.dumps({"kind": "prm", "converted_from": str(tmp_path / "prm")}))
    send(model, hub, "owner/prm")
    assert json.loads(hub.files("owner/prm", "model")["stepmark.json"])["converted_from"] == "prm"


def test_a_model_names_its_training_set_where_that_was_pushed(tmp_path: Path, hub: HubServer) -> None:
    data, model = write(tmp_path / "set"), tmp_path / "model"
    model.mkdir()
    told = {"kind": "prm", "base_model": "owner/base", "data": str(data)}
    told["data_sha256"] = hashlib.sha256((data / "manifest.json").read_bytes()).hexdigest()
    (model / "stepmark.json").write_text(json.dumps(told))

    def named() -> dict[str, Any]:
        send(model, hub, "owner/prm")
        data = ModelCard(hub.files("owner/prm", "model")["README.md"].decode()).data
        return {"datasets": data.datasets, "base_model": data.base_model}

    assert named() == {"datasets": None, "base_model": "owner/base"}
    send(data, hub)
    assert named() == {"datasets": [REPO], "base_model": "owner/base"}
    send(write(data, rows=PRM[:20]), hub)
    assert named() == {"datasets": None, "base_model": "owner/base"}, "it is another set by now"


@pytest.mark.parametrize("name", ["prm", "served", "orm", "bt"])
def test_what_the_model_card_says_of_loading_gives_the_scores_of_stepmark(trained: Path, name: str) -> None:
    from trainer.score import RewardModel

    model = json.loads((trained / name / "stepmark.json").read_bytes())
    text = model_card(trained / name, model, repo_id=str(trained / name))
    code = text.split("```python\n")[1].split("```")[0]
    found: dict[str, Any] = {}
    exec(code, found)
    segments = ["Step 1: 9 - 5 = 4", "# Answer\n\n4"]
    (scored,) = RewardModel.load(trained / name).score([("only", found["problem"], segments)])
    if name in ("prm", "served"):
        assert found["right"].tolist() == pytest.approx(list(scored.step_scores), abs=1e-5)
    else:
        assert found["right" if name == "orm" else "reward"] == pytest.approx(scored.score, abs=1e-5)


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Runs `stepmark ARGUMENTS` in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["stepmark", *arguments])
    try:
        main()
        code: Any = 0
    except SystemExit as exit_:
        code = exit_.code
    printed = capsys.readouterr()
    return int(code or 0), printed.out, printed.err


def test_the_command_line_shows_asks_sends_and_fetches(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # What the client reads from HF_ENDPOINT when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    folder, again = str(write(tmp_path / "set")), str(tmp_path / "again")
    code, out, err = run(monkeypatch, capsys, "hub", "push", folder, "steps", "--dry-run", "--json")
    assert (code, hub.repos) == (0, {})
    told = json.loads(out)
    assert (told["repo_id"], told["is_new"], len(told["changes"])) == (REPO, True, 7)
    assert f"{folder} -> {hub.url}/datasets/{REPO}, which is made; branch main\n  as owner; private\n" in err
    assert "  prm: 40 rows (36 train, 4 test)\n  licences: MIT\n  names of annotators: none\n" in err
    code, out, err = run(monkeypatch, capsys, "hub", "push", folder, REPO)
    assert (code, out, hub.repos) == (2, "", {})
    assert err.endswith("stepmark: nothing was sent: there is no terminal to ask on; add --yes\n")
    code, out, err = run(monkeypatch, capsys, "hub", "push", folder, REPO, "--yes", "--public", "--message", "Mine")
    assert code == 0
    assert "PUBLIC: everybody can read it" in err
    assert out.startswith(f"{hub.url}/datasets/{REPO} is this folder, at ")
    assert [*hub.repo(REPO).messages.values()][1] == "Mine"
    assert run(monkeypatch, capsys, "hub", "pull", REPO, again)[0] == 0
    assert contents(Path(again)) == contents(Path(folder))
    code, out, err = run(monkeypatch, capsys, "hub", "push", again, REPO, "--json")
    assert json.loads(out)["n_sent"] == 0, "nobody is asked where nothing is sent"
    code, out, _ = run(monkeypatch, capsys, "hub", "status", again, "--json")
    assert [one["relation"] for one in json.loads(out)] == ["same"]
    assert run(monkeypatch, capsys, "hub", "pull", "owner/nothing", again)[0] == 2


def test_an_export_is_sent_when_it_is_written(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    url, folder = f"sqlite:///{tmp_path / 'stepmark.db'}", tmp_path / "sets"
    solutions = ROOT / "examples" / "data" / "gsm8k_model_solutions" / "example_model_solutions.jsonl"
    imported = ["import", "gsm8k-model-solutions", str(solutions), "--trust-outcomes", "--db", url]
    open_database(url, create=True).dispose()
    assert run(monkeypatch, capsys, *imported)[0] == 0
    export = ["export", "orm", "--out", str(folder), "--push-to-hub", REPO, "--db", url]
    assert run(monkeypatch, capsys, *export)[0] == 2
    assert not folder.exists(), "what could not be asked after it is refused before"
    code, out, err = run(monkeypatch, capsys, *export, "--yes", "--json")
    assert (code, json.loads(out)["n_kept"]) == (0, 96)
    assert f"{hub.url}/datasets/{REPO} is this folder" in err
    assert there(hub) == contents(folder)


LOAD = """
import json, sys, datasets
found = {}
for repo in sys.argv[2:]:
    for config in ("prm", "orm"):
        loaded = datasets.load_dataset(repo, config, cache_dir=sys.argv[1])
        found[repo + config] = {split: rows.to_list() for split, rows in loaded.items()}
print(json.dumps(found))
"""


def test_the_datasets_library_loads_every_config_from_the_repository(tmp_path: Path, hub: HubServer) -> None:
    repos: dict[str, FileFormat] = {"owner/lines": "jsonl", "team/tables": "parquet"}
    for repo_id, file_format in repos.items():
        folder = tmp_path / file_format
        write(write(folder, file_format=file_format), "orm", file_format=file_format)
        send(folder, hub, repo_id)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "cache"), *repos],
        env=os.environ
        | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for repo_id in repos:
        for config, rows in (("prm", PRM), ("orm", ORM)):
            train = [row for number, row in enumerate(rows) if number % 10 != 9]
            assert found[repo_id + config] == {"train": train, "test": rows[9::10]}
