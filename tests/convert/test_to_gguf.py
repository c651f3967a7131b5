"""Checkpoint to GGUF: what llama.cpp reads is what the checkpoint holds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from convert import ConvertError, libggml, to_gguf
from convert.gguf_file import read
from convert.safetensors_file import read_checkpoint
from tests.convert.conftest import MakeCheckpoint, OpenLlama, checkpoint_logits

TOKENS = [1, 4093, 198, 1780, 260, 6330, 2, 198, 34, 7000, 12, 45000]


def copy_with(source: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a checkpoint with config.json changed."""
    shutil.copytree(source, folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize("name", ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"])
def test_quantizing_in_pieces_equals_the_whole_and_the_reference(
    small: Path, tmp_path: Path, name: str
) -> None:
    out = to_gguf.convert(small, tmp_path / "m.gguf", quantization=name, embeddings=name).path
    stored = read_checkpoint(small)
    for ours, theirs in (
        ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
        ("token_embd.weight", "model.embed_tokens.weight"),
    ):
        rows = stored[theirs].rows(slice(None))
        written = read(out).tensors[ours]
        assert written.type.name == name
        assert np.array_equal(written.data, libggml.quantize(rows, name))
        reference = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[name])
        assert np.array_equal(written.data, reference), "libggml and gguf's own implementation disagree"
        back = libggml.dequantize(written.data, name)
        assert np.array_equal(back, gguf.quants.dequantize(reference, gguf.GGMLQuantizationType[name]))


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_plain_floats(small: Path, tmp_path: Path, name: str) -> None:
    written = read(to_gguf.convert(small, tmp_path / "m.gguf", quantization=name).path)
    rows = read_checkpoint(small)["model.layers.0.mlp.up_proj.weight"].rows(slice(None))
    tensor = written.tensors["blk.0.ffn_up.weight"]
    reference = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[name])
    assert np.array_equal(tensor.data, reference.view(np.uint8).reshape(tensor.data.shape))
    assert {each.type.name for each in written.tensors.values() if len(each.shape) == 2} == {name}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tie_word_embeddings": False},
        {"num_key_value_heads": 4},
        {"attention_bias": True, "mlp_bias": True},
        {"head_dim": 32},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ],
    ids=["tied", "untied", "all-heads", "biases", "wide-heads", "linear-rope", "llama3-rope"],
)
def test_logits_equal_transformers(
    make_checkpoint: MakeCheckpoint, llama_logits: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder = make_checkpoint(**settings)
    out = to_gguf.convert(folder, tmp_path / "m.gguf", quantization="F32").path
    ours, theirs = llama_logits(out, TOKENS), checkpoint_logits(folder, TOKENS)
    assert np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()
    assert ("output.weight" in read(out).tensors) == (settings.get("tie_word_embeddings") is False)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_width_checkpoints(make_checkpoint: MakeCheckpoint, tmp_path: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file

    folder = make_checkpoint(dtype)
    assert {each.dtype for each in read_checkpoint(folder).values()} == {
        "F16" if dtype == "float16" else "BF16"
    }
    written = read(to_gguf.convert(folder, tmp_path / "m.gguf", quantization="F32").path)
    expected = load_file(folder / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].to(torch.float32)
    assert np.array_equal(written.tensors["blk.0.ffn_up.weight"].data.view(np.float32), expected.numpy())


def test_sharded_checkpoint_gives_the_same_bytes(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = make_checkpoint()
    shards = tmp_path / "shards"
    AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).save_pretrained(
        shards, max_shard_size="5MB"
    )
    for file in folder.glob("*token*"):
        shutil.copy(file, shards)
    assert len(list(shards.glob("*.safetensors"))) > 1
    whole = to_gguf.convert(folder, tmp_path / "whole.gguf")
    assert to_gguf.convert(shards, tmp_path / "shards.gguf").sha256 == whole.sha256


def test_equal_inputs_give_equal_bytes(small: Path, tmp_path: Path) -> None:
    moved = copy_with(small, tmp_path / "elsewhere")
    digests = {
        to_gguf.convert(folder, tmp_path / f"{threads}.gguf", threads=threads).sha256
        for folder, threads in ((small, 1), (small, 2), (moved, 5))
    }
    assert len(digests) == 1
    assert digests == {hashlib.sha256((tmp_path / "2.gguf").read_bytes()).hexdigest()}


def test_what_is_reported(small: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    done = to_gguf.convert(small, tmp_path / "m.gguf", progress=lambda *step: seen.append(step))
    matrices = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 64 * 96 * 3)
    embeddings, vectors = 49152 * 64, 5 * 64
    assert done.parameters == matrices + embeddings + vectors
    bits = (matrices * 4.5 + embeddings * 8.5 + vectors * 32) / done.parameters
    assert done.bits_per_weight == pytest.approx(bits)
    assert done.tensors == Counter({"Q4_0": 14, "Q8_0": 1, "F32": 5})
    assert done.bytes == done.path.stat().st_size
    assert [step[1] for step in seen] == sorted(step[1] for step in seen)
    assert len(seen) == 20 and seen[-1][1:] == (done.parameters, done.parameters)


def test_readers_of_others(small: Path, tmp_path: Path, open_llama: OpenLlama) -> None:
    extra = {"anchorhold.dataset": "abc", "general.license": "apache-2.0"}
    out = to_gguf.convert(small, tmp_path / "m.gguf", name="tiny", metadata=extra).path
    reader = gguf.GGUFReader(out)
    assert len(reader.tensors) == 20
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.name"] == "tiny" and fields["anchorhold.dataset"] == "abc"
    assert fields["general.license"] == "apache-2.0"
    assert fields["tokenizer.ggml.model"] == "gpt2" and fields["tokenizer.ggml.pre"] == "smollm"
    assert fields["tokenizer.ggml.eos_token_id"] == fields["tokenizer.ggml.padding_token_id"] == 2
    assert len(fields["tokenizer.ggml.tokens"]) == 49152 and len(fields["tokenizer.ggml.merges"]) == 48900
    assert fields["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q4_0
    model = open_llama(out)
    assert model.metadata["general.name"] == "tiny"
    answer = model.create_chat_completion(messages=[{"role": "user", "content": "hello"}], max_tokens=4)
    assert answer["usage"]["completion_tokens"] > 0
    model.close()


def test_rows_without_whole_blocks_stay_f16(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    folder = make_checkpoint(intermediate_size=80)
    done = to_gguf.convert(folder, tmp_path / "m.gguf")
    assert read(done.path).tensors["blk.0.ffn_down.weight"].type.name == "F16"
    assert done.tensors["F16"] == 2 and done.tensors["Q4_0"] == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM"),
        ({"architectures": None, "model_type": "mamba"}, "mamba"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}}, "yarn"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized already"),
        ({"num_hidden_layers": 3}, r"blk\.2\..* is missing"),
        ({"num_hidden_layers": 1}, r"blk\.1\..* has no place"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"intermediate_size": 64}, "shape"),
        ({"vocab_size": 100}, "token 49151"),
        ({"tie_word_embeddings": False}, "output.weight is missing"),
        ({"num_key_value_heads": 3}, "share"),
    ],
)
def test_refused_configurations(small: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = copy_with(small, tmp_path / "model", **changes)
    with pytest.raises(ConvertError, match=message):
        to_gguf.convert(folder, tmp_path / "out" / "m.gguf")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_unknown_architecture_names_the_known_ones(small: Path, tmp_path: Path) -> None:
    folder = copy_with(small, tmp_path / "model", architectures=["MambaForCausalLM"])
    with pytest.raises(ConvertError) as caught:
        to_gguf.convert(folder, tmp_path / "m.gguf")
    assert "LlamaForCausalLM" in caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_broken_weights_are_refused_and_leave_nothing(small: Path, tmp_path: Path, value: float) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copy_with(small, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][3, 7] = value
    save_file(weights, folder / "model.safetensors")
    out = tmp_path / "out"
    with pytest.raises(ConvertError, match=r"blk\.1\.ffn_down\.weight holds NaN or infinity"):
        to_gguf.convert(folder, out / "m.gguf")
    assert list(out.iterdir()) == []


def test_weights_too_large_for_f16_are_refused(small: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copy_with(small, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][3, 7] = 1e6
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ConvertError, match="too large for F16"):
        to_gguf.convert(folder, tmp_path / "m.gguf", quantization="F16")


@pytest.mark.parametrize(
    "key", ["llama.block_count", "general.architecture", "Bad Key", "tokenizer.ggml.pre"]
)
def test_metadata_that_would_break_the_file_is_refused(small: Path, tmp_path: Path, key: str) -> None:
    with pytest.raises(ConvertError, match="metadata key"):
        to_gguf.convert(small, tmp_path / "m.gguf", metadata={key: "1"})


def test_unknown_type_names_the_known_ones(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="Q4_K_M") as caught:
        to_gguf.convert(small, tmp_path / "m.gguf", quantization="Q4_K_M")
    assert "Q4_0" in caught.value.hint


def test_size_labels() -> None:
    labels = [
        to_gguf.size_label(count) for count in (134_515_008, 1_711_376_384, 8_030_261_248, 3_256_000, 900)
    ]
    assert labels == ["135M", "1.7B", "8B", "3.3M", "0.9K"]
