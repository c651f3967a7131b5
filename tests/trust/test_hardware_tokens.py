"""Keys in hardware tokens, with SoftHSM: found, made, taken; and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import HSMSigner, SSlibKey

from appliance.errors import KeysError, PinError, TokenError
from appliance.trust import (
    hardware_tokens,
    key_files,
    keys,
    oms_bundle,
    pending,
    roots,
    sealing,
)
from appliance.trust.hardware_tokens import Place
from appliance.trust.token_signing import TokenModelKey, TokenSigner
from appliance.trust.unlocking import Secrets
from tests.softhsm import PIN, Tokens

pkcs11 = pytest.importorskip("pkcs11")


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tokens]:
    made = Tokens(tmp_path / "softhsm", monkeypatch)
    monkeypatch.setenv("ANCHORHOLD_PKCS11_MODULE", str(made.module))
    monkeypatch.setenv("ANCHORHOLD_PIN", PIN)
    yield made
    made.close()


def new(folder: Path, role: str = "root", label: str = "workshop", **given: Any) -> key_files.KeyInfo:
    token = hardware_tokens.find(Secrets().module, label)
    return pending.new_token_key(folder, Secrets(), role, token, **given)


def opened(info: key_files.KeyInfo, **given: Any) -> TokenSigner:
    ((_, signer),) = key_files.open_all([info], Secrets(**given))
    assert isinstance(signer, TokenSigner)
    return signer


@pytest.mark.parametrize("kind", hardware_tokens.KINDS)
def test_a_key_signs_and_never_leaves_its_token(tokens: Tokens, tmp_path: Path, kind: str) -> None:
    serial = tokens.add("workshop")
    info = new(tmp_path / "keys", kind=kind, name="Ada")
    assert info.token == Place("workshop", serial, info.token.id if info.token else "") and info.type == kind
    (key,) = hardware_tokens.keys(hardware_tokens.find(tokens.module, serial), PIN)
    assert (key.signs, key.kind, key.public) == (
        True,
        kind,
        sealing.public_of(kind, bytes.fromhex(info.public)),
    )
    signature = opened(info).sign(b"metadata")
    info.public_key.verify_signature(signature, b"metadata")
    with pytest.raises(UnverifiedSignatureError):
        info.public_key.verify_signature(signature, b"something else")
    text = info.path.read_text()
    assert PIN not in text and set(json.loads(text)) == {
        "format", "role", "type", "keyid", "public", "token", "name",
    }  # fmt: skip
    assert info.path.stat().st_mode & 0o777 == 0o600
    with tokens.session(serial) as session:
        (private,) = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
        assert private[pkcs11.Attribute.NEVER_EXTRACTABLE] and private[pkcs11.Attribute.ALWAYS_SENSITIVE]


def test_securesystemslib_and_we_mean_the_same_key(
    tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its HSMSigner finds the key that we made under the same id, and what it signs counts."""
    tokens.add("workshop")
    info = new(tmp_path / "keys")
    assert info.token is not None
    monkeypatch.setenv("PYKCS11LIB", str(tokens.module.resolve()))
    uri, key = HSMSigner.import_(int(info.token.id, 16), "workshop")
    assert isinstance(key, SSlibKey) and key == info.public_key
    signature = HSMSigner.from_priv_key_uri(uri, key, lambda _what: PIN).sign(b"metadata")
    info.public_key.verify_signature(signature, b"metadata")


def test_a_key_that_is_there_is_taken(tokens: Tokens, tmp_path: Path) -> None:
    serial = tokens.add("workshop")
    token = hardware_tokens.find(tokens.module, "workshop")
    made = hardware_tokens.make(token, PIN, sealing.P256, "by hand")
    info = new(tmp_path / "keys", key_id=made.id.upper(), label=serial)
    assert made.public is not None and info.keyid == made.public.keyid
    with pytest.raises(KeysError, match="the same key"):
        new(tmp_path / "keys", "targets", key_id=made.id)
    with pytest.raises(TokenError, match="has no key ffff"):
        new(tmp_path / "keys", key_id="ffff")


def test_keys_that_cannot_sign(tokens: Tokens, tmp_path: Path) -> None:
    serial = tokens.add("workshop")
    with tokens.session(serial) as session:
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, id=b"\x01", store=True)
        params = bytes.fromhex("06082a8648ce3d030107")
        curve = session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: params}, local=True
        )
        curve.generate_keypair(id=b"\x02", store=True, capabilities=pkcs11.MechanismFlag.DERIVE)
        _, private = curve.generate_keypair(id=b"\x03", store=True)
        private.destroy()
        curve = session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {pkcs11.Attribute.EC_PARAMS: bytes.fromhex("06052b81040022")},  # P-384
            local=True,
        )
        curve.generate_keypair(id=b"\x04", store=True)
    for key_id, said in {"01": "is of RSA", "02": "can't sign", "03": "can't sign", "04": "is of EC"}.items():
        with pytest.raises(TokenError, match=said):
            new(tmp_path / "keys", key_id=key_id)
    assert not (tmp_path / "keys").exists()


def test_ed25519_is_no_key_for_models(tokens: Tokens, tmp_path: Path) -> None:
    tokens.add("workshop")
    token = hardware_tokens.find(tokens.module, "workshop")
    with pytest.raises(KeysError, match="needs a key of P-256"):
        new(tmp_path / "keys", roots.MODEL_SIGNING, kind=sealing.ED25519)
    assert hardware_tokens.keys(token, PIN) == []
    made = hardware_tokens.make(token, PIN, sealing.ED25519, "by hand")
    with pytest.raises(KeysError, match="needs a key of P-256"):
        new(tmp_path / "keys", roots.MODEL_SIGNING, key_id=made.id)


def test_a_wrong_pin_is_said_and_not_tried_again(
    tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where other keys could be opened: each wrong PIN brings the token nearer to locking itself."""
    tokens.add("workshop")
    info = new(tmp_path / "keys")
    pending.new_key(tmp_path / "keys", Secrets("words"), "root", n=1 << 14)
    (tmp_path / "pin").write_text("0000")
    with pytest.raises(PinError, match="wrong PIN") as caught:
        key_files.open_all(
            key_files.find(tmp_path / "keys"), Secrets("words", pin_files=[str(tmp_path / "pin")])
        )
    assert caught.value.exit_code == 14
    opened(info)


def test_a_token_that_is_not_there(tokens: Tokens, tmp_path: Path) -> None:
    serial = tokens.add("workshop")
    info = new(tmp_path / "keys")
    signer = opened(info)
    tokens.unplug(serial)
    with pytest.raises(TokenError, match=f"workshop .{serial}. isn't there"):
        opened(info)
    with pytest.raises(TokenError, match="isn't there"):
        signer.sign(b"metadata")
    pending.new_key(tmp_path / "keys", Secrets("words"), "root", n=1 << 14)
    ((found, _),) = key_files.open_all(key_files.find(tmp_path / "keys"), Secrets("words"))
    assert found.token is None  # as other people's keys are left out
    tokens.plug_in(serial)
    info.public_key.verify_signature(signer.sign(b"metadata"), b"metadata")


def replace(tokens: Tokens, serial: str, info: key_files.KeyInfo) -> None:
    """Put another key of the same id and label in its place."""
    assert info.token is not None
    key_id = bytes.fromhex(info.token.id)
    with tokens.session(serial) as session:
        for handle in list(session.get_objects({pkcs11.Attribute.ID: key_id})):
            handle.destroy()
        curve = session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {pkcs11.Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")},
            local=True,
        )
        curve.generate_keypair(id=key_id, label=f"anchorhold {info.role}", store=True)


def test_another_key_in_its_place_is_refused(tokens: Tokens, tmp_path: Path) -> None:
    serial = tokens.add("workshop")
    info = new(tmp_path / "keys")
    signer = opened(info)
    replace(tokens, serial, info)
    with pytest.raises(KeysError, match=f"isn't {info.keyid[:8]} any more") as caught:
        opened(info)
    assert not isinstance(caught.value, TokenError)  # so it isn't passed over where other keys can be opened
    with pytest.raises(KeysError, match="any more"):
        signer.sign(b"metadata")


def test_a_private_key_exchanged_alone_is_found_by_its_signature(tokens: Tokens, tmp_path: Path) -> None:
    serial = tokens.add("workshop")
    info = new(tmp_path / "keys")
    assert info.token is not None
    signer = opened(info)
    replace(tokens, serial, info)
    with tokens.session(serial) as session:  # some tokens keep no public half
        (public,) = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY})
        public.destroy()
    signer.check()
    with pytest.raises(KeysError, match="any more"):
        signer.sign(b"metadata")


def test_a_key_that_is_gone(tokens: Tokens, tmp_path: Path) -> None:
    serial = tokens.add("workshop")
    info = new(tmp_path / "keys")
    with tokens.session(serial) as session:
        for handle in list(session.get_objects()):
            handle.destroy()
    with pytest.raises(KeysError, match="has no key"):
        opened(info)


def test_several_tokens_of_one_label(tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tokens.add("workshop"), tokens.add("workshop")
    with pytest.raises(TokenError, match="several tokens") as caught:
        hardware_tokens.find(tokens.module, "workshop")
    assert first in caught.value.message and second in caught.value.message
    with pytest.raises(KeysError, match="says not whose it is"):
        new(tmp_path / "keys", label=second)
    (tmp_path / "pin").write_text(PIN)
    found = hardware_tokens.find(tokens.module, second)
    secrets = Secrets(pin_files=[f"{second}={tmp_path / 'pin'}"])
    info = pending.new_token_key(tmp_path / "keys", secrets, "root", found)
    assert info.token is not None and info.token.serial == second
    tokens.unplug(second)
    with pytest.raises(TokenError, match=second):
        opened(info)  # the other one's label is the same
    with pytest.raises(TokenError, match="no token is called nobody"):
        hardware_tokens.find(tokens.module, "nobody")


def test_modules_that_are_none(tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANCHORHOLD_PKCS11_MODULE")
    with pytest.raises(TokenError, match="no PKCS#11 module is named"):
        hardware_tokens.tokens(Secrets().module)
    with pytest.raises(TokenError, match="no such PKCS#11 module"):
        hardware_tokens.tokens(tmp_path / "none.so")
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(TokenError, match="can't be used as a PKCS#11 module"):
        hardware_tokens.tokens(tmp_path / "text.so")
    with pytest.raises(TokenError, match="can't be used as a PKCS#11 module"):
        hardware_tokens.tokens(Path(sys.modules["_hashlib"].__file__ or ""))
    assert hardware_tokens.tokens(tokens.module) == []


def test_without_the_library(tmp_path: Path) -> None:
    """What says so is an error of ours, and everything else goes on working."""
    code = (
        "import sys; sys.modules['pkcs11'] = None\n"
        "from appliance.cli import main; main(['keys', 'tokens', '--module', sys.executable])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 8 and "python-pkcs11" in done.stderr and "anchorhold[tokens]" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"public": "00" * 65}, {"keyid": "00" * 32}, {"type": "ed25519"}, {"token": {}}, {"token": None},
        {"token": {"label": "workshop", "serial": "1", "id": ""}}, {"format": "anchorhold-token-key/2"},
        {"token": {"label": "workshop", "serial": 1, "id": "01"}},
        {"token": {"label": "workshop", "serial": "1", "id": "key"}},
    ],
)  # fmt: skip
def test_a_changed_key_file(tmp_path: Path, change: dict[str, Any]) -> None:
    public = sealing.public_key(sealing.generate(sealing.P256))
    info = key_files.write_token(tmp_path, "root", Place("workshop", "1", "01"), sealing.P256, public)
    value = json.loads(info.path.read_text())
    info.path.write_text(json.dumps({**value, **change}))
    with pytest.raises(KeysError, match="not a key file"):
        key_files.find(tmp_path)


def test_a_file_of_another_key_is_refused_by_the_token(tokens: Tokens, tmp_path: Path) -> None:
    """Whoever writes into the keys folder can't make a key of theirs count, nor the token's under another's name."""
    tokens.add("workshop")
    info = new(tmp_path / "keys")
    assert info.token is not None
    theirs = sealing.public_key(sealing.generate(sealing.P256))
    forged = key_files.write_token(tmp_path / "other", "root", info.token, sealing.P256, theirs)
    with pytest.raises(KeysError, match="any more"):
        opened(forged)


def test_models_are_signed(tokens: Tokens, tmp_path: Path) -> None:
    tokens.add("workshop")
    key = TokenModelKey(opened(new(tmp_path / "keys", roots.MODEL_SIGNING)))
    data = oms_bundle.sign("notes-1.0.0", {"notes.gguf": "00" * 32}, key)
    assert oms_bundle.verify(data, key.public_key()).files == {"notes.gguf": "00" * 32}


def test_all_keys_of_a_publisher_can_be_on_a_token(tokens: Tokens, tmp_path: Path) -> None:
    """No passphrase is asked for then."""
    tokens.add("workshop")
    infos = [new(tmp_path / "mine", role) for role in (*roots.ROLES, roots.MODEL_SIGNING)]
    root = keys.create(tmp_path / "keys", Secrets(), tokens=infos)
    assert {each for role in roots.ROLES for each in root.roles[role].keyids} < {info.keyid for info in infos}
    signers = keys.unlock(tmp_path / "keys", Secrets(), roots.ROLES)
    assert all(isinstance(signer, TokenSigner) for own in signers.values() for signer in own)
    assert keys.unlock_model_signing(tmp_path / "keys", Secrets(), at_hand=True) is not None
    assert roots.check_step(None, keys.root_bytes(tmp_path / "keys")).version == 1
