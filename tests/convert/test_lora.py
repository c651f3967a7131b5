"""An adapter merged while converting is the adapter that peft merges."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import ConvertError, lora, to_gguf
from convert.gguf_file import read
from tests.convert.conftest import MakeCheckpoint

MakeAdapter = Callable[..., Path]
# peft still asks transformers under the older name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Makes an adapter with random A and B through peft: `make(checkpoint, **LoraConfig settings)`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def make(checkpoint: Path, **settings: Any) -> Path:
        model = AutoModelForCausalLM.from_pretrained(checkpoint, local_files_only=True, dtype=torch.float32)
        torch.manual_seed(5)
        adapted = get_peft_model(model, LoraConfig(**{"r": 4, "target_modules": "all-linear", **settings}))
        with torch.no_grad():
            for name, tensor in adapted.named_parameters():
                if "lora_" in name:
                    tensor.copy_(0.3 * torch.randn_like(tensor))
        folder = tmp_path / "adapter"
        adapted.save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize(
    "settings", [{"lora_alpha": 8}, {"lora_alpha": 8, "use_rslora": True}], ids=["r", "sqrt-r"]
)
def test_equals_peft(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter, tmp_path: Path, settings: dict[str, Any]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = make_checkpoint()
    adapter = make_adapter(base, **settings)
    ours = read(to_gguf.convert(base, tmp_path / "ours.gguf", adapter=adapter, quantization="F32").path)
    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    merged = tmp_path / "merged"
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(merged)
    for file in base.glob("*token*"):
        shutil.copy(file, merged)
    theirs = read(to_gguf.convert(merged, tmp_path / "theirs.gguf", quantization="F32").path)
    plain = read(to_gguf.convert(base, tmp_path / "plain.gguf", quantization="F32").path)
    assert set(ours.tensors) == set(theirs.tensors)
    for name, tensor in ours.tensors.items():
        mine, peers = tensor.data.view(np.float32), theirs.tensors[name].data.view(np.float32)
        np.testing.assert_allclose(mine, peers, rtol=0, atol=2e-6)
        changed = not np.array_equal(mine, plain.tensors[name].data.view(np.float32))
        assert changed == (name.startswith("blk.") and "norm" not in name)


def test_bytes_do_not_depend_on_threads(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    base = make_checkpoint()
    adapter = make_adapter(base)
    files = [
        to_gguf.convert(base, tmp_path / f"{threads}.gguf", adapter=adapter, threads=threads).sha256
        for threads in (1, 3)
    ]
    assert files[0] == files[1]


def test_a_half_width_adapter_and_base_are_merged_in_float32(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    base = make_checkpoint("bfloat16")
    adapter = make_adapter(base)
    weights = {name: each.bfloat16() for name, each in load_file(adapter / lora.WEIGHTS).items()}
    save_file(weights, adapter / lora.WEIGHTS)
    out = read(to_gguf.convert(base, tmp_path / "m.gguf", adapter=adapter, quantization="F32").path)
    prefix = "base_model.model.model.layers.0.mlp.up_proj.lora_"
    a, b = (weights[f"{prefix}{half}.weight"].float().numpy() for half in "AB")
    stored = load_file(base / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].float().numpy()
    expected = stored + (8 / 4) * (b @ a)
    np.testing.assert_allclose(
        out.tensors["blk.0.ffn_up.weight"].data.view(np.float32), expected, rtol=0, atol=2e-6
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
        ({"rank_pattern": {"q_proj": 3}}, "rank_pattern"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"something_of_next_year": {"on": 1}}, "something_of_next_year"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"r": 8}, "rank 4"),
        ({"r": 0}, "r is 0"),
        ({"lora_alpha": None}, "lora_alpha"),
    ],
)
def test_refused_adapters(
    small: Path, make_adapter: MakeAdapter, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    adapter = make_adapter(small)
    path = adapter / lora.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ConvertError, match=message):
        to_gguf.convert(small, tmp_path / "m.gguf", adapter=adapter)
    assert not (tmp_path / "m.gguf").exists()


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
def test_an_adapter_on_the_embeddings_is_refused(
    small: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(small, target_modules=["embed_tokens", "q_proj"])
    with pytest.raises(ConvertError, match="embed"):
        to_gguf.convert(small, tmp_path / "m.gguf", adapter=adapter)


def test_an_adapter_of_another_base_is_refused(
    small: Path, make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    wider = make_adapter(make_checkpoint(intermediate_size=128))
    with pytest.raises(ConvertError, match="mlp") as caught:
        to_gguf.convert(small, tmp_path / "m.gguf", adapter=wider)
    assert "another base" in caught.value.hint


def test_a_missing_half_is_refused(small: Path, make_adapter: MakeAdapter, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    adapter = make_adapter(small)
    weights = load_file(adapter / lora.WEIGHTS)
    del weights["base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"]
    save_file(weights, adapter / lora.WEIGHTS)
    with pytest.raises(ConvertError, match="only one of A and B"):
        to_gguf.convert(small, tmp_path / "m.gguf", adapter=adapter)


@pytest.mark.parametrize("shape", [(576, 576), (192, 576), (576, 1536), (1536, 576)])
def test_a_merged_row_does_not_depend_on_the_rows_beside_it(shape: tuple[int, int]) -> None:
    """Training rounds matrices as they are, the converter permutes rows and works in pieces: the weights are equal."""
    chance = np.random.default_rng(3)
    rows, columns = shape
    base = (0.02 * chance.standard_normal(shape)).astype(np.float32)
    b, a = (0.1 * chance.standard_normal(size) for size in ((rows, 16), (16, columns)))
    update = lora.Update.of(b.astype(np.float32), a.astype(np.float32), 2.0)
    whole = lora.merge_rows(base, update.b, update.a)
    order = chance.permutation(rows)
    assert np.array_equal(lora.merge_rows(base[order], update.b[order], update.a), whole[order])
    alone = [lora.merge_rows(base[row : row + 1], update.b[row : row + 1], update.a) for row in range(rows)]
    assert np.array_equal(np.concatenate(alone), whole)
    exact = base + 2.0 * update.b.astype(np.longdouble) / 2.0 @ update.a.astype(np.longdouble)
    assert np.array_equal(exact.astype(np.float32), whole)
