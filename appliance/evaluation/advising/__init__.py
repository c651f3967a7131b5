"""Prompt, examples, retrieval or fine-tuning: the user's own cases asked every way, and which way wins at what cost."""

from appliance.evaluation.advising.measuring import advise
from appliance.evaluation.advising.verdict import Advice, Way

__all__ = ["Advice", "Way", "advise"]
