"""Rows from outside the dataset, read as the dataset reads its own: for measuring on what no choice has seen."""

from __future__ import annotations

from pathlib import Path

from appliance.dataset.cleaning import BadConversation, clean_messages, default_group
from appliance.dataset.reading import BadRow, RawRow, read_file
from appliance.dataset.redaction import redactor_for
from appliance.dataset.rows import Row, row_id
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
    redactor = redactor_for(project)  # as the dataset's own rows: what was trained on is known by its id
    for raw in read_file(path, path.name, project.config.dataset, lambda _: None):
        if isinstance(raw, BadRow):
            raise DataError(str(raw), "mend or remove the row: a measure must not leave rows out")
        if not isinstance(raw, RawRow):
            raise DataError(
                f"{path}: a transcript or document, not examples with answers",
                "`anchorhold dataset inspect` shows what a file was taken for; dataset.formats tells it",
            )
        try:
            messages = clean_messages(raw.messages, project.config.dataset.system)
        except BadConversation as fault:
            bad = BadRow(raw.file, raw.line, fault.kind, fault.reason)
            raise DataError(str(bad), "mend or remove the row: a measure must not leave rows out") from fault
        if redactor is not None:
            messages = redactor.conversation(messages).messages
        row = Row(row_id(messages), raw.group or default_group(messages), messages, f"{raw.file}:{raw.line}")
        rows[row.id] = row
    if not rows:
        raise DataError(f"{path}: no rows in it", "give a file of examples")
    return sorted(rows.values(), key=lambda row: row.id)
