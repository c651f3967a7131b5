"""A publisher's keys folder: made, opened, and its root of trust with all versions (docs/formats/keys.md)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Root

from appliance import storage
from appliance.errors import KeysError, TrustError
from appliance.regular_file import open_regular
from appliance.trust import ceremony, clock, key_files, limits, oms_bundle, roots, sealing
from appliance.trust.key_files import KeyInfo
from appliance.trust.roots import MODEL_SIGNING, ROLES
from appliance.trust.token_signing import TokenModelKey, TokenSigner
from appliance.trust.unlocking import Secrets

ROOT_FILE = "root.json"
HISTORY = "roots"
PENDING = "pending"


class Quorum(NamedTuple):
    """How many of how many keys must sign for a role."""

    threshold: int
    keys: int


SINGLE: Mapping[str, Quorum] = {"root": Quorum(1, 1), "targets": Quorum(1, 1)}
OFFERED: Mapping[str, Quorum] = {"root": Quorum(2, 3), "targets": Quorum(2, 3)}


def _check_free(folder: Path) -> None:
    """Refuse a folder that holds anything but what a killed `create` may have left in it."""
    held = sorted(folder.glob("*.key.json")) + [
        path for path in (folder / ROOT_FILE, folder / PENDING) if path.exists()
    ]
    if held and (folder / PENDING / ROOT_FILE).exists() and not (folder / ROOT_FILE).exists():
        raise KeysError(
            f"{folder}: keys whose first root waits for signatures", "`anchorhold keys show` says whose"
        )
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


def create(
    folder: Path,
    secrets: Secrets,
    *,
    n: int = sealing.SCRYPT_N,
    quorums: Mapping[str, Quorum] = SINGLE,
    others: Sequence[tuple[str, Key]] = (),
    tokens: Sequence[KeyInfo] = (),
    name: str = "",
    co_sign: bool = False,
) -> Root:
    """Make a publisher's keys and the root of trust that names them: all, or none if it is stopped.

    Where people elsewhere hold too many of the root keys, the root waits in `pending/` for their signatures.

    Args:
        folder: must be missing or empty. Made with mode 0700; files 0600.
        secrets: the passphrase seals all keys that are made; PINs open `tokens`.
        n: scrypt's cost.
        quorums: of root and targets; every other role has one key, and one for OMS bundles is made.
        others: (role, key) of people who made theirs elsewhere; they count among the quorum's keys.
        tokens: keys on hardware tokens that are at hand; they count so too, and their files go into the folder.
        name: who holds the keys made here.
        co_sign: one more key for root and targets, ML-DSA-65, and one more signature that is needed.

    Raises:
        KeysError: keys or other files are there already, the passphrase is empty, or a quorum can't be met.
    """
    _check_free(folder)
    name = key_files.check_name(name)
    others = [*others, *((info.role, info.public_key) for info in tokens)]
    strange = sorted({role for role, _ in others} - {*ROLES, MODEL_SIGNING})
    if strange:
        raise KeysError(
            f"a public key for {strange[0]}, which no root names", "`anchorhold keys site` takes those"
        )
    private: dict[str, list[sealing.PrivateKey]] = {}
    public: dict[str, list[Key]] = {}
    for role in (*ROLES, MODEL_SIGNING):
        brought = [key for theirs, key in others if theirs == role]
        own = quorums.get(role, Quorum(1, 1)).keys - len(brought)
        if own < 0:
            raise KeysError(f"{role}: {len(brought)} public keys are too many", f"raise --{role}")
        private[role] = [
            sealing.generate(sealing.P256 if role == MODEL_SIGNING else sealing.ED25519) for _ in range(own)
        ]
        if co_sign and role in OFFERED:
            private[role].append(sealing.generate(sealing.ML_DSA))
        public[role] = [*(sealing.public_key(key, name) for key in private[role]), *brought]
    thresholds = {role: quorum.threshold + (co_sign and role in OFFERED) for role, quorum in quorums.items()}
    root = roots.first(public, thresholds, clock.latest(clock.machine_time(), ()))
    request = ceremony.Request(Root.type, Metadata(root), None)
    passphrase = secrets.passphrase(new=True) if any(private.values()) else ""
    held = key_files.open_all([info for info in tokens if info.role == Root.type], secrets)
    for key in (*private[Root.type], *(key for _, key in held)):
        request = ceremony.with_signature(request, key_files.signer(key))
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in _leftovers(folder):
        shutil.rmtree(path)
    # Beside the folder, so that one rename makes the set appear; mkdtemp gives mode 0700.
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".new", dir=folder.parent))
    try:
        for role, keys in private.items():
            for key in keys:
                key_files.write(made, role, key, passphrase, name=name, n=n)
        for info in tokens:
            key_files.adopt(made, info)
        if request.complete:
            storage.write_bytes(made / ROOT_FILE, request.metadata.to_bytes(), mode=0o600)
        else:
            storage.write_bytes(made / PENDING / ROOT_FILE, ceremony.to_bytes(request), mode=0o600)
        made.replace(folder)  # takes the place of an empty folder too, never of a full one
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    storage.fsync_folder(folder.parent)
    return root


def open_role(
    folder: Path, secrets: Secrets, role: str, allowed: Iterable[str] | None = None
) -> list[Signer]:
    """Signers of `role` in `folder` that can be opened.

    Args:
        folder: of keys.
        secrets: open those of one holder; others stay shut.
        role: as the key files name it.
        allowed: ids that count; by default all.

    Raises:
        PassphraseError, TokenError, PinError: as `key_files.open_all`.
        KeysError: a key is damaged.
    """
    wanted = None if allowed is None else set(allowed)
    infos = [
        info
        for info in key_files.find(folder)
        if info.role == role and (wanted is None or info.keyid in wanted)
    ]
    return [key_files.signer(key) for _, key in key_files.open_all(infos, secrets)]


def unlock(folder: Path, secrets: Secrets, roles: Sequence[str] = ROLES[1:]) -> dict[str, list[Signer]]:
    """Signers of `roles` that the root names; by default of all but root, which publishing doesn't need.

    A role may have fewer here than must sign: the others are with other people.

    Raises:
        KeysError: a role has no key here, or one is damaged.
        PassphraseError, TokenError, PinError: none of a role's can be opened.
    """
    root = newest(folder)
    signers = {}
    for role in roles:
        signers[role] = open_role(folder, secrets, role, root.roles[role].keyids)
        if not signers[role] and role != "targets":  # those may all be with other people
            raise KeysError(
                f"{folder}: no such key: {role}", "restore it from its backup, or `anchorhold keys rotate` it"
            )
    return signers


def unlock_model_signing(
    folder: Path, secrets: Secrets, *, at_hand: bool = False
) -> oms_bundle.SigningKey | None:
    """The P-256 key that signs OMS bundles; None where the folder has none that the root names.

    Args:
        folder: of keys.
        secrets: open it.
        at_hand: None too where its passphrase or PIN would have to be asked for.

    Raises:
        PassphraseError, TokenError, PinError: it is there, and can't be opened.
    """
    named = roots.model_signing_keys(newest(folder))
    infos = [i for i in key_files.find(folder) if i.role == MODEL_SIGNING and i.keyid in named]
    if at_hand:
        infos = [i for i in infos if (secrets.has_passphrase if i.token is None else secrets.has_pin)]
    for info, key in key_files.open_all(infos, secrets):
        if isinstance(key, TokenSigner) and info.type == sealing.P256:
            return TokenModelKey(key)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    return None


def show(folder: Path) -> list[KeyInfo]:
    """The keys in `folder`, as they read without a passphrase; those kept elsewhere are left out.

    Raises:
        KeysError: no key at all, or a damaged one.
    """
    found = key_files.find(folder)
    if not found:
        raise KeysError(f"{folder}: no keys", "`anchorhold keys init` makes them")
    return found


def root_bytes(folder: Path) -> bytes:
    """The signed root of trust of the keys in `folder`, checked: its newest version.

    Raises:
        KeysError: missing or damaged.
    """
    path = folder / ROOT_FILE
    try:
        with open_regular(path) as stream:
            data = stream.read(limits.ROOT_BYTES)
    except FileNotFoundError as error:
        if (folder / PENDING / ROOT_FILE).exists():
            raise KeysError(
                f"{folder}: the first root waits for signatures",
                "`anchorhold keys export FILE`, have it signed, then `anchorhold keys import`",
            ) from error
        raise KeysError(f"{path}: no root of trust", "`anchorhold keys init` makes it") from error
    try:
        roots.check_step(None, data)
    except TrustError as error:
        raise KeysError(f"{path}: damaged: {error.message}", "restore it from a backup") from error
    return data


def newest(folder: Path) -> Root:
    """The root of trust that is valid now.

    Raises:
        KeysError: missing or damaged.
    """
    return roots.parse(root_bytes(folder)).signed


def root_history(folder: Path) -> dict[int, bytes]:
    """Every root version from the first to the newest: what a stick carries, so that any device can follow.

    Raises:
        KeysError: one is missing or damaged, or doesn't follow from the one before.
    """
    data = root_bytes(folder)
    last = roots.parse(data).signed.version
    found: dict[int, bytes] = {}
    before: Root | None = None
    for version in range(1, last + 1):
        path = folder / HISTORY / f"{version}.root.json"
        try:
            found[version] = data if version == last else path.read_bytes()
            before = roots.check_step(before, found[version])
        except FileNotFoundError as error:
            raise KeysError(
                f"{path}: missing: devices that trust an older root couldn't follow",
                "restore it from a backup",
            ) from error
        except TrustError as error:
            raise KeysError(f"{path}: {error.message}", "restore it from a backup") from error
    return found


def adopt_root(folder: Path, data: bytes) -> Root:
    """Make the root in `data` the newest of `folder`, durably; the one before stays in its history.

    Raises:
        TrustError: it doesn't follow from the newest one there, or lacks signatures.
    """
    before = newest(folder) if (folder / ROOT_FILE).exists() else None
    if before is not None and data == root_bytes(folder):
        return before  # killed after the last write
    root = roots.check_step(before, data)
    if before is not None:
        kept = folder / HISTORY / f"{before.version}.root.json"
        storage.write_bytes(kept, root_bytes(folder), mode=0o600)
    storage.write_bytes(folder / ROOT_FILE, data, mode=0o600)
    return root
