"""Which weights a name stands for: what the engines that hold a model in process put into their identity."""

import hashlib
from pathlib import Path

_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "*.bin", "config.json", "generation_config.json"),
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
)
"""The files of a model's folder that decide what it samples."""


def model_revision(model: str) -> str | None:
    """A hash over the files that decide what a local model samples; the commit of a model from the Hub.

    None where a model on the Hub cannot be looked up: the first answer will say what is wrong.
    """
    folder = Path(model)
    if not folder.is_dir():
        import transformers

        try:
            commit: str | None = transformers.AutoConfig.from_pretrained(model)._commit_hash
        except (OSError, ValueError):
            return None
        return commit
    total = hashlib.sha256()
    for path in sorted({path for pattern in _FILES for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:16]
