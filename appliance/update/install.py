"""Installing: verify, copy, try, switch. Whatever fails before the switch leaves the old release active."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from appliance import storage
from appliance.errors import (
    AnchorholdError,
    StorageError,
    TrustError,
    UpdateError,
    from_os_error,
)
from appliance.events import Emit, Event, ignore
from appliance.paths import Device, registry_folder
from appliance.registry import manifest as manifests
from appliance.trust import clock, ledger, limits
from appliance.update import (
    acknowledging,
    audit,
    copying,
    fetching,
    looked,
    model_signature,
    needs,
    own_site,
    receipts,
    slots,
)
from appliance.update import stick as sticks
from appliance.update.trial import check_header, golden_check, template_difference

Probe = Callable[[Path, manifests.Manifest, Emit], None]
SPARE_BYTES = 16 * limits.MIB  # left free beside the release: metadata, ledger, log
_INCOMING = ".incoming"


@contextlib.contextmanager
def exclusive(device: Device) -> Iterator[None]:
    """Hold the device's installer lock.

    Raises:
        UpdateError: another installation or rollback runs.
    """
    device.root.mkdir(parents=True, exist_ok=True)
    fd = os.open(device.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UpdateError(
                "another installation is running on this device", "wait for it to end"
            ) from error
        yield
    finally:
        os.close(fd)


def _incoming(device: Device) -> Path:
    return device.objects / _INCOMING


def _check_space(device: Device, missing: int) -> None:
    free = shutil.disk_usage(device.objects).free
    if free < missing + SPARE_BYTES:
        raise StorageError(
            f"no space left: {device.objects} needs {missing + SPARE_BYTES} bytes, {free} are free",
            "free some space and run the same command again",
        )


def _fetch(report: sticks.StickReport, device: Device, emit: Emit) -> list[Path]:
    """Bring all files of the release into `objects/`; returns those that weren't there before."""
    incoming = _incoming(device)
    incoming.mkdir(parents=True, exist_ok=True)
    wanted = {name: slots.object_path(device, target.sha256, name) for name, target in report.files.items()}
    missing = [name for name, path in wanted.items() if not copying.is_whole(path, report.files[name])]
    for name in missing:
        fetching.check_possible(device, name, report.files[name])
    parts = {name: incoming / wanted[name].name for name in missing}
    for path in incoming.iterdir():
        if path not in parts.values():
            path.unlink()
    started = sum(copying.taken(part) for part in parts.values())
    total = sum(report.files[name].bytes for name in missing)
    _check_space(device, max(0, total - started) + len(report.manifest_bytes))
    copied = 0

    def count(size: int) -> None:
        nonlocal copied
        copied += size
        emit(Event("install", "progress", done=copied, total=total, unit="bytes"))

    for name in missing:
        fetching.fetch(report.stick, device, name, report.files[name], parts[name], count, emit)
    added = []
    for name in missing:
        parts[name].replace(wanted[name])
        added.append(wanted[name])
    manifest = slots.object_path(device, report.digest, manifests.FILE_NAME)
    if not manifest.exists():
        added.append(manifest)
    storage.write_bytes(manifest, report.manifest_bytes)
    storage.fsync_folder(device.objects)
    return added


def _clean(device: Device) -> None:
    """Remove what neither the active nor the previous release needs."""
    shutil.rmtree(_incoming(device), ignore_errors=True)
    if not device.objects.is_dir():
        return
    try:
        wanted = slots.objects_in_use(device, slots.state(device))
    except UpdateError:
        return  # with a damaged slots.json nothing can be told apart, so nothing goes
    for path in device.objects.iterdir():
        if path.is_file() and path.name not in wanted:
            path.unlink()


def _commit_trust(device: Device, report: sticks.StickReport) -> None:
    """Raise the floors, keep the metadata, and pin the root if this was the first stick."""
    verified = report.verified
    for name, data in verified.metadata.items():
        storage.keep_bytes(device.metadata / name, data)
    raised = ledger.raise_to(
        report.floors,
        root=verified.root,
        timestamp=verified.timestamp,
        snapshot=verified.snapshot,
        targets=verified.targets,
        counter=report.counter,
    )
    pin = storage.sha256_bytes(report.trusted_root)
    time = clock.to_text(verified.time)
    ledger.keep(device, replace(raised, pin=pin, release=report.digest, time=time))
    if not report.pinned:
        # After the ledger: a device with a root and no ledger would have to stop.
        storage.write_bytes(device.trusted_root, report.trusted_root)


def _show_template(device: Device, model: Path, emit: Emit) -> None:
    """Tell how the new release's chat template differs from the active one's, if it does."""
    with contextlib.suppress(AnchorholdError):  # a damaged active release is no reason against a new one
        current = slots.active(device)
        for line in template_difference(current.model, model) if current is not None else []:
            emit(Event("install", "message", f"chat template: {line}"))


def _install(report: sticks.StickReport, device: Device, emit: Emit, probe: Probe) -> slots.InstalledRelease:
    added: list[Path] = []
    try:
        emit(Event("install", "message", f"copying {report.name} {report.version}"))
        added = _fetch(report, device, emit)
        model = report.manifest.model
        path = slots.object_path(device, model.sha256, model.name)
        check_header(path, report.manifest)
        _show_template(device, path, emit)
        emit(Event("install", "message", "loading the model and asking the golden prompts"))
        probe(path, report.manifest, emit)
    except BaseException:
        for path in added:
            path.unlink(missing_ok=True)
        _clean(device)
        raise
    _commit_trust(device, report)
    slot = slots.Slot(
        "a",
        report.name,
        report.version,
        report.digest,
        report.counter,
        report.verified.signers,
        clock.machine_time().timestamp(),
    )
    return slots.switch(device, slot)


def _log_installed(device: Device, report: sticks.StickReport, despite_expiry: str) -> None:
    answered = {"despite_expiry": despite_expiry} if despite_expiry else {}
    audit.append(
        device,
        "installed",
        name=report.name,
        version=report.version,
        digest=report.digest,
        counter=report.counter,
        signers=list(report.verified.signers),
        pinned=not report.pinned,
        by=audit.operator(),
        **answered,
    )


def _already_active(device: Device, report: sticks.StickReport, read_again: bool) -> bool:
    try:
        current = slots.active(device)
    except UpdateError:
        return False
    if current is None or current.digest != report.digest:
        return False
    paths = {name: slots.object_path(device, target.sha256, name) for name, target in report.files.items()}
    return all(
        looked.is_whole(device, path, report.files[name], read_again=read_again)
        for name, path in paths.items()
    )


def _tell_registry(device: Device, emit: Emit) -> None:
    """Only a workshop's own machine has a registry; from others word comes back otherwise."""
    active = slots.state(device).active
    if active is not None and registry_folder().is_dir():
        from appliance.registry import sightings  # a device doesn't load what it doesn't have

        sightings.device_here(device, active.digest, next(iter(active.signers), ""), emit)


def install(
    stick: Path,
    device: Device,
    emit: Emit,
    *,
    trust: Path | None = None,
    version: str | None = None,
    despite_expiry: str = "",
    site: str | None = None,
    read_again: bool = False,
    probe: Probe = golden_check,
) -> slots.InstalledRelease:
    """Verify `stick` and make its release the active one; every refusal goes to the audit log too.

    Args:
        stick: its folder.
        device: where to install.
        emit: progress in bytes and prompts.
        trust: root of trust for a device that has none yet; it stays pinned.
        version: which release; by default the newest.
        despite_expiry: why a stick past its date is taken, as an operator answers for it; it goes to the audit log.
            Signatures and floors are checked as ever.
        site: the site that the device belongs to from now on; empty: none; None: as it was told before.
        read_again: read what is installed already, even if nothing has touched it since it was read.
        probe: tries the model before the switch.

    Raises:
        TrustError: the stick isn't to be believed.
        UpdateError: the model's header is refused, it failed its trial, or another installation runs.
        StorageError: no space or no permission.
    """
    believed: list[sticks.StickReport] = []
    try:
        with exclusive(device):
            return _believe_and_install(
                stick,
                device,
                emit,
                believed,
                trust=trust,
                version=version,
                despite_expiry=despite_expiry,
                site=site,
                read_again=read_again,
                probe=probe,
            )
    except (AnchorholdError, OSError) as error:
        shown = error if isinstance(error, AnchorholdError) else from_os_error(error)
        _log_refusal(device, "refused", shown, stick=str(stick), **_named(believed))
        if shown is error:
            raise
        raise shown from error
    finally:
        for report in believed:  # a stick that isn't believed is given nothing
            receipts.leave(report.stick, device, emit)


def _named(believed: list[sticks.StickReport]) -> dict[str, str]:
    return (
        {"name": believed[0].name, "version": believed[0].version, "digest": believed[0].digest}
        if believed
        else {}
    )


def _log_refusal(device: Device, event: str, error: AnchorholdError, **told: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not hide the reason
        audit.append(
            device,
            event,
            **told,
            kind=type(error).__name__,
            reason=error.message,
            exit_code=int(error.exit_code),
            by=audit.operator(),
        )


def _believe_and_install(
    stick: Path,
    device: Device,
    emit: Emit,
    believed: list[sticks.StickReport],
    *,
    trust: Path | None,
    version: str | None,
    despite_expiry: str,
    site: str | None,
    read_again: bool,
    probe: Probe,
) -> slots.InstalledRelease:
    """`install`, under the lock; a stick that is believed is put into `believed` as soon as it is."""
    emit(Event("install", "started", f"checking {stick}"))
    report = sticks.check(
        stick, device, trust=trust, version=version, despite_expiry=bool(despite_expiry), site=site
    )
    believed.append(report)
    if site is not None:
        _set_site(device, site)
    acknowledging.take(report, device, emit)
    if despite_expiry:
        expired = clock.to_text(report.verified.expires)
        emit(Event("install", "warning", f"the stick's date, {expired}, is overlooked: {despite_expiry}"))
        audit.append(
            device,
            "break glass",
            digest=report.digest,
            expires=expired,
            reason=despite_expiry,
            by=audit.operator(),
        )
    needs.check(report.manifest, device)
    model_signature.check_stick(report)
    for path in ledger.damaged_copies(device) if report.pinned else []:
        text = f"{path}: this copy of the ledger was damaged and is made anew"
        emit(Event("install", "warning", text))
    if _already_active(device, report, read_again):
        _commit_trust(device, report)
        active = slots.active(device)
        assert active is not None
        logged = [entry for entry in audit.entries(device) if entry["event"] in {"installed", "rolled back"}]
        if not logged or logged[-1]["data"].get("digest") != report.digest:
            _log_installed(device, report, despite_expiry)  # power went between switch and log
        _clean(device)  # as much as a killed install left
        _tell_registry(device, emit)
        emit(Event("install", "skipped", f"{report.name} {report.version} is active already"))
        return active
    release = _install(report, device, emit, probe)
    _clean(device)
    with contextlib.suppress(OSError):  # only costs the next look its time
        names = {name: target.sha256 for name, target in report.files.items()}
        looked.remember(device, [slots.object_path(device, digest, name) for name, digest in names.items()])
    _log_installed(device, report, despite_expiry)
    _tell_registry(device, emit)
    emit(Event("install", "finished", f"{release.name} {release.version} is active"))
    return release


def _set_site(device: Device, site: str) -> None:
    """Keep the site that an operator names, and log it; a damaged file of it is replaced."""
    try:
        if own_site.read(device) == site:
            return
    except TrustError:
        pass
    own_site.keep(device, site)
    audit.append(device, "site set", site=site, by=audit.operator())


def roll_back(device: Device, *, rejected: bool = False) -> slots.InstalledRelease:
    """Make the previous release active again, under the installer's lock, and log it.

    Args:
        rejected: also one that the device left by itself.

    Raises:
        UpdateError: there is none, it was rejected or is damaged, or an installation runs.
    """
    try:
        with exclusive(device):
            release = slots.rollback(device, rejected=rejected)
            audit.append(
                device,
                "rolled back",
                name=release.name,
                version=release.version,
                digest=release.digest,
                by=audit.operator(),
            )
            _tell_registry(device, ignore)
    except (AnchorholdError, OSError) as error:
        shown = error if isinstance(error, AnchorholdError) else from_os_error(error)
        _log_refusal(device, "rollback refused", shown)
        raise
    return release
