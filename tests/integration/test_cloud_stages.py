"""CLoud's three stages in one call: what each leaves, and what an interruption leaves."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers.processors import TemplateProcessing

from generator.engines.decoding import Drawn, Row
from stepmark.errors import SettingsError
from stepmark.flows.cloud import CloudJob, train_cloud
from stepmark.flows.critiques import Sampled, critiques_by
from stepmark.flows.models import open_model
from tests.tiny_reward_model import CHAT_TEMPLATE, save_tiny_lm, tiny_tokenizer, write_split
from trainer.cloud import write_critiques
from trainer.models import load_tokenizer
from trainer.render import Renderer
from trainer.rows import CritiquedPairRow, CritiqueRow, Prompt

PAIRS = [
    {
        "prompt": f"{a} + 2?",
        "chosen": f"{a} + 2 = {a + 2}",
        "rejected": f"{a} + 2 = 99",
        "chosen_feedback": ["Good."],
        "rejected_feedback": ["Bad."],
    }
    for a in range(1, 9)
]


@pytest.fixture
def job(tmp_path: Path) -> CloudJob:
    write_split(tmp_path / "data", "cloud", PAIRS)
    base = save_tiny_lm(tmp_path / "base", n_positions=512)
    return CloudJob("cloud", tmp_path / "data", base, tmp_path / "out", 0, 1, 1, max_tokens=6)


def test_the_reward_learns_behind_the_critics_own_critiques(job: CloudJob) -> None:
    partial = job.out / "own.partial" / "cloud"
    partial.mkdir(parents=True)
    (partial / "train-00000-of-00001.jsonl").write_text("half a ro")
    found = train_cloud([job], workers=1, policies=("on-policy", "off-policy"))
    assert found.keys() == {"cloud/on-policy", "cloud/off-policy"}
    own = (job.out / "own" / "cloud" / "train-00000-of-00001.jsonl").read_text().splitlines()
    texts = {text for row in map(json.loads, own) for text in (*row["chosen_feedback"], *row["rejected_feedback"])}
    assert texts
    assert texts.isdisjoint({"Good.", "Bad."})
    on, off = found["cloud/on-policy"], found["cloud/off-policy"]
    assert (on["data"], off["data"]) == (str(job.out / "own"), str(job.data))
    assert on["base_model"] == off["base_model"] == str(job.out / "critic")
    assert on["flags"]["lm_weight"] == 1.25
    assert train_cloud([job], workers=1) == {"cloud/on-policy": on}


def test_solutions_are_scored_behind_critiques_that_the_model_writes(job: CloudJob) -> None:
    train_cloud([job], workers=1)
    items = [("a", "1 + 2?", ["1 + 2 = 3"]), ("b", "1 + 2?", ["1 + 2 = 99"])]
    folder = job.out / "on-policy"
    sampled = Sampled(n=2, max_tokens=6)
    found = list(open_model(folder, sampled=sampled).score(items))
    assert [one.key for one in found] == ["a", "b"]
    assert all(one.score is not None and math.isfinite(one.score) for one in found)
    assert list(open_model(folder, sampled=sampled).score(reversed(items))) == found[::-1]


TRIMMING = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""As Llama 3's: blanks around a turn are cut, and every turn ends with its own token."""


class Writer:
    """Keeps what a model is asked to continue, and writes `Good.`."""

    context: int | None = None

    def __init__(self, model: str, *, device: str, ends: Sequence[int]) -> None:
        self.ends = ends
        asked.append(self)
        self.rows: list[Row] = []

    def draw(self, rows: Sequence[Row]) -> list[Drawn]:
        self.rows += rows
        return [Drawn("Good.", 1, False) for _ in rows]


asked: list[Writer] = []


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, TRIMMING, None])
def test_a_critique_is_asked_for_behind_the_very_tokens_that_training_has_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str | None
) -> None:
    tokenizer = tiny_tokenizer(chat_template=template)
    if template is None:  # a tokenizer that sets its begin token itself
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<|bos|> $A", special_tokens=[("<|bos|>", tokenizer.bos_token_id)]
        )
        assert tokenizer("1")["input_ids"][0] == tokenizer.bos_token_id
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr("stepmark.flows.critiques.LanguageModel", Writer)
    prompt, solution = (("user", "1 + 2?"),), "1 + 2 = 3 <|end|>"
    assert critiques_by(tmp_path, Sampled(n=2, max_tokens=9))([(prompt, solution)]) == [["Good."] * 2]
    (row, other), (end,) = asked[-1].rows, asked[-1].ends
    assert row.noise_key != other.noise_key
    for kind in ("cloud", "critique-rm"):
        renderer = Renderer(load_tokenizer(str(tmp_path)), kind)
        pair = CritiquedPairRow(prompt, solution, solution, "Good.", "Bad.", 0.0)
        (weighed, _), *_ = renderer.sequences([pair])
        text = tokenizer("Good.", add_special_tokens=False)["input_ids"]
        assert weighed.tokens == [*row.prompt, *text, *weighed.tokens[len(row.prompt) + len(text) :]]
        assert weighed.tokens[len(row.prompt) + len(text)] == end
    ((learnt,),) = Renderer(load_tokenizer(str(tmp_path)), "sft").sequences([CritiqueRow(prompt, solution, "Good.")])
    assert learnt.tokens == [*row.prompt, *text, end]
    assert row.prompt[0] == tokenizer.bos_token_id


def test_a_solution_that_leaves_no_room_for_a_critique_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setattr("stepmark.flows.critiques.LanguageModel", Writer)
    monkeypatch.setattr(Writer, "context", 200)
    prompt = (("user", "1 + 2?"),)
    write = critiques_by(tmp_path, Sampled(n=1))
    assert write([(prompt, "1 + 2 = 3"), (prompt, "1 + 2 = 3" * 99)]) == [["Good."], []]
    (row,) = asked[-1].rows
    assert row.max_tokens == 200 - len(row.prompt)


def test_writing_again_goes_on_behind_the_last_whole_row(tmp_path: Path) -> None:
    write_split(tmp_path / "data", "cloud", [{**PAIRS[0], "id": str(i), "prompt": f"{i}?"} for i in range(70)])
    n = 0

    def write(solutions: Sequence[tuple[Prompt, str]]) -> list[list[str]]:
        nonlocal n
        n += 1
        if n == 2:
            raise KeyboardInterrupt
        return [[f"{number}: of {prompt[0][1]}"] for number, (prompt, _) in enumerate(solutions)]

    out = tmp_path / "own"
    with pytest.raises(KeyboardInterrupt):
        write_critiques(tmp_path / "data", out, write=write)
    assert not out.exists()
    with (tmp_path / "own.partial" / "train.jsonl").open("a") as file:
        file.write('{"half a ro')
    told: list[tuple[int, int | None]] = []
    counts = write_critiques(
        tmp_path / "data",
        out,
        write=write,
        resume=True,
        progress=lambda done, total, note="": told.append((done, total)),
    )
    assert counts == {"train": {"read": 70, "kept": 70, "dropped": 0}}
    assert (n, told) == (3, [(70, 70)])
    rows = [json.loads(line) for line in (out / "cloud/train-00000-of-00001.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == [f"{i}?" for i in range(70)]
    assert rows[64]["chosen_feedback"] == ["0: of 64?"]
    with pytest.raises(SettingsError, match="is there already"):
        write_critiques(tmp_path / "data", out, write=write)
