"""The dataset card: what is in the splits, what was left out and why, and digests of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.kept_rows import id_text
from appliance.dataset.rows import SPLITS
from appliance.errors import DataError

FILE_NAME = "card.json"
FORMAT = 1
_IDS_AT_ONCE = 100_000


@dataclass(frozen=True)
class TokenLengths:
    """Tokens a row, chat template included."""

    min: int = 0
    median: int = 0
    p95: int = 0
    max: int = 0
    total: int = 0


def token_lengths(counts: NDArray[np.int32]) -> TokenLengths:
    """The summary of token counts; percentiles by nearest rank. All zero without rows."""
    if not len(counts):
        return TokenLengths()
    ordered = np.sort(counts)

    def rank(share: float) -> int:
        return int(ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)])

    total = int(ordered.sum(dtype=np.int64))
    return TokenLengths(int(ordered[0]), rank(0.5), rank(0.95), int(ordered[-1]), total)


@dataclass(frozen=True)
class DatasetCard:
    """What `prepare` made; stored as build/dataset/card.json.

    Attributes:
        digest: of the conversations in each split and nothing else: not of file names, order or time.
        rows, groups: how many in each split.
        tokens: lengths by split.
        duplicates: rows dropped because an equal one came before.
        overlaps: rows of `sources` dropped because the test files hold the same group.
        over_limit: training rows left out by `dataset.limit`.
        rejected: bad rows by kind.
        sources: the files read: name, bytes, sha256, rows, test, format (what it was taken for), evidence (why),
            licence (empty: not stated), pairs (made of it, by kind, where any were).
        files: SHA-256 of each split's file.
        split: how the test split came about.
        unpaired: material that no pairs were made of: transcripts, turns, documents, blocks.
        redactions: personal data found, by kind, and what was done; empty where redaction is off.
        near: near-duplicates: `threshold`, `mode`, `clusters` of more than one row, their `rows`, the `largest`,
            `dropped`, and `overlaps` with the test files (counted in overlaps too).
        conflicts: `prompts` with several answers, their `rows`, `dropped`, and `near` prompts with other answers.
        labels: by how many labels the split was stratified; 0: answers aren't labels.
        moved: rows that were in another split the time before.
        canaries: rows with a secret put into the training split; they count in its rows.
        pruned: training rows left out as the worst.
        lengths: how many rows have how many tokens, see `token_histogram`; empty without rows.
        label_counts: label -> split -> rows, canaries left out, the most frequent labels; empty where answers aren't.
        pairs: made of transcripts and documents: `made` by kind, `dropped` by reason, paragraphs of `boilerplate` taken
            out, exchanges of `chatter` shown or dropped, the `writer`; empty where there were neither.
        held_back: other wordings of questions that are trained on, in held_back.jsonl and in no split.
        flagged: rows that stayed though their answer is flawed, by kind: flagged.jsonl.
        cut: rows that stayed and of which reading left something out, by kind: cut.jsonl.
    """

    digest: str
    rows: dict[str, int]
    groups: dict[str, int]
    tokens: dict[str, TokenLengths]
    duplicates: int
    overlaps: int
    over_limit: int
    rejected: dict[str, int]
    sources: list[dict[str, Any]]
    files: dict[str, str]
    split: str
    unpaired: dict[str, int] = field(default_factory=dict)
    redactions: dict[str, Any] = field(default_factory=dict)
    near: dict[str, Any] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    labels: int = 0
    moved: int = 0
    canaries: int = 0
    pruned: int = 0
    lengths: dict[str, Any] = field(default_factory=dict)
    label_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    pairs: dict[str, Any] = field(default_factory=dict)
    held_back: int = 0
    flagged: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    format: int = field(default=FORMAT)

    def to_json(self) -> dict[str, Any]:
        """The card as a JSON value."""
        return asdict(self)

    @property
    def rejected_rows(self) -> int:
        """How many rows were bad."""
        return sum(self.rejected.values())


def content_digest(ids: Mapping[str, NDArray[np.uint64]]) -> str:
    """The dataset's digest: SHA-256 of the canonical JSON of the rows' ids (16 hex digits) by split, ascending."""
    digest = hashlib.sha256(b"{")
    for place, split in enumerate(sorted(ids)):
        digest.update(f"{',' if place else ''}{json.dumps(split)}:[".encode())
        ordered = np.sort(ids[split])
        for begin in range(0, len(ordered), _IDS_AT_ONCE):
            part = ordered[begin : begin + _IDS_AT_ONCE].tolist()
            digest.update((("," if begin else "") + ",".join(f'"{id_text(one)}"' for one in part)).encode())
        digest.update(b"]")
    digest.update(b"}")
    return digest.hexdigest()


def _in_order(by_split: dict[str, Any]) -> dict[str, Any]:
    return {split: by_split[split] for split in sorted(by_split, key=SPLITS.index)}


def load_card(folder: Path) -> DatasetCard:
    """The card of a prepared dataset's folder.

    Raises:
        DataError: not prepared, or by another version.
    """
    path = folder / FILE_NAME
    again = "make the dataset with `anchorhold dataset`"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise DataError(f"{path}: format {fields['format']}, this version reads {FORMAT}", again)
        fields["tokens"] = {split: TokenLengths(**lengths) for split, lengths in fields["tokens"].items()}
        for name in ("rows", "groups", "tokens", "files"):  # on the disk keys are sorted
            fields[name] = _in_order(fields[name])
        if lengths := fields.get("lengths"):
            lengths["rows"] = _in_order(lengths["rows"])
        return DatasetCard(**fields)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", again) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a dataset card", again) from error
