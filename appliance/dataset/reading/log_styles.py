"""How chat programs write their logs as text: one style each, found by the share of lines that it fits. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SAMPLE_LINES = 400

_GAP = "[ \u202f\u00a0]"
_HALF_DAY = rf"(?:{_GAP}?[AaPp]\.?{_GAP}?[Mm]\b\.?)"
_HALF_DAY_FIRST = rf"(?:(?:上午|下午|凌晨|早上|中午|晚上|午前|午後|오전|오후){_GAP}?)"
_CLOCK = rf"{_HALF_DAY_FIRST}?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?(?:[.,]\d{{1,9}})?{_HALF_DAY}?"
_WEEKDAY = (
    r"(?:(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}|Mo|Di|Mi|Do|Fr|Sa|So|lun|mar|mi[eé]|jue|vie|s[aá]b|dom|mer|jeu|"
    r"ven|sam|dim)\.?,? )"
)
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DATE = (
    r"(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4}\. \d{1,2}\. \d{1,2}\.|\d{1,2}\.? [A-Za-z]{3,9}\.? \d{2,4}|"
    r"[A-Za-z]{3,9}\.? \d{1,2},? \d{4}|" + _MONTH + r" {1,2}\d{1,2}(?!\d)|\d{1,2}/\d{1,2}(?!\d))"
)
# How far from UTC; a name that looks like one is followed by a colon.
_ZONE = r"(?:Z\b| ?[+-]\d{2}:?\d{2}\b| (?:UTC|GMT|CES?T|[ECMP][SD]T)\b(?!:))"
_DATED = rf"{_WEEKDAY}?{_DATE}[,T]?{_GAP}{{0,4}}(?:(?:at|um|à|alle|às|klo|kl\.|om) )?{_CLOCK}{_ZONE}?"
_STAMP = rf"(?:{_DATED}|{_CLOCK}(?:Z\b)?)"
_SECONDS = r"(?:\d{1,2}h )?(?:\d{1,2}m )?\d{1,2}s"  # since the chat began
_NICK = r"[@+%&~!]?[^\s<>]{1,40}"
_PERSON = r"[^\W\d_][^:<>\n\t|{}\[\]=\"]{0,39}?"
_MARKS = "[\u200e\u200f\u202a\u202c\ufeff]{0,4}"

Layout = Literal["line", "header", "cue"]


@dataclass(frozen=True)
class LogStyle:
    """One way to write a log.

    Attributes:
        name: what it is called.
        told: in words.
        turn: a line that begins a turn: groups `time`, `speaker`, `text`, as far as it has them.
        layout: `line`: the text stands behind the name; `header`: on the lines below; `cue`: subtitles.
        action: a line that tells what somebody does.
        event: a line that is no turn.
        share: the least share of lines that must begin a turn.
    """

    name: str
    told: str
    turn: re.Pattern[str]
    layout: Layout = "line"
    action: re.Pattern[str] | None = None
    event: re.Pattern[str] | None = None
    share: float = 0.5


def _style(
    name: str,
    told: str,
    turn: str,
    layout: Layout = "line",
    action: str = "",
    event: str = "",
    share: float = 0.5,
) -> LogStyle:
    return LogStyle(
        name,
        told,
        re.compile(_MARKS + turn + r"\Z", re.DOTALL),
        layout,
        re.compile(action + r"\Z") if action else None,
        re.compile(event) if event else None,
        share,
    )


_IRC_TIME = rf"(?:\[?(?P<time>{_STAMP})\]?\s{{1,8}})?"
STYLES: tuple[LogStyle, ...] = (
    _style(
        "webvtt",
        "subtitles of a meeting (WebVTT or SRT)",
        r"(?P<time>(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}) --> .*",
        layout="cue",
        share=0.15,
    ),
    _style(
        "irc",
        "an IRC log",
        _IRC_TIME + rf"<\s?(?P<speaker>{_NICK})>\s?(?P<text>.*)",
        action=_IRC_TIME + rf"\*\s{{1,8}}(?P<speaker>{_NICK})\s{{1,8}}(?P<text>.*)",
        event=rf"(?:\[?{_STAMP}\]?\s{{1,8}})?(?:===|-!-|\*\*\*\*?|---|-->|<--|--)(?:\s|$)",
    ),
    _style(
        "weechat",
        "a WeeChat log",
        rf"(?P<time>{_STAMP})\t(?P<speaker>{_NICK})\t(?P<text>.*)",
        event=rf"{_STAMP}\t(?:-->|<--|--|=!=)?\t",
    ),
    _style(
        "whatsapp",
        "a WhatsApp export",
        rf"\[?(?P<time>{_DATED})(?:\]|{_GAP}-|,) {_MARKS}"
        rf"(?:~{_GAP}?)?(?P<speaker>[^:\n]{{1,60}}): (?P<text>.*)",
        event=rf"{_MARKS}\[?{_DATED}(?:\]|{_GAP}-|,) ",
        share=0.3,
    ),
    _style(
        "teams",
        "chat copied from Teams",
        rf"\[(?P<time>{_STAMP})\]\s{{1,8}}(?P<speaker>{_PERSON})",
        layout="header",
        share=0.15,
    ),
    _style(
        "zoom",
        "chat saved by Zoom",
        rf"(?P<time>{_STAMP})\s{{1,8}}From (?P<speaker>[^:\n]{{1,60}}?) [Tt]o [^:\n]{{1,60}}?\s?:\s{{0,8}}(?P<text>.*)",
        share=0.25,
    ),
    _style(
        "timed-names",
        "a conversation as times and names",
        rf"(?:[\[(]?(?P<time>{_STAMP})[\])]?|\( ?{_SECONDS} ?\))[ \t]{{0,8}}(?:[-|][ \t]{{1,8}})?"
        rf"(?P<bracket>\[)?(?P<speaker>{_PERSON})(?(bracket)\]:?|(?:>| ?\||:))\s+(?P<text>.*)",
    ),
    _style(
        "names-timed",
        "a conversation as names and times",
        rf"(?P<speaker>{_PERSON}) ?[\[(](?P<time>{_STAMP})[\])]:?\s+(?P<text>.*)",
    ),
    _style(
        "slack",
        "chat copied from Slack, Teams or Discord",
        rf"(?P<speaker>{_PERSON})(?:(?: {{2,12}}| — |\t|,? ?\[)(?:(?:Today|Yesterday)(?: at|,)? )?| (?={_DATED}\Z))"
        rf"(?P<time>{_STAMP})\]?",
        layout="header",
        share=0.15,
    ),
    _style(
        "names",
        "a conversation as `Name: text`",
        rf"(?:[-*>]\s{{1,8}})?(?:\*\*)?(?P<speaker>{_PERSON})(?::\*\*|\*\*:|:)(?:\s+(?P<text>.*))?",
        share=0.6,
    ),
)
BY_NAME = {style.name: style for style in STYLES}
# What looks like a name in front of a colon and is none.
_NO_NAMES = re.compile(
    r"(?:note|warning|tip|important|example|caution|todo|title|date|author|from|to|cc|subject|http|https|file|"
    r"version|status|step|figure|table|section|chapter|description|name|address|phone|email|usage|"
    r"options|see also|summary|license|source)s?",
    re.IGNORECASE,
)

# What programs write where people would have a name.
_LEVELS = re.compile(
    r"(?:trace|debug|info|notice|warn|warning|error|err|crit|critical|fatal)\b", re.IGNORECASE
)
_BEGINS_TIMED = re.compile(rf"{_MARKS}[\[(<]?(?:{_STAMP}|\d{{10}}(?:\d{{3}})?(?=[ \t]))(?![\w:])")
_TIME_ALONE = re.compile(rf"\s*[\[(]?{_STAMP}[\])]?\s*")


def looks_like_log(lines: Sequence[str]) -> bool:
    """Whether most lines begin with a time, or every few lines a time stands alone: no prose, whatever it is.

    Args:
        lines: without their ends; empty ones don't count.
    """
    filled = [line for line in lines if line.strip()][:SAMPLE_LINES]
    timed = sum(bool(_BEGINS_TIMED.match(line)) for line in filled)
    alone = sum(bool(_TIME_ALONE.fullmatch(line)) for line in filled)
    return len(filled) >= 3 and (timed * 5 >= len(filled) * 3 or (alone >= 2 and alone * 5 >= len(filled)))


@dataclass(frozen=True)
class FoundStyle:
    """A style that a text's lines fit.

    Attributes:
        style: which.
        evidence: in words.
    """

    style: LogStyle
    evidence: str


def _judge(style: LogStyle, lines: Sequence[str]) -> FoundStyle | None:
    matches = [match for line in lines if (match := style.turn.match(line))]
    others = sum(
        bool(
            (style.action and style.action.match(line))
            or (style.event and style.event.match(line) and not style.turn.match(line))
        )
        for line in lines
    )
    if len(matches) < 2 or (len(matches) + others) < style.share * len(lines):
        return None
    if style.layout == "cue":
        return FoundStyle(
            style, f"{style.told}: {len(matches)} times with arrows in the first {len(lines)} lines"
        )
    speakers = Counter(match["speaker"].strip() for match in matches)
    recurring = sum(count for count in speakers.values() if count > 1)
    if sum(count for name, count in speakers.items() if _LEVELS.match(name)) * 2 > len(matches):
        return None  # a program's log
    if style.name == "timed-names":
        # A timetable also has times and colons; who talks comes back, and has a short name.
        long = sum(count for name, count in speakers.items() if len(name.split()) > 4)
        if long * 4 > len(matches) or (len(matches) >= 4 and recurring * 2 < len(matches)):
            return None
    if style.name == "names":
        # Notes and forms also write `word: text`; people who talk take turns and come back.
        named = [
            name
            for name in speakers
            if _NO_NAMES.fullmatch(name) or len(name.split()) > 4 or name[0].islower()
        ]
        if len(speakers) < 2 or sum(speakers[name] for name in named) * 4 > len(matches):
            return None
        if len(matches) >= 4 and recurring * 2 < len(matches):
            return None
        if len(matches) < 4 and len(speakers) > 2:
            return None
    elif style.name == "irc" and sum("</" in match["text"] for match in matches) * 2 > len(matches):
        return None  # lines of HTML
    elif style.layout == "header" and recurring * 2 < len(matches):
        return None
    unit = "lines" if style.layout == "line" else "names above their text"
    evidence = (
        f"{style.told}: {len(matches)} of the first {len(lines)} lines begin a turn"
        if style.layout == "line"
        else f"{style.told}: {len(matches)} {unit} in the first {len(lines)} lines"
    )
    return FoundStyle(style, f"{evidence}, {len(speakers)} speakers")


def find_style(lines: Sequence[str]) -> FoundStyle | None:
    """The style of a chat log, from its first lines; None: it is none.

    Args:
        lines: without their ends; empty ones don't count.
    """
    filled = [line for line in lines if line.strip()][:SAMPLE_LINES]
    if len(filled) < 2:
        return None
    return next((found for style in STYLES if (found := _judge(style, filled)) is not None), None)
