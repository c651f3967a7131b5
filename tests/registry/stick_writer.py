"""Writes a stick and dies: `stick_writer.py PROJECT STICK before|after`, before the first signature or after the last.

The registry is told before it is signed, and again after all of it was read back.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from appliance.events import ignore
from appliance.paths import Project
from appliance.update import publish


def die(*_: Any) -> None:
    """As a loss of power does."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Write until the moment that the last word names."""
    folder, stick, moment = sys.argv[1:]
    if moment == "before":
        publish._write_publisher = die  # type: ignore[assignment]
    else:
        publish.read_back = die  # type: ignore[assignment]
    publish.publish_project(Project.open(Path(folder)), Path(stick), ignore)


if __name__ == "__main__":
    main()
