"""A prepared dataset as the screens see it: its card, its files, and how to count a row's tokens."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from appliance.dataset import DatasetCard, Row, counter, load_card
from appliance.dataset.browsing import Review, RowFacts, RowIndexes, about
from appliance.dataset.card_examples import read_examples
from appliance.dataset.card_sections import Section, sections
from appliance.errors import AnchorholdError, DataError
from appliance.events import ignore
from appliance.paths import Project

CountTokens = Callable[[Row], int]


def _base_counter(project: Project) -> CountTokens:
    from appliance.base_model import resolve

    count = counter(resolve(project.config.base.path, project.root, ignore))
    return lambda row: count([row.messages])[0]


@dataclass
class Browsed:
    """What the application is given.

    Attributes:
        project: the project.
        card: its dataset card.
        parts: the card's sections.
        review: the review of its redactions; None where redaction is off.
    """

    project: Project
    card: DatasetCard
    parts: list[Section]
    review: Review | None

    @classmethod
    def open(cls, project: Project, *, needs_review: bool = False) -> Browsed:
        """Look into build/dataset.

        Raises:
            DataError: it isn't prepared; or `needs_review` and nothing was redacted.
        """
        card = load_card(project.dataset)
        review = Review(project) if card.redactions or needs_review else None
        if needs_review and review is not None and not review.values:
            raise DataError(
                f"{review.path}: nothing was found, so there is nothing to review",
                "`anchorhold dataset browse` shows the rows, and marks what was missed",
            )
        return cls(project, card, sections(card, read_examples(project.dataset)), review)

    def __post_init__(self) -> None:
        self._indexes = RowIndexes(self.project.dataset)
        self._count: CountTokens | None = None
        self._lock = Lock()

    def tokens(self, row: Row) -> int | str:
        """Tokens of a row, chat template included, or why they aren't known. Loads the tokenizer once."""
        with self._lock:
            try:
                self._count = self._count or _base_counter(self.project)
                return self._count(row)
            except (AnchorholdError, OSError) as error:
                return f"not known: {error}"

    def about(self, row: Row) -> RowFacts:
        """What else is known of a row. Reads whole files the first time."""
        return about(self._indexes, row.id)

    def farewell(self) -> str:
        """What is said when the screens are left."""
        pending = self.review.pending() if self.review is not None else 0
        if not pending:
            return ""
        folder = shlex.quote(str(self.project.root))
        noun, verb = ("decision", "applies") if pending == 1 else ("decisions", "apply")
        return f"run `anchorhold dataset --project {folder}` again: {pending} {noun} {verb}\n"
