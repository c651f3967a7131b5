"""What operators say of answers: good, wrong, or how it should have been; JSON lines in the device's folder.

A correction is made by a key that somebody pressed. It leaves the device only as a file that somebody exports.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from appliance import storage

MAX_BYTES = 64 * 1024 * 1024  # of the file; further ones are refused until it is exported and cleared
Verdict = Literal["good", "wrong"]
_FIELDS = {"time": str, "release": str, "verdict": str, "messages": list, "answer": str, "better": str}


@dataclass(frozen=True)
class Correction:
    """One verdict.

    Attributes:
        time: ISO 8601, UTC.
        release: what answered, as the API names it.
        verdict: "good" or "wrong".
        messages: the conversation up to the question, each with "role" and "content".
        answer: what was answered.
        better: what should have been; empty where nobody said.
    """

    time: str
    release: str
    verdict: Verdict
    messages: tuple[dict[str, str], ...]
    answer: str
    better: str = ""

    @property
    def question(self) -> str:
        """What the verdict is about, for people and to tell two verdicts on one answer."""
        return self.messages[-1]["content"] if self.messages else ""


def _parse(line: bytes) -> Correction:
    value = json.loads(line)
    if not isinstance(value, dict) or set(value) != set(_FIELDS):
        raise ValueError("not the fields of a correction")
    if any(not isinstance(value[name], kind) for name, kind in _FIELDS.items()):
        raise ValueError("a field of another kind")
    messages = tuple(
        {"role": str(turn["role"]), "content": str(turn["content"])} for turn in value.pop("messages")
    )
    if value["verdict"] not in {"good", "wrong"} or not messages or messages[-1]["role"] != "user":
        raise ValueError("no verdict on an answer")
    return Correction(**value, messages=messages)


def read(path: Path) -> tuple[list[Correction], list[str]]:
    """Every verdict, oldest first, and what is wrong with lines that are none; nothing where there is no file."""
    found: list[Correction] = []
    faults: list[str] = []
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES)
    except FileNotFoundError:
        return [], []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append(_parse(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            faults.append(f"{path}:{number}: no correction ({error}); left out")
    return found, faults


def add(path: Path, correction: Correction) -> bool:
    """Keep a verdict, durably; False where the file is full.

    Two programs may add at once: the file is locked meanwhile. A line that was torn by a loss of power is closed first.

    Raises:
        OSError: no space, no permission; then nothing of it was kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = storage.json_line(asdict(correction))
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        if size + len(line) > MAX_BYTES:
            return False
        closing = b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""
        storage.append_whole(fd, closing + line)
    finally:
        os.close(fd)
    return True


def newest(corrections: Sequence[Correction]) -> list[Correction]:
    """The last verdict on each answer to each conversation, oldest first."""
    last = {_key(each): each for each in corrections}
    return list(last.values())


def _key(each: Correction) -> str:
    return storage.sha256_json([list(each.messages), each.answer])


def rows(corrections: Sequence[Correction]) -> Iterator[dict[str, Any]]:
    """What can be learnt from: good answers as conversations, better ones as preference rows with the wrong side.

    A verdict "wrong" without a better answer teaches nothing by itself and gives no row.
    """
    for each in newest(corrections):
        turns = list(each.messages)
        group = f"correction {storage.sha256_json([turns])[:16]}"
        if each.verdict == "good":
            answered = [*turns, {"role": "assistant", "content": each.answer}]
            yield {"messages": answered, "group": group}
        elif each.better and each.better != each.answer:
            yield {
                "prompt": turns,
                "chosen": [{"role": "assistant", "content": each.better}],
                "rejected": [{"role": "assistant", "content": each.answer}],
                "group": group,
            }
