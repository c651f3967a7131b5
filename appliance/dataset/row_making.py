"""One way from what a file held to a row, so that rows read for other reasons equal those that were trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from appliance.dataset.cleaning import BadConversation, clean_messages, clean_text, default_group
from appliance.dataset.reading import RawRow, ToldCell
from appliance.dataset.redaction import Finding, Redactor, Unsettled, redactor_for
from appliance.dataset.rows import Row, row_id
from appliance.dataset.schema import AnswerSchema
from appliance.paths import Project


def _cleaned(told: Sequence[ToldCell]) -> list[tuple[str, str, str]]:
    """Column, kind and value of cells, as they stand in a cleaned turn; what can't stand there is left."""
    cells = []
    for cell in told:
        with contextlib.suppress(BadConversation):
            cells.append((cell.column, cell.kind, clean_text(cell.value)))
    return cells


class RowMaker:
    """Makes rows as `[dataset]` of a project says: cleaned, with its system prompt, without personal data."""

    def __init__(self, project: Project) -> None:
        """Read what the configuration names.

        Raises:
            ConfigError: the schema, or a file that redaction needs, is missing or broken.
        """
        section = project.config.dataset
        self._system = section.system
        self.schema = AnswerSchema.load(project.root / section.schema_path) if section.schema_path else None
        self.redactor: Redactor | None = redactor_for(project)

    def row(self, raw: RawRow) -> tuple[Row, list[Finding]]:
        """The row, and the personal data that was found in it.

        Raises:
            BadConversation: it can't be learnt from; the answer's schema isn't asked.
        """
        messages, rejected = clean_messages(raw.messages, self._system), clean_text(raw.rejected)
        group, findings = raw.group, []
        if self.redactor is not None:
            fault = self.schema.answer_fault if self.schema is not None and not rejected else lambda _: ""
            # The rejected answer goes along as one more turn, so that the same value gets the same replacement.
            turns = [*messages, {"role": "assistant", "content": rejected}] if rejected else messages
            try:
                redacted = self.redactor.conversation(turns, fault, _cleaned(raw.told))
            except Unsettled as error:
                reason = "each look at it shows more personal data, and there is no end to it"
                raise BadConversation("unsettled", reason) from error
            messages, findings = redacted.messages[: len(messages)], redacted.findings
            rejected = str(redacted.messages[-1]["content"]) if rejected else ""
            group = group and self.redactor.keyed("group", group)
        group = group.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair
        source = f"{raw.file}:{raw.line}"
        group = group or default_group(messages)
        return Row(row_id(messages), group, messages, source, rejected, raw.kind), findings

    def told(self, text: str) -> str:
        """What may be told of a file: reasons, columns and exchanges quote it, and are redacted as its rows are."""
        if self.redactor is None:
            return text
        try:
            return self.redactor.text(text)
        except Unsettled:
            return "(not told: it holds personal data)"
