"""Key files in a folder: which there are, whose, and opening them; and public keys on their way to a root."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from appliance import storage
from appliance.errors import KeysError, PassphraseError, TokenError
from appliance.regular_file import open_regular
from appliance.trust import limits, roots, sealing, token_signing
from appliance.trust.hardware_tokens import Place
from appliance.trust.token_signing import TokenSigner
from appliance.trust.unlocking import Secrets

TOKEN_FORMAT = "anchorhold-token-key/1"  # noqa: S105 -- no password
PUBLIC_FORMAT = "anchorhold-public-key/1"
KNOWN_ROLES = (*roots.ROLES, roots.MODEL_SIGNING)
_SUFFIX, _PUBLIC_SUFFIX = ".key.json", ".public.json"
_NAME_CHARACTERS = 64


@dataclass(frozen=True)
class KeyInfo:
    """What a key file says without its passphrase or PIN.

    Attributes:
        role: of TUF, `model-signing`, or `site-NAME` (delegation.py).
        keyid: by which metadata names the key.
        public: its public bytes in hex.
        path: of the file.
        type: `ed25519`, `p256` or `ml-dsa-65`.
        name: who holds it; may be empty.
        token: where it is, if it is on a hardware token; else it lies sealed in the file.
    """

    role: str
    keyid: str
    public: str
    path: Path
    type: str = sealing.ED25519
    name: str = ""
    token: Place | None = None

    @property
    def public_key(self) -> SSlibKey:
        """Its public half as TUF metadata holds it."""
        key = sealing.public_of(self.type, bytes.fromhex(self.public))
        if self.name:
            key.unrecognized_fields[sealing.NAME_FIELD] = self.name
        return key

    @property
    def words(self) -> str:
        """As people know it."""
        return f"{self.keyid[:8]} ({self.name})" if self.name else self.keyid[:8]


def check_name(name: str) -> str:
    """A holder's name, blanks put right.

    Raises:
        KeysError: too long, or not printable.
    """
    name = " ".join(name.split())
    if len(name) > _NAME_CHARACTERS or not name.isprintable():
        raise KeysError(f"{name[:80]!r}: no name for a key", f"at most {_NAME_CHARACTERS} plain characters")
    return name


def _load(path: Path) -> Any:
    try:
        with open_regular(path) as stream:
            return json.loads(stream.read(limits.KEY_FILE_BYTES))
    except (ValueError, RecursionError) as error:
        raise KeysError(f"{path}: not JSON ({error})", "restore the key from its backup") from error
    except OSError as error:
        raise KeysError(f"{path}: can't be read ({error.strerror})", "give a key file") from error


def read(path: Path) -> tuple[KeyInfo, dict[str, Any]]:
    """What a key file says, and its whole content.

    Raises:
        KeysError: it is none.
    """
    value = _load(path)
    try:
        if value["format"] not in {sealing.FORMAT, TOKEN_FORMAT}:
            raise ValueError("another format")
        texts = [value["role"], value["keyid"], value["public"]]
        texts += [value.get("type", sealing.ED25519), value.get("name", "")]
        on_token = value["format"] == TOKEN_FORMAT
        where = [value["token"][part] for part in ("label", "serial", "id")] if on_token else []
        if not all(isinstance(text, str) for text in texts + where):
            raise ValueError("a field is no text")
        role, keyid, public, kind, name = texts
        info = KeyInfo(role, keyid, public, path, kind, name, Place(*where) if where else None)
        if where and (not bytes.fromhex(where[2]) or info.public_key.keyid != keyid):
            raise ValueError("its id isn't the key's own")  # a sealed key's fields are sealed with it
    except (ValueError, KeyError, TypeError) as error:
        raise KeysError(f"{path}: not a key file ({error})", "restore the key from its backup") from error
    return info, value


def find(folder: Path) -> list[KeyInfo]:
    """All key files in `folder`, by role and id.

    Raises:
        KeysError: one is damaged, or two hold one key.
    """
    found = [read(path)[0] for path in sorted(folder.glob(f"*{_SUFFIX}"))] if folder.is_dir() else []
    by_id: dict[str, KeyInfo] = {}
    for info in found:
        if info.keyid in by_id:
            raise KeysError(
                f"{info.path}: the same key as {by_id[info.keyid].path.name}",
                "one key has one role; remove a copy",
            )
        by_id[info.keyid] = info
    order = {role: index for index, role in enumerate(KNOWN_ROLES)}
    return sorted(found, key=lambda info: (order.get(info.role, len(order)), info.role, info.keyid))


def write(
    folder: Path,
    role: str,
    private: sealing.PrivateKey,
    passphrase: str,
    *,
    name: str = "",
    n: int = sealing.SCRYPT_N,
) -> KeyInfo:
    """Seal a new key into a file of its own, mode 0600."""
    value = sealing.seal(role, private, passphrase, n, name)
    path = folder / f"{role}-{value['keyid'][:8]}{_SUFFIX}"
    storage.write_json(path, value, mode=0o600)
    return read(path)[0]


def write_token(
    folder: Path, role: str, place: Place, kind: str, public: SSlibKey, name: str = ""
) -> KeyInfo:
    """Write the file of a key on a hardware token: where it is, and nothing secret. Written again it stays the same.

    Args:
        folder: of keys.
        role: that the key signs for.
        place: the token, and the key on it.
        kind: of the key.
        public: its public half.
        name: who holds it.
    """
    value = {
        "format": TOKEN_FORMAT,
        "role": role,
        "type": kind,
        "keyid": public.keyid,
        "public": sealing.public_bytes(public).hex(),
        "token": asdict(place),
        **({"name": name} if name else {}),
    }
    path = folder / f"{role}-{public.keyid[:8]}{_SUFFIX}"
    storage.write_json(path, value, mode=0o600)
    return read(path)[0]


def adopt(folder: Path, info: KeyInfo) -> None:
    """Have the file of a key on a token in `folder` too."""
    assert info.token is not None
    if info.keyid not in {there.keyid for there in find(folder)}:
        write_token(folder, info.role, info.token, info.type, info.public_key, info.name)


def open_all(
    infos: Iterable[KeyInfo], secrets: Secrets
) -> list[tuple[KeyInfo, sealing.PrivateKey | TokenSigner]]:
    """The keys that `secrets` open. Those of other people, under other passphrases or on tokens that aren't here, are
    left out.

    Raises:
        PassphraseError: there are keys, and it opens none.
        TokenError: there are keys, and the tokens that hold them aren't here.
        PinError: a token's PIN is wrong. It isn't passed over: the next wrong one may lock the token.
        KeysError: one is damaged, or another key is in its place on the token.
    """
    opened: list[tuple[KeyInfo, sealing.PrivateKey | TokenSigner]] = []
    wrong: KeysError | None = None
    for info in infos:
        try:
            if info.token is None:
                value = read(info.path)[1]
                opened.append((info, sealing.unseal(value, secrets.passphrase(), str(info.path))))
            else:
                found = token_signing.open_key(info.token, info.public_key, info.type, secrets)
                opened.append((info, found))
        except (PassphraseError, TokenError) as error:
            wrong = wrong or error
    if wrong is not None and not opened:
        raise wrong
    return opened


def signer(key: sealing.PrivateKey | TokenSigner) -> Signer:
    """What signs metadata with an opened key."""
    return key if isinstance(key, TokenSigner) else CryptoSigner(key)


def write_public(info: KeyInfo, key: Key) -> Path:
    """Write a key's public half beside it, for whoever makes the root."""
    path = info.path.with_name(info.path.name.removesuffix(_SUFFIX) + _PUBLIC_SUFFIX)
    storage.write_json(
        path, {"format": PUBLIC_FORMAT, "role": info.role, "keyid": key.keyid, "key": key.to_dict()}
    )
    return path


def holder(key: Key) -> str:
    """Who holds a key, as its public half says; "" if it doesn't."""
    name = key.unrecognized_fields.get(sealing.NAME_FIELD, "")
    return name if isinstance(name, str) else ""


def read_brought(path: Path) -> tuple[str, Key, KeyInfo | None]:
    """Role and key of a public key's file, or of the key file of a token, which holds nothing secret.

    Returns:
        with what the key file says, if it is one.

    Raises:
        KeysError: it is neither.
    """
    value = _load(path)
    if isinstance(value, dict) and value.get("format") == TOKEN_FORMAT:
        info = read(path)[0]
        return info.role, info.public_key, info
    return *read_public(path), None


def read_public(path: Path) -> tuple[str, Key]:
    """Role and key of a public key's file.

    Raises:
        KeysError: it is none, or its id isn't the key's own: then one key could count as two.
    """
    value = _load(path)
    try:
        if value["format"] != PUBLIC_FORMAT or not isinstance(value["role"], str):
            raise ValueError("another format or role")
        key = SSlibKey.from_dict(value["keyid"], dict(value["key"]))
        own = sealing.canonical(key)
        if (own.keyid, own.keytype, own.keyval) != (key.keyid, key.keytype, key.keyval):
            raise ValueError("its id isn't the key's own")
        check_name(str(key.unrecognized_fields.get(sealing.NAME_FIELD, "")))
    except (ValueError, KeyError, TypeError) as error:
        raise KeysError(
            f"{path}: not a public key's file ({error})", "`anchorhold keys new` writes them"
        ) from error
    return str(value["role"]), key
