"""What may stand in a suite's head, gates, options and cases; each fault in words, the nearest key named. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from appliance.dataset.nearest import meant
from appliance.evaluation.scoring import MOST_COUNT, SCORERS, Key, Metric, Scorer
from appliance.evaluation.suite import Gate
from appliance.evaluation.suites.plain_values import shown

KINDS = ("domain", "tone", "safety", "bias", "hallucination", "memory", "retention", "quantization")
HEAD_KEYS = (
    "suite", "scorer", "title", "about", "kind", "gate", "options", "system", "max_tokens", "licence", "cases",
)  # fmt: skip
SYSTEMS = ("base", "base_told", "tuned_f16")
UNKNOWN_KIND = "memory"
"""What a suite of an unknown kind counts as until it is mended: the kind of which no text goes into a report."""
_BOUNDS = ("at_least", "at_most", "drop_at_most", "ratio_at_most")
_RELATIVE = ("drop_at_most", "ratio_at_most")
_GATE_KEYS = ("metric", "against", "sure", *_BOUNDS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_TOKENS = 8192
_ROLES = ("system", "user", "assistant")

Wrong = list[tuple[str, str]]
"""(key, what is wrong with it)."""


def _unknown(given: Iterable[str], known: Iterable[str]) -> Wrong:
    names = list(known)
    return [(key, f"unknown key {_quoted(key)}{meant(key, names)}") for key in given if key not in names]


def _quoted(key: str) -> str:
    return f"`{key if len(key) <= 60 else f'{key[:59]}…'}`"


def _one_of(value: Any, known: Iterable[str]) -> str:
    """`is one of …, not …`, and which is meant."""
    near = meant(value, known) if isinstance(value, str) else ""
    return f"one of {', '.join(known)}, not {shown(value)}{near}"


def check_head(head: Mapping[str, Any]) -> Wrong:
    """What is wrong with a suite's head, but for its options and gates."""
    wrong = _unknown(head, HEAD_KEYS)
    if "cases" in head:
        wrong.append(("cases", "`cases` are for YAML; in JSON lines each case has a line of its own"))
    name = head.get("suite")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = f"`suite` is a name of letters, digits, `-`, `_` and `.`, 64 at most, not {shown(name)}"
        wrong.append(("suite", text))
    scorer = head.get("scorer")
    if "scorer" not in head:
        wrong.append(("scorer", f"`scorer` is missing; there are {', '.join(SCORERS)}"))
    elif not isinstance(scorer, str):
        wrong.append(("scorer", f"`scorer` is {_one_of(scorer, SCORERS)}"))
    elif scorer not in SCORERS:
        near = meant(scorer, SCORERS)
        text = f"no scorer is called {scorer[:60]!r}{near or '; there are ' + ', '.join(SCORERS)}"
        wrong.append(("scorer", text))
    if head.get("kind", KINDS[0]) not in KINDS:
        text = f"`kind` is {_one_of(head['kind'], KINDS)}; until it is mended no text of the suite is shown"
        wrong.append(("kind", text))
    tokens = head.get("max_tokens", 1)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= _MOST_TOKENS:
        text = f"`max_tokens` is a whole number from 1 to {_MOST_TOKENS}, not {shown(tokens)}"
        wrong.append(("max_tokens", text))
    for name, (fits, words) in _HEAD_TYPES.items():
        if name in head and not fits(head[name]):
            wrong.append((name, f"`{name}` is {words}, not {shown(head[name])}"))
    return wrong


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, dict) and turn.get("role") in _ROLES and isinstance(turn.get("content"), str)
            for turn in value
        )
        and value[-1]["role"] == "user"
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)
    )


_TEXT: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, str), "a text")
_OBJECT: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, dict), "an object")
_HEAD_TYPES = {"title": _TEXT, "about": _TEXT, "licence": _TEXT, "system": _TEXT, "options": _OBJECT}
_RIGHT: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": _TEXT,
    "texts": (_is_texts, "a text or a list of texts"),
    "number": (_is_number, "a number"),
    "index": (lambda value: _is_whole(value) and value >= 0, "a whole number from 0"),
    "count": (
        lambda value: _is_whole(value) and 1 <= value <= MOST_COUNT,
        f"a whole number from 1 to {MOST_COUNT}",
    ),
    "share": (lambda value: _is_number(value) and 0 < value <= 1, "a number above 0 and up to 1"),
    "flag": (lambda value: isinstance(value, bool), "true or false"),
    "messages": (
        _is_messages,
        'a list of {"role": "system", "user" or "assistant", "content": a text}, the last one the user\'s',
    ),
    "object": _OBJECT,
    "json": (lambda value: value is not None, "a JSON value"),
}


def check_keys(values: Mapping[str, Any], keys: Mapping[str, Key]) -> Wrong:
    """What is wrong with a case's keys or a scorer's options, each by itself."""
    wrong = _unknown(values, keys)
    for name, key in keys.items():
        if name not in values:
            if key.required:
                about = f" ({key.about})" if key.about else ""
                wrong.append((name, f"`{name}` is missing{about}"))
            continue
        fits, words = _RIGHT[key.kind]
        if not fits(values[name]):
            wrong.append((name, f"`{name}` is {words}, not {shown(values[name])}"))
    return wrong


def check_options(options: Mapping[str, Any], scorer: Scorer) -> Wrong:
    """What is wrong with a head's options."""
    wrong = check_keys(options, scorer.options) or scorer.check_options(options)
    return [(name, f"options: {text}") for name, text in wrong]


def check_case(values: Mapping[str, Any], scorer: Scorer, options: Mapping[str, Any]) -> list[str]:
    """What is wrong with a case, but for its id: its keys, and whether it can be right as well as wrong."""
    wrong = [text for _, text in check_keys(values, scorer.keys)]
    if "messages" in scorer.keys:
        given = [key for key in ("prompt", "messages", "prompts") if key in values]
        if not given and not {"wordings", "choices"} & values.keys():
            wrong.append("neither `prompt` nor `messages`")
        if len(given) > 1:
            wrong.append(f"both `{given[0]}` and `{given[1]}`")
    return wrong or scorer.check(values, options)


def check_cases(cases: Sequence[Mapping[str, Any]], scorer: Scorer) -> list[str]:
    """What is wrong with a suite's cases together, though none is wrong by itself."""
    return scorer.check_all(cases) if cases else []


def check_gates(given: Any, scorer: Scorer) -> tuple[tuple[Gate, ...], list[str]]:
    """The gates of a head (one, or a list), and what is wrong with them."""
    gates: list[Gate] = []
    wrong: list[str] = []
    for entry in given if isinstance(given, list) else [given]:
        faults = _gate_faults(entry, scorer)
        wrong += [f"gate: {text}" for text in faults]
        if not faults:
            gates.append(Gate(**{"metric": scorer.metrics[0].name, **entry}))
    return tuple(gates), wrong


def _gate_faults(entry: Any, scorer: Scorer) -> list[str]:
    if not isinstance(entry, dict):
        example = f'{{"metric": "{scorer.metrics[0].name}", "at_least": 0.9}}'
        return [f"an object such as {example}, not {shown(entry)}"]
    wrong = [text for _, text in _unknown(entry, _GATE_KEYS)]
    metrics = {metric.name: metric for metric in scorer.metrics}
    name = entry.get("metric", scorer.metrics[0].name)
    if not isinstance(name, str) or name not in metrics:
        near = meant(name, metrics) if isinstance(name, str) else ""
        wrong.append(f"{scorer.name} has no metric {shown(name)}{near}; it has {', '.join(metrics)}")
    bounds = [key for key in _BOUNDS if key in entry]
    if not bounds:
        wrong.append(f"no bound: {', '.join(_BOUNDS)}")
    wrong += [f"`{key}` is a number, not {shown(entry[key])}" for key in bounds if not _is_number(entry[key])]
    relative = [key for key in bounds if key in _RELATIVE]
    if "against" in entry and entry["against"] not in SYSTEMS:
        wrong.append(f"`against` is {_one_of(entry['against'], SYSTEMS)}")
    elif "against" in entry and bounds and not relative:
        wrong.append(
            f"`against` needs {' or '.join(f'`{key}`' for key in _RELATIVE)}: how far from that system's"
        )
    elif relative and "against" not in entry:
        wrong.append(f"`{relative[0]}` needs `against`: {' or '.join(SYSTEMS)}")
    if not isinstance(entry.get("sure", False), bool):
        wrong.append(f"`sure` is true or false, not {shown(entry['sure'])}")
    return wrong or _bound_faults({key: float(entry[key]) for key in bounds}, metrics[name])


def _bound_faults(bounds: Mapping[str, float], metric: Metric) -> list[str]:
    """Bounds that no figure can break, or none can keep."""
    wrong = []
    least, most = bounds.get("at_least"), bounds.get("at_most")
    if metric.shape == "share":
        if least is not None and not 0 < least <= 1:
            wrong.append(
                f"`at_least` {least:g} of a share, which is 0 to 1: every figure keeps it, or none does"
            )
        if most is not None and not 0 <= most < 1:
            wrong.append(
                f"`at_most` {most:g} of a share, which is 0 to 1: every figure keeps it, or none does"
            )
        if not -1 < bounds.get("drop_at_most", 0) < 1:
            wrong.append("`drop_at_most` of a share is below 1: a larger drop there is none")
    if least is not None and most is not None and least > most:
        wrong.append(f"`at_least` {least:g} and `at_most` {most:g}: no figure keeps both")
    for key in _RELATIVE:
        if key in bounds and metric.better == "neither":
            wrong.append(
                f"`{key}`: of {metric.name} neither more nor less is worse; give `at_least` and `at_most`"
            )
    if "ratio_at_most" in bounds and metric.better == "higher":
        wrong.append(
            f"`ratio_at_most` is for figures of which more is worse; for {metric.name} give `drop_at_most`"
        )
    if bounds.get("ratio_at_most", 1) <= 0:
        wrong.append("`ratio_at_most` is above 0")
    return wrong
