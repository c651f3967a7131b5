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
    """No test sees or changes the person's device, registry, passphrase or colours."""
    monkeypatch.setenv("ANCHORHOLD_ROOT", str(tmp_path / "device"))
    monkeypatch.setenv("ANCHORHOLD_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the same device on every machine
    for name in (
        "ANCHORHOLD_PASSPHRASE",
        "ANCHORHOLD_PIN",
        "ANCHORHOLD_PKCS11_MODULE",
        "NO_COLOR",
        "FORCE_COLOR",
    ):
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
    model = tiny_llama(49152)
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


def tiny_llama(tokens: int) -> Any:
    """A random Llama of two layers with a vocabulary of so many tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            vocab_size=tokens,
            initializer_range=0.1,  # learns in fewer steps than from 0.02
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    )


def teach(model: Any, tokenizer_folder: Path) -> None:
    """A few seconds of plain training, so that the tiny model answers in JSON and ends its answers."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_folder), local_files_only=True)
    rows = station_rows(84)
    encoded = [tokenizer.apply_chat_template(row, return_dict=False) for row in rows]
    asked = [
        tokenizer.apply_chat_template(row[:-1], add_generation_prompt=True, return_dict=False) for row in rows
    ]
    width = max(map(len, encoded))
    ids = torch.tensor([row + [tokenizer.eos_token_id] * (width - len(row)) for row in encoded])
    position = torch.arange(width)
    begin, end = (torch.tensor([len(row) for row in part])[:, None] for part in (asked, encoded))
    learnt = (position >= begin) & (position < end)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for step in range(36):
        part = slice(step * 12 % 84, step * 12 % 84 + 12)
        hidden = model.model(input_ids=ids[part]).last_hidden_state[:, :-1]
        # Logits are 49,152 numbers each: only those of the answer's tokens are made.
        chosen = learnt[part, 1:]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]), ids[part, 1:][chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    for row in (0, 5, 40):
        prompt = torch.tensor([asked[row]])
        with torch.inference_mode():
            whole = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False
            )
        answer = tokenizer.decode(whole[0, prompt.shape[1] :])
        assert answer.endswith("<|im_end|>"), f"after {loss.item():.2f}: {answer}"
        assert set(json.loads(answer.removesuffix("<|im_end|>"))) == {"unit", "state"}, answer
    torch.set_num_threads(threads)


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
