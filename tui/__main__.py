"""`python -m tui`, which is also what `anchorhold` alone starts."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from appliance import offline
from appliance.paths import Device
from tui import terminal_profile
from tui.program import missing_textual, need_terminal, run_program


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="anchorhold",
        description="The terminal UI: talk to the model, see how the device does, install from a stick.",
        epilog="Example: python -m tui --root /var/lib/anchorhold --plain",
    )
    parser.add_argument("--root", type=Path, help="the device's folder (default: $ANCHORHOLD_ROOT)")
    parser.add_argument("--socket", type=Path, help="the gateway's Unix socket")
    parser.add_argument("--plain", action="store_true", help="no colours, ASCII only (as NO_COLOR=1)")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    need_terminal("for scripts: `anchorhold chat --message TEXT`")
    plain = terminal_profile.wants_plain(os.environ, options.plain)
    terminal_profile.prepare(os.environ, plain)
    try:
        from tui.app import AnchorholdApp
    except ModuleNotFoundError as error:
        raise missing_textual(error, "install the extra `tui`, or use `anchorhold chat`") from error
    from tui.backend import DeviceBackend
    from tui.history import History

    offline.seal()
    device = Device(options.root.resolve()) if options.root else Device.default()
    history = History(device.history)
    app = AnchorholdApp(DeviceBackend(device, options.socket), history, plain=plain)
    try:
        # A mouse's reports cost bytes on a serial line, and take the terminal's own selecting away.
        app.run(mouse=False)
    finally:
        history.close()
    if app.return_code:
        raise SystemExit(app.return_code)


def main(arguments: list[str] | None = None) -> None:
    """Run the terminal UI; errors go to stderr as one line and a hint, as everywhere."""
    options = _options(arguments)
    run_program(lambda: _run(options))


if __name__ == "__main__":
    main()
