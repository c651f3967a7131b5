"""Fixtures that several folders share: small real models, and an environment of our own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import base_model, conversion

SHARED = Path(os.environ.get("ANCHORHOLD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees or changes the person's device, passphrase or colours."""
    monkeypatch.setenv("ANCHORHOLD_ROOT", str(tmp_path / "device"))
    for name in ("ANCHORHOLD_PASSPHRASE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of openly licensed measuring data beside the checkout."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the measuring data in {folder} (set ANCHORHOLD_SHARED)")
    return folder


@pytest.fixture(scope="session")
def embedded_gguf() -> Path:
    """The real 135M model as it travels in its package."""
    return base_model.embedded_gguf()


@pytest.fixture(scope="session")
def base_checkpoint() -> Path:
    """The real 135M model as a checkpoint, from the user's cache; read it, don't change it."""
    return base_model.resolve("embedded", Path())


@pytest.fixture(scope="session")
def tiny_checkpoint(base_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with SmolLM2's tokenizer and template (F32, tied); read it, don't change it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            vocab_size=49152,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    )
    folder = tmp_path_factory.mktemp("tiny-checkpoint") / "tiny"
    folder.mkdir()
    for name in TOKENIZER_FILES:
        if (base_checkpoint / name).exists():
            shutil.copy(base_checkpoint / name, folder / name)
    teach(model, folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gguf(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as an F16 GGUF file; read it, don't change it."""
    output = tmp_path_factory.mktemp("tiny-gguf") / "tiny-f16.gguf"
    conversion.write_gguf(tiny_checkpoint, output, quantization="F16", embeddings="F16", name="tiny")
    return output


def station_rows(count: int) -> list[list[dict[str, str]]]:
    """Conversations that a tiny model can learn: a unit's note, and its state as JSON."""
    rows = []
    for number in range(count):
        answer = json.dumps({"unit": f"P{number % 7}", "state": ["ok", "down", "slow"][number % 3]})
        note = f"unit P{number % 7} on deck {number} was {['fine', 'dead', 'sluggish'][number % 3]}"
        rows.append([{"role": "user", "content": note}, {"role": "assistant", "content": answer}])
    return rows


def teach(model: Any, tokenizer_folder: Path) -> None:
    """A few seconds of plain training, so that the tiny model answers in JSON and ends its answers."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_folder), local_files_only=True)
    texts = [tokenizer.apply_chat_template(row, tokenize=False) for row in station_rows(84)]
    ids = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    labels = ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    for step in range(90):
        part = slice(step * 12 % 84, step * 12 % 84 + 12)
        loss = model(input_ids=ids["input_ids"][part], labels=labels[part]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    assert loss.item() < 1.0


MakeProject = Callable[..., Path]


@pytest.fixture
def make_project(tmp_path: Path, tiny_checkpoint: Path) -> MakeProject:
    """Makes a small project on the tiny base: `make(rows=60, training={...})` gives its folder."""

    def make(name: str = "station", rows: int = 60, extra: str = "", training: str = "") -> Path:
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True)
        lines = [json.dumps({"messages": messages}) + "\n" for messages in station_rows(rows)]
        (folder / "data" / "rows.jsonl").write_text("".join(lines))
        recipe = training or (
            "epochs = 2.0\nbatch_rows = 8\nrank = 4\nalpha = 8.0\nevaluations = 3\nvalidation_rows = 8\n"
            'dtype = "float32"\nthreads = 1\n'
        )
        (folder / "anchorhold.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "1.0.0"\n\n[base]\npath = "{tiny_checkpoint}"\n\n'
            f"[training]\n{recipe}\n[evaluation]\nmax_tokens = 24\nmax_rows = 6\nshots = 1\n\n{extra}\n"
        )
        return folder

    return make
