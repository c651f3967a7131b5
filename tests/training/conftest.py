"""Tiny random models of other families than the one whose decoder is written out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TOKENIZER_FILES

TINY = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 49152,
    "initializer_range": 0.1,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def saved(model: Any, tokenizer: Path, folder: Path) -> Path:
    """Give every bias a value, and write the model beside a tokenizer."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(".bias"):
                weight.normal_(std=0.2)
    folder.mkdir()
    for name in TOKENIZER_FILES:
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder / name)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_qwen2(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2: biases on queries, keys and values; tied. Read it, don't change it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(4)
    model = Qwen2ForCausalLM(Qwen2Config(**TINY, tie_word_embeddings=True))
    return saved(model, tiny_checkpoint, tmp_path_factory.mktemp("tiny-qwen2") / "qwen2")


@pytest.fixture(scope="session")
def tiny_biased(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with biases in attention and MLP, and an output projection of its own. Read it, don't change it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    config = LlamaConfig(**TINY, tie_word_embeddings=False, attention_bias=True, mlp_bias=True)
    model = LlamaForCausalLM(config)
    return saved(model, tiny_checkpoint, tmp_path_factory.mktemp("tiny-biased") / "biased")
