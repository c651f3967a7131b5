"""Bringing a file of a release onto the device: made of an installed one and a delta where that can be, else copied.

Both ways write the same bytes to the same place, checked by the same digests: each goes on where the other stopped.
What is encrypted is opened on the way; nothing of it lies on the disk but the file itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.errors import InstalledBaseError, TrustError, UpdateError
from appliance.events import Emit, Event
from appliance.paths import Device
from appliance.trust import encryption_keys
from appliance.trust.encryption_keys import DeviceKey
from appliance.update import copying, delta_applying, sealed_format, slots
from appliance.update.sealed_format import Sealed
from appliance.update.target_files import Delta, Target, checked, read_checked

_HINT = "ask for a stick with the whole model: `anchorhold stick write` without --delta-only"


def bases(device: Device, name: str, target: Target) -> Iterator[tuple[Delta, Path]]:
    """The deltas whose base lies on the device, by its name and size; its bytes are checked as they are used.

    Args:
        name: the file's in its release.
    """
    for delta in target.deltas:
        path = slots.object_path(device, delta.base_sha256, name)
        if path.is_file() and path.stat().st_size == delta.base_bytes:
            yield delta, path


def way(device: Device, name: str, target: Target) -> str:
    """In words how a file with deltas would come to the device."""
    delta = next(bases(device, name, target), None)
    if delta is not None:
        return f"{name}: a delta of {delta[0].stored.as_stored.bytes} bytes to the installed {delta[1].name[:12]}"
    if target.whole:
        return f"{name}: whole, {target.bytes} bytes; what its deltas need isn't installed here"
    return f"{name}: only as deltas to files that aren't installed here, so `install` will refuse it"


def is_for(target: Target, key: DeviceKey | None) -> bool:
    """Whether what a device needs of a file can be opened with its key, as far as the signed metadata says."""
    stored = [target] if target.whole else []
    sealed = [each.sealed for each in (*stored, *(delta.stored for delta in target.deltas))]
    return all(each is None or (key is not None and key.receiver.id in each.to) for each in sealed)


def check_possible(device: Device, name: str, target: Target) -> None:
    """See that there is a way for a file to come to the device.

    Raises:
        InstalledBaseError: the stick has only what changed since files that aren't installed here.
        UpdateError: it is encrypted to other devices.
        KeysError: this device's key is damaged.
    """
    if any(each.sealed for each in (target, *(delta.stored for delta in target.deltas))):
        key = encryption_keys.read(device)
        if not is_for(target, key):
            raise sealed_format.not_for(key)
    if not target.whole and next(bases(device, name, target), None) is None:
        wanted = ", ".join(delta.base_sha256[:12] for delta in target.deltas)
        raise InstalledBaseError(
            f"{name}: this stick has only what changed since a file that isn't installed here ({wanted})",
            _HINT,
        )


def _open(stick: Path, device: Device, target: Target, start: int) -> copying.Blocks:
    """The plain bytes of a sealed `target` from `start`; each chunk was compared with both its digests."""
    assert target.sealed is not None
    stored = target.sealed.stored
    key = encryption_keys.read(device)
    if key is None:
        raise sealed_format.not_for(None)
    with contextlib.closing(read_checked(stick, stored)) as blocks:
        plain = sealed_format.unseal(blocks, Sealed(target.sha256, target.bytes), key, start)

        def wrong(number: int) -> TrustError:
            reason = f"{stored.stored}: holds something else than was signed (chunk {number})"
            return TrustError(reason, "ask for the stick to be written again")

        yield from checked(plain, target, start, wrong)


def _read(stick: Path, device: Device, target: Target) -> copying.Blocks:
    """All plain bytes of `target`, none before its stored chunk was found right."""
    return read_checked(stick, target) if target.sealed is None else _open(stick, device, target, 0)


def fetch(
    stick: Path,
    device: Device,
    name: str,
    target: Target,
    path: Path,
    done: Callable[[int], None],
    emit: Emit,
) -> None:
    """Bring `target` to `path`, or go on with what lies there, whichever way it came.

    Args:
        name: the file's in its release.
        done: told the bytes of each step.
        emit: told which way is taken, and of an installed file that turns out to be damaged.

    Raises:
        TrustError: the stick was changed, or a delta or an encrypted file is malformed.
        InstalledBaseError: the installed file is damaged and the stick hasn't the whole one.
        UpdateError: encrypted to other devices.
        KeysError: encrypted to this device, but not to its key.
        StorageError: the disk gives back something else than was written.
        OSError: no space, or the disk or stick failed.
    """
    told = 0

    def tell(size: int) -> None:
        nonlocal told
        told += size
        done(size)

    fault: UpdateError | None = None
    for delta, base in bases(device, name, target):
        emit(
            Event("install", "message", f"{name}: made of {base.name[:12]}, which is installed, and a delta")
        )

        def made(start: int, delta: Delta = delta, base: Path = base) -> copying.Blocks:
            return delta_applying.blocks(_read(stick, device, delta.stored), base, delta, target, start)

        try:
            copying.copy(stick, target, path, tell, made)
            return
        except InstalledBaseError as error:
            fault = error
            emit(Event("install", "warning", f"{error.message}: the delta can't be used"))
            done(-told)  # what is good of it is counted again
            told = 0
    if fault is not None and not target.whole:
        raise InstalledBaseError(fault.message, _HINT) from fault

    def opened(start: int) -> copying.Blocks:
        return _open(stick, device, target, start)

    copying.copy(stick, target, path, done, opened if target.sealed is not None else None)
