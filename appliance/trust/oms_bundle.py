"""OpenSSF Model Signing (OMS) bundles of a folder: written and verified with `cryptography` alone.

A bundle is a Sigstore bundle (JSON) around a DSSE envelope around an in-toto statement, which lists every file with its
SHA-256. Decisions are pure: bytes in, a checked statement or an error out. Whose key it must be, the caller says:
a key or certificate that comes along in the bundle proves nothing by itself, and transparency logs can't be asked
without a network.

Specification: https://github.com/ossf/model-signing-spec, version 1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import TrustError, UsageError
from appliance.regular_file import open_regular

FILE_NAME = "model.sig"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_BYTES = 4 << 20
MAX_FILES = 10_000
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_METHODS = ("publicKey", "x509CertificateChain", "certificate")
_HINT = "ask for the release to be signed again"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose structure is right; its signature was not looked at.

    Attributes:
        name: of the model.
        files: name (parts separated by "/") -> SHA-256.
        method: `publicKey`, `x509CertificateChain` or `certificate` (Sigstore's keyless signing).
        hint: SHA-256 of the signing key's PEM, where the bundle says so.
        certificates: DER, the signer's first.
        payload: the statement's bytes, which is what is signed.
        signatures: one or more.
    """

    name: str
    files: Mapping[str, str]
    method: str
    hint: str
    certificates: tuple[bytes, ...]
    payload: bytes
    signatures: tuple[bytes, ...]


def _wrong(reason: str) -> TrustError:
    return TrustError(f"OMS bundle: {reason}", _HINT)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _json(data: bytes, what: str) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{what} is no JSON ({error})") from error


def _object(
    value: Any, what: str, required: tuple[str, ...], allowed: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """A JSON object with these names; `allowed` lists what else it may have (None: anything)."""
    if not isinstance(value, dict):
        raise _wrong(f"{what} is missing or no object")
    missing = [name for name in required if name not in value]
    if missing:
        raise _wrong(f"{what} lacks {', '.join(missing)}")
    strange = set() if allowed is None else set(value) - {*required, *allowed}
    if strange:
        raise _wrong(f"{what} has the unknown {sorted(strange)[0]!r}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _wrong(f"{what} is no list with something in it")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(f"{what} is no text")
    return value


def _base64(value: Any, what: str) -> bytes:
    try:
        return base64.b64decode(_text(value, what), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong(f"{what} is not base64") from error


def _material(value: Any) -> tuple[str, str, tuple[bytes, ...]]:
    """Method, hint and certificates."""
    material = _object(value, "verificationMaterial", ())
    given = [name for name in _METHODS if name in material]
    if len(given) != 1:
        raise _wrong(f"verificationMaterial must have one of {', '.join(_METHODS)}")
    method = given[0]
    if method == "publicKey":
        key = _object(material[method], "publicKey", ())
        if "hint" not in key and "rawBytes" not in key:
            raise _wrong("publicKey lacks hint")
        return method, _text(key.get("hint", "-"), "hint"), ()
    if method == "certificate":
        # Keyless signing without its entry in the log could be dated at will.
        _list(material.get("tlogEntries"), "tlogEntries")
        chain = [material[method]]
    else:
        chain = _list(_object(material[method], method, ("certificates",))["certificates"], "certificates")
    raw = [_base64(_object(each, "a certificate", ("rawBytes",))["rawBytes"], "rawBytes") for each in chain]
    return method, "", tuple(raw)


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not any(part in {"", ".", ".."} for part in parts)


def _files(predicate: dict[str, Any]) -> dict[str, str]:
    how = _object(
        predicate["serialization"],
        "serialization",
        ("method", "hash_type", "allow_symlinks"),
        ("ignore_paths", "shard_size"),
    )
    if (how["method"], how["hash_type"], how["allow_symlinks"]) != ("files", "sha256", False):
        raise _wrong("only whole files, SHA-256 and no links are known")
    files: dict[str, str] = {}
    resources = _list(predicate["resources"], "resources")
    if len(resources) > MAX_FILES:
        raise _wrong(f"{len(resources)} files; at most {MAX_FILES} are read")
    for each in resources:
        entry = _object(each, "a resource", ("name", "digest", "algorithm"))
        name, digest = _text(entry["name"], "a resource's name"), _text(entry["digest"], "a digest")
        if not _is_plain(name) or name in files:
            raise _wrong(f"the file name {name!r} leads outside, or stands there twice")
        if entry["algorithm"] != "sha256" or not _DIGEST.fullmatch(digest):
            raise _wrong(f"{name!r} has no SHA-256")
        files[name] = digest
    return files


def root_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over the files' digests (their bytes, in order of the names): the digest of the model as a whole."""
    return hashlib.sha256(b"".join(bytes.fromhex(files[name]) for name in sorted(files))).hexdigest()


def parse(data: bytes) -> Bundle:
    """Check the structure of a bundle; nothing in it is to be believed before `verify`.

    Raises:
        TrustError: too large, no bundle, or a statement that isn't OMS 1.0's.
    """
    if len(data) > MAX_BYTES:
        raise _wrong(f"{len(data)} bytes; at most {MAX_BYTES} are read")
    outer = _object(
        _json(data, "it"), "the bundle", ("mediaType", "verificationMaterial", "dsseEnvelope"), ()
    )
    if not _text(outer["mediaType"], "mediaType").startswith("application/vnd.dev.sigstore.bundle"):
        raise _wrong("mediaType is not Sigstore's")
    method, hint, certificates = _material(outer["verificationMaterial"])
    envelope = _object(outer["dsseEnvelope"], "dsseEnvelope", ("payload", "payloadType", "signatures"), ())
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise _wrong(f"payloadType is not {PAYLOAD_TYPE}")
    payload = _base64(envelope["payload"], "payload")
    signed = [
        _object(each, "a signature", ("sig",), ("keyid",))
        for each in _list(envelope["signatures"], "signatures")
    ]
    signatures = tuple(_base64(each["sig"], "sig") for each in signed)
    statement = _object(
        _json(payload, "its statement"),
        "the statement",
        ("_type", "subject", "predicateType", "predicate"),
        (),
    )
    if statement["_type"] != STATEMENT_TYPE:
        raise _wrong("its statement is no in-toto statement v1")
    if statement["predicateType"] != PREDICATE_TYPE:
        raise _wrong(f"its statement is not of the type {PREDICATE_TYPE}")
    files = _files(_object(statement["predicate"], "the predicate", ("resources", "serialization"), ()))
    subjects = _list(statement["subject"], "subject")
    subject = _object(subjects[0], "the subject", ("name", "digest"))
    if len(subjects) != 1 or _object(subject["digest"], "the subject's digest", ("sha256",))[
        "sha256"
    ] != root_digest(files):
        raise _wrong("its subject is not the files that it lists")
    name = _text(subject["name"], "the subject's name")
    if not name.isprintable():
        raise _wrong("the subject's name is not printable")
    return Bundle(name, files, method, hint, certificates, payload, signatures)


def _to_sign(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def key_hint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the key's PEM, by which a bundle names it."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def certificate_key(bundle: Bundle) -> ec.EllipticCurvePublicKey:
    """The key in the signer's certificate, for comparing with one that is trusted. The chain isn't judged.

    Raises:
        TrustError: there is none, or it isn't of an elliptic curve.
    """
    if not bundle.certificates:
        raise _wrong("it brings no certificate")
    try:
        key = x509.load_der_x509_certificate(bundle.certificates[0]).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _wrong("its certificate is damaged") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _wrong("its certificate is not of an elliptic curve")
    return key


def verify(data: bytes, key: ec.EllipticCurvePublicKey) -> Bundle:
    """Parse a bundle and check that `key` signed it.

    Args:
        data: of the bundle's file.
        key: the one that is trusted, known from elsewhere than the bundle; P-256, P-384 or P-521.

    Raises:
        TrustError: not a bundle, of another key, or not signed by it.
    """
    bundle = parse(data)
    algorithm = _HASHES.get(key.curve.name)
    if algorithm is None:
        raise _wrong(f"the curve {key.curve.name} is not known")
    if bundle.method != "publicKey" and certificate_key(bundle) != key:
        raise _wrong("its certificate is of another key than the one that is trusted")
    if _DIGEST.fullmatch(bundle.hint) and bundle.hint != key_hint(key):
        raise _wrong("it names another key than the one that is trusted")
    for signature in bundle.signatures:
        try:
            key.verify(signature, _to_sign(bundle.payload), ec.ECDSA(algorithm))
        except InvalidSignature:
            continue
        return bundle
    raise _wrong("it is not signed by the key that is trusted, or was changed")


def digests(folder: Path, bundle_name: str = FILE_NAME) -> dict[str, str]:
    """SHA-256 of every file below `folder` but the bundle, by name.

    Raises:
        TrustError: a link, a FIFO or a name that can't be signed; nothing is skipped.
        OSError: something can't be read.
    """

    def give_up(error: OSError) -> None:
        raise error  # what can't be listed must not count as nothing

    found: dict[str, str] = {}
    for place, folders, names in os.walk(folder, onerror=give_up):
        for name in [*folders, *names]:
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_dir() or path.is_file()) or not _is_plain(relative):
                raise TrustError(f"{relative!r}: no plain file or folder", "remove it from the release")
            if path.is_file() and relative != bundle_name:
                with open_regular(path, links=False) as stream:
                    found[relative] = hashlib.file_digest(stream, "sha256").hexdigest()
    return dict(sorted(found.items()))


def check_folder(bundle: Bundle, folder: Path, bundle_name: str = FILE_NAME) -> None:
    """Compare a folder with a verified bundle. Stricter than OMS asks: no path is left out but the bundle's own.

    Raises:
        TrustError: a file that was changed, is missing, or isn't listed.
    """
    found = digests(folder, bundle_name)
    for name, digest in bundle.files.items():
        if name not in found:
            raise TrustError(f"{name}: signed, but missing", _HINT)
        if found[name] != digest:
            raise TrustError(f"{name}: not the file that was signed", _HINT)
    strangers = sorted(set(found) - set(bundle.files))
    if strangers:
        raise TrustError(
            f"{strangers[0]}: not signed", "remove it, or ask for the release to be signed again"
        )


class SigningKey(Protocol):
    """What signs: a private key of `cryptography`, or one in a hardware token."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""

    def sign(self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """A signature in DER."""


def sign(name: str, files: Mapping[str, str], key: SigningKey, bundle_name: str = FILE_NAME) -> bytes:
    """A bundle over `files`, as the content of a file.

    Args:
        name: of the model.
        files: name -> SHA-256, as `digests` gives them.
        key: P-256, P-384 or P-521. Its signature is deterministic (RFC 6979): equal files give equal bytes; not so that
            of a token.
        bundle_name: the bundle's own file in the folder, which it leaves out.

    Raises:
        UsageError: no files, or another curve.
    """
    algorithm = _HASHES.get(key.public_key().curve.name)
    if algorithm is None or not files:
        raise UsageError("an OMS bundle needs a key of P-256, P-384 or P-521 and at least one file")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root_digest(files)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "resources": [
                {"name": each, "algorithm": "sha256", "digest": files[each]} for each in sorted(files)
            ],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [bundle_name],
            },
        },
    }
    payload = json.dumps(statement, indent=2).encode()
    signature = key.sign(_to_sign(payload), ec.ECDSA(algorithm, deterministic_signing=True))
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key_hint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, indent=2).encode() + b"\n"
