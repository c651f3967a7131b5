"""Golden prompts, recorded with the real engine: only what another CPU would say too."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.dataset import Row
from appliance.evaluation import golden
from appliance.serving.engine_client import Engine, Sampling

pytestmark = pytest.mark.slow

QUESTIONS = ("What is 2+2?", "Name three colours.", "What is snow?", "Say hello.")


def row(text: str) -> Row:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "?"}]
    return Row(text, text, turns, "here:1")


def test_an_answer_with_a_close_choice_is_no_golden_one(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(text) for text in QUESTIONS]
    with Engine(tiny_gguf, slots=1, threads=1) as engine:
        # A random model never ends by itself; a character that each answer holds ends it here.
        texts = [engine.complete(engine.render(one.prompt), Sampling(max_tokens=24)).text for one in rows]
        stops = set.intersection(*map(set, texts))
        assert stops
        sampling = Sampling(max_tokens=24, stop=(min(stops),))
        said = [
            engine.complete(engine.render(one.prompt), Sampling(24, stop=sampling.stop, margin=True))
            for one in rows
        ]
        margins = sorted(answer.margin for answer in said if answer.margin is not None)
        assert len(set(margins)) > 1
        monkeypatch.setattr(golden, "MARGIN", margins[-1])
        kept = golden.record(engine, rows, len(rows), sampling)
    clear = [answer.text for answer in said if answer.margin == margins[-1]]
    assert [entry["answer"] for entry in kept] == clear
    assert 0 < len(kept) < len(rows)
