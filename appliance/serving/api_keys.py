"""Keys for the TCP side of the gateway. Only their hashes are stored (docs/formats/api.md, "keys").

A key is 256 random bits, so a plain SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import ServingError

_PREFIX = "ah-"
_FORMAT = "anchorhold-api-keys-1"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ServingError(
            f"{path}: not a file of keys: {error}", "restore it, or delete it and make new keys"
        ) from error
    if not isinstance(value, dict) or value.get("format") != _FORMAT:
        raise ServingError(f"{path}: not a file of keys", "restore it, or delete it and make new keys")
    keys: list[dict[str, Any]] = value["keys"]
    return keys


def create(path: Path, name: str) -> str:
    """Make a key called `name`, store its hash, and return it: this is the only time that it can be seen.

    Raises:
        ServingError: there is one of that name.
    """
    keys = _read(path)
    if any(entry["name"] == name for entry in keys):
        raise ServingError(f"there is a key called {name!r} already", "choose another name")
    key = _PREFIX + secrets.token_urlsafe(32)
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys.append({"name": name, "sha256": _digest(key), "created": made})
    storage.write_json(path, {"format": _FORMAT, "keys": keys}, mode=0o600)
    return key


def names(path: Path) -> list[str]:
    """The names of all keys."""
    return [entry["name"] for entry in _read(path)]


class KeyRing:
    """Checks keys against the file, reading it anew when it changes.

    Args:
        path: the file of keys; may be missing (then no key is right).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._keys: list[dict[str, Any]] = []

    def name_of(self, key: str) -> str | None:
        """The name of a key, or None if it isn't one of ours."""
        try:
            state = self._path.stat()
            seen: tuple[int, int] | None = (state.st_mtime_ns, state.st_size)
        except FileNotFoundError:
            seen = None
        if seen != self._seen:
            self._keys = _read(self._path)
            self._seen = seen
        digest = _digest(key)
        found = None
        for entry in self._keys:  # all of them, so that the time tells nothing
            if hmac.compare_digest(entry["sha256"], digest):
                found = entry["name"]
        return found
