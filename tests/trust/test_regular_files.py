"""FIFOs, links and folders where a file is asked for: an error at once, by each way that a stick or a person has in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import config_file, storage
from appliance.errors import AnchorholdError, UsageError
from appliance.pipeline import drift_reasons
from appliance.registry import carrying, objects, signature
from appliance.registry.store import Registry
from appliance.regular_file import open_regular
from appliance.trust import encryption_keys, key_files, keys, oms_bundle, pending
from appliance.update import install as installing
from appliance.update import log_files, model_signature, parts
from tests.stick_simulator import Simulator

MOST_SECONDS = 60  # a wait for a writer who never comes would have no end


@pytest.fixture(autouse=True)
def _never_for_ever() -> Iterator[None]:
    def over(_number: int, _frame: object) -> None:
        raise TimeoutError("it waits for a writer")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def by_folder(name: str, use: Callable[[Path], object]) -> Callable[[Path], object]:
    """`use` of a folder in which the file `name` is the FIFO."""

    def put(path: Path) -> object:
        (path.parent / "folder").mkdir()
        path.rename(path.parent / "folder" / name)
        return use(path.parent / "folder")

    return put


def imported(folder: Path) -> object:
    with Registry(folder.parent / "registry") as registry:
        return carrying.import_release(registry, folder)


@pytest.mark.parametrize(
    "use",
    [
        pending.read_file,  # keys sign, keys import
        encryption_keys.read_public,  # stick enrol
        model_signature.root_in,  # verify --trust
        key_files.read,  # keys root, keys site
        drift_reasons.read_reasons,  # retrain --drift
        config_file.load,  # --project
        storage.sha256_file,
        objects.open_regular,
        lambda path: parts.describe(path, "notes-1.0.0.gguf", {}),  # stick write
        by_folder("root.json", keys.root_bytes),
        by_folder("model.sig", signature.read),
        by_folder("model.gguf", oms_bundle.digests),
        by_folder("release.json", lambda folder: signature.verify_folder(folder, {})),
        by_folder("release.json", imported),  # registry import
        by_folder("audit-0000000001.jsonl", log_files.lines),  # audit verify
    ],
)
def test_a_fifo_is_refused_and_not_waited_for(use: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises((AnchorholdError, OSError)) as caught:
        use(fifo(tmp_path / "brought"))
    assert not isinstance(caught.value, TimeoutError)
    assert any(word in str(caught.value) for word in ("FIFO", "no plain file"))


def test_a_root_of_trust_that_is_a_fifo_leaves_the_installer_s_lock_free(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    brought = fifo(tmp_path / "brought")
    with pytest.raises(UsageError, match="can't be read \\(a FIFO, not a regular file\\)"):
        simulator.check(trust=brought)
    with pytest.raises(UsageError, match="can't be read \\(a FIFO, not a regular file\\)"):
        simulator.install(trust=brought)
    with installing.exclusive(simulator.device):
        pass


def test_what_else_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as stream:
        assert stream.read() == b"content"
    with pytest.raises(OSError, match="a link, not a file"):
        open_regular(tmp_path / "link", links=False)
    with pytest.raises(IsADirectoryError, match="a folder, not a regular file"):
        open_regular(tmp_path)
    with pytest.raises(OSError, match="a device, not a regular file"):
        open_regular(Path("/dev/zero"))
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")


def test_a_log_s_lock_that_is_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    fifo(tmp_path / "log" / log_files._LOCK)
    with log_files.reading(tmp_path / "log"):
        assert log_files.lines(tmp_path / "log") == ([], b"")
