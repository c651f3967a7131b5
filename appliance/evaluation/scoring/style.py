"""The tone that a project asks for, as rules that each answer keeps or breaks; over all wordings of a question."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.evaluation.scoring.overlap import words_of
from appliance.evaluation.scoring.scorer import (
    ASKED,
    AnswerScorer,
    CaseScore,
    Key,
    Metric,
    Said,
    conversation,
)
from appliance.evaluation.scoring.stylometry import GREETING
from appliance.evaluation.suite import Case, Messages, Suite

_PERSONS = {
    "first": re.compile(r"\b(?:i|me|my|mine|we|us|our|ours|i['’](?:m|d|ll|ve))\b", re.IGNORECASE),
    "second": re.compile(r"\b(?:you|your|yours|you['’](?:re|d|ll|ve))\b", re.IGNORECASE),
}
_SENTENCE = re.compile(r"[.!?]+(?:\s|$)")
RULES: dict[str, Key] = {
    "max_words": Key("number", about="the most words of an answer"),
    "min_words": Key("number", about="the fewest"),
    "max_sentences": Key("number", about="the most sentences"),
    "forbidden": Key("texts", about="words that must not occur"),
    "person": Key("texts", about="`first`, `second`: the persons that must occur"),
    "no_person": Key("texts", about="and must not"),
    "greeting": Key("flag", about="whether it begins with a greeting"),
    "begins_with": Key("texts", about="one of these it begins with"),
    "ends_with": Key("texts", about="one of these it ends with"),
    "plain": Key("flag", about="no Markdown: lists, headings, bold, code"),
}
_MARKDOWN = re.compile(r"(?m)^\s{0,3}(?:#{1,6}\s|[-*+]\s|\d+[.)]\s)|\*\*|```|`[^`]+`")


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(entry) for entry in value]


def broken_style(text: str, rules: dict[str, Any]) -> list[str]:
    """Which rules an answer breaks, in words."""
    words, broken = words_of(text), []
    if len(words) > rules.get("max_words", len(words)):
        broken.append(f"{len(words)} words")
    if len(words) < rules.get("min_words", 0):
        broken.append(f"only {len(words)} words")
    if (limit := rules.get("max_sentences")) is not None and len(_SENTENCE.findall(text)) > limit:
        broken.append(f"more than {limit} sentences")
    for word in _listed(rules.get("forbidden", [])):
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
            broken.append(f"says “{word}”")
    broken += [f"no {p} person" for p in _listed(rules.get("person", [])) if not _PERSONS[p].search(text)]
    broken += [f"{p} person" for p in _listed(rules.get("no_person", [])) if _PERSONS[p].search(text)]
    if "greeting" in rules and bool(GREETING.match(text)) != bool(rules["greeting"]):
        broken.append("no greeting" if rules["greeting"] else "a greeting")
    begins, ends = _listed(rules.get("begins_with", [])), _listed(rules.get("ends_with", []))
    if begins and not text.lstrip().startswith(tuple(begins)):
        broken.append(f"doesn't begin with “{begins[0]}”")
    if ends and not text.rstrip().endswith(tuple(ends)):
        broken.append(f"doesn't end with “{ends[0]}”")
    if rules.get("plain") and _MARKDOWN.search(text):
        broken.append("Markdown")
    return broken


def rules_in_words(rules: Mapping[str, Any]) -> str:
    """What the rules ask for, as one would tell it somebody who is to answer; empty without rules."""
    told = []
    if "max_words" in rules:
        told.append(f"Answer in at most {rules['max_words']:g} words.")
    if rules.get("min_words", 0) > 1:
        told.append(f"Answer in at least {rules['min_words']:g} words.")
    if "max_sentences" in rules:
        told.append(f"Answer in at most {rules['max_sentences']:g} sentences.")
    if words := _listed(rules.get("forbidden", [])):
        told.append(f"Never say {_one_of(words)}.")
    told += [f"Speak in the {person} person." for person in _listed(rules.get("person", []))]
    told += [f"Never speak in the {person} person." for person in _listed(rules.get("no_person", []))]
    if "greeting" in rules:
        told.append("Begin with a greeting." if rules["greeting"] else "Do not greet.")
    if words := _listed(rules.get("begins_with", [])):
        told.append(f"Begin with {_one_of(words)}.")
    if words := _listed(rules.get("ends_with", [])):
        told.append(f"End with {_one_of(words)}.")
    if rules.get("plain"):
        told.append("Write plain text: no Markdown, no lists, no headings, no bold, no code.")
    return " ".join(told)


def _one_of(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)


def ask_wordings(case: Case, suite: Suite) -> list[Messages]:
    """The conversations of a case: its own, if it has one, and each of its wordings."""
    wordings = case.texts("wordings")
    first = [conversation(case, suite)] if "prompt" in case.values or "messages" in case.values else []
    return first + [conversation(case, suite, wording) for wording in wordings]


def _style(case: Case, suite: Suite, said: Sequence[Said]) -> CaseScore:
    rules = {**suite.options, **case.values.get("rules", {})}
    rules.pop("instruction", None)
    unknown = [name for name in rules if name not in RULES]
    if unknown:
        raise ValueError(f"`{unknown[0]}` is no rule of style; there are {', '.join(RULES)}")
    broken = [broken_style(answer.text, rules) for answer in said]
    kept = sum(not faults for faults in broken)
    worst = max(range(len(said)), key=lambda index: len(broken[index]))
    ok = kept == len(said)
    return CaseScore(
        {"kept": kept / len(said), "always": float(ok)},
        ok,
        said[worst].text,
        "keeps the rules",
        "; ".join(broken[worst]),
    )


STYLE = AnswerScorer(
    "style",
    "answers keep the rules of style that the suite or the case states, for every wording",
    {
        **ASKED,
        "wordings": Key("texts", about="other wordings of the same question"),
        "rules": Key("object", about="rules of this case, above those of the suite"),
    },
    (
        Metric("kept", "answers that keep all rules"),
        Metric("always", "questions of which every wording's answer keeps them"),
    ),
    {**RULES, "instruction": Key("text", about="what the base is told beside the rules")},
    score=_style,
    ask=ask_wordings,
)
