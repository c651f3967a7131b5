"""Signing keys: Ed25519, each in a file of its own, sealed by a passphrase (docs/formats/keys.md)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Role, Root

from appliance import storage
from appliance.errors import KeysError, TrustError
from appliance.trust import client, clock, limits

FORMAT = "anchorhold-key/1"
ROLES = ("root", "targets", "snapshot", "timestamp")
ROOT_FILE = "root.json"
ROOT_DAYS = 3650
SCRYPT_N = 1 << 17
_SCRYPT_N_RANGE = range(1 << 14, (1 << 20) + 1)  # a key file must not be able to ask for all memory
_SCRYPT_R = 8
_SCRYPT_P = 1


@dataclass(frozen=True)
class KeyInfo:
    """What a key file says without its passphrase."""

    role: str
    keyid: str
    public: str
    path: Path


def key_path(folder: Path, role: str) -> Path:
    """Where the key of `role` lies."""
    return folder / f"{role}.key.json"


def _wrapping_key(passphrase: str, salt: bytes, n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase.encode("utf-8"))


def seal(role: str, private: Ed25519PrivateKey, passphrase: str, n: int = SCRYPT_N) -> dict[str, Any]:
    """A private key as the content of its file.

    The header (all but `sealed`) is authenticated with the key, so that no field can be exchanged.
    """
    signer = CryptoSigner(private)
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    header = {
        "format": FORMAT,
        "role": role,
        "keyid": signer.public_key.keyid,
        "public": private.public_key().public_bytes_raw().hex(),
        "kdf": {"name": "scrypt", "n": n, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": salt.hex()},
        "cipher": {"name": "aes-256-gcm", "nonce": nonce.hex()},
    }
    sealed = AESGCM(_wrapping_key(passphrase, salt, n)).encrypt(
        nonce, private.private_bytes_raw(), storage.canonical_json(header)
    )
    return {**header, "sealed": sealed.hex()}


def unseal(value: dict[str, Any], passphrase: str, where: str) -> Ed25519PrivateKey:
    """The inverse of `seal`.

    Raises:
        KeysError: the passphrase is wrong or the file was changed.
    """
    try:
        header = {name: part for name, part in value.items() if name != "sealed"}
        kdf = header["kdf"]
        n = kdf["n"]
        if (
            kdf["name"] != "scrypt"
            or (kdf["r"], kdf["p"]) != (_SCRYPT_R, _SCRYPT_P)
            or n not in _SCRYPT_N_RANGE
        ):
            raise ValueError("unknown way to derive the key")
        key = AESGCM(_wrapping_key(passphrase, bytes.fromhex(kdf["salt"]), n))
        raw = key.decrypt(
            bytes.fromhex(header["cipher"]["nonce"]),
            bytes.fromhex(value["sealed"]),
            storage.canonical_json(header),
        )
    except InvalidTag as error:
        raise KeysError(
            f"{where}: wrong passphrase, or the file was changed",
            "try again; there is no way round a lost passphrase",
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise KeysError(f"{where}: damaged ({error})", "restore the key from its backup") from error
    return Ed25519PrivateKey.from_private_bytes(raw)


def _read(folder: Path, role: str) -> dict[str, Any]:
    path = key_path(folder, role)
    try:
        with path.open("rb") as stream:
            data = stream.read(limits.KEY_FILE_BYTES)
    except FileNotFoundError as error:
        raise KeysError(
            f"{path}: no such key", "`anchorhold keys init` makes the keys of a project"
        ) from error
    try:
        value = json.loads(data)
        if value["format"] != FORMAT or value["role"] != role:
            raise ValueError("another format or role")
    except (ValueError, KeyError, TypeError) as error:
        raise KeysError(f"{path}: not a key file ({error})", "restore the key from its backup") from error
    assert isinstance(value, dict)
    return value


def _check_passphrase(passphrase: str) -> None:
    if not passphrase.strip():
        raise KeysError(
            "the passphrase is empty", "give one by prompt, --passphrase-file or ANCHORHOLD_PASSPHRASE"
        )


def _check_free(folder: Path) -> None:
    """Refuse a folder that holds anything but what a killed `create` may have left in it."""
    held = [
        path for path in (*(key_path(folder, role) for role in ROLES), folder / ROOT_FILE) if path.exists()
    ]
    if held and not (folder / ROOT_FILE).exists():
        raise KeysError(
            f"{folder}: keys without their {ROOT_FILE}",
            f"restore {ROOT_FILE} from a backup; if no device trusts these keys yet, move the folder away",
        )
    if held:
        raise KeysError(f"{held[0]}: there is a key already", "devices trust it; it is never overwritten")
    if folder.exists():
        storage.remove_leftovers(folder)
        if not folder.is_dir() or any(folder.iterdir()):
            raise KeysError(f"{folder}: holds something else", "give a new folder, or an empty one")


def _leftovers(folder: Path) -> list[Path]:
    """Temporary folders of `create` beside `folder`; they hold keys that nothing has ever been signed with."""
    return list(folder.parent.glob(f".{folder.name}.*.new"))


def create(folder: Path, passphrase: str, *, n: int = SCRYPT_N) -> Root:
    """Make the four keys of a publisher and the root of trust that names them: all, or none if it is stopped.

    Args:
        folder: must be missing or empty. Made with mode 0700; files 0600.
        passphrase: seals all four.
        n: scrypt's cost.

    Raises:
        KeysError: keys or other files are there already, or the passphrase is empty.
    """
    _check_passphrase(passphrase)
    _check_free(folder)
    private = {role: Ed25519PrivateKey.generate() for role in ROLES}
    signers = {role: CryptoSigner(key) for role, key in private.items()}
    root = Root(
        version=1,
        expires=clock.latest(clock.machine_time(), ()) + timedelta(days=ROOT_DAYS),
        consistent_snapshot=True,
        roles={role: Role([signers[role].public_key.keyid], 1) for role in ROLES},
        keys={signer.public_key.keyid: signer.public_key for signer in signers.values()},
    )
    metadata = Metadata(root)
    metadata.sign(signers["root"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in _leftovers(folder):
        shutil.rmtree(path)
    # Beside the folder, so that one rename makes the set appear; mkdtemp gives mode 0700.
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".new", dir=folder.parent))
    try:
        for role, key in private.items():
            storage.write_json(key_path(made, role), seal(role, key, passphrase, n), mode=0o600)
        storage.write_bytes(made / ROOT_FILE, metadata.to_bytes(), mode=0o600)
        made.replace(folder)  # takes the place of an empty folder too, never of a full one
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    storage.fsync_folder(folder.parent)
    return root


def unlock(folder: Path, passphrase: str, roles: tuple[str, ...] = ROLES[1:]) -> dict[str, CryptoSigner]:
    """Signers of `roles`; by default all but root, which publishing doesn't need.

    Raises:
        KeysError: a key is missing, damaged, or the passphrase is wrong.
    """
    _check_passphrase(passphrase)
    signers = {}
    for role in roles:
        value = _read(folder, role)
        signers[role] = CryptoSigner(unseal(value, passphrase, str(key_path(folder, role))))
    return signers


def show(folder: Path) -> list[KeyInfo]:
    """The keys in `folder`, as they read without a passphrase; those kept elsewhere are left out.

    Raises:
        KeysError: no key at all, or a damaged one.
    """
    present = [role for role in ROLES if key_path(folder, role).exists()]
    if not present:
        raise KeysError(f"{folder}: no keys", "`anchorhold keys init` makes them")
    found = []
    for role in present:
        value = _read(folder, role)
        found.append(KeyInfo(role, str(value.get("keyid")), str(value.get("public")), key_path(folder, role)))
    return found


def root_bytes(folder: Path) -> bytes:
    """The signed root of trust of the keys in `folder`, checked.

    Raises:
        KeysError: missing or damaged.
    """
    path = folder / ROOT_FILE
    try:
        with path.open("rb") as stream:
            data = stream.read(limits.ROOT_BYTES)
    except FileNotFoundError as error:
        raise KeysError(f"{path}: no root of trust", "`anchorhold keys init` makes it") from error
    try:
        client.check_root(data)
    except TrustError as error:
        raise KeysError(f"{path}: damaged: {error.message}", "restore it from a backup") from error
    return data


def passphrase_from(file: Path | None) -> str | None:
    """The passphrase in `file`, or in ANCHORHOLD_PASSPHRASE; None if neither is given (then ask).

    Raises:
        KeysError: it is there but empty, or the file can't be read.
    """
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise KeysError(
                f"{file}: can't be read ({error})", "give a file with one line of text"
            ) from error
    else:
        given = os.environ.get("ANCHORHOLD_PASSPHRASE")
        if given is None:
            return None
        text = given
    _check_passphrase(text)
    return text
