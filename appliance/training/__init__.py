"""LoRA fine-tuning on a CPU: rows in, the best adapter and its loss curve out.

`train` runs or resumes a training; `resolve_plan` says beforehand what it would do.
"""

from appliance.training import _process  # noqa: F401 - before torch is loaded
from appliance.training.encoding import Encoded, encode_rows
from appliance.training.recipe import Plan, resolve_plan
from appliance.training.session import TrainingResult, train

__all__ = ["Encoded", "Plan", "TrainingResult", "encode_rows", "resolve_plan", "train"]
