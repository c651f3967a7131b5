"""`anchorhold serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.errors import UsageError
from appliance.paths import Device

if TYPE_CHECKING:
    from appliance.serving.engine_client import Engine
    from appliance.serving.gateway.ending import Ending
    from appliance.serving.supervisor import Target

_EPILOG = """\b
Examples:
  anchorhold serve
  anchorhold serve --model work-orders-q4_0.gguf --socket model.sock
  anchorhold serve --new-key ticket-system
  anchorhold serve --tcp 127.0.0.1:8080
  curl --unix-socket /var/lib/anchorhold/run/gateway.sock http://gateway/health
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="The device's folder (default: $ANCHORHOLD_ROOT or /var/lib/anchorhold).",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Serve this GGUF instead of the installed release.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The Unix socket (default: run/gateway.sock in the root).",
)
@click.option("--tcp", metavar="HOST:PORT", help="Also listen on this IP address; requests there need a key.")
@click.option(
    "--slots", type=click.IntRange(1, 256), default=8, show_default=True, help="Answers side by side."
)
@click.option(
    "--context",
    type=click.IntRange(64, 1_048_576),
    help="Tokens of one request, prompt and answer together (default: what the release needs, 2048 or more).",
)
@click.option("--threads", type=click.IntRange(0, 1024), default=0, help="CPU threads (default: all cores).")
@click.option(
    "--queue",
    type=click.IntRange(0, 100_000),
    default=64,
    show_default=True,
    help="Requests that may wait; more are told to come again.",
)
@click.option(
    "--passages",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --model: look things up in this index (`anchorhold build` leaves build/passages.sqlite).",
)
@click.option(
    "--retrieval/--no-retrieval",
    default=None,
    help="Look things up in the release's documents without being asked, or only when asked (default: as it says).",
)
@click.option("--no-cache", is_flag=True, help="Do not keep answers to deterministic requests.")
@click.option("--new-key", metavar="NAME", help="Make a key for --tcp, print it once, and end.")
def command(
    root: Path | None,
    model: Path | None,
    socket: Path | None,
    tcp: str | None,
    slots: int,
    context: int | None,
    threads: int,
    queue: int,
    passages: Path | None,
    retrieval: bool | None,
    no_cache: bool,
    new_key: str | None,
) -> None:
    """Serve the active release over an OpenAI-compatible API.

    Programs on this machine talk to the Unix socket (mode 0660, so the group decides who may). Nothing
    listens on a network unless --tcp names such an address, and there every request needs a key. A newly
    installed release is taken up by itself, without dropping requests; SIGHUP makes it look at once.
    Ctrl-C or SIGTERM ends it; running answers get a few seconds.

    A release whose engines end four times in a row, each within half a minute, or can't be started, is
    rolled back by itself, once. Where neither release can be loaded the gateway stays in safe mode: requests
    are told why, /health and the terminal UI show it, and a new stick is taken up at once.
    """
    device = Device(root.resolve()) if root else Device.default()
    if passages is not None and model is None:
        raise UsageError("--passages goes with --model", "a release brings its own documents")
    if new_key is not None:
        from appliance.serving import api_keys
        from appliance.update import audit

        key = api_keys.create(device.api_keys, new_key)
        try:
            audit.append(device, "api key made", name=new_key, by=audit.operator())
        except OSError as error:
            click.echo(f"warning: the key isn't in the log: {error}", err=True)
        click.echo(key)
        return
    import signal

    from appliance.serving.gateway.ending import Ending

    with Ending() as ending:
        looked = (passages, retrieval)
        _serve(device, model, looked, socket, tcp, slots, context, threads, queue, no_cache, ending)
    if ending.asked == signal.SIGINT:
        raise KeyboardInterrupt


_Looked = tuple["Path | None", "bool | None"]
"""An index to look things up in, and whether without being asked; None: as the release says."""


def _target_of(device: Device, model: Path | None, looked: _Looked) -> Target | None:
    from appliance.serving.supervisor import Target

    if model is not None:
        from appliance import model_file, storage

        if not model.is_file():
            raise UsageError(f"{model}: no such file", "give the path of a GGUF")
        model_file.check(model)
        passages, on = looked
        if passages is not None and not passages.is_file():
            raise UsageError(f"{passages}: no such file", "give the path of an index of passages")
        return Target(
            name=model.stem,
            version="",
            digest=storage.sha256_file(model),
            model=model.resolve(),
            passages=passages.resolve() if passages else None,
            looks_up=bool(on),
        )
    from appliance.registry import manifest
    from appliance.update import slots

    change = slots.state(
        device
    ).changes  # before the release is looked up: one too low costs a start, no more
    release = slots.active(device)
    if release is None:
        return None
    brought = manifest.passages_in(release.manifest)
    top, on = manifest.retrieval_of(release.manifest)
    baseline = manifest.baseline_of(release.manifest)
    return Target(
        name=release.name,
        version=release.version,
        digest=release.digest,
        model=release.model,
        context=manifest.context_of(release.manifest),
        system=manifest.system_of(release.manifest),
        schema=manifest.schema_of(release.manifest),
        passages=slots.object_path(device, *brought) if brought else None,
        top=top,
        looks_up=on if looked[1] is None else looked[1],
        baseline=None if baseline is None else slots.object_path(device, baseline.sha256, baseline.name),
        change=change,
    )


def _serve(
    device: Device,
    model: Path | None,
    looked: _Looked,
    socket: Path | None,
    tcp: str | None,
    slots: int,
    context: int | None,
    threads: int,
    queue: int,
    no_cache: bool,
    ending: Ending,
) -> None:
    import contextlib
    import logging
    import threading

    from appliance import offline
    from appliance.serving.engine_client import Engine
    from appliance.serving.gateway import listening, server
    from appliance.serving.gateway.app import cache_at
    from appliance.serving.gateway.exchange import Gateway
    from appliance.serving.supervisor import Supervisor
    from appliance.update import health
    from appliance.watch.watcher import Served, Watcher

    address = listening.Address.parse(tcp) if tcp else None
    # Before the seal, which lets nothing bind that other machines can reach. A key is needed there.
    tcp_socket = listening.bind_tcp(address, device.api_keys) if address else None
    if address is not None and not address.loopback:
        click.echo("note: other machines can reach this address, and nothing on it is encrypted", err=True)
    offline.seal()
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    fixed = _target_of(device, model, looked) if model is not None else None
    # With --model there need be no device at all; then nothing is written where it would be.
    standalone = model is not None and device.absent
    # Where a release is to be served there is a device, if only from now on.
    path = socket or (device.gateway_socket if standalone else device.run / "gateway.sock")
    cache = None if no_cache or standalone else device.response_cache
    log = None if standalone else device.log / "engine.log"

    def start(target: Target) -> Engine:
        def begin(give_up: threading.Event) -> Engine:
            return Engine(
                target.model,
                slots=slots,
                context=context or target.context,
                threads=threads,
                log=log,
                give_up=give_up,
            )

        if fixed is not None:
            return begin(supervisor.ending)
        return health.start(device, target.digest, target.model, supervisor.ending, begin)

    def give_up(target: Target | None, reason: str) -> None:
        if fixed is None:
            health.leave(device, target.digest if target is not None else None, reason)

    with contextlib.ExitStack() as held:
        unix = held.enter_context(listening.unix_socket(path))
        supervisor = Supervisor(
            lambda: fixed if model is not None else _target_of(device, None, looked), start, give_up
        )
        held.callback(supervisor.close)
        # A device stays up without a model, and says why: who comes to mend it finds more than a dead socket.
        supervisor.begin(stay=fixed is None)

        def served() -> Served | None:
            current = supervisor.current
            if current is None:
                return None
            target = current.target
            return Served(target.digest, target.baseline, target.identity, target.model)

        watcher = None if standalone else Watcher(device, served)
        if watcher is not None:
            held.callback(watcher.close)
            watcher.begin()
        sockets = [(unix, False)] + ([(tcp_socket, True)] if tcp_socket is not None else [])

        def ready() -> None:
            serving = supervisor.current
            what = f"serving {serving.target.identity}" if serving else f"SAFE MODE ({supervisor.problem})"
            line = f"ready: {what} at {path}"
            if address is not None and tcp_socket is not None:
                line += f" and {address.url(tcp_socket.getsockname()[1])} (with a key)"
            click.echo(line, err=True)

        gateway = Gateway(supervisor, cache_at(cache), queue, watcher)
        server.run(gateway, sockets, device.api_keys, ending, ready)
