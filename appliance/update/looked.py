"""Which installed files were found whole, and have not been touched since: a second look needn't read gigabytes again.

`looked.json` holds, for each file in `objects/`, what tells a touched file from an untouched one: inode, size, times of
its change and of its state's change. A file that rots on its disk without being touched isn't noticed so;
`install --read-again` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from appliance import storage
from appliance.paths import Device
from appliance.update import copying
from appliance.update.target_files import Target

FORMAT = "anchorhold-looked/1"
_MOST_BYTES = 1 << 16


def is_whole(device: Device, path: Path, target: Target, *, read_again: bool = False) -> bool:
    """Whether `path` holds the bytes of `target`.

    Args:
        read_again: don't believe that it was read before.
    """
    try:
        found = _fingerprint(path)
    except OSError:
        return False
    if not read_again and _known(device).get(path.name) == found:
        return True
    if not copying.is_whole(path, target):
        return False
    if _fingerprint(path) == found:  # not touched while it was read
        remember(device, [path])
    return True


def remember(device: Device, paths: Iterable[Path]) -> None:
    """These files of `objects/` were found whole just now."""
    kept = {name: value for name, value in _known(device).items() if (device.objects / name).exists()}
    kept |= {path.name: _fingerprint(path) for path in paths}
    storage.write_json(device.looked, {"format": FORMAT, "files": kept})


def _fingerprint(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _known(device: Device) -> dict[str, list[int]]:
    """What was written last; nothing where that can't be read."""
    try:
        with device.looked.open("rb") as stream:
            value = json.loads(stream.read(_MOST_BYTES))
        return dict(value["files"]) if value["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
