"""One private key as the content of a file: sealed by a passphrase with scrypt and AES-256-GCM (docs/formats/keys.md).

Not PKCS#8 as `cryptography` encrypts it: its "best available" is PBKDF2 with 2,048 rounds, which a graphics card
tries a million times a second.
"""

from __future__ import annotations

import secrets
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import Key, SSlibKey

from appliance import storage
from appliance.errors import KeysError, PassphraseError

FORMAT = "anchorhold-key/1"
ED25519, P256, ML_DSA = "ed25519", "p256", "ml-dsa-65"
TYPES = (ED25519, P256, ML_DSA)
NAME_FIELD = "x-anchorhold-name"  # of whoever holds the key, in the public key
SCRYPT_N = 1 << 17
_SCRYPT_N_RANGE = range(1 << 14, (1 << 20) + 1)  # a key file must not be able to ask for all memory
_SCRYPT_R = 8
_SCRYPT_P = 1
_SECRET_BYTES = 32  # of each type: a seed, or the scalar of P-256

PrivateKey: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | mldsa.MLDSA65PrivateKey


def generate(kind: str = ED25519) -> PrivateKey:
    """A new private key of a type."""
    if kind == P256:
        return ec.generate_private_key(ec.SECP256R1())
    return mldsa.MLDSA65PrivateKey.generate() if kind == ML_DSA else Ed25519PrivateKey.generate()


def _secret(private: PrivateKey) -> tuple[str, bytes, bytes]:
    """Type, the 32 bytes that make the key, and its public bytes."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return P256, private.private_numbers().private_value.to_bytes(_SECRET_BYTES), point
    kind = ED25519 if isinstance(private, Ed25519PrivateKey) else ML_DSA
    return kind, private.private_bytes_raw(), private.public_key().public_bytes_raw()


def _restored(kind: str, secret: bytes) -> PrivateKey:
    if kind == P256:
        return ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1())
    if kind == ML_DSA:
        return mldsa.MLDSA65PrivateKey.from_seed_bytes(secret)
    return Ed25519PrivateKey.from_private_bytes(secret)


def public_key(private: PrivateKey, name: str = "") -> SSlibKey:
    """The public half as TUF metadata holds it; `name` says whose it is."""
    key = SSlibKey.from_crypto(private.public_key())
    if name:
        key.unrecognized_fields[NAME_FIELD] = name
    return key


def public_of(kind: str, public: bytes) -> SSlibKey:
    """A public key as TUF metadata holds it, from its bytes as key files hold them.

    Raises:
        ValueError: they are none of that type.
    """
    if kind == P256:
        return SSlibKey.from_crypto(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public))
    if kind == ML_DSA:
        return SSlibKey.from_crypto(mldsa.MLDSA65PublicKey.from_public_bytes(public))
    if kind != ED25519:
        raise ValueError(f"unknown type {kind!r}")
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(public))


def public_bytes(key: SSlibKey) -> bytes:
    """The inverse of `public_of`, for Ed25519 and P-256."""
    text = str(key.keyval["public"])
    if key.keytype == ED25519:
        return bytes.fromhex(text)
    return load_pem_public_key(text.encode()).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def canonical(key: Key) -> SSlibKey:
    """A public key of TUF's as we would write it, with the id that is its own: ids in metadata are only names.

    Raises:
        ValueError: no key of a known type.
    """
    text = str(key.keyval["public"])
    if key.keytype == ED25519:
        loaded: Any = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    else:
        loaded = load_pem_public_key(text.encode())
    return SSlibKey.from_crypto(loaded)


def _wrapping_key(passphrase: str, salt: bytes, n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase.encode("utf-8"))


def seal(
    role: str, private: PrivateKey, passphrase: str, n: int = SCRYPT_N, name: str = ""
) -> dict[str, Any]:
    """A private key as the content of its file.

    The header (all but `sealed`) is authenticated with the key, so that no field can be exchanged.
    """
    kind, secret, public = _secret(private)
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    header = {
        "format": FORMAT,
        "role": role,
        "type": kind,
        "keyid": public_key(private).keyid,
        "public": public.hex(),
        "kdf": {"name": "scrypt", "n": n, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": salt.hex()},
        "cipher": {"name": "aes-256-gcm", "nonce": nonce.hex()},
    }
    if name:
        header["name"] = name
    sealed = AESGCM(_wrapping_key(passphrase, salt, n)).encrypt(nonce, secret, storage.canonical_json(header))
    return {**header, "sealed": sealed.hex()}


def unseal(value: dict[str, Any], passphrase: str, where: str) -> PrivateKey:
    """The inverse of `seal`.

    Args:
        value: the content of a key file.
        passphrase: of the key.
        where: its path, for errors.

    Raises:
        PassphraseError: the passphrase is wrong, or the file was changed: which of the two can't be told.
        KeysError: damaged in a way that no passphrase makes.
    """
    try:
        header = {name: part for name, part in value.items() if name != "sealed"}
        kind, kdf = header.get("type", ED25519), header["kdf"]
        n = kdf["n"]
        if kind not in TYPES:
            raise ValueError(f"unknown type {kind!r}")
        if (
            kdf["name"] != "scrypt"
            or (kdf["r"], kdf["p"]) != (_SCRYPT_R, _SCRYPT_P)
            or n not in _SCRYPT_N_RANGE
        ):
            raise ValueError("unknown way to derive the key")
        key = AESGCM(_wrapping_key(passphrase, bytes.fromhex(kdf["salt"]), n))
        secret = key.decrypt(
            bytes.fromhex(header["cipher"]["nonce"]),
            bytes.fromhex(value["sealed"]),
            storage.canonical_json(header),
        )
        return _restored(kind, secret)
    except InvalidTag as error:
        raise PassphraseError(
            f"{where}: wrong passphrase, or the file was changed",
            "try again; there is no way round a lost passphrase",
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise KeysError(f"{where}: damaged ({error})", "restore the key from its backup") from error
