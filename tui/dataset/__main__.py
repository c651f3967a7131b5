"""`python -m tui.dataset`, which `anchorhold dataset browse` and `anchorhold dataset review` start."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from appliance import offline
from appliance.paths import Project
from tui import terminal_profile
from tui.program import missing_textual, need_terminal, run_program


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="anchorhold dataset",
        description="Browse a prepared dataset, or review what was redacted in it.",
        epilog="Example: python -m tui.dataset browse --project station --plain",
    )
    parser.add_argument("screen", choices=("browse", "review"))
    parser.add_argument(
        "--project", type=Path, default=Path(), help="the project's folder (default: this one)"
    )
    parser.add_argument("--plain", action="store_true", help="no colours, ASCII only (as NO_COLOR=1)")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    if options.screen == "browse":
        need_terminal("open build/dataset/card.html, or print the card: `anchorhold dataset --json`")
    else:
        need_terminal("write redaction-decisions.jsonl by hand: docs/formats/redaction.md")
    plain = terminal_profile.wants_plain(os.environ, options.plain)
    terminal_profile.prepare(os.environ, plain)
    try:
        from tui.dataset.app import DatasetApp
    except ModuleNotFoundError as error:
        instead = "install the extra `tui`, or open build/dataset/card.html"
        raise missing_textual(error, instead) from error
    from tui.dataset.browsed import Browsed

    offline.seal()
    browsed = Browsed.open(Project.open(options.project), needs_review=options.screen == "review")
    app = DatasetApp(browsed, plain=plain, first="review" if options.screen == "review" else "card")
    # A mouse's reports cost bytes on a serial line, and take the terminal's own selecting away.
    app.run(mouse=False)
    if app.return_code:
        raise SystemExit(app.return_code)
    sys.stdout.write(browsed.farewell())


def main(arguments: list[str] | None = None) -> None:
    """Run the dataset's screens."""
    options = _options(arguments)
    run_program(lambda: _run(options))


if __name__ == "__main__":
    main()
