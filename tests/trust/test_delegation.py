"""Sites with keys of their own, as python-tuf's own client sees them: each signs for itself and for nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater

from appliance.errors import KeysError, TrustError, UsageError
from appliance.trust import delegation, roots
from appliance.trust.folder import BASE_URL, FolderFetcher

NOW = datetime(2026, 11, 20, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
KEYS = {role: CryptoSigner.generate_ed25519() for role in roots.ROLES}
OSLO, OSLO_TOO, BERGEN = (CryptoSigner.generate_ed25519() for _ in range(3))
ROOT = Metadata(roots.first({role: [key.public_key] for role, key in KEYS.items()}, {}, NOW))
ROOT.sign(KEYS["root"])


def entry(path: str, name: str | None = None) -> TargetFile:
    fields = {"anchorhold": {"role": "manifest", "name": name} if name else {"role": "model"}}
    return TargetFile(1, {"sha256": "ab" * 32}, path, {"custom": fields})


def top(**thresholds: int) -> Targets:
    """The targets role with one release for all; Oslo has two keys, Bergen one."""
    path = "notes-1.0.0.release.json"
    targets = Targets(version=3, expires=LATER, targets={path: entry(path, "notes")})
    oslo = [OSLO.public_key, OSLO_TOO.public_key]
    delegation.delegate(targets, "oslo", oslo, thresholds.get("oslo", 1))
    delegation.delegate(targets, "bergen", [BERGEN.public_key], 1)
    return targets


def of_site(site: str, *paths: str, expires: datetime = LATER) -> Targets:
    named = {path: entry(path, f"{site}.notes" if path.endswith("release.json") else None) for path in paths}
    return Targets(version=1, expires=expires, targets=named)


class Stick:
    """A stick of metadata alone."""

    def __init__(self, folder: Path, targets: Targets) -> None:
        self.metadata = folder / "stick" / "metadata"
        self.cache = folder / "cache"
        self.targets = targets
        self.sites: dict[str, tuple[Targets, tuple[CryptoSigner, ...]]] = {}

    def load(self, site: str) -> Mapping[str, TargetFile] | None:
        listed = {"targets.json": MetaFile(self.targets.version)}
        files = {"1.root.json": ROOT, "3.targets.json": signed(self.targets, KEYS["targets"])}
        for name, (targets, signers) in self.sites.items():
            listed[f"{delegation.role_of(name)}.json"] = MetaFile(targets.version)
            files[f"{targets.version}.{delegation.role_of(name)}.json"] = signed(targets, *signers)
        files["1.snapshot.json"] = signed(Snapshot(version=1, expires=LATER, meta=listed), KEYS["snapshot"])
        timestamp = Timestamp(version=1, expires=LATER, snapshot_meta=MetaFile(1))
        files["timestamp.json"] = signed(timestamp, KEYS["timestamp"])
        self.metadata.mkdir(parents=True)
        self.cache.mkdir()
        for name, metadata in files.items():
            (self.metadata / name).write_bytes(metadata.to_bytes())
        updater = Updater(
            str(self.cache), f"{BASE_URL}metadata/", fetcher=FolderFetcher(self.metadata.parent),
            bootstrap=ROOT.to_bytes(),
        )  # fmt: skip
        updater._trusted_set.reference_time = NOW
        updater.refresh()
        trusted = updater._trusted_set
        version = delegation.version_of(site, trusted.snapshot)
        if delegation.find(trusted.targets, site) is None:
            return None
        path = self.metadata / f"{version}.{delegation.role_of(site)}.json"
        data = path.read_bytes() if version else b""
        found = delegation.verify(site, trusted.targets, trusted.snapshot, data, NOW).signed
        for name in found.targets:  # another TUF client finds the same
            assert updater.get_targetinfo(name) == found.targets[name]
        return found.targets


def signed(content: Root | Targets | Snapshot | Timestamp, *signers: CryptoSigner) -> Metadata:
    metadata = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


@pytest.fixture
def stick(tmp_path: Path) -> Stick:
    return Stick(tmp_path, top())


def test_a_site_s_own_key_signs_for_it(stick: Stick) -> None:
    stick.sites = {
        "oslo": (of_site("oslo", "oslo.notes-1.0.0.release.json", "oslo.notes-1.0.0.notes.gguf"), (OSLO,)),
        "bergen": (of_site("bergen", "bergen.notes-2.0.0.release.json"), (BERGEN,)),
    }
    found = stick.load("oslo")
    assert found is not None
    assert sorted(found) == ["oslo.notes-1.0.0.notes.gguf", "oslo.notes-1.0.0.release.json"]


def test_another_site_s_key_does_not(stick: Stick) -> None:
    stick.sites = {"oslo": (of_site("oslo", "oslo.notes-1.0.0.release.json"), (BERGEN,))}
    with pytest.raises(TrustError, match=r"signed for oslo can't be trusted.*0/1 keys"):
        stick.load("oslo")


@pytest.mark.parametrize(
    "path", ["bergen.notes-1.0.0.release.json", "notes-1.0.0.notes.gguf", "oslo/x", "osloer.a", "oslo"]
)
def test_a_site_s_key_signs_nothing_of_others(stick: Stick, path: str) -> None:
    stick.sites = {"oslo": (of_site("oslo", path), (OSLO,))}
    with pytest.raises(TrustError, match="what is not of oslo"):
        stick.load("oslo")


def test_a_release_under_another_s_name(stick: Stick) -> None:
    path = "oslo.notes-1.0.0.release.json"
    targets = Targets(version=1, expires=LATER, targets={path: entry(path, "notes")})
    stick.sites = {"oslo": (targets, (OSLO,))}
    with pytest.raises(TrustError, match="what is not of oslo"):
        stick.load("oslo")


def test_what_the_targets_keys_signed_is_not_replaced(stick: Stick) -> None:
    path = "oslo.notes-1.0.0.release.json"
    stick.targets.targets[path] = entry(path, "oslo.notes")
    stick.sites = {"oslo": (of_site("oslo", path), (OSLO,))}
    with pytest.raises(TrustError, match="and by the targets keys"):
        stick.load("oslo")


def test_a_site_may_not_let_others_sign(stick: Stick) -> None:
    targets = of_site("oslo", "oslo.notes-1.0.0.release.json")
    delegation.delegate(targets, "oslo", [BERGEN.public_key], 1)
    stick.sites = {"oslo": (targets, (OSLO,))}
    with pytest.raises(TrustError, match="lets others sign"):
        stick.load("oslo")


def test_a_site_s_threshold(tmp_path: Path) -> None:
    content = of_site("oslo", "oslo.notes-1.0.0.release.json")
    one = Stick(tmp_path / "one", top(oslo=2))
    one.sites = {"oslo": (content, (OSLO,))}
    with pytest.raises(TrustError, match="1/2 keys"):
        one.load("oslo")
    both = Stick(tmp_path / "both", top(oslo=2))
    both.sites = {"oslo": (content, (OSLO, OSLO_TOO))}
    assert both.load("oslo")


def test_an_expired_site_and_a_missing_one(tmp_path: Path) -> None:
    old = Stick(tmp_path / "old", top())
    old.sites = {"oslo": (of_site("oslo", expires=NOW - timedelta(days=1)), (OSLO,))}
    with pytest.raises(TrustError, match="expired"):
        old.load("oslo")
    with pytest.raises(TrustError, match="can't be trusted"):
        Stick(tmp_path / "none", top()).load("oslo")  # the snapshot names none


def test_metadata_of_another_time(stick: Stick) -> None:
    current = of_site("oslo", "oslo.notes-1.0.0.release.json")
    snapshot = Snapshot(version=1, expires=LATER, meta={"site-oslo.json": MetaFile(2)})
    with pytest.raises(TrustError, match="version 1, but the snapshot names 2"):
        delegation.verify("oslo", stick.targets, snapshot, signed(current, OSLO).to_bytes(), NOW)


def test_a_site_without_keys_has_nothing_of_its_own(tmp_path: Path) -> None:
    targets = top()
    delegation.withdraw(targets, "bergen")
    assert BERGEN.public_key.keyid not in targets.delegations.keys
    assert Stick(tmp_path, targets).load("bergen") is None
    delegation.withdraw(targets, "oslo")
    assert targets.delegations is None


def test_a_role_that_covers_more_than_its_site(stick: Stick) -> None:
    stick.targets.delegations.roles["site-oslo"].paths = ["*"]
    stick.sites = {"oslo": (of_site("oslo"), (OSLO,))}
    with pytest.raises(TrustError, match="covers other paths"):
        stick.load("oslo")


def test_what_cannot_be_delegated() -> None:
    targets = Targets(version=1, expires=LATER)
    for site in ("", "../x", "Oslo", "a.b", "a" * 33, "*"):
        with pytest.raises(UsageError):
            delegation.delegate(targets, site, [OSLO.public_key], 1)
    for keys, threshold in (([OSLO.public_key], 2), ([OSLO.public_key] * 2, 1), ([], 0)):
        with pytest.raises(KeysError, match="can't sign"):
            delegation.delegate(targets, "oslo", keys, threshold)
