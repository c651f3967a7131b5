"""Suite files: JSON lines with a head line, or YAML. Every fault is named with file and line; the rest is used."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.audit_scope import STANDARD, suite_files
from appliance.dataset.nearest import meant
from appliance.errors import DataError
from appliance.evaluation.scoring import SCORERS, Scorer
from appliance.evaluation.suite import Case, Fault, Gate, Suite
from appliance.evaluation.suites.checking import (
    HEAD_KEYS,
    check_case,
    check_gates,
    check_head,
    check_options,
)

MOST_BYTES = 64 * 1024 * 1024  # of a file
_MOST_CHARACTERS = 400_000  # of a case's line; about 100k tokens, which no context here holds

Located = tuple[int, Any]
"""(line, value)."""


def _json_lines(path: Path, text: str, faults: list[Fault]) -> Iterator[Located]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        if len(line) > _MOST_CHARACTERS:
            faults.append(
                Fault(where, f"{len(line)} characters, more than a case may have ({_MOST_CHARACTERS})")
            )
            continue
        try:
            yield number, json.loads(line, parse_constant=_no_constant, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            faults.append(Fault(where, f"not JSON: {error}"))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands there twice")
        found[key] = value
    return found


def _yaml(path: Path, text: str, faults: list[Fault]) -> Iterator[Located]:
    from appliance.evaluation.suites.yaml_nodes import documents

    try:
        head, cases = documents(text)
    except ValueError as error:
        faults.append(Fault(path.name, str(error), path.stem, judged=True))
        return
    yield head
    yield from cases


def _suite_of(
    path: Path, head: dict[str, Any], line: int, cases: Iterator[Located], faults: list[Fault]
) -> Suite | None:
    where = f"{path.name}:{line}"
    name = str(head.get("suite", path.stem))
    wrong = check_head(head)
    faults += [Fault(where, text, name, judged=True) for text in wrong]
    scorer = SCORERS.get(str(head.get("scorer")))
    if scorer is None:
        for _ in cases:  # so that its broken lines are named too
            pass
        return None
    given = head.get("options")
    options = dict(given) if isinstance(given, dict) else {}
    option_faults = check_options(options, scorer)
    faults += [Fault(where, text, name, judged=True) for _, text in option_faults]
    options = {key: value for key, value in options.items() if key not in {bad for bad, _ in option_faults}}
    gates, gate_faults = check_gates(head.get("gate"), scorer)
    faults += [Fault(where, text, name, judged=True) for text in gate_faults]
    max_tokens = head.get("max_tokens", 128)
    return Suite(
        name=name,
        scorer=scorer.name,
        cases=_cases(path, name, scorer, cases, faults),
        gates=gates,
        title=str(head.get("title", "")),
        about=str(head.get("about", "")),
        kind=str(head.get("kind", "domain")),
        options=options,
        system=None if head.get("system") is None else str(head["system"]),
        max_tokens=max_tokens if isinstance(max_tokens, int) and 1 <= max_tokens <= 8192 else 128,
        where=path.name,
        licence=str(head.get("licence", "")),
    )


def _cases(
    path: Path,
    suite: str,
    scorer: Scorer,
    entries: Iterator[Located],
    faults: list[Fault],
) -> tuple[Case, ...]:
    found: dict[str, Case] = {}
    for line, value in entries:
        where = f"{path.name}:{line}"
        if not isinstance(value, dict):
            faults.append(Fault(where, "a case is an object with keys", suite))
            continue
        values = dict(value)
        given = values.pop("id", None)
        number = str(given) if isinstance(given, (str, int)) and not isinstance(given, bool) else ""
        wrong = check_case(values, scorer)
        if not number:
            wrong.insert(0, "`id` is missing: a text or a number, unique in its suite")
        elif number in found:
            wrong.insert(
                0, f"the id {number!r} stands at {found[number].where} already; this case is left out"
            )
        if wrong:
            faults += [Fault(where, text, suite, number) for text in wrong]
            continue
        found[number] = Case(number, values, where)
    return tuple(found.values())


def read_suite(path: Path) -> tuple[Suite | None, list[Fault]]:
    """The suite in a file, without the cases that are wrong; None where its head says too little to use any.

    Returns:
        The suite, and every fault with its file and line.
    """
    faults: list[Fault] = []
    try:
        if path.stat().st_size > MOST_BYTES:
            return None, [Fault(path.name, f"more than {MOST_BYTES} bytes; split it", path.stem, judged=True)]
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        text = f"can't be read: {error.strerror or error}"
        return None, [Fault(path.name, text, path.stem, judged=True)]
    except UnicodeDecodeError as error:
        return None, [Fault(path.name, f"not UTF-8 text (byte {error.start})", path.stem, judged=True)]
    entries = _json_lines(path, text, faults) if path.suffix == ".jsonl" else _yaml(path, text, faults)
    line, head = next(entries, (1, None))
    if not isinstance(head, dict) or "suite" not in head:
        faults.append(
            Fault(
                f"{path.name}:{line}",
                'the first line is no head: {"suite": name, "scorer": …}' + _misspelt(head),
                path.stem,
                judged=True,
            )
        )
        return None, faults
    suite = _suite_of(path, head, line, entries, faults)
    if suite is not None and not suite.cases:
        faults.append(Fault(path.name, "no case that could be used", suite.name, judged=True))
    return suite, faults


def _misspelt(head: Any) -> str:
    if not isinstance(head, Mapping):
        return ""
    return next(
        (
            f"; `{key}`{meant(key, HEAD_KEYS)}"
            for key in head
            if key not in HEAD_KEYS and meant(key, HEAD_KEYS)
        ),
        "",
    )


def read_suites(paths: list[Path]) -> tuple[list[Suite], list[Fault]]:
    """The suites in files; of two with one name the first counts."""
    suites: dict[str, Suite] = {}
    faults: list[Fault] = []
    for path in paths:
        suite, wrong = read_suite(path)
        faults += wrong
        if suite is None:
            continue
        if suite.name in suites:
            faults.append(
                Fault(
                    path.name,
                    f"a suite {suite.name!r} was read from {suites[suite.name].where} already",
                    suite.name,
                    judged=True,
                )
            )
            continue
        suites[suite.name] = suite
    return list(suites.values()), faults


def standard_files() -> list[Path]:
    """The suites that ship with the product."""
    found = suite_files(STANDARD)
    if not found:
        raise DataError("the standard suites are missing from the installation", "install the package again")
    return found


def digest_of(suite: Suite) -> str:
    """SHA-256 of what a suite asks and how it is scored; titles and gates don't count."""
    return storage.sha256_json(
        {
            "scorer": suite.scorer,
            "options": _finite(dict(suite.options)),
            "system": suite.system,
            "max_tokens": suite.max_tokens,
            "cases": [[case.id, _finite(dict(case.values))] for case in suite.cases],
        }
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _finite(held) for key, held in value.items()}
    return [_finite(held) for held in value] if isinstance(value, list) else value


def gate_words(gate: Gate) -> str:
    """A gate's bound as people say it."""
    parts = []
    if gate.at_least is not None:
        parts.append(f"at least {gate.at_least:g}")
    if gate.at_most is not None:
        parts.append(f"at most {gate.at_most:g}")
    if gate.drop_at_most is not None:
        parts.append(f"at most {gate.drop_at_most:g} worse than {gate.against}")
    if gate.ratio_at_most is not None:
        parts.append(f"at most {gate.ratio_at_most:g} times {gate.against}'s")
    return f"{gate.metric} {' and '.join(parts)}" + (", beyond noise" if gate.sure else "")
