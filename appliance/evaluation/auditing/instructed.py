"""A tone suite as the base is asked it: with the style in the prompt that the tuned file was trained to keep. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from appliance.evaluation.scoring.style import RULES, rules_in_words
from appliance.evaluation.suite import Case, Suite


def instructed(suite: Suite) -> Suite:
    """The suite with its rules in words, and its option `instruction`, behind each case's system prompt."""
    return replace(
        suite,
        system=_joined(suite.system, _style(suite.options)) or None,
        cases=tuple(_told(case, suite) for case in suite.cases),
    )


def _style(options: Mapping[str, Any]) -> str:
    rules = {name: value for name, value in options.items() if name in RULES}
    return _joined(str(options.get("instruction", "")), rules_in_words(rules))


def _joined(*parts: str | None) -> str:
    return "\n\n".join(part for part in parts if part)


def _told(case: Case, suite: Suite) -> Case:
    values = dict(case.values)
    style = _style({**suite.options, **values.get("rules", {})})
    if not style:
        return case
    messages = values.get("messages")
    if messages and messages[0]["role"] == "system":
        values["messages"] = [
            {**messages[0], "content": _joined(messages[0]["content"], style)},
            *messages[1:],
        ]
    if "system" in values or "rules" in values:
        values["system"] = _joined(values.get("system", suite.system), style)
    return replace(case, values=values)
