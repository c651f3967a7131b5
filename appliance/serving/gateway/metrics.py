"""GET /metrics: the gateway's counters and the watcher's findings in the Prometheus text format, version 0.0.4."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from appliance.serving.gateway.exchange import Gateway

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[str, float]  # labels, or nothing, and the value


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> list[str]:
    head = [f"# HELP anchorhold_{name} {about}", f"# TYPE anchorhold_{name} {kind}"]
    body = [f"anchorhold_{name}{labels} {value:g}" for labels, value in samples]
    return head + body if body else []


def _drift(told: dict[str, Any]) -> list[str]:
    signals = told["signals"]
    alarm = [(f'{{signal="{each["name"]}"}}', float(each["state"] == "alarm")) for each in signals]
    evidence = [
        (f'{{signal="{each["name"]}",side="{side}"}}', value)
        for each in signals
        for side, value in each["evidence"].items()
    ]
    mean = [(f'{{signal="{each["name"]}"}}', each["now"]) for each in signals if each["now"] is not None]
    return [
        *_family("drift_alarm", "gauge", "1 while a signal has left its baseline.", alarm),
        *_family(
            "drift_evidence", "gauge", "Logarithm of the evidence for a change; 1 is an alarm.", evidence
        ),
        *_family("drift_mean", "gauge", "Mean of a signal over the newest requests, 100 at most.", mean),
        *_family(
            "drift_requests", "gauge", "Requests since the baseline's beginning.", [("", told["requests"])]
        ),
    ]


def _redteam(told: dict[str, Any]) -> list[str]:
    families = told["families"]
    if not families:
        return []

    def labelled(value: Callable[[dict[str, Any]], float]) -> list[Sample]:
        return [(f'{{family="{each["name"]}"}}', value(each)) for each in families]

    alarm = labelled(lambda each: float(each["state"] == "alarm"))
    held = labelled(lambda each: each["held"] / each["total"])
    before = labelled(lambda each: each["baseline_held"] / each["baseline_total"])
    when = datetime.datetime.fromisoformat(told["time"]).timestamp()
    return [
        *_family(
            "redteam_alarm", "gauge", "1 while a family of attacks is held off worse than usual.", alarm
        ),
        *_family(
            "redteam_evidence",
            "gauge",
            "Logarithm of the evidence that a family became weaker; 1 is an alarm.",
            labelled(lambda each: each["evidence"]),
        ),
        *_family("redteam_held_ratio", "gauge", "Share of attacks held off in the newest run.", held),
        *_family("redteam_baseline_held_ratio", "gauge", "The same in the release's baseline.", before),
        *_family(
            "redteam_attacks", "gauge", "Attacks of the newest run.", labelled(lambda each: each["total"])
        ),
        "# HELP anchorhold_redteam_run_timestamp_seconds End of the newest run.",
        "# TYPE anchorhold_redteam_run_timestamp_seconds gauge",
        f"anchorhold_redteam_run_timestamp_seconds {when:.0f}",  # `g` would cut it to six digits
    ]


def text(gateway: Gateway, state: Mapping[str, Any], engine: Mapping[str, Any]) -> str:
    """All families.

    Args:
        gateway: has the counters and the watcher.
        state: what the supervisor says.
        engine: the engine's counters; empty while it is started again.
    """
    requests = [
        ('{result="served"}', gateway.served),
        ('{result="refused"}', gateway.refused),
        ('{result="cancelled"}', gateway.cancelled),
    ]
    kinds = ("prompt_tokens", "cached_tokens", "completion_tokens")
    tokens = [
        (f'{{kind="{kind.removesuffix("_tokens")}"}}', engine[kind]) for kind in kinds if kind in engine
    ]
    memory = [("", engine["memory_bytes"])] if "memory_bytes" in engine else []
    lines = [
        *_family("up", "gauge", "1 while requests are answered.", [("", float(state["alive"]))]),
        *_family("requests_total", "counter", "Requests since the gateway's start.", requests),
        *_family("open_requests", "gauge", "Requests that are open now.", [("", gateway.open_requests)]),
        *_family(
            "engine_restarts_total",
            "counter",
            "Engines started because one ended.",
            [("", state["restarts"])],
        ),
        *_family("engine_tokens_total", "counter", "Tokens since the engine's start.", tokens),
        *_family("engine_memory_bytes", "gauge", "Resident memory of the engine.", memory),
    ]
    watcher = gateway.watcher
    if watcher is not None:
        lost = [('{why="fault"}', watcher.faults), ('{why="queue_full"}', watcher.passed_over)]
        lines += _family("drift_lost_total", "counter", "Requests or looks that watching has missed.", lost)
        told = watcher.summary()
        lines += _drift(told) if told is not None else []
        attacked = watcher.redteam()
        lines += _redteam(attacked) if attacked is not None else []
    return "\n".join(lines) + "\n"
