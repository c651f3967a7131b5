"""LoRA fine-tuning on a CPU: rows in, the best adapter and its loss curve out.

`train` runs or resumes a training; `resolve_plan` says beforehand what it would do.
"""

import os

# Before torch loads its thread pool: spinning threads are expected to starve each other on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from appliance.training.encoding import Encoded, encode_rows
from appliance.training.recipe import Plan, resolve_plan
from appliance.training.session import TrainingResult, train

__all__ = ["Encoded", "Plan", "TrainingResult", "encode_rows", "resolve_plan", "train"]
