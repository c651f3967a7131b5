"""Where things lie on a machine that is no device, and on a device that is another user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import paths
from appliance.paths import Device


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ANCHORHOLD_ROOT", raising=False)
    monkeypatch.setattr(paths, "DEFAULT_DEVICE_ROOT", tmp_path / "none")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_server_and_clients_meet_in_the_users_folder_where_there_is_no_device(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Device.default().absent
    assert Device.default().gateway_socket == nowhere / "runtime" / "anchorhold.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert Device.default().gateway_socket == nowhere / "state" / "anchorhold" / "anchorhold.sock"


def test_a_device_has_its_own_socket(nowhere: Path) -> None:
    root = nowhere / "none"
    root.mkdir()
    assert Device.default().gateway_socket == root / "run" / "gateway.sock"
    assert Device(nowhere / "other").gateway_socket == nowhere / "other" / "run" / "gateway.sock"


def test_history_is_the_users_own_where_the_device_is_anothers(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = nowhere / "none"
    root.mkdir()
    assert Device.default().history == root / "history.sqlite"
    # Root may write everywhere, so the answer of the system is put in its place.
    monkeypatch.setattr(paths.os, "access", lambda path, mode: False)
    assert Device.default().history == nowhere / "state" / "anchorhold" / "history.sqlite"
