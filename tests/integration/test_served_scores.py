"""Scores from a pooling server and after calibration: equal to those in process, stored under their own names."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from db.connect import reading
from db.models import Score
from exports.queries.importing import import_file
from exports.queries.sources import FORMATS
from stepmark.errors import EngineError, SettingsError
from stepmark.flows.scores import score_solutions
from tests.tiny_reward_model import save_tiny_lm, write_sums
from trainer.calibration import Fit, sigmoid, write_calibration
from trainer.rows import Kind
from trainer.score import RewardModel
from trainer.served import ServedRewardModel
from trainer.train import TrainSettings, train_reward_model

KINDS: list[Kind] = ["prm", "orm", "bt"]
ITEMS = [
    (i, f"{i} + 3?", [f"Step {s + 1}: {i} + {s} = {i + s}" for s in range(i % 4)] + [f"# Answer\n\n{i + 3}"])
    for i in range(9)
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    """One reward model of each kind, the PRM as a token classifier."""
    folder = tmp_path_factory.mktemp("served")
    base, data = save_tiny_lm(folder / "base"), write_sums(folder / "data", n=30)
    for kind in KINDS:
        settings = TrainSettings(epochs=1, layout="token-classification" if kind == "prm" else None)
        train_reward_model(kind, data=data, model=base, out=folder / kind, settings=settings)
    return {kind: folder / kind for kind in KINDS}


class PoolingServer:
    """Answers as vLLM's `/pooling` does, computing the checkpoint by plain Transformers."""

    def __init__(self, folder: Path, kind: Kind, *, step_tag: int | None = None) -> None:
        auto = AutoModelForTokenClassification if kind == "prm" else AutoModelForSequenceClassification
        model = auto.from_pretrained(folder).eval()
        self.requests: list[dict[str, Any]] = []
        self.refuse = 0
        """So many requests are answered 503 first."""
        server = self

        @torch.no_grad()
        def pool(tokens: list[int]) -> Any:
            logits = model(input_ids=torch.tensor([tokens])).logits[0]
            if kind == "prm":
                rows = logits.softmax(dim=-1).tolist()
                return [row for row, t in zip(rows, tokens, strict=True) if step_tag in (None, t)]
            return (logits if model.config.problem_type == "regression" else logits.sigmoid()).tolist()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": "served"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if server.refuse:
                    server.refuse -= 1
                    return self._send(503, {"error": "busy"})
                server.requests.append(body)
                data = [{"index": i, "data": pool(tokens)} for i, tokens in enumerate(body["input"])]
                self._send(200, {"data": data[::-1]})

            def _send(self, status: int, body: Any) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve(trained: dict[Kind, Path]) -> Iterator[Any]:
    started: list[PoolingServer] = []

    def start(kind: Kind, **options: Any) -> PoolingServer:
        started.append(PoolingServer(trained[kind], kind, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_gives_the_scores_that_the_checkpoint_gives_in_process(
    trained: dict[Kind, Path], serve: Any, kind: Kind
) -> None:
    """The server knows Transformers only, so it is also the saved checkpoint's parity with them."""
    here = list(RewardModel.load(trained[kind]).score(ITEMS))
    served = ServedRewardModel(trained[kind], serve(kind).url)
    there = list(served.score(ITEMS))
    served.close()
    assert [one.key for one in there] == [one.key for one in here]
    assert [one.score for one in there] == pytest.approx([one.score for one in here], abs=1e-5)
    assert [v for one in there for v in one.step_scores] == pytest.approx(
        [v for one in here for v in one.step_scores], abs=1e-5
    )
    assert served.n_forwarded == len(ITEMS)


def test_pooling_type_step_gives_the_same_scores(trained: dict[Kind, Path], serve: Any) -> None:
    from transformers import AutoTokenizer

    tag = AutoTokenizer.from_pretrained(trained["prm"]).convert_tokens_to_ids("<|prm_label|>")
    served = ServedRewardModel(trained["prm"], serve("prm", step_tag=tag).url)
    here = list(RewardModel.load(trained["prm"]).score(ITEMS))
    assert [v for one in served.score(ITEMS) for v in one.step_scores] == pytest.approx(
        [v for one in here for v in one.step_scores], abs=1e-5
    )
    served.close()


def test_what_is_too_long_or_empty_never_reaches_the_server_and_busy_servers_are_asked_again(
    trained: dict[Kind, Path], serve: Any
) -> None:
    server = serve("prm")
    server.refuse = 1
    served = ServedRewardModel(trained["prm"], server.url)
    found = list(served.score([("long", "1?", ["9 + " * 200]), ("empty", "1?", []), ("good", "1?", ["Step 1: 1"])]))
    served.close()
    assert [(one.key, one.reason) for one in found] == [
        ("long", "longer than max_length"), ("empty", "no segments"), ("good", None),
    ]  # fmt: skip
    assert [len(body["input"]) for body in server.requests] == [1]


def test_a_server_that_is_not_there_or_serves_something_else_is_told(trained: dict[Kind, Path], serve: Any) -> None:
    with pytest.raises(EngineError, match="cannot be reached"):
        ServedRewardModel(trained["orm"], "http://127.0.0.1:9")
    served = ServedRewardModel(trained["prm"], serve("prm", step_tag=0).url)
    with pytest.raises(EngineError, match=r"gave 0 scores for 1 steps .* pooling type STEP"):
        list(served.score(ITEMS[:1]))
    served.close()


def test_a_prm_in_the_layout_of_an_lm_is_not_served(tmp_path: Path, trained: dict[Kind, Path]) -> None:
    manifest = json.loads((trained["prm"] / "stepmark.json").read_text()) | {"layout": "causal-lm"}
    (tmp_path / "stepmark.json").write_text(json.dumps(manifest))
    with pytest.raises(SettingsError, match="train it with --layout token-classification"):
        ServedRewardModel(tmp_path, "http://127.0.0.1:9")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_served_and_calibrated_scores_are_stored_under_their_names(
    trained: dict[Kind, Path], serve: Any, database_url: str, database: sa.Engine, tmp_path: Path
) -> None:
    rows = [
        {"id": f"s-{i}", "generator": "g", "problem": f"{i} + 1?", "steps": [f"{i} + 1 = {i + 1}", "So."],
         "label": -1, "final_answer_correct": True}
        for i in range(5)
    ]  # fmt: skip
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    import_file(database, FORMATS["processbench"], file)
    write_calibration(trained["prm"], [Fit("steps", "platt", 0.5, 1.0, 10, 5)], fitted_on="v")
    plain = score_solutions(database, trained["prm"], name="here", how="min")
    served = score_solutions(database, trained["prm"], name="served", how="min", server=serve("prm").url)
    mended = score_solutions(database, trained["prm"], how="min", is_calibrated=True)
    assert (plain.n_scored, served.n_scored, mended.n_scored) == (5, 5, 5)
    assert mended.reward_model == "prm+calibrated"
    found: dict[str, list[Any]] = {}
    with reading(database) as session:
        for score in session.scalars(sa.select(Score).order_by(Score.solution_id)):
            found.setdefault(score.reward_model, []).append((score.value, *score.step_values))
    assert sum(found["served"], ()) == pytest.approx(sum(found["here"], ()), abs=1e-5)
    for before, after in zip(found["here"], found["prm+calibrated"], strict=True):
        steps = [float(sigmoid(0.5 * torch.logit(torch.tensor(p)).item() + 1.0)) for p in before[1:]]
        assert after == pytest.approx((min(steps), *steps), abs=1e-5)
