"""What a stick holds already, and which of it a publisher signs again."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import Metadata, TargetFile, Targets

from appliance.errors import TrustError
from appliance.events import Emit, Event
from appliance.trust import client, ledger, limits
from appliance.trust.folder import read_inside
from appliance.update import sites
from appliance.update import stick as sticks

_SIGNED = re.compile(r"timestamp\.json|[0-9]+\.(snapshot|targets)\.json")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@contextlib.contextmanager
def _as_of(stick: Path, root: int, roots: Mapping[int, bytes]) -> Iterator[Path]:
    """The metadata of `stick` in a folder that has no root newer than `root`."""
    with tempfile.TemporaryDirectory(prefix="anchorhold-stick-") as name:
        metadata = Path(name) / "metadata"
        metadata.mkdir()
        for version in range(1, root + 1):
            (metadata / f"{version}.root.json").write_bytes(roots[version])
        for path in (stick / "metadata").iterdir():
            if _SIGNED.fullmatch(path.name):
                data = read_inside(stick, f"metadata/{path.name}", limits.TARGETS_BYTES)
                (metadata / path.name).write_bytes(data)
        yield Path(name)


def existing(stick: Path, roots: Mapping[int, bytes]) -> client.Verified | None:
    """What lies on the stick already, if it is ours; expiry doesn't matter, it will be signed anew.

    Args:
        stick: its folder.
        roots: all versions of the publisher's root. One that was the newest when the stick was written is as good,
            also where a stopped writer had put a newer one beside metadata that it didn't come to sign.

    Raises:
        TrustError: somebody else's, or damaged.
    """
    metadata = stick / "metadata"
    if not (metadata / "timestamp.json").exists():
        return None
    lost = {version for version in roots if not (metadata / f"{version}.root.json").is_file()}
    fault: TrustError | None = None
    # Those on the stick first, the newest before the others; then what the stick has lost.
    for version in sorted(roots, key=lambda version: (version in lost, -version)):
        try:
            with _as_of(stick, version, roots) as folder:
                return client.verify(folder, roots[version], ledger.Ledger(), _LONG_AGO, allow_expired=True)
        except TrustError as error:
            fault = fault or error
    assert fault is not None
    raise TrustError(
        f"{stick}: what is on this stick isn't ours or is damaged: {fault.message}",
        "take an empty folder or stick, or remove its metadata/ and targets/ first",
    ) from fault


def kept(
    stick: Path, before: client.Verified, newest: int, known: Container[str], emit: Emit
) -> dict[str, TargetFile]:
    """Entries that are signed again: all of them or, where keys have changed since, those of releases we know.

    A key that was stolen and then revoked may have signed the stick: its releases must not be signed anew.

    Args:
        stick: its folder.
        before: what it holds.
        newest: version of the publisher's root.
        known: digests of what this publisher has published.
        emit: told of what is left out.
    """
    if before.root == newest:
        return dict(before.files)
    files: dict[str, TargetFile] = {}
    for offer in sticks.find_offers(before.files):
        if offer.manifest.sha256 not in known:
            text = (
                f"{offer.name} {offer.version} leaves the stick: signed before the keys changed, "
                "and never published from here"
            )
            emit(Event("stick", "warning", text))
            continue
        _, _, found = sticks.read_release(stick, offer, before.files)
        # Not model.sig: whose it is can't be told any more. Writing that release again brings it back.
        # Nor deltas, which a stranger may have made to be parsed, where the file itself is there.
        paths = [offer.manifest.path]
        for target in found.values():
            for stored in (target.as_stored,) if target.whole else target.on_stick:
                paths += [each.path for each in stored.parts or (stored,)]
        files.update({path: before.files[path] for path in paths})
    return files


@dataclass
class Held:
    """What is signed again beside a release.

    Attributes:
        before: the stick's metadata, if it has some.
        known: who may sign for which site.
        site: that the release is for; None: for all.
        files: signed for all.
        theirs: signed for `site`.
        own: what each site has signed.
    """

    before: client.Verified | None
    known: Mapping[str, sites.Site]
    site: str | None
    files: dict[str, TargetFile] = field(default_factory=dict)
    theirs: dict[str, TargetFile] = field(default_factory=dict)
    own: dict[str, Metadata[Targets]] = field(default_factory=dict)

    @property
    def mine(self) -> dict[str, TargetFile]:
        """Those among which the release belongs."""
        return self.files if self.site is None else self.theirs


def hold(
    keys_folder: Path,
    stick: Path,
    history: Mapping[int, bytes],
    name: str,
    releases: Container[str],
    now: datetime,
    emit: Emit,
    *,
    prune: bool,
) -> Held:
    """What stays on a stick beside the release that comes to it.

    Args:
        keys_folder: of the publisher.
        stick: its folder.
        history: all versions of the publisher's root.
        name: of the release.
        releases: digests of what this publisher has published.
        now: what has expired by then leaves, where it isn't signed anew.
        emit: told of what leaves.
        prune: nothing stays.

    Raises:
        TrustError: the stick holds somebody else's metadata.
    """
    known = sites.read(keys_folder)
    held = Held(existing(stick, history), known, sites.of_release(name, known))
    if held.before is not None and not prune:
        held.files = kept(stick, held.before, max(history), releases, emit)
        held.own = sites.on_stick(stick, held.before, known, now, emit, resigned=held.site)
        if held.site in held.own:
            held.theirs = dict(held.own[held.site].signed.targets)
    return held
