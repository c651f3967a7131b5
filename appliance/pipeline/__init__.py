"""The whole road in one walk: which stages there are, which of them are still good, and running the rest."""

from appliance.pipeline.road import STAGES, Journey, Stage
from appliance.pipeline.walk import Decision, decide, only_one, outdated, run_stage, walk

__all__ = ["STAGES", "Decision", "Journey", "Stage", "decide", "only_one", "outdated", "run_stage", "walk"]
