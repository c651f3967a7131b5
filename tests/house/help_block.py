"""The help shown in README.md: `python -m tests.house.help_block` puts the real one between the markers."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.house.sources import ROOT

README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- help:begin -->\n).*?(<!-- help:end -->)", re.DOTALL)


def real_help() -> str:
    """What `anchorhold --help` prints in a terminal of 100 columns."""
    code = "import sys; from appliance.cli import main; main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def refreshed(text: str) -> str:
    """README's text with the real help between its markers."""
    block = f"```\n$ anchorhold --help\n{real_help()}```\n"
    return BLOCK.sub(lambda match: match.group(1) + block + match.group(2), text)


if __name__ == "__main__":
    README.write_text(refreshed(README.read_text(encoding="utf-8")), encoding="utf-8")
