"""A publisher, its stick and devices, so that a test reads "publish v3, tamper, install, expect X"."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from appliance import storage
from appliance.errors import AnchorholdError
from appliance.events import Emit, ignore
from appliance.paths import Device
from appliance.registry import manifest as manifests
from appliance.trust import keys, ledger, roots
from appliance.trust.chain import Link
from appliance.trust.unlocking import Secrets
from appliance.update import audit, publish, slots
from appliance.update import install as installing
from appliance.update import stick as sticks
from convert.gguf_file import PlannedTensor, Value, header, padding, string, u32
from convert.tensor_types import BY_NUMBER

PASSPHRASE = "correct horse"
SECRETS = Secrets(PASSPHRASE)
CHEAP_SCRYPT = 1 << 14
NAME = "notes"


def accept(_model: Path, _manifest: manifests.Manifest, _emit: Emit) -> None:
    """A probe for tests that are not about the model."""


def gguf_frame(size: int, **changed: Value) -> tuple[bytes, bytes]:
    """What stands before and behind `size` bytes of weights in a well-formed GGUF of no architecture that can be run.

    Args:
        size: of its one tensor.
        changed: metadata to put in place of what stands there; a dot in a key is written `__`.
    """
    metadata = {
        "general.architecture": string("simulated"),
        "simulated.block_count": u32(1),
        "simulated.context_length": u32(256),
        "simulated.embedding_length": u32(8),
        "tokenizer.ggml.model": string("none"),
        **{key.replace("__", "."): value for key, value in changed.items()},
    }
    kind = next(each for each in BY_NUMBER.values() if each.name == "I8")
    tensor = PlannedTensor("blk.0.data", (size,), kind)
    return header(metadata, [tensor]), padding(tensor.bytes)


def gguf_bytes(data: bytes = b"", **changed: Value) -> bytes:
    """A well-formed GGUF that holds `data` as its weights; `changed` as `gguf_frame` has it."""
    before, behind = gguf_frame(len(data) or 1, **changed)
    return before + (data or b"\0") + behind


def make_release(
    folder: Path,
    version: str,
    model: bytes | Path,
    golden: list[dict[str, Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
    audit: bytes | None = None,
) -> Path:
    """A release folder as `anchorhold release` makes it, with a model of its own or with these bytes in one.

    Args:
        extra: goes into release.json.
        audit: bytes of an audit.json.
    """
    folder.mkdir(parents=True)
    content = {
        "notes.gguf": model.read_bytes() if isinstance(model, Path) else gguf_bytes(model),
        "report.html": f"<p>{version}".encode(),
        **({"audit.json": audit} if audit is not None else {}),
    }
    roles = {"notes.gguf": "model", "audit.json": "audit"}
    files = []
    for name, data in content.items():
        (folder / name).write_bytes(data)
        role = roles.get(name, "report")
        files.append({"name": name, "role": role, "bytes": len(data), "sha256": storage.sha256_bytes(data)})
    raw = {
        "format": manifests.FORMAT,
        "name": NAME,
        "version": version,
        "files": files,
        "golden": golden or [],
    }
    (folder / manifests.FILE_NAME).write_bytes(storage.canonical_json({**raw, **(extra or {})}))
    return folder


@functools.cache
def publisher_keys(publisher: str) -> tuple[Path, dict[str, list[CryptoSigner]]]:
    """A folder of keys, and the same keys unlocked."""
    kept = Path(tempfile.mkdtemp(prefix=f"anchorhold-keys-{publisher}-"))
    atexit.register(shutil.rmtree, kept, ignore_errors=True)
    keys.create(kept / "keys", SECRETS, n=CHEAP_SCRYPT)
    return kept / "keys", keys.unlock(kept / "keys", SECRETS, roots.ROLES)


class Simulator:
    """One publisher with its stick, and one device.

    Args:
        folder: everything lies below it.
        publisher: another name has other keys. They are made once a process, for scrypt is slow on purpose.
    """

    def __init__(self, folder: Path, publisher: str = "ours") -> None:
        self.folder = folder
        self.keys = folder / "keys"
        self.stick = folder / "stick"
        self.device = Device(folder / "device")
        made, self.all_signers = publisher_keys(publisher)
        self.signers = {role: signers[0] for role, signers in self.all_signers.items()}
        shutil.copytree(made, self.keys)
        self.root = self.keys / keys.ROOT_FILE

    def publish(
        self,
        version: str,
        model: bytes | Path = b"",
        *,
        golden: list[dict[str, Any]] | None = None,
        now: datetime | None = None,
        days: int = 365,
        prune: bool = False,
        replace: bool = False,
        stick: Path | None = None,
        acknowledged: Mapping[str, Link] | None = None,
    ) -> publish.Written:
        """Make release `version` and put it on the stick."""
        release = self.folder / "releases" / version
        if not release.exists():
            make_release(release, version, model or f"model {version} ".encode() * 5000, golden)
        return publish.write_stick(
            self.keys,
            self.all_signers,
            release,
            stick or self.stick,
            ignore,
            expires_days=days,
            prune=prune,
            replace=replace,
            now=now,
            acknowledged=acknowledged,
        )

    def install(self, stick: Path | None = None, **given: Any) -> slots.InstalledRelease:
        """Install the stick on the device, pinning this publisher's root if the device has none."""
        if not self.device.trusted_root.exists():
            given.setdefault("trust", self.root)
        given.setdefault("probe", accept)
        return installing.install(stick or self.stick, self.device, given.pop("emit", ignore), **given)

    def check(self, **given: Any) -> sticks.StickReport:
        """Check the stick as the device would."""
        if not self.device.trusted_root.exists():
            given.setdefault("trust", self.root)
        return sticks.check(self.stick, self.device, **given)

    def target(self, ending: str, version: str = "") -> Path:
        """The one file in targets/ whose name ends so."""
        (found,) = self.stick.glob(f"targets/*{version}.{ending}")
        return found

    def metadata(self, role: str) -> Path:
        """The newest metadata file of a role."""
        if role == "timestamp":
            return self.stick / "metadata" / "timestamp.json"
        found = self.stick.glob(f"metadata/*.{role}.json")
        return max(found, key=lambda path: int(path.name.split(".")[0]))

    def resign(self, role: str, signers: list[CryptoSigner], change: Any = None) -> None:
        """Change a metadata file of the stick and sign it with `signers` (none: leave it unsigned)."""
        metadata: Metadata[Any] = Metadata.from_file(str(self.metadata(role)))
        if change is not None:
            change(metadata.signed)
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        self.metadata(role).write_bytes(metadata.to_bytes())

    @property
    def active(self) -> str | None:
        """Version of the device's active release, its model's bytes checked."""
        release = slots.active(self.device)
        if release is None:
            return None
        expected = next(f["sha256"] for f in release.manifest["files"] if f["role"] == "model")
        assert storage.sha256_file(release.model) == expected
        return release.version


def refused(
    simulator: Simulator, error: type[AnchorholdError], match: str, old: str = "1.0.0", **given: Any
) -> AnchorholdError:
    """Install the stick and see it refused: `old` still active, floors and disk as before, the reason in the log."""
    floors = ledger.read(simulator.device)
    with pytest.raises(error, match=match) as caught:
        simulator.install(**given)
    assert simulator.active == old
    assert leftovers(simulator.device) == []
    assert ledger.read(simulator.device) == floors
    last = audit.entries(simulator.device)[-1]
    assert (last["event"], last["data"]["reason"]) == ("refused", caught.value.message)
    assert audit.verify(simulator.device) == []
    assert caught.value.hint
    return caught.value


def flip_bit(path: Path, position: int | None = None) -> None:
    """Flip one bit in the middle of a file, or at `position`."""
    size = path.stat().st_size
    place = size // 2 if position is None else position % size
    with path.open("r+b") as stream:
        stream.seek(place)
        (byte,) = stream.read(1)
        stream.seek(place)
        stream.write(bytes([byte ^ 1]))


def leftovers(device: Device) -> list[str]:
    """Files in objects/ that no slot needs."""
    if not device.objects.is_dir():
        return []
    wanted = slots.objects_in_use(device, slots.state(device))
    return sorted(path.name for path in device.objects.iterdir() if path.name not in wanted)
