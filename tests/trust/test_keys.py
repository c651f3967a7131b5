"""Keys: sealed, never empty, never overwritten."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from appliance.errors import KeysError, PassphraseError, TrustError
from appliance.trust import client, key_files, keys
from appliance.trust.unlocking import Secrets
from tests.stick_simulator import CHEAP_SCRYPT, SECRETS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys.create(tmp_path / "keys", SECRETS, n=CHEAP_SCRYPT)
    return tmp_path / "keys"


def key_path(folder: Path, role: str) -> Path:
    (found,) = (info.path for info in key_files.find(folder) if info.role == role)
    return found


def test_unlocked_keys_are_those_that_the_root_names(folder: Path) -> None:
    root = client.check_root(keys.root_bytes(folder))
    signers = keys.unlock(folder, SECRETS, keys.ROLES)
    assert {role: root.roles[role].keyids for role in keys.ROLES} == {
        role: [signer.public_key.keyid for signer in signers[role]] for role in keys.ROLES
    }
    assert len({info.keyid for info in keys.show(folder)}) == 5


def test_files_are_for_their_owner_alone(folder: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o600}


def test_default_cost_is_two_to_the_seventeen(tmp_path: Path) -> None:
    keys.create(tmp_path / "k", SECRETS)
    assert json.loads(key_path(tmp_path / "k", "root").read_text())["kdf"]["n"] == 131072


def test_wrong_passphrase(folder: Path) -> None:
    with pytest.raises(PassphraseError, match="wrong passphrase") as caught:
        keys.unlock(folder, Secrets("correct horsf"))
    assert caught.value.exit_code == 14


@pytest.mark.parametrize("passphrase", ["", "  ", "\n"])
def test_empty_passphrase_is_refused(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(KeysError, match="empty"):
        keys.create(tmp_path / "none", Secrets(passphrase))
    assert not (tmp_path / "none").exists()


def test_keys_are_never_overwritten(folder: Path) -> None:
    before = keys.root_bytes(folder)
    with pytest.raises(KeysError, match="already"):
        keys.create(folder, SECRETS)
    assert keys.root_bytes(folder) == before


def test_exchanged_header_field_is_noticed(folder: Path) -> None:
    path = key_path(folder, "targets")
    value = json.loads(path.read_text())
    value["public"] = "00" * 32
    path.write_text(json.dumps(value))
    with pytest.raises(KeysError, match="was changed"):
        keys.unlock(folder, SECRETS, ("targets",))


def test_key_of_one_role_is_not_taken_for_another(folder: Path) -> None:
    path = key_path(folder, "targets")
    path.write_bytes(key_path(folder, "snapshot").read_bytes())
    with pytest.raises(KeysError, match="the same key"):
        keys.unlock(folder, SECRETS)
    key_path_of_snapshot = next(p for p in folder.glob("snapshot-*"))
    key_path_of_snapshot.unlink()
    assert keys.unlock(folder, SECRETS, ("targets",)) == {"targets": []}


def test_a_key_file_cannot_ask_for_all_memory(folder: Path) -> None:
    path = key_path(folder, "targets")
    value = json.loads(path.read_text())
    value["kdf"]["n"] = 1 << 40
    path.write_text(json.dumps(value))
    with pytest.raises(KeysError, match="damaged"):
        keys.unlock(folder, SECRETS, ("targets",))


def test_passphrase_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def ask(prompt: str, *, confirm: bool = False) -> str:
        asked.append((prompt, confirm))
        return "by hand"

    with pytest.raises(KeysError, match="no passphrase"):
        Secrets().passphrase()
    by_hand = Secrets(ask=ask)
    assert not asked and not by_hand.has_passphrase
    assert [by_hand.passphrase(new=True), by_hand.passphrase()] == ["by hand"] * 2
    assert asked == [("Passphrase for the new keys", True)]
    monkeypatch.setenv("ANCHORHOLD_PASSPHRASE", "from the environment")
    assert Secrets(ask=ask).passphrase() == "from the environment"
    (tmp_path / "p").write_text("from a file\n")
    assert Secrets(passphrase_file=tmp_path / "p").passphrase() == "from a file"
    with pytest.raises(KeysError, match="can't be read"):
        Secrets(passphrase_file=tmp_path / "none").passphrase()
    monkeypatch.setenv("ANCHORHOLD_PASSPHRASE", "")
    with pytest.raises(KeysError, match="empty"):
        Secrets().passphrase()
    assert len(asked) == 1


def test_pin_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PIN that says not whose it is opens the only token there, and is never tried on one of several."""
    (tmp_path / "a").write_text("1111\n")
    (tmp_path / "b").write_text("2222\n")
    with pytest.raises(KeysError, match="no PIN for the token Ada"):
        Secrets().pin("Ada", "01", alone=True)
    monkeypatch.setenv("ANCHORHOLD_PIN", "0000")
    assert Secrets().pin("Ada", "01", alone=True) == "0000"
    assert Secrets(pin_files=[str(tmp_path / "a")]).pin("Ada", "01", alone=True) == "1111"
    with pytest.raises(KeysError, match="says not whose it is"):
        Secrets().pin("Ada", "01", alone=False)
    named = Secrets(pin_files=[f"Ada={tmp_path / 'a'}", f"02={tmp_path / 'b'}"])
    assert [named.pin("Ada", "01", alone=False), named.pin("Bob", "02", alone=False)] == ["1111", "2222"]
    with pytest.raises(KeysError, match="says not whose it is"):
        named.pin("Cy", "03", alone=False)
    asked = Secrets(ask=lambda prompt, *, confirm=False: prompt)
    assert asked.pin("Ada", "01", alone=False) == "PIN of the token Ada (01)"
    monkeypatch.setenv("ANCHORHOLD_PIN", "")
    with pytest.raises(KeysError, match="empty"):
        Secrets().pin("Ada", "01", alone=True)


def test_a_root_that_is_not_signed_by_itself(folder: Path) -> None:
    value = json.loads((folder / "root.json").read_text())
    value["signed"]["version"] = 2
    with pytest.raises(TrustError, match="not a root of trust"):
        client.check_root(json.dumps(value).encode())


def test_killed_while_it_makes_keys_it_can_be_run_again(tmp_path: Path) -> None:
    ended = -1
    for allowed in range(100):
        folder = tmp_path / str(allowed) / "keys"
        child = os.fork()
        if child == 0:
            left = allowed

            def audit(event: str, arguments: tuple[object, ...], folder: Path = folder) -> None:
                nonlocal left
                changes = event in {"os.rename", "os.mkdir"} or (
                    event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
                )
                if changes and str(arguments[0]).startswith(str(folder.parent)):
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1

            sys.addaudithook(audit)
            keys.create(folder, SECRETS, n=CHEAP_SCRYPT)
            os._exit(0)
        _, ended = os.waitpid(child, 0)
        if ended == 0:
            break
        assert not folder.exists() or not any(folder.iterdir())
        keys.create(folder, SECRETS, n=CHEAP_SCRYPT)
        assert set(keys.unlock(folder, SECRETS, keys.ROLES)) == set(keys.ROLES)
        assert list(folder.parent.iterdir()) == [folder]
    assert ended == 0
    assert allowed >= 14  # two folders, six files, seven renames


def test_a_folder_with_only_leftovers_is_taken(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / ".root.key.json.abcd.part").write_text("{")
    keys.create(tmp_path / "keys", SECRETS, n=CHEAP_SCRYPT)
    assert len(keys.show(tmp_path / "keys")) == 5
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(KeysError, match="something else"):
        keys.create(tmp_path / "full", SECRETS, n=CHEAP_SCRYPT)
    (folder / "root.json").unlink()
    with pytest.raises(KeysError, match=r"without their root\.json"):
        keys.create(folder, SECRETS, n=CHEAP_SCRYPT)
    assert len(keys.show(folder)) == 5
