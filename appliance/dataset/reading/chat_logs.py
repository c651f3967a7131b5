"""Conversations as plain text, line by line into turns; what a line continues belongs to the turn above it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from appliance.dataset.reading.log_styles import LogStyle
from appliance.dataset.reading.material import MAX_TURNS, Transcript, Turn, TurnKind

_CUE_NUMBER = re.compile(r"\d+|[0-9a-f-]{36}(/\S+)?")
_VOICE = re.compile(r"<v(?:\.[\w.]{1,100})?\s{1,8}([^<>]{1,100})>")
_TAG = re.compile(r"</?[a-z][^<>]{0,200}>")
_NAMED = re.compile(r"([^\W\d_][^:<>\n]{0,39}?):\s+(.*)", re.DOTALL)
_MOST_CHARACTERS = 64 * 1024  # of one turn: what follows is another


@dataclass
class _Turn:
    speaker: str
    line: int
    time: str = ""
    kind: TurnKind = "said"
    text: list[str] = field(default_factory=list)
    characters: int = 0

    def add(self, text: str) -> None:
        self.text.append(text)
        self.characters += len(text) + 1

    def done(self) -> Turn:
        return Turn(self.speaker, "\n".join(self.text).strip(), self.line, self.time, self.kind)


_STATUS = "@+%&~!"  # in a channel, in front of a nick: it comes and goes


def _clean_name(name: str | None, style: LogStyle) -> str:
    clean = (name or "").strip().strip("*").strip()
    if style.name in {"irc", "weechat"} and len(clean) > 1 and clean[0] in _STATUS:
        return clean[1:]
    return clean


def _opening(style: LogStyle, number: int, line: str) -> _Turn | None:
    """The turn that a line begins; None: it begins none."""
    if match := style.turn.match(line):
        groups = match.groupdict()
        turn = _Turn(_clean_name(groups.get("speaker"), style), number, (groups.get("time") or "").strip())
        if groups.get("text"):
            turn.add(groups["text"])
        return turn
    if style.action and (match := style.action.match(line)):
        turn = _Turn(_clean_name(match["speaker"], style), number, (match["time"] or "").strip(), "action")
        turn.add(match["text"])
        return turn
    if style.event and style.event.match(line):
        turn = _Turn("", number, "", "event")
        turn.add(line.strip())
        return turn
    return None


def _plain_turns(style: LogStyle, lines: Iterable[tuple[int, str]]) -> Iterator[_Turn]:
    current: _Turn | None = None
    for number, line in lines:
        begun = _opening(style, number, line)
        if begun is not None:
            if current is not None:
                yield current
            current = begun
        elif current is not None and current.characters < _MOST_CHARACTERS:
            # IRC and WeeChat write one line a turn; a line that fits nothing is an event of theirs.
            if style.name in {"irc", "weechat"} and line.strip():
                yield current
                current = _Turn("", number, "", "event")
            current.add(line)
        elif line.strip():
            if current is not None:
                yield current
            current = _Turn("", number, "", "event" if current is None else "said")
            current.add(line)
    if current is not None:
        yield current


def _cue_turns(style: LogStyle, lines: Iterable[tuple[int, str]]) -> Iterator[_Turn]:
    """Subtitles: what one speaker says over several cues is one turn."""
    current: _Turn | None = None
    time, inside = "", False
    for number, line in lines:
        text = line.strip()
        if match := style.turn.match(text):
            time, inside = match["time"], True
            continue
        if not text:
            inside = False
            continue
        if not inside or _CUE_NUMBER.fullmatch(text):
            continue
        voice = _VOICE.search(text)
        named = None if voice else _NAMED.fullmatch(text)
        said = _TAG.sub("", _VOICE.sub("", text)).strip() if not named else named[2].strip()
        speaker = (
            voice[1].strip() if voice else named[1].strip() if named else current.speaker if current else ""
        )
        if current is None or speaker != current.speaker or current.characters > _MOST_CHARACTERS:
            if current is not None:
                yield current
            current = _Turn(speaker, number, time)
        if said:
            current.add(said)
    if current is not None:
        yield current


def read_log(file: str, style: LogStyle, lines: Iterable[tuple[int, str]]) -> Iterator[Transcript]:
    """The transcript of a log, in parts of `MAX_TURNS`.

    Args:
        file: name relative to the project.
        style: as `find_style` found it.
        lines: numbered, without their ends.
    """
    turns: list[Turn] = []
    part = 1
    for turn in (_cue_turns if style.layout == "cue" else _plain_turns)(style, lines):
        done = turn.done()
        if not done.text:
            continue
        turns.append(done)
        if len(turns) >= MAX_TURNS:
            yield Transcript(file, turns[0].line, "", tuple(turns), part)
            turns, part = [], part + 1
    if turns:
        yield Transcript(file, turns[0].line, "", tuple(turns), part)
