"""Whether the columns of `dataset.redact.columns` stand in rows at all: a slip of typing leaves no personal data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from appliance.config import DatasetSection, RedactSection
from appliance.dataset.nearest import meant
from appliance.dataset.reading import Detected
from appliance.errors import DataError
from appliance.visible import visible

_NO_ROWS = ("turns", "dialogue", "texts")  # shapes of which transcripts and documents are made


def columns_without_rows(found: Detected, section: DatasetSection) -> list[str]:
    """The told columns of a file whose cells are turns or texts, so that they aren't looked for in rows."""
    if section.redact.mode == "off" or found.shape is None or found.shape.name not in _NO_ROWS:
        return []
    return [column for column in section.redact.columns if column in found.columns]


def check_told_kinds(section: RedactSection, rows: Mapping[str, int], columns: Collection[str]) -> None:
    """Every told column stands in a row.

    Args:
        section: `[dataset.redact]`.
        rows: how many rows each told column stands in.
        columns: that the files have, as far as they are known.

    Raises:
        DataError: one doesn't.
    """
    missing = [column for column in section.columns if not rows.get(column)]
    if section.mode == "off" or not missing:
        return
    lines = "".join(
        f"\n  `{visible(column, 0)}`: "
        + (
            "only in files of turns or texts, which have no such cells in their rows"
            if column in columns
            else f"no file has it{visible(meant(column, columns), 0)}"
        )
        for column in missing
    )
    raise DataError(
        f"dataset.redact.columns: what they hold would stay:{lines}",
        "correct the name, or remove it from anchorhold.toml",
    )


def counted(section: RedactSection, rows: Mapping[str, int]) -> dict[str, Any]:
    """What the card tells of the told columns: the kind of each, and in how many rows it stands."""
    told = {name: {"kind": kind, "rows": rows.get(name, 0)} for name, kind in section.columns.items()}
    return {"columns": told} if told else {}
