"""`python -m tests.tui.paced HISTORY`: the real application, on a model that says a word every 50 ms."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.tui.scripted import END, SERVING, ScriptedBackend
from tui import terminal_profile

WORDS = 80
PACE = 0.05  # seconds: 20 tokens a second
# What a hostile or broken model might say; none of it may arrive.
HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b2J\x1b]52;c;ZXZpbA==\x07"


class Paced(ScriptedBackend):
    def ask(self, messages: Sequence[Mapping[str, str]]) -> Generator[str, None, dict[str, Any]]:
        yield HOSTILE
        for number in range(WORDS):
            time.sleep(PACE)
            yield f"w{number} "
        yield "fin."
        return END


if __name__ == "__main__":
    plain = terminal_profile.wants_plain(os.environ, "--plain" in sys.argv)
    terminal_profile.prepare(os.environ, plain)
    from tui.app import AnchorholdApp
    from tui.history import History

    history = History(Path(sys.argv[1]))
    AnchorholdApp(Paced(SERVING), history, plain=plain).run(mouse=False)
    history.close()
