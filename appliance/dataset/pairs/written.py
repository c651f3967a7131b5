"""What a model has written for pairs, kept as it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.kept_lines import KeptLines

Text = tuple[str, str]
"""(text, finish)."""


def _parsed(value: Any) -> tuple[str, Text]:
    return str(value["key"]), (str(value["text"]), str(value["finish"]))


def _line(key: str, text: Text) -> dict[str, str]:
    return {"key": key, "text": text[0], "finish": text[1]}


class WrittenStore(KeptLines[Text]):
    """written.jsonl: `{"key", "text", "finish"}` a line.

    Passages may hold personal data, so the file is for its owner's eyes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _parsed, _line, mode=0o600, canonical=False)
