"""Layouts: what the rows of a training set become for the tool that reads them. No database, no files.

A row comes as `columns` defines it for its config. `layout_of` finds a layout; it says which columns the tool wants,
makes its row, and raises `CannotExpress` where the tool has no place for one.
"""

from collections.abc import Mapping

from stepmark.errors import SettingsError

from .layout import About, CannotExpress, Layout, LayoutOptions, SolutionFacts, as_they_are
from .outcomes import BEST_OF_N_LAYOUTS, ORM_LAYOUTS
from .pairs import CLOUD_LAYOUTS, PAIR_LAYOUTS, PREFERENCE_LAYOUTS
from .steps import LAYOUTS as PRM_LAYOUTS
from .texts import RL_LAYOUTS, TEXT_LAYOUTS

__all__ = [
    "LAYOUTS",
    "About",
    "CannotExpress",
    "Layout",
    "LayoutOptions",
    "SolutionFacts",
    "as_they_are",
    "layout_of",
]

LAYOUTS: Mapping[str, Mapping[str, Layout]] = {
    config: {layout.name: layout for layout in layouts}
    for config, layouts in (
        ("prm", PRM_LAYOUTS),
        ("orm", ORM_LAYOUTS),
        ("best_of_n", BEST_OF_N_LAYOUTS),
        ("preference", PREFERENCE_LAYOUTS),
        ("sft", TEXT_LAYOUTS),
        ("critique", TEXT_LAYOUTS),
        ("critique_preference", PAIR_LAYOUTS),
        ("cloud", CLOUD_LAYOUTS),
        ("rl", RL_LAYOUTS),
    )
}
"""The layouts of each config by name; the first is the one that is written unless asked otherwise."""


def layout_of(config: str, name: str | None = None, options: LayoutOptions | None = None) -> Layout:
    """Finds the layout of a config by its name; without one, the config's own.

    Raises:
        SettingsError: The config has no such layout, or the layout does not heed an option that was given.
    """
    known = LAYOUTS[config]
    layout = known.get(name) if name is not None else next(iter(known.values()))
    if layout is None:
        raise SettingsError(f"{config} has no layout {name!r}; choose one of: {', '.join(known)}")
    own, given = LayoutOptions(), options or LayoutOptions()
    for option in LayoutOptions.__slots__:
        if getattr(given, option) != getattr(own, option) and option not in layout.heeds:
            heeding = ", ".join(one.name for one in known.values() if option in one.heeds) or "none"
            raise SettingsError(
                f"the layout {layout.name} has no {option.replace('_', ' ')}; leave it out, or choose one that has "
                f"it: {heeding}"
            )
    if given.step_token == "":
        raise SettingsError("an empty step token marks nothing; give one token of the reader's tokenizer")
    if len(set(given.reward_tokens)) < 2 or not all(given.reward_tokens):
        raise SettingsError(f"reward tokens must be two that differ, not {given.reward_tokens}")
    return layout
