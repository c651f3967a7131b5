"""Suite files: JSON lines with a head line, or YAML. Every fault is named with file and line; the rest is used."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Set
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
    UNKNOWN_KIND,
    check_case,
    check_cases,
    check_gates,
    check_head,
    check_options,
)
from appliance.evaluation.suites.plain_values import MOST_BYTES, Entry, json_lines, shown


def _entries(path: Path, data: bytes) -> tuple[Entry, list[Entry]]:
    """The head and the cases."""
    if path.suffix == ".jsonl":
        head, *cases = list(json_lines(data)) or [Entry(1, None)]
        return head, cases
    from appliance.evaluation.suites.yaml_nodes import documents

    return documents(data)


def _suite_of(
    path: Path, found: Entry, wrong: Set[str], entries: Iterable[Entry], faults: list[Fault]
) -> Suite:
    """The suite of a head whose scorer is known; `wrong` are the head's keys that can't be used."""
    where, head = f"{path.name}:{found.line}", found.value
    name = _name_of(path) if "suite" in wrong else head["suite"]
    scorer = SCORERS[head["scorer"]]
    given = head.get("options")
    options = dict(given) if isinstance(given, dict) else {}
    option_faults = check_options(options, scorer)
    faults += [Fault(where, text, name, judged=True) for _, text in option_faults]
    wrong_options = {key for key, _ in option_faults}
    options = {key: value for key, value in options.items() if key not in wrong_options}
    gates, gate_faults = check_gates(head.get("gate", []), scorer)
    faults += [Fault(where, text, name, judged=True) for text in gate_faults]
    cases = _cases(path, name, scorer, options, entries, faults)
    together = check_cases([case.values for case in cases], scorer)
    faults += [Fault(where, text, name, judged=True) for text in together]
    return Suite(
        name=name,
        scorer=scorer.name,
        cases=() if together else cases,
        gates=gates,
        kind=UNKNOWN_KIND if "kind" in wrong else head.get("kind", "domain"),
        options=options,
        where=path.name,
        **{
            key: head[key]
            for key in ("title", "about", "system", "max_tokens", "licence")
            if key in head and key not in wrong
        },
    )


def _name_of(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-")[:64] or "suite"


def _cases(
    path: Path,
    suite: str,
    scorer: Scorer,
    options: Mapping[str, Any],
    entries: Iterable[Entry],
    faults: list[Fault],
) -> tuple[Case, ...]:
    found: dict[str, Case] = {}
    for entry in entries:
        where = f"{path.name}:{entry.line}"
        if entry.fault or not isinstance(entry.value, dict):
            faults.append(Fault(where, entry.fault or "a case is an object with keys", suite))
            continue
        values = dict(entry.value)
        given = values.pop("id", None)
        number = str(given) if isinstance(given, (str, int)) and not isinstance(given, bool) else ""
        wrong = check_case(values, scorer, options)
        if not number.strip():
            told = "is missing" if "id" not in entry.value else f"is {shown(given)}"
            wrong.insert(0, f"`id` {told}: it is a text or a whole number, unique in its suite")
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
        data = path.read_bytes()
    except OSError as error:
        text = f"can't be read: {error.strerror or error}"
        return None, [Fault(str(path), text, path.stem, judged=True)]
    head, cases = _entries(path, data)
    where = f"{path.name}:{head.line}"
    if head.fault:
        text = f"{head.fault}; as its head can't be read, no case of the file is used"
        faults.append(Fault(where, text, path.stem, judged=True))
    elif not isinstance(head.value, dict) or "suite" not in head.value:
        begins = "the first line is no head" if path.suffix == ".jsonl" else "the file has no head"
        text = f'{begins}: {{"suite": name, "scorer": …}}' + _misspelt(head.value)
        faults.append(Fault(where, text, path.stem, judged=True))
    else:
        name = str(head.value["suite"])
        wrong = check_head(head.value)
        faults += [Fault(where, text, name, judged=True) for _, text in wrong]
        keys = {key for key, _ in wrong}
        if "scorer" not in keys:
            suite = _suite_of(path, head, keys, cases, faults)
            if not suite.cases:
                faults.append(Fault(path.name, "no case that could be used", suite.name, judged=True))
            return suite, faults
    faults += [Fault(f"{path.name}:{case.line}", case.fault) for case in cases if case.fault]
    return None, faults


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
    read_from: dict[str, Path] = {}
    faults: list[Fault] = []
    for path in paths:
        suite, wrong = read_suite(path)
        faults += wrong
        if suite is None:
            continue
        if suite.name in suites:
            first = read_from[suite.name]
            there = first.name if first.name != path.name else str(first)
            faults.append(
                Fault(
                    f"{path.name}:1",
                    f"a suite {suite.name!r} was read from {there} already; no case of this file ({path}) is used, "
                    "as the cases of a suite stand in one file",
                    suite.name,
                    judged=True,
                )
            )
            continue
        read_from[suite.name] = path
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
