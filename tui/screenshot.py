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
from tui.widgets.turns import Answer

SIZE = (80, 24)
# A note of the sample project's test split, and what its shipped file answered (laid out over several lines).
QUESTION = "wax again!! G1 fuel filter restricted, dp 0.6 bar, load fell to half. fitted new WK950/21"
ANSWER = """\
```json
{"orders": [{
  "component": "fuel filter",
  "equipment": "generator",
  "fault": "blockage",
  "severity": "major",
  "action": "replace",
  "parts": ["WK950/21"]
}]}
```
"""
HEALTH: dict[str, Any] = {
    "status": "ok",
    "release": {"name": "workorders", "version": "1.0.0", "identity": "workorders-1.0.0"},
    "model": {"context": 2048},
}
ENDING = {
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 55, "completion_tokens": 53, "total_tokens": 108},
    "timings": {"seconds": 0.52, "prompt_seconds": 0.11},
}


class _Told:
    """A backend with one conversation."""

    def ask(self, _messages: Sequence[Mapping[str, str]]) -> Generator[str, None, dict[str, Any]]:
        yield from re.findall(r"\s*\S+\s*", ANSWER)
        return ENDING

    def judge(self, *_: object) -> bool:
        return True

    def look(self) -> Overview:
        return Overview(serving=True, health=HEALTH, pinned=True)

    def card(self) -> list[str]:
        return []

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
        while not any(answer.finished for answer in screen.query(Answer)):
            await pilot.pause(0.05)
        svg, before = "", "-"
        while svg != before:  # what is still being drawn settles
            await pilot.pause(0.5)
            svg, before = app.export_screenshot(title="anchorhold"), svg
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
