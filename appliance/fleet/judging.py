"""What a receipt adds to what is known of its device, or why it can't be believed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance.errors import ReceiptError
from appliance.trust import chain, clock
from appliance.trust.chain import Entry, Link
from appliance.trust.receipt import Receipt, Refusal

_LOOK = "nothing of it was taken; look at the device itself: `anchorhold audit verify` there, and who had it"


@dataclass(frozen=True)
class Known:
    """What the workshop knows of a device before a receipt.

    Attributes:
        key: its public key in hex.
        begin: the place that its first known entry follows.
        entries: of its log.
        reach: where its log ended, as it has said; at or behind the last of the entries.
        time: when its newest receipt was written, by itself; None before the first.
    """

    key: str
    begin: Link = chain.BEGIN
    entries: Sequence[Entry] = ()
    reach: Link = chain.BEGIN
    time: datetime | None = None

    @property
    def head(self) -> Link:
        """The place of the last known entry."""
        return self.entries[-1].link if self.entries else self.begin

    def link(self, number: int) -> Link | None:
        """The place with a number, as far as it is known."""
        for place in (self.begin, self.reach):
            if number == place.number:
                return place
        found = chain.entry_at(self.entries, number)
        return found.link if found is not None else None


@dataclass(frozen=True)
class Judged:
    """What a receipt came to.

    Attributes:
        entries: those that weren't known.
        begin: the place that the first known entry follows.
        newer: whether its statement is to take the place of the former.
    """

    entries: tuple[Entry, ...]
    begin: Link
    newer: bool


def judge(known: Known, receipt: Receipt, *, first: bool = False) -> Judged:
    """Compare a receipt, whose own signature holds, with what is known of its device.

    Args:
        known: of the device.
        receipt: from `receipt.read`.
        first: a person takes the device as it is: its log may begin anywhere.

    What contradicts the known is looked for before a gap or a mere replay: it is what must not go unnoticed.

    Raises:
        ReceiptError: signed by another key; entries edited, cut out or of another device; an older log than is known;
            two histories behind one entry; or a gap between what is known and what it brings.
    """
    device = receipt.device
    if receipt.key != known.key:
        raise ReceiptError(
            f"device {device}: signed by another key than is enrolled",
            "ask whoever looks after the device; `anchorhold fleet enrol DEVICE KEY --replace` takes a new key",
            kind=Refusal.UNSIGNED,
        )
    entries, faults = chain.follow(receipt.entries, receipt.after, device=device)
    if faults:
        text = f"device {device}: its log was changed: {faults[0]}"
        raise ReceiptError(text, _LOOK, kind=Refusal.EDITED, entry=faults[0].entry)
    if entries and entries[-1].link != receipt.last:
        text = f"device {device}: its entries don't end where its statement says"
        raise ReceiptError(text, _LOOK, kind=Refusal.EDITED, entry=receipt.last.number)
    begins = first and not known.entries
    begin = receipt.after if begins else known.begin
    known = Known(known.key, begin, known.entries, known.reach, known.time)
    _check_overlap(known, receipt, entries)
    if receipt.head.number < max(known.reach.number, known.head.number):
        _refuse_older(known, receipt)
    if receipt.after.number > known.head.number:
        missing = f"entries {known.head.number + 1} to {receipt.after.number}"
        raise ReceiptError(
            f"device {device}: a gap: {missing} never came here, though a stick acknowledged them",
            "take the receipts of the sticks between; if the registry was lost, `anchorhold fleet enrol DEVICE KEY "
            "--replace` and then `receipts import --enrol DEVICE` begin anew",
            kind=Refusal.GAP,
        )
    added = tuple(entry for entry in entries if entry.number > known.head.number)
    newer = known.time is None or bool(added) or receipt.time > known.time
    return Judged(added, begin, newer)


def _check_overlap(known: Known, receipt: Receipt, entries: Sequence[Entry]) -> None:
    """See that what both know is the same."""
    for link in (receipt.after, *(entry.link for entry in entries)):
        there = known.link(link.number)
        if there is not None and there != link:
            raise ReceiptError(
                f"device {receipt.device}: a fork: it tells of another entry {link.number} than it did before",
                _LOOK,
                kind=Refusal.FORK,
                entry=link.number,
            )
    there = known.link(receipt.head.number)
    if there is not None and there != receipt.head:
        raise ReceiptError(
            f"device {receipt.device}: a fork: its log ends in another entry {receipt.head.number} than it had",
            _LOOK,
            kind=Refusal.FORK,
            entry=receipt.head.number,
        )


def _refuse_older(known: Known, receipt: Receipt) -> None:
    reach = max(known.reach.number, known.head.number)
    words = f"its log ends at entry {receipt.head.number}, and {reach} are known"
    if known.time is not None and receipt.time > known.time:
        raise ReceiptError(
            f"device {receipt.device}: the log was cut: {words}, though it was signed later, at "
            f"{clock.to_text(receipt.time)}",
            _LOOK,
            kind=Refusal.CUT,
            entry=receipt.head.number,
        )
    raise ReceiptError(
        f"device {receipt.device}: an older receipt than is known, or a replay: {words}",
        "a stick that was left lying tells nothing new; nothing was changed",
        kind=Refusal.REPLAY,
    )
