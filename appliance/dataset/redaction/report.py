"""build/dataset/redactions.jsonl and what the card counts of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

from appliance import storage
from appliance.dataset.redaction.redactor import Finding


@dataclass
class RedactionReport:
    """Takes the findings of each row that was accepted.

    Attributes:
        stream: gets a JSON line a finding.
        raw: write the values too.
    """

    stream: IO[bytes]
    raw: bool = False
    found: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    def add(self, row: str, source: str, findings: list[Finding]) -> None:
        """The findings of one row.

        Args:
            row: the redacted row's id.
            source: `file:line`.
            findings: in any order.
        """
        self.rows += bool(findings)
        for finding in findings:
            self.found[finding.kind] += 1
            self.done[finding.done] += 1
            self.replaced[finding.kind] += finding.done == "redact"
            line = {"row": row, "source": source, **finding.to_json(self.raw)}
            self.stream.write(storage.json_line(line))

    def counts(self, mode: str) -> dict[str, Any]:
        """What the card says of it."""
        return {
            "mode": mode,
            "rows": self.rows,
            "found": dict(sorted(self.found.items())),
            "replaced": {kind: count for kind, count in sorted(self.replaced.items()) if count},
            **{
                name: self.done[done]
                for name, done in (("redacted", "redact"), ("kept", "keep"), ("left", "left"))
            },
        }
