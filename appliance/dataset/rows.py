"""One example on disk: a JSON line with its conversation, its group and where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import DataError
from appliance.storage import sha256_json

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Row:
    """One conversation that ends with the answer to be learnt.

    Attributes:
        id: 16 hex digits of the SHA-256 of the conversation; equal conversations have equal ids.
        group: rows of one group are never parted by the split.
        messages: chat messages, `{"role": ..., "content": ...}`, the last one the assistant's.
        source: `file:line` of where the row begins.
        rejected: of a preference pair, the answer that was not preferred; empty: no pair.
        kind: of a row made of a transcript or a document, how (a `PairKind`); empty: as its file holds it.
    """

    id: str
    group: str
    messages: list[dict[str, Any]]
    source: str
    rejected: str = ""
    kind: str = ""

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """The conversation without its last answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The last answer."""
        return str(self.messages[-1]["content"])

    def to_line(self) -> bytes:
        """The row as one line of JSON, line feed included."""
        fields = {"id": self.id, "group": self.group, "messages": self.messages, "source": self.source}
        if self.rejected:
            fields["rejected"] = self.rejected
        if self.kind:
            fields["kind"] = self.kind
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def row_id(messages: Sequence[Mapping[str, Any]]) -> str:
    """The id of a conversation: 16 hex digits of the SHA-256 of its canonical JSON."""
    return sha256_json([dict(message) for message in messages])[:16]


def row_from_line(line: bytes | str) -> Row:
    """The row that `Row.to_line` wrote."""
    fields = json.loads(line)
    return Row(
        fields["id"],
        fields["group"],
        fields["messages"],
        fields["source"],
        fields.get("rejected", ""),
        fields.get("kind", ""),
    )


def iterate_rows(path: Path) -> Iterator[Row]:
    """The rows of a prepared split, one at a time.

    Raises:
        DataError: no such file, or not one of ours.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield row_from_line(line)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise DataError(
                        f"{path}:{number}: not a prepared row",
                        "make the dataset again with `anchorhold dataset`",
                    ) from error
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file", "make the dataset first with `anchorhold dataset`"
        ) from error


def read_rows(path: Path) -> list[Row]:
    """All rows of a prepared split (build/dataset/{train,valid,test}.jsonl); see `iterate_rows`."""
    return list(iterate_rows(path))
