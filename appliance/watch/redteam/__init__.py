"""The red team: a library of attacks, their mutations, and what the served release makes of them, run against run."""

from appliance.watch.redteam.comparing import Comparison, compare
from appliance.watch.redteam.library import FAMILIES, Attack, Library, load
from appliance.watch.redteam.runs import Outcome, Run, baseline_of, read_runs

__all__ = [
    "FAMILIES",
    "Attack",
    "Comparison",
    "Library",
    "Outcome",
    "Run",
    "baseline_of",
    "compare",
    "load",
    "read_runs",
]
