"""One turn of a conversation, as it is shown."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from tui.clean_text import clean


class AnswerText(Markdown):
    """Markdown that opens nothing and draws its bullets in ASCII on a plain terminal."""

    def __init__(self, text: str = "", *, plain: bool) -> None:
        super().__init__(text or None, open_links=False)
        if plain:
            self.BULLETS = ["* ", "- ", "+ ", "* ", "- "]


class Question(Vertical):
    """What the person said."""

    def __init__(self, text: str) -> None:
        super().__init__(classes="question")
        self._text = clean(text)

    def compose(self) -> ComposeResult:
        yield Static("You", classes="who", markup=False)
        yield Static(self._text, classes="said", markup=False)


class Answer(Vertical):
    """What the model says, growing while it does.

    Args:
        who: the release that answers.
        text: the whole text, if it is known already.

    Attributes:
        text: all so far, made harmless.
        finished: True if no more comes and all of it was drawn.
    """

    def __init__(self, who: str, text: str = "", *, plain: bool) -> None:
        super().__init__(classes="answer")
        self._who = who
        self._body = AnswerText(clean(text), plain=plain)
        self._pending: list[str] = []
        self._stream: MarkdownStream | None = None
        self.text = clean(text)
        self.finished = bool(text)

    def compose(self) -> ComposeResult:
        yield Static(self._who or "Model", classes="who", markup=False)
        yield self._body
        yield Static("", classes="note", markup=False)

    def add(self, piece: str) -> None:
        """Take more text; it is drawn at the next `flush`."""
        piece = clean(piece)
        if piece:
            self.text += piece
            self._pending.append(piece)

    async def flush(self) -> None:
        """Draw what came since the last time."""
        if not self._pending or not self.is_mounted:
            return
        if self._stream is None:
            self._stream = Markdown.get_stream(self._body)
        text = "".join(self._pending)
        self._pending.clear()
        await self._stream.write(text)

    async def finish(self, note: str = "", failed: bool = False) -> None:
        """Draw the rest, and a line below about how it ended."""
        await self.flush()
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
            # The stream parses piecemeal; the whole once more mends what a split construct left.
            await self._body.update(self.text)
        if note:
            line = self.query_one(".note", Static)
            line.update(clean(note))
            line.set_class(failed, "failed")
            line.add_class("shown")
        self.finished = True
