"""What may stand in a suite's head, gates, options and cases; each fault in words, the nearest key named. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from appliance.dataset.nearest import meant
from appliance.evaluation.scoring import SCORERS, Key, Scorer
from appliance.evaluation.suite import Gate

KINDS = ("domain", "tone", "safety", "bias", "hallucination", "memory", "retention", "quantization")
HEAD_KEYS = (
    "suite", "scorer", "title", "about", "kind", "gate", "options", "system", "max_tokens", "licence", "cases",
)  # fmt: skip
_BOUNDS = ("at_least", "at_most", "drop_at_most", "ratio_at_most")
_GATE_KEYS = ("metric", "against", "sure", *_BOUNDS)
SYSTEMS = ("base", "base_told", "tuned_f16")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _unknown(given: Iterable[str], known: Iterable[str]) -> list[str]:
    names = list(known)
    return [f"unknown key `{key}`{meant(key, names)}" for key in given if key not in names]


def check_head(head: Mapping[str, Any]) -> list[str]:
    """What is wrong with a suite's head."""
    wrong = _unknown(map(str, head), HEAD_KEYS)
    name = head.get("suite")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        wrong.append(f"`suite` is a name of letters, digits, `-`, `_` and `.`, not {name!r}")
    scorer = head.get("scorer")
    if scorer is None:
        wrong.append(f"`scorer` is missing; there are {', '.join(SCORERS)}")
    elif scorer not in SCORERS:
        near = meant(str(scorer), SCORERS)
        wrong.append(f"no scorer is called {scorer!r}{near or '; there are ' + ', '.join(SCORERS)}")
    if head.get("kind", "domain") not in KINDS:
        wrong.append(
            f"`kind` is one of {', '.join(KINDS)}, not {head['kind']!r}{meant(str(head['kind']), KINDS)}"
        )
    tokens = head.get("max_tokens", 1)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= 8192:
        wrong.append(f"`max_tokens` is a number from 1 to 8192, not {tokens!r}")
    if not isinstance(head.get("options") or {}, dict):
        wrong.append("`options` is an object")
    return wrong


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, dict)
            and turn.get("role") in {"system", "user", "assistant"}
            and isinstance(turn.get("content"), str)
            for turn in value
        )
        and value[-1]["role"] == "user"
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)
    )


_RIGHT: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (lambda value: isinstance(value, str), "a text"),
    "texts": (_is_texts, "a text or a list of texts"),
    "number": (_is_number, "a number"),
    "flag": (lambda value: isinstance(value, bool), "true or false"),
    "messages": (_is_messages, "a list of {role, content}, the last one the user's"),
    "object": (lambda value: isinstance(value, dict), "an object"),
    "json": (lambda value: value is not None, "a JSON value"),
}


def check_keys(values: Mapping[str, Any], keys: Mapping[str, Key]) -> list[tuple[str, str]]:
    """(key, what is wrong with it)."""
    wrong = [(key, text) for key in values if key not in keys for text in _unknown([str(key)], keys)]
    for name, key in keys.items():
        if name not in values:
            if key.required:
                about = f" ({key.about})" if key.about else ""
                wrong.append((name, f"`{name}` is missing{about}"))
            continue
        fits, words = _RIGHT[key.kind]
        if not fits(values[name]):
            wrong.append((name, f"`{name}` is {words}, not {str(values[name])[:60]!r}"))
    return wrong


def check_options(options: Mapping[str, Any], scorer: Scorer) -> list[tuple[str, str]]:
    """(option, what is wrong with it)."""
    return [(name, f"options: {text}") for name, text in check_keys(options, scorer.options)]


def check_case(values: Mapping[str, Any], scorer: Scorer) -> list[str]:
    """What is wrong with a case, but for its id."""
    wrong = [text for _, text in check_keys(values, scorer.keys)]
    if "messages" in scorer.keys and "choices" not in scorer.keys:
        given = [key for key in ("prompt", "messages") if key in values]
        if not given and "wordings" not in values:
            wrong.append("neither `prompt` nor `messages`")
        if len(given) == 2:
            wrong.append("both `prompt` and `messages`")
    if not wrong and "pattern" in scorer.keys:
        try:
            re.compile(values["pattern"])
        except re.error as error:
            wrong.append(f"`pattern` is no regular expression: {error}")
    if not wrong and "answer" in scorer.keys:
        choices = max(_count(values.get("choices")), _count(values.get("prompts")))
        if values["answer"] not in range(choices):
            wrong.append(f"`answer` is {values['answer']!r}, and the choices are 0 to {choices - 1}")
    return wrong


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value is not None)


def check_gates(given: Any, scorer: Scorer) -> tuple[tuple[Gate, ...], list[str]]:
    """The gates of a head (none, one, or a list), and what is wrong with them."""
    entries = [] if given is None else given if isinstance(given, list) else [given]
    gates: list[Gate] = []
    wrong: list[str] = []
    for entry in entries:
        faults = _gate_faults(entry, scorer)
        wrong += [f"gate: {text}" for text in faults]
        if not faults:
            values = {"metric": scorer.metrics[0].name, **entry}
            gates.append(Gate(**values))
    return tuple(gates), wrong


def _gate_faults(entry: Any, scorer: Scorer) -> list[str]:
    if not isinstance(entry, dict):
        return [f'an object such as {{"metric": "{scorer.metrics[0].name}", "at_least": 0.9}}, not {entry!r}']
    wrong = _unknown(map(str, entry), _GATE_KEYS)
    names = [metric.name for metric in scorer.metrics]
    metric = entry.get("metric", names[0])
    if metric not in names:
        wrong.append(
            f"{scorer.name} has no metric {metric!r}{meant(str(metric), names)}; it has {', '.join(names)}"
        )
    bounds = [key for key in _BOUNDS if key in entry]
    wrong += [f"`{key}` is a number, not {entry[key]!r}" for key in bounds if not _is_number(entry[key])]
    if not bounds:
        wrong.append(f"no bound: {', '.join(_BOUNDS)}")
    relative = [key for key in bounds if key in {"drop_at_most", "ratio_at_most"}]
    if relative and entry.get("against") not in SYSTEMS:
        wrong.append(f"`{relative[0]}` needs `against`: {' or '.join(SYSTEMS)}")
    if not isinstance(entry.get("sure", False), bool):
        wrong.append("`sure` is true or false")
    return wrong
