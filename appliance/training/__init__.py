"""LoRA fine-tuning on a CPU: rows in, the best adapter and its loss curve out.

`train` runs or resumes a training; `resolve_plan` says beforehand what it would do.
"""

import os

# Before torch loads its thread pool: threads that spin at a barrier starve each other as soon as anything
# else runs on the machine; sleeping ones cost nothing when it is idle (docs/measurements.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from appliance.training.encoding import Encoded, encode_rows
from appliance.training.recipe import Plan, resolve_plan
from appliance.training.session import TrainingResult, train

__all__ = ["Encoded", "Plan", "TrainingResult", "encode_rows", "resolve_plan", "train"]
