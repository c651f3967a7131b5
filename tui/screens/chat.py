"""Chat: a conversation with the served model."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import ScreenResume
from textual.widgets import Static

from appliance.serving.gateway_client import source_lines
from tui.asking import Asking
from tui.backend import Overview
from tui.history import Turn
from tui.messages import AnswerEnded, AnswerFailed, Piece
from tui.screens.ask import Better, Conversations
from tui.screens.base import HouseScreen
from tui.widgets.lines import meter
from tui.widgets.prompt import Prompt
from tui.widgets.turns import Answer, Question

FLUSH_SECONDS = 0.1  # at most ten updates a second
PLAIN_LINE_TICKS = 10
SHOWN_TURNS = 60  # of an old conversation; more would be slow to draw
_SPINNER = "|/-\\"
_ENDINGS = {"length": "The context is full: the answer was cut off. Ctrl+N begins a new conversation."}


class ChatScreen(HouseScreen):
    """The conversation, what is known of it, and where one types."""

    NAME = "chat"
    KEYS = (
        ("Enter", "send"),
        ("Esc", "stop"),
        ("^N", "new"),
        ("^L", "list"),
        ("^R", "again"),
        ("^Y", "copy"),
        ("^T", "good"),
        ("^O", "correct"),
        ("^G", "go to"),
        ("F4", "help"),
        ("^J", "new line"),
        ("PgUp/PgDn or ^B/^F", "scroll"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", show=False, priority=True),
        Binding("ctrl+n", "new", show=False, priority=True),
        Binding("ctrl+l", "list", show=False, priority=True),
        Binding("ctrl+r", "again", show=False, priority=True),
        Binding("ctrl+y", "copy", show=False, priority=True),
        Binding("ctrl+t", "good", show=False, priority=True),
        Binding("ctrl+o", "correct", show=False, priority=True),
        Binding("pageup,ctrl+b", "scroll(-1)", show=False, priority=True),
        Binding("pagedown,ctrl+f", "scroll(1)", show=False, priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._conversation = 0
        self._turns: list[Turn] = []
        self._asking: Asking | None = None
        self._answer: Answer | None = None
        self._numbers = 0
        self._begun = 0.0
        self._pieces = 0
        self._speed = 0.0  # tokens/s of the last answer
        self._used = 0  # tokens of the context
        self._overview = Overview()
        self._line = ""
        self._ticks = 0
        # Whether the end of the answer stays in view: until the person scrolls up to read.
        self._follows = True

    def contents(self) -> ComposeResult:
        """See `HouseScreen`."""
        with VerticalScroll(id="talk", can_focus=False):
            yield Static("", id="welcome", markup=False)
        yield Static("", id="line", markup=False)
        yield Prompt()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Prompt).focus()
        self.set_interval(FLUSH_SECONDS, self._tick)

    # What is known of the device.

    def take(self, overview: Overview) -> None:
        """See `HouseScreen`."""
        super().take(overview)
        self._overview = overview
        self._draw_line()
        if not self._turns and self._asking is None:
            self.query_one("#welcome", Static).update(self._welcome())

    def _welcome(self) -> str:
        overview = self._overview
        if overview.serving:
            kept = self.house.history.problem
            return f"{overview.model} is ready. Type below and press Enter." + (f"\n\n{kept}" if kept else "")
        if not self.house.looked:
            return "Looking for the gateway..."
        lines = ["Nothing is served on this machine yet.", ""]
        if overview.problem:
            lines += [overview.problem, ""]
        if overview.active is None:
            lines += [
                "No release is installed. Mount a stick, then open Updates (F3), or type in a shell:",
                "",
            ]
            lines += ["    anchorhold install /path/to/the/stick", "    anchorhold serve"]
        else:
            lines += [
                f"{overview.active.name} {overview.active.version} is installed. Start it in a shell:",
                "",
            ]
            lines += ["    anchorhold serve"]
        return "\n".join([*lines, "", "This screen keeps looking and will say when the model is there."])

    # Asking.

    @on(Prompt.Sent)
    async def _sent(self, event: Prompt.Sent) -> None:
        if event.text.strip() in {"/quit", "/exit"}:
            self.house.action_leave()
            return
        if self._asking is not None:
            self.notify("The model is still answering; Esc stops it.", severity="warning")
            return
        self.query_one(Prompt).clear()
        if not self._conversation:
            self._conversation = self.house.history.begin(event.text)
        turn = Turn("user", event.text)
        self.house.history.add(self._conversation, turn)
        self._turns.append(turn)
        await self.query_one("#talk").mount(Question(event.text))
        await self._ask()

    async def _ask(self) -> None:
        self.query_one("#welcome").display = False
        self._numbers += 1
        self._pieces = 0
        self._begun = time.monotonic()
        self._answer = Answer(self._overview.model, plain=self.house.plain)
        talk = self.query_one("#talk", VerticalScroll)
        await talk.mount(self._answer)
        self._follows = True
        self._follow()
        messages = [{"role": turn.role, "content": turn.text} for turn in self._turns]
        self._asking = Asking(self._numbers, self.house.backend, messages, self.post_message)
        self._asking.start()
        self._draw_line()

    @on(Piece)
    def _piece(self, message: Piece) -> None:
        if self._answer is not None and message.number == self._numbers:
            if self._pieces == 0:
                self._begun = time.monotonic()
            self._pieces += 1
            self._answer.add(message.text)

    @on(AnswerEnded)
    async def _ended(self, message: AnswerEnded) -> None:
        if message.number == self._numbers and self._asking is not None:
            self._count(message.ending)
            note = _ENDINGS.get(str(message.ending.get("finish_reason")), "")
            cited = message.ending.get("citations") or []
            await self._close("\n".join(filter(None, [note, *source_lines(cited)])))

    @on(AnswerFailed)
    async def _failed(self, message: AnswerFailed) -> None:
        if message.number == self._numbers and self._asking is not None:
            error = message.error
            hint = f"\n{error.hint}" if error.hint else ""
            await self._close(f"No answer: {error.message}{hint}\nCtrl+R asks again.", failed=True)

    def _count(self, ending: dict[str, Any]) -> None:
        usage, timings = ending.get("usage") or {}, ending.get("timings") or {}
        self._used = int(usage.get("total_tokens") or self._used)
        seconds = float(timings.get("seconds") or 0.0) - float(timings.get("prompt_seconds") or 0.0)
        tokens = int(usage.get("completion_tokens") or 0)
        self._speed = tokens / seconds if seconds > 0.001 and tokens > 1 else 0.0

    async def _close(self, note: str, failed: bool = False) -> None:
        """The answer is at its end: keep what came, and be ready for the next question."""
        answer, self._answer, self._asking = self._answer, None, None
        assert answer is not None
        if answer.text:
            turn = Turn("assistant", answer.text, self._overview.model)
            self._turns.append(turn)
            self.house.history.add(self._conversation, turn)
        await answer.finish(note, failed)
        self._follow()
        self._draw_line()

    async def _tick(self) -> None:
        if self._asking is not None and self._answer is not None:
            await self._answer.flush()
            self._follow()
            self._ticks += 1
            # On a serial line the answer comes first: what is known of it follows once a second.
            if self._ticks % (PLAIN_LINE_TICKS if self.house.plain else 1) == 0:
                self._draw_line()

    def _follow(self) -> None:
        if self._follows:
            self.query_one("#talk", VerticalScroll).scroll_end(animate=False)

    @on(ScreenResume)
    def _shown_again(self) -> None:
        self._follow()  # what came meanwhile has its place on the screen only now

    # The line between conversation and prompt.

    def _draw_line(self) -> None:
        parts = []
        if self._asking is not None:
            spent = time.monotonic() - self._begun
            if self._pieces:
                spin = _SPINNER[int(spent * 4) % 4]
                speed = (self._pieces - 1) / spent if spent > 0.2 else 0.0
                parts.append(
                    f"{spin} answering, {self._pieces} tokens" + (f", {speed:.0f} tokens/s" if speed else "")
                )
            else:
                parts.append(f"{_SPINNER[int(spent * 4) % 4]} reading the question")
            parts.append("Esc stops")
        elif not self._overview.serving:
            parts.append("not served" if self.house.looked else "looking")
        else:
            parts.append("ready")
            if self._speed:
                parts.append(f"{self._speed:.0f} tokens/s")
        context = self._overview.context
        if context:
            bar = meter(self._used / context, 10, self.house.plain)
            parts.append(f"context {bar} {self._used}/{context}")
        separator = " | " if self.house.plain else " · "
        text = " " + separator.join(parts)
        if text != self._line:
            self._line = text
            # One line stays one line: no new layout ten times a second.
            self.query_one("#line", Static).update(text, layout=False)

    # Keys.

    async def action_stop(self) -> None:
        if self._asking is not None:
            self._asking.stop()
            self._numbers += 1  # what still comes is of an answer that nobody waits for
            await self._close("Stopped.")

    async def action_new(self) -> None:
        await self.action_stop()
        self._conversation, self._turns, self._used, self._speed = 0, [], 0, 0.0
        await self._show()
        self.query_one(Prompt).focus()

    async def action_again(self) -> None:
        await self.action_stop()
        talk = self.query_one("#talk")
        if self._turns and self._turns[-1].role == "assistant":
            self._turns.pop()
            self.house.history.drop_answer(self._conversation)
        if not self._turns:
            self.notify("There is no question to ask again.", severity="warning")
            return
        answers = talk.query(Answer)
        if answers and talk.children[-1] is answers.last():
            await answers.last().remove()
        await self._ask()

    def action_copy(self) -> None:
        answers = [turn.text for turn in self._turns if turn.role == "assistant"]
        if not answers:
            self.notify("There is no answer to copy yet.", severity="warning")
            return
        self.house.copy(answers[-1])

    def _judged(self, better: str | None) -> None:
        """Keep what is said of the last answer."""
        turns = [{"role": turn.role, "content": turn.text} for turn in self._turns]
        answer = self._turns[-1]
        try:
            kept = self.house.backend.judge(turns[:-1], answer.text, answer.release, better)
        except OSError as error:
            self.notify(f"It can't be kept: {error.strerror}", severity="error")
            return
        if kept:
            said = "good" if better is None else "corrected" if better else "wrong"
            self.notify(f"Kept: this answer is {said}. `anchorhold corrections` shows and exports.")
        else:
            self.notify(
                "No more is kept: export and clear with `anchorhold corrections`.", severity="warning"
            )

    def _may_judge(self) -> bool:
        if self._asking is None and self._turns and self._turns[-1].role == "assistant":
            return True
        self.notify("There is no whole answer to judge yet.", severity="warning")
        return False

    def action_good(self) -> None:
        if self._may_judge():
            self._judged(None)

    @work
    async def action_correct(self) -> None:
        if not self._may_judge():
            return
        answer = self._turns[-1]
        better = await self.app.push_screen_wait(Better(answer.text))
        if better is not None and self._turns and self._turns[-1] is answer:
            self._judged(better)

    def action_scroll(self, pages: int) -> None:
        talk = self.query_one("#talk", VerticalScroll)
        if pages < 0:
            talk.scroll_page_up(animate=False)
        else:
            talk.scroll_page_down(animate=False)
        self._follows = False
        self.call_after_refresh(self._judge)

    def _judge(self) -> None:
        talk = self.query_one("#talk", VerticalScroll)
        self._follows = talk.scroll_y >= talk.max_scroll_y

    @work
    async def action_list(self) -> None:
        number = await self.app.push_screen_wait(Conversations(self.house.history))
        if number:
            await self.action_stop()
            self._conversation, self._used, self._speed = number, 0, 0.0
            self._turns = self.house.history.turns(number)
            await self._show()
        elif self._conversation and not self.house.history.turns(self._conversation):
            await self.action_new()  # it was deleted in the list
        self.query_one(Prompt).focus()

    async def _show(self) -> None:
        """Draw the conversation from its turns."""
        talk = self.query_one("#talk", VerticalScroll)
        await talk.query("Question, Answer, .earlier").remove()
        self.query_one("#welcome").display = not self._turns
        self.take(self._overview)
        hidden = max(0, len(self._turns) - SHOWN_TURNS)
        if hidden:
            await talk.mount(
                Static(f"({hidden} earlier turns are not shown)", classes="earlier", markup=False)
            )
        widgets = [
            Question(turn.text)
            if turn.role == "user"
            else Answer(turn.release, turn.text, plain=self.house.plain)
            for turn in self._turns[hidden:]
        ]
        if widgets:
            await talk.mount(*widgets)
            self._follows = True
            self._follow()
