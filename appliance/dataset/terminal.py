"""The dataset card for a terminal."""

from __future__ import annotations

from appliance.dataset.card import DatasetCard


def card_lines(card: DatasetCard) -> list[str]:
    """The card as lines of plain text."""
    lines = [f"{'split':<8}{'rows':>8}{'groups':>8}   tokens a row: min  median   p95   max"]
    for split, rows in card.rows.items():
        lengths = card.tokens[split]
        lines.append(
            f"{split:<8}{rows:>8}{card.groups[split]:>8}{lengths.min:>21}{lengths.median:>8}{lengths.p95:>6}{lengths.max:>6}"
        )
    left_out = {
        "duplicates": card.duplicates,
        "also in the test files": card.overlaps,
        "over dataset.limit": card.over_limit,
        **{f"bad: {kind}": count for kind, count in card.rejected.items()},
    }
    lines += [f"left out, {what}: {count}" for what, count in left_out.items() if count]
    lines += [f"no pairs made of: {count} {what}" for what, count in card.unpaired.items()]
    if card.redactions:
        found = ", ".join(f"{count} {kind}" for kind, count in card.redactions["found"].items()) or "nothing"
        lines.append(f"personal data, {card.redactions['mode']}: {found} in {card.redactions['rows']} rows")
        lines += [
            f"personal data, {what}: {card.redactions[what]}"
            for what in ("kept", "left")
            if card.redactions[what]
        ]
    lines.append(f"digest {card.digest}")
    return lines
