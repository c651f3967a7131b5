"""A build that kills itself with SIGKILL at the first event of one stage; run by test_walk.py as a program.

Usage: killed_build.py PROJECT STAGE. The stage has begun then and has not ended, however fast the machine is.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from appliance import offline
from appliance.base_model import resolve
from appliance.commands.common import stage_events
from appliance.events import Event
from appliance.paths import Project
from appliance.pipeline import STAGES, Journey, walk
from appliance.trust.unlocking import Secrets


def main() -> None:
    """Walk the road to its death."""
    folder, name = sys.argv[1:]
    assert name in {stage.name for stage in STAGES}
    offline.seal()
    project = Project.open(Path(folder))
    project.build.mkdir(parents=True, exist_ok=True)
    with stage_events(project.events) as emit:

        def die(event: Event) -> None:
            emit(event)
            if event.stage == name and event.kind != "skipped":
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint = resolve(project.config.base.path, project.root, emit)
        journey = Journey(project, checkpoint, emit, Secrets())
        walk(replace(journey, emit=die))


if __name__ == "__main__":
    main()
