"""Installing a large release beside `cp` and `sha256sum`: speed, disk, and how long a second look takes.

`python -m benchmarks.install_speed [--gib 1] [--rounds 3] [--folder DIR]` writes a release with a model of random bytes
onto a stick (a folder; everything lies in DIR, on its disk), then in turn installs it on a fresh device, with the trial
of the model left out, and copies the same parts by `cp` with `sha256sum` and `sync` of the copy. As root the page cache
is dropped before each. JSON lines: bytes a second (medians), the most disk that an install took against the model's
size, and the seconds that a look at the stick takes when its release is active already.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from appliance.events import ignore
from appliance.paths import Device
from appliance.update import publish
from benchmarks.training import ROOT
from tests.stick_simulator import Simulator, gguf_frame, make_release

PIECE = 1 << 24


def large_model(path: Path, size: int) -> None:
    """A GGUF file with `size` random bytes in its one tensor."""
    before, behind = gguf_frame(size)
    with path.open("wb") as stream:
        stream.write(before)
        for _ in range(size // PIECE):
            stream.write(os.urandom(PIECE))
        stream.write(behind)


def forget_pages() -> None:
    """Write everything out, and drop what was read, where that is allowed."""
    os.sync()
    if os.geteuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")


class Watch(threading.Thread):
    """The most bytes that a folder's files have taken on the disk, looked at every twentieth of a second."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self._done, self.most = folder, threading.Event(), 0

    def run(self) -> None:
        """Look until told to stop."""
        while not self._done.wait(0.05):
            taken = 0
            for path in self._folder.rglob("*"):
                try:
                    taken += path.stat().st_blocks * 512
                except OSError:
                    continue
            self.most = max(self.most, taken)

    def stop(self) -> int:
        """Stop, and say the most."""
        self._done.set()
        self.join()
        return self.most


def install(simulator: Simulator, folder: Path) -> tuple[float, int]:
    """Seconds of an install on a fresh device, and the most disk that it took."""
    shutil.rmtree(folder, ignore_errors=True)
    simulator.device = Device(folder)
    forget_pages()
    folder.mkdir()
    watch = Watch(folder)
    watch.start()
    begun = time.perf_counter()
    simulator.install()
    seconds = time.perf_counter() - begun
    assert simulator.active == "1.0.0"
    return seconds, watch.stop()


def copy(stick: Path, folder: Path) -> float:
    """Seconds of `cp`, `sha256sum` and `sync` over the stick's parts of the model."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = sorted(path for path in stick.glob("targets/*") if path.stat().st_size > PIECE)
    forget_pages()
    begun = time.perf_counter()
    subprocess.run(["cp", *map(str, parts), str(folder)], check=True)
    copies = [str(folder / part.name) for part in parts]
    subprocess.run(["sha256sum", *copies], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sync", *copies, str(folder)], check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench")
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    size = int(given.gib * (1 << 30)) // PIECE * PIECE
    with tempfile.TemporaryDirectory(dir=given.folder, prefix=".install-") as name:
        folder = Path(name)
        model = folder / "model.gguf"
        large_model(model, size)
        simulator = Simulator(folder)
        release = make_release(folder / "releases" / "1.0.0", "1.0.0", model)
        model.unlink()
        publish.write_stick(simulator.keys, simulator.all_signers, release, simulator.stick, ignore)
        shutil.rmtree(release)
        ours, peers, most = [], [], 0
        for _ in range(given.rounds):
            peers.append(copy(simulator.stick, folder / "copies"))
            shutil.rmtree(folder / "copies")
            seconds, taken = install(simulator, folder / "device")
            ours.append(seconds)
            most = max(most, taken)
        looks = []
        for _ in range(5):
            begun = time.perf_counter()
            simulator.install()
            looks.append(time.perf_counter() - begun)
    how = f"{size / 2**30:g} GiB, {given.rounds} rounds in turn, {'cold' if os.geteuid() == 0 else 'warm'} cache, "
    how += "the same disk; the trial of the model left out"
    speed, peer = size / median(ours) / 1e6, size / median(peers) / 1e6
    figures = [
        ("install, against cp, sha256sum and sync", speed, peer, speed / peer, "MB/s"),
        ("disk that an install takes, against the model", most / 1e6, size / 1e6, most / size, "MB"),
        ("a look at a stick that is installed already", median(looks), 0.2, 0.2 / median(looks), "s"),
    ]
    for title, mine, other, ratio, unit in figures:
        line = {"name": title, "ours": round(mine, 3), "peer": round(other, 3), "ratio": round(ratio, 2)}
        print(json.dumps(line | {"unit": unit, "how": how}), flush=True)


if __name__ == "__main__":
    main()
