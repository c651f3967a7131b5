"""GGUF to checkpoint and back: nothing is lost but what F16 can't hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import libggml, to_checkpoint, to_gguf
from convert.gguf_file import read
from convert.safetensors_file import read_checkpoint
from tests.convert.conftest import MakeCheckpoint, checkpoint_logits


@pytest.mark.parametrize(
    "settings",
    [{}, {"tie_word_embeddings": False}, {"attention_bias": True, "mlp_bias": True}, {"head_dim": 32}],
    ids=["tied", "untied", "biases", "wide-heads"],
)
def test_round_trip_keeps_every_bit(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, settings: dict[str, Any]
) -> None:
    first = make_checkpoint("float16", **settings)
    out = to_gguf.convert(first, tmp_path / "1.gguf", quantization="F16").path
    second = to_checkpoint.convert(out, tmp_path / "2")
    before, after = read_checkpoint(first), read_checkpoint(second)
    assert set(before) == set(after)
    for name, tensor in before.items():
        assert after[name].shape == tensor.shape
        assert np.array_equal(after[name].rows(slice(None)), tensor.rows(slice(None))), name
    again = read(to_gguf.convert(second, tmp_path / "2.gguf", quantization="F16").path)
    original = read(out)
    assert {key: value for key, value in again.metadata.items() if not key.startswith("general.base")} == (
        original.metadata
    )
    for name, each in original.tensors.items():
        assert np.array_equal(again.tensors[name].data, each.data)


def test_linear_rope_comes_back(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}
    out = to_gguf.convert(make_checkpoint(rope_parameters=rope), tmp_path / "m.gguf").path
    folder = to_checkpoint.convert(out, tmp_path / "out")
    assert json.loads((folder / "config.json").read_text())["rope_parameters"] == rope


@pytest.mark.parametrize("name", ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"])
def test_a_quantized_file_is_taken_as_it_is(
    small: Path, tmp_path: Path, llama_logits: Any, name: str
) -> None:
    out = to_gguf.convert(small, tmp_path / "m.gguf", quantization=name).path
    folder = to_checkpoint.convert(out, tmp_path / "out")
    written = read(out).tensors["blk.1.ffn_gate.weight"]
    expected = libggml.dequantize(written.data, name).astype(np.float16).astype(np.float32)
    found = read_checkpoint(folder)["model.layers.1.mlp.gate_proj.weight"].rows(slice(None))
    assert np.array_equal(found, expected)


def test_the_folder_loads_and_computes_what_llama_cpp_does(
    small: Path, tmp_path: Path, llama_logits: Any
) -> None:
    out = to_gguf.convert(small, tmp_path / "m.gguf", quantization="F16").path
    folder = to_checkpoint.convert(out, tmp_path / "out")
    tokens = [1, 4093, 198, 1780, 260, 6330, 2]
    ours, theirs = llama_logits(out, tokens), checkpoint_logits(folder, tokens)
    # llama.cpp also rounds the activations to F16 where the weights are.
    assert np.abs(ours - theirs).max() < 2e-2 * np.abs(theirs).max()


def test_what_the_folder_says(embedded_checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    names = {each.name for each in embedded_checkpoint.iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "provenance.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((embedded_checkpoint / "config.json").read_text())
    assert config["tie_word_embeddings"] is True and config["rms_norm_eps"] == 1e-5
    assert config["eos_token_id"] == config["pad_token_id"] == 2
    origin = json.loads((embedded_checkpoint / "provenance.json").read_text())
    assert origin["general"]["general.license"] == "apache-2.0" and len(origin["source_sha256"]) == 64
    tokenizer = AutoTokenizer.from_pretrained(embedded_checkpoint, local_files_only=True)
    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


def test_license_and_base_stay_with_the_model(embedded_checkpoint: Path, tmp_path: Path) -> None:
    out = read(to_gguf.convert(embedded_checkpoint, tmp_path / "m.gguf", name="mine").path)
    assert out.get("general.license") == "apache-2.0" and out.get("general.name") == "mine"
    assert out.get("general.base_model.0.name").startswith("Smollm2 135M")
    assert out.get("general.base_model.0.organization") == "HuggingFaceTB"
