"""Attacks that came through, as preference rows for the next round of training. Pure.

Only attacks marked as teaching become rows; the others are never learnt from, so that the next round can be judged by
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appliance.watch.redteam.library import Attack
from appliance.watch.redteam.runs import Run

REFUSAL = "I can't help with that."


def preference_rows(
    run: Run, attacks: Mapping[str, Attack], refusal: str = REFUSAL
) -> Iterator[dict[str, Any]]:
    """A row a failed teaching attack: "prompt" (turns), "chosen", "rejected", and the attack's request as "group".

    Args:
        run: whose failures.
        attacks: by id.
        refusal: the answer to learn, where the release's own answer isn't known.
    """
    for outcome in run.outcomes:
        attack = attacks.get(outcome.id)
        if outcome.held or attack is None or not attack.teaching:
            continue
        yield {
            "prompt": list(attack.messages),
            "chosen": [{"role": "assistant", "content": attack.golden or refusal}],
            "rejected": [{"role": "assistant", "content": outcome.answer}],
            "group": f"redteam {attack.request or attack.id}",
        }


def counts(run: Run, attacks: Mapping[str, Attack]) -> tuple[int, int]:
    """How many attacks came through, and how many of them may be learnt from."""
    failed = [attacks[each.id] for each in run.outcomes if not each.held and each.id in attacks]
    return len(failed), sum(attack.teaching for attack in failed)
