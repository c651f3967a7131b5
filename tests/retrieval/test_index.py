"""Passages are found by their words, whatever a question holds, and prompts hold what fits."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.errors import DataError
from appliance.retrieval import Found, Passage, PassageIndex, with_examples, with_passages
from appliance.retrieval.index import terms_of

PASSAGES = [
    Passage("pump.md:3", "Pump manual > Starting", "Open the inlet valve and press the green button twice."),
    Passage(
        "pump.md:9",
        "Pump manual > Draining",
        "Close the inlet, open the drain cock and wait until no water comes.",
    ),
    Passage(
        "lamp.md:1",
        "Lamps",
        "The lamps of deck three are replaced every two years. Ampère's law is not needed.",
    ),
    Passage(
        "lamp.md:5",
        "Lamps",
        "The lamps of deck three are replaced every two years. Ampère's law is not needed.",
    ),
]


@pytest.fixture
def index(tmp_path: Path) -> PassageIndex:
    path = tmp_path / "sub" / "passages.sqlite"
    assert PassageIndex.build(path, PASSAGES) == 3, "an equal passage stands once"
    return PassageIndex(path)


@pytest.mark.parametrize(
    ("question", "source"),
    [
        ("How do I start the pump?", "pump.md:3"),
        ("What drains it?", "pump.md:9"),  # draining, drain, drains: one stem
        ("When is a lamp replaced on DECK THREE", "lamp.md:1"),
        ("ampere", "lamp.md:1"),
    ],
)
def test_a_question_finds_its_passage(index: PassageIndex, question: str, source: str) -> None:
    found = index.search(question, 2)
    assert found[0].passage.source == source
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


@pytest.mark.parametrize(
    "question",
    [
        '"', "pump OR", "NEAR(a b)", "title:pump", "pump*", "(((", "-valve", "a" * 100_000, "\0\ud800",
        "'; DROP TABLE passages", "", "...", "^ { } +",
    ],
)  # fmt: skip
def test_nothing_in_a_question_is_syntax(index: PassageIndex, question: str) -> None:
    assert len(index.search(question, 5)) <= 3
    assert index.search("valve", 5)


def test_a_question_of_common_words_alone_is_asked_with_them() -> None:
    assert terms_of("What is the pump's code?") == ["pump", "code"]
    assert terms_of("what is it") == ["what", "is", "it"]
    assert len(terms_of(" ".join(map(str, range(1000))))) == 64


def test_what_is_no_index_is_named(index: PassageIndex, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        PassageIndex(tmp_path / "none")
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE passages (x)")
    connection.close()
    with pytest.raises(DataError, match="no index"):
        PassageIndex(other)
    whole = index.path.read_bytes()
    for place in range(0, len(whole), 211):
        path = tmp_path / "damaged.sqlite"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            with PassageIndex(path) as damaged:
                damaged.search("valve lamps", 3)
        except DataError as error:
            assert str(path) in error.message


def test_equal_passages_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        PassageIndex.build(tmp_path / name, PASSAGES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_prompts_hold_what_fits_the_nearest_beside_the_question() -> None:
    found = [Found(passage, 1.0) for passage in PASSAGES[:3]]
    asked = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How?"}]
    made, shown = with_passages(asked, found)
    assert made[0] == asked[0] and made[-1]["content"].endswith("Question: How?")
    assert [each.passage for each in shown] == PASSAGES[2::-1]
    assert made[-1]["content"].index("[3] Pump manual > Starting") > made[-1]["content"].index("[1] Lamps")
    made, shown = with_passages(asked, found, lambda turns: "Lamps" not in turns[-1]["content"])
    assert [each.passage.source for each in shown] == ["pump.md:9", "pump.md:3"]
    assert with_passages(asked, found, lambda _: False) == (asked, [])
    assert asked[-1]["content"] == "How?", "the question itself is left alone"


def test_examples_stand_between_system_turn_and_question() -> None:
    asked = [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]
    examples = [
        [
            {"role": "system", "content": "S"},
            {"role": "user", "content": f"q{n}"},
            {"role": "assistant", "content": f"a{n}"},
        ]
        for n in range(3)
    ]
    told = [turn["content"] for turn in with_examples(asked, examples)]
    assert told == ["S", "q2", "a2", "q1", "a1", "q0", "a0", "q"]
    assert [turn["content"] for turn in with_examples(asked, examples, lambda turns: len(turns) <= 4)] == [
        "S",
        "q0",
        "a0",
        "q",
    ]
    assert with_examples(asked, examples, lambda _: False) == asked
