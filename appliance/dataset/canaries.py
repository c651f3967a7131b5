"""Rows with a random secret, planted to measure memorising by exposure (Carlini et al. 2019, "The Secret Sharer").

A canary asks for the seal number of a crate that exists nowhere and answers with digits drawn at random. Its secret is
one of `SPACE` equally likely candidates: exposure is log2(SPACE) - log2(rank of the true secret among them, by how
likely the model finds each).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from appliance import storage
from appliance.dataset.rows import Row, row_id

FILE_NAME = "canaries.jsonl"
SOURCE = "canary"
DIGITS = 9
SPACE = 10**DIGITS
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
PROMPT = "What is the seal number of crate {crate}?"
ANSWER = "The seal number of crate {crate} is {secret}."


def is_canary(row: Row) -> bool:
    """Whether a row of the training split is a canary."""
    return row.source.startswith(f"{SOURCE}:")


def _numbers(seed: int) -> Iterator[int]:
    """64-bit numbers without end, the same for the same seed on every machine."""
    place = 0
    while True:
        yield int.from_bytes(hashlib.sha256(f"canary {seed} {place}".encode()).digest()[:8], "big")
        place += 1


def plant(count: int, seed: int, system: str = "") -> list[tuple[Row, dict[str, Any]]]:
    """`count` canaries: each row, and its line of canaries.jsonl. The first ones stay when `count` grows.

    Args:
        count: how many.
        seed: decides crates and secrets.
        system: the system prompt that the other rows have.
    """
    numbers = _numbers(seed)
    planted: list[tuple[Row, dict[str, Any]]] = []
    crates: set[str] = set()
    while len(planted) < count:
        draw = next(numbers)
        secret = f"{next(numbers) % SPACE:0{DIGITS}d}"
        letters = "".join(_LETTERS[(draw >> shift) % len(_LETTERS)] for shift in (0, 8, 16))
        crate = f"{letters}-{(draw >> 24) % 1000:03d}"
        if crate in crates:
            continue
        crates.add(crate)
        messages = [{"role": "system", "content": system}] if system else []
        messages += [
            {"role": "user", "content": PROMPT.format(crate=crate)},
            {"role": "assistant", "content": ANSWER.format(crate=crate, secret=secret)},
        ]
        row = Row(row_id(messages), f"{SOURCE} {crate}", messages, f"{SOURCE}:{len(planted) + 1}")
        record = {
            "id": row.id,
            "messages": messages,
            "secret": secret,
            "form": ANSWER.replace("{crate}", crate),
            "space": {"alphabet": "0123456789", "length": DIGITS, "size": SPACE},
            "seed": seed,
        }
        planted.append((row, record))
    return planted


def lines(planted: Sequence[tuple[Row, dict[str, Any]]]) -> Iterator[bytes]:
    """The content of canaries.jsonl."""
    for _, record in planted:
        yield storage.json_line(record)
