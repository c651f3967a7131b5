"""Models that the publisher has signed and no loader should open: refused before the trial, the old one stays."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from appliance.errors import ExitCode, UpdateError
from appliance.events import Emit
from appliance.registry import manifest as manifests
from appliance.trust import ledger as ledgers
from appliance.update import audit
from convert.gguf_file import string
from convert.gguf_header import Kind, Value
from tests.stick_simulator import Simulator, gguf_bytes, leftovers

HOSTILE = {
    "claims 2^40 texts": (
        struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 8, 2**40),
        f"at byte 41: {2**40} texts",
    ),
    "no model": (b"#!/bin/sh\nreboot\n", "no GGUF file"),
    "cut short": (gguf_bytes(b"weights" * 1000)[:-100], "cut short"),
    "with something behind": (gguf_bytes(b"weights") + b"MZ" * 64, "behind the last tensor"),
    "a part of several": (gguf_bytes(split__count=Value(Kind.U16, 2)), "one part of several"),
    "an adapter": (gguf_bytes(general__type=string("adapter")), "general.type is 'adapter'"),
    "a list too short": (
        gguf_bytes(
            tokenizer__ggml__model=string("llama"),
            tokenizer__ggml__tokens=Value(Kind.ARRAY, ["a", "b"], Kind.STRING),
            tokenizer__ggml__token_type=Value(Kind.ARRAY, [1], Kind.I32),
        ),
        "token_type is an array of 1 I32; it must be an array of 2",
    ),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_signed_hostile_model_is_refused_unopened(tmp_path: Path, name: str) -> None:
    data, reason = HOSTILE[name]
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    floors = ledgers.read(simulator.device)
    hostile = tmp_path / "hostile.gguf"
    hostile.write_bytes(data)
    simulator.publish("1.1.0", hostile)

    def opened(_model: Path, _manifest: manifests.Manifest, _emit: Emit) -> None:
        pytest.fail("the model was loaded")

    with pytest.raises(UpdateError, match="the release's model is refused") as caught:
        simulator.install(probe=opened)
    assert reason in caught.value.message and caught.value.exit_code == ExitCode.UPDATE
    assert simulator.active == "1.0.0"
    assert leftovers(simulator.device) == [] and ledgers.read(simulator.device) == floors
    last = audit.entries(simulator.device)[-1]
    assert last["event"] == "refused" and last["data"]["kind"] == "UpdateError"
    assert last["data"]["reason"] == caught.value.message
    assert audit.verify(simulator.device) == []
