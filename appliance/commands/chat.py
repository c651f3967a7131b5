"""`anchorhold chat`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.errors import AnchorholdError, UsageError
from appliance.paths import Device

if TYPE_CHECKING:
    from collections.abc import Generator

    from appliance.serving.gateway_client import GatewayClient

_EPILOG = """\b
Examples:
  anchorhold chat
  anchorhold chat --message "pump 2 leaks at the seal, stopped it"
  anchorhold chat --json < note.txt
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="The device's folder (default: $ANCHORHOLD_ROOT or /var/lib/anchorhold).",
)
@click.option("--socket", type=click.Path(path_type=Path), help="The gateway's Unix socket.")
@click.option("--message", "-m", help="Ask this, print the answer, and end.")
@click.option("--system", default="", help="A system prompt to begin with.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    help="Length of an answer (default: what the context has room for).",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    default=0.0,
    show_default=True,
    help="0: always the likeliest.",
)
@click.option("--seed", type=int, help="Draw the same way each time.")
@click.option(
    "--retrieval/--no-retrieval",
    default=None,
    help="Look things up in the release's documents first (default: as the gateway has it).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the API's whole answer as one JSON line.")
def command(
    root: Path | None,
    socket: Path | None,
    message: str | None,
    system: str,
    max_tokens: int | None,
    temperature: float,
    seed: int | None,
    retrieval: bool | None,
    as_json: bool,
) -> None:
    """Talk to the model that is served on this machine.

    At a terminal it is a conversation: a line is a turn, Ctrl-C stops an answer, Ctrl-D ends, /new
    forgets. With --message, or with text on standard input, it asks once and prints the answer alone,
    for scripts.
    """
    from appliance.serving.gateway_client import GatewayClient

    device = Device(root.resolve()) if root else Device.default()
    params: dict[str, Any] = {"temperature": temperature}
    if max_tokens is not None:
        params["max_tokens"] = max_tokens
    if seed is not None:
        params["seed"] = seed
    if retrieval is not None:
        params["retrieval"] = retrieval
    with GatewayClient(socket or device.gateway_socket) as client:
        if message is None and sys.stdin.isatty() and not as_json:
            _converse(client, system, params)
            return
        text = sys.stdin.read() if message is None else message
        if not text.strip():
            raise UsageError("there is nothing to ask", "give --message TEXT or text on standard input")
        _ask_once(client, _opening(system, text.strip("\n")), params, as_json)


def _opening(system: str, text: str) -> list[dict[str, str]]:
    turns = [{"role": "system", "content": system}] if system else []
    return [*turns, {"role": "user", "content": text}]


def _ask_once(
    client: GatewayClient, messages: list[dict[str, str]], params: dict[str, Any], as_json: bool
) -> None:
    if as_json:
        import json

        click.echo(json.dumps(client.complete(messages, **params), ensure_ascii=False))
        return
    ending = _written(client.chat(messages, **params), [])
    sys.stdout.write("\n")
    _show_sources(ending)


def _written(pieces: Generator[str, None, dict[str, Any]], parts: list[str]) -> dict[str, Any]:
    """Print an answer as it comes, keeping its pieces; how it ended."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as done:
            ending: dict[str, Any] = done.value
            return ending
        parts.append(piece)
        sys.stdout.write(piece)
        sys.stdout.flush()


def _show_sources(ending: dict[str, Any]) -> None:
    """What was looked up for an answer, apart from it, so that a script gets the answer alone."""
    from appliance.serving.gateway_client import source_lines

    for line in source_lines(ending.get("citations") or []):
        click.echo(line, err=True)


def _converse(client: GatewayClient, system: str, params: dict[str, Any]) -> None:
    import readline  # noqa: F401 - gives input() its line editing

    name = client.models()[0]["id"]
    click.echo(f"{name}. A line is a turn; Ctrl-C stops an answer, Ctrl-D ends, /new forgets.", err=True)
    messages: list[dict[str, str]] = _opening(system, "")[:-1]
    while True:
        try:
            text = input("> ").strip()
        except KeyboardInterrupt:
            click.echo(err=True)
            continue
        except EOFError:
            click.echo(err=True)
            return
        if text == "/new":
            messages = _opening(system, "")[:-1]
        elif text:
            messages.append({"role": "user", "content": text})
            answer = _stream(client, messages, params)
            if answer is None:
                messages.pop()
            else:
                messages.append({"role": "assistant", "content": answer})


def _stream(client: GatewayClient, messages: list[dict[str, str]], params: dict[str, Any]) -> str | None:
    """Print an answer as it comes; what came of it, or None if it failed."""
    parts: list[str] = []
    ending: dict[str, Any] = {}
    try:
        ending = _written(client.chat(messages, **params), parts)
    except KeyboardInterrupt:
        sys.stdout.write(" [stopped]")
    except AnchorholdError as error:
        click.echo(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), err=True)
        return None
    sys.stdout.write("\n")
    _show_sources(ending)
    return "".join(parts)
