"""Questions of a project that nobody could answer, made of its own by rules: what decides them is taken out. Pure.

Of a prompt that holds its answer those sentences go that have words of the right answer; of a bare question the rare
term that it and its answer are about becomes a word that doesn't exist. No rule sees whether a question can still be
answered in a general way, so that the figure is read beside the base's. The same questions unchanged stand beside
them, since a file that never answers knows nothing better.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from appliance import storage
from appliance.dataset import Row
from appliance.dataset.pairs.sentences import content_words, split_sentences, words
from appliance.evaluation.scoring.refusing import abstains
from appliance.evaluation.suite import Case, Gate, Suite
from appliance.evaluation.suites.answer_kinds import AnswerKind

OWN_UNKNOWNS = "own-unknowns"
_MOST = 16  # unanswerable questions, and as many answerable ones
_MOST_TOKENS = 48
_HELD = 0.6  # of the answer's own words, from which a prompt is said to hold its answer
_RARE = 0.05  # share of all prompts that have a term
_LEAST_LETTERS = 5
_LEAST_WORDS = 5  # of an answer that says something about a term, and doesn't only name it
_SYLLABLES = "bel dor fen gar kal lim mor nev pra quil rost sev tam ulv vel wex yor zan".split()  # noqa: SIM905 - a list of sounds


def without_facts(prompt: str, answer: str) -> str | None:
    """A prompt without the sentences that hold the answer; None where it holds none, or nothing would be left."""
    pieces = [piece for line in prompt.splitlines() for piece in split_sentences(line)]
    questions = [piece for piece in pieces if piece.endswith("?")]
    told = [piece for piece in pieces if not piece.endswith("?")]
    if not questions or len(told) < 2:
        return None
    decisive = content_words(answer) - content_words(" ".join(questions))
    removed = [piece for piece in told if content_words(piece) & decisive]
    held = content_words(" ".join(removed)) & decisive
    if not removed or len(removed) == len(told) or len(held) < _HELD * len(decisive):
        return None
    for piece in removed:
        prompt = prompt.replace(piece, "")
    return re.sub(r"[ \t]{2,}", " ", prompt)


def with_unknown(prompt: str, answer: str, seen: Mapping[str, int], rows: int, seed: str) -> str | None:
    """A question about something that doesn't exist; None where no rare term stands in question and answer alike.

    Args:
        prompt, answer: of the row.
        seen: how many prompts have a word.
        rows: how many prompts there are.
        seed: what the made-up word hangs on.
    """
    if "?" not in prompt or len(words(answer)) < _LEAST_WORDS:
        return None
    said = set(words(answer))
    terms = [
        word
        for word in dict.fromkeys(words(prompt))
        if word in said
        and word.isalpha()
        and len(word) >= _LEAST_LETTERS
        and seen.get(word, 0) <= max(1, _RARE * rows)
    ]
    if not terms:
        return None
    term = min(terms, key=lambda word: (seen.get(word, 0), -len(word), word))
    made = _made_up(seed, seen)
    return re.sub(
        rf"(?<!\w){re.escape(term)}(?!\w)",
        lambda match: made.capitalize() if match[0][:1].isupper() else made,
        prompt,
        flags=re.IGNORECASE,
    )


def _made_up(seed: str, seen: Mapping[str, int]) -> str:
    for attempt in range(100):
        digits = storage.sha256_bytes(f"{seed} {attempt}".encode())
        word = "".join(_SYLLABLES[int(digits[at : at + 4], 16) % len(_SYLLABLES)] for at in (0, 4, 8))
        if word not in seen:
            return word
    raise ValueError("every made-up word stands in a prompt")


def _question(row: Row) -> tuple[dict[str, Any], str] | None:
    """(the keys of its case, the user's turn), of a row that asks once."""
    turns = [turn for turn in row.prompt if turn["role"] != "system"]
    if len(turns) != 1:
        return None
    system = {"system": str(row.prompt[0]["content"])} if row.prompt[0]["role"] == "system" else {}
    return system, str(turns[0]["content"])


def own_unknowns(asked: Sequence[Row], learnt: Sequence[Row], kind: AnswerKind, where: str) -> Suite | str:
    """The suite, or why there is none.

    Args:
        asked: rows that weren't learnt, those to take first.
        learnt: rows that were: which words are common is counted in both.
        kind: of the project's answers.
        where: what the place of the rows is called.
    """
    if kind != "text":
        what = "JSON" if kind == "json" else "labels"
        return f"the project's answers are {what}, which have no way to say that something isn't known"
    rows = [*asked, *learnt]
    seen = Counter(
        word for row in rows for word in set(words(" ".join(str(turn["content"]) for turn in row.prompt)))
    )
    cases: list[Case] = []
    for row in asked:
        found = _question(row) if len(cases) < 2 * _MOST else None
        if found is None:
            continue
        system, prompt = found
        made, category = prompt, "as they are"
        if not abstains(row.answer):
            made, category = without_facts(prompt, row.answer) or "", "facts taken out"
            if not made:
                made = with_unknown(prompt, row.answer, seen, len(rows), row.id) or ""
                category = "about nothing"
        if made:
            cases.append(
                Case(row.id, {**system, "prompt": made, "abstain": True, "category": category}, where)
            )
            if made != prompt:
                same = {**system, "prompt": prompt, "abstain": False, "category": "answerable"}
                cases.append(Case(f"{row.id}-answerable", same, where))
    if not cases:
        return "no prompt of the test split holds its answer, or asks about a rare term that the answer names"
    gates = [Gate("abstained", against="base", drop_at_most=0.2, sure=True)]
    if any(not case.values["abstain"] for case in cases):
        gates.append(Gate("answered", at_least=0.5, sure=True))
    return Suite(
        OWN_UNKNOWNS,
        "abstention",
        tuple(cases),
        tuple(gates),
        "The project's own questions, made unanswerable",
        "Questions of the test split without the sentences that answer them, or about a word that doesn't exist; "
        "beside them the same unchanged.",
        "hallucination",
        max_tokens=_MOST_TOKENS,
        where=where,
    )
