"""model.sig: made with a release, carried on the stick, checked in the workshop and on the device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import SSlibKey

from appliance import cli, storage
from appliance.errors import TrustError, UsageError
from appliance.events import ignore
from appliance.registry import signature
from appliance.trust import keys, oms_bundle, pending, roots
from appliance.update import model_signature, publish
from tests.stick_simulator import CHEAP_SCRYPT, SECRETS, Simulator, flip_bit, make_release

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey) -> dict[str, SSlibKey]:
    made = SSlibKey.from_crypto(key.public_key())
    return {made.keyid: made}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = make_release(tmp_path / "release", "1.0.0", b"a model")
    signature.sign_folder(folder, KEY)
    return folder


def test_equal_releases_have_equal_bundles(release: Path) -> None:
    before = (release / "model.sig").read_bytes()
    signature.sign_folder(release, KEY)
    assert (release / "model.sig").read_bytes() == before
    manifest, bundle = signature.verify_folder(release, public(KEY))
    assert bundle.name == "notes-1.0.0"
    assert set(bundle.files) == {"release.json", *(file.name for file in manifest.files)}


def test_any_of_the_root_s_keys_will_do(release: Path) -> None:
    signature.verify_folder(release, {**public(OTHER), **public(KEY)})
    with pytest.raises(TrustError, match="another key"):
        signature.verify_folder(release, public(OTHER))
    with pytest.raises(TrustError, match="names no key that signs models"):
        signature.verify_folder(release, {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: flip_bit(f / "notes.gguf"), r"notes\.gguf: not the file that was signed"),
        (lambda f: (f / "report.html").unlink(), r"report\.html: signed, but missing"),
        (lambda f: (f / "evil.py").write_text(""), r"evil\.py: not signed"),
        (lambda f: (f / "model.sig").unlink(), "isn't signed as a model"),
        (lambda f: (f / "model.sig").write_bytes(b"{}"), "OMS bundle"),
        (
            lambda f: (f / "release.json").write_bytes((f / "release.json").read_bytes().replace(b"1.0.0", b"1.0.1")),
            r"release\.json: the model's signature is of another file",
        ),
        (
            lambda f: (f / "model.sig").write_bytes(
                oms_bundle.sign("notes", {**oms_bundle.digests(f), "evil.py": "ab" * 32}, KEY)
            ),
            r"evil\.py: signed, but no file of the release",
        ),
        (
            lambda f: (f / "model.sig").write_bytes(
                oms_bundle.sign("notes", {"notes.gguf": storage.sha256_file(f / "notes.gguf")}, KEY)
            ),
            r"release\.json: the model's signature doesn't cover it",
        ),
    ],
)  # fmt: skip
def test_what_does_not_hold(release: Path, change: Callable[[Path], object], reason: str) -> None:
    change(release)
    with pytest.raises(TrustError, match=reason):
        signature.verify_folder(release, public(KEY))


def test_a_changed_folder_is_not_signed(release: Path) -> None:
    flip_bit(release / "notes.gguf")
    with pytest.raises(TrustError, match=r"notes\.gguf: not what release\.json says"):
        signature.sign_folder(release, KEY)
    with pytest.raises(UsageError, match="no release there"):
        signature.sign_folder(release.parent, KEY)


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    return Simulator(tmp_path)


def write(simulator: Simulator, version: str, model_key: ec.EllipticCurvePrivateKey | None) -> Path:
    folder = simulator.folder / "releases" / version
    if not folder.exists():
        make_release(folder, version, f"model {version}".encode())
    publish.write_stick(
        simulator.keys, simulator.all_signers, folder, simulator.stick, ignore, model_key=model_key
    )
    return folder


def test_it_travels_with_the_release(simulator: Simulator) -> None:
    write(simulator, "1.0.0", keys.unlock_model_signing(simulator.keys, SECRETS))
    report = simulator.check(deep=True)
    bundle = model_signature.check_stick(report)
    assert bundle is not None and bundle.name == "notes-1.0.0"
    simulator.install()
    assert simulator.active == "1.0.0"
    assert roots.model_signing_keys(model_signature.device_root(simulator.device))


def test_a_stick_without_it(simulator: Simulator) -> None:
    simulator.publish("1.0.0")
    assert model_signature.check_stick(simulator.check()) is None


def test_a_bundle_that_does_not_hold_is_not_published(simulator: Simulator) -> None:
    folder = make_release(simulator.folder / "releases" / "1.0.0", "1.0.0", b"a model")
    signature.sign_folder(folder, OTHER)
    with pytest.raises(TrustError, match="another key"):
        write(simulator, "1.0.0", None)
    assert not simulator.stick.exists()


def test_a_bundle_on_the_stick_that_does_not_hold(simulator: Simulator) -> None:
    """Signed with the targets key, so that TUF believes it; not with the key for models."""
    write(simulator, "1.0.0", keys.unlock_model_signing(simulator.keys, SECRETS))
    report = simulator.check()
    data = signature.make(report.manifest, report.digest, OTHER)
    path = model_signature.path_of("notes", "1.0.0")

    def exchange(targets) -> None:
        entry = targets.targets[path]
        entry.length, entry.hashes = len(data), {"sha256": storage.sha256_bytes(data)}
        entry.unrecognized_fields["custom"]["anchorhold"]["chunks"] = [storage.sha256_bytes(data)]

    simulator.resign("targets", simulator.all_signers["targets"], exchange)
    (simulator.stick / "targets" / f"{storage.sha256_bytes(data)}.{path}").write_bytes(data)
    with pytest.raises(TrustError, match="another key"):
        model_signature.check_stick(simulator.check())
    with pytest.raises(TrustError, match="another key"):
        simulator.install()
    assert simulator.active != "1.0.0"
    for stored in simulator.stick.glob(f"targets/*{path}"):
        stored.write_bytes(b"{}")
    with pytest.raises(TrustError, match="changed or damaged"):
        model_signature.check_stick(simulator.check())


def test_the_key_for_models_is_replaced_in_band(simulator: Simulator) -> None:
    folder = write(simulator, "1.0.0", keys.unlock_model_signing(simulator.keys, SECRETS))
    before = (folder / "model.sig").read_bytes()
    former = list(roots.model_signing_keys(keys.newest(simulator.keys)))
    _, key = pending.new_key(simulator.keys, SECRETS, roots.MODEL_SIGNING, n=CHEAP_SCRYPT)
    pending.change_root(simulator.keys, SECRETS, add=[(roots.MODEL_SIGNING, key)], remove=former)
    with pytest.raises(TrustError, match="another key"):
        write(simulator, "1.0.0", None)
    write(simulator, "1.0.0", keys.unlock_model_signing(simulator.keys, SECRETS))
    assert (folder / "model.sig").read_bytes() != before
    assert model_signature.check_stick(simulator.check(deep=True)) is not None


def test_as_it_is_typed(simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["verify", *map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.err
        return shown.out + shown.err

    run(code=2)
    folder = write(simulator, "1.0.0", keys.unlock_model_signing(simulator.keys, SECRETS))
    trust = ["--trust", simulator.root]
    assert "notes 1.0.0: model.sig holds; its 3 files" in run(folder, *trust)
    assert "notes 1.0.0: model.sig holds" in run(simulator.stick, *trust)
    device = ["--root", simulator.device.root]
    assert "no root of trust" in run(folder, *device, code=8)
    simulator.install()
    assert "holds" in run(simulator.stick, *device) and "holds" in run(folder, *device)
    facts = json.loads(run(folder, *trust, "--json"))
    assert facts["public keys"][0].startswith("-----BEGIN PUBLIC KEY-----")
    flip_bit(folder / "notes.gguf")
    assert "not the file that was signed" in run(folder, *trust, code=8)
    stranger = Simulator(tmp_path / "stranger", "stranger")
    assert "error:" in run(simulator.stick, "--trust", stranger.root, code=8)
    simulator.publish("1.1.0")
    assert "brings no model.sig" in run(simulator.stick, *trust, code=2)
