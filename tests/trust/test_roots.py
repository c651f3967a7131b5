"""Rules of the root: who must sign, how it changes, and which step holds."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from appliance.errors import KeysError, TrustError
from appliance.trust import client, roots, sealing

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ADA, BOB, CY, DEE = (CryptoSigner.generate_ed25519() for _ in range(4))
OTHERS = {role: [CryptoSigner.generate_ed25519().public_key] for role in ("targets", "snapshot", "timestamp")}


def made(*holders: CryptoSigner, threshold: int = 2) -> Root:
    return roots.first({"root": [each.public_key for each in holders], **OTHERS}, {"root": threshold}, NOW)


def signed(root: Root, *signers: CryptoSigner) -> bytes:
    metadata = Metadata(root)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


FIRST = made(ADA, BOB, CY)
SECOND = roots.following(
    FIRST, NOW, add=[("root", DEE.public_key)], remove=[ADA.public_key.keyid]
)  # now Bob, Cy, Dee


def test_two_of_three_sign_a_first_root() -> None:
    for pair in ((ADA, BOB), (ADA, CY), (BOB, CY)):
        assert roots.check_step(None, signed(FIRST, *pair)).version == 1
    with pytest.raises(
        TrustError, match=r"1 of 2 signatures by the root keys of root version 1 itself: 1 missing"
    ):
        roots.check_step(None, signed(FIRST, ADA))
    with pytest.raises(TrustError):
        roots.check_step(None, signed(FIRST, ADA, DEE))


def test_a_step_needs_the_old_and_the_new_threshold() -> None:
    assert roots.check_step(FIRST, signed(SECOND, BOB, CY)).version == 2  # they are in both
    assert roots.check_step(FIRST, signed(SECOND, ADA, BOB, DEE)).version == 2
    with pytest.raises(TrustError, match="the root keys of root version 1: 1 missing"):
        roots.check_step(FIRST, signed(SECOND, BOB, DEE))  # new keys alone
    with pytest.raises(TrustError, match="of root version 2 itself: 1 missing"):
        roots.check_step(FIRST, signed(SECOND, ADA, BOB))  # old keys alone


def test_a_version_in_between_must_not_be_missing() -> None:
    third = roots.following(SECOND, NOW)
    data = signed(third, BOB, CY, ADA)
    with pytest.raises(TrustError, match="a version is missing between them"):
        roots.check_step(FIRST, data)
    assert roots.check_step(SECOND, data).version == 3


def test_the_shortfall_says_whose_signatures_are_missing() -> None:
    named = sealing.public_key(sealing.generate(), "Ada of the yard")
    root = roots.first({"root": [named, BOB.public_key], **OTHERS}, {"root": 2}, NOW)
    metadata = Metadata(root)
    metadata.sign(BOB)
    (rule,) = roots.shortfalls("root", metadata, None)
    assert rule.missing == 1
    assert str(rule).endswith(f"1 missing, of {named.keyid[:8]} (Ada of the yard)")


def test_one_key_twice_does_not_count_as_two() -> None:
    with pytest.raises(KeysError, match="root: a key was given twice"):
        roots.first({"root": [ADA.public_key, ADA.public_key], **OTHERS}, {"root": 2}, NOW)
    with pytest.raises(KeysError, match="already"):
        roots.following(FIRST, NOW, add=[("root", ADA.public_key)])
    # The same key under another id, as metadata may name it, also when its hexadecimal digits are spelt otherwise.
    alias: Any = copy.deepcopy(ADA.public_key)
    alias.keyid = "f" * 64
    alias.keyval["public"] = alias.keyval["public"].upper()
    with pytest.raises(TrustError, match="counts one key twice"):
        roots.following(FIRST, NOW, add=[("root", alias)])
    doubled = copy.deepcopy(FIRST)
    doubled.roles["root"].keyids = [ADA.public_key.keyid, alias.keyid]
    doubled.keys[alias.keyid] = alias
    metadata = Metadata(doubled)
    metadata.sign(ADA)
    again = copy.deepcopy(metadata.signatures[ADA.public_key.keyid])
    again.keyid = alias.keyid
    metadata.signatures[alias.keyid] = again
    doubled.verify_delegate("root", metadata.signed_bytes, metadata.signatures)  # python-tuf counts two
    with pytest.raises(TrustError, match="counts one key twice"):
        client.check_root(metadata.to_bytes())
    with pytest.raises(TrustError, match="counts one key twice"):
        roots.check_step(None, metadata.to_bytes())


@pytest.mark.parametrize("threshold", [0, 4])
def test_a_threshold_that_cannot_be_met(threshold: int) -> None:
    with pytest.raises(KeysError):
        made(ADA, BOB, CY, threshold=threshold)
    with pytest.raises(KeysError, match="2 signatures of 1 keys can't be had"):
        roots.following(FIRST, NOW, remove=[ADA.public_key.keyid, BOB.public_key.keyid])
    with pytest.raises(KeysError, match="no key left"):
        roots.following(FIRST, NOW, remove=[OTHERS["targets"][0].keyid])


def test_a_key_is_named_by_the_beginning_of_its_id() -> None:
    assert roots.resolve(FIRST, ADA.public_key.keyid[:8]) == ADA.public_key.keyid
    for wrong in ("", "0" * 8, ADA.public_key.keyid[:3]):
        with pytest.raises(KeysError):
            roots.resolve(FIRST, wrong)


def test_a_root_that_was_out_must_be_reached() -> None:
    roots.check_reached({}, 1)  # of before there was such a field
    roots.check_reached({roots.REACHED_FIELD: 2}, 2)
    roots.check_reached({roots.REACHED_FIELD: 2}, 3)  # a newer one was added since
    for reached in (3, "2", True, None):
        with pytest.raises(TrustError, match="end at version 2"):
            roots.check_reached({roots.REACHED_FIELD: reached}, 2)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"signed": {"_type": "root"}, "signatures": []}'], ids=range(4)
)
def test_what_is_no_root(data: bytes) -> None:
    with pytest.raises(TrustError, match="root"):
        roots.check_step(None, data)
