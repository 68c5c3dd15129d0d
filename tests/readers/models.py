"""Models small enough to be trained for a step within a test."""

from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, LlamaForTokenClassification


def config(tokenizer: Any, **more: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **more,
    )


def language_model(tokenizer: Any) -> LlamaForCausalLM:
    return LlamaForCausalLM(config(tokenizer))


def reward_model(tokenizer: Any) -> LlamaForSequenceClassification:
    return LlamaForSequenceClassification(config(tokenizer, num_labels=1))


def step_model(tokenizer: Any) -> LlamaForTokenClassification:
    return LlamaForTokenClassification(config(tokenizer, num_labels=2))
