"""The name that was probably meant, for errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

_MOST = 1000  # names looked at: a hostile row may have a million keys


def meant(name: str, known: Iterable[object]) -> str:
    """` (is `x` meant?)` for the one of `known` that is like `name` whatever its case; empty: none is."""
    names = {str(one).lower(): str(one) for one in islice(known, _MOST)}
    near = difflib.get_close_matches(name.lower(), names, n=1)
    return f" (is `{names[near[0]]}` meant?)" if near else ""
