"""The OMS bundle of a release: `model.sig` beside release.json, for others' tools and for our own second look.

It covers release.json and every file that it lists, so it can't be listed there itself: the digest of a release doesn't
hang on who signs it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import Key

from appliance import storage
from appliance.errors import TrustError, UsageError
from appliance.registry import manifest as manifests
from appliance.regular_file import open_regular
from appliance.trust import oms_bundle

FILE_NAME = oms_bundle.FILE_NAME
ROLE = "signature"  # of its target on a stick
_HINT = "ask for the release to be signed again"


def covered(manifest: manifests.Manifest, digest: str) -> dict[str, str]:
    """SHA-256 of every file that the bundle of a release must list, by name; `digest` is of release.json."""
    return {manifests.FILE_NAME: digest, **{file.name: file.sha256 for file in manifest.files}}


def make(manifest: manifests.Manifest, digest: str, key: oms_bundle.SigningKey) -> bytes:
    """The bundle of a release. Equal releases and an equal key give equal bytes, unless the key is in a token."""
    return oms_bundle.sign(f"{manifest.name}-{manifest.version}", covered(manifest, digest), key)


def write(folder: Path, manifest: manifests.Manifest, digest: str, key: oms_bundle.SigningKey) -> None:
    """Write the bundle of the release in `folder`; one of it by this key is left as it is.

    A token signs otherwise each time, and people may have signed already that the release goes out with the one there.
    """
    path = folder / FILE_NAME
    if path.is_file():
        with contextlib.suppress(TrustError):
            if oms_bundle.verify(read(folder), key.public_key()).files == covered(manifest, digest):
                return
    storage.write_bytes(path, make(manifest, digest, key))


def _verify(data: bytes, keys: Mapping[str, Key]) -> oms_bundle.Bundle:
    if not keys:
        raise TrustError(
            "the root of trust names no key that signs models",
            "`anchorhold keys rotate model-signing` makes one",
        )
    hint = oms_bundle.parse(data).hint
    fault: TrustError | None = None
    for key in keys.values():
        try:
            public = load_pem_public_key(str(key.keyval["public"]).encode())
        except (ValueError, KeyError) as error:
            raise TrustError("a key that signs models is damaged in the root of trust", _HINT) from error
        if not isinstance(public, ec.EllipticCurvePublicKey):
            continue
        try:
            return oms_bundle.verify(data, public)
        except TrustError as error:
            # Of several keys the one that it names has the reason to tell.
            fault = error if fault is None or hint == oms_bundle.key_hint(public) else fault
    raise fault or TrustError("the root of trust names no key of an elliptic curve that signs models", _HINT)


def check(
    data: bytes, manifest: manifests.Manifest, digest: str, keys: Mapping[str, Key]
) -> oms_bundle.Bundle:
    """Decide whether a bundle is of this release and signed by a key that the root of trust names for it.

    Args:
        data: of model.sig.
        manifest, digest: the checked release.json, and its SHA-256.
        keys: `roots.model_signing_keys` of the root of trust.

    Raises:
        TrustError: it isn't; the reason says which.
    """
    bundle = _verify(data, keys)
    wanted = covered(manifest, digest)
    for name, expected in wanted.items():
        if name not in bundle.files:
            raise TrustError(f"{name}: the model's signature doesn't cover it", _HINT)
        if bundle.files[name] != expected:
            raise TrustError(f"{name}: the model's signature is of another file", _HINT)
    strangers = sorted(set(bundle.files) - set(wanted))
    if strangers:
        raise TrustError(f"{strangers[0]}: signed, but no file of the release", _HINT)
    return bundle


def read(folder: Path) -> bytes:
    """The bundle in a release's folder.

    Raises:
        TrustError: there is none.
    """
    try:
        with open_regular(folder / FILE_NAME) as stream:
            return stream.read(oms_bundle.MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise TrustError(
            f"{folder / FILE_NAME}: the release isn't signed as a model",
            "`anchorhold stick write` signs it, or `anchorhold release` with the passphrase at hand",
        ) from error
    except OSError as error:
        raise TrustError(f"{folder / FILE_NAME}: {error.strerror}", "get the release again") from error


def _release(folder: Path) -> tuple[manifests.Manifest, str]:
    try:
        with open_regular(folder / manifests.FILE_NAME) as stream:
            data = stream.read(manifests.MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no release there", "`anchorhold release` makes it") from error
    return manifests.parse(data), storage.sha256_bytes(data)


def sign_folder(folder: Path, key: oms_bundle.SigningKey) -> None:
    """Write the bundle of the release in `folder`, after every file was compared with release.json.

    Raises:
        TrustError: a file isn't what release.json says.
    """
    manifest, digest = _release(folder)
    found, wanted = oms_bundle.digests(folder), covered(manifest, digest)
    if found != wanted:
        wrong = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        raise TrustError(f"{folder / wrong[0]}: not what release.json says", "run `anchorhold release` again")
    write(folder, manifest, digest, key)


def verify_folder(folder: Path, keys: Mapping[str, Key]) -> tuple[manifests.Manifest, oms_bundle.Bundle]:
    """Check the bundle in a release's folder, and every byte of the folder against it.

    Raises:
        TrustError: not signed, by another key, of another release, or a file that was changed, added or removed.
        UsageError: no release there.
    """
    manifest, digest = _release(folder)
    bundle = check(read(folder), manifest, digest, keys)
    oms_bundle.check_folder(bundle, folder)
    return manifest, bundle
