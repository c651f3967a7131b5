"""Sizes, times and digests for a person."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def duration(seconds: float) -> str:
    """Seconds for a person."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"


def in_halves(digest: str) -> str:
    """64 hex digits on two lines, so that they fit in 80 columns and can be compared by eye."""
    return f"{digest[:32]}\n{digest[32:]}" if len(digest) == 64 else digest
