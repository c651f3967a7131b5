"""Answers kept as they come, so that a measuring that was killed goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.kept_lines import KeptLines


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

    @property
    def complete(self) -> bool:
        """Whether it said something and then ended by itself. An end token alone is no answer."""
        return self.ended and bool(self.text.strip())


def answer_key(file_sha256: str, prompt: Sequence[int], sampling: dict[str, Any]) -> str:
    """What an answer depends on: the file, the prompt's tokens and the parameters."""
    return storage.sha256_json({"file": file_sha256, "prompt": list(prompt), "sampling": sampling})


def _parsed(value: Any) -> tuple[str, Answer]:
    answer = Answer(**value)
    return answer.key, answer


class AnswerStore(KeptLines[Answer]):
    """answers.jsonl."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _parsed, lambda _, answer: asdict(answer))

    def add(self, answer: Answer) -> None:
        """Keep an answer at once."""
        self.put(answer.key, answer)

    def keep_only(self, answers: Sequence[Answer]) -> None:
        """Replace the file by these answers, durably and in this order."""
        with storage.atomic_writer(self._path) as stream:
            stream.writelines(self._bytes(answer.key, answer) for answer in answers)
