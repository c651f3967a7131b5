"""Rows from outside the dataset, read as the dataset reads its own: for measuring on what no choice has seen."""

from __future__ import annotations

from pathlib import Path

from appliance.dataset.cleaning import BadConversation
from appliance.dataset.reading import BadRow, RawRow, file_name, read_file
from appliance.dataset.row_making import RowMaker
from appliance.dataset.rows import Row
from appliance.errors import DataError, UsageError
from appliance.paths import Project


def read_other_rows(project: Project, path: Path) -> list[Row]:
    """All rows of a file of examples, cleaned, each once.

    Raises:
        UsageError: no such file.
        DataError: a bad row, or none.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file", "give a file of examples")
    rows: dict[str, Row] = {}
    maker = RowMaker(project)  # as the dataset's own rows: what was trained on is known by its id
    mend = "mend or remove the row: a measure must not leave rows out"
    for raw in read_file(path, file_name(path, project.root), project.config.dataset, lambda _: None):
        if isinstance(raw, BadRow):
            raise DataError(str(raw), mend)
        if not isinstance(raw, RawRow):
            raise DataError(
                f"{path}: a transcript or document, not examples with answers",
                "`anchorhold dataset inspect` shows what a file was taken for; dataset.formats tells it",
            )
        try:
            row, _ = maker.row(raw)
        except BadConversation as fault:
            raise DataError(str(BadRow(raw.file, raw.line, fault.kind, fault.reason)), mend) from fault
        rows[row.id] = row
    if not rows:
        raise DataError(f"{path}: no rows in it", "give a file of examples")
    return sorted(rows.values(), key=lambda row: row.id)
