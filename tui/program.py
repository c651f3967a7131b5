"""What the programs of the terminal UI share: their start on a terminal, and errors as one line and a hint."""

from __future__ import annotations

import sys
from collections.abc import Callable

from appliance.errors import AnchorholdError, ExitCode, UsageError, as_product_error


def need_terminal(instead: str) -> None:
    """Refuse to start where there is no terminal.

    Args:
        instead: what to do there.

    Raises:
        UsageError: stdin or stdout is none.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the terminal UI needs a terminal", instead)


def missing_textual(error: ModuleNotFoundError, instead: str) -> UsageError:
    """The error where Textual isn't installed; any other missing module is raised again.

    Args:
        instead: what to use without it.
    """
    if error.name != "textual":
        raise error
    return UsageError("the terminal UI isn't installed (textual is missing)", instead)


def run_program(run: Callable[[], None]) -> None:
    """Run a program to its end; errors go to stderr as one line and a hint, as everywhere, with their exit code."""
    try:
        run()
    except KeyboardInterrupt:
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    except (AnchorholdError, OSError) as fault:
        error = as_product_error(fault)
        sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        raise SystemExit(int(error.exit_code)) from None
