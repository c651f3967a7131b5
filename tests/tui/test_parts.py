"""What needs no screen: history, cleaning, clipboard, finding sticks, the profile."""

from __future__ import annotations

import base64
import sqlite3
from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.paths import Device
from tui import clipboard, terminal_profile
from tui.backend import DeviceBackend, find_sticks
from tui.clean_text import clean, one_line
from tui.history import History, Turn


def test_history_survives_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    history = History(path)
    number = history.begin("first\nquestion")
    history.add(number, Turn("user", "first\nquestion"))
    history.add(number, Turn("assistant", "an answer", "r-1"))
    history.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = History(path)
    assert again.problem == ""
    assert again.turns(number) == [Turn("user", "first\nquestion"), Turn("assistant", "an answer", "r-1")]
    assert [c.title for c in again.list()] == ["first question"]
    again.close()


@pytest.mark.parametrize("words", ['"', "a OR", "NEAR(", "x*", "col:umn", "-", "()", "'; DROP TABLE turns"])
def test_whatever_is_typed_into_the_search_is_words_and_not_syntax(tmp_path: Path, words: str) -> None:
    history = History(None)
    number = history.begin("q")
    history.add(number, Turn("user", "nothing of the kind"))
    assert isinstance(history.list(words), list)
    assert history.turns(number)
    history.close()


def test_search_forgets_what_is_deleted_or_dropped() -> None:
    history = History(None)
    number = history.begin("q")
    history.add(number, Turn("user", "alpha"))
    history.add(number, Turn("assistant", "beta"))
    assert history.list("alph") and history.list("beta") and not history.list("alpha beta")
    history.drop_answer(number)
    history.drop_answer(number)  # the last turn is a question now, which stays
    assert not history.list("beta") and history.list("alpha")
    history.delete(number)
    assert not history.list("alpha") and not history.list() and not history.turns(number)
    history.close()


@pytest.mark.parametrize("harm", ["damaged", "newer", "folder"])
def test_a_history_that_cannot_be_used_is_said_and_left_alone(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "history.sqlite"
    if harm == "damaged":
        path.write_bytes(b"not a database" * 100)
    elif harm == "newer":
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = 99")
        database.commit()
        database.close()
    else:
        path.mkdir()
    before = path.read_bytes() if path.is_file() else None
    history = History(path)
    assert str(path) in history.problem
    assert history.begin("still works") == 1
    history.close()
    assert before is None or path.read_bytes() == before


def test_clean_takes_out_all_that_a_terminal_obeys_and_nothing_else() -> None:
    assert clean("".join(map(chr, range(32))) + "\x7f") == "\t\n"
    assert clean("".join(map(chr, range(0x80, 0xA0)))) == ""
    assert clean("Grüße, 東京, naïve – ✓ 👩\u200d🔧\n") == "Grüße, 東京, naïve – ✓ 👩\u200d🔧\n"
    assert clean("a\ud800b") == "ab"
    assert one_line("x\n y\t" + "z" * 80, 10) == "x y zzz..."


def test_osc52_is_wrapped_for_tmux_and_left_out_when_too_long() -> None:
    coded = base64.b64encode("ä".encode()).decode()
    assert clipboard.sequence("ä", {}) == f"\x1b]52;c;{coded}\x07"
    assert f"\x1bPtmux;\x1b\x1b]52;c;{coded}\x07\x1b\\" in clipboard.sequence("ä", {"TMUX": "x"})
    assert clipboard.sequence("x" * (clipboard.MAX_OSC52 + 1), {}) == ""


def test_sticks_are_found_below_mounts_without_following_links(tmp_path: Path) -> None:
    for name in ("anna/STICK", "other/deep/er/than/allowed"):
        for part in ("metadata", "targets"):
            (tmp_path / name / part).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "anna" / "STICK")
    (tmp_path / "half" / "metadata").mkdir(parents=True)
    assert find_sticks([tmp_path, tmp_path / "missing"]) == [tmp_path / "anna" / "STICK"]


def test_the_real_backend_on_an_empty_device_says_what_is_missing(tmp_path: Path) -> None:
    backend = DeviceBackend(Device(tmp_path / "device"))
    overview = backend.look()
    assert not overview.serving and overview.active is None and not overview.pinned
    assert "no gateway answers" in overview.problem and "anchorhold serve" in overview.hint
    with pytest.raises(UsageError, match="no stick"):
        backend.check(tmp_path, None)
    with pytest.raises(UsageError, match="no stick"):
        backend.install(tmp_path, None, lambda event: None)


def test_damaged_slots_are_a_problem_shown_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "slots.json").write_text("{")
    overview = DeviceBackend(Device(tmp_path)).look()
    assert "damaged" in overview.problem and overview.active is None


@pytest.mark.parametrize(
    ("environment", "asked", "plain"),
    [
        ({"TERM": "xterm-256color"}, False, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False, True),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, False, False),
        ({"TERM": "vt100"}, False, True),
        ({"TERM": "linux"}, False, True),
        ({"TERM": "xterm"}, True, True),
    ],
)
def test_the_profile(environment: dict[str, str], asked: bool, plain: bool) -> None:
    assert terminal_profile.wants_plain(environment, asked) is plain
    terminal_profile.prepare(environment, plain)
    assert environment["TEXTUAL_FPS"] == ("10" if plain else "30")
    assert bool(environment.get("NO_COLOR")) is plain
