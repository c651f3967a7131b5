"""Times, names and marks as many chat programs write them, in several languages; logs that nobody talks in."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.dataset.reading import BadRow, Document, Transcript
from tests.dataset.reading.conftest import Shelf

SAID = [("Maria Lopez", "is P3 up?"), ("Bob", "no"), ("Maria Lopez", "why?"), ("Bob", "it leaks: oil")]
# How one turn is written, and the style's name; {n} is its number, from 1.
TURNS = {
    "iso with Z": ("2024-01-05T21:4{n}:00Z {who}: {text}", "timed-names"),
    "iso with Z in brackets": ("[2024-01-05T21:4{n}:00Z] {who}: {text}", "whatsapp"),
    "iso with an offset": ("2024-01-05T21:4{n}:00+02:00 {who}: {text}", "timed-names"),
    "iso with a short offset": ("2024-01-05 21:4{n}:00.123456-0530 {who}: {text}", "timed-names"),
    "iso with fractions": ("2024-01-05T21:4{n}:00.123Z [{who}] {text}", "timed-names"),
    "a zone by its name": ("2024-01-05 21:4{n}:00 UTC {who}: {text}", "timed-names"),
    "whatsapp, american": ("[1/5/24, 9:4{n}:03\u202fPM] {who}: {text}", "whatsapp"),
    "whatsapp, german": ("05.01.24, 21:4{n} - {who}: {text}", "whatsapp"),
    "whatsapp, spanish": ("5/1/24, 9:4{n} p.\u00a0m. - {who}: {text}", "whatsapp"),
    "whatsapp, french": ("05/01/2024 à 21:4{n} - {who}: {text}", "whatsapp"),
    "whatsapp, finnish": ("5.1.2024 klo 21.4{n} - {who}: {text}", "whatsapp"),
    "whatsapp, chinese": ("2024/1/5 下午9:4{n} - {who}: {text}", "whatsapp"),
    "whatsapp, korean": ("2024. 1. 5. 오후 9:4{n}, {who}: {text}", "whatsapp"),
    "whatsapp, somebody unknown": ("[05.01.24, 21:4{n}:03] ~\u202f{who}: {text}", "whatsapp"),
    "a weekday": ("Fri, Jan 5, 2024, 10:0{n} AM - {who}: {text}", "whatsapp"),
    "teams": ("[1/5 10:0{n} AM] {who}\n{text}", "teams"),
    "teams, one space": ("{who} 1/5/2024 10:0{n} AM\n{text}", "slack"),
    "slack": ("{who}  10:0{n} AM\n{text}", "slack"),
    "telegram": ("{who}, [05.01.2024 21:4{n}]\n{text}\n", "slack"),
    "zoom": ("10:0{n}:03 From {who} to Everyone : {text}", "zoom"),
    "zoom, newer": ("10:0{n}:03\t From {who} to Everyone:\n\t{text}", "zoom"),
    "zoom, newest": ("10:0{n}:03\t {who}:\t{text}", "timed-names"),
    "a time in parentheses": ("(10:0{n} AM) {who}: {text}", "timed-names"),
    "a time behind the name": ("{who} [10:0{n}]: {text}", "names-timed"),
    "seconds since the beginning": ("( 1m {n}s ) {who}: {text}", "timed-names"),
    "bars": ("10:0{n} | {who} | {text}", "timed-names"),
    "an angle": ("10:0{n} {who}> {text}", "timed-names"),
}
NICKS = {
    "iso": "2024-01-05T21:4{n}:00Z <{who}> {text}",
    "a mark": "21:4{n} <@{who}> {text}",
    "hexchat": "Jan 05 21:4{n}:03 <{who}>\t{text}",
    "weechat": "2024-01-05 21:4{n}:03\t@{who}\t{text}",
}


def log(form: str, said: list[tuple[str, str]] = SAID) -> str:
    lines = [form.format(n=n, who=who, text=text) for n, (who, text) in enumerate(said, start=1)]
    return "\n".join(lines) + "\n"


def turns(shelf: Shelf, text: str) -> list[tuple[str, str]]:
    (found,) = shelf.all_of(Transcript, shelf.write("a.txt", text))
    return [(turn.speaker, turn.text) for turn in found.turns if turn.kind == "said"]


@pytest.mark.parametrize(("form", "style"), TURNS.values(), ids=TURNS)
def test_turns(shelf: Shelf, form: str, style: str) -> None:
    text = log(form)
    assert shelf.detect(shelf.write("a.txt", text)).format == f"transcript {style}"
    assert turns(shelf, text) == SAID


@pytest.mark.parametrize("form", NICKS.values(), ids=NICKS)
def test_nicks(shelf: Shelf, form: str) -> None:
    """Whoever has a mark in front of the nick is who had none before."""
    said = [(who.split()[0].lower(), text) for who, text in SAID]
    assert turns(shelf, log(form, said[:2]) + log(form.replace("@", ""), said[2:])) == said
    begun = "**** BEGIN LOGGING AT Fri Jan  5 21:40:00 2024\n\n" + log(form, said)
    assert turns(shelf, begun) == said


def test_times_keep_their_zone(shelf: Shelf) -> None:
    (found,) = shelf.all_of(
        Transcript, shelf.write("a.txt", log("[2024-01-05T21:4{n}:00.5+02:00] {who}: {text}"))
    )
    assert found.turns[0].time == "2024-01-05T21:41:00.5+02:00"


def test_a_name_that_looks_like_a_zone(shelf: Shelf) -> None:
    said = [("Z", "hi"), ("EST", "hello"), ("Z", "well?"), ("EST", "well")]
    assert turns(shelf, log("10:0{n} {who}: {text}", said)) == said


@pytest.mark.parametrize(
    "text",
    [
        "Jan  5 10:02:03 host app[12]: started\nJan  5 10:02:04 host app[12]: failed\nJan  5 10:02:05 host x: done\n",
        "2024-01-05 10:02:03 INFO main: started\n2024-01-05 10:02:04 ERROR main: failed\n"
        "2024-01-05 10:02:05 INFO main: stopped\n",
        "2024-01-05T10:02:03Z [INFO] started\n2024-01-05T10:02:04Z [WARN] slow\n2024-01-05T10:02:05Z [INFO] stopped\n",
        "1704490863 ada is P3 up\n1704490864 bo no\n1704490865 ada why\n",
        "21:41 Maria is P3 up?\n21:42 Bob no\n21:43 Maria why?\n",
        "Maria\n  10:02 AM\nis P3 up?\nBob\n  10:03 AM\nno\n",
        "10:00 Welcome\n10:30 The state of all the pumps: what we know\n11:00 Coffee\n11:30 Questions: from you\n",
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.log"])
def test_lines_with_times_that_fit_no_style_are_no_prose(shelf: Shelf, text: str, name: str) -> None:
    path = shelf.write(name, text)
    (bad,) = shelf.all_of(BadRow, path)
    assert bad.kind == "unknown" and "no style of chat log fits" in bad.reason
    told: dict[str, Any] = {"formats": {name: "text"}}
    assert shelf.all_of(Document, path, **told)


def test_times_in_prose(shelf: Shelf) -> None:
    text = "We met at 10:02 and talked.\nIt was loud.\n11:30 was when we went home, and it was late.\nThat is all.\n"
    assert shelf.all_of(Document, shelf.write("a.txt", text))
