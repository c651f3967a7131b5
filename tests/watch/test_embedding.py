"""Token embeddings of a real file, where a message lies among the usual ones, and that a shift shows there."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from appliance.watch.embedding import DIMENSIONS, Cloud, mean_of, table_of
from appliance.watch.monitor import EMBEDDED, SKETCHED, THRESHOLD, Monitor
from convert import gguf_file, libggml
from convert.errors import ConvertError
from tests.watch.test_monitor import asked


def places(seed: int, count: int, middle: float = 0.0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(middle, 1, (count, DIMENSIONS)))


def practised_cloud() -> Cloud:
    cloud = Cloud()
    for place in places(1, 500):
        cloud.add(place)
    return cloud


def test_a_file_s_embeddings_keep_their_distances_roughly(tiny_gguf: Path) -> None:
    table = table_of(tiny_gguf)
    tensor = gguf_file.read(tiny_gguf).tensors["token_embd.weight"]
    whole = libggml.dequantize(tensor.data, tensor.type.name)
    assert table.shape == (len(whole), DIMENSIONS) and table.dtype == np.float32
    assert np.array_equal(table, table_of(tiny_gguf))
    first, second = np.random.default_rng(0).integers(len(whole), size=(2, 200))
    apart = np.linalg.norm(whole[first] - whole[second], axis=1)
    kept = np.linalg.norm(table[first] - table[second], axis=1) * (whole.shape[1] / DIMENSIONS) ** 0.5
    ratios = kept[apart > 0] / apart[apart > 0]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.1)  # Johnson and Lindenstrauss
    assert np.quantile(ratios, 0.05) > 0.6 and np.quantile(ratios, 0.95) < 1.4
    with pytest.raises(ConvertError):
        table_of(Path(__file__))


def test_a_message_is_the_mean_of_its_tokens() -> None:
    table = np.arange(3 * DIMENSIONS, dtype=np.float32).reshape(3, DIMENSIONS)
    place = mean_of(table, (0, 2, 2))
    assert place is not None and np.allclose(place, (table[0] + 2 * table[2]) / 3)
    assert mean_of(table, ()) is mean_of(table, (3,)) is mean_of(table, (-1, 0)) is None


def test_the_distance_is_mahalanobis_s_and_a_shift_lies_far() -> None:
    cloud = practised_cloud()
    usual = [cloud.distance(place) for place in places(2, 300)]
    # Squares of standard normal numbers add up to their count in the mean.
    assert np.mean(np.square(usual)) == pytest.approx(DIMENSIONS, rel=0.1)
    shifted = [cloud.distance(place) for place in places(3, 300, middle=1.5)]
    assert np.median(shifted) > np.quantile(usual, 0.98)
    alike = Cloud()
    for _ in range(5):
        alike.add(np.ones(DIMENSIONS))
    assert np.isfinite(alike.distance(np.zeros(DIMENSIONS)))


def test_it_comes_back_from_its_file_and_what_is_none_is_refused() -> None:
    cloud = practised_cloud()
    value = json.loads(json.dumps(cloud.to_json(), allow_nan=False))
    place = places(4, 1)[0]
    assert Cloud.from_json(value).distance(place) == cloud.distance(place)
    for wrong in (
        {**value, "total": [0.0]},
        {**value, "count": -1},
        {**value, "products": [[float("nan")] * 16] * 16},
    ):
        with pytest.raises(ValueError, match="usual messages"):
            Cloud.from_json(wrong)


def observed(monitor: Monitor, given: list[np.ndarray]) -> set[str]:
    draw = random.Random(5)
    found = [monitor.observe(asked(draw), float(number), place) for number, place in enumerate(given)]
    return {alarm.signal for raised in found for alarm in raised}


def test_a_monitor_learns_the_places_then_alarms_when_they_move() -> None:
    monitor = Monitor("r" * 64)
    assert observed(monitor, places(6, SKETCHED)) == set()
    assert monitor.cloud.count == SKETCHED and monitor.signals["embedding"].count == 0
    assert observed(monitor, places(7, EMBEDDED + 300)) == set()
    assert monitor.cloud.count == SKETCHED
    again = Monitor.from_json(json.loads(json.dumps(monitor.to_json())))
    assert again.to_json() == monitor.to_json()
    assert observed(again, places(8, 60, middle=1.5)) == {"embedding"}
    kept, anew = again.renewed(keep_baseline=True), again.renewed(keep_baseline=False)
    assert (kept.cloud.count, anew.cloud.count) == (SKETCHED, 0)


def test_a_state_of_before_goes_on_and_learns_it() -> None:
    monitor = Monitor("r" * 64)
    observed(monitor, places(6, 40))
    value = json.loads(json.dumps(monitor.to_json()))
    del value["cloud"], value["signals"]["embedding"]
    again = Monitor.from_json(value)
    assert (again.requests, again.cloud.count, again.signals["embedding"].count) == (40, 0, 0)
    assert observed(again, places(7, 3)) == set() and again.cloud.count == 3


def test_it_is_tested_with_surprise_as_one_side_and_no_other_signal_pays() -> None:
    assert pytest.approx(math.log(7000 * 10)) == THRESHOLD
    monitor = Monitor("r" * 64)
    observed(monitor, places(6, SKETCHED + EMBEDDED))
    alone = {name: monitor.signals[name].log_evidence("up") for name in ("surprise", "embedding", "unknown")}
    strongest = max("surprise", "embedding", key=lambda name: alone[name])
    together = math.log(0.5 * math.exp(alone["surprise"]) + 0.5 * math.exp(alone["embedding"]))
    assert monitor.log_evidence(strongest, "up") == pytest.approx(together)
    assert monitor.log_evidence("unknown", "up") == alone["unknown"]
