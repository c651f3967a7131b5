"""Publishing with keys in hardware tokens, as it is typed; devices know nothing of tokens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import cli
from appliance.errors import ExitCode
from appliance.paths import Device, Project
from appliance.trust import key_files, keys, pending, roots, sealing
from tests.softhsm import PIN, Tokens
from tests.stick_simulator import CHEAP_SCRYPT, PASSPHRASE, Simulator, make_release

pytest.importorskip("pkcs11")
Run = Callable[..., str]


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tokens]:
    made = Tokens(tmp_path / "softhsm", monkeypatch)
    monkeypatch.setenv("ANCHORHOLD_PKCS11_MODULE", str(made.module))
    yield made
    made.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program in this process; returns what it printed. Keys are sealed cheaply."""
    monkeypatch.setenv("ANCHORHOLD_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("ANCHORHOLD_PIN", PIN)
    monkeypatch.setattr(sealing.seal, "__defaults__", (CHEAP_SCRYPT, ""))
    for made in (keys.create, pending.new_key):
        monkeypatch.setitem(made.__kwdefaults__, "n", CHEAP_SCRYPT)

    def run(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.out + shown.err
        return shown.out + shown.err

    return run


@pytest.fixture
def project(tmp_path: Path, run: Run) -> Project:
    run("init", tmp_path / "station")
    project = Project.open(tmp_path / "station")
    make_release(project.release, "1.0.0", b"the model")
    return project


def key_file(folder: Path, role: str) -> Path:
    (found,) = (info.path for info in key_files.find(folder) if info.role == role)
    return found


def check_without_the_library(stick: Path, device: Path, trust: Path) -> str:
    """What a device's own program says of a stick; python-pkcs11 can't be imported there."""
    words = ["stick", "check", str(stick), "--root", str(device), "--trust", str(trust)]
    code = (
        f"import sys; sys.modules['pkcs11'] = None\nfrom appliance.cli import main\ntry: main({words!r})\n"
        "finally: assert not [name for name in sys.modules if name.startswith(('pkcs11.', 'asn1crypto'))]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_a_device_believes_what_tokens_signed(
    tokens: Tokens, run: Run, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    tokens.add("workshop")
    mine, named = tmp_path / "mine", ("--project", project.root)
    for role in roots.ROLES:
        run("keys", "new", mine, "--role", role, "--token", "workshop", "--type", kind)
    run("keys", "new", mine, "--role", "model-signing", "--token", "workshop")
    monkeypatch.delenv("ANCHORHOLD_PASSPHRASE")
    brought = [word for path in sorted(mine.glob("*.key.json")) for word in ("--public", path)]
    run("keys", "init", "--single", *brought, *named)
    shown = run("keys", "show", *named)
    assert shown.count("on the token workshop") == 5 and "elsewhere" not in shown
    stick = tmp_path / "stick"
    run("stick", "write", stick, *named)
    assert "the stick is good" in check_without_the_library(
        stick, tmp_path / "strange", project.keys / "root.json"
    )
    simulator = Simulator(tmp_path / "simulated")
    simulator.device = Device(tmp_path / "ours")
    simulator.install(stick, trust=project.keys / "root.json")
    assert simulator.active == "1.0.0"
    first = (project.release / "model.sig").read_bytes()
    run("stick", "write", stick, *named)
    assert (project.release / "model.sig").read_bytes() == first  # though a token would sign otherwise
    run("verify", project.release, "--trust", project.keys / "root.json")


def test_one_key_in_a_file_and_one_on_a_token(
    tokens: Tokens, run: Run, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both must sign; the token is unplugged in the middle of it, and what was signed isn't lost."""
    serial, named = tokens.add("Ada's"), ("--project", project.root)
    ada, stick, file = tmp_path / "ada", tmp_path / "stick", tmp_path / "to-sign.json"
    run("keys", "new", ada, "--role", "targets", "--token", serial, "--name", "Ada")
    (public,) = ada.glob("*.public.json")
    run("keys", "init", "--root", "1/1", "--targets", "2/2", "--public", public, *named)
    assert "1 missing" in run("stick", "write", stick, *named, code=ExitCode.SIGNATURES)
    assert not (stick / "metadata" / "timestamp.json").exists()
    run("keys", "export", file, *named)
    before = file.read_bytes()
    tokens.unplug(serial)
    told = run("keys", "sign", file, "--keys", ada, "--yes", code=ExitCode.TRUST)
    assert "isn't there" in told and "plug it in" in told and file.read_bytes() == before
    tokens.plug_in(serial)
    monkeypatch.setenv("ANCHORHOLD_PIN", "0000")
    assert "wrong PIN" in run("keys", "sign", file, "--keys", ada, "--yes", code=ExitCode.PASSPHRASE)
    assert file.read_bytes() == before
    monkeypatch.setenv("ANCHORHOLD_PIN", PIN)
    assert "signed by" in run("keys", "sign", file, "--keys", ada, "--yes")
    assert PIN not in file.read_text()
    run("keys", "import", file, *named)
    run("stick", "write", stick, *named)
    assert "the stick is good" in check_without_the_library(stick, tmp_path / "d", project.keys / "root.json")
    kinds = {key.keytype for key in keys.newest(project.keys).keys.values()}
    assert kinds == {"ed25519", "ecdsa"}


def test_a_key_is_rotated_onto_a_token_and_off_it(
    tokens: Tokens, run: Run, project: Project, tmp_path: Path
) -> None:
    tokens.add("workshop")
    named, stick = ("--project", project.root), tmp_path / "stick"
    run("keys", "init", "--single", *named)
    run("stick", "write", stick, *named)
    simulator = Simulator(tmp_path / "simulated")
    simulator.device = Device(tmp_path / "ours")
    simulator.install(stick, trust=project.keys / "root.json")
    for role in ("root", "targets"):
        run("keys", "new", tmp_path / "mine", "--role", role, "--token", "workshop")
        told = run("keys", "rotate", role, "--public", key_file(tmp_path / "mine", role), *named)
        assert "is valid" in told
    assert keys.newest(project.keys).version == 3
    (project.release).rename(tmp_path / "former")
    make_release(project.release, "1.1.0", b"another model")
    run("stick", "write", stick, *named)
    simulator.install(stick)
    assert simulator.active == "1.1.0"
    assert "is valid" in run("keys", "rotate", "targets", *named)  # by the root key, which is on the token
    assert not any(
        info.token for info in key_files.find(project.keys)
        if info.keyid in keys.newest(project.keys).roles["targets"].keyids
    )  # fmt: skip


def test_what_the_tokens_hold_is_shown(
    tokens: Tokens, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no token is there" in run("keys", "tokens")
    serials = [tokens.add(label) for label in ("Ada's", "workshop")]
    monkeypatch.delenv("ANCHORHOLD_PIN")
    (tmp_path / "pin").write_text(f"{PIN}\n")
    run("keys", "new", tmp_path / "mine", "--role", "root", "--token", "workshop", "--pin-file",
        f"workshop={tmp_path / 'pin'}")  # fmt: skip
    (info,) = key_files.find(tmp_path / "mine")
    assert info.token is not None
    shown = run("keys", "tokens")
    assert all(serial in shown for serial in serials)
    assert f"  {info.token.id}  p256      {info.keyid[:8]}  anchorhold root\n" in shown
    pin = ("--pin-file", f"{serials[1]}={tmp_path / 'pin'}")
    assert info.keyid[:8] in run("keys", "tokens", "--login", "--token", "workshop", *pin)
    assert "Ada's" not in run("keys", "tokens", "--token", serials[1])
    assert "no token is called Bob's" in run("keys", "tokens", "--token", "Bob's", code=ExitCode.TRUST)


def test_what_does_not_go_together(tokens: Tokens, run: Run, tmp_path: Path) -> None:
    for words in (
        ["--role", "root", "--key", "01"],
        ["--role", "snapshot"],
        ["--role", "root", "--type", "p256"],
        ["--role", "root", "--token", "workshop", "--type", "ml-dsa-65"],
        ["--role", "root", "--token", "workshop", "--key", "01", "--type", "p256"],
    ):
        run("keys", "new", tmp_path / "mine", *words, code=ExitCode.USAGE)
    assert not (tmp_path / "mine").exists()


def test_a_file_that_names_a_key_brings_nothing_secret(
    tokens: Tokens, run: Run, project: Project, tmp_path: Path
) -> None:
    """A key file of a token copied to another machine signs nothing without token and PIN."""
    serial = tokens.add("workshop")
    mine = tmp_path / "mine"
    run("keys", "new", mine, "--role", "root", "--token", "workshop")
    path = key_file(mine, "root")
    assert set(json.loads(path.read_text())["token"]) == {"label", "serial", "id"}
    run("keys", "init", "--single", "--public", path, "--project", project.root)
    tokens.unplug(serial)
    shutil.copytree(project.keys, tmp_path / "stolen")
    told = run("keys", "rotate", "targets", "--project", project.root, code=ExitCode.TRUST)
    assert "isn't there" in told and keys.newest(project.keys).version == 1
