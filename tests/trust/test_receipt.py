"""Reading receipts: what was signed is read, and whatever was changed, cut or made up is refused."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import TrustError
from appliance.trust import acknowledgment, chain, limits, receipt
from appliance.trust.chain import BEGIN, Link
from tests.fleet.signed_device import TIME, SignedDevice
from tests.properties import PROFILE

settings.load_profile(PROFILE)
WHOLE = SignedDevice().logged(4).receipt()


def test_what_was_signed_is_read() -> None:
    device = SignedDevice().logged(4)
    found = receipt.read(device.receipt())
    assert (found.device, found.key, found.after, found.head) == (device.id, device.public, BEGIN, found.last)
    assert found.entries == tuple(device.lines)
    assert WHOLE.startswith(found.signed[:20]) and found.statement["time"]["known"] == TIME


@given(st.integers(0, len(WHOLE) * 8 - 1))
def test_any_flipped_bit_is_refused(place: int) -> None:
    changed = bytearray(WHOLE)
    changed[place // 8] ^= 1 << place % 8
    with pytest.raises(TrustError):
        receipt.read(bytes(changed))


def test_a_signature_has_one_spelling() -> None:
    head, rest = WHOLE.split(b"\n", 1)
    signature = json.loads(head)["signature"]
    assert signature != signature.upper()
    with pytest.raises(TrustError, match="signed"):
        receipt.read(head.replace(signature.encode(), signature.upper().encode()) + b"\n" + rest)


@given(st.integers(0, len(WHOLE) - 1))
def test_any_cut_is_refused(length: int) -> None:
    with pytest.raises(TrustError):
        receipt.read(WHOLE[:length])


def test_a_cut_is_told_with_its_entry() -> None:
    ends = [index + 1 for index, byte in enumerate(WHOLE) if byte == 10]
    with pytest.raises(TrustError, match="was cut after entry 2"):
        receipt.read(WHOLE[: ends[3]])
    with pytest.raises(TrustError, match="cut off"):
        receipt.read(WHOLE[: ends[0] + 5])


@given(st.binary(max_size=3000))
def test_anything_is_refused_or_read(data: bytes) -> None:
    for parse in (receipt.signer, receipt.read, acknowledgment.decode):
        with pytest.raises(TrustError):
            parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n" * limits.RECEIPT_BYTES,
        b"[" * limits.RECEIPT_BYTES,
        bytes(limits.RECEIPT_BYTES),
        WHOLE + b"x" * limits.RECEIPT_BYTES,
        WHOLE + WHOLE.splitlines(keepends=True)[-1],
    ],
    ids=["empty", "line feeds", "nested", "zeros", "too long", "one more"],
)
def test_hostile_receipts(data: bytes) -> None:
    with pytest.raises(TrustError):
        receipt.read(data)


@pytest.mark.parametrize(
    "changed",
    [
        {"device": "f" * 32},
        {"format": "anchorhold-receipt/1"},
        {"time": {"known": "yesterday"}},
        {"time": {"known": "0001-01-01T00:00:00Z"}},
        {"time": 7},
        {"log": {}},
        {
            "log": {
                "after": BEGIN.to_json(),
                "last": BEGIN.to_json(),
                "head": BEGIN.to_json(),
                "bytes": -1,
                "sha256": "",
            }
        },
        {"deep": [[[[[[[[[]]]]]]]]]},
        {"long": "x" * limits.STATEMENT_BYTES},
    ],
    ids=["device", "format", "time", "year 1", "no time", "no log", "bytes", "deep", "long"],
)
def test_a_signed_statement_that_is_wrong(changed: dict[str, object]) -> None:
    with pytest.raises(TrustError):
        receipt.read(SignedDevice().logged(2).receipt(**changed))


@pytest.mark.parametrize(("after", "last", "head"), [(3, 2, 4), (1, 4, 3), (0, 4, 2)])
def test_places_that_do_not_follow_each_other(after: int, last: int, head: int) -> None:
    device = SignedDevice().logged(4)
    with pytest.raises(TrustError, match=r"places in the log|entries, where"):
        receipt.read(device.receipt(after=after, last=last, head=head))


def test_a_signature_for_something_else_is_none_for_a_receipt() -> None:
    device = SignedDevice().logged(2)
    _, line, *_ = device.receipt().split(b"\n")
    bare = device.private.sign(line).hex()
    data = receipt.encode(device.id, device.public, bare, line, b"".join(x + b"\n" for x in device.lines))
    with pytest.raises(TrustError, match="isn't signed"):
        receipt.read(data)


def test_a_stranger_s_signature_under_a_device_s_key() -> None:
    device = SignedDevice().logged(2)
    stranger = Ed25519PrivateKey.generate()
    with pytest.raises(TrustError, match="isn't signed by the key that it names"):
        receipt.read(device.receipt(private=stranger))


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(1, 2**53 - 1), max_size=20
    )
)
def test_acknowledgments_are_read_as_written(devices: dict[str, int]) -> None:
    links = {device: Link(number, f"{number:064x}") for device, number in devices.items()}
    assert acknowledgment.decode(acknowledgment.encode(links)) == links


@pytest.mark.parametrize(
    "data",
    [
        b'{"devices":{"x":{"digest":"","number":1}},"format":"anchorhold-acknowledgments/1"}',
        b'{"devices":[],"format":"anchorhold-acknowledgments/1"}',
        b'{"devices":{},"format":"anchorhold-acknowledgments/2"}',
        b'{"devices":{},"format":"anchorhold-acknowledgments/1","more":1}',
        b" " * (limits.ACKNOWLEDGMENT_BYTES + 1),
    ],
)
def test_acknowledgments_that_are_none(data: bytes) -> None:
    with pytest.raises(TrustError, match="can't be read"):
        acknowledgment.decode(data)


def test_a_place_is_whole_or_none() -> None:
    for wrong in (
        {"number": 0, "digest": "f" * 64},
        {"number": 1, "digest": chain.START},
        {"number": True},
        [],
    ):
        with pytest.raises(ValueError, match="place"):
            chain.link(wrong)
