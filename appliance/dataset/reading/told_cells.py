"""A record's cells whose kind of personal data `dataset.redact.columns` tells, wherever they then stand in its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.reading.columns import cell_text


@dataclass(frozen=True)
class ToldCell:
    """One cell.

    Attributes:
        column: the column, or the key of a JSON object.
        kind: of personal data.
        value: the cell's text; of a list, one of its texts.
    """

    column: str
    kind: str
    value: str


def told_cells(record: Any, section: DatasetSection) -> tuple[ToldCell, ...]:
    """The told cells of a record, empty ones too; none where redaction is off."""
    if section.redact.mode == "off" or not section.redact.columns or not isinstance(record, dict):
        return ()
    return tuple(
        ToldCell(column, kind, text)
        for column, kind in section.redact.columns.items()
        if column in record
        for text in _texts(record[column])
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, list) and value:
        return [text for one in value for text in _texts(one)]
    if isinstance(value, dict) and value:
        return [text for one in value.values() for text in _texts(one)]
    return [cell_text(value)]
