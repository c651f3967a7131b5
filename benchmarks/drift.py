"""Drift on open data: `python -m benchmarks.drift [--data FOLDER] [--set NAME ...] [--weeks N] [--part PART]`.

Replays real prompts at a thousand requests a day, and prints one JSON line a figure:
false alarms a week of streams in which nothing has changed, and requests until a planted shift is found.
The peer is what is commonly done: each signal's newest 200 requests against a sample of usual ones, by the
Kolmogorov-Smirnov test (or chi-square for shares), at every full window, at 5 %, and at 5 % shared among the signals.

Prompts are those of the set's dev rows, drawn at random or in bursts of like ones. Of answers only the length is
real (that of the reference); refusals (1 %), cut ones (1 %), unfit ones (2 %) and confidence (lognormal) are drawn.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.watch.baseline import Baseline, Spread, baseline_of, spread_of
from appliance.watch.evidence import Detector, Evidence, after_bursts, burst_shares, log_mean
from appliance.watch.monitor import BURSTS, EMBEDDED, LEARN, SKETCHED, THRESHOLD, TOGETHER, beyond, learn_of
from appliance.watch.signals import BY_NAME, SIDES, SIGNALS
from appliance.watch.sketch import sketch_of
from benchmarks.drift_streams import (
    Pool,
    Values,
    World,
    at_random,
    cloud_of,
    in_bursts,
    mixed,
    pool_of,
    stream,
    training_prompts,
    world_of,
)
from benchmarks.open_data import SHARED

WEEK = 7000
WINDOW = 200
BAR = 200  # requests
OTHER = {"coffee_order_json": "snips_json", "banking77": "clinc150", "snips_json": "multidogo_json"}


class SharedTests:
    """All of the product's tests over many streams at a time; one detector has the limits of all sides.

    Args:
        spreads: the baseline.
        first: values of one stream in their order, shape [requests], that bursts are learnt from.
    """

    def __init__(self, spreads: dict[str, Spread], first: dict[str, NDArray[np.float64]]) -> None:
        self._spreads = spreads
        bounds, self._parts, place = [], [], 0
        for name, side in SIDES:
            shares = burst_shares(beyond(spreads[name], side, first[name]))
            bounds.append(after_bursts(spreads[name].bounds(side), shares))
            self._parts.append(slice(place, place + len(shares)))
            place += len(shares)
        self._detector = Detector(np.concatenate(bounds))
        self._together = [(n, BY_NAME[name].share) for n, (name, _) in enumerate(SIDES) if name in TOGETHER]
        self._alone = [n for n, (name, _) in enumerate(SIDES) if name not in TOGETHER]

    def run(self, values: Values, begun: Evidence | None = None) -> tuple[list[list[int]], Evidence]:
        """When each stream alarms; an alarm begins its evidence anew, as a reset does.

        Args:
            values: the streams.
            begun: evidence to go on from.

        Returns:
            The numbers of the requests at which each stream alarmed, and the evidence after the last.
        """
        streams, requests = values["length"].shape
        found: list[list[int]] = [[] for _ in range(streams)]
        fresh = self._detector.begin(streams)
        state = begun or fresh
        sides = [beyond(self._spreads[name], side, values[name]) for name, side in SIDES]
        hits = np.concatenate(sides, axis=-1)
        for step in range(requests):
            state = self._detector.take(state, hits[:, step])
            totals = [log_mean(state.log_sum[:, part]) for part in self._parts]
            pooled = np.logaddexp.reduce([math.log(share) + totals[part] for part, share in self._together])
            over = np.max([pooled, *(totals[part] for part in self._alone)], axis=0) >= THRESHOLD
            if over.any():
                for each in np.flatnonzero(over):
                    found[each].append(step)
                for part, begin in zip(vars(state).values(), vars(fresh).values(), strict=True):
                    part[over] = begin[over]
        return found, state


# The peer


def _ks(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sample Kolmogorov-Smirnov, its asymptotic p (Smirnov 1948)."""
    merged = np.concatenate([first, second])
    apart = np.abs(
        np.searchsorted(np.sort(first), merged, side="right") / len(first)
        - np.searchsorted(np.sort(second), merged, side="right") / len(second)
    ).max()
    effective = len(first) * len(second) / (len(first) + len(second))
    root = math.sqrt(effective)
    scaled = (root + 0.12 + 0.11 / root) * apart
    if scaled < 0.2:
        return 1.0
    tail = math.fsum((-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))
    return min(1.0, 2 * tail)


def _chi_square(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two shares, chi-square with one degree of freedom, with Yates's correction."""
    hits, totals = np.array([first.sum(), second.sum()]), np.array([len(first), len(second)])
    pooled = hits.sum() / totals.sum()
    if pooled in (0.0, 1.0):
        return 1.0
    expected = np.stack([pooled * totals, (1 - pooled) * totals])
    apart = np.maximum(0.0, np.abs(np.stack([hits, totals - hits]) - expected) - 0.5)
    return math.erfc(math.sqrt(float((apart**2 / expected).sum()) / 2))


def windowed(reference: dict[str, NDArray[np.float64]], values: Values, level: float) -> list[list[int]]:
    """When fixed windows of 200 alarm at this level, in each stream: the last request of the window."""
    streams, requests = values["length"].shape
    found: list[list[int]] = [[] for _ in range(streams)]
    for each in range(streams):
        for end in range(WINDOW, requests + 1, WINDOW):
            for signal in SIGNALS:
                test = _chi_square if signal.rate else _ks
                if test(reference[signal.name], values[signal.name][each, end - WINDOW : end]) < level:
                    found[each].append(end - 1)
                    break
    return found


# Figures


def _print(name: str, ours: float, peer: float | None, unit: str, how: str, **further: Any) -> None:
    figure = {"name": name, "ours": ours, "peer": peer}
    if peer and ours:
        figure["ratio"] = round(ours / peer, 4)
    print(json.dumps({**figure, **further, "unit": unit, "how": how}), flush=True)


@dataclass
class Setting:
    """A baseline and what it was made of, for one trial.

    Attributes:
        tests: the product's.
        usual, other: the set and the one that is mixed in, under the baseline's sketch.
        longer: the set with every prompt half as long again.
        reference: the sample of usual values that the peer has, shape [requests].
    """

    tests: SharedTests
    usual: World
    other: World
    longer: World
    reference: dict[str, NDArray[np.float64]]


def settings_of(
    random: np.random.Generator, data: Path, name: str, brought: Baseline | None, bursts: bool
) -> Setting:
    """The baseline of a device: the release's inputs where it is given, and the rest learnt from first requests."""
    pool, other = pool_of(data, name), pool_of(data, OTHER[name])
    longer = Pool([f"{prompt} {prompt[: len(prompt) // 2]}" for prompt in pool.prompts], pool.answers)
    draw = in_bursts if bursts else at_random
    if brought is None:
        which = draw(random, pool, (1, SKETCHED))[0]
        sketch = sketch_of([pool.prompts[each] for each in which])
    else:
        # Token embeddings are learnt on the device all the same; the rest of the stream stays as it was without them.
        which = draw(copy.deepcopy(random), pool, (1, SKETCHED))[0]
        sketch = brought.sketch
    cloud = cloud_of([pool.prompts[each] for each in which])
    usual = world_of(pool, sketch, cloud)
    first = {key: value[0] for key, value in stream(random, usual, (1, LEARN), bursts=bursts).items()}
    spreads = {}
    # Drawn apart, as its learning takes longer; the rest of the stream stays as it was without it.
    later = stream(copy.deepcopy(random), usual, (1, EMBEDDED), bursts=bursts)
    first["embedding"] = later["embedding"][0]
    for key, values in list(first.items()):
        first[key] = values = values[: learn_of(key)]
        spreads[key] = spread_of(key, list(values))
    bursts_of = dict(first)
    if brought is not None:
        spreads.update(brought.spreads)
        bursts_of.update({key: first[key][:BURSTS] for key in brought.spreads})
    return Setting(
        SharedTests(spreads, bursts_of),
        usual,
        world_of(other, sketch, cloud),
        world_of(longer, sketch, cloud),
        first,
    )


def false_alarms(
    data: Path, name: str, brought: Baseline | None, weeks: int, bursts: bool, seed: int
) -> None:
    """Weeks in which nothing has changed, ten to a baseline."""
    random = np.random.default_rng(seed)
    together = min(10, weeks)
    ours, strict, loose, worst = 0, 0, 0, 0
    rounds = max(1, weeks // together)
    for _ in range(rounds):
        setting = settings_of(random, data, name, brought, bursts)
        values = stream(random, setting.usual, (together, WEEK), bursts=bursts)
        found = [len(each) for each in setting.tests.run(values)[0]]
        ours, worst = ours + sum(found), max(worst, *found)
        loose += sum(map(len, windowed(setting.reference, values, 0.05)))
        strict += sum(map(len, windowed(setting.reference, values, 0.05 / len(SIGNALS))))
    total = rounds * together
    kind = "the release's" if brought is not None else "learnt"
    how = f"{total} weeks, {rounds} baselines ({kind}), {'in bursts' if bursts else 'at random'}"
    _print(
        f"{name}: false alarms",
        round(ours / total, 3),
        round(loose / total, 2),
        "a week at 1,000 requests a day",
        how,
        peer_level_shared=round(strict / total, 2),
        worst_week=worst,
    )


Shift = Callable[[np.random.Generator, Setting, tuple[int, int]], Values]


def _mix(share: float) -> Shift:
    def made(random: np.random.Generator, setting: Setting, shape: tuple[int, int]) -> Values:
        return mixed(
            random, stream(random, setting.usual, shape), stream(random, setting.other, shape), share
        )

    return made


def _rates(**given: float) -> Shift:
    def made(random: np.random.Generator, setting: Setting, shape: tuple[int, int]) -> Values:
        return stream(random, setting.usual, shape, **given)  # type: ignore[arg-type]

    return made


def _longer(random: np.random.Generator, setting: Setting, shape: tuple[int, int]) -> Values:
    return stream(random, setting.longer, shape)


SHIFTS: dict[str, Shift] = {
    "another set in 25 %": _mix(0.25),
    "another set in 50 %": _mix(0.5),
    "another set in 100 %": _mix(1.0),
    "prompts half as long again": _longer,
    "unfit 2 % to 10 %": _rates(unfit=0.1),
    "unfit 2 % to 20 %": _rates(unfit=0.2),
    "refusals 1 % to 10 %": _rates(refusal=0.1),
    "refusals 1 % to 20 %": _rates(refusal=0.2),
    "cut 1 % to 10 %": _rates(cut=0.1),
    "log-probability times 2": _rates(sureness=math.log(2)),
}


def delays(data: Path, name: str, brought: Baseline | None, trials: int, seed: int) -> None:
    """Requests from a planted shift, a thousand after the baseline, to its alarm; ten trials to a baseline."""
    random = np.random.default_rng(seed)
    together, before, after = min(10, trials), 1000, 1000
    took: dict[str, list[float]] = {shift: [] for shift in SHIFTS}
    peers: dict[str, list[float]] = {shift: [] for shift in SHIFTS}
    rounds = max(1, trials // together)
    for _ in range(rounds):
        setting = settings_of(random, data, name, brought, False)
        _, quiet = setting.tests.run(stream(random, setting.usual, (together, before)))
        for shift, make in SHIFTS.items():
            values = make(random, setting, (together, after))
            found, _ = setting.tests.run(values, _copied(quiet))
            took[shift] += [each[0] + 1 if each else math.inf for each in found]
            looked = windowed(setting.reference, values, 0.05 / len(SIGNALS))
            peers[shift] += [each[0] + 1 if each else math.inf for each in looked]
    kind = "the release's" if brought is not None else "learnt"
    for shift in SHIFTS:
        middle, most = np.percentile(took[shift], [50, 90], method="higher")
        peer = float(np.percentile(peers[shift], 50, method="higher"))
        within = sum(each <= BAR for each in took[shift]) / len(took[shift])
        _print(
            f"{name}: {shift}",
            _finite(middle),
            _finite(peer),
            "requests to the alarm (median)",
            f"{len(took[shift])} trials, {rounds} baselines ({kind}); the peer's level shared",
            ninetieth_percentile=_finite(most),
            within_200=round(within, 3),
        )


def _finite(value: float) -> float:
    return -1 if math.isinf(value) else float(value)


def _copied(evidence: Evidence) -> Evidence:
    return Evidence(**{name: array.copy() for name, array in vars(evidence).items()})


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--set", nargs="*", default=sorted(OTHER), choices=sorted(OTHER))
    parser.add_argument(
        "--weeks", type=int, default=100, help="of each kind of stream; also trials of each shift"
    )
    parser.add_argument("--part", choices=["false-alarms", "delays"], help="default: both")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    for name in options.set:
        if not (options.data / f"{name}.dev.jsonl").is_file():
            raise SystemExit(f"{options.data}: no {name}.dev.jsonl there; give --data FOLDER")
        brought = baseline_of(training_prompts(options.data, name))
        for baseline in (brought, None):
            if options.part != "delays":
                for bursts in (False, True):
                    false_alarms(options.data, name, baseline, options.weeks, bursts, options.seed)
            if options.part != "false-alarms":
                delays(options.data, name, baseline, options.weeks, options.seed)


if __name__ == "__main__":
    main()
