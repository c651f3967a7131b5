"""What comes from outside, one target each: made well, changed, and signed again where a signature hides the parser.

A target takes choices and either returns or raises an error of ours, which is the right answer to nonsense; all else is
a finding. `python -m tests.fuzz` runs them by the hour under atheris, tests/fuzz/test_inputs.py for a moment.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Metadata, Root

from appliance import storage
from appliance.errors import AnchorholdError, TrustError
from appliance.fleet import judging
from appliance.paths import Device
from appliance.registry import manifest
from appliance.trust import ceremony, chain, encryption_keys, ledger, oms_bundle, receipt
from appliance.update import acknowledging, delta_format, delta_making, model_signature, needs, sealed_format
from tests.fleet.signed_device import SignedDevice
from tests.fuzz.json_trees import Chooser, changed, changed_bytes, spelt
from tests.stick_simulator import Simulator, gguf_bytes, make_release

Target = Callable[[Chooser], None]
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def _json(tree: Any) -> bytes:
    return spelt(json.dumps(tree).encode())


class Stick:
    """A stick whose metadata of one role says something else, signed by that role's key."""

    def __init__(self, folder: Path) -> None:
        self._simulator = simulator = Simulator(folder)
        simulator.publish("1.0.0", now=NOW)
        simulator.install()
        simulator.publish("1.1.0", now=NOW, acknowledged={"0123456789abcdef" * 2: chain.Link(3, "ab" * 32)})
        self._trees = {role: json.loads(simulator.metadata(role).read_bytes()) for role in simulator.signers}
        self._files = {
            role: simulator.metadata(role) for role in self._trees if simulator.metadata(role).exists()
        }
        self._kept = {role: path.read_bytes() for role, path in self._files.items()}
        # The newest root is found by its number.
        self._root = simulator.stick / "metadata" / "2.root.json"

    def __call__(self, choose: Chooser) -> None:
        role = sorted(self._trees)[choose.below(len(self._trees))]
        whole = dict(self._trees[role])
        whole["signed"] = changed(whole["signed"], choose)
        if choose.below(8) == 0:
            whole = changed(whole, choose)
        if isinstance(whole, dict) and isinstance(whole.get("signatures"), list):
            with contextlib.suppress(Exception):  # what can't be written canonically stays unsigned
                signature = self._simulator.signers[role].sign(
                    spelt(encode_canonical(whole["signed"]).encode())
                )
                whole["signatures"] = [{"keyid": signature.keyid, "sig": signature.signature}]
        path = self._root if role == "root" else self._files[role]
        path.write_bytes(_json(whole))
        try:
            report = self._simulator.check(now=NOW)
            needs.check(report.manifest, self._simulator.device)
            model_signature.check_stick(report)
            acknowledging.on_stick(report.stick, report.verified.files)
        finally:
            self._root.unlink(missing_ok=True)
            if role in self._kept and role != "root":
                self._files[role].write_bytes(self._kept[role])


class Receipts:
    """A receipt whose statement or entries say something else, signed by the device's key."""

    def __init__(self, folder: Path) -> None:
        self._device = SignedDevice().logged(6, text="x")
        self._whole = self._device.receipt(after=2)
        self._known = judging.Known(
            self._device.public, entries=tuple(chain.parse(line) for line in self._device.lines[:4])
        )

    def __call__(self, choose: Chooser) -> None:
        _, line, body = self._whole.split(b"\n", 2)
        statement = json.loads(line)
        way = choose.below(4)
        if way == 0:
            data = changed_bytes(self._whole, choose)
        else:
            if way == 1:
                statement = changed(statement, choose)
            elif way == 2:
                body = changed_bytes(body, choose)
            else:
                entries = [json.loads(entry) for entry in body.splitlines()]
                at = choose.below(len(entries))
                entries[at] = changed(entries[at], choose)
                body = b"".join(_canonical(entry) + b"\n" for entry in entries)
            if way != 1 and isinstance(statement.get("log"), dict):
                statement["log"] |= {"bytes": len(body), "sha256": storage.sha256_bytes(body)}
            line = _canonical(statement)
            signature = self._device.private.sign(receipt.signed_bytes(line)).hex()
            data = receipt.encode(self._device.id, self._device.public, signature, line, body)
        judging.judge(self._known, receipt.read(data), first=bool(choose.below(2)))


def _canonical(tree: Any) -> bytes:
    """As the product writes it, or as JSON where it can't."""
    try:
        return spelt(storage.canonical_json(tree))
    except (ValueError, TypeError, UnicodeError):
        return _json(tree)


class Logs:
    """Lines of an audit log."""

    def __init__(self, folder: Path) -> None:
        self._device = SignedDevice().logged(5, text="x")

    def __call__(self, choose: Chooser) -> None:
        data = b"".join(line + b"\n" for line in self._device.lines)
        lines, _ = chain.split(changed_bytes(data, choose))
        entries, faults = chain.follow(lines, chain.BEGIN, self._device.id)
        for entry in entries:
            chain.plain(entry.data)
        if faults:
            raise TrustError(str(faults[0]))


class Bundles:
    """An OMS bundle whose statement says something else, signed by the key that is trusted."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        files = {"model.gguf": "ab" * 32, "release.json": "cd" * 32}
        self._tree = json.loads(oms_bundle.sign("notes", files, self._key))
        self._statement = json.loads(base64.b64decode(self._tree["dsseEnvelope"]["payload"]))

    def __call__(self, choose: Chooser) -> None:
        tree = json.loads(_json(self._tree))
        if choose.below(2):
            payload = _json(changed(self._statement, choose))
            kind = oms_bundle.PAYLOAD_TYPE
            encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
            signature = self._key.sign(encoded, ec.ECDSA(hashes.SHA256()))
            tree["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
            tree["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
        else:
            tree = changed(tree, choose)
        data = _json(tree)
        oms_bundle.verify(
            changed_bytes(data, choose) if choose.below(4) == 0 else data, self._key.public_key()
        )


class Releases:
    """A release.json."""

    def __init__(self, folder: Path) -> None:
        said = [{"messages": [{"role": "user", "content": "p"}], "answer": "a"}]
        made = make_release(folder / "release", "1.0.0", b"x" * 2000, golden=said, audit=b"{}")
        self._tree = json.loads((made / manifest.FILE_NAME).read_bytes())
        self._tree |= {"system": "Answer.", "schema": json.dumps({"type": "object"})}
        self._tree |= {
            "needs": {"context": 2048, "machines": ["x86_64"]},
            "retrieval": {"top": 2, "on": True},
        }

    def __call__(self, choose: Chooser) -> None:
        found = manifest.parse(_json(changed(self._tree, choose)))
        for read in (manifest.context_of, manifest.system_of, manifest.schema_of, manifest.retrieval_of):
            read(found.raw)
        for look in (manifest.passages_in, manifest.baseline_of, manifest.audit_of):
            look(found.raw)


class SealedFiles:
    """A sealed file."""

    def __init__(self, folder: Path) -> None:
        self._key = encryption_keys.make(Device(folder / "sealed"), "device")
        data = random.Random(1).randbytes(3000)
        self._plain = sealed_format.Sealed(storage.sha256_bytes(data), len(data))
        out = io.BytesIO()
        sealed_format.seal(self._plain, io.BytesIO(data), [self._key.receiver], out)
        self._whole = out.getvalue()

    def __call__(self, choose: Chooser) -> None:
        data = changed_bytes(self._whole, choose)
        for _ in sealed_format.unseal(iter([data]), self._plain, self._key, choose.below(3) * 1000):
            pass


class Deltas:
    """A delta between two small models."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        data = random.Random(2).randbytes(6000)
        base, result, made = (folder / name for name in ("base.gguf", "result.gguf", "delta"))
        base.write_bytes(gguf_bytes(data))
        result.write_bytes(gguf_bytes(data[:3000] + b"changed" + data[3007:]))
        self._head = delta_making.make(base, result, made).head
        self._whole = made.read_bytes()

    def __call__(self, choose: Chooser) -> None:
        taken = 0
        for segment in delta_format.read(iter([changed_bytes(self._whole, choose)]), self._head):
            taken += len(segment.unpacked()) if segment.data else segment.length


class Requests:
    """A ceremony's request for signatures."""

    def __init__(self, folder: Path) -> None:
        root: Metadata[Root] = Metadata.from_file(str(Simulator(folder).root))
        self._tree = json.loads(ceremony.to_bytes(ceremony.Request("root", root, None)))

    def __call__(self, choose: Chooser) -> None:
        found = ceremony.parse(_json(changed(self._tree, choose)))
        ceremony.require(found)


class Ledgers:
    """Both copies of a ledger."""

    def __init__(self, folder: Path) -> None:
        self._device = Device(folder / "device")
        ledger.write(self._device, ledger.Ledger(counter=4, time="2026-11-01T00:00:00Z", pin="ab" * 32))
        self._whole = ledger.paths(self._device)[0].read_bytes()

    def __call__(self, choose: Chooser) -> None:
        for path in ledger.paths(self._device):
            path.write_bytes(changed_bytes(self._whole, choose))
        ledger.read(self._device)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "stick": Stick, "receipts": Receipts, "logs": Logs, "bundles": Bundles, "releases": Releases,
    "sealed": SealedFiles, "deltas": Deltas, "requests": Requests, "ledgers": Ledgers,
}  # fmt: skip


@contextlib.contextmanager
def target(name: str) -> Iterator[Callable[[Chooser], str]]:
    """A target in a folder of its own; it takes choices, and raises only what is a finding."""
    memory = Path("/dev/shm")  # an install's syncs would be most of the time
    folder = Path(
        tempfile.mkdtemp(prefix=f"anchorhold-fuzz-{name}-", dir=memory if memory.is_dir() else None)
    )
    try:
        made = TARGETS[name](folder)

        def tried(choose: Chooser) -> str:
            try:
                made(choose)
            except AnchorholdError as error:
                return type(error).__name__
            return "read"

        yield tried
    finally:
        shutil.rmtree(folder, ignore_errors=True)
