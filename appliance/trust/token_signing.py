"""Signing with keys in hardware tokens.

What comes out is an ordinary signature of an ordinary public key: whoever verifies it needs nothing of this.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from appliance.errors import KeysError
from appliance.trust import hardware_tokens, sealing
from appliance.trust.hardware_tokens import Place, Token
from appliance.trust.unlocking import Secrets


class TokenSigner(Signer):  # type: ignore[misc]  # securesystemslib is untyped to us
    """Signs with a key on a token; asks the token anew each time, and believes no signature that it hasn't verified.

    Args:
        place: where the key is.
        public_key: what it must be.
        kind: `p256` or `ed25519`.
        module: the PKCS#11 library.
        pin: of the token.
    """

    def __init__(self, place: Place, public_key: SSlibKey, kind: str, module: Path | None, pin: str) -> None:
        self.place = place
        self._public_key = public_key
        self._kind = kind
        self._module = module
        self._pin = pin

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> TokenSigner:
        """Not offered: key files say where a key is."""
        del public_key, secrets_handler
        raise ValueError(f"{priv_key_uri}: a key file says where a key is, not a URI")

    def check(self) -> None:
        """See that the key is there, and still the one that it was.

        Raises:
            PinError: the PIN is wrong.
            TokenError: the token isn't there.
            KeysError: another key is in its place, or none.
        """
        token = hardware_tokens.at(self._module, self.place)
        with hardware_tokens.session(token, self._pin) as session:
            self._private(session, token)

    def _private(self, session: Any, token: Token) -> Any:
        pkcs11 = hardware_tokens.library()
        key_id = bytes.fromhex(self.place.id)
        for handle in session.get_objects(
            {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.Attribute.ID: key_id}
        ):
            present = hardware_tokens.public_on(handle, hardware_tokens.kind_of(handle))
            if present is None or present.keyid != self.public_key.keyid:
                self._replaced(token)
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.Attribute.ID: key_id}
        found = [each for each in session.get_objects(wanted) if hardware_tokens.kind_of(each) == self._kind]
        if len(found) != 1:
            raise KeysError(
                f"{token} has {'several keys' if found else 'no key'} {self.place.id}, which the key file names",
                "`anchorhold keys rotate` puts another key in its place",
            )
        return found[0]

    def _replaced(self, token: Token) -> NoReturn:
        raise KeysError(
            f"{token}: its key {self.place.id} isn't {self.public_key.keyid[:8]} any more, but another",
            "don't sign with it; `anchorhold keys rotate` puts another key in place of a lost one",
        )

    def sign(self, payload: bytes) -> Signature:
        """Sign bytes: Ed25519, or ECDSA with SHA-256 in DER, as TUF and OMS have it.

        Raises:
            PinError, TokenError, KeysError: as `check`.
        """
        pkcs11 = hardware_tokens.library()
        token = hardware_tokens.at(self._module, self.place)
        with hardware_tokens.session(token, self._pin) as session:
            key = self._private(session, token)
            # A key may want the PIN for every signature (PIV's does).
            again = self._pin if key[pkcs11.Attribute.ALWAYS_AUTHENTICATE] else None
            if self._kind == sealing.P256:
                digest = hashlib.sha256(payload).digest()
                raw = key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA, pin=again)
                half = len(raw) // 2
                raw = encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
            else:
                raw = key.sign(payload, mechanism=pkcs11.Mechanism.EDDSA, pin=again)
        signature = Signature(self.public_key.keyid, raw.hex())
        try:
            self.public_key.verify_signature(signature, payload)
        except UnverifiedSignatureError:
            self._replaced(token)
        return signature


class TokenModelKey:
    """A token's P-256 key as `oms_bundle.sign` takes keys."""

    def __init__(self, signer: TokenSigner) -> None:
        self._signer = signer

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        found = load_pem_public_key(str(self._signer.public_key.keyval["public"]).encode())
        assert isinstance(found, ec.EllipticCurvePublicKey)
        return found

    def sign(self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign with ECDSA and SHA-256, in DER."""
        assert signature_algorithm.algorithm.name == "sha256"  # type: ignore[union-attr]
        return bytes.fromhex(self._signer.sign(data).signature)


def open_key(place: Place, public_key: SSlibKey, kind: str, opener: Secrets) -> TokenSigner:
    """A signer for a key, once the PIN is known to be right and the key to be the one that it was.

    Raises:
        TokenError: the token, or what it takes to reach it, isn't there.
        PinError: the PIN is wrong.
        KeysError: another key is in its place, or there is no PIN.
    """
    token = hardware_tokens.at(opener.module, place)
    signer = TokenSigner(
        place, public_key, kind, opener.module, opener.pin(token.label, token.serial, alone=token.alone)
    )
    signer.check()
    return signer
