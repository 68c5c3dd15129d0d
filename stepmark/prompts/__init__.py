"""Prompts kept in files, and filling in their places.

A place is a name in braces, `{problem}`. Only the names that a task fills are places; all other braces, in the
prompt and in what is filled in, are text.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stepmark.errors import InputError

PROMPTS = Path(__file__).parent
"""The folder of the prompts that come with stepmark, one text file each."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with places to be filled."""

    name: str
    """Name of a prompt that comes with stepmark, or the file's path."""
    text: str

    @property
    def text_hash(self) -> str:
        """Tells two prompts apart: 32 hex characters."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]

    def record(self) -> dict[str, str]:
        """What a run records of it, so that the run can be repeated without the file."""
        return {"name": self.name, "text": self.text, "hash": self.text_hash}

    def fill(self, values: Mapping[str, str]) -> str:
        r"""Fills each place `{name}` once; what is filled in is not looked at again.

        >>> Prompt("p", "{problem} Box it: \\boxed{...}").fill({"problem": "Is {problem} {x}?"})
        'Is {problem} {x}? Box it: \\boxed{...}'
        """
        names = "|".join(map(re.escape, values))
        return re.sub(r"\{(" + names + r")\}", lambda place: values[place[1]], self.text)


def read_prompt(name: str, *, places: tuple[str, ...] = ("problem",), folder: Path = PROMPTS) -> Prompt:
    """Reads the prompt `name` that comes with stepmark, or the file of that path.

    One line break at the end of the file is not part of the prompt.

    Raises:
        InputError: There is no such prompt, or it lacks one of `places`.
    """
    path = folder / f"{name}.txt"
    if not path.is_file():
        path = Path(name)
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as err:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.txt")))
        raise InputError(f"cannot read the prompt {name!r} ({err}); give a file, or one of: {known}") from err
    for place in places:
        if f"{{{place}}}" not in text:
            raise InputError(f"the prompt {name!r} has no place {{{place}}}; put one where the {place} belongs")
    return Prompt(name, text)
