"""The real install of a small release, killed and made to fail at each system call that changes something.

`python -m benchmarks.install_faults [--every N] [--kind plain|delta|sealed]` needs strace. The release is whole on the
stick, or a delta against the installed one, or encrypted to the device. One run counts the calls; then each is met once
with SIGKILL, ENOSPC and EIO, each on a fresh copy of the device. After each: the old release or the new one is active
and whole, the same install goes through, and what was copied before a kill is not copied again but for one chunk.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import AnchorholdError, ExitCode, as_product_error
from appliance.events import Event, ignore
from appliance.paths import Device
from appliance.trust import encryption_keys, limits
from appliance.update import audit, copying, publish, slots
from benchmarks.unsynced import traced
from tests.stick_simulator import Simulator, leftovers, make_release

CHANGING = (
    "write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,"
    "symlinkat,mkdir,mkdirat,ftruncate,truncate,fallocate,fchmod,chmod"
)
NO_SPACE = {"write", "pwrite64", "writev", "rename", "link", "linkat", "symlink", "mkdir", "fallocate"}
KINDS = ("plain", "delta", "sealed")
CHUNK = 64 * limits.KIB  # so that a model of kilobytes has several


@dataclass(frozen=True)
class Point:
    """The `number`th `call` of an install (from 1) met with `fault`: SIGKILL, ENOSPC or EIO."""

    call: str
    number: int
    fault: str

    @property
    def injection(self) -> str:
        """As strace spells it."""
        how = "signal=KILL" if self.fault == "SIGKILL" else f"error={self.fault}"
        return f"inject={self.call}:{how}:when={self.number}"


class Harness:
    """A device with 1.0.0 active and a stick with 1.1.0, and copies of that device to break.

    Args:
        folder: everything lies below it; empty.
        kind: how 1.1.0 lies on the stick, of `KINDS`.
    """

    def __init__(self, folder: Path, kind: str = "plain") -> None:
        limits.HASH_CHUNK_BYTES, limits.PART_BYTES = CHUNK, 4 * CHUNK
        self.simulator = Simulator(folder)
        self.old = os.urandom(6 * CHUNK)
        self.simulator.publish("1.0.0", self.old)
        self.simulator.install()
        self.kind = kind
        self._publish()
        self.template = self.simulator.device.root
        self.target = self.simulator.check().files["notes.gguf"]
        self.log = folder / "strace.log"

    def _publish(self) -> None:
        simulator = self.simulator
        if self.kind == "plain":
            simulator.publish("1.1.0", os.urandom(6 * CHUNK))
            return
        releases = simulator.folder / "releases"
        release = make_release(releases / "1.1.0", "1.1.0", self.old[:-999] + os.urandom(999))
        given: dict[str, Any] = {"bases": [releases / "1.0.0" / "notes.gguf"], "whole": False}
        if self.kind == "sealed":
            given = {"receivers": [encryption_keys.make(simulator.device, "device").receiver]}
        publish.write_stick(simulator.keys, simulator.all_signers, release, simulator.stick, ignore, **given)

    def fresh(self) -> Device:
        """A copy of the device, which the next install goes to."""
        broken = self.template.with_name("broken")
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(self.template, broken)
        self.simulator.device = Device(broken)
        return self.simulator.device

    def install(self) -> int:
        """Install, in a process of its own; its exit code."""
        try:
            self.simulator.install(emit=ignore)
        except Exception as error:
            return int(as_product_error(error).exit_code)
        return 0

    def run(self, *strace: str) -> tuple[int, collections.Counter[str]]:
        """Install under strace; the exit code (negative: the signal), and how often each call was made."""
        code = traced(self.install, self.log, "-e", f"trace={CHANGING}", *strace)
        return code, counted(self.log.read_text())

    def points(self) -> Iterator[Point]:
        """Every call of an undisturbed install, with each fault that it can meet."""
        self.fresh()
        code, calls = self.run()
        assert code == 0 and self.simulator.active == "1.1.0"
        for call, count in sorted(calls.items()):
            for number in range(1, count + 1):
                yield Point(call, number, "SIGKILL")
                yield Point(call, number, "EIO")
                if call in NO_SPACE:
                    yield Point(call, number, "ENOSPC")

    def meet(self, point: Point) -> str:
        """Break an install at `point`, look at what is left, mend it; what it came to, in words.

        Raises:
            AssertionError: neither release is whole, the next install doesn't go through, or a copy began anew.
        """
        device = self.fresh()
        code, calls = self.run("-e", point.injection)
        killed = code == -9
        assert killed == (point.fault == "SIGKILL"), f"{point}: ended with {code}"
        assert killed or code in {ExitCode.OK, ExitCode.STORAGE, ExitCode.UPDATE}, (
            f"{point}: exit code {code}"
        )
        reached = self.simulator.active
        assert reached in {"1.0.0", "1.1.0"}, f"{point}: {reached} is active"
        incoming = device.objects / ".incoming" / slots.object_path(device, self.target.sha256, "x.gguf").name
        # A delta is copied whole or not, since it is small; what it makes is made anew.
        resumable = self.kind != "delta"
        synced = calls["fdatasync"] - (point.call == "fdatasync")
        kept = copying.kept(incoming, self.target) if incoming.exists() else 0
        if killed and incoming.exists() and resumable:
            assert kept >= min(synced, len(self.target.chunks) - 1) * CHUNK, f"{point}: {kept} bytes kept"
        first: list[float] = []

        def emit(event: Event) -> None:
            if event.unit == "bytes" and event.stage == "install":
                first.append(event.done)

        self.simulator.install(emit=emit)
        assert self.simulator.active == "1.1.0", f"{point}: not mended"
        previous = slots.previous(device)
        assert previous is not None and previous.version == "1.0.0", f"{point}: the old release is lost"
        assert leftovers(device) == [], f"{point}: {leftovers(device)} lie about"
        assert not kept or not resumable or first[0] == kept, (
            f"{point}: {kept} bytes could be kept, {first[0]} were"
        )
        faults = [fault for fault in audit.verify(device) if "torn" not in fault]
        assert not faults, f"{point}: {faults}"
        resumed = ", copy resumed" if kept else ""
        ended = "killed" if killed else ("went through" if code == 0 else "refused with a reason")
        return f"{ended}, {'old' if reached == '1.0.0' else 'new'} release active{resumed}"


def counted(log: str) -> collections.Counter[str]:
    """How often each system call stands in what strace wrote."""
    return collections.Counter(re.findall(r"^\d+\s+(\w+)\(", log, re.MULTILINE))


def sweep(harness: Harness, chosen: Callable[[int], bool]) -> dict[str, collections.Counter[str]]:
    """Meet the chosen points; outcomes by fault."""
    outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for index, point in enumerate(list(harness.points())):
        if chosen(index):
            outcomes[point.fault][harness.meet(point)] += 1
    return outcomes


def main() -> int:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="Only every Nth point.")
    parser.add_argument("--kind", choices=KINDS, default="plain")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anchorhold-faults-") as name:
        try:
            outcomes = sweep(Harness(Path(name), given.kind), lambda index: index % given.every == 0)
        except (AssertionError, AnchorholdError) as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    for fault, counts in outcomes.items():
        print(f"{fault}: {sum(counts.values())} points")
        for outcome, count in counts.most_common():
            print(f"  {count:4}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
