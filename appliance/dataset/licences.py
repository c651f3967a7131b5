"""Under which licence each source may be used, as far as the builder says."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.events import Emit, Event
from appliance.visible import visible

NOT_STATED = "not stated"


def licence_of(name: str, licences: Mapping[str, str]) -> str:
    """What `dataset.licences` says of a file; empty: nothing. The last pattern that fits wins."""
    told = [licence for pattern, licence in licences.items() if fnmatch.fnmatchcase(name, pattern)]
    return told[-1].strip() if told else ""


def with_licences(
    sources: Sequence[dict[str, Any]], licences: Mapping[str, str], emit: Emit
) -> list[dict[str, Any]]:
    """The card's sources with their `licence`; a pattern that fits no file is told of."""
    for pattern in licences:
        if not any(fnmatch.fnmatchcase(source["name"], pattern) for source in sources):
            text = f"dataset.licences: {visible(pattern)} fits no file that was read"
            emit(Event("dataset", "warning", text))
    return [{**source, "licence": licence_of(source["name"], licences)} for source in sources]
