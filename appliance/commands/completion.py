"""`anchorhold completion`."""

from __future__ import annotations

import click


@click.command(
    "completion",
    epilog="Example: `anchorhold completion bash > ~/.local/share/bash-completion/completions/anchorhold`",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL."""
    from click.shell_completion import get_completion_class

    from appliance.cli import program

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(program, {}, "anchorhold", "_ANCHORHOLD_COMPLETE").source())
