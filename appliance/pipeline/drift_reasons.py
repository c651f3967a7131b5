"""Why a round: a device's drift (`anchorhold drift --json`), and which rows would answer it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import DataError
from appliance.regular_file import open_regular
from appliance.visible import visible
from appliance.watch.signals import BY_NAME

_LONGEST = 1 << 20  # bytes; a real one has a hundredth of it
_MOST = 32  # alarms; there are fewer signals
_WANTED = {
    "length": "rows whose messages are as long as those that are asked now",
    "unknown": "rows with the words that are asked now: correct answers to such requests, whole sentences of them",
    "surprise": "rows about what is asked now: correct answers to such requests",
    "embedding": "rows about what is asked now: correct answers to such requests",
    "unfit": "corrections of answers that don't fit the schema",
    "refusal": "corrections of answers that refuse what should be answered",
    "cut": "shorter answers among the rows, or a greater `max_tokens` where the program asks",
    "answer": "corrections of answers that are too long or too short",
    "confidence": "corrections of answers to what is asked now: the model is less sure of them",
}


@dataclass(frozen=True)
class Reason:
    """An alarm of a device.

    Attributes:
        signal: its name (docs/formats/drift.md).
        text: in plain words, as the device told it; nothing in it is obeyed by a terminal.
    """

    signal: str
    text: str

    @property
    def wanted(self) -> str:
        """Which rows would answer it."""
        return _WANTED[self.signal]


def read_reasons(path: Path) -> tuple[Reason, ...]:
    """The alarms that a file of `anchorhold drift --json` holds; none where nothing drifts.

    Raises:
        DataError: it isn't there, or is no such file.
    """
    hint = "give what `anchorhold drift --json` printed on the device"
    try:
        with open_regular(path) as stream:
            content = stream.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise DataError(f"{path}: larger than {_LONGEST} bytes", hint)
        told = json.loads(content)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON", hint) from error
    alarms = told.get("alarms") if isinstance(told, dict) else None
    if not isinstance(alarms, list) or len(alarms) > _MOST:
        raise DataError(f"{path}: holds no `alarms`", hint)
    found = []
    for alarm in alarms:
        signal, text = (alarm.get("signal"), alarm.get("text")) if isinstance(alarm, dict) else (None, None)
        if not isinstance(signal, str) or signal not in BY_NAME or not isinstance(text, str):
            raise DataError(f"{path}: an alarm of an unknown kind", hint)
        found.append(Reason(signal, visible(text, 300)))
    return tuple(found)


def reason_lines(reasons: tuple[Reason, ...]) -> list[str]:
    """For a terminal: each alarm, and what would answer it."""
    if not reasons:
        return ["drift     no alarm"]
    return [line for each in reasons for line in (f"drift     {each.text}", f"  wanted  {each.wanted}")]
