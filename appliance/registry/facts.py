"""Reading facts out of parsed JSON that others wrote: what is missing or of another shape is simply not told. Pure."""

from __future__ import annotations

from typing import Any


def part(value: Any, *keys: str) -> Any:
    """The value below `keys`, or None where the way doesn't lead there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def table(value: Any, *keys: str) -> dict[str, Any]:
    """The object below `keys`; an empty one where there is none."""
    found = part(value, *keys)
    return found if isinstance(found, dict) else {}


def entries(value: Any, *keys: str) -> list[dict[str, Any]]:
    """The objects of the list below `keys`."""
    found = part(value, *keys)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text(value: Any, *keys: str) -> str:
    """The text below `keys`; empty where there is none."""
    found = part(value, *keys)
    return found if isinstance(found, str) else ""


def number(value: Any, *keys: str) -> float | None:
    """The number below `keys`; None where there is none."""
    found = part(value, *keys)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def count(value: Any, *keys: str) -> int:
    """The whole number below `keys`; 0 where there is none."""
    found = number(value, *keys)
    return int(found) if found is not None else 0
