"""Status: what runs here, who signed it, and how it does."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from appliance.errors import AnchorholdError, from_os_error
from appliance.update.slots import Slot
from appliance.watch.redteam import telling as redteam
from appliance.watch.telling import headline
from tui.backend import Overview
from tui.clean_text import clean
from tui.messages import CardRead
from tui.screens.base import HouseScreen
from tui.size_text import duration, in_halves, size

LABEL = 13  # cells


def _slot(slot: Slot | None) -> list[tuple[str, str]]:
    if slot is None:
        return [("", "none")]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(slot.installed)) if slot.installed else "unknown"
    return [
        ("Release", f"{slot.name} {slot.version} (number {slot.counter})"),
        ("Slot", f"{slot.slot.upper()}, installed {when}"),
        ("Digest", in_halves(slot.digest)),
        ("Signed by", "\n".join(in_halves(signer) for signer in slot.signers) or "unknown"),
    ]


def _gateway(health: dict[str, Any]) -> list[tuple[str, str]]:
    model, engine, queue = health.get("model") or {}, health.get("engine") or {}, health.get("queue") or {}
    requests, cache = health.get("requests") or {}, health.get("cache")
    rows = [
        ("Model", f"{model.get('description', '?')}, context {model.get('context', '?')} tokens"),
        (
            "Speed",
            f"{health.get('tokens_per_second', 0.0):.0f} tokens/s now, {model.get('threads', '?')} threads",
        ),
        ("Memory", size(float(health.get("memory_bytes") or 0))),
        (
            "Queue",
            f"{engine.get('busy', 0)} of {model.get('slots', '?')} answering, "
            f"{queue.get('waiting', 0)} waiting, room for {queue.get('limit', '?')}",
        ),
        (
            "Requests",
            f"{requests.get('served', 0)} answered, {requests.get('cancelled', 0)} stopped, "
            f"{requests.get('refused', 0)} refused",
        ),
    ]
    if cache:
        shown = ", ".join(f"{name.replace('_', ' ')} {_value(name, value)}" for name, value in cache.items())
        rows.append(("Cache", shown))
    else:
        rows.append(("Cache", "off"))
    rows += _drift(health.get("drift"))
    if health.get("drift") is not None or health.get("redteam") is not None:
        rows += _redteam(health.get("redteam"))
    rows.append(("Up for", duration(float(health.get("uptime_seconds") or 0))))
    rows.append(("Restarts", f"{health.get('restarts', 0)} of the engine"))
    return rows


def _drift(told: dict[str, Any] | None) -> list[tuple[str, str]]:
    if told is None:
        return [("Drift", "not watched")]
    rows = [("Drift", headline(told)), *(("", str(alarm)) for alarm in told.get("alarms") or [])]
    return [*rows, *([("", str(told["problem"]))] if told.get("problem") else [])]


def _redteam(told: dict[str, Any] | None) -> list[tuple[str, str]]:
    rows = [("Red team", redteam.headline(told)), *(("", line) for line in redteam.lines(told))]
    return [*rows, *([("", str(told["problem"]))] if told and told.get("problem") else [])]


def _value(name: str, value: Any) -> str:
    return size(float(value)) if "bytes" in name and isinstance(value, (int, float)) else str(value)


def page(overview: Overview) -> Text:
    """The whole status as text."""
    text = Text()

    def section(title: str, rows: list[tuple[str, str]]) -> None:
        text.append(("\n" if text else "") + title + "\n", "bold")
        for label, value in rows:
            lines = clean(value).splitlines() or [""]
            text.append(f"  {label:<{LABEL}}{lines[0]}\n")
            for line in lines[1:]:
                text.append(f"  {'':<{LABEL}}{line}\n")

    if overview.problem:
        section(
            "Needs attention", [("Problem", overview.problem), ("What to do", overview.hint or "see Help")]
        )
    section("Active release", _slot(overview.active))
    if overview.health:
        served = (overview.health.get("release") or {}).get("digest")
        state = "answering" if overview.serving else str(overview.health.get("status"))
        rows = [("State", state), *_gateway(dict(overview.health))]
        if overview.active is not None and served != overview.active.digest:
            rows.insert(1, ("Serves", f"{overview.model}, not the active release"))
        section("Gateway", rows)
    else:
        section("Gateway", [("State", "not running; `anchorhold serve` starts it")])
    section("Previous release (F3 rolls back to it)", _slot(overview.previous))
    section("Trust", [("Root", "pinned" if overview.pinned else "none yet: the first install pins it")])
    return text


class StatusScreen(HouseScreen):
    """Everything about the device, on one page that looks again by itself; behind it the release's report card."""

    NAME = "status"
    KEYS = (
        ("1-4", "screens"),
        ("Up/Down", "scroll"),
        ("c", "report card"),
        ("r", "look now"),
        ("^G", "go to"),
        ("q", "quit"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "app.look", show=False),
        Binding("c", "card", show=False),
        Binding("escape", "facts", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._card_of: str | None = None  # digest of the release whose card is shown

    def contents(self) -> ComposeResult:
        """See `HouseScreen`."""
        with VerticalScroll(id="page"):
            yield Static("", id="facts", markup=False)
        with VerticalScroll(id="card", classes="hidden"):
            yield Static("", id="card-lines", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#page").focus()

    def take(self, overview: Overview) -> None:
        """See `HouseScreen`."""
        super().take(overview)
        self.query_one("#facts", Static).update(page(overview) if self.house.looked else "Looking...")
        if self._card_of is not None and self._card_of != _digest(overview):
            self._open_card()

    def action_card(self) -> None:
        if self._card_of is None:
            self._open_card()
        else:
            self.action_facts()

    def action_facts(self) -> None:
        self._card_of = None
        self._show("#page", "#card")

    def _open_card(self) -> None:
        self._card_of = _digest(self.house.overview)
        self.query_one("#card-lines", Static).update("Reading the report card...")
        self._show("#card", "#page")
        self._read()

    def _show(self, shown: str, hidden: str) -> None:
        self.query_one(hidden).add_class("hidden")
        self.query_one(shown).remove_class("hidden")
        self.query_one(shown).focus()

    @work(thread=True, exclusive=True, group="card")
    def _read(self) -> None:
        try:
            lines = self.house.backend.card()
        except AnchorholdError as error:
            lines = [error.message, error.hint]
        except OSError as error:
            lines = [from_os_error(error).message]
        self.post_message(CardRead(lines))

    @on(CardRead)
    def _take_card(self, message: CardRead) -> None:
        lines = [clean(line) for line in message.lines]
        if self.house.plain:
            lines = [line.encode("ascii", "replace").decode() for line in lines]
        text = Text("Report card of the active release (c goes back)\n\n", "bold")
        text.append("\n".join(lines), "not bold")
        self.query_one("#card-lines", Static).update(text)
        self.query_one("#card", VerticalScroll).scroll_home(animate=False)


def _digest(overview: Overview) -> str:
    return overview.active.digest if overview.active is not None else ""
