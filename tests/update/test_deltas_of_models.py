"""A delta between two real models that differ in an adapter on q and v: small, and loaded by the real install."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import conversion
from appliance.config import KEYS_AND_VALUES
from appliance.events import ignore
from appliance.update import delta_making, publish
from appliance.update.trial import golden_check
from benchmarks.deltas import random_adapter
from tests.stick_simulator import Simulator, make_release

pytestmark = pytest.mark.slow


def test_a_real_model_is_made_and_loaded(tiny_checkpoint: Path, tmp_path: Path) -> None:
    files = []
    for name in ("base", "adapted with a longer name"):
        adapter = random_adapter(tiny_checkpoint, tmp_path / "adapter", 0.5, 1) if files else None
        files.append(tmp_path / f"{name}.gguf")
        overrides = {KEYS_AND_VALUES: "Q8_0"}
        conversion.write_gguf(tiny_checkpoint, files[-1], adapter=adapter, overrides=overrides, name=name)
    made = delta_making.make(files[0], files[1], tmp_path / "delta")
    assert sorted(made.tensors) == [f"blk.{n}.attn_{which}.weight" for n in (0, 1) for which in "qv"]
    changed = 2 * (64 * 64 * 18 // 32 + 32 * 64 * 34 // 32)  # bytes of both layers' q in Q4_0 and v in Q8_0
    assert made.bytes < changed + 2000  # and so nothing of the vocabulary, though the header is longer
    assert made.bytes < 0.1 * files[1].stat().st_size

    simulator = Simulator(tmp_path / "simulated")
    for version, model in zip(("1.0.0", "1.1.0"), files, strict=True):
        make_release(simulator.folder / "releases" / version, version, model)
    simulator.publish("1.0.0")
    simulator.install(probe=golden_check)
    publish.write_stick(
        simulator.keys,
        simulator.all_signers,
        simulator.folder / "releases" / "1.1.0",
        simulator.stick,
        ignore,
        bases=[files[0]],
        whole=False,
    )
    release = simulator.install(probe=golden_check)
    assert simulator.active == "1.1.0"
    assert release.model.read_bytes() == files[1].read_bytes()
