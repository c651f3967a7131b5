"""The real install of a small release, and a power cut after each of its calls that loses what wasn't synced.

`python -m benchmarks.install_losses [--kind plain|delta|sealed]` needs strace. One install is traced with all it
writes; the calls are replayed on a disk in memory (unsynced.py), and what it may hold after each is put down as a
device: once with nothing but what was synced, once with all names and the synced data alone (a rename that reached the
disk before the data did). Of each such device that differs from those before: the old or the new release is active and
whole, the new one if the install had returned; the same install goes through; and the log holds.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
from pathlib import Path

from appliance.errors import AnchorholdError
from appliance.paths import Device
from appliance.update import audit, slots
from benchmarks.install_faults import KINDS, Harness
from benchmarks.unsynced import losses, put_down
from tests.stick_simulator import leftovers


def judge(harness: Harness, root: Path, where: str, done: bool) -> str:
    """Look at a device after a power cut, and install again; what it came to.

    Raises:
        AssertionError: neither release is whole, one that was installed is lost, or the next install fails.
    """
    simulator = harness.simulator
    device = simulator.device = Device(root)
    reached = simulator.active
    assert reached in ({"1.1.0"} if done else {"1.0.0", "1.1.0"}), f"{where}: {reached} is active"
    simulator.install()
    assert simulator.active == "1.1.0", f"{where}: not mended"
    previous = slots.previous(device)
    assert previous is not None and previous.version == "1.0.0", f"{where}: the old release is lost"
    assert leftovers(device) == [], f"{where}: {leftovers(device)} lie about"
    faults = [fault for fault in audit.verify(device) if "torn" not in fault]
    assert not faults, f"{where}: {faults}"
    return f"{'old' if reached == '1.0.0' else 'new'} release active"


def sweep(harness: Harness, folder: Path) -> dict[str, collections.Counter[str]]:
    """Trace an install, cut it everywhere; outcomes by what was lost.

    Args:
        harness: of install_faults.
        folder: where devices are put down; made.

    Raises:
        AssertionError: something was lost.
        ValueError: a call that isn't followed.
    """
    root = harness.fresh().root
    outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for where, left, done in losses(harness.install, root, harness.log):
        put_down(left, folder)
        outcomes[where.partition(",")[0]][judge(harness, folder, where, done=done)] += 1
    return outcomes


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=KINDS, default="plain")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anchorhold-losses-") as name:
        try:
            outcomes = sweep(Harness(Path(name), given.kind), Path(name) / "cut")
        except (AssertionError, ValueError, AnchorholdError) as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    for way, counts in outcomes.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        print(f"{way}: {sum(counts.values())} different devices: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
