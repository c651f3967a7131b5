"""Keys that change while devices are away: whoever is several roots behind follows from one stick, or refuses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from appliance.errors import TrustError
from appliance.events import Event, ignore
from appliance.paths import Device
from appliance.trust import key_files, keys, ledger, pending, roots
from appliance.update import publish
from tests.stick_simulator import CHEAP_SCRYPT, SECRETS, Simulator, make_release, refused


def changed(simulator: Simulator, role: str) -> Root:
    """Replace the one key of a role, as `anchorhold keys rotate` does."""
    former = keys.newest(simulator.keys).roles[role].keyids
    _, key = pending.new_key(simulator.keys, SECRETS, role, n=CHEAP_SCRYPT)
    change = pending.change_root(simulator.keys, SECRETS, add=[(role, key)], remove=former)
    assert change.valid
    simulator.all_signers = keys.unlock(simulator.keys, SECRETS, keys.ROLES)
    return keys.newest(simulator.keys)


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device that has installed 1.0.0 under the first root."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    return simulator


def test_a_device_three_roots_behind_updates_from_one_stick(simulator: Simulator) -> None:
    for role in ("root", "targets", "timestamp"):
        changed(simulator, role)
    simulator.publish("1.1.0")
    assert sorted(path.name for path in (simulator.stick / "metadata").glob("*.root.json")) == [
        f"{version}.root.json" for version in (1, 2, 3, 4)
    ]
    report = simulator.check(deep=True)
    assert report.verified.root == 4
    assert [offer.version for offer in report.offers] == ["1.1.0", "1.0.0"]  # signed again, for it is known
    simulator.install()
    assert simulator.active == "1.1.0"
    assert ledger.read(simulator.device).root == 4


def test_a_device_that_has_followed_goes_on_from_there(simulator: Simulator) -> None:
    changed(simulator, "root")
    simulator.publish("1.1.0")
    simulator.install()
    changed(simulator, "root")
    simulator.publish("1.2.0")
    (simulator.stick / "metadata" / "2.root.json").unlink()  # it has that one
    simulator.install()
    assert simulator.active == "1.2.0" and ledger.read(simulator.device).root == 3


def test_a_new_device_may_begin_with_any_root(simulator: Simulator, tmp_path: Path) -> None:
    changed(simulator, "root")
    changed(simulator, "targets")
    simulator.publish("1.1.0")
    simulator.device = Device(tmp_path / "another")
    simulator.install()
    assert simulator.active == "1.1.0"


def test_a_hop_that_is_missing(simulator: Simulator) -> None:
    changed(simulator, "targets")
    changed(simulator, "root")
    simulator.publish("1.1.0")
    (simulator.stick / "metadata" / "2.root.json").unlink()
    refused(simulator, TrustError, "not signed by a key that this device trusts: targets")


def test_a_stick_says_how_far_its_roots_lead(simulator: Simulator) -> None:
    """Where only the root's own key changed, TUF by itself stops at the gap and believes the rest."""
    changed(simulator, "root")
    simulator.publish("1.1.0")
    (simulator.stick / "metadata" / "2.root.json").unlink()
    with pytest.raises(TrustError, match="end at version 1, though version 2 was out"):
        simulator.install()
    assert simulator.active == "1.0.0"
    simulator.publish("1.1.0")  # written again, it is whole
    simulator.install()
    assert simulator.active == "1.1.0"


def test_a_root_signed_by_new_keys_alone(simulator: Simulator) -> None:
    before = keys.newest(simulator.keys)
    stranger = CryptoSigner.generate_ed25519()
    forged = roots.following(
        before,
        before.expires,
        add=[(role, stranger.public_key) for role in ("root", "targets", "snapshot", "timestamp")],
        remove=before.roles["root"].keyids,
    )
    metadata = Metadata(forged)
    metadata.sign(stranger)
    (simulator.stick / "metadata" / "2.root.json").write_bytes(metadata.to_bytes())
    for role in ("targets", "snapshot", "timestamp"):
        simulator.resign(role, [stranger])
    refused(simulator, TrustError, "not signed by a key that this device trusts: root was signed by 0/1")
    assert ledger.read(simulator.device).root == 1


def test_a_release_of_a_revoked_key(simulator: Simulator, tmp_path: Path) -> None:
    thief = {role: list(signers) for role, signers in simulator.all_signers.items()}
    changed(simulator, "targets")
    simulator.publish("1.1.0")
    simulator.install()
    simulator.publish("1.2.0")
    simulator.resign("targets", [thief["targets"][0]])
    refused(simulator, TrustError, "not signed by a key that this device trusts: targets", old="1.1.0")


def test_one_signature_of_two_and_one_key_twice(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    shutil.rmtree(simulator.keys)
    keys.create(simulator.keys, SECRETS, n=CHEAP_SCRYPT, quorums=keys.OFFERED)
    simulator.all_signers = keys.unlock(simulator.keys, SECRETS, keys.ROLES)
    assert [len(simulator.all_signers[role]) for role in keys.ROLES] == [3, 3, 1, 1]
    simulator.publish("1.0.0")
    simulator.install()
    simulator.publish("1.1.0")
    first, second, _ = simulator.all_signers["targets"]
    simulator.resign("targets", [first])
    refused(simulator, TrustError, "not signed by a key that this device trusts")
    # The one signature under both ids, and twice under its own.
    path = simulator.metadata("targets")
    (entry,) = Metadata.from_file(str(path)).to_dict()["signatures"]
    honest = path.read_bytes()
    for keyid, reason in (
        (second.public_key.keyid, "not signed by a key that this device trusts"),
        (entry["keyid"], "changed or damaged"),
    ):
        value = json.loads(honest)
        value["signatures"] = [entry, {**entry, "keyid": keyid}]
        path.write_text(json.dumps(value))
        refused(simulator, TrustError, reason)
    path.write_bytes(honest)
    simulator.resign("targets", [first, second])
    simulator.install()
    assert simulator.active == "1.1.0"


def test_what_a_stolen_key_put_on_a_stick_is_not_signed_again(simulator: Simulator, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen"
    shutil.copytree(simulator.keys, stolen)
    thief = {role: list(signers) for role, signers in simulator.all_signers.items()}
    publish.write_stick(
        stolen, thief, make_release(tmp_path / "evil", "6.6.6", b"evil"), simulator.stick, ignore
    )
    changed(simulator, "targets")
    told: list[Event] = []
    make_release(tmp_path / "good", "1.1.0", b"good")
    publish.write_stick(
        simulator.keys, simulator.all_signers, tmp_path / "good", simulator.stick, told.append
    )
    assert [offer.version for offer in simulator.check(deep=True).offers] == ["1.1.0", "1.0.0"]
    assert any("6.6.6 leaves the stick" in event.text for event in told)


def test_stopped_between_two_roots_the_stick_can_be_written_again(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(simulator, "targets")
    from appliance import storage

    write = storage.write_bytes

    def stopped(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.name == "timestamp.json":
            raise KeyboardInterrupt
        write(path, data, mode)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", stopped)
        with pytest.raises(KeyboardInterrupt):
            simulator.publish("1.1.0")
    with pytest.raises(TrustError):  # the new root is there, what it wants isn't: refused, not believed
        simulator.install()
    simulator.publish("1.1.0")
    assert [offer.version for offer in simulator.check(deep=True).offers] == ["1.1.0", "1.0.0"]


def test_a_history_with_a_gap_is_not_published(simulator: Simulator) -> None:
    changed(simulator, "root")
    changed(simulator, "root")
    (simulator.keys / keys.HISTORY / "2.root.json").unlink()
    with pytest.raises(TrustError, match="couldn't follow"):
        simulator.publish("1.1.0")


def test_a_folder_of_before_roots_could_change(simulator: Simulator) -> None:
    """Four keys named by their roles alone, no model-signing key, one root."""
    for info in key_files.find(simulator.keys):
        if info.role == roots.MODEL_SIGNING:
            info.path.unlink()
            continue
        info.path.rename(simulator.keys / f"{info.role}.key.json")
    root = keys.newest(simulator.keys)
    del root.unrecognized_fields[roots.MODEL_SIGNING_FIELD]
    metadata = Metadata(root)
    for signer in simulator.all_signers["root"]:
        metadata.sign(signer, append=True)
    (simulator.keys / "root.json").write_bytes(metadata.to_bytes())
    assert keys.unlock_model_signing(simulator.keys, SECRETS) is None
    changed(simulator, "targets")
    assert sorted(keys.root_history(simulator.keys)) == [1, 2]


def test_an_ml_dsa_key_that_must_sign_too(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    shutil.rmtree(simulator.keys)
    keys.create(simulator.keys, SECRETS, n=CHEAP_SCRYPT, co_sign=True)
    root = keys.newest(simulator.keys)
    assert {key.scheme for key in root.keys.values()} == {"ed25519", "ml-dsa-65/1"}
    simulator.all_signers = keys.unlock(simulator.keys, SECRETS, keys.ROLES)
    simulator.publish("1.0.0")
    simulator.install()
    assert len(simulator.check().verified.signers) == 2
    simulator.publish("1.1.0")
    for signer in simulator.all_signers["targets"]:
        honest = simulator.metadata("targets").read_bytes()
        simulator.resign("targets", [signer])
        with pytest.raises(TrustError, match="targets was signed by 1/2 keys"):
            simulator.install()
        simulator.metadata("targets").write_bytes(honest)
    simulator.install()
    assert simulator.active == "1.1.0"
