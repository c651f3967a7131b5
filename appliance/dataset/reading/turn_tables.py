"""Tables (or flat objects) of which each row is one turn: rows of one conversation become one transcript."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.dataset.reading.material import MAX_TURNS, Transcript, Turn

_CONVERSATIONS = (
    "conversationid", "conversation", "convid", "dialogueid", "dialogid", "dialogue", "dialog",
    "sessionid", "session", "threadid", "thread", "chatid", "ticketid", "callid", "channel", "meetingid",
)  # fmt: skip
_ORDERS = (
    "turnnumber", "turn", "turnid", "turnindex", "turnno", "utteranceindex", "messageindex", "position",
    "sequence", "seq", "order",
)  # fmt: skip
_TEXTS = ("utterance", "text", "message", "content", "body", "transcript", "transcription", "said")
_SPEAKERS = (
    "authorrole", "role", "speaker", "speakername", "author", "sender", "from", "user", "username",
    "name", "participant", "nick", "agent",
)  # fmt: skip
_TIMES = ("timestamp", "time", "datetime", "date", "sentat", "createdat", "starttime", "start", "ts")
_HELD = 32 * 1024 * 1024  # characters of conversations still open, where a table mixes them


@dataclass(frozen=True)
class TurnColumns:
    """Which column holds what; empty: none does.

    Attributes:
        conversation, order, text, speaker, time: columns.
        evidence: in words.
    """

    conversation: str
    order: str
    text: str
    speaker: str
    time: str
    evidence: str = field(default="", compare=False)

    @property
    def mapping(self) -> dict[str, str]:
        """What is taken from which column, for people."""
        parts = {
            "conversation": self.conversation,
            "order": self.order,
            "speaker": self.speaker,
            "time": self.time,
            "text": self.text,
        }
        return {name: column for name, column in parts.items() if column}


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def find_turn_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> TurnColumns | None:
    """The columns of a table of turns, by their names and by conversations that hold several rows; None: it is none."""
    known = {_plain(column): column for column in reversed(columns)}

    def named(names: Sequence[str], *taken: str) -> str:
        return next((known[name] for name in names if name in known and known[name] not in taken), "")

    conversation, text = named(_CONVERSATIONS), named(_TEXTS)
    order, time = named(_ORDERS), named(_TIMES)
    speaker = named(_SPEAKERS, conversation, text, order, time)
    if not text or not all(isinstance(row.get(text), str | None) for row in rows):
        return None
    if not conversation:
        # One conversation without an id: only where nothing but who, when and what is there.
        if not speaker or not time or len(rows) < 4:
            return None
        voices = len({str(row.get(speaker)) for row in rows})
        if voices < 2 or voices * 2 > len(rows):
            return None
        evidence = (
            f"a table of turns: `{speaker}` ({voices} in the first {len(rows)} rows), `{time}` and `{text}`"
        )
        return TurnColumns("", order, text, speaker, time, evidence)
    ids = [str(row.get(conversation)) for row in rows]
    if not (order or speaker or time) or (len(rows) > 3 and len(set(ids)) * 3 > len(ids) * 2):
        return None
    by = f"`{order or speaker or time}`"
    evidence = (
        f"a table of turns: `{conversation}` ({len(set(ids))} conversations in the first {len(rows)} rows), "
        f"{by} and `{text}`" + ("" if speaker else "; no column says who speaks")
    )
    return TurnColumns(conversation, order, text, speaker, time, evidence)


@dataclass
class _Open:
    line: int
    part: int = 1
    turns: list[tuple[float, Turn]] = field(default_factory=list)
    characters: int = 0


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def collect_turns(
    file: str, rows: Iterable[tuple[int, Mapping[str, Any]]], columns: TurnColumns
) -> Iterator[Transcript]:
    """Transcripts of a table of turns, in the order in which their conversations begin or are full.

    Args:
        file: name relative to the project.
        rows: (line, values) in the order of the file; conversations may be mixed.
        columns: which holds what.
    """
    waiting: dict[str, _Open] = {}
    parts: dict[str, int] = {}
    held = 0
    used = set(columns.mapping.values())

    def close(name: str) -> Transcript:
        nonlocal held
        entry = waiting.pop(name)
        held -= entry.characters
        parts[name] = entry.part
        turns = sorted(entry.turns, key=lambda pair: pair[0]) if columns.order else entry.turns
        return Transcript(file, entry.line, name, tuple(turn for _, turn in turns), entry.part)

    for line, row in rows:
        name = str(row.get(columns.conversation, "") or "") if columns.conversation else ""
        text = str(row.get(columns.text) or "")
        extra = {
            str(key): str(value)
            for key, value in row.items()
            if key not in used and value not in (None, "") and isinstance(value, (str, int, float))
        }
        turn = Turn(
            str(row.get(columns.speaker) or "") if columns.speaker else "",
            text,
            line,
            str(row.get(columns.time) or "") if columns.time else "",
            fields=extra,
        )
        if name not in waiting:
            waiting[name] = _Open(line, parts.get(name, 0) + 1)
        entry = waiting[name]
        size = len(text) + 200 + sum(map(len, extra.values()))
        entry.turns.append((_number(row.get(columns.order)) if columns.order else 0.0, turn))
        entry.characters += size
        held += size
        if len(entry.turns) >= MAX_TURNS:
            yield close(name)
        while held > _HELD:
            yield close(next(iter(waiting)))
    for name in list(waiting):
        yield close(name)
