"""What screens need of the product, as a protocol, and the real thing on top of gateway and device.

Everything here may block; screens call it from threads.
"""

from __future__ import annotations

import os
import socket as socketlib
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from appliance.errors import AnchorholdError, ServingError, UsageError
from appliance.events import Emit
from appliance.paths import Device
from appliance.serving.gateway_client import GatewayClient
from appliance.update import slots

MOUNTS = (Path("/media"), Path("/mnt"), Path("/run/media"))
MOUNT_DEPTH = 3  # /run/media/USER/LABEL, and a folder below it
MAX_FOLDERS = 2000  # looked at below the mounts
CARD_WIDTH = 74  # columns: what the page of an 80-column terminal has room for
LOOK_TIMEOUT = 3.0  # seconds that looking at the gateway may take


@dataclass(frozen=True)
class Overview:
    """One look at the device.

    Attributes:
        serving: True if the gateway answers and has a live engine.
        health: what GET /health said; {} if nobody answered.
        active, previous: the slots.
        pinned: True if the device has a root of trust.
        problem, hint: why nothing is served, or what is wrong with the slots.
    """

    serving: bool = False
    health: Mapping[str, Any] = field(default_factory=dict)
    active: slots.Slot | None = None
    previous: slots.Slot | None = None
    pinned: bool = False
    problem: str = ""
    hint: str = ""

    @property
    def model(self) -> str:
        """The served release's name and version; "" if nothing is served."""
        release = self.health.get("release") or {}
        return str(release.get("identity") or release.get("name") or "") if self.serving else ""

    @property
    def context(self) -> int:
        """Tokens of one request, prompt and answer together; 0 if unknown."""
        return int((self.health.get("model") or {}).get("context") or 0)


@dataclass(frozen=True)
class StickFacts:
    """A stick that passed the check.

    Attributes:
        path: the stick's folder.
        title: name and version of its newest release.
        rows: what else is known, as (label, text).
    """

    path: Path
    title: str
    rows: tuple[tuple[str, str], ...] = ()


class Backend(Protocol):
    """What screens need of the product."""

    def ask(self, messages: Sequence[Mapping[str, str]]) -> Generator[str, None, dict[str, Any]]:
        """The answer piece by piece; returns usage and timings. Closing it cancels."""
        ...

    def judge(
        self, messages: Sequence[Mapping[str, str]], answer: str, release: str, better: str | None
    ) -> bool:
        """Keep what the operator says of an answer: None: it is good; a text: how it should be, "" unsaid.

        False where no more is kept.
        """
        ...

    def look(self) -> Overview:
        """How the device does now; never raises."""
        ...

    def card(self) -> list[str]:
        """The active release's report card, in lines for 80 columns."""
        ...

    def sticks(self) -> list[Path]:
        """Mounted folders that hold a stick's files."""
        ...

    def check(self, stick: Path, trust: Path | None) -> StickFacts:
        """Whether `stick` may be installed."""
        ...

    def install(self, stick: Path, trust: Path | None, emit: Emit) -> str:
        """Install; returns name and version."""
        ...

    def rollback(self) -> str:
        """Make the previous release active; returns name and version."""
        ...


def is_stick(folder: Path) -> bool:
    """True if `folder` has what a stick has."""
    return (folder / "metadata").is_dir() and (folder / "targets").is_dir()


def find_sticks(mounts: Iterable[Path], depth: int = MOUNT_DEPTH, most: int = MAX_FOLDERS) -> list[Path]:
    """Sticks in or below `mounts`; links aren't followed, unreadable folders are passed over."""
    found: list[Path] = []
    waiting = [(mount, 0) for mount in mounts]
    looked = 0
    while waiting and looked < most:
        folder, level = waiting.pop(0)
        looked += 1
        try:
            if is_stick(folder):
                found.append(folder)
            elif level < depth:
                with os.scandir(folder) as entries:
                    below = sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
                waiting.extend((path, level + 1) for path in below if not path.name.startswith("."))
        except OSError:
            continue
    return found


class DeviceBackend:
    """The real thing.

    Args:
        device: the device's folder.
        socket: the gateway's, if not the device's own.
    """

    def __init__(self, device: Device, socket: Path | None = None) -> None:
        self.device = device
        self.socket = socket or device.gateway_socket
        self._installing = threading.Lock()

    def ask(self, messages: Sequence[Mapping[str, str]]) -> Generator[str, None, dict[str, Any]]:
        """See `Backend`."""
        with GatewayClient(self.socket) as client:
            return (yield from client.chat(messages))

    def look(self) -> Overview:
        """See `Backend`."""
        problem, hint = "", ""
        health: dict[str, Any] = {}
        state = slots.State()
        try:
            state = slots.state(self.device)
        except OSError as error:
            problem, hint = f"the slots can't be read: {error}", "run as a member of the device's group"
        except AnchorholdError as error:
            problem, hint = error.message, error.hint
        try:
            self._reach()
            with GatewayClient(self.socket, timeout=LOOK_TIMEOUT) as client:
                health = client.health()
        except AnchorholdError as error:
            problem, hint = problem or error.message, hint or error.hint
        serving = health.get("status") == "ok"
        if health and not serving:
            problem = problem or str(health.get("problem") or "the engine is starting again")
            hint = hint or "it is tried again by itself; the log tells more"
        return Overview(
            serving, health, state.active, state.previous, self.device.trusted_root.is_file(), problem, hint
        )

    def _reach(self) -> None:
        """Try the socket itself first: it tells a missing gateway from a missing permission.

        Raises:
            ServingError: nobody listens, or not for us.
        """
        try:
            with socketlib.socket(socketlib.AF_UNIX, socketlib.SOCK_STREAM) as probe:
                probe.settimeout(LOOK_TIMEOUT)
                probe.connect(str(self.socket))
        except PermissionError as error:
            raise ServingError(
                f"no permission to talk to the gateway at {self.socket}",
                "join the group of its socket (`usermod -aG`), then log in again",
            ) from error
        except OSError as error:
            raise ServingError(
                f"no gateway answers at {self.socket}", "is it running? `anchorhold serve` starts it"
            ) from error

    def card(self) -> list[str]:
        """See `Backend`.

        Raises:
            UpdateError: nothing is installed, it brings no card, or the card isn't what was signed.
        """
        from appliance.update import installed_card

        return installed_card.read(self.device).lines(CARD_WIDTH)

    def sticks(self) -> list[Path]:
        """See `Backend`."""
        return find_sticks(MOUNTS)

    def check(self, stick: Path, trust: Path | None) -> StickFacts:
        """See `Backend`.

        Raises:
            UsageError: no stick there.
            TrustError: it isn't what it should be.
        """
        from tui import update_calls

        self._must_be_stick(stick)
        return update_calls.check(stick, self.device, trust)

    def install(self, stick: Path, trust: Path | None, emit: Emit) -> str:
        """See `Backend`.

        Raises:
            TrustError, UpdateError, StorageError: as `anchorhold install`.
        """
        from tui import update_calls

        self._must_be_stick(stick)
        with self._installing:
            release = update_calls.install(stick, self.device, trust, emit)
        return f"{release.name} {release.version}"

    def judge(
        self, messages: Sequence[Mapping[str, str]], answer: str, release: str, better: str | None
    ) -> bool:
        """See `Backend`."""
        from appliance.trust import clock
        from appliance.watch import corrections

        return corrections.add(
            self.device.corrections,
            corrections.Correction(
                time=clock.to_text(clock.machine_time()),
                release=release,
                verdict="good" if better is None else "wrong",
                messages=tuple(dict(turn) for turn in messages),
                answer=answer,
                better=better or "",
            ),
        )

    def rollback(self) -> str:
        """See `Backend`.

        Raises:
            UpdateError: there is nothing to go back to, or it is damaged.
        """
        from tui import update_calls

        with self._installing:
            release = update_calls.rollback(self.device)
        return f"{release.name} {release.version}"

    @staticmethod
    def _must_be_stick(stick: Path) -> None:
        if not is_stick(stick):
            raise UsageError(
                f"{stick}: no stick (it has no metadata/ and targets/)",
                "mount the stick and give the folder that holds both",
            )
