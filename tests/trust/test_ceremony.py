"""The file of what is to be signed: whatever is done to it is refused, or changes nothing that counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile, Targets

from appliance.errors import KeysError, ThresholdError, TrustError
from appliance.trust import ceremony
from tests.trust.test_roots import ADA, BOB, DEE, FIRST, NOW, SECOND

TARGETS = CryptoSigner.generate_ed25519()


def request() -> ceremony.Request:
    return ceremony.Request("root", Metadata(SECOND), Metadata(FIRST))


def test_there_and_back() -> None:
    signed = ceremony.with_signature(request(), BOB)
    again = ceremony.parse(ceremony.to_bytes(signed))
    assert again.digest == request().digest and set(again.metadata.signatures) == {BOB.public_key.keyid}
    assert [rule.missing for rule in again.shortfalls()] == [1, 1]
    assert ceremony.to_bytes(again) == ceremony.to_bytes(signed)


def test_the_words_name_what_changes() -> None:
    words = ceremony.describe(request())
    assert f"  root gains {DEE.public_key.keyid[:8]}" in words
    assert f"  root loses {ADA.public_key.keyid[:8]}" in words
    assert words[0] == "to be signed: root version 2" and request().digest in words[2]


def test_words_that_no_terminal_should_see() -> None:
    path = "\x1b[2Jnotes-1.0.0.notes.gguf"
    targets = Targets(version=1, expires=NOW, targets={path: TargetFile(1, {"sha256": "00" * 32}, path)})
    words = ceremony.describe(ceremony.Request("targets", Metadata(targets), Metadata(FIRST)))
    assert all(word.isprintable() for word in words) and any("notes-1.0.0" in word for word in words)


def test_a_key_that_does_not_count_cannot_sign() -> None:
    with pytest.raises(KeysError, match="not one of the keys"):
        ceremony.with_signature(request(), TARGETS)


def test_below_the_threshold() -> None:
    with pytest.raises(ThresholdError) as caught:
        ceremony.require(ceremony.with_signature(request(), BOB))
    assert caught.value.exit_code == 15 and caught.value.message.count("1 missing") == 2


def damaged() -> list[bytes]:
    data = ceremony.to_bytes(ceremony.with_signature(request(), BOB))
    value = json.loads(data)

    def with_(**fields: Any) -> bytes:
        return json.dumps({**value, **fields}).encode()

    return [
        b"", b"null", b"[]", b"[" * 100_000, b"{}", b"\xff", b" " * (ceremony.MAX_BYTES + 1),
        with_(format="anchorhold-to-sign/2"), with_(about=None), with_(about=[]), with_(role="targets"),
        with_(role="\x1b"), with_(role=["root"]), with_(metadata=None), with_(metadata={}), with_(authority={}),
        with_(authority=[]), with_(authority=None),
        with_(metadata={**value["metadata"], "signatures": value["metadata"]["signatures"] * 2}),
        with_(metadata={**value["metadata"], "signed": {**value["metadata"]["signed"], "version": 3}}),
    ]  # fmt: skip


@pytest.mark.parametrize("data", damaged(), ids=range(len(damaged())))
def test_what_is_no_such_file(data: bytes) -> None:
    with pytest.raises(TrustError):
        ceremony.parse(data)


def test_a_changed_byte_signs_nothing_else() -> None:
    """Of any change, what is left is refused, or has the same bytes to sign and no signature more."""
    data = ceremony.to_bytes(ceremony.with_signature(request(), BOB))
    refused = 0
    for at in range(0, len(data), 3):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        try:
            found = ceremony.parse(changed)
            assert found.digest == request().digest
            merged = ceremony.merge(request(), [found])
            assert sum(len(rule.signed) for rule in merged.shortfalls()) <= 2
        except TrustError:
            refused += 1
    assert refused > len(data) / 6
