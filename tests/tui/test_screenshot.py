"""The README's picture is what the program draws."""

from __future__ import annotations

from pathlib import Path

from tui.screenshot import picture

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "tui-chat.svg"


async def test_the_picture_is_up_to_date_and_fetches_nothing() -> None:
    drawn = await picture()
    assert drawn == PICTURE.read_text(encoding="utf-8"), (
        "run `python -m tui.screenshot docs/images/tui-chat.svg`"
    )
    assert drawn.count("http") == 1  # the name of the SVG namespace
    assert "url(" not in drawn.replace("url(#", "")
