"""The guard on our plain top-level names."""

from pathlib import Path

import pytest

from stepmark.flows.doctor import PACKAGES, examine

ROOT = Path(__file__).resolve().parents[2]


def test_each_of_our_names_resolves_inside_this_checkout() -> None:
    found = {finding.name: finding for finding in examine("sqlite://")}
    assert {name: found[f"package {name}"].detail for name in PACKAGES} == {n: str(ROOT / n) for n in PACKAGES}
    assert all(found[f"package {name}"].is_ok for name in PACKAGES)


def test_a_rival_that_answers_to_one_of_our_names_is_named(tmp_path: Path) -> None:
    rivals = [finding for finding in examine("sqlite://", root=tmp_path) if not finding.is_ok and finding.is_required]
    assert [finding.name for finding in rivals] == [f"package {name}" for name in PACKAGES]
    assert str(ROOT / "db") in rivals[1].detail


@pytest.mark.parametrize("folder", ["annotator"])
def test_nothing_in_the_app_is_named_like_a_package_of_ours_or_of_python(folder: str) -> None:
    import sys

    names = {path.stem for path in (ROOT / folder).rglob("*.py")} - {"__init__"}
    assert names.isdisjoint(PACKAGES)
    assert names.isdisjoint(sys.stdlib_module_names)
