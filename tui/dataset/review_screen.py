"""The review of redactions: a value at a time, a key a decision, each on the disk at once."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from appliance.dataset.browsing import Review, find_row
from appliance.dataset.browsing.finding_place import place_of_finding
from appliance.dataset.browsing.review import Value, of_kind
from appliance.dataset.redaction.decisions import Decision
from appliance.errors import AnchorholdError
from tui.dataset.asking import AskChoice
from tui.dataset.base import DatasetScreen
from tui.dataset.missed import kind_choices, mark_missed
from tui.dataset.shown_text import fact, lines_of, one_line
from tui.widgets.lines import meter

_AROUND = 1200  # characters of a text shown before and behind the place
_BAR = 20  # cells


def _said(decision: Decision | None) -> str:
    if decision is None:
        return "none yet"
    if decision.decision == "keep":
        return "keep: it stays"
    return f"replace, as {decision.kind.replace('_', ' ')}" if decision.kind else "accept: it is replaced"


class ReviewScreen(DatasetScreen):
    """What was found, why, where it stands, and a person's word on it."""

    NAME = "review"
    KEYS = (
        ("a", "accept"),
        ("k", "keep"),
        ("h", "here"),
        ("w", "kind"),
        ("m", "missed"),
        ("u", "undo"),
        ("n p", "go"),
        ("o", "open"),
        ("f", "filter"),
        ("?", "help"),
        ("Left/Right", "places"),
        ("1-6", "screens"),
        ("q", "leave"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "accept", show=False),
        Binding("k", "keep", show=False),
        Binding("h", "keep_here", show=False),
        Binding("w", "wrong_kind", show=False),
        Binding("m", "missed", show=False),
        Binding("u", "undo", show=False),
        Binding("n", "go(1)", show=False),
        Binding("p", "go(-1)", show=False),
        Binding("o", "open", show=False),
        Binding("f", "filter", show=False),
        Binding("left", "place(-1)", show=False),
        Binding("right", "place(1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._number = 0  # of the value
        self._place = 0
        self._kind = ""
        self._texts: list[str] = []
        self._undone_from: list[tuple[int, int]] = []  # where the person was at each decision

    def contents(self) -> ComposeResult:
        """See `DatasetScreen`."""
        yield Static("", id="progress", markup=False)
        yield Static("", id="finding", markup=False)
        with VerticalScroll(id="page"):
            yield Static("", id="text", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#page").focus()
        review = self._review
        if review is not None and review.values:
            self._number = max(review.next_open(-1), 0)
        self._show()

    @property
    def _review(self) -> Review | None:
        return self.home.browsed.review

    @property
    def _value(self) -> Value | None:
        review = self._review
        return review.values[self._number] if review is not None and review.values else None

    # What is shown.

    def _show(self) -> None:
        review, value = self._review, self._value
        if review is None or value is None:
            told = (
                "Nothing was found."
                if review
                else "Redaction is off: see [dataset.redact] in anchorhold.toml."
            )
            self.query_one("#text", Static).update(told)
            return
        self._place = min(self._place, len(value) - 1)
        self._draw_progress(review)
        findings, at = review.finding(value, self._place)
        finding = findings[at]
        self.query_one("#finding", Static).update(self._facts(review, value, finding))
        self.query_one("#text", Static).update(self._surroundings(findings, at))
        self.query_one("#page", VerticalScroll).scroll_home(animate=False)

    def _draw_progress(self, review: Review) -> None:
        plain = self.home.plain
        decided, total = review.progress(self._kind)
        numbers = of_kind(review.values, self._kind)
        place = numbers.index(self._number) + 1 if self._number in numbers else 0
        kind = self._kind.replace("_", " ") or "all kinds"
        bar = meter(decided / total if total else 1.0, _BAR, plain)
        line = f" {bar} {decided:,} of {total:,} decided ({kind})   value {place:,} of {len(numbers):,}"
        self.query_one("#progress", Static).update(Text(line, no_wrap=True, overflow="ellipsis"))

    def _facts(self, review: Review, value: Value, finding: dict[str, Any]) -> Text:
        plain = self.home.plain
        text = Text()
        shown = one_line(finding.get("value", finding["masked"]), plain, 200)
        text.append(f"{finding['kind'].replace('_', ' '):<12} ", "bold").append(shown + "\n", "bold")
        fact(text, "Why", f"{one_line(finding['why'], plain)} (score {finding['score']:.2f})")
        done = {"redact": "replaced by", "keep": "kept", "left": "left: a JSON number"}[finding["done"]]
        fact(text, "Done", f"{done} {one_line(finding['replacement'], plain, 120)}".rstrip())
        own = review.decisions.get(value.place_id(self._place))
        fact(text, "Decision", _said(review.decision(value, self._place)) + (" (here)" if own else ""))
        key = f", key {one_line(finding['key'], plain, 40)}" if finding["key"] else ""
        places = f"place {self._place + 1:,} of {len(value):,}"
        fact(text, "Where", f"{one_line(finding['source'], plain)}, turn {finding['turn']}{key}; {places}")
        text.rstrip()
        return text

    def _surroundings(self, findings: list[dict[str, Any]], at: int) -> Text:
        plain = self.home.plain
        found = find_row(self.home.browsed.project.dataset, findings[at]["row"])
        if found is None:
            self._texts = []
            return Text(
                "The row is in no split: it was left out later (see Left out), so its text isn't kept."
            )
        row = found[1]
        self._texts = [str(turn["content"] or "") for turn in row.messages]
        place = place_of_finding(row, findings, at)
        begin, end = max(0, place.start - _AROUND), place.end + _AROUND
        text = Text(f"{found[0]}, {one_line(place.role, plain)}:\n", "dim")
        text.append("[earlier text left out] " if begin else "", "dim not bold")
        text.append(lines_of(place.text[begin : place.start], plain), "not dim")
        if place.end > place.start:
            mark = ">>" if plain else ""  # reverse video may not show there
            stands = lines_of(place.text[place.start : place.end], plain)
            text.append(mark + stands + ("<<" if plain else ""), "reverse bold not dim")
        text.append(lines_of(place.text[place.end : end], plain), "not dim")
        return text

    # Going about.

    def _go(self, number: int, place: int = 0) -> None:
        self._number, self._place = number, place
        self._show()

    def action_go(self, by: int) -> None:
        review = self._review
        if review is None or not review.values:
            return
        numbers = of_kind(review.values, self._kind)
        at = numbers.index(self._number) if self._number in numbers else 0
        self._go(numbers[(at + by) % len(numbers)])

    def action_place(self, by: int) -> None:
        value = self._value
        if value is not None:
            self._go(self._number, (self._place + by) % len(value))

    def action_open(self) -> None:
        review = self._review
        if review is None or not review.values:
            return
        number = review.next_open(self._number, self._kind)
        if number < 0:
            self._show()
            kind = f" of kind {self._kind.replace('_', ' ')}" if self._kind else ""
            self.notify(f"All values{kind} are decided. {self.home.browsed.farewell()}", markup=False)
        else:
            self._go(number)

    @work
    async def action_filter(self) -> None:
        review = self._review
        if review is None or not review.values:
            return
        choices: list[tuple[str, str]] = [("", f"all kinds: {len(review.values):,} values")]
        for kind, count in review.kinds.items():
            choices.append(
                (kind, f"{kind.replace('_', ' ')}: {count:,} values, {review.progress(kind)[0]:,} decided")
            )
        chosen = await self.app.push_screen_wait(AskChoice("Which kind?", choices, self._kind))
        if chosen is not None:
            self._kind = chosen
            number = review.next_open(-1, chosen)
            self._go(number if number >= 0 else of_kind(review.values, chosen)[0])

    # Deciding.

    def _decide(self, decision: Decision, *, here: bool = False) -> None:
        review, value = self._review, self._value
        if review is None or value is None:
            return
        try:
            review.decide(value.place_id(self._place) if here else value.id, decision)
        except (AnchorholdError, OSError) as error:
            self.notify(f"Not written: {error}", severity="error", markup=False)
            return
        self._undone_from.append((self._number, self._place))
        if here and not review.is_decided(value):
            self._go(self._number, (self._place + 1) % len(value))
        else:
            self.action_open()

    def action_accept(self) -> None:
        self._decide(Decision("redact"))

    def action_keep(self) -> None:
        self._decide(Decision("keep"))

    def action_keep_here(self) -> None:
        self._decide(Decision("keep"), here=True)

    @work
    async def action_wrong_kind(self) -> None:
        value = self._value
        if value is not None:
            kind = await self.app.push_screen_wait(AskChoice("What is it?", kind_choices(), value.kind))
            if kind is not None:
                self._decide(Decision("redact", kind if kind != value.kind else ""))

    @work
    async def action_missed(self) -> None:
        review = self._review
        if review is not None and await mark_missed(self, review, self._texts):
            self._undone_from.append((self._number, self._place))

    def action_undo(self) -> None:
        review = self._review
        if review is None:
            return
        try:
            undone = review.undo()
        except (AnchorholdError, OSError) as error:
            self.notify(f"Not undone: {error}", severity="error", markup=False)
            return
        if not undone:
            self.notify(
                "Nothing to undo: decisions of an earlier time are changed by deciding anew.", markup=False
            )
            return
        where = self._undone_from.pop() if self._undone_from else (self._number, self._place)
        self._go(*where)
        self.notify("Undone.", markup=False)
