"""Rows as tokens: where labels stand, what is dropped, and literal special tokens in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.errors import InputError, SettingsError
from tests.tiny_reward_model import SPECIAL_TOKENS, tiny_tokenizer
from trainer.render import TOO_LONG, Renderer, RowCounts, check_splits, encode_rows, label_token_ids, single_token_id
from trainer.rows import OrmRow, PairRow, PrmRow

USER = (("user", "9 + 7?"),)
TOKENIZER = tiny_tokenizer()
STEP = TOKENIZER.convert_tokens_to_ids("<|prm_label|>")


def prm_renderer() -> Renderer:
    return Renderer(TOKENIZER, "prm", step_token="<|prm_label|>")


def test_a_prm_row_reads_as_prompt_segments_tags_and_separators() -> None:
    row = PrmRow(USER, ("Step 1: 9 + 7 = 16", "# Answer\n\n16"), (1.0, 0.0))
    ((sequence,),) = prm_renderer().sequences([row])
    text = TOKENIZER.decode(sequence.tokens)
    assert text == (
        "<|bos|><|user|>9 + 7?<|assistant|>Step 1: 9 + 7 = 16<|prm_label|>\n\n# Answer\n\n16<|prm_label|>"
    )
    assert [sequence.tokens[p] for p in sequence.positions] == [STEP, STEP]
    assert sequence.targets == [1.0, 0.0]


def test_segments_are_tokenised_on_their_own() -> None:
    ((sequence,),) = prm_renderer().sequences([PrmRow(USER, ("Step 1: 9", "# Answer\n\n9"), (1.0, 1.0))])
    first, second = sequence.positions
    alone = TOKENIZER("# Answer\n\n9", add_special_tokens=False)["input_ids"]
    separator = TOKENIZER("\n\n", add_special_tokens=False)["input_ids"]
    assert sequence.tokens[first + 1 : second] == separator + alone


@given(
    st.lists(st.sampled_from(["9 + 7", "<|prm_label|>", "<|end|>", "<|pad|>", "\n\n", "é<"]), min_size=1, max_size=6)
)
def test_literal_special_tokens_in_a_text_never_become_tokens(parts: list[str]) -> None:
    text = "".join(parts)
    row = PrmRow((("user", text),), (text, text), (1.0, 0.0))
    ((sequence,),) = prm_renderer().sequences([row])
    special = {TOKENIZER.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    found = [TOKENIZER.decode([token]) for token in sequence.tokens if token in special]
    assert found == ["<|bos|>", "<|user|>", "<|assistant|>", "<|prm_label|>", "<|prm_label|>"]
    assert [i for i, token in enumerate(sequence.tokens) if token == STEP] == sequence.positions


def test_literal_special_tokens_stay_legible_and_are_counted() -> None:
    _, counts = encode_rows([PrmRow(USER, ("2<|prm_label|> apples <|end|>",), (1.0,))], prm_renderer(), max_length=99)
    assert counts.n_special_literals == 2
    assert prm_renderer().neutralise("2<|prm_label|> apples") == "2< |prm_label|> apples"


def test_an_ordinary_token_serves_as_step_token_and_is_kept_out_of_the_text() -> None:
    renderer = Renderer(TOKENIZER, "prm", step_token="@")
    ((sequence,),) = renderer.sequences([PrmRow(USER, ("4 @ 4 = 16", "@"), (1.0, 1.0))])
    at = TOKENIZER.convert_tokens_to_ids("@")
    assert [i for i, token in enumerate(sequence.tokens) if token == at] == sequence.positions


def test_an_orm_row_has_its_outcome_at_every_solution_token_and_the_end() -> None:
    ((sequence,),) = Renderer(TOKENIZER, "orm").sequences([OrmRow(USER, "16", 1.0)])
    solution = TOKENIZER("16<|end|>", add_special_tokens=False)["input_ids"]
    assert [sequence.tokens[p] for p in sequence.positions] == solution
    assert sequence.targets == [1.0] * len(solution)
    assert TOKENIZER.decode(sequence.tokens) == "<|bos|><|user|>9 + 7?<|assistant|>16<|end|>"


def test_a_pair_is_read_at_its_two_last_tokens() -> None:
    ((chosen, rejected),) = Renderer(TOKENIZER, "bt").sequences([PairRow(USER, "16", "9 + 7 = 15", 0.5)])
    assert TOKENIZER.decode(chosen.tokens).endswith("<|assistant|>16<|end|>")
    assert TOKENIZER.decode(rejected.tokens).endswith("<|assistant|>9 + 7 = 15<|end|>")
    assert (chosen.positions, rejected.positions) == ([len(chosen.tokens) - 1], [len(rejected.tokens) - 1])
    assert chosen.targets == rejected.targets == [0.5]


def test_a_tokenizer_without_a_chat_template_gets_the_prompt_and_a_line_break() -> None:
    renderer = Renderer(tiny_tokenizer(chat_template=None), "orm")
    ((sequence,),) = renderer.sequences([OrmRow(USER, "16", 1.0)])
    assert TOKENIZER.decode(sequence.tokens) == "9 + 7?\n16<|end|>"


def test_a_system_message_reaches_the_chat_template() -> None:
    tokens = prm_renderer().prompt_tokens((("system", "Add."), *USER))
    assert TOKENIZER.decode(tokens) == "<|bos|><|system|>Add.<|user|>9 + 7?<|assistant|>"


def test_rows_beyond_max_length_are_dropped_and_counted_never_cut() -> None:
    rows = [PrmRow(USER, ("Step 1: 16",), (1.0,)), PrmRow(USER, ("9 " * 40,), (1.0,)), PrmRow(USER, ("16",), (0.0,))]
    data, counts = encode_rows(rows, prm_renderer(), max_length=40)
    assert counts.as_json() == {"read": 3, "kept": 2, "dropped": {TOO_LONG: 1}, "special_literals": 0}
    assert len(data) == 2
    assert data.targets.tolist() == [1.0, 0.0]


def test_half_a_character_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="holds half a character"):
        prm_renderer().sequences([PrmRow(USER, ("16", "a\ud800b"), (1.0, 1.0))])


def test_equal_prompts_are_one_problem() -> None:
    rows = [OrmRow(USER, "16", 1.0), OrmRow((("user", "1 + 1?"),), "2", 1.0), OrmRow(USER, "15", 0.0)]
    data, _ = encode_rows(rows, Renderer(TOKENIZER, "orm"), max_length=99)
    assert data.problems.tolist() == [0, 1, 0]


def test_a_step_token_that_is_several_tokens_is_refused() -> None:
    with pytest.raises(SettingsError, match="the step token '<extra_0>' is not one token of this tokenizer"):
        Renderer(TOKENIZER, "prm", step_token="<extra_0>")


def test_label_tokens_must_be_single_and_different() -> None:
    assert label_token_ids(TOKENIZER, "+", "-") == (
        single_token_id(TOKENIZER, "+", ""),
        single_token_id(TOKENIZER, "-", ""),
    )
    with pytest.raises(SettingsError, match="the positive label 'good' is not one token"):
        label_token_ids(TOKENIZER, "good", "-")
    with pytest.raises(SettingsError, match="are one token"):
        label_token_ids(TOKENIZER, "+", "+")


def test_a_problem_in_both_splits_is_refused_and_a_family_in_both_is_told() -> None:
    def counts(*prompts: str) -> RowCounts:
        rows = [OrmRow((("user", prompt),), "16", 1.0) for prompt in prompts]
        return encode_rows(rows, Renderer(TOKENIZER, "orm"), max_length=99)[1]

    train = counts("Tom has 9 eggs.", "Ann buys 2 pens.")
    assert check_splits(train, counts("Sue sells 3 hats.")) is None
    told = check_splits(train, counts("Tom has 4 eggs.", "Sue sells 3 hats."))
    assert told is not None
    assert told.startswith("1 of 2 families of the validation split (the same words with other numbers)")
    with pytest.raises(InputError, match="1 of 2 prompts of the validation split stand in the training split too"):
        check_splits(train, counts("Tom has 9 eggs.", "Sue sells 3 hats."))


def test_a_segment_without_a_label_is_not_read() -> None:
    row = PrmRow(USER, ("Step 1: 9", "Step 2: 16", "# Answer"), (1.0, None, 0.25))
    ((sequence,),) = prm_renderer().sequences([row])
    assert [i for i, token in enumerate(sequence.tokens) if token == STEP][::2] == sequence.positions
    assert sequence.targets == [1.0, 0.25]
