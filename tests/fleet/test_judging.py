"""What the workshop believes: a chain that goes on. Edits, cuts, replays, forks, gaps and other keys are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import storage
from appliance.errors import TrustError
from appliance.fleet.devices import Devices
from appliance.fleet.taking import Taken, take
from appliance.trust import chain, receipt
from appliance.trust.chain import BEGIN, Link
from tests.fleet.signed_device import LATER, SignedDevice


@pytest.fixture
def store(tmp_path: Path) -> Devices:
    return Devices(tmp_path / "registry")


@pytest.fixture
def device(store: Devices) -> SignedDevice:
    """A device whose first five entries are known."""
    device = SignedDevice().logged(5)
    taken(store, device.receipt(), enrol=True)
    return device


def taken(store: Devices, data: bytes, *, enrol: bool = False) -> Taken:
    with store.writing():
        return take(data, store, believe=receipt.signer(data)[1] if enrol else "")[1]


def refused(store: Devices, device: SignedDevice, data: bytes, match: str) -> None:
    """See a receipt refused: nothing of it is kept but the reason."""
    known = store.read(device.id)
    assert known is not None
    before = store.entries(known)
    with pytest.raises(TrustError, match=match) as caught:
        taken(store, data)
    assert store.read(device.id) == known and store.entries(known) == before
    assert store.refusals(device.id)[-1]["reason"] == caught.value.message
    assert caught.value.hint


def test_it_goes_on(store: Devices, device: SignedDevice) -> None:
    device.logged(3)
    assert taken(store, device.receipt()).added == 3  # not acknowledged yet: all again
    device.logged(2)
    assert taken(store, device.receipt(after=8)).added == 2
    known = store.read(device.id)
    assert known is not None and (known.head, known.fresh, known.reach) == (
        device.link(10),
        9,
        device.link(10),
    )
    assert [entry.line for entry in store.entries(known)] == device.lines


def test_what_does_not_fit_comes_later(store: Devices, device: SignedDevice) -> None:
    device.logged(5)
    first = taken(store, device.receipt(last=8))
    assert (first.added, first.head, first.left) == (3, 8, 2)
    second = taken(store, device.receipt(after=8))
    assert (second.added, second.head, second.left) == (2, 10, 0)


def test_the_same_again_is_known(store: Devices, device: SignedDevice) -> None:
    assert taken(store, device.receipt()).outcome == "known already"
    assert taken(store, device.receipt(time=LATER)).outcome == "taken"  # a newer statement, no new entry
    assert taken(store, device.receipt()).outcome == "known already"  # the older one changes nothing
    known = store.read(device.id)
    assert known is not None and known.seen == LATER


def test_a_replay(store: Devices, device: SignedDevice) -> None:
    old = device.receipt()
    device.logged(2)
    taken(store, device.receipt(time=LATER))
    refused(
        store,
        device,
        old,
        "an older receipt than is known, or a replay: its log ends at entry 5, and 7 are known",
    )


def test_a_log_that_was_cut_on_the_device(store: Devices, device: SignedDevice) -> None:
    refused(
        store, device, device.receipt(last=3, head=3, time=LATER), "the log was cut: its log ends at entry 3"
    )


def test_a_log_that_was_cut_behind_what_it_had_promised(store: Devices, device: SignedDevice) -> None:
    device.logged(5)
    taken(store, device.receipt(last=7))
    refused(store, device, device.receipt(last=8, head=8, time=LATER), "the log was cut")


def test_a_log_that_ends_otherwise_than_it_had_promised(store: Devices, device: SignedDevice) -> None:
    device.logged(5)
    taken(store, device.receipt(last=7))  # it said where entry 10 is
    device.lines = device.lines[:9]
    device.logged(3, "rewritten")
    refused(store, device, device.receipt(), "a fork: it tells of another entry 10")


def test_a_statement_that_names_another_end(store: Devices, device: SignedDevice) -> None:
    device.logged(1)
    body = b"".join(line + b"\n" for line in device.lines)
    log = {"after": BEGIN.to_json(), "bytes": len(body), "sha256": storage.sha256_bytes(body)}
    end = Link(6, "f" * 64).to_json()
    data = device.receipt(log={**log, "last": end, "head": end})
    refused(store, device, data, "entries don't end where its statement says")


def test_an_edit_on_the_device(store: Devices, device: SignedDevice) -> None:
    device.logged(3)
    device.lines[6] = device.lines[6].replace(b'"number":7}', b'"number":9}')
    refused(
        store, device, device.receipt(), "its log was changed: entry 7: edited: entry 8 names another digest"
    )


def test_an_entry_that_was_cut_out(store: Devices, device: SignedDevice) -> None:
    device.logged(4)
    del device.lines[6]
    refused(store, device, device.receipt(after=5), r"entry 7: it is missing \(cut out\)")


def test_a_fork(store: Devices, device: SignedDevice) -> None:
    device.lines = device.lines[:3]
    device.logged(4, "rewritten")
    refused(store, device, device.receipt(), "a fork: it tells of another entry 4 than it did before")
    refused(store, device, device.receipt(last=5, head=5), "a fork")
    refused(store, device, device.receipt(after=5, last=6), "a fork: it tells of another entry 5")
    refused(store, device, device.receipt(after=4, last=4, head=4), "a fork")
    evidence = sorted(path.name[:21] for path in (store.folder / device.id / "refused").iterdir())
    assert evidence == [f"fork-{number:016}" for number in (4, 5)]  # it can't deny the two histories


def test_a_gap(store: Devices, device: SignedDevice) -> None:
    device.logged(5)
    refused(store, device, device.receipt(after=7), "a gap: entries 6 to 7 never came here")


def test_another_key(store: Devices, device: SignedDevice) -> None:
    other = SignedDevice(device.id)
    other.lines = device.lines
    other.logged(1)
    refused(store, device, other.receipt(), "signed by another key")
    with pytest.raises(TrustError, match="signed by another key"):
        taken(store, other.receipt(), enrol=True)  # first use was before
    assert not (store.folder / device.id / "refused").exists()  # anybody may have made it
    with store.writing():
        store.enrol(device.id, other.public, "", "listed", replace_key=True)
    assert taken(store, other.receipt()).added == 6
    former = store.folder / device.id / "former-1"
    assert len((former / "audit.jsonl").read_bytes().splitlines()) == 5


def test_first_use_wants_to_be_asked_for(store: Devices) -> None:
    device = SignedDevice().logged(2)
    with pytest.raises(TrustError, match="isn't enrolled here") as caught:
        taken(store, device.receipt())
    assert "--enrol" in caught.value.hint and store.ids() == []
    with store.writing():
        store.enrol(device.id, device.public, "station-7", "listed")
    assert taken(store, device.receipt()).title == "station-7"


def test_first_use_of_a_log_that_was_acknowledged_elsewhere(store: Devices) -> None:
    device = SignedDevice().logged(6)
    assert taken(store, device.receipt(after=4), enrol=True).added == 2
    known = store.read(device.id)
    assert known is not None and (known.begin, known.head) == (device.link(4), device.link(6))
    device.logged(1)
    assert taken(store, device.receipt(after=6)).added == 1
    assert [entry.number for entry in store.entries(store.find(device.id))] == [5, 6, 7]


def test_a_listed_device_begins_at_its_first_entry(store: Devices) -> None:
    device = SignedDevice().logged(6)
    with store.writing():
        store.enrol(device.id, device.public, "", "listed")
    with pytest.raises(TrustError, match="a gap"):
        taken(store, device.receipt(after=4))


def test_another_device_s_entries(store: Devices, device: SignedDevice) -> None:
    other = SignedDevice("f" * 32).logged(7)
    device.lines = other.lines
    refused(store, device, device.receipt(), "written by another device")


def test_damage_in_the_registry_is_told_as_such(store: Devices, device: SignedDevice) -> None:
    path = store.folder / device.id / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"number":3}', b'"number":8}'))
    with pytest.raises(TrustError, match="damaged here: entry 3"):
        taken(store, device.logged(1).receipt())
    assert store.refusals(device.id) == []
    assert "damaged here" in store.problems()[0]
    assert store.links() == {}  # acknowledged, the device would drop the only whole copy


def test_what_a_kill_left_behind_the_known_end_is_overwritten(store: Devices, device: SignedDevice) -> None:
    path = store.folder / device.id / "audit.jsonl"
    device.logged(3)
    with path.open("ab") as stream:
        stream.write(device.lines[5] + b"\n" + device.lines[6][:50])
    assert taken(store, device.receipt(after=5)).added == 3
    assert path.read_bytes().splitlines() == device.lines


def twin(device: SignedDevice, known: int) -> SignedDevice:
    """Another history of the same key, the same as far as `known`."""
    found = SignedDevice(device.id)
    found.private, found.public = device.private, device.public
    found.lines = device.lines[:known]
    return found


def evidence(store: Devices, device: SignedDevice) -> list[bytes]:
    return [path.read_bytes() for path in sorted((store.folder / device.id).glob("refused/*"))]


def bring(store: Devices, data: bytes) -> None:
    with pytest.raises(TrustError):
        taken(store, data)


def test_refusals_and_evidence_are_bounded(store: Devices, device: SignedDevice) -> None:
    """Also for whoever has the key."""
    first = twin(device, 0).logged(5, "rewritten").receipt()
    bring(store, first)
    for number in range(120):
        bring(store, twin(device, number % 5).logged(6, "rewritten", number=number).receipt())
    assert len(store.refusals(device.id)) == 100
    assert len(evidence(store, device)) == 4 and first in evidence(store, device)


def test_replays_are_no_evidence_and_take_no_room_from_it(store: Devices, device: SignedDevice) -> None:
    """Genuine older receipts, brought again and again by somebody who has no key."""
    device.logged(20)
    taken(store, device.receipt(time=LATER))
    for last in range(6, 24):
        for _ in range(2):
            bring(store, device.receipt(last=last, head=last))
    assert evidence(store, device) == []
    fork = twin(device, 9).logged(20, "rewritten").receipt()
    bring(store, fork)
    assert evidence(store, device) == [fork]


def test_cuts_of_a_wrong_clock_take_no_room_from_a_fork(store: Devices, device: SignedDevice) -> None:
    """Its clock ran ahead when it wrote these, so they look as if they were signed later, of a shorter log."""
    device.logged(20)
    taken(store, device.receipt())
    for last in range(6, 24):
        bring(store, device.receipt(last=last, head=last, time=LATER))
    fork = twin(device, 9).logged(20, "rewritten").receipt()
    bring(store, fork)
    assert fork in evidence(store, device)


def test_nobody_without_the_key_pushes_out_a_reason(store: Devices, device: SignedDevice) -> None:
    old = [device.receipt()]
    for _ in range(110):
        old.append(device.logged(1).receipt())
    taken(store, device.receipt(time=LATER))
    bring(store, twin(device, 3).logged(200, "rewritten").receipt())
    bring(store, device.receipt(time=LATER, format="another"))  # signed, and not to be understood
    genuine, stranger = device.receipt(), SignedDevice(device.id)
    for number in range(110):
        bring(store, genuine[: -1 - number])  # cut on its way
        bring(store, stranger.logged(1).receipt())  # of another key
        bring(store, old[number])  # an older one again
    kinds = [each["kind"] for each in store.refusals(device.id)]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "fork": 1,
        "malformed": 1,
        "unsigned": 100,
        "replay": 100,
    }
    assert len(evidence(store, device)) == 1


def test_what_was_proven_stays_said_though_it_is_a_replay_by_now(
    store: Devices, device: SignedDevice
) -> None:
    cut = device.receipt(last=3, head=3, time="2026-11-20T12:00:00Z")
    bring(store, cut)
    taken(store, device.logged(1).receipt(time=LATER))
    bring(store, cut)
    assert [each["kind"] for each in store.refusals(device.id)] == ["cut", "replay"]
    assert evidence(store, device) == [cut]


def test_a_fork_that_lies_behind_a_gap(store: Devices, device: SignedDevice) -> None:
    device.logged(5)
    taken(store, device.receipt(last=7))  # it said where entry 10 is
    fork = twin(device, 8).logged(4, "rewritten").receipt(after=8)
    refused(store, device, fork, "a fork: it tells of another entry 10")
    assert evidence(store, device) == [fork]


def test_what_a_former_key_did_is_put_aside_with_it(store: Devices, device: SignedDevice) -> None:
    for number in range(5):
        bring(store, twin(device, number).logged(6, "rewritten").receipt())
    other = SignedDevice(device.id).logged(5)
    with store.writing():
        store.enrol(device.id, other.public, "", "listed", replace_key=True)
    assert store.refusals(device.id) == []
    taken(store, other.receipt())
    fork = twin(other, 2).logged(6, "rewritten").receipt()
    bring(store, fork)
    assert evidence(store, device) == [fork]
    assert len(list((store.folder / device.id / "former-1").glob("refused/*"))) == 4


def test_the_signed_lines_that_are_kept_prove_the_entries(store: Devices, device: SignedDevice) -> None:
    import json

    from appliance.trust import device_identity

    (line,) = (store.folder / device.id / "statements.jsonl").read_bytes().splitlines()
    head, statement = json.loads(line)["signed"].encode().splitlines()
    signature = json.loads(head)["signature"]
    assert device_identity.holds(device.public, signature, receipt.signed_bytes(statement))
    last = chain.link(json.loads(statement)["log"]["last"])
    assert store.entries(store.find(device.id))[-1].link == last
