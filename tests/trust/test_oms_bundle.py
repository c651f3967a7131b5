"""OMS bundles: the specification's own vectors, its schemas over ours, and whatever was changed is refused."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import TrustError, UsageError
from appliance.trust import oms_bundle
from tests.conftest import SHARED

KEY = ec.generate_private_key(ec.SECP256R1())
FILES = {"notes.gguf": "ab" * 32, "report.html": "cd" * 32}


@pytest.fixture(scope="session")
def oms() -> Path:
    """The specification's vectors and schemas."""
    folder = SHARED / "vectors" / "oms"
    if not folder.is_dir():
        pytest.skip(f"needs the OMS vectors in {folder} (set ANCHORHOLD_SHARED)")
    return folder


def vector(oms: Path, name: str) -> bytes:
    return (oms / "test-vectors" / "v1.0" / f"{name}.bundle.json").read_bytes()


@pytest.mark.shared
def test_the_valid_vectors_are_verified(oms: Path) -> None:
    """The key that signed the first is the certificate's of the second: its hint says so."""
    certified = vector(oms, "valid/certificate")
    key = oms_bundle.certificate_key(oms_bundle.parse(certified))
    assert oms_bundle.parse(vector(oms, "valid/key")).hint == oms_bundle.key_hint(key)
    for name in ("valid/key", "valid/certificate"):
        found = oms_bundle.verify(vector(oms, name), key)
        assert found.name == "model" and list(found.files) == ["signme-1", "signme-2"]
    keyless = vector(oms, "valid/sigstore")
    own = oms_bundle.certificate_key(oms_bundle.parse(keyless))
    assert oms_bundle.verify(keyless, own).name == "v1.1.0-sigstore"
    for name in ("valid/key", "valid/certificate", "valid/sigstore"):
        with pytest.raises(TrustError, match="another key"):
            oms_bundle.verify(vector(oms, name), KEY.public_key())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("invalid/empty", "no JSON"),
        ("invalid/missing-envelope", "lacks dsseEnvelope"),
        ("invalid/missing-tlog-entries", "tlogEntries"),
        ("invalid/missing-verification-material", "lacks verificationMaterial"),
        ("invalid-payload/wrong-predicate", "not of the type"),
    ],
)
def test_the_invalid_vectors_are_refused(oms: Path, name: str, reason: str) -> None:
    with pytest.raises(TrustError, match=reason):
        oms_bundle.parse(vector(oms, name))


@pytest.mark.shared
def test_ours_fit_the_specification_s_schemas(oms: Path) -> None:
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    schemas = [json.loads(path.read_text()) for path in sorted((oms / "schemas" / "v1.0").glob("*.json"))]
    registry: Registry[Any] = Registry().with_resources(
        (each["$id"], Resource.from_contents(each)) for each in schemas
    )
    bundle = json.loads(oms_bundle.sign("notes", FILES, KEY))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    for kind, value in (("bundle", bundle), ("statement", statement)):
        schema = next(each for each in schemas if f"/{kind}/" in each["$id"])
        Draft202012Validator(schema, registry=registry).validate(value)


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
)
def test_what_was_signed_is_verified(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    found = oms_bundle.verify(oms_bundle.sign("notes", FILES, key), key.public_key())
    assert found.files == FILES and found.name == "notes" and found.method == "publicKey"


def test_what_cannot_sign() -> None:
    with pytest.raises(UsageError):
        oms_bundle.sign("notes", {}, KEY)
    with pytest.raises(UsageError):
        oms_bundle.sign("notes", FILES, ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(TrustError, match="curve"):
        oms_bundle.verify(
            oms_bundle.sign("n", FILES, KEY), ec.generate_private_key(ec.SECP256K1()).public_key()
        )


def test_a_bit_anywhere() -> None:
    """Changed, it is refused, or says the same: most of the outer JSON carries nothing that is signed."""
    data = oms_bundle.sign("notes", FILES, KEY)
    refused = 0
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        try:
            assert oms_bundle.verify(changed, KEY.public_key()).files == FILES
        except TrustError:
            refused += 1
    assert refused > 0.9 * len(data)


def test_cut_anywhere() -> None:
    data = oms_bundle.sign("notes", FILES, KEY)
    for size in range(len(data) - 2):
        with pytest.raises(TrustError):
            oms_bundle.verify(data[:size], KEY.public_key())


def resigned(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A bundle whose statement was changed before the right key signed it."""
    bundle = json.loads(oms_bundle.sign("notes", FILES, KEY))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    kind = oms_bundle.PAYLOAD_TYPE
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    from cryptography.hazmat.primitives import hashes

    signature = KEY.sign(signed, ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode()}]
    return json.dumps(bundle).encode()


def renamed(name: str) -> Callable[[dict[str, Any]], None]:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["resources"][0]["name"] = name

    return change


def with_serialization(**given: Any) -> Callable[[dict[str, Any]], None]:
    return lambda statement: statement["predicate"]["serialization"].update(given)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (renamed("../x"), "leads outside"),
        (renamed("/etc/passwd"), "leads outside"),
        (renamed("a\\b"), "leads outside"),
        (renamed("a\0b"), "leads outside"),
        (renamed("a//b"), "leads outside"),
        (renamed("report.html"), "stands there twice"),
        (with_serialization(allow_symlinks=True), "no links"),
        (with_serialization(method="shards", shard_size=1000), "whole files"),
        (with_serialization(hash_type="blake2b"), "SHA-256"),
        (with_serialization(extra=1), "unknown 'extra'"),
        (lambda s: s["predicate"].update(resources=[]), "no list with something"),
        (lambda s: s["predicate"]["resources"][0].update(digest="00" * 32), "not the files that it lists"),
        (lambda s: s["predicate"]["resources"][0].update(digest="AB" * 32), "no SHA-256"),
        (lambda s: s["subject"].append(s["subject"][0]), "not the files that it lists"),
        (lambda s: s["subject"][0].update(name="\x1b[2J"), "not printable"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "statement v1"),
        (lambda s: s.update(more=1), "unknown 'more'"),
    ],
)
def test_a_signed_statement_that_is_not_oms_s(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    assert oms_bundle.verify(resigned(lambda _: None), KEY.public_key()).files == FILES
    with pytest.raises(TrustError, match=reason):
        oms_bundle.verify(resigned(change), KEY.public_key())


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b'{"mediaType": 1, "mediaType": 2}',
        b'{"mediaType": ' + b"9" * 100_000 + b"}",
        b"\xff\xfe",
        b"null",
        b" " * (oms_bundle.MAX_BYTES + 1),
    ],
    ids=range(6),
)
def test_hostile_json(data: bytes) -> None:
    with pytest.raises(TrustError, match="OMS bundle"):
        oms_bundle.parse(data)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A signed folder."""
    folder = tmp_path / "release"
    (folder / "deep").mkdir(parents=True)
    for name in ("notes.gguf", "report.html", "deep/card.json"):
        (folder / name).write_text(name)
    bundle = oms_bundle.sign("notes", oms_bundle.digests(folder), KEY)
    (folder / oms_bundle.FILE_NAME).write_bytes(bundle)
    return folder


def checked(folder: Path) -> None:
    bundle = oms_bundle.verify((folder / oms_bundle.FILE_NAME).read_bytes(), KEY.public_key())
    oms_bundle.check_folder(bundle, folder)


def test_a_folder_as_it_was_signed(release: Path) -> None:
    checked(release)
    assert list(oms_bundle.digests(release)) == ["deep/card.json", "notes.gguf", "report.html"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: (f / "deep" / "card.json").write_text("other"), "deep/card.json: not the file"),
        (lambda f: (f / "report.html").unlink(), "report.html: signed, but missing"),
        (lambda f: (f / "evil.py").write_text(""), "evil.py: not signed"),
        # OMS itself leaves these two out.
        (
            lambda f: [(f / ".git").mkdir(), (f / ".git" / "evil.py").write_text("")],
            r"\.git/evil\.py: not signed",
        ),
        (lambda f: (f / ".gitattributes").write_text(""), r"\.gitattributes: not signed"),
        (lambda f: (f / "deep" / oms_bundle.FILE_NAME).write_text(""), "deep/model.sig: not signed"),
        (lambda f: (f / "link").symlink_to("notes.gguf"), "no plain file"),
        (lambda f: (f / "linked").symlink_to(f / "deep"), "no plain file"),
        (lambda f: os.mkfifo(f / "fifo"), "no plain file"),
        (lambda f: (f / "a\nb").write_text(""), "no plain file"),
    ],
)
def test_a_folder_that_was_changed(release: Path, change: Callable[[Path], object], reason: str) -> None:
    change(release)
    with pytest.raises(TrustError, match=reason):
        checked(release)
