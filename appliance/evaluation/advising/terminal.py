"""An advice as lines for a terminal. Pure."""

from __future__ import annotations

from appliance.evaluation.advising.verdict import Advice
from appliance.progress import duration
from appliance.visible import visible


def advice_lines(advice: Advice) -> list[str]:
    """The table of ways, and the advice in words."""
    measure = "exactly right" if advice.measure == "exact" else "ROUGE-L"
    head = f"{'':<34} {measure:>13}  {'95 %':>12}  rows/s  tokens a prompt   memory     file  training"
    lines = [head]
    for way in advice.ways:
        cost = way.cost
        share = advice.measure == "exact"
        value = f"{way.value:.1%}" if share else f"{way.value:.3f}"
        spread = f"{way.low:.0%} to {way.high:.0%}" if share else f"{way.low:.2f} to {way.high:.2f}"
        mark = {"best": " <- best", "worse": ""}.get(way.against_best, " (not shown worse)")
        training = duration(cost.training_seconds) if cost.training_seconds else "-"
        lines.append(
            f"{visible(way.title, 34):<34} {value:>13}  {spread:>12}  {cost.rows_per_second:>6.2f}  "
            f"{cost.prompt_tokens:>15.0f}  {cost.memory_bytes / 1e6:>4.0f} MB  {cost.file_bytes / 1e6:>4.0f} MB  "
            f"{training:>8}{mark}"
        )
    what, count = advice.looked_up
    if what:
        lines.append(f"looked up in: {count} {'passages of documents' if what == 'documents' else what}")
    return [*lines, f"cases: {advice.rows}", "", advice.text]
