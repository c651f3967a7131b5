"""`anchorhold serve` as an operator meets it: it starts, takes up releases, refuses, and ends; with a tiny model."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from appliance import storage
from appliance.conversion import write_gguf
from appliance.errors import ServingError, UpdateError
from appliance.registry import manifest as manifests
from appliance.retrieval import Passage, PassageIndex
from appliance.serving import api_keys
from appliance.serving.gateway import listening
from appliance.serving.gateway_client import GatewayClient
from appliance.update import audit, slots
from tests.stick_simulator import Simulator, flip_bit, make_release

pytestmark = pytest.mark.slow

QUESTION = [{"role": "user", "content": "pump 2 leaks"}]
COMMAND = [sys.executable, "-m", "appliance", "serve"]


def start(root: Path, *options: str) -> subprocess.Popen[str]:
    small = ["--threads", "1", "--slots", "2", "--context", "512"]
    return subprocess.Popen(
        [*COMMAND, "--root", str(root), *small, *options], stderr=subprocess.PIPE, text=True
    )


def said_when_ready(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = ""
    while not said.startswith("ready: "):
        said = process.stderr.readline()
        assert said
    return said


@contextlib.contextmanager
def serving(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], GatewayClient]]:
    """A gateway that is ready, its log drained, and a client."""
    process = start(root, *options)
    assert process.stderr is not None
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    try:
        said_when_ready(process)
        drain.start()
        with GatewayClient(root / "run" / "gateway.sock") as client:
            yield process, client
    finally:
        process.terminate()
        process.wait()
        if drain.ident is not None:
            drain.join()
        process.stderr.close()


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ah-") as folder:  # short enough for a socket's path
        yield Path(folder)


@pytest.fixture
def simulator(root: Path, tiny_gguf: Path) -> Simulator:
    simulator = Simulator(root)
    simulator.publish("1.0.0", tiny_gguf)
    simulator.install()
    return simulator


def left(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "run").iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_at_the_first_moment_of_readiness_ends_it_cleanly(
    root: Path, tiny_gguf: Path, number: signal.Signals, code: int
) -> None:
    process = start(root, "--model", str(tiny_gguf))
    assert said_when_ready(process) == f"ready: serving {tiny_gguf.stem} at {root}/run/gateway.sock\n"
    process.send_signal(number)
    process.send_signal(number)  # an impatient second one changes nothing
    _, said = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in said
    assert left(root) == []


def test_a_signal_while_the_model_is_loaded_ends_it_cleanly(root: Path, embedded_gguf: Path) -> None:
    process = start(root, "--model", str(embedded_gguf))
    pause = threading.Event()
    while not (root / "run" / "gateway.sock").exists():
        assert process.poll() is None
        pause.wait(0.01)
    process.terminate()
    _, said = process.communicate()
    assert (process.returncode, said) == (0, "")
    assert left(root) == []


def test_a_running_answer_ends_before_the_gateway_does(root: Path, tiny_gguf: Path) -> None:
    with serving(root, "--model", str(tiny_gguf)) as (process, client):
        pieces = client.chat(QUESTION, max_tokens=60, temperature=1.0, seed=4)
        next(pieces)
        process.terminate()
        while True:
            try:
                next(pieces)
            except StopIteration as ended:
                assert ended.value["finish_reason"] in {"length", "stop"}
                break
        assert process.wait() == 0
        assert left(root) == []


def test_an_answer_that_nobody_reads_does_not_hold_it(root: Path, tiny_gguf: Path) -> None:
    """A client that holds its stream open is cut off once the few seconds are over."""
    with serving(root, "--model", str(tiny_gguf)) as (process, client):
        idle = socket.socket(socket.AF_UNIX)
        idle.connect(str(client.socket))
        idle.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
        assert client.health()["status"] == "ok"  # so the half request has been read
        process.terminate()
        assert process.wait() == 0
        idle.close()
    assert left(root) == []


def test_a_second_gateway_is_told_so_and_a_killed_ones_socket_replaced(root: Path, tiny_gguf: Path) -> None:
    with serving(root, "--model", str(tiny_gguf)) as (process, client):
        words = [*COMMAND, "--root", str(root), "--model", str(tiny_gguf)]
        second = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (second.returncode, "running already" in second.stderr) == (10, True)
        assert client.health()["status"] == "ok"
        process.kill()
        process.wait()
        assert "gateway.sock" in left(root)
    with serving(root, "--model", str(tiny_gguf)) as (_, client):
        assert client.health()["status"] == "ok"
    assert left(root) == []


def test_a_gateway_that_is_just_ending_still_owns_its_path(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with listening.unix_socket(path) as first:
        first.close()  # it takes no connection any more, but hasn't removed its path yet
        with pytest.raises(ServingError, match="running already"), listening.unix_socket(path):
            pass
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


def test_an_installed_release_is_served_and_the_next_one_taken_up(
    simulator: Simulator, tiny_gguf: Path
) -> None:
    with serving(simulator.device.root, "--no-cache") as (process, client):
        assert client.models()[0]["id"] == "notes-1.0.0"
        answered: list[str] = []
        failed: list[Exception] = []
        switched = threading.Event()

        def ask() -> None:
            with GatewayClient(client.socket) as own:
                while not switched.is_set() or "notes-1.1.0" not in answered[-1:]:
                    try:
                        answer = own.complete(QUESTION, max_tokens=4)
                    except ServingError as error:
                        failed.append(error)
                        return
                    answered.append(answer["model"])

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        simulator.publish("1.1.0", tiny_gguf)
        simulator.install()
        process.send_signal(signal.SIGHUP)
        while client.models()[0]["id"] != "notes-1.1.0":
            assert client.health()["status"] == "ok"
        switched.set()
        for thread in asking:
            thread.join()
        assert failed == []
        assert set(answered) == {"notes-1.0.0", "notes-1.1.0"}
        assert client.health()["restarts"] == 0


def with_documents(folder: Path, model: Path, version: str, on: bool) -> None:
    """A release that brings an index of one passage."""
    release = make_release(folder, version, model, extra={"retrieval": {"top": 1, "on": on}})
    PassageIndex.build(
        release / "passages.sqlite", [Passage("pump.md:3", "Pump", "Pump 2 leaks at its seal.")]
    )
    data = (release / "passages.sqlite").read_bytes()
    raw = json.loads((release / manifests.FILE_NAME).read_bytes())
    entry = {"name": "passages.sqlite", "role": "passages", "bytes": len(data)}
    raw["files"].append({**entry, "sha256": storage.sha256_bytes(data)})
    (release / manifests.FILE_NAME).write_bytes(storage.canonical_json(raw))


def test_documents_of_an_installed_release_are_looked_up(root: Path, tiny_gguf: Path) -> None:
    simulator = Simulator(root)
    with_documents(root / "releases" / "1.0.0", tiny_gguf, "1.0.0", on=False)
    with_documents(root / "releases" / "1.1.0", tiny_gguf, "1.1.0", on=True)
    simulator.publish("1.0.0")
    simulator.install()
    cited = [{"number": 1, "source": "pump.md:3", "title": "Pump"}]
    with serving(root / "device") as (process, client):
        assert "citations" not in client.complete(QUESTION, max_tokens=2)
        assert client.complete(QUESTION, max_tokens=2, retrieval=True)["citations"] == cited
        simulator.publish("1.1.0")
        simulator.install()
        process.send_signal(signal.SIGHUP)
        while client.models()[0]["id"] != "notes-1.1.0":
            pass
        assert client.complete(QUESTION, max_tokens=2)["citations"] == cited
        assert "citations" not in client.complete(QUESTION, max_tokens=2, retrieval=False)
        # The index is damaged: that is told, and answers without it go on.
        (index,) = (root / "device" / "objects").glob("*.sqlite")
        index.write_bytes(b"no database" * 100)
        with pytest.raises(ServingError, match="damaged index"):
            client.complete(QUESTION, max_tokens=2)
        assert "citations" not in client.complete(QUESTION, max_tokens=2, retrieval=False)
    with serving(root / "device", "--no-retrieval") as (_, client):
        assert "citations" not in client.complete(QUESTION, max_tokens=2)


def wait_for(simulator: Simulator, version: str) -> None:
    """Until this release is active again, by the device's own doing; the one before may be spoilt."""
    pause = threading.Event()
    while (found := slots.active(simulator.device)) is None or found.version != version:
        pause.wait(0.05)


def test_a_broken_release_is_rolled_back_while_the_old_one_serves(
    simulator: Simulator, tiny_gguf: Path
) -> None:
    with serving(simulator.device.root) as (_, client):
        simulator.publish("2.0.0", tiny_gguf.read_bytes()[:200_000])
        simulator.install()  # its probe is told to accept it
        wait_for(simulator, "1.0.0")
        health = client.health()
        assert (health["status"], health["release"]["version"]) == ("ok", "1.0.0")
        assert client.complete(QUESTION, max_tokens=2)["model"] == "notes-1.0.0"
        last = audit.entries(simulator.device)[-1]
        assert (last["event"], last["data"]["automatic"]) == ("rolled back", True)
        with pytest.raises(UpdateError, match="didn't serve"):
            slots.rollback(simulator.device)
        slots.rollback(
            simulator.device, rejected=True
        )  # an operator insists: it proves itself again, or fails to
        wait_for(simulator, "1.0.0")
        while client.health()["problem"]:  # what can't be served isn't wanted any more
            pass
        assert client.health()["release"]["version"] == "1.0.0"


def test_a_gateway_that_starts_with_a_broken_release_serves_the_one_before(
    simulator: Simulator, tiny_gguf: Path
) -> None:
    assert slots.mark_good(simulator.device, str(simulator.check().digest))
    simulator.publish("2.0.0", tiny_gguf.read_bytes()[:200_000])
    simulator.install()
    with serving(simulator.device.root) as (_, client):
        assert client.health()["release"]["version"] == "1.0.0"
    status = subprocess.run(
        [sys.executable, "-m", "appliance", "status", "--root", str(simulator.device.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rolled back by itself to notes 1.0.0" in status.stdout


def test_a_release_mended_by_installing_it_again_is_taken_up(
    simulator: Simulator, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.gguf"
    write_gguf(tiny_checkpoint, other, quantization="F16", name="other")
    with serving(simulator.device.root) as (_, client):
        simulator.publish("1.1.0", other)

        def spoil(model: Path, _manifest: object, _emit: object) -> None:
            flip_bit(model, 0)  # the magic: as if the disk had

        simulator.install(probe=spoil)
        wait_for(simulator, "1.0.0")
        simulator.install()
        while client.models()[0]["id"] != "notes-1.1.0":
            pass
        assert client.health()["problem"] == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "[::]"])
def test_tcp_without_a_key_is_refused(root: Path, tiny_gguf: Path, host: str) -> None:
    words = [*COMMAND, "--root", str(root), "--model", str(tiny_gguf), "--tcp", f"{host}:0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert "TCP needs a key" in done.stderr
    assert ("other machines could reach" in done.stderr) == (host != "127.0.0.1")
    assert "--new-key" in done.stderr
    assert not (root / "run").exists()


def test_an_address_that_others_reach_is_served_with_a_key_only(root: Path, tiny_gguf: Path) -> None:
    key = api_keys.create(root / "api-keys.json", "tests")
    process = start(root, "--model", str(tiny_gguf), "--tcp", "0.0.0.0:0")
    assert process.stderr is not None
    assert "nothing on it is encrypted" in process.stderr.readline()
    said = said_when_ready(process)
    port = said.split("http://0.0.0.0:")[1].split()[0]
    url = f"http://127.0.0.1:{port}/v1/models"
    assert httpx.get(url, trust_env=False).status_code == 401
    assert httpx.get(url, headers={"authorization": f"Bearer {key}"}, trust_env=False).status_code == 200
    process.terminate()
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("stale", [False, True])
def test_chat_without_a_gateway_says_how_to_start_one(root: Path, stale: bool) -> None:
    path = root / "gateway.sock"
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    for words in (["-m", "x"], ["--json", "-m", "x"]):
        done = subprocess.run(
            [sys.executable, "-m", "appliance", "chat", "--socket", str(path), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 10
        assert done.stderr == (
            f"error: no gateway answers at {path}\nhint: is it running? `anchorhold serve` starts it\n"
        )
        assert done.stdout == ""
