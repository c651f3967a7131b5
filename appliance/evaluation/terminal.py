"""The scores of an evaluation for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from appliance.evaluation.results import EvaluationResult, SystemScore

Speeds = dict[str, dict[str, float]]


def read_speeds(folder: Path) -> Speeds:
    """speed.json of an evaluation's folder: how fast each system answered here."""
    speeds: Speeds = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    return speeds


def result_lines(result: EvaluationResult, speeds: Speeds) -> list[str]:
    """The scores as lines of plain text."""
    lines = score_lines(result.systems, speeds)
    titles = {score.key: score.title for score in result.systems}
    lines += [
        f"shipped file against {titles[entry.against]}: {entry.verdict} "
        f"({entry.wins} to {entry.losses}, p = {entry.p:.2g})"
        for entry in result.comparisons
    ]
    return lines


def score_lines(scores: Sequence[SystemScore], speeds: Speeds) -> list[str]:
    """A table of systems, with its head."""
    lines = [
        f"{'system':<44}{'exact':>8}{'95 %':>14}{'F1':>8}{'JSON':>8}{'valid':>8}{'ended':>8}{'tok/s':>7}"
    ]
    for score in scores:
        f1 = "-" if score.f1 is None else f"{score.f1:.1%}"
        parses = "-" if score.parses is None else f"{score.parses.share:.1%}"
        valid = "-" if score.valid is None else f"{score.valid.share:.1%}"
        interval = f"{score.exact.low:.0%} to {score.exact.high:.0%}"
        measured = speeds.get(score.key, {}).get("tokens_per_second")
        speed = "-" if measured is None else f"{measured:.0f}"
        lines.append(
            f"{score.title[:43]:<44}{score.exact.share:>8.1%}{interval:>14}{f1:>8}{parses:>8}{valid:>8}"
            f"{score.ended.share:>8.1%}{speed:>7}"
        )
    return lines
