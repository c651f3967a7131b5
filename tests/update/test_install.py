"""Installing: atomic whatever happens, resumable, one at a time; and the way back."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance import confinement
from appliance.errors import StorageError, UpdateError
from appliance.events import Emit, Event, ignore
from appliance.paths import Device
from appliance.registry import manifest as manifests
from appliance.trust import limits
from appliance.trust.unlocking import Secrets
from appliance.update import audit, copying, slots
from appliance.update import install as installing
from tests.stick_simulator import PASSPHRASE, Simulator, flip_bit, leftovers

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device with 1.0.0 active, and a good stick with 1.1.0."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    simulator.publish("1.1.0", os.urandom(9 * limits.MIB))
    return simulator


def test_kill_at_every_change_to_the_disk(simulator: Simulator, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    output.mkdir()
    program = [sys.executable, "-m", "tests.update.killed_install"]
    subprocess.run(
        [*program, str(simulator.stick), str(simulator.device.root), str(output)], check=True, cwd=REPOSITORY
    )
    devices = [Device(folder) for folder in sorted(output.iterdir())]
    assert len(devices) > 30
    seen = []
    for device in devices:
        simulator.device = device
        assert simulator.active in {"1.0.0", "1.1.0"}
        seen.append(simulator.active)
        simulator.install()
        assert simulator.active == "1.1.0"
        kept = slots.previous(device)
        assert kept is not None and kept.version == "1.0.0"
        assert leftovers(device) == []
        assert [entry["data"]["version"] for entry in audit.entries(device)] == ["1.0.0", "1.1.0"]
    assert seen == sorted(seen)  # one moment at which it switches
    assert {"1.0.0", "1.1.0"} == set(seen)


def test_an_interrupted_copy_goes_on(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    simulator.publish("1.2.0", os.urandom(9 * limits.MIB))
    report = simulator.check()
    target = report.files["notes.gguf"]
    part = simulator.device.objects / ".incoming" / f"{target.sha256}.gguf"
    part.parent.mkdir()
    part.write_bytes((simulator.stick / target.stored).read_bytes()[: 5 * limits.MIB] + b"torn")
    flip_bit(part, 4 * limits.MIB + 7)  # the fifth chunk is bad, four are good
    done: list[float] = []
    simulator.install(emit=lambda event: done.append(event.done) if event.unit == "bytes" else None)
    assert done[0] == 4 * limits.MIB
    assert simulator.active == "1.2.0"


def test_a_failed_probe_leaves_the_old(simulator: Simulator) -> None:
    def fail(_model: Path, _manifest: manifests.Manifest, _emit: Emit) -> None:
        raise UpdateError("golden prompt 1: another answer", "the old release goes on serving")

    with pytest.raises(UpdateError, match="another answer"):
        simulator.install(probe=fail)
    assert simulator.active == "1.0.0"
    assert leftovers(simulator.device) == []
    simulator.install()
    assert simulator.active == "1.1.0"


def test_no_space_by_the_free_count(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "SPARE_BYTES", 1 << 60)
    with pytest.raises(StorageError, match="no space left"):
        simulator.install()
    assert simulator.active == "1.0.0"
    assert leftovers(simulator.device) == []


def test_a_write_that_fails_half_way(simulator: Simulator) -> None:
    """RLIMIT_FSIZE makes the disk say no in the middle of the model."""
    code = (
        "import resource,sys;from pathlib import Path;from appliance.events import ignore;"
        "from appliance.paths import Device;from appliance.update.install import install;"
        "from appliance.errors import StorageError;from tests.stick_simulator import accept;"
        "resource.setrlimit(resource.RLIMIT_FSIZE,(5<<20,5<<20))\n"
        "try: install(Path(sys.argv[1]),Device(Path(sys.argv[2])),ignore,probe=accept)\n"
        "except StorageError: sys.exit(11)\n"
    )
    words = [sys.executable, "-c", code, str(simulator.stick), str(simulator.device.root)]
    assert subprocess.run(words, cwd=REPOSITORY).returncode == 11
    assert simulator.active == "1.0.0"
    assert leftovers(simulator.device) == []
    simulator.install()
    assert simulator.active == "1.1.0"


@pytest.mark.root
def test_a_full_disk(simulator: Simulator, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("can't mount a tmpfs here")
    try:
        simulator.device = Device(small)
        with pytest.raises(StorageError, match="no space left"):
            simulator.install(trust=simulator.root)
        assert simulator.active is None
        assert leftovers(simulator.device) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_one_installer_at_a_time(simulator: Simulator) -> None:
    with simulator.device.lock.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UpdateError, match="another installation is running"):
            simulator.install()
        with pytest.raises(UpdateError, match="another installation is running"):
            installing.roll_back(simulator.device)
    simulator.install()
    assert simulator.active == "1.1.0"


def test_rollback_and_back_again(simulator: Simulator) -> None:
    simulator.install()
    assert installing.roll_back(simulator.device).version == "1.0.0"
    assert simulator.active == "1.0.0"
    simulator.install()  # the same stick once more
    assert simulator.active == "1.1.0"
    state = slots.state(simulator.device)
    assert state.active is not None and state.previous is not None
    assert {state.active.slot, state.previous.slot} == {"a", "b"}
    assert [entry["event"] for entry in audit.entries(simulator.device)] == [
        "installed", "installed", "rolled back", "installed",
    ]  # fmt: skip


def test_rollback_with_nothing_to_go_to(simulator: Simulator) -> None:
    with pytest.raises(UpdateError, match="no previous release"):
        installing.roll_back(simulator.device)
    assert simulator.active == "1.0.0"


def test_rollback_to_a_damaged_release_is_refused(simulator: Simulator) -> None:
    simulator.install()
    kept = slots.previous(simulator.device)
    assert kept is not None
    flip_bit(kept.model)
    with pytest.raises(UpdateError, match="not the model that was installed"):
        installing.roll_back(simulator.device)
    assert simulator.active == "1.1.0"


def test_only_active_and_previous_are_retained(simulator: Simulator) -> None:
    simulator.install()
    simulator.publish("1.2.0")
    simulator.install()
    assert leftovers(simulator.device) == []
    models = [path for path in simulator.device.objects.iterdir() if path.suffix == ".gguf"]
    assert len(models) == 2


def test_installing_the_active_release_again_changes_nothing(simulator: Simulator) -> None:
    simulator.install()
    before = simulator.device.slots.read_bytes()
    events: list[Event] = []
    simulator.install(emit=events.append)
    assert simulator.device.slots.read_bytes() == before
    assert "skipped" in [event.kind for event in events]


def test_installing_again_mends_a_damaged_model(simulator: Simulator) -> None:
    flip_bit(simulator.install().model)
    simulator.install()
    assert simulator.active == "1.1.0"


def test_what_is_installed_is_read_again_only_when_touched_or_told(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = simulator.install()
    read: list[Path] = []
    real = copying.is_whole

    def counted(path: Path, target: Any) -> bool:
        read.append(path)
        return real(path, target)

    monkeypatch.setattr(copying, "is_whole", counted)
    simulator.install()
    assert read == []
    release.model.touch()
    simulator.install()
    assert read == [release.model]
    simulator.install(read_again=True)
    assert read.count(release.model) == 2
    # Rot that touches nothing: the same times, other bytes.
    times = release.model.stat()
    flip_bit(release.model)
    os.utime(release.model, ns=(times.st_atime_ns, times.st_mtime_ns))
    simulator.install()
    assert simulator.active == "1.1.0", "the change of its state shows that it was written to"
    simulator.device.looked.write_bytes(b"\xff")
    simulator.install()
    assert simulator.device.looked.read_bytes().startswith(b"{")


def test_a_damaged_slots_file_is_named_and_mended(simulator: Simulator) -> None:
    simulator.device.slots.write_text("{")
    with pytest.raises(UpdateError, match="damaged"):
        slots.active(simulator.device)
    simulator.install()
    assert simulator.active == "1.1.0"


def test_audit_log_notices_an_edit(simulator: Simulator) -> None:
    simulator.install()
    path = audit.path(simulator.device)
    assert audit.verify(simulator.device) == []
    path.write_bytes(path.read_bytes().replace(b'"version":"1.0.0"', b'"version":"1.0.9"', 1))
    assert audit.verify(simulator.device) == ["entry 1: edited: entry 2 names another digest than it has"]


def test_audit_log_goes_on_after_a_torn_line(simulator: Simulator) -> None:
    with audit.path(simulator.device).open("ab") as stream:
        stream.write(b'{"torn')
    simulator.install()
    assert audit.verify(simulator.device) == []
    torn, installed = audit.entries(simulator.device)[1:]
    assert (torn["event"], installed["event"]) == ("torn", "installed")
    assert (simulator.device.log / torn["data"]["kept"]).read_bytes() == b'{"torn'


def golden(answer: str) -> list[dict[str, Any]]:
    return [
        {
            "messages": [{"role": "user", "content": "unit P1 on deck 1 was dead"}],
            "answer": answer,
            "max_tokens": 24,
        }
    ]


@pytest.mark.slow
def test_the_real_engine_answers_the_golden_prompts(simulator: Simulator, tiny_gguf: Path) -> None:
    from appliance.serving.engine_client import Engine, Sampling

    with Engine(tiny_gguf, slots=1) as engine:
        tokens = engine.render(golden("")[0]["messages"])
        answer = engine.complete(tokens, Sampling(max_tokens=24)).text
    simulator.publish("2.0.0", tiny_gguf, golden=golden(answer + "!"))
    with pytest.raises(UpdateError, match="not the answer that was signed"):
        simulator.install(probe=installing.golden_check)
    assert simulator.active == "1.0.0"
    simulator.publish("2.0.1", tiny_gguf, golden=golden(answer))
    simulator.install(probe=installing.golden_check)
    assert simulator.active == "2.0.1"


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["x86_64", "riscv64"])
def test_a_trial_that_can_t_be_confined_is_told(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    monkeypatch.setattr(confinement.platform, "machine", lambda: machine)
    told: list[Event] = []
    installing.golden_check(tiny_gguf, manifests.Manifest("notes", "1.0.0", (), {}), told.append)
    assert any("can't confine" in event.text for event in told) == (machine == "riscv64")


@pytest.mark.slow
def test_golden_prompts_are_asked_with_the_release_s_schema(tiny_gguf: Path) -> None:
    raw = {"golden": golden('"yes"'), "schema": '{"const": "yes"}'}
    installing.golden_check(tiny_gguf, manifests.Manifest("notes", "1.0.0", (), raw), ignore)
    with pytest.raises(UpdateError, match="not the answer that was signed"):
        free = {"golden": golden('"yes"')}
        installing.golden_check(tiny_gguf, manifests.Manifest("notes", "1.0.0", (), free), ignore)
    with pytest.raises(UpdateError, match="can't be held to the schema"):
        wrong = {**raw, "schema": '{"type": "nonsense"}'}
        installing.golden_check(tiny_gguf, manifests.Manifest("notes", "1.0.0", (), wrong), ignore)


@pytest.mark.slow
def test_golden_prompts_may_be_as_long_as_the_release_says(tiny_gguf: Path) -> None:
    from appliance.serving.engine_client import Engine, Sampling

    messages = [{"role": "user", "content": "unit P1 was dead. " * 500}]
    with Engine(tiny_gguf, slots=1, context=4096, threads=1) as engine:
        tokens = engine.render(messages)
        assert 2048 < len(tokens) < 4000
        answer = engine.complete(tokens, Sampling(max_tokens=8)).text
    asked = [{"messages": messages, "answer": answer, "max_tokens": 8}]
    seen: list[Event] = []
    short = manifests.Manifest("notes", "1.0.0", (), {"golden": asked})
    with pytest.raises(UpdateError, match="tokens"):
        installing.golden_check(tiny_gguf, short, ignore)
    fitting = manifests.Manifest("notes", "1.0.0", (), {"golden": asked, "needs": {"context": 4096}})
    installing.golden_check(tiny_gguf, fitting, seen.append)
    assert [(event.kind, event.text) for event in seen] == [
        ("message", "golden prompt 1 of 1"),
        ("progress", "golden prompt 1 of 1"),
    ]


@pytest.mark.slow
def test_a_signed_file_that_is_no_model(simulator: Simulator) -> None:
    with pytest.raises(UpdateError, match="can't be loaded"):
        simulator.install(probe=installing.golden_check)
    assert simulator.active == "1.0.0"


@pytest.mark.slow
def test_a_template_that_is_not_the_signed_one(simulator: Simulator, tiny_gguf: Path) -> None:
    raw = {"chat_template_sha256": "0" * 64}
    manifest = manifests.Manifest("notes", "1.0.0", (), raw)
    with pytest.raises(UpdateError, match="chat template"):
        installing.golden_check(tiny_gguf, manifest, ignore)


def test_device_side_imports_nothing_of_the_workshop() -> None:
    code = (
        "import sys,appliance.update.install,appliance.update.publish,appliance.registry.release,appliance.trust.keys\n"
        "from appliance.commands import install,rollback,status,stick\n"
        "bad={'torch','transformers','peft','textual','llama_cpp'}\n"
        "bad|={'appliance.'+name for name in ('dataset','training','evaluation')}\n"
        "sys.exit(', '.join(bad & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_by_the_command_line(simulator: Simulator, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "appliance"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*program, *words], capture_output=True, text=True, cwd=tmp_path)

    root = ("--root", str(simulator.device.root))
    assert "the stick is good" in run("stick", "check", str(simulator.stick), *root).stdout
    flip_bit(simulator.target("notes.gguf", "1.1.0"))
    bad = run("stick", "check", str(simulator.stick), *root)
    assert (bad.returncode, bad.stdout) == (8, "") and "changed or damaged" in bad.stderr
    flip_bit(simulator.target("notes.gguf", "1.1.0"))
    flip_bit(simulator.metadata("timestamp"))
    bad = run("install", str(simulator.stick), *root)
    assert bad.returncode == 8
    assert [line.split(":")[0] for line in bad.stderr.splitlines()[-2:]] == ["error", "hint"]
    assert run("rollback", *root).returncode == 9
    status = run("status", *root)
    assert status.returncode == 0 and "notes 1.0.0  slot a  release 1" in status.stdout


def test_the_passphrase_that_publishing_needs(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.errors import KeysError
    from appliance.trust import keys

    monkeypatch.setenv("ANCHORHOLD_PASSPHRASE", PASSPHRASE + "x")
    with pytest.raises(KeysError, match="wrong passphrase"):
        keys.unlock(simulator.keys, Secrets())
