"""The dataset card for a terminal."""

from __future__ import annotations

from appliance.dataset.card import DatasetCard
from appliance.dataset.card_sections import left_out
from appliance.dataset.changes import cuts_told
from appliance.visible import visible


def card_lines(card: DatasetCard) -> list[str]:
    """The card as lines of plain text."""
    lines = [f"{'split':<8}{'rows':>8}{'groups':>8}   tokens a row: min  median   p95   max"]
    for split, rows in card.rows.items():
        lengths = card.tokens[split]
        lines.append(
            f"{split:<8}{rows:>8}{card.groups[split]:>8}{lengths.min:>21}{lengths.median:>8}{lengths.p95:>6}{lengths.max:>6}"
        )
    lines += [f"left out, {what}: {count}" for what, count in left_out(card).items()]
    if card.cut:
        lines.append(f"rows that were cut: {cuts_told(card.cut)}: cut.jsonl")
    lines += [f"no pairs made of: {count} {what}" for what, count in card.unpaired.items()]
    if card.redactions:
        found = ", ".join(f"{count} {kind}" for kind, count in card.redactions["found"].items()) or "nothing"
        lines.append(f"personal data, {card.redactions['mode']}: {found} in {card.redactions['rows']} rows")
        lines += [
            f"personal data, column `{visible(name, 0)}`: {told['kind']}, in {told['rows']} rows"
            for name, told in card.redactions.get("columns", {}).items()
        ]
        lines += [
            f"personal data, {what}: {card.redactions[what]}"
            for what in ("kept", "left")
            if card.redactions[what]
        ]
    lines += _pairs(card)
    lines += _told(card)
    lines.append(f"digest {card.digest}")
    return lines


def _pairs(card: DatasetCard) -> list[str]:
    """What was made of transcripts and documents."""
    lines = []
    for key, what in (
        ("made", "pairs made"),
        ("dropped", "no pair made, by reason"),
        ("boilerplate", "boilerplate, paragraphs"),
        ("chatter", "off the topics, exchanges"),
    ):
        if counts := card.pairs.get(key):
            lines.append(f"{what}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if card.held_back:
        lines.append(f"held back, other wordings of what is learnt: {card.held_back}: held_back.jsonl")
    if card.flagged:
        flaws = ", ".join(f"{count} {kind}" for kind, count in card.flagged.items())
        lines.append(f"kept though flawed: {flaws}: flagged.jsonl")
    return lines


def _told(card: DatasetCard) -> list[str]:
    """What a person should know of the rows that stayed."""
    lines = [f"split {card.split}"]
    if card.near.get("clusters"):
        lines.append(
            f"near-duplicates: {card.near['rows']} rows in {card.near['clusters']} clusters (largest "
            f"{card.near['largest']}), each whole in one split: near.jsonl"
        )
    if card.conflicts.get("prompts") or card.conflicts.get("near"):
        lines.append(
            f"other answers to the same prompt: {card.conflicts['prompts']} prompts, to a near one: "
            f"{card.conflicts['near']}: conflicts.jsonl"
        )
    if card.moved:
        lines.append(f"moved to another split since the time before: {card.moved} rows")
    if card.canaries:
        lines.append(f"canaries in the training split: {card.canaries}: canaries.jsonl")
    return lines
