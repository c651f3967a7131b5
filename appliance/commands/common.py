"""Options and small helpers that several verbs share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.events import Emit

Function = TypeVar("Function", bound=Callable[..., Any])


def project_option(function: Function) -> Function:
    """`--project DIR`, by default the current folder."""
    return click.option(
        "--project",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(),
        show_default="current folder",
        help="The project's folder.",
    )(function)


def yes_option(function: Function) -> Function:
    """`--yes`: train even what would take more than a day."""
    return click.option(
        "--yes", is_flag=True, help="Train even if it takes more than a day, or more memory than is free."
    )(function)


@contextlib.contextmanager
def stage_events(log: Path) -> Iterator[Emit]:
    """Events shown on the terminal and appended to the project's event log."""
    from appliance.events import EventFile, fan_out
    from appliance.progress import terminal_progress

    with terminal_progress() as terminal, contextlib.closing(EventFile(log)) as file:
        yield fan_out(terminal, file)
