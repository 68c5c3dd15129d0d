"""What experiments found: kept as JSON and read back whole, and written as a page that says how to get it again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepmark.errors import SettingsError
from stepmark.flows.demo import Watch
from stepmark.flows.experiments import running
from stepmark.flows.experiments.findings import Figure, Findings, Measured, Table, markdown
from stepmark.flows.experiments.running import Experiment, measured_rows, run_experiments
from stepmark.progress import Progress, silent

FOUND = Findings(
    title="Counting",
    aim="At least two.",
    reached="Yes: 3.",
    paragraphs=("Counted by hand.",),
    tables=(Table("Counts", ("what", "n", "share"), (("nuts", 3, 0.75), ("shells", 0, None)), "Of one bag."),),
    figures=(Figure("counting.png", "Nuts by bag"),),
    measured=(Measured("nuts", 3.0, "nuts", "shells", None, "higher"),),
    costs_cpu_s={"look": 2.0, "count": 0.6},
)


@contextmanager
def watch(stage: str) -> Iterator[Progress]:
    """Shows nothing."""
    yield silent


def test_findings_come_back_from_json_as_they_were() -> None:
    assert Findings.from_json(json.loads(json.dumps(FOUND.as_json()))) == FOUND


def test_a_section_says_aim_result_command_and_costs() -> None:
    assert markdown(FOUND, command="stepmark demo --full --only counting", images="counting/") == (
        "## Counting\n\n`stepmark demo --full --only counting`\n\n**Aim.** At least two.\n\n**Reached.** Yes: 3.\n\n"
        "![Nuts by bag](counting/counting.png)\n\nCounted by hand.\n\n**Counts** Of one bag.\n\n"
        "| what | n | share |\n| --- | --- | --- |\n| nuts | 3 | .750 |\n| shells | 0 | – |\n\n"
        "CPU-seconds: look 2, count 1; 3 in all.\n"
    )


def test_negative_and_whole_shares_keep_their_sign_and_digit() -> None:
    found = Findings("t", "a", "r", (), (Table("d", ("x",), ((-0.25,), (1.0,), (0.0,), (1.5,))),))
    cells = [line for line in markdown(found, command="c", images="").splitlines() if line.startswith("| ")][2:]
    assert cells == ["| −.250 |", "| 1.000 |", "| .000 |", "| 1.500 |"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two experiments that note when they run."""
    calls = list[str]()

    def experiment(name: str) -> Experiment:
        def run(out: Path, watch: Watch) -> Findings:
            assert out.name == name
            with watch(name):
                calls.append(name)
            return FOUND

        return Experiment(name, 1, run)

    monkeypatch.setattr(running, "EXPERIMENTS", (experiment("one"), experiment("two")))
    return calls


def test_a_finished_experiment_is_not_run_again(tmp_path: Path, calls: list[str]) -> None:
    run_experiments(tmp_path, only=["two"], watch=watch)
    found = run_experiments(tmp_path, watch=watch)
    assert calls == ["two", "one"]
    assert found == {"one": FOUND, "two": FOUND}
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert page.index("--only one") < page.index("--only two")
    assert set(json.loads((tmp_path / "results.json").read_text())) == {"one", "two"}
    assert [row["row"] for row in measured_rows(found)] == ["nuts", "nuts"]


def test_an_unknown_experiment_is_named_with_those_there_are(tmp_path: Path, calls: list[str]) -> None:
    with pytest.raises(SettingsError, match="no experiment is called three; there are one, two"):
        run_experiments(tmp_path, only=["three"], watch=watch)
    assert calls == []


def test_findings_of_another_model_are_refused(tmp_path: Path, calls: list[str]) -> None:
    run_experiments(tmp_path, only=["one"], watch=watch)
    file = tmp_path / "one" / "findings.json"
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "model_sha256": "another"}))
    with pytest.raises(SettingsError, match="another embedded model"):
        run_experiments(tmp_path, watch=watch)
