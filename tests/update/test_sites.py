"""Releases for one site: signed by its own keys, beside what is signed for all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from appliance.errors import KeysError, ThresholdError, TrustError, UsageError
from appliance.events import Event, ignore
from appliance.registry import manifest as manifests
from appliance.trust import ceremony, delegation, key_files, keys, ledger, pending, sealing
from appliance.trust.client import verify
from appliance.trust.unlocking import Secrets
from appliance.update import audit, publish, sites, slots, version_manifest
from appliance.update.stick import find_offers
from tests.stick_simulator import CHEAP_SCRYPT, Simulator, make_release, refused

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Publisher(Simulator):
    """One that has sites."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for site in ("oslo", "bergen"):
            pending.new_key(self.folder / site, Secrets("theirs"), delegation.role_of(site), n=CHEAP_SCRYPT)
        self.name_sites()

    def name_sites(self, *left_out: str) -> None:
        known = {}
        for site in ("oslo", "bergen"):
            if site not in left_out:
                held = key_files.open_all(key_files.find(self.folder / site), Secrets("theirs"))
                known[site] = sites.Site(1, tuple(sealing.public_key(key) for _, key in held))
        sites.write(self.keys, known)

    def write(
        self, name: str, version: str, *, site: str = "", central: bool = True, emit=ignore, now=NOW
    ) -> publish.Written:
        """A release called `name`; `site` signs too, and without `central` the targets keys don't."""
        folder = self.folder / f"{name}-{version}"
        if not folder.exists():
            make_release(folder, version, f"{name} {version}".encode())
            path = folder / manifests.FILE_NAME
            path.write_bytes(path.read_bytes().replace(b'"name":"notes",', f'"name":"{name}",'.encode()))
        signers = {**self.all_signers, "targets": self.all_signers["targets"] if central else []}
        if site:
            role = delegation.role_of(site)
            signers[role] = keys.open_role(self.folder / site, Secrets("theirs"), role)
        return publish.write_stick(self.keys, signers, folder, self.stick, emit, now=now)

    def offered(self, site: str | None, now: datetime = NOW) -> list[str]:
        """What a device of a site may install."""
        verified = verify(self.stick, self.root.read_bytes(), ledger.Ledger(), now)
        own = sites.files_of(self.stick, verified, site, now) if site else {}
        return [f"{offer.name} {offer.version}" for offer in find_offers({**verified.files, **own})]


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """With a release for all on its stick."""
    publisher = Publisher(tmp_path)
    publisher.write("notes", "1.0.0")
    return publisher


def test_a_site_sees_its_own_releases_and_those_for_all(publisher: Publisher) -> None:
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    publisher.write("bergen.notes", "2.0.0", site="bergen")
    assert publisher.offered("oslo") == ["oslo.notes 1.1.0", "notes 1.0.0"]
    assert publisher.offered("bergen") == ["bergen.notes 2.0.0", "notes 1.0.0"]
    assert publisher.offered(None) == ["notes 1.0.0"]
    assert publisher.offered("tromso") == ["notes 1.0.0"]


def test_the_targets_keys_need_not_sign_again_for_a_site(publisher: Publisher) -> None:
    publisher.write("oslo.notes", "1.1.0", site="oslo", central=False)
    publisher.write("oslo.notes", "1.2.0", site="oslo", central=False)
    assert publisher.offered("oslo") == ["oslo.notes 1.2.0", "oslo.notes 1.1.0", "notes 1.0.0"]
    assert [path.name for path in publisher.stick.glob("metadata/*.targets.json")] == ["1.targets.json"]
    with pytest.raises(ThresholdError):
        publisher.write("notes", "1.3.0", site="oslo", central=False)


def test_what_waits_for_the_targets_keys_goes_on_waiting(publisher: Publisher) -> None:
    with pytest.raises(ThresholdError):
        publisher.write("notes", "1.3.0", central=False)
    publisher.write("oslo.notes", "1.1.0", site="oslo", central=False)
    assert [request.name for request in pending.waiting(publisher.keys)] == ["targets version 2"]
    publisher.write("notes", "1.3.0")
    assert pending.waiting(publisher.keys) == []


def test_another_site_s_key_cannot_sign_for_it(publisher: Publisher) -> None:
    with pytest.raises(ThresholdError, match="site-oslo version 1: 0 of 1 signatures"):
        publisher.write("oslo.notes", "1.1.0", site="bergen")
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    (bergen,) = (
        key for _, key in key_files.open_all(key_files.find(publisher.folder / "bergen"), Secrets("theirs"))
    )
    path = publisher.stick / "metadata" / "1.site-oslo.json"
    metadata = Metadata.from_file(str(path))
    metadata.sign(CryptoSigner(bergen))
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(TrustError, match="signed for oslo can't be trusted"):
        publisher.offered("oslo")
    assert publisher.offered("bergen") == ["notes 1.0.0"]


def test_a_site_s_people_sign_elsewhere(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(ThresholdError):
        publisher.write("oslo.notes", "1.1.0")
    assert publisher.offered("oslo") == ["notes 1.0.0"]
    request = pending.choose(publisher.keys, "site-oslo")
    signed, _ = pending.sign_with_folder(request, publisher.folder / "oslo", Secrets("theirs"))
    (tmp_path / "signed.json").write_bytes(ceremony.to_bytes(signed))
    pending.import_signatures(publisher.keys, [tmp_path / "signed.json"])
    publisher.write("oslo.notes", "1.1.0")
    assert publisher.offered("oslo") == ["oslo.notes 1.1.0", "notes 1.0.0"]
    assert pending.waiting(publisher.keys) == []


def test_a_site_whose_keys_are_withdrawn(publisher: Publisher) -> None:
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    publisher.name_sites("oslo")
    publisher.write("notes", "1.2.0")
    assert publisher.offered("oslo") == ["notes 1.2.0", "notes 1.0.0"]
    # Its name is then nobody's: the targets keys may use it.
    publisher.write("oslo.notes", "1.3.0")
    assert publisher.offered(None)[0] == "oslo.notes 1.3.0"


def test_a_site_whose_keys_are_replaced(publisher: Publisher) -> None:
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    for path in (publisher.folder / "oslo").iterdir():
        path.unlink()
    pending.new_key(publisher.folder / "oslo", Secrets("theirs"), "site-oslo", n=CHEAP_SCRYPT)
    publisher.name_sites()
    told: list[Event] = []
    publisher.write("notes", "1.2.0", emit=told.append)
    assert any("what was signed for oslo leaves the stick" in event.text for event in told)
    assert publisher.offered("oslo") == ["notes 1.2.0", "notes 1.0.0"]
    publisher.write("oslo.notes", "1.3.0", site="oslo")
    assert publisher.offered("oslo")[0] == "oslo.notes 1.3.0"


def test_metadata_of_a_site_that_is_missing(publisher: Publisher) -> None:
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    (publisher.stick / "metadata" / "1.site-oslo.json").unlink()
    with pytest.raises(TrustError, match=r"site-oslo\.json is missing"):
        publisher.offered("oslo")
    assert publisher.offered("bergen") == ["notes 1.0.0"]


def test_a_site_that_has_expired_does_not_hold_up_the_others(publisher: Publisher) -> None:
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    later = NOW + timedelta(days=400)
    told: list[Event] = []
    publisher.write("notes", "1.2.0", emit=told.append, now=later)
    assert any("what was signed for oslo leaves the stick" in event.text for event in told)
    assert publisher.offered("oslo", later) == ["notes 1.2.0", "notes 1.0.0"]
    publisher.write("oslo.notes", "1.3.0", site="oslo", now=later)
    much_later = later + timedelta(days=400)
    publisher.write("oslo.notes", "1.4.0", site="oslo", now=much_later)
    assert publisher.offered("oslo", much_later)[:2] == ["oslo.notes 1.4.0", "oslo.notes 1.3.0"]


def test_sites_json_that_is_damaged(publisher: Publisher) -> None:
    path = publisher.keys / sites.FILE_NAME
    value = json.loads(path.read_bytes())
    for damage in ({"format": "other"}, {"sites": []}, {"sites": {"../x": value["sites"]["oslo"]}}):
        path.write_text(json.dumps({**value, **damage}))
        with pytest.raises(KeysError, match="damaged"):
            sites.read(publisher.keys)
    with pytest.raises(KeysError, match="can't sign"):
        sites.write(publisher.keys, {"oslo": sites.Site(3, ())})


# On a device


def test_a_device_of_a_site_installs_its_site_s_release(publisher: Publisher) -> None:
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    publisher.write("bergen.notes", "2.0.0", site="bergen")
    publisher.install()
    assert publisher.active == "1.0.0", "a device that was told no site takes what is for all"
    release = publisher.install(site="oslo")
    assert (release.name, release.version) == ("oslo.notes", "1.1.0")
    (key,) = (
        key for _, key in key_files.open_all(key_files.find(publisher.folder / "oslo"), Secrets("theirs"))
    )
    assert slots.state(publisher.device).active.signers == (sealing.public_key(key).keyid,)
    told = [
        entry["data"]["site"] for entry in audit.entries(publisher.device) if entry["event"] == "site set"
    ]
    assert told == ["oslo"]
    publisher.write("oslo.notes", "1.2.0", site="oslo", central=False)
    assert publisher.install().version == "1.2.0", "it is kept"
    assert version_manifest.collect(publisher.device, "ab" * 16)["site"] == "oslo"
    assert audit.verify(publisher.device) == []


def test_a_device_of_no_site_and_one_of_another_refuse_it(publisher: Publisher) -> None:
    publisher.install(site="bergen")
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    with pytest.raises(UsageError, match=r"no release 1\.1\.0"):
        publisher.install(version="1.1.0")
    assert publisher.install().version == "1.0.0"
    publisher.install(site="")
    assert not publisher.device.site.exists()
    with pytest.raises(UsageError, match=r"no release 1\.1\.0"):
        publisher.install(version="1.1.0")


def test_a_site_s_release_signed_by_another_site_is_refused_and_the_old_one_stays(
    publisher: Publisher,
) -> None:
    publisher.install(site="oslo")
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    (bergen,) = (
        key for _, key in key_files.open_all(key_files.find(publisher.folder / "bergen"), Secrets("theirs"))
    )
    path = publisher.stick / "metadata" / "1.site-oslo.json"
    metadata = Metadata.from_file(str(path))
    metadata.signatures.clear()
    metadata.sign(CryptoSigner(bergen))
    path.write_bytes(metadata.to_bytes())
    refused(publisher, TrustError, "signed for oslo can't be trusted")
    path.unlink()
    refused(publisher, TrustError, "is missing")


def test_a_damaged_setting_stops_until_it_is_said_again(publisher: Publisher) -> None:
    publisher.install(site="oslo")
    publisher.device.site.write_bytes(b"{")
    refused(publisher, TrustError, "damaged")
    assert publisher.install(site="oslo").version == "1.0.0"
    with pytest.raises(UsageError, match="no name of a site"):
        publisher.install(site="../x")


def test_what_is_signed_for_a_site_stands_apart_from_what_is_signed_for_all(publisher: Publisher) -> None:
    """Acknowledgments are taken from what is signed for all alone."""
    publisher.write("oslo.notes", "1.1.0", site="oslo")
    publisher.install(site="oslo")
    report = publisher.check()
    own = set(report.listed) - set(report.verified.files)
    assert own and all(path.startswith("oslo.") for path in own)
