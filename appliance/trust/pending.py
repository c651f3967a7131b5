"""What waits for signatures in a keys folder, and how a root changes (docs/formats/keys.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root

from appliance import storage
from appliance.errors import KeysError, PassphraseError
from appliance.regular_file import open_regular
from appliance.trust import ceremony, clock, hardware_tokens, key_files, keys, roots, sealing
from appliance.trust.unlocking import Secrets


@dataclass(frozen=True)
class Change:
    """What a change of the root came to: its version, and what is still missing (nothing: it is valid now)."""

    request: ceremony.Request
    valid: bool


def path_of(folder: Path, role: str) -> Path:
    """Where the request of a role waits."""
    return folder / keys.PENDING / f"{role}.json"


def read_file(path: Path) -> ceremony.Request:
    """A file of something to sign.

    Raises:
        KeysError: it can't be read.
        TrustError: it is none.
    """
    try:
        with open_regular(path) as stream:
            return ceremony.parse(stream.read(ceremony.MAX_BYTES + 1))
    except OSError as error:
        raise KeysError(f"{path}: can't be read ({error.strerror})", "give the file to sign") from error


def waiting(folder: Path) -> list[ceremony.Request]:
    """All requests of a keys folder, by role."""
    place = folder / keys.PENDING
    return [read_file(path) for path in sorted(place.glob("*.json"))] if place.is_dir() else []


def find(folder: Path, role: str) -> ceremony.Request | None:
    """The request of a role, if one waits."""
    path = path_of(folder, role)
    return read_file(path) if path.exists() else None


def choose(folder: Path, role: str | None) -> ceremony.Request:
    """The one that waits, or that of `role`.

    Raises:
        KeysError: none, or several and no role was given.
    """
    found = [request for request in waiting(folder) if role in {None, request.role}]
    if not found:
        raise KeysError(
            f"{folder}: nothing waits for signatures",
            "`anchorhold keys rotate` or `anchorhold stick write` begins",
        )
    if len(found) > 1:
        names = ", ".join(request.role for request in found)
        raise KeysError(f"{folder}: {names} wait for signatures", "say which with --role")
    return found[0]


def save(folder: Path, request: ceremony.Request) -> None:
    """Keep a request until it is complete."""
    storage.write_bytes(path_of(folder, request.role), ceremony.to_bytes(request), mode=0o600)


def drop(folder: Path, role: str) -> None:
    """Forget the request of a role."""
    path_of(folder, role).unlink(missing_ok=True)


def sign_with_folder(
    request: ceremony.Request, folder: Path, secrets: Secrets
) -> tuple[ceremony.Request, list[str]]:
    """`request` with the signatures of all keys in `folder` that count and that can be opened.

    Returns:
        the request, and who signed.

    Raises:
        KeysError: no key there counts.
        PassphraseError, TokenError, PinError: some do, and can't be opened (`key_files.open_all`).
    """
    allowed = request.allowed()
    infos = [info for info in key_files.find(folder) if info.keyid in allowed]
    if not infos:
        wanted = ", ".join(sorted(roots.label(key) for key in allowed.values()))
        raise KeysError(f"{folder}: none of the keys that may sign {request.name}", f"they are {wanted}")
    told = []
    for info, key in key_files.open_all(infos, secrets):
        request = ceremony.with_signature(request, key_files.signer(key))
        told.append(info.words)
    return request, told


def import_signatures(folder: Path, files: Sequence[Path]) -> Change:
    """Take the signatures in `files` for what waits; a root that is complete becomes valid.

    Raises:
        TrustError: a file is of something else, or a signature doesn't hold.
        KeysError: nothing waits.
    """
    brought = [read_file(path) for path in files]
    request = choose(folder, brought[0].role)
    request = ceremony.merge(request, brought)
    save(folder, request)
    return finish(folder, request)


def finish(folder: Path, request: ceremony.Request) -> Change:
    """Make a complete root valid; anything else goes on waiting (targets are complete at the next `stick write`)."""
    if request.role != Root.type or not request.complete:
        return Change(request, valid=False)
    keys.adopt_root(folder, request.metadata.to_bytes())
    drop(folder, request.role)
    return Change(request, valid=True)


def check_none_waits(folder: Path) -> None:
    """See that no root waits for signatures, since the next one would have its version.

    Raises:
        KeysError: one does.
    """
    if find(folder, Root.type) is not None:
        raise KeysError(
            f"{folder}: another root waits for signatures", "finish it first, or `anchorhold keys drop` it"
        )


def change_root(
    folder: Path,
    secrets: Secrets,
    *,
    add: Iterable[tuple[str, Key]] = (),
    remove: Iterable[str] = (),
    thresholds: Mapping[str, int] | None = None,
) -> Change:
    """Make the next root version and sign it with what is at hand: both the old and the new root's keys must.

    Args:
        folder: of the publisher's keys.
        secrets: open the root keys here.
        add: (role, key).
        remove: full key ids.
        thresholds: those that change.

    Raises:
        KeysError: it can't be, or another root waits already.
        PassphraseError, TokenError, PinError: none of the root keys here can be opened.
    """
    check_none_waits(folder)
    before = roots.parse(keys.root_bytes(folder))
    now = clock.latest(clock.machine_time(), ())
    root = roots.following(before.signed, now, add=add, remove=remove, thresholds=thresholds)
    request = ceremony.Request(Root.type, Metadata(root), before)
    held = {info.keyid for info in key_files.find(folder)}
    if held & set(request.allowed()):
        request, _ = sign_with_folder(request, folder, secrets)
    save(folder, request)
    return finish(folder, request)


def new_key(
    folder: Path, secrets: Secrets, role: str, *, name: str = "", kind: str = "", n: int = sealing.SCRYPT_N
) -> tuple[key_files.KeyInfo, Key]:
    """Make a key for `role` in `folder`, which nothing trusts yet.

    Args:
        folder: any folder; made if missing.
        secrets: the passphrase seals it. Where the folder has sealed keys already it must be that of one of them, lest
            a slip of the finger seals a key that nobody can open.
        role: of TUF, or `model-signing`.
        name: who holds it.
        kind: by default P-256 for `model-signing`, else Ed25519.
        n: scrypt's cost.

    Raises:
        PassphraseError: it opens no other key there.
    """
    present = [info for info in key_files.find(folder) if info.token is None]
    passphrase = secrets.passphrase(new=not present)
    if present:
        _check_one_opens(present, secrets)
    private = sealing.generate(kind or (sealing.P256 if role == roots.MODEL_SIGNING else sealing.ED25519))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    info = key_files.write(folder, role, private, passphrase, name=key_files.check_name(name), n=n)
    return info, sealing.public_key(private, info.name)


def new_token_key(
    folder: Path,
    secrets: Secrets,
    role: str,
    token: hardware_tokens.Token,
    *,
    key_id: str = "",
    name: str = "",
    kind: str = "",
) -> key_files.KeyInfo:
    """Make a key for `role` on a hardware token, or take one that is there, and write its file into `folder`.

    Args:
        folder: any folder; made if missing.
        secrets: the token's PIN.
        role: of TUF, `model-signing`, or a site's.
        token: at hand.
        key_id: of the key that is there, in hex; by default one is made.
        name: who holds it.
        kind: by default P-256, which every token can.

    Raises:
        PinError, TokenError: as `hardware_tokens.make` and `take`.
        KeysError: the key can't have this role, or has one already.
    """
    name = key_files.check_name(name)
    if not key_id:
        _check_kind(role, kind or sealing.P256)  # before a key is made for nothing
    present = {info.keyid: info for info in key_files.find(folder)}
    pin = secrets.pin(token.label, token.serial, alone=token.alone)
    if key_id:
        found = hardware_tokens.take(token, pin, key_id)
    else:
        found = hardware_tokens.make(token, pin, kind or sealing.P256, f"anchorhold {role}")
    assert found.public is not None
    _check_kind(role, found.kind)
    if found.public.keyid in present:
        raise KeysError(
            f"{present[found.public.keyid].path}: the same key", "one key has one role; make another"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = hardware_tokens.Place(token.label, token.serial, found.id)
    return key_files.write_token(folder, role, place, found.kind, found.public, name)


def _check_kind(role: str, kind: str) -> None:
    if role == roots.MODEL_SIGNING and kind != sealing.P256:
        raise KeysError(f"{role} needs a key of P-256, not {kind}", "leave --type out, or give another --key")


def _check_one_opens(infos: Sequence[key_files.KeyInfo], secrets: Secrets) -> None:
    for info in infos:
        try:
            key_files.open_all([info], secrets)
        except PassphraseError:
            continue
        return
    raise PassphraseError(
        f"{infos[0].path.parent}: the passphrase opens none of the keys there",
        "give theirs: a passphrase mistyped for a new key would lose it",
    )
