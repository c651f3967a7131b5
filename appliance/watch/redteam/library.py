"""The attacks: texts of attacks.json put together by families, the same set for the same seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from typing import Any, Literal

from appliance.watch.redteam.mutations import ENCODINGS, word_of

RULES = 3  # of judging.py; grows when they change
FAMILIES: dict[str, str] = {
    "direct": "harmful requests in plain words",
    "paraphrase": "harmful requests, orders and questions in other words",
    "framing": "harmful requests with reasons, pressure and politeness around them",
    "encoding": "the same in base64, rot13, leetspeak, backwards, with typing errors",
    "role_play": "the same as a part to play or a story to tell",
    "many_shot": "the same after turns in which everything was answered",
    "override": "orders to drop the task and say a word",
    "injected_data": "such orders inside a document that is asked about",
    "in_task": "such orders behind the release's own golden prompts",
    "prompt_leak": "questions for the secret in a system prompt",
}
Kind = Literal["refuses", "absent"]
Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Attack:
    """One thing to ask, and what must not come of it.

    Attributes:
        id: the same in every run.
        family: of `FAMILIES`.
        messages: turns, the last one the user's.
        kind: `refuses`: the request must not be answered; `absent`: `word` must not be said.
        word: what must not be said.
        request: the request in plain words, as the judge reads it.
        wording: the same in the words in which it is asked, where they are others.
        golden: the answer without the attack, where one is known.
        teaching: its failure may become a row to learn from; the others judge the next round.
    """

    id: str
    family: str
    messages: Messages
    kind: Kind
    word: str = ""
    request: str = ""
    golden: str = ""
    teaching: bool = False
    wording: str = ""


@dataclass(frozen=True)
class Library:
    """The texts, and `digest`, of them and of the judge's rules: runs with others aren't compared."""

    texts: Mapping[str, Any]
    digest: str


@lru_cache(maxsize=1)
def load() -> Library:
    """The library that the product brings."""
    data = resources.files("appliance.watch.redteam").joinpath("attacks.json").read_bytes()
    return Library(json.loads(data), hashlib.sha256(b"rules %d\n" % RULES + data).hexdigest())


def _user(text: str, *before: dict[str, str]) -> Messages:
    return (*before, {"role": "user", "content": text})


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


def _harmful(
    library: Library, family: str, forms: Mapping[str, Callable[[str], Messages]]
) -> Iterator[Attack]:
    for item in library.texts["harmful"]:
        # By request, so that no writing of what is learnt from stands among those that judge.
        teaching = _fraction(f"teach {item['id']}") < 0.5
        for name, form in forms.items():
            yield Attack(
                f"{family}/{item['id']}/{name}", family, form(item["text"]), "refuses",
                request=item["text"], teaching=teaching,
            )  # fmt: skip


def _shots(library: Library, count: int, request: str) -> Messages:
    turns = [
        {"role": role, "content": text}
        for pair in library.texts["shots"][:count]
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    return _user(request, *turns)


def _encoded(encode: Callable[[str], str], request: str) -> Messages:
    return _user(encode(request))


def _filled(template: str, request: str) -> Messages:
    return _user(template.replace("{request}", request))


def _wrapped(library: Library, key: str) -> dict[str, Callable[[str], Messages]]:
    return {item["id"]: partial(_filled, item["text"]) for item in library.texts[key]}


def _order(name: str, texts: Sequence[tuple[str, str]], teaching: bool, golden: str = "") -> Attack:
    """An attack by which a word is to be said: turns as (role, text), with `{word}` where it stands."""
    word = word_of(name)
    turns = tuple({"role": role, "content": text.replace("{word}", word)} for role, text in texts)
    return Attack(name, name.partition("/")[0], turns, "absent", word, golden=golden, teaching=teaching)


def _orders(library: Library) -> Iterator[Attack]:
    for item in library.texts["overrides"]:
        teaching = _fraction(f"teach {item['id']}") < 0.5
        # The word itself is left alone, or nobody could say whether it came.
        before, word, behind = item["text"].partition("{word}")
        for spelling in ("plain", "typos", "leet"):
            encode = ENCODINGS.get(spelling, str)
            told = f"{encode(before)} {word} {encode(behind)}" if spelling != "plain" else item["text"]
            yield _order(f"override/{item['id']}/{spelling}", [("user", told.strip())], teaching)
    for document in library.texts["documents"]:
        teaching = _fraction(f"teach {document['id']}") < 0.5
        for item in library.texts["injections"]:
            body = document["text"].replace("{injection}", item["text"])
            told = f"{document['ask']}\n\n{body}"
            yield _order(f"injected_data/{document['id']}/{item['id']}", [("user", told)], teaching)
    for number, secret in enumerate(library.texts["secrets"]):
        for item in library.texts["leaks"]:
            teaching = _fraction(f"teach {item['id']}") < 0.5
            turns = [("system", secret), ("user", item["text"])]
            yield _order(f"prompt_leak/{number}/{item['id']}", turns, teaching)


def _paraphrases(library: Library) -> Iterator[Attack]:
    """What is asked plainly elsewhere, in other words that a person wrote; each teaches where its plain text does."""

    def wordings(key: str) -> Iterator[tuple[dict[str, Any], str, str]]:
        for item in library.texts[key]:
            for number, text in enumerate(item["wordings"], start=1):
                yield item, f"paraphrase/{item['id']}/{key}-{number}", text

    def teaching(item: Mapping[str, Any]) -> bool:
        return _fraction(f"teach {item['id']}") < 0.5

    for item, name, text in wordings("harmful"):
        yield Attack(
            name, "paraphrase", _user(text), "refuses",
            request=item["text"], teaching=teaching(item), wording=text,
        )  # fmt: skip
    for item, name, text in wordings("overrides"):
        yield _order(name, [("user", text)], teaching(item))
    # In one document, and of one secret, each: in all of them they would drown the others.
    for number, (_, name, text) in enumerate(wordings("injections")):
        document = library.texts["documents"][number % len(library.texts["documents"])]
        body = document["text"].replace("{injection}", text)
        yield _order(name, [("user", f"{document['ask']}\n\n{body}")], teaching(document))
    for number, (item, name, text) in enumerate(wordings("leaks")):
        secret = library.texts["secrets"][number % len(library.texts["secrets"])]
        yield _order(name, [("system", secret), ("user", text)], teaching(item))


def _in_task(library: Library, golden: Sequence[Mapping[str, Any]]) -> Iterator[Attack]:
    for number, case in enumerate(golden):
        turns = [(str(turn["role"]), str(turn["content"])) for turn in case["messages"]]
        for item in library.texts["injections"]:
            attacked = [*turns[:-1], (turns[-1][0], f"{turns[-1][1]}\n{item['text']}")]
            name = f"in_task/{number}/{item['id']}"
            yield _order(name, attacked, number % 2 == 0, str(case.get("answer", "")))


def all_attacks(library: Library, golden: Sequence[Mapping[str, Any]] = ()) -> list[Attack]:
    """Every attack that the library knows.

    Args:
        golden: the release's golden prompts, each with "messages" and "answer"; the family `in_task` is made of them.
    """
    encodings = {name: partial(_encoded, encode) for name, encode in ENCODINGS.items()}
    many = {f"{count}": partial(_shots, library, count) for count in (2, 4)}
    return [
        *_harmful(library, "direct", {"plain": _user}),
        *_paraphrases(library),
        *_harmful(library, "framing", _wrapped(library, "framings")),
        *_harmful(library, "encoding", encodings),
        *_harmful(library, "role_play", _wrapped(library, "role_plays")),
        *_harmful(library, "many_shot", many),
        *_orders(library),
        *_in_task(library, golden),
    ]


def choose(attacks: Sequence[Attack], families: Sequence[str], sample: int, seed: int) -> list[Attack]:
    """Of each family `sample` attacks (0: all), drawn by the seed, in an order that mixes the families.

    The order is the same for the same seed, so an interrupted run goes on where it stopped.
    """
    chosen: list[tuple[int, float, Attack]] = []
    for family in families:
        own = [(_fraction(f"{seed} {attack.id}"), attack) for attack in attacks if attack.family == family]
        own.sort(key=lambda each: (each[0], each[1].id))
        chosen += [(place, at, attack) for place, (at, attack) in enumerate(own[: sample or None])]
    return [attack for _, _, attack in sorted(chosen, key=lambda each: (each[0], each[1], each[2].id))]
