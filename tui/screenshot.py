"""`python -m tui.screenshot FILE.svg`: a picture of the Chat screen, the same each time; for the README.

The application is the real one; what it talks to is a conversation written down here.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.events import Emit
from tui.app import AnchorholdApp
from tui.backend import Overview, StickFacts
from tui.history import History
from tui.screens.chat import ChatScreen
from tui.widgets.prompt import Prompt

SIZE = (80, 24)
QUESTION = "pmp 2 leaks at the shaft seal again, stopped it, P-114 seal kit needed"
ANSWER = """\
The seal of **pump 2** has failed; it is stopped, so nothing is urgent.

```json
{
  "equipment": "pump 2",
  "component": "shaft seal",
  "fault": "leak",
  "severity": "high",
  "action": "replace",
  "parts": ["P-114"]
}
```
"""
HEALTH: dict[str, Any] = {
    "status": "ok",
    "release": {"name": "workorders", "version": "1.0.0", "identity": "workorders-1.0.0"},
    "model": {"context": 2048},
}
ENDING = {
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 286, "completion_tokens": 74, "total_tokens": 360},
    "timings": {"seconds": 0.52, "prompt_seconds": 0.11},
}


class _Told:
    """A backend with one conversation."""

    def ask(self, _messages: Sequence[Mapping[str, str]]) -> Generator[str, None, dict[str, Any]]:
        yield from re.findall(r"\s*\S+\s*", ANSWER)
        return ENDING

    def look(self) -> Overview:
        return Overview(serving=True, health=HEALTH, pinned=True)

    def sticks(self) -> list[Path]:
        return []

    def check(self, stick: Path, _trust: Path | None) -> StickFacts:
        return StickFacts(stick, "workorders 1.0.0")

    def install(self, _stick: Path, _trust: Path | None, _emit: Emit) -> str:
        return "workorders 1.0.0"

    def rollback(self) -> str:
        return "workorders 1.0.0"


async def picture(size: tuple[int, int] = SIZE) -> str:
    """The SVG, with names in it that don't change from run to run."""
    history = History(None)
    app = AnchorholdApp(_Told(), history, plain=False)
    async with app.run_test(size=size) as pilot:
        while not app.looked:
            await pilot.pause(0.05)
        screen = app.screen
        assert isinstance(screen, ChatScreen)
        screen.post_message(Prompt.Sent(QUESTION))
        while not screen.idle or not app.export_screenshot().count("P-114") > 1:
            await pilot.pause(0.05)
        await pilot.pause()
        svg = app.export_screenshot(title="anchorhold")
    history.close()
    # No font from afar: a picture of an offline product should not fetch one.
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono")
    return re.sub(r"terminal-\d+-", "terminal-", svg)


def main(arguments: list[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Draw the Chat screen as an SVG file.")
    parser.add_argument("file", type=Path)
    storage.write_text(parser.parse_args(arguments).file, asyncio.run(picture()))


if __name__ == "__main__":
    main()
