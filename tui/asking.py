"""One answer on its way: a thread that reads it from the backend and posts what comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from textual.message import Message

from appliance.errors import AnchorholdError, from_os_error
from tui.backend import Backend
from tui.messages import AnswerEnded, AnswerFailed, Piece


class Asking(threading.Thread):
    """Reads answer `number`.

    It is a daemon thread and not one of Textual's workers: those are waited for when the program
    ends, and a request may stand in the gateway's queue for minutes.

    Args:
        post: the screen's `post_message`; safe from any thread.
    """

    def __init__(
        self,
        number: int,
        backend: Backend,
        messages: Sequence[Mapping[str, str]],
        post: Callable[[Message], object],
    ) -> None:
        super().__init__(name=f"answer-{number}", daemon=True)
        self.number = number
        self._backend = backend
        self._messages = messages
        self._post = post
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Take no more; the gateway is told at the next piece."""
        self._stopped.set()

    def run(self) -> None:
        """Read to the end, or until stopped."""
        try:
            pieces = self._backend.ask(self._messages)
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as end:
                    self._post(AnswerEnded(self.number, end.value or {}))
                    return
                if self._stopped.is_set():
                    pieces.close()
                    return
                self._post(Piece(self.number, piece))
        except AnchorholdError as error:
            self._post(AnswerFailed(self.number, error))
        except OSError as error:
            self._post(AnswerFailed(self.number, from_os_error(error)))
