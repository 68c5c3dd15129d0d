"""What a folder holds that belongs on the Hub, and what is remembered of the Hub beside it.

A training set is what its manifest names, with the card and the manifest. A reward model is every file of its
folder but the trainer's own state. The state file says which commit the folder was pushed as or pulled from; it
is never sent.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from exports.formats.card import MARK, addressed, card, kept_values
from exports.formats.files import disk_errors
from exports.formats.manifest import NAME, Manifest, read_manifest, write_whole
from stepmark.errors import InputError

from .model_card import is_published, model_card

Kind = Literal["dataset", "model"]
"""The Hub's word for what a repository holds."""

README = "README.md"
MODEL = "stepmark.json"
"""Written last by the trainer: its existence means that the model is complete."""
STATE = ".stepmark-hub.json"
STAGING = ".stepmark-pull"
"""Where a pull keeps files until all of them are there."""

_NOT_SENT = ("checkpoint.pt",)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the folder."""

    size: int
    sha256: str
    git_oid: str
    """Its name as a git blob, by which the Hub tells small files apart."""
    content: bytes | None = None
    """What is sent: of a card, which is then written here too; of what the trainer says, without paths of here."""


@dataclass(slots=True)
class Contents:
    """What a folder sends."""

    kind: Kind
    files: dict[str, LocalFile]
    """By path, in order."""
    manifest: Manifest | None = None
    """Of a training set."""
    model: dict[str, Any] = field(default_factory=dict)
    """What the trainer says of a reward model."""


@dataclass(slots=True)
class Known:
    """What is known of a repository's branch."""

    commit: str
    files: dict[str, str]
    """Path and mark (see `mark_of`) of each file that was sent or fetched."""


def kind_of(folder: Path) -> Kind:
    """Tells a training set from a reward model.

    Raises:
        InputError: It is neither, or not complete.
    """
    if (folder / NAME).is_file():
        return "dataset"
    if (folder / MODEL).is_file():
        return "model"
    what = "is no folder" if not folder.is_dir() else f"holds neither {NAME} nor {MODEL}"
    raise InputError(
        f"{folder} {what}: it is no exported set and no trained model, or its writing was interrupted. "
        "Run `stepmark export` or `stepmark train` into it first."
    )


def read_contents(folder: Path, kind: Kind, *, repo_id: str, about: Mapping[str, Any] | None = None) -> Contents:
    """Reads what a folder would send to a repository; the card names the repository.

    Args:
        folder: A set or a model.
        kind: Which of them.
        repo_id: Where it goes.
        about: `language` and `pretty_name` for a set's card, where they are to be set.

    Raises:
        InputError: It is not complete, or not as it was written.
    """
    return _set_contents(folder, repo_id, about or {}) if kind == "dataset" else _model_contents(folder, repo_id)


def _set_contents(folder: Path, repo_id: str, about: Mapping[str, Any]) -> Contents:
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder} holds no {NAME}: it is no exported set, or its export was interrupted")
    files = {}
    for entry in manifest.files():
        path = folder / entry.path
        if not path.is_file():
            raise InputError(f"{path} is missing; export the set again")
        files[entry.path] = hashed(path)
        if files[entry.path].sha256 != entry.sha256:
            raise InputError(f"{path} is not as it was exported (its SHA-256 differs); export the set again")
    readme = folder / README
    is_new = bool(about) or not readme.is_file()
    text = card(manifest, kept={**kept_values(readme), **about}) if is_new else readme.read_text(encoding="utf-8")
    files[README] = _made((addressed(text, repo_id) if MARK in text else text).encode())
    files[NAME] = hashed(folder / NAME)
    return Contents("dataset", files, manifest=manifest)


def _model_contents(folder: Path, repo_id: str) -> Contents:
    path = folder / MODEL
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        kind = model["kind"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(f"{path} does not tell what model this is ({err!r}); train it first") from err
    files = {}
    for found in sorted(folder.rglob("*")):
        name = found.relative_to(folder).as_posix()
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if found.is_file() and not is_hidden and name not in _NOT_SENT and not name.endswith(".partial"):
            files[name] = model_file(folder) if name == MODEL else hashed(found)
    readme = folder / README
    if not readme.is_file() or MARK in readme.read_text(encoding="utf-8", errors="replace"):
        text = model_card(folder, model, repo_id=repo_id, datasets=_pushed_sets(model))
        files[README] = _made(text.encode())
    return Contents("model", dict(sorted(files.items())), model={**model, "kind": kind})


def model_file(folder: Path) -> LocalFile:
    """What is sent of `stepmark.json`: a training set and models of this machine by their names alone.

    The file here stays as it is, since the trainer goes on by it.

    Raises:
        InputError: It does not tell what model this is.
    """
    path = folder / MODEL
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        told = {**model, **_without_paths(model)}
    except (OSError, ValueError, TypeError) as err:
        raise InputError(f"{path} does not tell what model this is ({err!r}); train it first") from err
    return hashed(path) if told == model else _made(json.dumps(told, ensure_ascii=False, indent=2).encode() + b"\n")


def _without_paths(model: Mapping[str, Any]) -> dict[str, str]:
    """The set by name and hash, as manifests name files; models by their names on the Hub, or their folders'."""
    found = {}
    data = model.get("data")
    if isinstance(data, str) and data:
        name, mark = Path(data).resolve().name, f"@{str(model.get('data_sha256') or '')[:16]}"
        found["data"] = name if mark == "@" or name.endswith(mark) else name + mark
    for key in ("base_model", "converted_from"):
        other = model.get(key)
        if isinstance(other, str) and other and not is_published(other):
            found[key] = Path(other).resolve().name
    return found


def _pushed_sets(model: Mapping[str, Any]) -> list[str]:
    """Repositories that hold the set which a model was trained on, where that is still here and unchanged."""
    data = Path(str(model.get("data") or ""))
    manifest = data / NAME
    if not manifest.is_file() or hashed(manifest).sha256 != model.get("data_sha256"):
        return []
    mark = hashed(manifest)
    places = [
        key.rpartition("@")[0] for key, known in read_state(data).items() if known.files.get(NAME) in _marks(mark)
    ]
    return sorted({"/".join(place.rsplit("/", 2)[1:]) for place in places})


def _marks(file: LocalFile) -> tuple[str, str]:
    return file.sha256, file.git_oid


def hashed(path: Path) -> LocalFile:
    """Reads a file once for both of its hashes."""
    size = path.stat().st_size
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            git.update(block)
    return LocalFile(size, sha256.hexdigest(), git.hexdigest())


def _made(content: bytes) -> LocalFile:
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return LocalFile(len(content), hashlib.sha256(content).hexdigest(), git.hexdigest(), content)


def write_cards(folder: Path, contents: Contents) -> None:
    """Brings the card that was made to the disk, so that folder and repository hold the same."""
    for name, file in contents.files.items():
        path = folder / name
        if name == README and file.content is not None and not (path.is_file() and path.read_bytes() == file.content):
            write_whole(path, file.content)


def names_of_annotators(manifest: Manifest) -> list[str]:
    """Where a set names who labelled: in flags that are told in card and manifest, in a column, in its traces."""
    found = []
    for name, entry in sorted(manifest.configs.items()):
        flags = [*(entry.query.get("annotators") or ()), *(entry.query.get("annotators_refused") or ())]
        if flags:
            found.append(f"the flags of {name}: {', '.join(map(str, flags))}")
        named = [column for column in entry.columns if column in _WHO]
        found += [f"column {column} of {name}" for column in named if entry.query.get(column) != "pseudonyms"]
        if entry.query.get("trace") == "names":
            found.append(f"the traces of {name}")
    return found


_WHO = ("annotator", "annotators", "labeler", "labeller", "labelers", "labellers")


def read_state(folder: Path) -> dict[str, Known]:
    """What the folder knows of the Hub, by `repo_key`; nothing where it knows nothing.

    Raises:
        InputError: The state file is damaged.
    """
    path = folder / STATE
    try:
        document = json.loads(path.read_bytes())
        return {key: Known(entry["commit"], dict(entry["files"])) for key, entry in document["branches"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise InputError(
            f"{path} is damaged ({err!r}); remove it, and push with --overwrite if what is on the Hub is this set's"
        ) from err


def write_state(folder: Path, key: str, known: Known) -> None:
    """Remembers a branch."""
    state = {**read_state(folder), key: known}
    document = {
        "branches": {key: {"commit": one.commit, "files": one.files} for key, one in sorted(state.items())},
    }
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / STATE, json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n")


def repo_key(endpoint: str, kind: Kind, repo_id: str, branch: str) -> str:
    """How the state names a branch.

    >>> repo_key("https://huggingface.co", "dataset", "owner/name", "main")
    'https://huggingface.co/datasets/owner/name@main'
    """
    return f"{endpoint}/{kind}s/{repo_id}@{branch}"
