"""Flags that several commands share, written once: as the fields of a dataclass that a command takes."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar, get_type_hints

Command = TypeVar("Command", bound=Callable[..., None])


def with_flags(command: Command) -> Command:
    """Gives a command a flag for each field of the dataclasses that it takes; it gets them filled.

    Typer reads a command's signature: in it, a parameter whose type is a dataclass is replaced by its fields.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        types = get_type_hints(groups[name], include_extras=True)
        parameters += (
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, annotation=types[one.name], default=_default(one)
            )
            for one in fields(groups[name])
        )

    @wraps(command)
    def run(**values: Any) -> None:
        filled = {
            name: group(**{one.name: values.pop(one.name) for one in fields(group)}) for name, group in groups.items()
        }
        command(**filled, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run  # type: ignore[return-value]


def _default(of: "Field[Any]") -> Any:
    """What a flag is where it is not given; `inspect.Parameter.empty` where it must be."""
    if of.default_factory is not MISSING:
        return of.default_factory()
    return inspect.Parameter.empty if of.default is MISSING else of.default
