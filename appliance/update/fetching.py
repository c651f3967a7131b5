"""Bringing one file of a release onto the device: made of an installed file and a delta where that can be, else copied.

Both ways write the same bytes to the same place, checked by the same digests: each goes on where the other stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.errors import InstalledBaseError
from appliance.events import Emit, Event
from appliance.paths import Device
from appliance.update import copying, delta_applying, slots
from appliance.update.target_files import Delta, Target, read_checked

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
        return f"{name}: a delta of {delta[0].stored.bytes} bytes to the installed {delta[1].name[:12]}"
    if target.whole:
        return f"{name}: whole, {target.bytes} bytes; what its deltas need isn't installed here"
    return f"{name}: only as deltas to files that aren't installed here, so `install` will refuse it"


def check_possible(device: Device, name: str, target: Target) -> None:
    """See that there is a way for a file to come to the device.

    Raises:
        InstalledBaseError: the stick has only what changed since files that aren't installed here.
    """
    if not target.whole and next(bases(device, name, target), None) is None:
        wanted = ", ".join(delta.base_sha256[:12] for delta in target.deltas)
        raise InstalledBaseError(
            f"{name}: this stick has only what changed since a file that isn't installed here ({wanted})",
            _HINT,
        )


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
        TrustError: the stick was changed, or a delta is malformed.
        InstalledBaseError: the installed file is damaged and the stick hasn't the whole one.
        StorageError: the disk gives back something else than was written.
        OSError: no space, or the disk or stick failed.
    """
    told = 0

    def tell(size: int) -> None:
        nonlocal told
        told += size
        done(size)

    fault: InstalledBaseError | None = None
    for delta, base in bases(device, name, target):
        emit(
            Event("install", "message", f"{name}: made of {base.name[:12]}, which is installed, and a delta")
        )

        def made(start: int, delta: Delta = delta, base: Path = base) -> copying.Blocks:
            return delta_applying.blocks(read_checked(stick, delta.stored), base, delta, target, start)

        try:
            copying.copy(stick, target, path, tell, made)
            return
        except InstalledBaseError as error:
            fault = error
            emit(Event("install", "warning", f"{error.message}: the delta can't be used"))
            tell(-told)  # what is good of it is counted again
    if fault is not None and not target.whole:
        raise InstalledBaseError(fault.message, _HINT) from fault
    check_possible(device, name, target)
    copying.copy(stick, target, path, done)
