"""A gateway as a real process with a tiny model: a planted shift is found, told everywhere, and survives a kill."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance import storage
from appliance.errors import ServingError
from appliance.registry import manifest as manifests
from appliance.serving import response_cache
from appliance.serving.engine_client import Engine, Sampling
from appliance.serving.gateway_client import GatewayClient
from appliance.serving.schema_grammar import grammar_of
from appliance.update import audit, slots
from appliance.watch import baseline, state_file
from appliance.watch.monitor import LEARN
from tests.conftest import station_rows
from tests.serving.test_serve_command import serving
from tests.stick_simulator import Simulator, make_release
from tests.watch.test_monitor import practised

pytestmark = pytest.mark.slow

USUAL = [row[0]["content"] for row in station_rows(84)]
STRANGE = [f"Bitte buche einen Flug nach Lissabon, Reihe {number}, am Fenster!" for number in range(60)]


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ah-") as folder:  # short enough for a socket's path
        yield Path(folder)


def with_baseline(folder: Path, model: Path, version: str = "1.0.0") -> None:
    """A release that brings the baseline of the usual prompts."""
    release = make_release(folder, version, model)
    made = baseline.baseline_of(USUAL)
    assert made is not None
    data = storage.canonical_json(made.to_json())
    (release / baseline.FILE_NAME).write_bytes(data)
    raw = json.loads((release / manifests.FILE_NAME).read_bytes())
    digest = storage.sha256_bytes(data)
    raw["files"].append(
        {"name": baseline.FILE_NAME, "role": "baseline", "bytes": len(data), "sha256": digest}
    )
    (release / manifests.FILE_NAME).write_bytes(storage.canonical_json(raw))


@pytest.fixture
def simulator(root: Path, tiny_gguf: Path) -> Simulator:
    simulator = Simulator(root)
    with_baseline(root / "releases" / "1.0.0", tiny_gguf)
    simulator.publish("1.0.0", tiny_gguf)
    simulator.install()
    return simulator


def practise(simulator: Simulator) -> int:
    """The state of a gateway that has seen usual requests for a day; returns how many."""
    release = slots.active(simulator.device)
    assert release is not None
    state_file.write(simulator.device, practised(LEARN, release.digest))
    return LEARN


def ask(client: GatewayClient, prompt: str) -> str:
    answer = client.complete([{"role": "user", "content": prompt}], max_tokens=3)
    text = answer["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def seen(client: GatewayClient, requests: int) -> dict[str, Any]:
    """The summary once so many requests have been watched; a gateway that has just begun knows of none yet."""
    while True:
        with contextlib.suppress(ServingError):
            told = client.drift()
            if told["requests"] >= requests:
                return told


def command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "appliance", *words, "--root", str(root)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_a_planted_shift_is_found_and_told_everywhere_and_outlives_a_kill(simulator: Simulator) -> None:
    device = simulator.device
    with serving(device.root) as (_, client):
        for prompt in USUAL[:3]:
            ask(client, prompt)
        told = seen(client, 3)
        assert (told["state"], told["alarms"], told["baseline"]) == ("learning", [], "of the release")
        taken = {each["name"]: (each["values"], each["usual"]) for each in told["signals"]}
        assert taken["unknown"] == (3, pytest.approx(0.0, abs=0.05))
        assert taken["confidence"] == (3, None)
    left = state_file.read(device)
    assert left is not None and left.cloud.count == 3, "where the messages lie, by the model's own embeddings"
    before = practise(simulator)
    with serving(device.root) as (process, client):
        for prompt in STRANGE:
            ask(client, prompt)
        told = seen(client, before + len(STRANGE))
        assert told["state"] == "alarm"
        (alarm,) = [each for each in told["alarms"] if each["signal"] == "unknown"]
        assert min(each["seen"] for each in told["alarms"]) < 15
        assert alarm["seen"] < 50  # requests so alike are one burst, until there are too many for one
        assert alarm["share"] > 0.8 > alarm["usual"]

        health = client.health()["drift"]
        assert (health["state"], alarm["text"] in health["alarms"]) == ("alarm", True)
        transport = httpx.HTTPTransport(uds=str(client.socket))
        with httpx.Client(transport=transport, base_url="http://gateway") as http:
            metrics = http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'anchorhold_drift_alarm{signal="unknown"} 1' in metrics.text.splitlines()
        assert 'anchorhold_drift_alarm{signal="refusal"} 0' in metrics.text.splitlines()
        assert alarm["text"] in command(device.root, "status").stdout
        shown = command(device.root, "drift").stdout
        assert f"ALARM     {alarm['text']}" in shown.splitlines()
        assert max(map(len, shown.split("\nALARM")[0].splitlines())) <= 80
        while not [entry for entry in audit.entries(device) if entry["event"] == "drift"]:
            pass
        process.kill()
        process.wait()

    assert json.loads(command(device.root, "drift", "--json").stdout)["state"] == "alarm"  # from the file
    with serving(device.root) as (_, client):
        ask(client, STRANGE[0])
        again = seen(client, before + 1)
        assert alarm["text"] in [each["text"] for each in again["alarms"]]
        assert again["requests"] > before
    logged = [entry["data"]["text"] for entry in audit.entries(device) if entry["event"] == "drift"]
    assert logged.count(alarm["text"]) == 1
    assert len(logged) == len(set(logged))
    assert audit.verify(device) == []
    everything = state_file.path(device).read_text() + audit.path(device).read_text()
    assert "Lissabon" not in everything
    assert "deck" not in everything


def test_probes_of_the_release_are_not_watched(simulator: Simulator) -> None:
    with serving(simulator.device.root) as (_, client):
        for prompt in STRANGE:
            client.complete([{"role": "user", "content": prompt}], max_tokens=3, probe="redteam")
        ask(client, USUAL[0])
        told = seen(client, 1)
        assert (told["requests"], told["alarms"]) == (1, [])
        assert client.health()["requests"]["served"] == len(STRANGE) + 1


def test_an_operator_resets_and_a_damaged_state_is_named(simulator: Simulator) -> None:
    device = simulator.device
    assert "nothing has been watched" in command(device.root, "drift", "--reset").stderr
    before = practise(simulator)
    with serving(device.root) as (_, client):
        for prompt in STRANGE:
            ask(client, prompt)
        assert seen(client, before + len(STRANGE))["alarms"]
        assert command(device.root, "drift", "--reset", "--keep-baseline").returncode == 0
        told = client.drift()
        while told["alarms"]:
            told = client.drift()
        assert (told["requests"], told["baseline"]) == (0, "of the release")
        for prompt in STRANGE:  # the cause is still there
            ask(client, prompt)
        assert seen(client, len(STRANGE))["alarms"]
        assert command(device.root, "drift", "--reset").returncode == 0
        while (told := client.drift())["alarms"]:
            pass
        assert (told["state"], told["baseline"]) == ("learning", "learnt here")
        for prompt in STRANGE:  # is what is usual now
            ask(client, prompt)
        assert not seen(client, len(STRANGE))["alarms"]
    assert [entry["event"] for entry in audit.entries(device)].count("drift reset") == 2
    state_file.path(device).write_text('{"format": "anchorhold-drift/2"}')
    assert "damaged" in command(device.root, "drift").stderr
    with serving(device.root) as (_, client):
        while not (problem := client.drift()["problem"]):
            pass
        assert "begun anew" in problem
        assert ask(client, USUAL[0])
    assert (device.watch / "drift.damaged.json").is_file()


def test_an_engine_that_tells_its_confidence_answers_the_same(tiny_gguf: Path) -> None:
    schema = {"type": "object", "properties": {"unit": {"type": "string"}}, "required": ["unit"]}
    with Engine(tiny_gguf, slots=2, context=512, threads=1) as engine:
        for grammar in ("", grammar_of(schema)):
            for temperature in (0.0, 1.0):
                plain = Sampling(24, temperature, seed=5, grammar=grammar)
                for prompt in USUAL[:4]:
                    tokens = engine.render([{"role": "user", "content": prompt}])
                    without = engine.complete(tokens, plain)
                    told = engine.complete(tokens, replace(plain, confidence=True))
                    assert (told.text, told.finish) == (without.text, without.finish)
                    assert without.confidence is None
                    assert told.confidence is not None
                    assert -15 < told.confidence < 0
    names = {response_cache.key("r", [1], each, "b") for each in (plain, replace(plain, confidence=True))}
    assert len(names) == 1


def test_confidence_is_the_mean_log_probability_of_every_fourth_token(tiny_gguf: Path) -> None:
    """An answer of eight: the mean of its first and its fifth, each asked for alone."""
    with Engine(tiny_gguf, slots=2, context=512, threads=1) as engine:
        tokens = engine.render([{"role": "user", "content": USUAL[0]}])
        whole = engine.complete(tokens, Sampling(8, confidence=True))
        parts = []
        for length in (0, 4):
            begun = engine.complete(tokens, Sampling(length)).text if length else ""
            following = engine.complete([*tokens, *engine.tokenize(begun)], Sampling(1, confidence=True))
            assert following.confidence is not None
            parts.append(following.confidence)
        assert whole.confidence == pytest.approx(sum(parts) / 2, abs=2e-3)


def test_a_fault_in_watching_fails_no_request(simulator: Simulator, root: Path) -> None:
    asked = [(prompt, temperature) for prompt in USUAL[:6] for temperature in (0.0, 0.9)]

    def answers(client: GatewayClient) -> list[str]:
        whole = []
        for prompt, temperature in asked:
            turns = [{"role": "user", "content": prompt}]
            answer = client.complete(turns, max_tokens=12, temperature=temperature, seed=3)
            whole.append(answer["choices"][0]["message"]["content"])
            whole.append("".join(client.chat(turns, max_tokens=12, temperature=temperature, seed=3)))
        return whole

    with serving(simulator.device.root, "--no-cache") as (_, client):
        watched = answers(client)
        assert seen(client, 2 * len(asked))["requests"] == 2 * len(asked)
    (simulator.device.root / "watch").rename(root / "kept")
    (simulator.device.root / "watch").write_text("a file where the folder should be")
    with serving(simulator.device.root, "--no-cache") as (_, client):
        assert answers(client) == watched
        while "watching failed" not in client.drift()["problem"]:
            pass
