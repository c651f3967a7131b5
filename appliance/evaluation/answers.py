"""Answers kept as they come, so that a measuring that was killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from appliance import storage


@dataclass(frozen=True)
class Answer:
    """What a system said to one row.

    Attributes:
        key: see `answer_key`.
        system: the system's key.
        row: the row's id.
        text: the answer.
        finish: "stop" when it ended by itself, "length" when it was cut.
        prompt_tokens, completion_tokens: counts.
        wall: seconds since the answer before it; their sum is the time that the measuring took.
    """

    key: str
    system: str
    row: str
    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    wall: float

    @property
    def ended(self) -> bool:
        """Whether it ended by itself, with the end token."""
        return self.finish == "stop"


def answer_key(file_sha256: str, prompt: Sequence[int], sampling: dict[str, Any]) -> str:
    """What an answer depends on: the file, the prompt's tokens and the parameters."""
    return storage.sha256_json({"file": file_sha256, "prompt": list(prompt), "sampling": sampling})


class AnswerStore:
    """answers.jsonl: appended line by line, each whole; a line cut by a kill is dropped on opening."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Answer] = {}
        whole = 0
        if path.exists():
            with path.open("rb") as stream:
                for line in stream:
                    try:
                        answer = Answer(**json.loads(line))
                    except (ValueError, TypeError):
                        break
                    if not line.endswith(b"\n"):
                        break
                    self._known[answer.key] = answer
                    whole += len(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab")
        self._stream.truncate(whole)

    def get(self, key: str) -> Answer | None:
        """The answer of that key, if it was given before."""
        return self._known.get(key)

    def add(self, answer: Answer) -> None:
        """Keep an answer at once."""
        self._stream.write(storage.canonical_json(asdict(answer)) + b"\n")
        self._stream.flush()
        self._known[answer.key] = answer

    def keep_only(self, answers: Sequence[Answer]) -> None:
        """Replace the file by these answers, durably and in this order."""
        with storage.atomic_writer(self._path) as stream:
            stream.writelines(storage.canonical_json(asdict(answer)) + b"\n" for answer in answers)

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()
