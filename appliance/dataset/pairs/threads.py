"""A chat of many into conversations of two: who asked, and who answered them by name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.dataset.pairs.noise import is_noise
from appliance.dataset.pairs.times import Clock
from appliance.dataset.reading.material import Turn

_ASKING = re.compile(
    r"\?(?:\s|$)|^(?:how|what|which|who|where|when|why|is|are|can|could|does|do|did|should|would|will|has"
    r"|have|any(?:one|body)?|"
    r"some(?:one|body))\b|\b(?:i need|i want|i(?:'m| am) (?:trying|looking|having|getting|using|not able"
    r"|unable|stuck)|i (?:have|get|got) (?:a|an|"
    r"this|some) (?:problem|issue|error|question)|i can(?:'t|not)|doesn'?t work|not working"
    r"|won'?t (?:work|start|boot|load|let)|help me|"
    r"problem with|trouble with|tell me|explain)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"^@?([^\s:,>]{2,32})\s?[:,>]\s+(?=\S)")
_AT = re.compile(r"^@([^\s:,]{2,32})\s+(?=\S)")
_TAIL = re.compile(r"(?:^|[\s,])@?([^\s,:]{3,32})\s*[?!.]*$")
_MINUTES = 15.0  # an answer to a person's name comes within these
_MOST_BEFORE = 2  # lines of a question before the one that asks
_JOINED = 4  # turns after which a person's next line begins another question


@dataclass
class _Thread:
    asker: str
    answerer: str
    last: int
    minute: float | None
    turns: list[tuple[str, str, int]] = field(default_factory=list)  # (role, text, line)


@dataclass(frozen=True)
class Line:
    """A turn with who it speaks to, and its text without that name."""

    number: int
    speaker: str
    to: str
    text: str
    line: int
    minute: float | None


def addressed(turn: Turn, names: dict[str, str]) -> tuple[str, str]:
    """(whom a turn speaks to, its text without the name); nobody known: ("", text).

    Args:
        turn: of a chat.
        names: case-folded name -> name, of those who spoke.
    """
    text = turn.text.strip()
    for pattern in (_ADDRESS, _AT):
        if (
            (match := pattern.match(text))
            and (name := names.get(match[1].casefold()))
            and name != turn.speaker
        ):
            return name, text[match.end() :].strip()
    head, _, rest = text.partition(" ")
    # Without a sign behind it, only a name that no common word is, which length, capitals, digits or signs tell.
    if rest and (name := names.get(head.casefold())) and name != turn.speaker and not _is_word(name):
        return name, rest.strip()
    if (match := _TAIL.search(text)) and len(text.split()) >= 3:
        name = names.get(match[1].casefold())
        if name and name != turn.speaker and not _is_word(name):
            mark = text[-1] if text[-1] in "?!." else ""
            return name, text[: match.start()].rstrip(" ,") + mark
    return "", text


def _is_word(name: str) -> bool:
    return name.isalpha() and (name.islower() or name.istitle()) and len(name) < 7


def is_question(text: str) -> bool:
    """Whether somebody wants something answered."""
    return bool(_ASKING.search(text)) and len(text.split()) >= 3


def _lines(turns: Sequence[Turn]) -> list[Line]:
    names = {turn.speaker.casefold(): turn.speaker for turn in turns if turn.speaker and turn.kind == "said"}
    clock = Clock()
    found: list[Line] = []
    for turn in turns:
        minute = clock.read(turn.time) if turn.time else None
        if not turn.speaker or is_noise(turn):
            continue
        to, text = addressed(turn, names)
        if text:
            found.append(Line(len(found), turn.speaker, to, text, turn.line, minute))
    return found


def _too_late(then: float | None, now: float | None) -> bool:
    return then is not None and now is not None and now - then > _MINUTES


def threads(turns: Sequence[Turn], reply_turns: int) -> Iterator[tuple[str, str, list[tuple[str, str, int]]]]:
    """(asker, answerer, turns as (role, text, line)) of each exchange, in the order in which they end.

    A thread begins with a question and an answer that names the asker within `reply_turns` turns; it goes on while
    the two speak to each other. What the asker says on before the answer belongs to the question, and what the answerer
    says on, unaddressed and at once, to the answer.
    """
    lines = _lines(turns)
    open_threads: dict[tuple[str, str], _Thread] = {}
    latest: dict[str, list[Line]] = {}  # what each said last to nobody
    used: set[int] = set()
    previous: Line | None = None
    for line in lines:
        for key in [key for key, thread in open_threads.items() if line.number - thread.last > reply_turns]:
            yield from _close(open_threads.pop(key))
        continued = previous is not None and previous.speaker == line.speaker
        mine = next((t for (a, b), t in open_threads.items() if b == line.speaker and (line.to == a)), None)
        if line.to and mine is not None:
            _add(mine, "assistant", line)
        elif line.to and (thread := open_threads.get((line.speaker, line.to))) is not None:
            _add(thread, "user", line)
        elif line.to:
            question = _question(latest.get(line.to, []), line, reply_turns, used)
            if question:
                used.update(one.number for one in question)
                thread = _Thread(line.to, line.speaker, line.number, line.minute)
                thread.turns = [("user", one.text, one.line) for one in question]
                thread.turns.append(("assistant", line.text, line.line))
                open_threads[line.to, line.speaker] = thread
            latest.setdefault(line.speaker, []).append(line)
        elif continued and (own := _just_spoke(open_threads, line)) is not None:
            role, thread = own
            _add(thread, role, line)
        elif (waiting := _answered(open_threads, line)) is not None:
            _add(waiting, "user", line)
            latest.setdefault(line.speaker, []).append(line)
        else:
            latest.setdefault(line.speaker, []).append(line)
        previous = line
    for thread in open_threads.values():
        yield from _close(thread)


def _add(thread: _Thread, role: str, line: Line) -> None:
    thread.turns.append((role, line.text, line.line))
    thread.last, thread.minute = line.number, line.minute


def _question(said: list[Line], answer: Line, reply_turns: int, used: set[int]) -> list[Line]:
    """The lines of the asker's last question before an answer; empty: they asked nothing lately."""
    near = [
        one
        for one in said[-reply_turns:]
        if answer.number - one.number <= reply_turns
        and not _too_late(one.minute, answer.minute)
        and one.number not in used
        and one.to in {"", answer.speaker}
    ]
    last = next((place for place in range(len(near) - 1, -1, -1) if is_question(near[place].text)), None)
    if last is None:
        return []
    begin = last
    while begin > max(0, last - _MOST_BEFORE) and near[begin].number - near[begin - 1].number <= _JOINED:
        begin -= 1
    return near[begin:]


def _just_spoke(open_threads: dict[tuple[str, str], _Thread], line: Line) -> tuple[str, _Thread] | None:
    """The thread whose last turn is the line just before this one, by the same speaker."""
    for (asker, answerer), thread in open_threads.items():
        if thread.last == line.number - 1 and line.speaker in {asker, answerer}:
            return ("user" if line.speaker == asker else "assistant"), thread
    return None


def _answered(open_threads: dict[tuple[str, str], _Thread], line: Line) -> _Thread | None:
    """The one thread in which this asker was answered last, within a few turns."""
    own = [
        thread for (asker, _), thread in open_threads.items()
        if asker == line.speaker and thread.turns[-1][0] == "assistant" and line.number - thread.last <= _JOINED
    ]  # fmt: skip
    return own[0] if len(own) == 1 else None


def _close(thread: _Thread) -> Iterator[tuple[str, str, list[tuple[str, str, int]]]]:
    while thread.turns and thread.turns[-1][0] != "assistant":
        thread.turns.pop()
    if thread.turns:
        yield thread.asker, thread.answerer, thread.turns
