"""What reaches a real terminal: no colour where none is wanted, few bytes, no mouse, no codes of the model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.paced import WORDS
from tests.tui.pseudo_terminal import Terminal, colours

pytestmark = pytest.mark.slow

MOUSE = (b"\x1b[?1000h", b"\x1b[?1002h", b"\x1b[?1003h", b"\x1b[?1006h", b"\x1b[?1015h")
# 115,200 baud carry 11,520 bytes a second; at 20 tokens a second that leaves 576 for each.
BUDGET_PLAIN = 250
BUDGET_FULL = 576


def _talk(tmp_path: Path, environment: dict[str, str], *arguments: str) -> tuple[bytes, float]:
    """All that was written, and the bytes per token while the answer streamed."""
    program = ["-m", "tests.tui.paced", str(tmp_path / "history.sqlite"), *arguments]
    with Terminal(program, {"NO_COLOR": "", "COLORTERM": "", **environment}) as terminal:
        terminal.wait_for(b"ready")
        terminal.send("hello\r")
        # The words come a few at a time, so one in the middle of a line need not be written whole.
        start = terminal.wait_for(b"answering")
        end = terminal.wait_for(b"fin.", start)
        terminal.wait_for(b"ready", end)
        terminal.send("\x07")  # Ctrl+G, q: the way out on a terminal without F keys
        terminal.wait_for(b"Quit", end)
        terminal.send("q")
        assert terminal.process.wait(60) == 0
        return terminal.written, (end - start) / WORDS


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        ({"TERM": "vt220"}, ()),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, ()),
        ({"TERM": "xterm"}, ("--plain",)),
    ],
)
def test_a_plain_terminal_gets_no_colour_ascii_only_and_few_bytes(
    tmp_path: Path, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    written, per_token = _talk(tmp_path, environment, *arguments)
    assert colours(written) == []
    assert written.isascii(), [hex(b) for b in written if b > 127][:10]
    assert per_token < BUDGET_PLAIN
    assert not any(mode in written for mode in MOUSE)


def test_a_full_terminal_gets_colour_within_its_budget_and_no_mouse(tmp_path: Path) -> None:
    written, per_token = _talk(tmp_path, {"TERM": "xterm-256color", "COLORTERM": "truecolor"})
    assert colours(written)
    assert per_token < BUDGET_FULL
    assert not any(mode in written for mode in MOUSE)


def test_codes_of_the_model_do_not_arrive(tmp_path: Path) -> None:
    written, _ = _talk(tmp_path, {"TERM": "xterm-256color"})
    assert b"owned" in written  # the text is there, as text
    for code in (b"\x1b]0;owned", b"\x1b]52", b"\x1b[31m", b"\xc2\x9b", b"\x9b2J"):
        assert code not in written
