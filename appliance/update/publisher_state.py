"""What a publisher has used so far, kept beside the keys: versions and counters that must go on rising."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from appliance import storage
from appliance.errors import KeysError

STATE_FILE = "publisher.json"
STATE_FORMAT = "anchorhold-publisher/1"


@dataclass(frozen=True)
class Publisher:
    """What must go on rising, on whichever stick: kept beside the keys.

    Attributes:
        targets, snapshot, timestamp: metadata versions used last.
        counter: the newest release's place; `releases` maps digests to theirs.
        versions: digest of what was published last under each "name version".
        sites: metadata versions used last for each site.
    """

    targets: int = 0
    snapshot: int = 0
    timestamp: int = 0
    counter: int = 0
    releases: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, int] = field(default_factory=dict)


def read_publisher(folder: Path) -> Publisher:
    """The publisher's state beside the keys in `folder`; an empty one before the first stick.

    Raises:
        KeysError: damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return Publisher()
    try:
        value = json.loads(path.read_bytes())
        if value.pop("format") != STATE_FORMAT:
            raise ValueError("another format")
        return Publisher(**value)
    except (ValueError, KeyError, TypeError) as error:
        raise KeysError(f"{path}: damaged ({error})", "restore it from a backup of the keys") from error


def write_publisher(folder: Path, state: Publisher) -> None:
    """Keep `state` beside the keys in `folder`."""
    storage.write_json(folder / STATE_FILE, {"format": STATE_FORMAT, **asdict(state)}, mode=0o600)
