"""How a release's numbers are spread when all is well: of each signal some limits, and how many lie beyond them. Pure.

docs/formats/drift.md describes the form. A baseline comes with a release (of the rows that it was trained on, so of
inputs alone), or is learnt from a device's first requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.watch import sketch as sketches
from appliance.watch.evidence import upper_bound
from appliance.watch.signals import BY_NAME, SIGNALS, Side

FORMAT = "anchorhold-baseline/1"
FILE_NAME = "baseline.json"
MAX_BYTES = 1024 * 1024
LIMITS = (0.5, 0.9, 0.98)
"""Where limits are drawn: this share of the usual values lies before them."""
LEAST = 50
"""Values that a signal's spread is taken from, at least."""
MOST_ROWS = 10_000
"""Training rows that a release's baseline is made of; of more, an even choice."""
_TELL = 500  # rows between two tellings of how far it is


@dataclass(frozen=True)
class Limit:
    """A value, and how many of the usual ones lie beyond it.

    Attributes:
        value: the limit itself isn't beyond.
        beyond: how many were.
    """

    value: float
    beyond: int


@dataclass(frozen=True)
class Spread:
    """How the values of one signal are spread.

    Attributes:
        count: of how many values it was taken.
        mean: theirs.
        up, down: limits on either side; none on a side that isn't watched.
    """

    count: int
    mean: float
    up: tuple[Limit, ...]
    down: tuple[Limit, ...]

    def limits(self, side: Side) -> tuple[Limit, ...]:
        """Those of one side."""
        return self.up if side == "up" else self.down

    def bounds(self, side: Side) -> list[float]:
        """For each limit of a side, the largest share beyond it that still counts as usual."""
        return [upper_bound(limit.beyond, self.count) for limit in self.limits(side)]

    def to_json(self) -> dict[str, Any]:
        """As in baseline.json."""
        both = {side: [[limit.value, limit.beyond] for limit in self.limits(side)] for side in ("up", "down")}
        return {"count": self.count, "mean": self.mean, **both}


def spread_of(name: str, values: Sequence[float]) -> Spread:
    """The spread of a signal's usual values; needs one at least."""
    signal = BY_NAME[name]
    ordered = sorted(values)
    count = len(ordered)
    drawn: dict[str, tuple[Limit, ...]] = {"up": (), "down": ()}
    for side in signal.sides:
        sign = 1.0 if side == "up" else -1.0
        along = ordered if side == "up" else ordered[::-1]
        if signal.rate:
            places = [0.0]
        else:
            places = list(dict.fromkeys(along[min(count - 1, math.ceil(q * count) - 1)] for q in LIMITS))
        drawn[side] = tuple(
            Limit(place, sum(sign * value > sign * place for value in ordered)) for place in places
        )
    return Spread(count, math.fsum(ordered) / count, drawn["up"], drawn["down"])


@dataclass(frozen=True)
class Baseline:
    """What a release brings of its inputs.

    Attributes:
        spreads: by the names of signals.
        sketch: of the prompts that it was trained on.
    """

    spreads: Mapping[str, Spread]
    sketch: sketches.Sketch

    def to_json(self) -> dict[str, Any]:
        """As in baseline.json."""
        return {
            "format": FORMAT,
            "signals": {name: spread.to_json() for name, spread in self.spreads.items()},
            "sketch": self.sketch.to_json(),
        }


def baseline_of(prompts: Sequence[str], told: Callable[[int, int], None] | None = None) -> Baseline | None:
    """The baseline of a set of training prompts; None where they are too few to say what is usual.

    Each prompt is judged as if it were not among the others, so that a new one of their kind looks the same.

    Args:
        prompts: the last message of the user in each row.
        told: called with how many are done, and of how many.
    """
    if len(prompts) < LEAST:
        return None
    sketch = sketches.sketch_of(prompts)
    found: dict[str, list[float]] = {"length": [], "unknown": [], "surprise": []}
    for number, prompt in enumerate(prompts):
        found["length"].append(float(len(prompt)))
        found["unknown"].append(sketch.unknown(prompt, own=True))
        surprise = sketch.surprise(prompt, own=True)
        if surprise is not None:
            found["surprise"].append(surprise)
        if told is not None and (number + 1) % _TELL == 0:
            told(number + 1, len(prompts))
    spreads = {name: spread_of(name, values) for name, values in found.items() if len(values) >= LEAST}
    return Baseline(spreads, sketch)


def _limits(value: Any, count: int) -> tuple[Limit, ...]:
    if not isinstance(value, list) or len(value) > len(LIMITS):
        raise ValueError(f"limits aren't a list of at most {len(LIMITS)}")
    found = []
    for place, beyond in value:
        if type(beyond) is not int or not 0 <= beyond <= count or not math.isfinite(place):
            raise ValueError("a limit isn't a number and a count")
        found.append(Limit(float(place), beyond))
    return tuple(found)


def spread_from_json(value: Any) -> Spread:
    """The inverse of `Spread.to_json`.

    Raises:
        ValueError, TypeError, KeyError: not such a value.
    """
    count, mean = value["count"], float(value["mean"])
    if type(count) is not int or count < 1 or not math.isfinite(mean):
        raise ValueError("a spread has no count and mean")
    return Spread(count, mean, _limits(value["up"], count), _limits(value["down"], count))


def from_json(value: Any) -> Baseline:
    """The inverse of `Baseline.to_json`; signals that this program doesn't know are passed over.

    Raises:
        ValueError: not such a value; the message says why.
    """
    try:
        if value["format"] != FORMAT:
            raise ValueError(f"not of the format {FORMAT}")
        known = {signal.name for signal in SIGNALS}
        spreads = {name: spread_from_json(each) for name, each in value["signals"].items() if name in known}
        return Baseline(spreads, sketches.Sketch.from_json(value["sketch"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
