"""The bundle in a network namespace without any interface: installed, and the whole road walked there.

Everything runs under strace; at the end, no address but Unix sockets and loopback has been used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from offline_wheels import fill, pack

pytestmark = [pytest.mark.root, pytest.mark.slow]

MOST_MEGABYTES = 200  # of an installed device set, without a model
ROWS = 80
PASSPHRASE = "a passphrase for this test alone"
QUESTION = "genset 2 wont start, batt 10.8V, pls check"


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root for a network namespace"
    for program in ("unshare", "strace", "tmux"):
        if shutil.which(program) is None:
            return f"needs {program}"
    if subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        return "this machine gives no network namespaces"
    about = pack.BUNDLE / "bundle.json"
    if not about.exists():
        return "needs the bundle: make bundle"
    if json.loads(about.read_text())["program"] != fill.program_digest():
        return "the bundle is of another state of the program: make bundle"
    return ""


def _wait(condition: Callable[[], bool], what: str, seconds: int = 120) -> None:
    for _ in range(seconds * 4):
        if condition():
            return
        time.sleep(0.25)
    raise AssertionError(f"{what}: not within {seconds} s")


class Isle:
    """A machine with the bundle and no network: fresh home, fresh prefix, each program in a namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "medium" / "bundle"
        self.prefix = folder / "opt"
        self.project = folder / "station"
        self.root = folder / "device"
        self.traces = folder / "traces"
        self.traces.mkdir()
        (folder / "home").mkdir()
        (folder / "tmp").mkdir()
        self.environment = {
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "PATH": f"{self.prefix / 'bin'}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "ANCHORHOLD_PASSPHRASE": PASSPHRASE,
            "ANCHORHOLD_ROOT": str(self.root),
        }

    def offline(self, *command: str | Path) -> list[str]:
        """The command line that runs `command` in a namespace of its own, its network calls written down."""
        trace = self.traces / f"{len(list(self.traces.iterdir())):02}-{Path(command[0]).name}"
        trace.touch()
        strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=network", "-o", str(trace)]
        return ["unshare", "-n", *strace, *map(str, command)]

    def run(self, *command: str | Path) -> str:
        """Run to the end; returns what it printed."""
        done = subprocess.run(
            self.offline(*command),
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (
            f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[None]:
        """`anchorhold serve`, for as long as the block lasts."""
        log = self.folder / "serve.log"
        with log.open("wb") as stream:
            server = subprocess.Popen(
                self.offline("anchorhold", "serve"),
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            socket = self.root / "run" / "gateway.sock"
            _wait(lambda: server.poll() is not None or socket.exists(), f"the gateway's socket ({log})")
            assert server.poll() is None, log.read_text()
            yield
        finally:
            # Not strace itself: when it dies, what it traces is killed.
            for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGTERM)
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, 9)
                server.wait()


@pytest.fixture(scope="module")
def isle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Isle]:
    """The bundle copied over and everything installed from it, workshop and device."""
    reason = _why_not()
    if reason:
        pytest.skip(reason)
    isle = Isle(tmp_path_factory.mktemp("isle"))
    shutil.copytree(pack.BUNDLE, isle.bundle)
    # As from a medium mounted read-only: root could write, so what is there is compared afterwards.
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    before = {file: file.stat().st_mtime_ns for file in isle.bundle.rglob("*")}
    printed = isle.run(
        "sh", isle.bundle / "install.sh", "--prefix", isle.prefix, "--set", "all", "--python", python
    )
    assert {file: file.stat().st_mtime_ns for file in isle.bundle.rglob("*")} == before
    assert "installed: anchorhold" in printed
    yield isle
    shutil.rmtree(isle.prefix)  # 3 GB with the bundle, which the rest of the run does without
    shutil.rmtree(isle.bundle)


def test_the_device_set_is_small(isle: Isle) -> None:
    prefix = isle.folder / "device-set"
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    isle.run("sh", isle.bundle / "install.sh", "--prefix", prefix, "--python", python)
    seen: dict[tuple[int, int], int] = {}
    for file in prefix.rglob("*"):
        about = file.lstat()
        seen[about.st_dev, about.st_ino] = about.st_blocks * 512
    assert 50 < sum(seen.values()) / 1e6 < MOST_MEGABYTES
    names = {path.name for path in next(prefix.glob("versions/*/lib/python*/site-packages")).iterdir()}
    assert {"appliance", "tui", "textual", "llama_cpp"} <= names
    assert not names & {"torch", "transformers", "peft", "pip", "setuptools"}
    shutil.rmtree(prefix)


def test_the_whole_road(isle: Isle) -> None:
    isle.run("anchorhold", "init", isle.project)
    rows: list[str] = []
    for source in sorted((isle.bundle / "examples" / "workorders" / "data").glob("*.jsonl")):
        rows += [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(rows) >= ROWS
    (isle.project / "data" / "rows.jsonl").write_text("\n".join(rows[:ROWS]) + "\n", encoding="utf-8")
    _set(
        isle.project / "anchorhold.toml",
        {
            "epochs": "0.2",
            "rank": "4",
            "evaluations": "1",
            "max_rows": "2",
            "shots": "0",
            "baselines": "false",
        },
    )
    isle.run("anchorhold", "keys", "init", "--project", isle.project)
    isle.run("anchorhold", "build", "--project", isle.project)
    trust = isle.folder / "root.json"
    isle.run("anchorhold", "keys", "export-root", "--project", isle.project, trust)
    isle.run("anchorhold", "install", isle.project / "stick", "--trust", trust)
    with isle.serving():
        answer = isle.run("anchorhold", "chat", "--message", QUESTION)
        assert answer.strip()
        status = json.loads(isle.run("anchorhold", "status", "--json"))
        assert "station" in json.dumps(status)
        _look_at_the_terminal_ui(isle)
    _nothing_but_local(isle)


def _set(config: Path, values: dict[str, str]) -> None:
    """Change keys of a project's commented configuration; answers are kept short."""
    text = config.read_text(encoding="utf-8").replace("max_tokens = 256", "max_tokens = 48")
    for key, value in values.items():
        text, count = re.subn(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.MULTILINE)
        assert count == 1, key
    config.write_text(text, encoding="utf-8")


def _look_at_the_terminal_ui(isle: Isle) -> None:
    """Open the UI in tmux, 80x24: ask, read the answer, look at the release's status."""
    server = f"anchorhold-{os.getpid()}"
    history = isle.root / "history.sqlite"
    tmux = ["tmux", "-L", server, "-f", "/dev/null"]

    def screen() -> str:
        done = subprocess.run(
            [*tmux, "capture-pane", "-p"], env=isle.environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    def keys(*words: str) -> None:
        subprocess.run([*tmux, "send-keys", *words], env=isle.environment, check=True)

    # tmux starts its server from this command, so the server and the UI are in the traced namespace; strace
    # stays until they end.
    session = subprocess.Popen(
        isle.offline(*tmux, "new-session", "-d", "-x", "80", "-y", "24", "anchorhold; sleep 600"),
        env=isle.environment,
        cwd=isle.folder,
        stdin=subprocess.DEVNULL,
    )
    try:
        # Each view is known by words that no other one shows.
        _wait(lambda: "Type below and press Enter" in screen(), "the chat screen, with a model that is ready")
        keys("F2")
        _wait(lambda: "Signed by" in screen() and "station 0.1.0" in screen(), "the release's status")
        keys("F1")
        _wait(lambda: "Type below and press Enter" in screen(), "the chat screen again")
        assert not history.exists() or _turns(history) == []
        keys("-l", QUESTION)
        keys("Enter")
        # A turn of the assistant is kept when its answer has ended.
        _wait(lambda: [role for role, _ in _turns(history)] == ["user", "assistant"], "an answer", 300)
        (_, asked), (_, answer) = _turns(history)
        assert asked == QUESTION and answer.strip()
        _wait(lambda: "ready" in screen() and "No answer" not in screen(), "the end of the answer, drawn")
    finally:
        subprocess.run([*tmux, "kill-server"], env=isle.environment, check=False)
        session.wait(timeout=60)


def _turns(history: Path) -> list[tuple[str, str]]:
    """(role, text) of every message that the UI has kept, oldest first."""
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as database:
        return list(database.execute("SELECT role, text FROM turns ORDER BY id"))


def _nothing_but_local(isle: Isle) -> None:
    """Read every trace: each address that was connected, bound or sent to."""
    lines = [
        line for trace in isle.traces.iterdir() for line in trace.read_text(errors="replace").splitlines()
    ]
    addressed = [line for line in lines if "sa_family=" in line]
    assert any("AF_UNIX" in line and "gateway.sock" in line for line in addressed), (
        "the traces saw the gateway"
    )
    local = re.compile(
        r"sa_family=AF_UNIX"
        r"|sa_family=AF_INET, .*inet_addr\(\"127\.\d+\.\d+\.\d+\"\)"
        r"|sa_family=AF_INET6, .*inet_pton\(AF_INET6, \"::1\""
        r"|sa_family=AF_NETLINK"  # the kernel itself: the C library asks it which interfaces there are
    )
    strange = [line for line in addressed if not local.search(line)]
    assert not strange, "\n".join(strange[:20])
