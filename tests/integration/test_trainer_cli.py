"""The commands as a user runs them: exit codes, answers on stdout, progress on stderr."""

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from stepmark.cli import evaluate, train
from tests.tiny_reward_model import save_tiny_lm, write_sums


def test_training_prints_counts_and_measures_and_writes_a_model(tmp_path: Path) -> None:
    base, data = save_tiny_lm(tmp_path / "base"), write_sums(tmp_path / "data", n=20, n_validation=10)
    common = ["--data", str(data), "--model", base, "--epochs", "1"]
    for kind, n in (("prm", 40), ("orm", 40), ("bt", 20)):
        out = tmp_path / kind
        result = CliRunner().invoke(train.app, [kind, *common, "--out", str(out)])
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[0] == f"train {kind}, train: read {n}, kept {n}, dropped 0"
        assert lines[2].startswith(f"{out}: ")
        assert any(line.split()[0] == "loss" for line in lines[3:])
        again = CliRunner().invoke(train.app, [kind, *common, "--out", str(out), "--resume", "--json"])
        assert json.loads(again.stdout) == json.loads((out / "stepmark.json").read_text())


def test_evaluation_prints_a_table_or_json(tmp_path: Path) -> None:
    solutions = [
        {"text": f"{i}", "answer": f"{i % 2}", "is_correct": i % 2 == 0, "scores": {"prm": 0.9 - i / 10, "orm": 0.5}}
        for i in range(4)
    ]
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps({"solutions": solutions}) + "\n")
    arguments = ["best-of-n", "--file", str(file), "--out", str(tmp_path / "out"), "--trials", "20", "--boot", "20"]
    result = CliRunner().invoke(evaluate.app, arguments)
    assert result.exit_code == 0, result.output
    assert "share of problems solved" in result.stdout
    report = json.loads(CliRunner().invoke(evaluate.app, [*arguments, "--json"]).stdout)
    assert list(report["best_of_n"]) == ["1", "2", "4"]
    assert report["best_of_n"]["4"]["prm"]["mean"] == 1.0


def test_the_commands_import_no_heavy_library() -> None:
    code = (
        "import sys; import stepmark.cli.train, stepmark.cli.evaluate; "
        "print(sorted({'torch', 'transformers', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
