"""Sticks that come back, by the command line: whatever lies in receipts/, nothing outside is read and nothing hangs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import cli
from appliance.events import ignore
from appliance.fleet.devices import Devices
from appliance.fleet.strangers import believed, look
from appliance.fleet.taking import take_all
from appliance.paths import Device, registry_folder
from appliance.trust import limits
from appliance.update import audit, log_files, receipts
from tests.fleet.signed_device import LATER, SignedDevice
from tests.stick_simulator import Simulator
from tests.update.killed_install import CHANGES

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    return subprocess.CompletedProcess(words, ended.value.code or 0, out.getvalue(), err.getvalue())  # type: ignore[arg-type]


@pytest.fixture
def device() -> SignedDevice:
    return SignedDevice().logged(3)


@pytest.fixture
def stick(tmp_path: Path, device: SignedDevice) -> Path:
    """A stick with the receipt of one device."""
    stick = tmp_path / "stick"
    (stick / "receipts").mkdir(parents=True)
    (stick / "receipts" / receipts.file_name(device.id)).write_bytes(device.receipt())
    return stick


def test_by_the_command_line(stick: Path, device: SignedDevice) -> None:
    refused = run("receipts", "import", stick)
    assert refused.returncode == 8 and "isn't enrolled here" in refused.stdout
    assert run("fleet", "enrol", device.id, device.public, "--name", "station-7").returncode == 0
    taken = run("receipts", "import", stick)
    assert (taken.returncode, taken.stdout) == (0, "station-7: 3 new entries, up to 3\n")
    assert "known already" in run("receipts", "import", stick / "receipts").stdout  # the folder alone
    one = stick / "receipts" / receipts.file_name(device.id)
    assert json.loads(run("receipts", "import", one, "--json").stdout)[0]["outcome"] == "known already"
    assert run("receipts", "import", stick / "nothing").returncode == 2
    listed = json.loads(run("fleet", "--json").stdout)
    assert [(each["name"], each["head"]["number"]) for each in listed] == [("station-7", 3)]
    assert run("fleet", "show", "no-such").returncode == 2
    shown = run("fleet", "show", "station-7").stdout
    assert device.id in shown and "number: 3" in shown
    assert (
        len(json.loads(run("fleet", "show", device.id[:6], "--json", "--last", "2").stdout)["entries"]) == 2
    )


@pytest.mark.parametrize(
    "what", ["link", "outside", "hard link", "fifo", "folder", "large", "other name", "sparse"]
)
def test_hostile_things_under_a_receipt_s_name(
    stick: Path, tmp_path: Path, device: SignedDevice, what: str
) -> None:
    path = stick / "receipts" / receipts.file_name("f" * 32)
    good = stick / "receipts" / receipts.file_name(device.id)
    secret = tmp_path / "secret"
    secret.write_text("of the workshop")
    if what == "link":
        path.symlink_to(good)
    elif what == "outside":
        path.symlink_to(secret)
    elif what == "hard link":
        os.link(secret, path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "large":
        path.write_bytes(b"[" * (limits.RECEIPT_BYTES + 1))
    elif what == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.write_bytes(device.receipt())
    done = run("receipts", "import", stick, "--enrol-all", "--json")
    assert done.returncode == 8
    outcomes = {each["device"]: each for each in json.loads(done.stdout)}
    first, second = outcomes.values()
    assert (first["outcome"], first["added"]) == ("taken", 3)  # the other one isn't hindered
    assert second["outcome"] == "refused" and second["reason"]
    assert "of the workshop" not in done.stdout + done.stderr
    assert Devices(registry_folder()).ids() == [device.id]


def test_receipts_that_is_a_link(stick: Path, tmp_path: Path) -> None:
    (stick / "receipts").rename(tmp_path / "elsewhere")
    (stick / "receipts").symlink_to(tmp_path / "elsewhere")
    done = run("receipts", "import", stick, "--enrol-all")
    assert done.returncode == 8 and "a link or no folder" in done.stderr


def test_too_many_files(stick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.errors import TrustError
    from appliance.fleet import taking

    for number in range(30):
        (stick / "receipts" / f"{number:032x}.jsonl").touch()
    monkeypatch.setattr(limits, "RECEIPTS", 20)
    with pytest.raises(TrustError, match="more files than"):
        taking.find(stick)
    monkeypatch.setattr(limits, "FOLDER_NAMES", 20)
    monkeypatch.setattr(limits, "RECEIPTS", 1000)
    with pytest.raises(TrustError, match="more files than"):
        taking.find(stick)


def test_other_files_are_left_alone(stick: Path) -> None:
    for name in ("README.TXT", "._x.jsonl", "x.jsonl", "F" * 31 + ".jsonl"):
        (stick / "receipts" / name).write_text("{")
    done = run("receipts", "import", stick, "--enrol-all", "--json")
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 1)


def test_what_a_device_wrote_never_reaches_the_terminal_as_it_is(stick: Path, device: SignedDevice) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\x9b31m"
    device.logged(1, evil, reason=evil)
    device.logged(1, "refused", **{evil: [evil, {"deep": evil}]})
    slot = {"name": evil, "version": evil, "release": evil, "model": evil, "problem": evil}
    changed = {
        "slots": {"active": slot, "previous": evil},
        "ledger": {evil: evil},
        "program": {"version": evil},
    }
    data = device.receipt(time=LATER, **changed)
    (stick / "receipts" / receipts.file_name(device.id)).write_bytes(data)
    assert run("receipts", "import", stick, "--enrol-all").returncode == 0
    for words in (
        ["fleet"],
        ["fleet", "--json"],
        ["fleet", "show", device.id[:8]],
        ["audit", "verify", str(stick)],
    ):
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert not set("\x1b\x07\x9b\u202e") & set(done.stdout + done.stderr), words
    assert "\\e]0;owned" in run("fleet", "show", device.id[:8]).stdout
    assert not set("\x1b\x9b\u202e") & set(run("fleet", "show", device.id[:8], "--json").stdout)


def test_alarms_and_refusals_since_the_last(stick: Path, device: SignedDevice) -> None:
    device.logged(2, "refused").logged(1, "drift").logged(1, "rolled back", automatic=True)
    path = stick / "receipts" / receipts.file_name(device.id)
    path.write_bytes(device.receipt())
    run("receipts", "import", stick, "--enrol-all")
    (told,) = json.loads(run("fleet", "--json").stdout)
    assert (told["alarms"], told["refusals"], told["seen"]) == (2, 2, "2026-11-20T00:00:00Z")
    path.write_bytes(device.logged(1, "refused").receipt(after=7))
    run("receipts", "import", stick)
    (told,) = json.loads(run("fleet", "--json").stdout)
    assert (told["alarms"], told["refusals"]) == (0, 1)
    fork = SignedDevice(device.id)
    fork.private, fork.public = device.private, device.public
    path.write_bytes(fork.logged(9, "rewritten").receipt())
    assert run("receipts", "import", stick).returncode == 8
    assert "1 receipts refused" in run("fleet").stdout
    assert "refused  ! " in run("fleet", "show", device.id[:8]).stdout
    path.write_bytes(device.logged(1).receipt(after=7, time=LATER))
    assert run("receipts", "import", stick).returncode == 0
    assert "its key signed 1 that contradict" in run("fleet").stdout  # whatever good ones come after it


def test_a_statement_of_any_shape_is_shown(stick: Path, device: SignedDevice) -> None:
    for number, shape in enumerate(
        ({"slots": []}, {"slots": {"active": 7}}, {"slots": None, "ledger": [], "program": "x"})
    ):
        registry = registry_folder() / str(number)
        (stick / "receipts" / receipts.file_name(device.id)).write_bytes(device.receipt(**shape))
        assert run("receipts", "import", stick, "--enrol-all", "--registry", registry).returncode == 0
        assert run("fleet", "--registry", registry).returncode == 0
        shown = run("fleet", "--registry", registry, "show", device.id[:8])
        assert shown.returncode == 0, shown.stderr


def import_but_die(stick: Path, registry: Path, left: int) -> None:
    """Take receipts, and be killed at the change to the registry after `left` ones. In a process of its own."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (writes or event in CHANGES) and str(registry) in str(arguments[0]):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)
    take_all(stick, registry, ignore, enrol=believed(look(stick, registry)))


def test_an_import_killed_at_any_moment_ends_the_next_time(
    stick: Path, tmp_path: Path, device: SignedDevice
) -> None:
    killed = 0
    for allowed in range(100):
        registry = tmp_path / f"registry-{allowed:03}"
        child = os.fork()
        if child == 0:
            import_but_die(stick, registry, allowed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status in {0, signal.SIGKILL}
        killed += status != 0
        assert run("receipts", "import", stick, "--enrol-all", "--registry", registry).returncode == 0
        store = Devices(registry)
        assert [entry.line for entry in store.entries(store.find(device.id))] == device.lines
        if status == 0:
            break
    assert killed > 5


# audit verify, and the device's side


def test_audit_verify_says_where_and_ends_so(tmp_path: Path, stick: Path, device: SignedDevice) -> None:
    real = Device(tmp_path / "real")
    real.root.mkdir()
    for number in range(4):
        audit.append(real, "tried", number=number)
    good = run("audit", "verify", real.root)
    assert good.returncode == 0 and "holds" in good.stdout and "entries 1 to 4" in good.stdout
    assert run("audit", "verify", "--root", real.root).returncode == 0
    assert run("audit", "verify", real.log).returncode == 0
    path = audit.path(real)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"number":1},"device"', b'"number":8},"device"'))
    bad = run("audit", "verify", real.root)
    assert bad.returncode == 8 and "fault: entry 2: edited: entry 3 names another digest" in bad.stdout
    path.write_bytes(whole[: whole.index(b"\n") + 1])
    bad = run("audit", "verify", real.root, "--json")
    assert bad.returncode == 8
    assert json.loads(bad.stdout)[0]["faults"][0].startswith(
        "entry 1: the log ends here, though 4 were written"
    )
    assert run("audit", "verify", tmp_path / "nothing").returncode == 2
    note = run("audit", "verify", stick)
    assert note.returncode == 0 and "not enrolled here" in note.stdout
    run("receipts", "import", stick, "--enrol-all")
    device.logged(1)
    later = stick.parent / "later.jsonl"
    later.write_bytes(device.receipt(time=LATER))
    run("fleet", "enrol", device.id, device.public)
    (stick.parent / receipts.file_name(device.id)).write_bytes(later.read_bytes())
    assert run("receipts", "import", stick.parent / receipts.file_name(device.id)).returncode == 0
    replayed = run("audit", "verify", stick)
    assert replayed.returncode == 8 and "a replay" in replayed.stdout


def test_an_api_key_that_is_made_is_logged_without_itself(tmp_path: Path) -> None:
    device = Device(tmp_path / "real")
    device.root.mkdir()
    key = run("serve", "--root", device.root, "--new-key", "tickets").stdout.strip()
    (entry,) = audit.entries(device)
    assert (entry["event"], entry["data"]) == ("api key made", {"name": "tickets", "by": audit.operator()})
    assert key and key.encode() not in audit.path(device).read_bytes()


def test_the_device_s_own_verbs(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "simulated")
    simulator.publish("1.0.0")
    simulator.install()
    root = ("--root", simulator.device.root)
    told = json.loads(run("receipts", "identity", *root, "--json").stdout)
    assert len(told["device"]) == 32 and len(told["key"]) == 64
    program = [sys.executable, "-m", "appliance", "status", *map(str, root)]  # it tries a gateway's socket
    status = subprocess.run(program, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert f"1 entries, the workshop has acknowledged 0; this device is {told['device']}" in status.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run("receipts", "write", empty, *root)
    assert (
        done.returncode == 0 and "acknowledges nothing" in done.stderr and "1 entry, up to 1" in done.stdout
    )
    (empty / "receipts").rename(tmp_path / "moved")
    (empty / "receipts").write_text("a file")
    assert run("receipts", "write", empty, *root).returncode == 11
    registry = registry_folder()
    assert run("receipts", "import", tmp_path / "moved", "--enrol-all").returncode == 0
    simulator.publish("1.1.0", acknowledged=Devices(registry).links())
    done = run("receipts", "write", simulator.stick, *root)
    assert (done.returncode, done.stderr) == (0, "") and "0 entries, up to 1" in done.stdout
    assert log_files.acknowledged(simulator.device.log).number == 1
