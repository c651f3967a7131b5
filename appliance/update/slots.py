"""Which release is active and which is retained: `slots.json`, switched by one rename.

docs/formats/device.md describes the file. Files lie in `objects/` under their digest.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import TrustError, UpdateError
from appliance.paths import Device
from appliance.registry import manifest as manifests

FORMAT = "anchorhold-slots/1"
MAX_BYTES = 256 * 1024  # of slots.json
ATTEMPTS = 3  # starts that a new release has to prove itself in
REJECTED = 0  # starts left to one that used them up, or answered wrongly, or went on crashing
_HINT = "install the stick again; `anchorhold install STICK` repairs it"


@dataclass(frozen=True)
class InstalledRelease:
    """A release that lies on the device.

    Attributes:
        name, version: what its manifest says.
        digest: SHA-256 of its release.json.
        counter: its place in the publisher's order; higher is newer.
        model: the GGUF.
        manifest: the parsed release.json.
        folder: where its files lie, by digest.
    """

    name: str
    version: str
    digest: str
    counter: int
    model: Path
    manifest: dict[str, Any]
    folder: Path


@dataclass(frozen=True)
class Slot:
    """What `slots.json` says of one release.

    Attributes:
        slot: "a" or "b".
        signers: key ids that signed the targets metadata it came with.
        installed: seconds since the epoch, by the device's clock.
    """

    slot: str
    name: str
    version: str
    digest: str
    counter: int
    signers: tuple[str, ...] = ()
    installed: float = 0.0


@dataclass(frozen=True)
class State:
    """Both slots.

    Attributes:
        changes: grows by one at each switch.
        attempts: starts that the active release still has to prove itself in; None once it is good.
        previous_attempts: the same of the previous release; `REJECTED` if the device left it by itself.
    """

    active: Slot | None = None
    previous: Slot | None = None
    changes: int = field(default=0)
    attempts: int | None = None
    previous_attempts: int | None = None


def object_path(device: Device, sha256: str, name: str) -> Path:
    """Where the file called `name` with this digest lies on the device."""
    return device.objects / f"{sha256}{Path(name).suffix}"


def _slot(value: Any) -> Slot | None:
    if value is None:
        return None
    slot = Slot(**{**value, "signers": tuple(value["signers"])})
    if slot.slot not in {"a", "b"} or not manifests.is_digest(slot.digest):
        raise ValueError("a slot needs its letter and digest")
    return slot


def state(device: Device) -> State:
    """What `slots.json` says; empty slots if nothing was ever installed.

    Raises:
        UpdateError: the file is damaged.
    """
    try:
        with device.slots.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return State()
    try:
        value = json.loads(data)
        if value["format"] != FORMAT:
            raise ValueError(f"not of the format {FORMAT}")
        # Older files don't have one of them, or both: their releases count as good.
        left, left_before = (value.get(name) for name in ("attempts", "previous_attempts"))
        return State(
            _slot(value["active"]),
            _slot(value["previous"]),
            int(value["changes"]),
            None if left is None else int(left),
            None if left_before is None else int(left_before),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UpdateError(f"{device.slots}: damaged ({error})", _HINT) from error


def installed(device: Device, slot: Slot) -> InstalledRelease:
    """The release in `slot`: its manifest has the slot's digest, its model the size that the manifest says.

    Raises:
        UpdateError: a file is missing or not what was installed.
    """
    path = object_path(device, slot.digest, manifests.FILE_NAME)
    try:
        data = path.read_bytes()
        if storage.sha256_bytes(data) != slot.digest:
            raise UpdateError(f"{path}: not the release.json that was installed", _HINT)
        manifest = manifests.parse(data)
        model = object_path(device, manifest.model.sha256, manifest.model.name)
        if model.stat().st_size != manifest.model.bytes:
            raise UpdateError(f"{model}: not the size that was installed", _HINT)
    except (FileNotFoundError, TrustError) as error:
        raise UpdateError(f"release {slot.name} {slot.version} is damaged: {error}", _HINT) from error
    return InstalledRelease(
        slot.name, slot.version, slot.digest, slot.counter, model, manifest.raw, device.objects
    )


def active(device: Device) -> InstalledRelease | None:
    """The release to serve, or None if nothing is installed.

    Raises:
        UpdateError: its files are damaged.
    """
    slot = state(device).active
    return installed(device, slot) if slot else None


def previous(device: Device) -> InstalledRelease | None:
    """The release that `rollback` would return to, or None.

    Raises:
        UpdateError: its files are damaged.
    """
    slot = state(device).previous
    return installed(device, slot) if slot else None


def _write(device: Device, new: State) -> None:
    storage.write_json(device.slots, {"format": FORMAT, **asdict(new)})


@contextlib.contextmanager
def _changing(device: Device) -> Iterator[None]:
    """Hold off others (installer, gateway) while slots.json is read and written; a matter of milliseconds."""
    with storage.locked(device.root / "slots.lock"):
        yield


def after_install(current: State, slot: Slot) -> State:
    """The state in which `slot` is active and has to prove itself; one that has is retained, if there is one."""

    def worth(held: tuple[Slot, int | None]) -> int:
        return ATTEMPTS + 1 if held[1] is None else held[1]

    known = [(current.active, current.attempts), (current.previous, current.previous_attempts)]
    held = [(each, left) for each, left in known if each is not None]
    # A release that mends itself leaves the other one retained.
    others = [(each, left) for each, left in held if each.digest != slot.digest] or held
    kept, left = max(others, key=worth) if others else (None, None)
    letter = "b" if kept is not None and kept.slot == "a" else "a"
    new = Slot(**{**asdict(slot), "slot": letter, "signers": tuple(slot.signers)})
    return State(new, kept, current.changes + 1, ATTEMPTS, left)


def switch(device: Device, slot: Slot) -> InstalledRelease:
    """Make `slot` the active release, in one rename; the one that was active becomes the previous one.

    Raises:
        UpdateError: the new release's files aren't whole; nothing has changed.
    """
    with _changing(device):
        try:
            current = state(device)
        except UpdateError:
            current = State()  # a damaged file is replaced by the install that was asked for
        release = installed(device, slot)
        _write(device, after_install(current, slot))
    return release


def take_attempt(device: Device, digest: str) -> int | None:
    """Count one start of the active release, before it is made.

    Returns:
        How many it had left; None if `digest` isn't the active release or needs no proof any more.
    """
    with _changing(device):
        current = state(device)
        if current.active is None or current.active.digest != digest or current.attempts is None:
            return None
        if current.attempts > 0:
            _write(device, replace(current, attempts=current.attempts - 1))
        return current.attempts


def give_attempt_back(device: Device, digest: str) -> None:
    """The start that was counted last was broken off by the gateway's own end, and says nothing of the release."""
    with _changing(device):
        current = state(device)
        if current.active is not None and current.active.digest == digest and current.attempts is not None:
            _write(device, replace(current, attempts=min(ATTEMPTS, current.attempts + 1)))


def mark_good(device: Device, digest: str) -> bool:
    """The active release has proved itself; False if `digest` isn't the active one any more."""
    with _changing(device):
        current = state(device)
        if current.active is None or current.active.digest != digest or current.attempts is None:
            return False
        _write(device, replace(current, attempts=None))
        return True


def rollback(device: Device, away_from: str | None = None, *, rejected: bool = False) -> InstalledRelease:
    """Make the previous release active again; the one that was active is retained, so that it can be undone.

    The model is hashed first: a fallback that is damaged is not switched to. Each keeps the starts that it has left to
    prove itself in.

    Args:
        away_from: digest of the release that the device leaves by itself, and which is rejected thereby; if another is
            active meanwhile, nothing is changed. None: a person leaves what is active, whatever it is.
        rejected: go to one that was rejected too; it has all its starts to prove itself in once more.

    Raises:
        UpdateError: there is none, it was rejected, its files aren't what was installed, or another one is active.
    """
    with _changing(device):
        current = state(device)
        if away_from is not None and (current.active is None or current.active.digest != away_from):
            raise UpdateError("another release is active meanwhile", "look again with `anchorhold status`")
        if current.previous is None:
            raise UpdateError("there is no previous release to go back to", "install another stick instead")
        left = current.previous_attempts
        if left == REJECTED and not rejected:
            before = f"{current.previous.name} {current.previous.version}"
            raise UpdateError(
                f"{before} was active before and was left by itself, for it didn't serve",
                "install another stick; `anchorhold rollback --rejected` lets it prove itself once more",
            )
        release = installed(device, current.previous)
        expected = next(file["sha256"] for file in release.manifest["files"] if file["role"] == "model")
        if storage.sha256_file(release.model) != expected:
            raise UpdateError(f"{release.model}: not the model that was installed", _HINT)
        behind = current.attempts if away_from is None else REJECTED
        left = ATTEMPTS if left == REJECTED else left
        _write(device, State(current.previous, current.active, current.changes + 1, left, behind))
    return release


def nothing_before(current: State) -> bool:
    """Whether there is no release that the device could go back to by itself."""
    return current.previous is None or current.previous_attempts == REJECTED


def objects_in_use(device: Device, current: State) -> set[str]:
    """File names in `objects/` that the active and the previous release need."""
    names: set[str] = set()
    for slot in (current.active, current.previous):
        if slot is None:
            continue
        names.add(object_path(device, slot.digest, manifests.FILE_NAME).name)
        try:
            raw = installed(device, slot).manifest
        except UpdateError:
            continue  # a damaged release protects only its manifest
        names.update(object_path(device, file["sha256"], file["name"]).name for file in raw["files"])
    return names
