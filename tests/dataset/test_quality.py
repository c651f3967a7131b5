"""Scores of rows: each signal with its reason, labels doubted from outside, the worst share left out and shown."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from appliance.dataset.near import TextStore
from appliance.dataset.quality import Score, score_rows, worst
from appliance.dataset.quality.labels import FOLDS, doubt_labels
from appliance.dataset.quality.signals import script_of
from appliance.dataset.rows import Row, row_id
from tests.dataset.conftest import Bench
from tests.dataset.test_arranging import sentences
from tests.dataset.test_prepare import all_rows, line

TOPICS = {
    name: words.split()
    for name, words in (
        ("pump", "the pump leaks oil pressure bar seal impeller shaft noise priming suction"),
        ("radio", "the radio antenna channel static signal handset frequency receive squelch call"),
        ("galley", "the galley stove bread kettle fridge meal plate steward rations water tea"),
    )
}


def rows_of(pairs: list[tuple[str, str]]) -> list[Row]:
    rows = []
    for number, (prompt, answer) in enumerate(pairs, start=1):
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        rows.append(Row(row_id(messages), f"g{number}", messages, f"data/a.jsonl:{number}"))
    return rows


def scored(pairs: list[tuple[str, str]]) -> list[Score]:
    rows = rows_of(pairs)
    return score_rows(lambda: iter(rows))


def labelled(seed: int, count: int) -> list[tuple[str, str]]:
    chance = random.Random(seed)
    labels = [chance.choice(list(TOPICS)) for _ in range(count)]
    return [(" ".join(chance.choices(TOPICS[label], k=8)) + f" {n}", label) for n, label in enumerate(labels)]


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_score_worst(seed: int) -> None:
    pairs = labelled(seed, 300)
    chance = random.Random(seed)
    wrong = set(chance.sample(range(300), 60))
    pairs = [
        (prompt, chance.choice([other for other in TOPICS if other != label]) if number in wrong else label)
        for number, (prompt, label) in enumerate(pairs)
    ]
    scores = scored(pairs)
    found = worst(scores, 0.2)
    assert sum(score.id in found for number, score in enumerate(scores) if number in wrong) >= 57
    reason = scores[min(wrong)].reasons[0]
    assert reason[0] == "label" and "rows like it are" in reason[2]


def test_a_row_is_never_its_own_witness() -> None:
    # Texts that share nothing: from the others alone, nothing can be known of a label.
    texts = ["".join(chr(0x4E00 + 10 * number + place) for place in range(10)) for number in range(60)]
    labels = np.arange(len(texts)) % 2
    with TextStore() as store:
        for text in texts:
            store.add(text)
        alone = doubt_labels(store, labels, np.arange(len(texts)) % FOLDS)
    # Two features of a thousand may fall into one bucket of the table.
    assert np.count_nonzero(np.isclose(alone.own, 0.5)) >= 54


def free(count: int) -> list[tuple[str, str]]:
    return list(zip(sentences(1, count), sentences(2, count), strict=True))


@pytest.mark.parametrize(
    ("prompt", "answer", "signal", "text"),
    [
        ("long " * 40 + " ".join(sentences(3, 30)), "fine as any", "length", "unusually long"),
        ("xq zvw kjh qqz wvx", "fine as any other", "unlike", "stand in no other row"),
        ("pump pump pump pump pump pump pump pump pump", "fine as any other", "repetition", "of its words"),
        ("pump1 valve2 deck3 leaks4", "Pump1 valve2, deck3 leaks4", "echo", "the answer is the prompt"),
        (
            "{{{[[[$$$%%%^^^###!!!***((())) pump1",
            "fine as any other",
            "characters",
            "neither letter, digit nor space",
        ),
        ("насос на палубе течёт с полудня", "fine as any other answer", "language", "Cyrillic"),
    ],
)
def test_each_signal_gives_its_reason(prompt: str, answer: str, signal: str, text: str) -> None:
    scores = scored([*free(100), (prompt, answer)])
    assert any(name == signal and text in words for name, _, words in scores[-1].reasons)
    assert scores[-1].id in worst(scores, 0.05)
    ordinary = [name for score in scores[:-1] for name, penalty, _ in score.reasons if penalty > 0.5]
    assert len(ordinary) <= 2


def test_an_answer_out_of_form_among_json() -> None:
    pairs = [(text, json.dumps({"state": text[:4], "unit": 1})) for text in sentences(1, 100)]
    scores = scored([*pairs, ("pump1 is down", "it is down"), ("valve2 is down", '{"stat": 1}')])
    assert scores[-2].reasons[0][2] == "the answer is no JSON object, as the others are"
    assert "keys stat" in {name: text for name, _, text in scores[-1].reasons}["form"]


def test_a_label_that_is_its_prompt_is_no_echo() -> None:
    assert not [
        name for name, _, _ in scored([*labelled(1, 100), ("pump", "pump")])[-1].reasons if name == "echo"
    ]


def test_scripts() -> None:
    assert [script_of(text) for text in ("pump", "насос", "泵", "123 !?", "насос p")] == [
        "LATIN",
        "CYRILLIC",
        "CJK",
        "",
        "CYRILLIC",
    ]


def test_the_worst_are_chosen_by_score_then_by_id() -> None:
    scores = [
        Score(identity, "", value, ()) for identity, value in (("b", 0.5), ("a", 0.5), ("c", 0.9), ("d", 0.0))
    ]
    assert worst(scores, 0.5) == {"c", "a"}
    assert worst(scores, 0.0) == set()


def test_pruning_takes_training_rows_alone_and_shows_them(bench: Bench) -> None:
    good = [line(*pair) for pair in labelled(1, 200)]
    wrong = {f"{text} w": "radio" for text in [" ".join(TOPICS["galley"][n : n + 6]) for n in range(5)]}
    bench.write("a.jsonl", "".join([*good, *(line(*pair) for pair in wrong.items())]))
    bench.configure("quality = { score = true }")
    whole = bench.prepare()
    before = all_rows(bench)
    lines = [json.loads(text) for text in (bench.project.dataset / "quality.jsonl").read_text().splitlines()]
    assert len(lines) == whole.rows["train"] and not any(each["dropped"] for each in lines)
    assert [each["score"] for each in lines] == sorted((each["score"] for each in lines), reverse=True)
    bench.configure("quality = { drop_share = 0.1 }")
    pruned = bench.prepare()
    assert pruned.pruned == int(0.1 * whole.rows["train"])
    after = all_rows(bench)
    assert {text for text, split in after.items() if split != "train"} == {
        text for text, split in before.items() if split != "train"
    }
    gone = set(before) - set(after)
    assert len(gone) == pruned.pruned and {text for text in wrong if before[text] == "train"} <= gone
    dropped = [
        json.loads(text) for text in (bench.project.dataset / "quality.jsonl").read_text().splitlines()
    ]
    assert sum(each["dropped"] for each in dropped) == pruned.pruned
    assert any(event.text.startswith("left out data/a.jsonl:") for event in bench.events)
    bench.configure("")
    bench.prepare()
    assert not (bench.project.dataset / "quality.jsonl").exists()
    assert all_rows(bench) == before
