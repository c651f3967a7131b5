"""Hardware tokens, through PKCS#11: which there are, the signing keys on them, and making one.

A private key never leaves its token. python-pkcs11 is needed only once a token is asked for.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from securesystemslib.signer import SSlibKey

from appliance.errors import PinError, TokenError
from appliance.trust import sealing
from appliance.trust.unlocking import MODULE

KINDS = (sealing.P256, sealing.ED25519)
_OID = {sealing.P256: bytes.fromhex("06082a8648ce3d030107"), sealing.ED25519: bytes.fromhex("06032b6570")}
_ED25519_NAME = b"\x13\x0cedwards25519"  # PKCS#11 3.0 allows the curve's name in place of its id
_POINT_BYTES = {sealing.P256: 65, sealing.ED25519: 32}


@dataclass(frozen=True)
class Place:
    """Where a key is: what a key file says.

    Attributes:
        label, serial: of the token.
        id: of the key on it (CKA_ID), in hex.
    """

    label: str
    serial: str
    id: str


@dataclass(frozen=True)
class Token:
    """A token that is there.

    Attributes:
        label, serial: by which people and key files name it.
        model: its model and maker.
        alone: no other token is there.
        handle: of the p11.
    """

    label: str
    serial: str
    model: str
    alone: bool
    handle: Any = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"the token {self.label} ({self.serial})"


@dataclass(frozen=True)
class TokenKey:
    """A key on a token.

    Attributes:
        id: in hex.
        label: its own.
        kind: `p256`, `ed25519`, or what else the token calls it.
        public: its public half; None for a kind that can't sign here.
        signs: whether its private half is there and may sign; None: not known without the PIN.
    """

    id: str
    label: str
    kind: str
    public: SSlibKey | None
    signs: bool | None = None


def library() -> Any:
    """python-pkcs11.

    Raises:
        TokenError: it isn't installed.
    """
    try:
        import pkcs11
    except ImportError as error:
        raise TokenError(
            "keys in tokens need python-pkcs11, which isn't installed",
            "install it: `pip install 'anchorhold[tokens]'`, or `install.sh --set workshop` of a bundle",
        ) from error
    return pkcs11


def _said(error: Exception) -> str:
    # Most of the library's errors have no text but their name.
    return f"{type(error).__name__} {error}".strip()


def tokens(module: Path | None) -> list[Token]:
    """The tokens that a PKCS#11 module offers, by label.

    Raises:
        TokenError: no module, or none that can be loaded.
    """
    if module is None:
        raise TokenError(
            "no PKCS#11 module is named",
            f"give the library of the token's maker with --module, or set {MODULE}",
        )
    p11 = library()
    if not module.is_file():
        raise TokenError(f"{module}: no such PKCS#11 module", "give the library of the token's maker (a .so)")
    try:
        handles = []
        for slot in p11.lib(str(module.resolve())).get_slots(token_present=True):
            with contextlib.suppress(p11.TokenNotPresent, p11.TokenNotRecognised):
                handles.append(slot.get_token())
    except p11.PKCS11Error as error:
        raise TokenError(
            f"{module}: can't be used as a PKCS#11 module: {_said(error)}",
            "is the token's software installed?",
        ) from error
    handles = [each for each in handles if each.flags & p11.TokenFlag.TOKEN_INITIALIZED]
    found = [
        Token(
            each.label,
            each.serial.decode("utf-8", "replace").strip(" \0"),
            f"{each.model}, {each.manufacturer_id}",
            len(handles) == 1,
            each,
        )
        for each in handles
    ]
    return sorted(found, key=lambda token: (token.label, token.serial))


def find(module: Path | None, name: str) -> Token:
    """The token whose label or serial number is `name`.

    Raises:
        TokenError: none, or several.
    """
    there = tokens(module)
    found = [token for token in there if name in {token.label, token.serial}]
    if len(found) > 1:
        serials = ", ".join(token.serial for token in found)
        raise TokenError(f"several tokens are called {name}: {serials}", "give the serial number instead")
    if not found:
        names = ", ".join(f"{token.label} ({token.serial})" for token in there)
        raise TokenError(f"no token is called {name}", f"there are: {names}" if names else "none is there")
    return found[0]


def at(module: Path | None, place: Place) -> Token:
    """The token of a key. The serial number counts: labels can be alike, and be changed.

    Raises:
        TokenError: it isn't there.
    """
    for token in tokens(module):
        if token.serial == place.serial and (place.serial or token.label == place.label):
            return token
    raise TokenError(
        f"the token {place.label} ({place.serial}) isn't there",
        "plug it in and run the command again; `anchorhold keys tokens` shows those that are",
    )


def _refuse(error: Exception, token: Token) -> NoReturn:
    p11 = library()
    if isinstance(error, p11.PinLocked):
        raise TokenError(
            f"{token}: its PIN is locked after too many wrong ones", "unlock it by its maker's tools"
        ) from error
    if isinstance(error, (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange)):
        raise PinError(
            f"{token}: wrong PIN", "a few wrong ones lock the token: be sure of the next"
        ) from error
    if isinstance(error, (p11.DeviceRemoved, p11.TokenNotPresent, p11.SessionHandleInvalid)):
        raise TokenError(f"{token} was unplugged", "plug it in and run the command again") from error
    raise TokenError(f"{token}: {_said(error)}", "see what its maker's tools say of it") from error


@contextlib.contextmanager
def session(token: Token, pin: str | None, *, write: bool = False) -> Iterator[Any]:
    """A session on a token, with the PIN or without; the library's errors in it become ours.

    Raises:
        PinError: the PIN is wrong.
        TokenError: it is locked, the token was unplugged, or can't do what is asked.
    """
    p11 = library()
    try:
        if pin is not None and token.handle.flags & p11.TokenFlag.USER_PIN_LOCKED:
            raise p11.PinLocked
        with token.handle.open(user_pin=pin, rw=write) as opened:
            yield opened
    except p11.PKCS11Error as error:
        _refuse(error, token)


def kind_of(handle: Any) -> str:
    """The type of a key on a token: one of ours, or what PKCS#11 calls it."""
    p11 = library()
    name = str(getattr(handle.key_type, "name", handle.key_type))
    if handle.key_type not in {p11.KeyType.EC, p11.KeyType.EC_EDWARDS}:
        return name
    params = bytes(handle[p11.Attribute.EC_PARAMS])
    if handle.key_type == p11.KeyType.EC_EDWARDS:
        return sealing.ED25519 if params in {_OID[sealing.ED25519], _ED25519_NAME} else name
    return sealing.P256 if params == _OID[sealing.P256] else name


def public_on(handle: Any, kind: str) -> SSlibKey | None:
    """A public key on a token as TUF metadata holds it; None for a type that can't sign here."""
    if kind not in KINDS:
        return None
    point = bytes(handle[library().Attribute.EC_POINT])
    if len(point) == _POINT_BYTES[kind] + 2:
        point = point[2:]  # in an OCTET STRING, as PKCS#11 says; some tokens give the bare point
    try:
        return sealing.public_of(kind, point)
    except ValueError as error:
        raise TokenError("a public key on the token can't be read", "see what its tools say of it") from error


def _keys(opened: Any, *, private: bool) -> list[TokenKey]:
    p11 = library()
    where = {p11.Attribute.CLASS: p11.ObjectClass.PRIVATE_KEY}
    signing = {}
    if private:
        for handle in opened.get_objects(where):
            signing[bytes(handle.id), kind_of(handle)] = bool(handle[p11.Attribute.SIGN])
    found = []
    for handle in opened.get_objects({p11.Attribute.CLASS: p11.ObjectClass.PUBLIC_KEY}):
        kind = kind_of(handle)
        signs = signing.get((bytes(handle.id), kind), False) if private else None
        found.append(TokenKey(handle.id.hex(), handle.label or "", kind, public_on(handle, kind), signs))
    return sorted(found, key=lambda key: (key.id, key.kind))


def keys(token: Token, pin: str | None = None) -> list[TokenKey]:
    """The keys on a token, by id. Some tokens show theirs only to whoever has the PIN.

    Raises:
        PinError: it is wrong.
        TokenError: the token can't be read.
    """
    with session(token, pin) as opened:
        return _keys(opened, private=pin is not None)


def take(token: Token, pin: str, key_id: str) -> TokenKey:
    """The key of id `key_id` (hex), which is on the token already and can sign.

    Raises:
        PinError: the PIN is wrong.
        TokenError: there is no such key, or it can't sign releases.
    """
    present = keys(token, pin)
    found = [key for key in present if key.id == key_id.lower()]
    able = [key for key in found if key.public is not None]
    if not found:
        ids = ", ".join(key.id for key in present)
        raise TokenError(f"{token} has no key {key_id}", f"it has {ids}" if ids else "it has none")
    if not able:
        raise TokenError(
            f"{token}: the key {key_id} is of {found[0].kind}", f"a key of {' or '.join(KINDS)} can sign"
        )
    if len(able) > 1:
        raise TokenError(
            f"{token} has several keys {key_id}", "give one of them another id by its maker's tools"
        )
    if not able[0].signs:
        raise TokenError(
            f"{token}: the key {key_id} can't sign", "its private half is missing, or is for another use"
        )
    return able[0]


def make(token: Token, pin: str, kind: str, label: str) -> TokenKey:
    """Make a key on the token, which can't be got out of it again.

    Args:
        token: that it is made on.
        pin: of the token.
        kind: `p256`, or `ed25519` where the token can.
        label: told by the token's tools.

    Raises:
        PinError: the PIN is wrong.
        TokenError: the token can't make one.
    """
    p11 = library()
    # Not zero at the beginning, so that the id is a number to those who read it as one (securesystemslib).
    key_id = bytes([1 + secrets.randbelow(255)]) + secrets.token_bytes(3)
    key_type = p11.KeyType.EC if kind == sealing.P256 else p11.KeyType.EC_EDWARDS
    private = {p11.Attribute.SENSITIVE: True, p11.Attribute.EXTRACTABLE: False}
    with session(token, pin, write=True) as opened:
        parameters = opened.create_domain_parameters(
            key_type, {p11.Attribute.EC_PARAMS: _OID[kind]}, local=True
        )
        try:
            parameters.generate_keypair(
                id=key_id,
                label=label,
                store=True,
                capabilities=p11.MechanismFlag.SIGN | p11.MechanismFlag.VERIFY,
                private_template=private,
            )
        except (p11.MechanismInvalid, p11.CurveNotSupported) as error:
            raise TokenError(f"{token} can't make keys of {kind}", "give --type p256") from error
    return take(token, pin, key_id.hex())
