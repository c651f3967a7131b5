"""The embedded base asked for the names in a text: what a local model that was taught nothing adds to the rules.

`python -m benchmarks.pii_prompted --data FOLDER [--rows 30]` asks of so many rows of each PII set that hold a name (by
their digests, so the same ones each time), with four examples, greedily, and prints a JSON line a set: recall and
precision of names for the rules, for the model alone, and for both together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance import offline
from appliance.base_model import embedded_gguf
from appliance.dataset.redaction import Options, Span, find
from appliance.serving.engine_client import Completion, Engine, Sampling
from benchmarks.open_data import SHARED
from benchmarks.pii import SETS, Case, Piece, read_cases, score

_TASK = "List the names of persons in the text, divided by semicolons. Say none where there is no name."
_EXAMPLES = (
    ("hi i am Marta Jensen and i lost my card", "Marta Jensen"),
    ("Did you hear that Obama met Angela Merkel in Berlin ?", "Obama; Angela Merkel"),
    ("my claim number is 448812 and the car is a Honda", "none"),
    ("Please send it to Mr. Tobias Okafor, 12 Hill Street, Leeds.", "Tobias Okafor"),
)
_SAMPLING = Sampling(max_tokens=40, temperature=0.0)
_CONTEXT, _SLOTS = 1024, 4


def asked(texts: Sequence[str], folder: Path) -> list[str]:
    """What the base answers of each text; nothing for one that is too long."""
    answers = [""] * len(texts)
    with Engine(embedded_gguf(), slots=_SLOTS, context=_CONTEXT, log=folder / "engine.log") as engine:
        turns = [{"role": "system", "content": _TASK}]
        for text, names in _EXAMPLES:
            turns += [{"role": "user", "content": text}, {"role": "assistant", "content": names}]
        prompts = [engine.render([*turns, {"role": "user", "content": text}]) for text in texts]
        short = [
            place for place, prompt in enumerate(prompts) if len(prompt) + _SAMPLING.max_tokens <= _CONTEXT
        ]

        def done(number: int, answer: Completion) -> None:
            answers[short[number]] = answer.text

        engine.complete_many([prompts[place] for place in short], _SAMPLING, done)
    return answers


def spans_of(text: str, answer: str) -> list[Span]:
    """Where the names of an answer stand in the text; what doesn't stand there goes."""
    spans = []
    for name in answer.split("\n")[0].split(";"):
        if (name := name.strip(" .")) and name.lower() != "none":
            for found in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text):
                spans.append(Span(found.start(), found.end(), "name", 0.6, "the base says so"))
    return spans


def _line(name: str, cases: Sequence[Case], answers: Sequence[str]) -> dict[str, object]:
    said = {case.text: spans_of(case.text, answer) for case, answer in zip(cases, answers, strict=True)}
    names = frozenset({"name"})
    rules = Options(kinds=names)
    both = Options(kinds=names, tagger=lambda text: said.get(text, []))
    ways: dict[str, list[list[Piece]]] = {
        "rules": [[(s.start, s.end, s.kind) for s in find(case.text, rules)] for case in cases],
        "base": [[(s.start, s.end, s.kind) for s in said[case.text]] for case in cases],
        "together": [[(s.start, s.end, s.kind) for s in find(case.text, both)] for case in cases],
    }
    figures = {way: score(cases, found).of(["name"]).figures() for way, found in ways.items()}
    entities = score(cases, ways["rules"]).of(["name"]).entities
    return {
        "name": f"pii, {name}, names, the base asked",
        "rows": len(cases),
        "entities": entities,
        **figures,
    }


def main() -> None:
    """Ask, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--rows", type=int, default=30, help="of each set")
    options = parser.parse_args()
    offline.seal()
    for name in SETS:
        cases = [
            case
            for case in read_cases(options.data / f"{name}.dev.jsonl")
            if any(label == "PERSON" for _, _, label in case.labels)
        ]
        cases.sort(key=lambda case: hashlib.sha256(case.text.encode()).digest())
        with tempfile.TemporaryDirectory() as folder:
            answers = asked([case.text for case in cases[: options.rows]], Path(folder))
        print(json.dumps(_line(name, cases[: options.rows], answers)), flush=True)


if __name__ == "__main__":
    main()
