"""A device's own id and key, made at its first use: `identity/` in the device's folder.

The private half is readable by its owner alone and signs receipts. The public half lies beside it for whoever else
writes the log. The id outlives the key: where the key is lost a new one is made under the old id, and the workshop
refuses it until a person has enrolled it.
"""

from __future__ import annotations

import json
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance import storage
from appliance.errors import KeysError
from appliance.paths import Device
from appliance.trust import chain, key_folder, limits

_KEY, _SIGNATURE = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{128}")

PUBLIC_FORMAT = "anchorhold-device/1"
KEY_FORMATS = (
    "anchorhold-identity-key/1",
    "anchorhold-device-key/1",
)  # as it is written, and as it was before
_HINT = (
    "restore identity/ from a backup; or move its files away: a new key is made, "
    "and the workshop has to enrol it (`anchorhold fleet enrol`)"
)


@dataclass(frozen=True)
class Identity:
    """A device's id (32 hex digits), and its Ed25519 public key (64 hex digits)."""

    device: str
    public: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key's 32 bytes; what people compare."""
        return fingerprint(self.public)


def fingerprint(public: str) -> str:
    """SHA-256 of a public key's 32 bytes, in hex."""
    return storage.sha256_bytes(bytes.fromhex(public))


def _public_path(device: Device) -> Path:
    return device.identity / "device.json"


def key_path(device: Device) -> Path:
    """Where the private key lies, mode 0600."""
    return device.identity / "device.key.json"


def _waiting_path(device: Device) -> Path:
    """Where a new key lies until the log has told of it."""
    return device.identity / "device.key.new"


def _read(path: Path, forms: tuple[str, ...], names: tuple[str, ...]) -> dict[str, Any]:
    with path.open("rb") as stream:
        value = json.loads(stream.read(limits.DEVICE_FILE_BYTES))
    if (
        not isinstance(value, dict)
        or value.get("format") not in forms
        or not chain.is_device(value.get("device"))
    ):
        raise ValueError("another format")
    if not all(chain.is_digest(value.get(name)) for name in names):  # 32 bytes in hex, as digests are
        raise ValueError("no key")
    return value


def read(device: Device) -> Identity | None:
    """The device's id and public key; None before its first use, or where the file is damaged."""
    try:
        value = _read(_public_path(device), (PUBLIC_FORMAT,), ("public",))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return Identity(value["device"], value["public"])


def _load(path: Path) -> tuple[Identity, Ed25519PrivateKey]:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeysError(
                f"{path}: others may read this key",
                "if nobody else was on this machine: chmod 600; else move it away and have the new one enrolled",
            )
        value = _read(path, KEY_FORMATS, ("private", "public"))
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(value["private"]))
        if private.public_key().public_bytes_raw().hex() != value["public"]:
            raise ValueError("its halves don't belong together")
    except FileNotFoundError as error:
        raise KeysError(f"{path}: the device's key is missing", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise KeysError(f"{path}: damaged ({error})", _HINT) from error
    return Identity(value["device"], value["public"]), private


def _named_by_key(path: Path) -> Identity | None:
    """Whose key lies at `path`; None where it is missing, can't be used, or is another user's."""
    try:
        return _load(path)[0]
    except (KeysError, PermissionError):
        return None


def prepare(device: Device, known: str = "") -> tuple[Identity, bool]:
    """The device's identity, made if it has none.

    A key that takes a former one's place lies aside until the caller has told of it and calls `settle`: killed between,
    it is found there, and told of then. Nothing is signed by a key that the log doesn't know.

    The key is in place before the public file, so that a public file without a key is a key that was lost, and one that
    names another key is a change that wasn't ended.

    Args:
        known: the id that the device's log has; a device that lost its identity keeps it.

    Returns:
        The identity, and whether the log has to tell of its key before `settle`.

    Raises:
        OSError: it can't be written, or the key is another user's and the public file is gone.
    """
    path, waiting = key_path(device), _waiting_path(device)
    found = read(device)
    if found is not None and path.exists() and not waiting.exists() and _named_by_key(path) in {None, found}:
        return found, False
    with key_folder.alone(device.identity):
        storage.remove_leftovers(device.identity)  # half a key, of a kill
        found = read(device)
        if path.exists():
            waiting.unlink(missing_ok=True)  # a lost key was put back before the new one was told of
            try:
                own = _load(path)[0]
            except PermissionError:
                if found is None:
                    raise
                return found, False
            except KeysError:
                if found is not None:  # whoever wants to sign is told what is wrong with it
                    return found, False
                # Neither half can be read: kept for whoever looks into it.
                path.replace(path.with_suffix(".damaged"))
            else:
                if found is None:
                    _write_public(device, own)
                elif own.device != found.device:  # halves of two devices: whoever wants to sign is told
                    return found, False
                return own, found is not None and own != found
        former = found.device if found is not None else known
        identity = _named_by_key(waiting)
        if identity is None or former not in {"", identity.device}:
            identity = _generate(device, former or secrets.token_hex(16))
        if not former:
            _put_in_place(device)
        return identity, bool(former)


def _generate(device: Device, name: str) -> Identity:
    private = Ed25519PrivateKey.generate()
    identity = Identity(name, private.public_key().public_bytes_raw().hex())
    value = {
        "format": KEY_FORMATS[0],
        "device": identity.device,
        "public": identity.public,
        "private": private.private_bytes_raw().hex(),
    }
    path = _waiting_path(device)
    storage.write_json(path, value, mode=0o600)
    storage.belongs_to_folder(path, device.root)
    return identity


def settle(device: Device) -> None:
    """Use the key of which the log has told by now.

    Raises:
        KeysError, OSError: it can't be used, or not be put in its place.
    """
    with key_folder.alone(device.identity):
        _put_in_place(device)


def _put_in_place(device: Device) -> None:
    waiting = _waiting_path(device)
    if waiting.exists():
        key_folder.put_in_place(waiting, key_path(device))
    _write_public(device, _load(key_path(device))[0])


def _write_public(device: Device, identity: Identity) -> None:
    value = {"format": PUBLIC_FORMAT, "device": identity.device, "public": identity.public}
    storage.write_json(_public_path(device), value)
    storage.belongs_to_folder(_public_path(device), device.root)


def sign(device: Device, data: bytes) -> tuple[Identity, str]:
    """Sign bytes with the device's key; returns whose it is, and the signature in hex.

    Raises:
        KeysError: the key is missing, damaged, or open to others.
        OSError: it is another user's.
    """
    identity, private = _load(key_path(device))
    return identity, private.sign(data).hex()


def holds(public: str, signature: str, data: bytes) -> bool:
    """Whether `signature` is that of the key `public` on `data`; both in lower-case hex, the one spelling of each."""
    if not _KEY.fullmatch(public) or not _SIGNATURE.fullmatch(signature):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True
