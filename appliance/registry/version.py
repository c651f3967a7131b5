"""Semantic versions: MAJOR.MINOR.PATCH, compared as numbers."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from appliance.errors import UsageError

_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")


class Version(NamedTuple):
    """A release's version; orders as a semantic version does."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def find(text: str) -> Version | None:
    """The version that `text` spells, or None if it spells none."""
    match = _VERSION.fullmatch(text)
    return Version(*(int(part) for part in match.groups())) if match else None


def parse(text: str) -> Version:
    """The version that `text` spells.

    Raises:
        UsageError: it isn't MAJOR.MINOR.PATCH without leading zeros.
    """
    version = find(text)
    if version is None:
        raise UsageError(f"{text!r} isn't a version", "write MAJOR.MINOR.PATCH, as in 1.4.0")
    return version


def propose_next(current: Version, change: Literal["major", "minor", "patch"] = "patch") -> Version:
    """The version after `current` for a change of that size."""
    if change == "major":
        return Version(current.major + 1, 0, 0)
    if change == "minor":
        return Version(current.major, current.minor + 1, 0)
    return Version(current.major, current.minor, current.patch + 1)
