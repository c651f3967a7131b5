"""A device's own id and key, made at its first use: `identity/` in the device's folder.

The private half is readable by its owner alone and signs receipts. The public half lies beside it for whoever else
writes the log. The id outlives the key: where the key is lost a new one is made under the old id, and the workshop
refuses it until a person has enrolled it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance import storage
from appliance.errors import KeysError
from appliance.paths import Device
from appliance.trust import chain, limits

_KEY, _SIGNATURE = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{128}")

PUBLIC_FORMAT = "anchorhold-device/1"
KEY_FORMAT = "anchorhold-device-key/1"
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


def _read(path: Path, form: str, names: tuple[str, ...]) -> dict[str, Any]:
    with path.open("rb") as stream:
        value = json.loads(stream.read(limits.DEVICE_FILE_BYTES))
    if not isinstance(value, dict) or value.get("format") != form or not chain.is_device(value.get("device")):
        raise ValueError("another format")
    if not all(chain.is_digest(value.get(name)) for name in names):  # 32 bytes in hex, as digests are
        raise ValueError("no key")
    return value


def read(device: Device) -> Identity | None:
    """The device's id and public key; None before its first use, or where the file is damaged."""
    try:
        value = _read(_public_path(device), PUBLIC_FORMAT, ("public",))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return Identity(value["device"], value["public"])


def _load(device: Device) -> tuple[Identity, Ed25519PrivateKey]:
    path = key_path(device)
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeysError(
                f"{path}: others may read this key",
                "if nobody else was on this machine: chmod 600; else move it away and have the new one enrolled",
            )
        value = _read(path, KEY_FORMAT, ("private", "public"))
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(value["private"]))
        if private.public_key().public_bytes_raw().hex() != value["public"]:
            raise ValueError("its halves don't belong together")
    except FileNotFoundError as error:
        raise KeysError(f"{path}: the device's key is missing", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise KeysError(f"{path}: damaged ({error})", _HINT) from error
    return Identity(value["device"], value["public"]), private


@contextlib.contextmanager
def _making(folder: Path) -> Iterator[None]:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        storage.belongs_to_folder(folder, folder.parent)
        storage.fsync_folder(folder.parent)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        storage.remove_leftovers(folder)  # half a key, of a kill
        yield
    finally:
        os.close(fd)


def ensure(device: Device, known: str = "") -> tuple[Identity, bool]:
    """The device's identity, made if it has none.

    The key before the public file, so that a public file without a key is a key that was lost.

    Args:
        known: the id that the device's log has; a device that lost its identity keeps it.

    Returns:
        The identity, and whether a key was made under an id that had one before.

    Raises:
        OSError: it can't be written, or the key is another user's and the public file is gone.
    """
    found = read(device)
    if found is not None and key_path(device).exists():
        return found, False
    with _making(device.identity):
        found = read(device)
        if key_path(device).exists():
            if found is not None:
                return found, False
            try:
                identity, _ = _load(device)
                _write_public(device, identity)
                return identity, False
            except KeysError:  # neither half can be read: keep it for whoever looks into it
                key_path(device).replace(key_path(device).with_suffix(".damaged"))
        former = found.device if found is not None else known
        private = Ed25519PrivateKey.generate()
        identity = Identity(former or secrets.token_hex(16), private.public_key().public_bytes_raw().hex())
        value = {
            "format": KEY_FORMAT,
            "device": identity.device,
            "public": identity.public,
            "private": private.private_bytes_raw().hex(),
        }
        storage.write_json(key_path(device), value, mode=0o600)
        storage.belongs_to_folder(key_path(device), device.root)
        _write_public(device, identity)
        return identity, bool(former)


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
    identity, private = _load(device)
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
