"""Small real Llama models, and llama.cpp as an independent reader."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance import base_model
from convert import to_checkpoint

MakeCheckpoint = Callable[..., Path]
OpenLlama = Callable[..., Any]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TINY = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    # Wide enough that attention is far from even: a wrong row order shows.
    "initializer_range": 0.3,
}


@pytest.fixture(scope="session")
def embedded_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded 135M model as a checkpoint."""
    return to_checkpoint.convert(base_model.embedded_gguf(), tmp_path_factory.mktemp("embedded") / "base")


@pytest.fixture(scope="session")
def make_checkpoint(embedded_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Makes a tiny Llama with random weights and SmolLM2's tokenizer: `make(dtype="float32", **config)`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(dtype: str = "float32", **settings: Any) -> Path:
        torch.manual_seed(11)
        model = LlamaForCausalLM(LlamaConfig(**{**TINY, **settings}))
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if name.endswith("bias") or "norm" in name:
                    tensor.add_(0.2 * torch.randn_like(tensor))
        folder = tmp_path_factory.mktemp("tiny") / "model"
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        for file in TOKENIZER_FILES:
            shutil.copy(embedded_checkpoint / file, folder / file)
        return folder

    return make


@pytest.fixture(scope="session")
def small(make_checkpoint: MakeCheckpoint) -> Path:
    """One tiny F32 checkpoint; read it, don't change it."""
    return make_checkpoint()


@pytest.fixture(scope="session")
def open_llama() -> OpenLlama:
    """Opens a GGUF in llama-cpp-python's own `Llama`."""
    import llama_cpp

    package = Path(llama_cpp.__file__).parent
    backends = package.parent / "bin"
    if backends.is_dir():
        ctypes.CDLL(str(package / "lib" / "libggml.so.0")).ggml_backend_load_all_from_path(
            str(backends).encode()
        )

    def load(path: Path, **settings: Any) -> Any:
        return llama_cpp.Llama(str(path), verbose=False, **{"n_ctx": 256, "n_threads": 2, **settings})

    return load


@pytest.fixture(scope="session")
def llama_logits(open_llama: OpenLlama) -> Callable[[Path, list[int]], np.ndarray]:
    """Logits of llama.cpp at each position, with the key-value cache in F32: positions x vocabulary."""

    def logits(path: Path, tokens: list[int]) -> np.ndarray:
        model = open_llama(path, logits_all=True, type_k=0, type_v=0)
        try:
            model.eval(tokens)
            return np.array(model.scores[: len(tokens)])
        finally:
            model.close()

    return logits


def checkpoint_logits(folder: Path, tokens: list[int]) -> np.ndarray:
    """Logits of transformers in float32 at each position: positions x vocabulary."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    with torch.no_grad():
        found: np.ndarray = model(torch.tensor([tokens])).logits[0].numpy()
    return found
