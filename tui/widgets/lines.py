"""The lines around every screen: where one is, and which keys do what."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

SCREENS = (("chat", "1 Chat"), ("status", "2 Status"), ("updates", "3 Updates"), ("help", "4 Help"))


class TopLine(Static):
    """The screens' names, the shown one marked, and what is served.

    Args:
        shown: name of the screen that it stands on.
        screens: name and label of each.
        title: what stands before them.
    """

    def __init__(
        self, shown: str, screens: Sequence[tuple[str, str]] = SCREENS, title: str = "Anchorhold"
    ) -> None:
        super().__init__(id="top", markup=False)
        self._shown = shown
        self._screens = screens
        self._title = title
        self._served = ""

    def on_mount(self) -> None:
        self._draw()

    def serve(self, served: str) -> None:
        """Show what is served."""
        if served != self._served:
            self._served = served
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        line = Text(f" {self._title}  ", "bold", no_wrap=True, overflow="ellipsis")
        for name, label in self._screens:
            # Marked by brackets too: on a terminal without attributes reverse video may not show.
            line.append(
                f"[{label}]" if name == self._shown else f" {label} ",
                "reverse" if name == self._shown else "",
            )
        room = self.size.width - line.cell_len - len(self._served) - 2
        if self._served and room > 0:
            line.append(" " * room + self._served)
        self.update(line)


class KeyLine(Static):
    """Keys of a screen: (key, what it does) pairs, as many as fit."""

    def __init__(self, *keys: tuple[str, str]) -> None:
        super().__init__(id="keys", markup=False)
        self._keys = keys

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        line = Text(" ", no_wrap=True, overflow="ellipsis")
        for key, label in self._keys:
            if line.cell_len + len(key) + len(label) + 3 > self.size.width:
                break
            line.append(key, "bold")
            line.append(f" {label}  ")
        self.update(line)


def meter(part: float, width: int, plain: bool) -> str:
    """A bar of `width` cells, `part` (0 to 1) of it full."""
    full = round(min(max(part, 0.0), 1.0) * width)
    return f"[{'#' * full}{'.' * (width - full)}]" if plain else "━" * full + "╌" * (width - full)
