"""Baseline, tests and alarms of one release at work. Pure: time comes with each request, nothing is read or written.

Of each signal the usual spread is known from the release or learnt from the first requests; from then on each side of
it is tested (`evidence`). All sides share one budget: together they alarm falsely at most once in `BUDGET` requests
in the mean, where requests come as independently as those of the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.watch.baseline import Baseline, Spread, spread_from_json, spread_of
from appliance.watch.embedding import Cloud
from appliance.watch.evidence import STATES, Detector, Evidence, after_bursts, burst_shares
from appliance.watch.signals import BY_NAME, SIDES, SIGNALS, Observed, Side, values_of
from appliance.watch.sketch import Sketch

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "anchorhold-drift/2"
BUDGET = 7000
"""Requests to a false alarm, at least, in the mean: a week at a thousand a day."""
THRESHOLD = math.log(BUDGET * sum(BY_NAME[name].share for name, _ in SIDES))
"""Natural logarithm of the evidence at which a side alarms, or those that are tested together."""
TOGETHER = tuple(each.name for each in SIGNALS if each.share < 1)
"""Signals that are tested together: the mean of their evidence, by their shares, is one e-detector (evidence.py)."""
LEARN = 1000
"""Values that a signal's spread is learnt from where the release doesn't bring it."""
BURSTS = 500
"""Values that how like follows like is learnt from where the release brings the spread itself."""
SKETCHED = 500
"""Prompts that make the sketch where the release brings none; the next `LEARN - SKETCHED` are judged by it."""
EMBEDDED = 1500
"""Values that the spread of `embedding` is learnt from; with 500 its own tail was known too badly (decision 0022)."""
BLOCK = 50
"""Requests of one point of a signal's history."""
BLOCKS = 48
"""Points that are kept."""


@dataclass(frozen=True)
class Alarm:
    """A signal that has left its baseline; once an episode, which lasts until an operator resets it.

    Attributes:
        signal, side: what, and to which side.
        value: of the signal, when it was raised: its number of values so far.
        time: when it was raised, seconds since the epoch.
        since: when the change most likely began.
        seen: requests since then.
        share, usual: of requests beyond `limit`, since then and in the baseline.
        limit: a value of the signal.
        logged: whether the audit log has it.
    """

    signal: str
    side: Side
    value: int
    time: float
    since: float
    seen: int
    share: float
    usual: float
    limit: float
    logged: bool = False


@dataclass
class Block:
    """One point of a history: when it began, and count and sum of its values."""

    began: float
    count: int = 0
    total: float = 0.0


@dataclass
class Watched:
    """One signal at work.

    Attributes:
        name: its own.
        spread: what is usual; None while it is learnt.
        learning: values so far while it, or how far like follows like, is learnt.
        bursts: by side, of `evidence.burst_shares`; none while that is learnt.
        count: values so far, those that were learnt from among them.
        evidence: by side, once the spread is known.
        history: the newest blocks.
    """

    name: str
    spread: Spread | None = None
    learning: list[float] = field(default_factory=list)
    count: int = 0
    bursts: dict[Side, NDArray[np.float64]] = field(default_factory=dict)
    evidence: dict[Side, Evidence] = field(default_factory=dict)
    history: list[Block] = field(default_factory=list)
    _detectors: dict[Side, Detector] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._prepare()

    def _prepare(self) -> None:
        if self.spread is None:
            return
        for side, shares in self.bursts.items():
            self._detectors[side] = Detector(after_bursts(self.spread.bounds(side), shares))
            self.evidence.setdefault(side, self._detectors[side].begin())

    def take(self, value: float, now: float, learn: int) -> None:
        """Take one value: learn from it, or weigh it."""
        self.count += 1
        if not self.history or self.history[-1].count >= BLOCK:
            self.history = [*self.history[1 - BLOCKS :], Block(now)]
        self.history[-1].count += 1
        self.history[-1].total += value
        if not self.bursts:
            self.learning.append(value)
            if len(self.learning) >= (learn if self.spread is None else BURSTS):
                self._learnt()
            return
        for side, detector in self._detectors.items():
            self.evidence[side] = detector.take(self.evidence[side], self._beyond(side, value)[0])

    def _beyond(self, side: Side, *values: float) -> NDArray[np.bool_]:
        """Which values lie beyond which limits, shape [values, limits]."""
        assert self.spread is not None
        return beyond(self.spread, side, np.array(values))

    def _learnt(self) -> None:
        if self.spread is None:
            self.spread = spread_of(self.name, self.learning)
        self.bursts = {
            side: burst_shares(self._beyond(side, *self.learning)) for side in BY_NAME[self.name].sides
        }
        self.learning = []
        self._prepare()

    def log_evidence(self, side: Side) -> float:
        """Natural logarithm of a side's evidence; of this signal alone."""
        found = self._detectors.get(side)
        return float(found.log_total(self.evidence[side])) if found is not None else -math.inf

    def told(self, side: Side, now: float) -> Alarm:
        """What a side whose evidence is over the threshold has to say: by the limit that shows most."""
        assert self.spread is not None
        evidence = self.evidence[side]
        place = int(np.argmax(evidence.log_cusum))
        limit = self.spread.limits(side)[place // evidence.log_cusum.shape[-1]]
        seen, hits = int(evidence.seen.flat[place]), int(evidence.hits.flat[place])
        usual = limit.beyond / self.spread.count
        since = self._when(seen, now)
        return Alarm(self.name, side, self.count, now, since, seen, hits / seen, usual, limit.value)

    def _when(self, back: int, now: float) -> float:
        """When the block began that holds the value so many values ago."""
        for block in reversed(self.history):
            now = block.began
            back -= block.count
            if back <= 0:
                break
        return now

    def to_json(self) -> dict[str, Any]:
        """As in the state file."""
        return {
            "spread": None if self.spread is None else self.spread.to_json(),
            "learning": self.learning,
            "count": self.count,
            "bursts": {side: shares.tolist() for side, shares in self.bursts.items()},
            "evidence": {
                side: {name: array.tolist() for name, array in vars(each).items()}
                for side, each in self.evidence.items()
            },
            "history": [[block.began, block.count, block.total] for block in self.history],
        }

    @classmethod
    def from_json(cls, name: str, value: Any) -> Watched:
        """The inverse of `to_json`.

        Raises:
            ValueError, TypeError, KeyError: not such a value.
        """
        spread = None if value["spread"] is None else spread_from_json(value["spread"])
        history = [Block(float(began), int(count), float(total)) for began, count, total in value["history"]]
        learning = [float(each) for each in value["learning"]]
        bursts = {} if spread is None else _bursts(name, spread, value["bursts"])
        found = cls(name, spread, learning, int(value["count"]), bursts, {}, history[-BLOCKS:])
        for side, detector in found._detectors.items():
            found.evidence[side] = _evidence(detector, value["evidence"][side])
        return found


def learn_of(name: str) -> int:
    """Values that a signal's spread is learnt from where the release doesn't bring it."""
    if name == "embedding":
        return EMBEDDED
    return LEARN - SKETCHED if BY_NAME[name].needs_sketch else LEARN


def beyond(spread: Spread, side: Side, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values, of any shape, lie beyond which of a side's limits, shape [..., limits]."""
    limits = np.array([limit.value for limit in spread.limits(side)])
    given = np.asarray(values)[..., None]
    found: NDArray[np.bool_] = given > limits if side == "up" else given < limits
    return found


def _bursts(name: str, spread: Spread, value: Any) -> dict[Side, NDArray[np.float64]]:
    found: dict[Side, NDArray[np.float64]] = {}
    for side in BY_NAME[name].sides if value else ():
        given = np.asarray(value[side], dtype=np.float64)
        if given.shape != (len(spread.limits(side)), STATES) or not ((given >= 0) & (given <= 1)).all():
            raise ValueError("shares in bursts aren't numbers from 0 to 1")
        found[side] = given
    return found


def _evidence(detector: Detector, value: Any) -> Evidence:
    begun = detector.begin()
    found = {}
    for name, array in vars(begun).items():
        given = np.asarray(value[name], dtype=array.dtype)
        if given.shape != array.shape or not np.isfinite(given).all():
            raise ValueError(f"evidence isn't {array.shape} numbers")
        found[name] = given
    return Evidence(**found)


class Monitor:
    """What is known of one release at work.

    Args:
        release: its digest.
        baseline: what it brings; None for nothing, so that all is learnt here.
    """

    def __init__(self, release: str, baseline: Baseline | None = None) -> None:
        self.release = release
        self.brought = baseline is not None
        self.requests = 0
        self.sketch = Sketch() if baseline is None else baseline.sketch
        self.sketched = SKETCHED if baseline is not None else 0
        self.cloud = Cloud()
        spreads: Mapping[str, Spread] = {} if baseline is None else baseline.spreads
        self.signals = {each.name: Watched(each.name, spreads.get(each.name)) for each in SIGNALS}
        self.alarms: list[Alarm] = []

    def observe(self, seen: Observed, now: float, place: NDArray[np.float64] | None = None) -> list[Alarm]:
        """Take one answered request.

        Args:
            seen: is turned into numbers and not kept.
            now: seconds since the epoch.
            place: of its prompt, by `embedding.mean_of`; None where it isn't known.

        Returns:
            The alarms that it raised.
        """
        self.requests += 1
        values = values_of(seen)
        if self.sketched < SKETCHED:
            self.sketch.add(seen.prompt)
            self.sketched += 1
        else:
            values["unknown"] = self.sketch.unknown(seen.prompt)
            surprise = self.sketch.surprise(seen.prompt)
            if surprise is not None:
                values["surprise"] = surprise
        if place is not None and self.cloud.count < SKETCHED:
            self.cloud.add(place)
        elif place is not None:
            values["embedding"] = self.cloud.distance(place)
        return self.take(values, now)

    def take(self, values: Mapping[str, float], now: float) -> list[Alarm]:
        """Take the numbers of one request; returns the alarms that they raised."""
        for name, value in values.items():
            self.signals[name].take(value, now, learn_of(name))
        raised = []
        known = {(alarm.signal, alarm.side) for alarm in self.alarms}
        for name, side in SIDES:
            if name in values and (name, side) not in known and self.log_evidence(name, side) >= THRESHOLD:
                raised.append(self.signals[name].told(side, now))
        self.alarms += raised
        return raised

    def log_evidence(self, name: str, side: Side) -> float:
        """Natural logarithm of a side's evidence, to be held against `THRESHOLD`.

        Of signals that are tested together the strongest has the evidence of all, the others their part of it.
        """
        if name not in TOGETHER:
            return self.signals[name].log_evidence(side)
        parts = {
            each: math.log(BY_NAME[each].share) + self.signals[each].log_evidence(side) for each in TOGETHER
        }
        strongest = max(parts, key=lambda each: parts[each])
        return float(np.logaddexp.reduce(list(parts.values()))) if name == strongest else parts[name]

    def renewed(self, keep_baseline: bool) -> Monitor:
        """After an operator's reset: no alarm, no evidence; what is usual is kept, or learnt from the next requests."""
        fresh = Monitor(self.release)
        if keep_baseline:
            fresh.brought, fresh.sketch, fresh.sketched = self.brought, self.sketch, self.sketched
            fresh.cloud = self.cloud
            for name, watched in self.signals.items():
                fresh.signals[name] = Watched(
                    name, watched.spread, list(watched.learning), 0, dict(watched.bursts)
                )
        return fresh

    def to_json(self) -> dict[str, Any]:
        """As in the state file."""
        return {
            "format": FORMAT,
            "release": self.release,
            "brought": self.brought,
            "requests": self.requests,
            "sketched": self.sketched,
            "sketch": self.sketch.to_json(),
            "cloud": self.cloud.to_json(),
            "signals": {name: watched.to_json() for name, watched in self.signals.items()},
            "alarms": [asdict(alarm) for alarm in self.alarms],
        }

    @classmethod
    def from_json(cls, value: Any) -> Monitor:
        """The inverse of `to_json`.

        Raises:
            ValueError: not such a value; the message says why.
        """
        try:
            if value["format"] != FORMAT:
                raise ValueError(f"not of the format {FORMAT}")
            found = cls(str(value["release"]))
            found.brought, found.requests = bool(value["brought"]), int(value["requests"])
            found.sketched, found.sketch = int(value["sketched"]), Sketch.from_json(value["sketch"])
            if (
                "cloud" in value
            ):  # before there was one, its signal was missing too; both are learnt from here on
                found.cloud = Cloud.from_json(value["cloud"])
            for signal in SIGNALS:
                if signal.name == "embedding" and "cloud" not in value:
                    continue
                found.signals[signal.name] = Watched.from_json(signal.name, value["signals"][signal.name])
            found.alarms = [Alarm(**each) for each in value["alarms"]]
            if any((alarm.signal, alarm.side) not in SIDES for alarm in found.alarms):
                raise ValueError("an alarm of an unknown signal")
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return found
