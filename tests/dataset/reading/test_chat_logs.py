"""Conversations as plain text, in the forms in which chat programs leave them."""

from __future__ import annotations

import pytest

from appliance.dataset.reading import Document, Transcript, chat_logs
from tests.dataset.reading.conftest import Shelf

SAID = [
    ("Ada", "is the pump up?"),
    ("Bo Ek", "no, it's down\nsince noon"),
    ("Ada", "thanks: going"),
    ("Bo Ek", "ok"),
]
LOGS = {
    "names": "Ada: is the pump up?\nBo Ek: no, it's down\nsince noon\nAda: thanks: going\nBo Ek: ok\n",
    "names spaced": (
        "Ada: is the pump up?\n\nBo Ek: no, it's down\nsince noon\n\nAda: thanks: going\n\nBo Ek: ok\n"
    ),
    "bold names": (
        "**Ada:** is the pump up?\n**Bo Ek:** no, it's down\nsince noon\n**Ada:** thanks: going\n"
        "**Bo Ek:** ok\n"
    ),
    "whatsapp android": (
        "31/12/2020, 21:40 - Messages are end-to-end encrypted.\n31/12/2020, 21:41 - Ada: is the pump up?\n"
        "31/12/2020, 21:42 - Bo Ek: no, it's down\nsince noon\n31/12/2020, 21:43 - Ada: thanks: going\n"
        "31/12/2020, 21:44 - Bo Ek: ok\n"
    ),
    "whatsapp ios": (
        "\u200e[31.12.20, 21:41:00] Ada: is the pump up?\n[31.12.20, 21:42:10] Bo Ek: no, it's down\n"
        "since noon\n"
        "\u200e[31.12.20, 21:43:00] Ada: thanks: going\n[31.12.20, 21:44:00] Bo Ek: ok\n"
    ),
    "whatsapp american": (
        "1/31/21, 9:41\u202fPM - Ada: is the pump up?\n1/31/21, 9:42\u202fPM - Bo Ek: no, it's down\n"
        "since noon\n"
        "1/31/21, 9:43\u202fPM - Ada: thanks: going\n1/31/21, 9:44\u202fPM - Bo Ek: ok\n"
    ),
    "times first": (
        "[00:01:02] Ada: is the pump up?\n[00:01:09] Bo Ek: no, it's down\nsince noon\n"
        "[00:02:00] Ada: thanks: going\n"
        "[00:02:05] Bo Ek: ok\n"
    ),
    "iso times": (
        "2024-05-01 09:00 Ada: is the pump up?\n2024-05-01 09:01 Bo Ek: no, it's down\nsince noon\n"
        "2024-05-01 09:02 Ada: thanks: going\n"
        "2024-05-01 09:03 Bo Ek: ok\n"
    ),
    "times behind names": (
        "Ada (09:00): is the pump up?\nBo Ek (09:01): no, it's down\nsince noon\n"
        "Ada (09:02): thanks: going\nBo Ek (09:03): ok\n"
    ),
    "slack": (
        "Ada  9:00 AM\nis the pump up?\nBo Ek  9:01 AM\nno, it's down\nsince noon\nAda  9:02 AM\n"
        "thanks: going\nBo Ek  9:03 AM\nok\n"
    ),
    "discord": (
        "Ada — Today at 9:00 AM\nis the pump up?\nBo Ek — Today at 9:01 AM\nno, it's down\nsince noon\n"
        "Ada — Today at 9:02 AM\n"
        "thanks: going\nBo Ek — Today at 9:03 AM\nok\n"
    ),
    "teams": (
        "[5/1/2024 9:00 AM] Ada\nis the pump up?\n\n[5/1/2024 9:01 AM] Bo Ek\nno, it's down\nsince noon\n\n"
        "[5/1/2024 9:02 AM] Ada\nthanks: going\n\n[5/1/2024 9:03 AM] Bo Ek\nok\n"
    ),
    "webvtt": (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\n<v Ada>is the pump up?</v>\n\n2\n"
        "00:00:03.000 --> 00:00:04.000\n"
        "<v Bo Ek>no, it's down</v>\n\n3\n00:00:04.000 --> 00:00:05.000\n<v Bo Ek>since noon</v>\n\n"
        "4\n00:00:06.000 --> 00:00:07.000\n<v Ada>thanks: going</v>\n\n5\n"
        "00:00:07.000 --> 00:00:08.000\n<v Bo Ek>ok</v>\n"
    ),
    "srt": (
        "1\n00:00:01,000 --> 00:00:02,000\nAda: is the pump up?\n\n2\n00:00:03,000 --> 00:00:04,000\n"
        "Bo Ek: no, it's down\nsince noon\n\n"
        "3\n00:00:06,000 --> 00:00:07,000\nAda: thanks: going\n\n4\n00:00:07,000 --> 00:00:08,000\nBo Ek: ok\n"
    ),
}


@pytest.mark.parametrize("form", LOGS)
def test_who_said_what(shelf: Shelf, form: str) -> None:
    path = shelf.write("log.txt", LOGS[form])
    found = shelf.detect(path)
    assert found.container == "transcript", found.evidence
    (log,) = shelf.all_of(Transcript, path)
    turns = [turn for turn in log.turns if turn.kind == "said"]
    assert [(turn.speaker, turn.text) for turn in turns] == SAID
    if not form.endswith(("names", "spaced")):
        assert all(turn.time for turn in turns)
    lines = LOGS[form].splitlines()
    assert all(turn.text.split("\n")[0] in "\n".join(lines[turn.line - 1 : turn.line + 1]) for turn in turns)


IRC = """\
--- Log opened Fri Feb 03 16:00:00 2012
16:10 < ada> is P3 up?
16:10 <@bo> ada: no
16:11 -!- cy [~cy@host] has joined #deck
16:11  * cy waves
16:12 <+ada> hello cy
"""


def test_irssi_with_joins_and_actions(shelf: Shelf) -> None:
    (log,) = shelf.all_of(Transcript, shelf.write("deck.log", IRC))
    assert [(turn.kind, turn.speaker, turn.text) for turn in log.turns] == [
        ("event", "", "--- Log opened Fri Feb 03 16:00:00 2012"),
        ("said", "ada", "is P3 up?"),
        ("said", "bo", "ada: no"),
        ("event", "", "16:11 -!- cy [~cy@host] has joined #deck"),
        ("action", "cy", "waves"),
        ("said", "ada", "hello cy"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        (
            "Note: read this first.\nWarning: the pump is hot.\nTip: wear gloves.\nNote: it takes an hour.\n"
            "Warning: loud.\n"
        ),
        (
            "Title: Pumps\nAuthor: Ada\nDate: 2024-01-01\n\n"
            "Pumps move water. They are loud and should be looked at once a week.\n"
        ),
        "The pump moves water: it is loud.\nIt should be looked at once a week.\nNobody did so last year.\n",
        (
            "Ingredients: water, salt and time\nMethod: boil it for an hour\nServing: warm in a bowl\n"
            "Storage: three days at most\n"
        ),
    ],
)
def test_notes_with_colons_are_no_conversation(shelf: Shelf, text: str) -> None:
    assert shelf.all_of(Document, shelf.write("a.txt", text))


def test_a_long_log_comes_in_parts(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_logs, "MAX_TURNS", 40)
    text = "".join(f"[10:{number % 60:02}] <ada{number % 3}> note {number}\n" for number in range(100))
    parts = shelf.all_of(Transcript, shelf.write("a.log", text))
    assert [(one.part, one.line, len(one.turns)) for one in parts] == [(1, 1, 40), (2, 41, 40), (3, 81, 20)]


def test_a_style_that_is_told(shelf: Shelf) -> None:
    path = shelf.write("a.md", LOGS["names"])
    assert shelf.all_of(Document, path)
    (log,) = shelf.all_of(Transcript, path, formats={"*.md": "names"})
    assert [turn.speaker for turn in log.turns] == ["Ada", "Bo Ek", "Ada", "Bo Ek"]
