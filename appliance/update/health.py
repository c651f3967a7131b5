"""A newly installed release proves itself where it will serve, or the device goes back to the one before.

It has three starts. Each is counted on the disk before it is made, so that a release that brings the gateway or the
whole machine down uses them up too.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.errors import AnchorholdError, UpdateError, from_os_error
from appliance.events import ignore
from appliance.paths import Device
from appliance.serving.engine_client import Engine
from appliance.update import audit, slots, trial

LOG = logging.getLogger("anchorhold.health")
Start = Callable[[threading.Event], Engine]


def _log(device: Device, event: str, **data: Any) -> None:
    with contextlib.suppress(OSError):  # a full disk must not end the serving
        audit.append(device, event, **data)


def _attempt(device: Device, digest: str) -> int | None:
    try:
        return slots.take_attempt(device, digest)
    except OSError as error:  # the folder is another user's, or the disk is full: serve all the same
        LOG.warning("the start can't be counted (%s): the release isn't tried before it serves", error)
        return None


def _give_up(device: Device, release: slots.InstalledRelease | slots.Slot, reason: str) -> UpdateError:
    """Roll back, log why, and return the error that tells it."""
    name = f"{release.name} {release.version}"
    try:
        kept = slots.rollback(device, away_from=release.digest)
    except (UpdateError, OSError) as failed:
        error = failed if isinstance(failed, UpdateError) else from_os_error(failed)
        _log(device, "failed", name=release.name, version=release.version, reason=reason)
        return UpdateError(
            f"{name} doesn't serve ({reason}), and there is nothing to go back to: {error.message}",
            error.hint,
        )
    _log(
        device,
        "rolled back",
        name=kept.name,
        version=kept.version,
        digest=kept.digest,
        automatic=True,
        instead_of=release.digest,
        reason=reason,
    )
    LOG.error("%s doesn't serve (%s): rolled back to %s", name, reason, kept.version)
    return UpdateError(
        f"{name} was rolled back to {kept.version} by itself: {reason}",
        "the release before serves; tell whoever made the stick",
    )


def leave(device: Device, digest: str | None, reason: str) -> None:
    """Go back from a release whose engines end one after another, or that can't be read, although it was good once.

    Only once: what the device went back to by itself is not left by itself, or two bad releases would take turns.

    Args:
        digest: of the release that is meant; None: of whatever is active.

    Raises:
        UpdateError: there is nothing to go back to, or the last change was such a return.
    """
    slot = slots.state(device).active
    if slot is None or digest not in {None, slot.digest}:
        return
    changes = [each for each in audit.entries(device) if each["event"] in {"installed", "rolled back"}]
    if changes and changes[-1]["event"] == "rolled back" and changes[-1]["data"].get("automatic") is True:
        raise UpdateError(
            f"{slot.name} {slot.version} doesn't serve ({reason}), and neither did the release before",
            "install another stick; `anchorhold rollback --rejected` lets the other one prove itself once more",
        )
    told = _give_up(device, slot, reason)
    left = slots.state(device).active
    if left is not None and left.digest == slot.digest:
        raise told


def start(device: Device, digest: str, model: Path, ending: threading.Event, begin: Start) -> Engine:
    """Start the engine of the release `digest`; one that is new must load in time and answer its golden prompts.

    Args:
        model: its GGUF.
        ending: set when nothing should be started any more.
        begin: starts its engine, and gives up loading when the event that it is given is set.

    Raises:
        UpdateError: it has failed and the device went back to the release before, if it could.
        AnchorholdError: of a release that had proved itself: as `begin`.
    """
    reason = "it was started three times and never came to answer"
    while (left := _attempt(device, digest)) is not None:
        release = slots.active(device)
        if release is None or release.digest != digest:
            break
        # Then it is tried again at every start: there is nothing else to serve.
        only = slots.nothing_before(slots.state(device))
        if left == 0 and not only:
            raise _give_up(device, release, reason)
        deadline = trial.Deadline(trial.load_seconds(model), ending)
        try:
            engine = begin(deadline)
            try:
                trial.ask_golden(engine, release.manifest, ignore)
            except BaseException:
                engine.close()
                raise
        except AnchorholdError as error:
            if ending.is_set():
                with contextlib.suppress(OSError):
                    slots.give_attempt_back(device, digest)
                raise
            late = deadline.passed and "stopped while loading" in error.message
            reason = f"not loaded in {trial.load_seconds(model):.0f} s" if late else error.message
            LOG.warning("start of %s failed, %d left: %s", release.version, max(0, left - 1), reason)
            _log(
                device,
                "start failed",
                name=release.name,
                version=release.version,
                digest=digest,
                left=max(0, left - 1),
                reason=reason,
            )
            if isinstance(error, trial.WrongAnswerError) or (only and left <= 1):
                raise _give_up(device, release, reason) from error
            continue
        with contextlib.suppress(OSError):
            if slots.mark_good(device, digest):
                _log(device, "good", name=release.name, version=release.version, digest=digest)
        return engine
    return begin(ending)
