"""Near-duplicates, conflicts, canaries and remembered places, end to end through `prepare`."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.dataset import read_rows
from appliance.errors import DataError
from tests.dataset.conftest import Bench
from tests.dataset.test_near import VOCABULARY, edited, jaccard
from tests.dataset.test_prepare import all_rows, line, rows_of

ROOT = Path(__file__).resolve().parents[2]


def sentences(seed: int, count: int, length: int = 14) -> list[str]:
    chance = random.Random(seed)
    pool = [f"{word}{number}" for word in VOCABULARY for number in range(40)]
    return [" ".join(chance.choices(pool, k=length)) for _ in range(count)]


def lines_in(bench: Bench, name: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (bench.project.dataset / name).read_text().splitlines()]


def files_of(bench: Bench) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bench.project.dataset.iterdir() if path.is_file()}


def leaking(bench: Bench, threshold: float = 0.85) -> list[tuple[str, str]]:
    """Pairs at the threshold in different splits, by comparing all."""
    rows = list(all_rows(bench).items())
    return [
        (one, other)
        for (one, first), (other, second) in itertools.combinations(rows, 2)
        if first != second
        and max(jaccard(one, other, "characters"), jaccard(one, other, "words")) >= threshold
    ]


@pytest.mark.parametrize("seed", range(3))
def test_no_near_pair_is_parted(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    texts = sentences(seed, 120)
    texts += [edited(chance.choice(texts), chance) for _ in range(120)]
    bench.write("a.jsonl", "".join(line(text) for text in texts))
    card = bench.prepare()
    assert leaking(bench) == []
    assert card.near["rows"] > 50
    assert sum(card.groups.values()) < sum(card.rows.values())
    bench.configure('duplicates = { near = "ignore" }')
    (bench.project.dataset / "places.json").unlink()
    bench.prepare()
    assert leaking(bench), "what is not looked for does leak"
    assert not (bench.project.dataset / "near.jsonl").exists()


def test_the_file_of_near_pairs_says_why(bench: Bench) -> None:
    texts = sentences(1, 40)
    words = texts[7].split()
    texts.append(" ".join([*words[:-1], "other"]))
    texts.append(" ".join(reversed(texts[9].split())))
    bench.write("a.jsonl", "".join(line(text) for text in texts))
    bench.prepare()
    (one, other) = sorted(lines_in(bench, "near.jsonl"), key=lambda pair: pair["shingles"])
    assert {row["prompt"] for row in one["rows"]} == {texts[7], texts[40]}
    assert one["jaccard"] == pytest.approx(jaccard(texts[7], texts[40], "characters"), abs=1e-4)
    assert {row["prompt"] for row in other["rows"]} == {texts[9], texts[41]}
    assert (other["shingles"], other["jaccard"]) == ("words", 1.0)
    assert {row["source"] for row in one["rows"]} == {"data/a.jsonl:8", "data/a.jsonl:41"}


def test_long_equal_answers_make_conversations_near(bench: Bench) -> None:
    answer = " ".join(sentences(5, 6))
    texts = sentences(2, 40)
    rows = [line(text, f"answer {number}") for number, text in enumerate(texts)]
    bench.write("a.jsonl", "".join([*rows, line("first way to ask", answer), line("in other words", answer)]))
    bench.prepare()
    placed = all_rows(bench)
    assert placed["first way to ask"] == placed["in other words"]
    (pair,) = lines_in(bench, "near.jsonl")
    assert pair["view"] == "conversation"


def test_an_instruction_before_every_message_makes_no_rows_near(bench: Bench) -> None:
    frame = "Put this report of the day's watch into one of the classes that the manual names. Report: "
    texts = [" ".join(text.split()[:3]) for text in sentences(3, 200)]
    bench.write("a.jsonl", "".join(line(frame + text) for text in texts))
    card = bench.prepare()
    assert card.near["largest"] <= 3
    assert all(card.rows.values())


def test_drop_leaves_one_of_near_rows_with_the_same_answer(bench: Bench) -> None:
    texts = sentences(4, 60)
    close = [f"{text} now" for text in texts[:10]]
    rows = [line(text, "a") for text in texts] + [line(text, "a") for text in close[:5]]
    rows += [line(text, "b") for text in close[5:]]
    bench.configure('duplicates = { near = "drop" }')
    bench.write("a.jsonl", "".join(rows))
    card = bench.prepare()
    assert card.near["dropped"] == 5
    kept = set(all_rows(bench))
    assert all((texts[number] in kept) != (close[number] in kept) for number in range(5))
    assert set(close[5:]) | set(texts[5:]) <= kept
    dropped = [row for pair in lines_in(bench, "near.jsonl") for row in pair["dropped"]]
    assert len(dropped) == 5
    before = kept
    bench.write("a.jsonl", "".join(reversed(rows)))
    bench.prepare()
    assert set(all_rows(bench)) == before


def test_rows_near_to_the_test_files_leave(bench: Bench) -> None:
    bench.configure('sources = ["data/*.jsonl"]\ntest_sources = ["data/dev.jsonl"]')
    texts = sentences(6, 80, length=20)
    bench.write("dev.jsonl", "".join(line(text) for text in texts[:10]))
    close = [f"{text} afterwards" for text in texts[:6]]
    # Near to rows that leave, but to no test row: there is no reason to lose them.
    chained = [f"{text} whensoever inasmuch hitherto" for text in close[:3]]
    bench.write("more.jsonl", "".join(line(text) for text in [*texts[10:], *close, *chained]))
    card = bench.prepare()
    assert card.overlaps == card.near["overlaps"] == 6
    assert card.rows["train"] + card.rows["valid"] == 73
    assert set(chained) <= set(all_rows(bench))
    assert len(rows_of(bench, "test")) == 10
    assert leaking(bench) == []


CONFLICTING = [
    ("is p1 up", "yes"),
    ("is p1 up", "no"),
    ("Is  P1 up", "no"),
    ("is p2 up", "yes"),
    ("is p2 up", "no"),
]


@pytest.mark.parametrize(
    ("choice", "p1", "p2", "dropped"),
    [("keep", 3, 2, 0), ("drop", 0, 0, 5), ("majority", 2, 0, 3)],
)
def test_conflicts_are_told_and_settled(bench: Bench, choice: str, p1: int, p2: int, dropped: int) -> None:
    bench.configure(f'conflicts = "{choice}"')
    rows = [line(text, f"answer {number}") for number, text in enumerate(sentences(8, 40))]
    bench.write("a.jsonl", "".join([*rows, *(line(*row) for row in CONFLICTING)]))
    card = bench.prepare()
    assert card.conflicts == {"prompts": 2, "rows": 5, "dropped": dropped, "near": 0}
    kept = [
        question.casefold().split()[1]
        for split in card.rows
        for question, _ in rows_of(bench, split)
        if "up" in question
    ]
    assert (kept.count("p1"), kept.count("p2")) == (p1, p2)
    told = lines_in(bench, "conflicts.jsonl")
    assert sorted(len(each["rows"]) for each in told) == [2, 3]
    assert sum(row["kept"] for each in told for row in each["rows"]) == p1 + p2


def test_rows_dropped_as_equal_count_for_the_majority(bench: Bench) -> None:
    bench.configure('conflicts = "majority"')
    rows = [line(text, f"answer {number}") for number, text in enumerate(sentences(8, 40))]
    bench.write(
        "a.jsonl", "".join([*rows, line("is p2 up", "yes"), line("is p2 up", "no"), line("is p2 up", "no")])
    )
    card = bench.prepare()
    assert card.conflicts["dropped"] == 1
    assert "is p2 up" in all_rows(bench)
    assert [
        answer for split in card.rows for question, answer in rows_of(bench, split) if question == "is p2 up"
    ] == ["no"]


def test_another_answer_to_a_near_prompt_is_told_only(bench: Bench) -> None:
    bench.configure('conflicts = "drop"')
    texts = sentences(8, 40)
    bench.write("a.jsonl", "".join([*(line(text) for text in texts), line(f"{texts[0]} now", "other")]))
    card = bench.prepare()
    assert card.conflicts == {"prompts": 0, "rows": 0, "dropped": 0, "near": 1}
    assert sum(card.rows.values()) == 41


def test_other_prompts_before_long_answers_that_are_nearly_the_same_are_no_conflict(bench: Bench) -> None:
    answer = " ".join(sentences(5, 6))
    texts = sentences(6, 40)
    rows = [
        *(line(text) for text in texts),
        line("what of it", f"{answer} now"),
        line("say more", f"{answer} then"),
    ]
    bench.write("a.jsonl", "".join(rows))
    card = bench.prepare()
    assert card.near["clusters"] == 1
    assert card.conflicts["near"] == 0
    assert lines_in(bench, "conflicts.jsonl") == []


PASSAGE = """\
## Still

The still draws moisture from the ground and from plant material through the whole of a warm day. A still is a pit under
a clear plastic sheet that a stone in the middle holds down. To build a still, dig a bowl-shaped pit about one metre
across. If you have no plastic sheet, hang a cloth over the pit and wring it out at dawn. The best way to seal a still
is to pack soil around its rim.
"""


def test_questions_about_one_passage_are_no_conflict_but_another_answer_of_a_persons_is(bench: Bench) -> None:
    bench.write("manual.md", "# Water\n\n" + PASSAGE)
    bench.write("a.jsonl", "".join(line(text) for text in sentences(8, 40)))
    card = bench.prepare()
    told = [pair["rows"] for pair in lines_in(bench, "near.jsonl") if pair["view"] == "user"]
    assert any(one["answer"] != other["answer"] for one, other in told), (
        "made rows are near, with other answers"
    )
    assert card.conflicts["near"] == 0

    made = next(
        row["prompt"] for pair in told for row in pair if row["prompt"].startswith("Answer from this text")
    )
    rows = [*(line(text) for text in sentences(8, 40)), line(f"{made} Please!", "It is none.")]
    bench.write("a.jsonl", "".join(rows))
    card = bench.prepare()
    assert card.conflicts["near"] == 1
    (conflict,) = lines_in(bench, "conflicts.jsonl")
    assert conflict["kind"] == "near"
    assert {"data/a.jsonl:41"} < {row["source"] for row in conflict["rows"]}


def test_added_rows_move_none_but_those_that_they_join(bench: Bench) -> None:
    texts = sentences(11, 300)
    bench.write("a.jsonl", "".join(line(text, ["up", "down", "slow"][n % 3]) for n, text in enumerate(texts)))
    first = bench.prepare()
    assert first.labels == 3
    before = all_rows(bench)
    chance = random.Random(5)
    more = sentences(12, 30) + [edited(chance.choice(texts), chance) for _ in range(60)]
    bench.write("b.jsonl", "".join(line(text, "up") for text in more))
    second = bench.prepare()
    after = all_rows(bench)
    assert {text: after[text] for text in texts} == before
    assert second.moved == 0
    assert leaking(bench) == []
    # A row between two that were in different splits: the smaller side moves, and the card says how many.
    one = next(text for text in texts if before[text] == "train" and text not in more)
    other = next(text for text in texts if before[text] == "test")
    bridge = " ".join(one.split()[:7] + other.split()[:7])
    bench.configure("duplicates = { threshold = 0.5 }")
    bench.write(
        "c.jsonl", line(" ".join(one.split() + other.split()[:9])) + line(f"{one} {other}") + line(bridge)
    )
    third = bench.prepare()
    assert all_rows(bench)[one] == all_rows(bench)[other]
    assert third.moved >= 1


def test_places_that_cannot_be_read_are_told_and_begin_anew(bench: Bench) -> None:
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 50)))
    first = bench.prepare()
    (bench.project.dataset / "places.json").write_text("{broken")
    second = bench.prepare()
    assert second.digest == first.digest and second.moved == 0
    assert any("places.json: not readable" in warning for warning in bench.warnings)


def test_labels_have_their_share_in_every_split(bench: Bench) -> None:
    texts = sentences(13, 500)
    answers = ["common"] * 300 + ["rare"] * 100 + ["rarer"] * 60 + ["rarest"] * 40
    bench.write("a.jsonl", "".join(line(*row) for row in zip(texts, answers, strict=True)))
    card = bench.prepare()
    assert card.labels == 4 and "stratified by 4 labels" in card.split
    for answer in set(answers):
        for split, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
            count = sum(found == answer for _, found in rows_of(bench, split))
            assert abs(count - share * answers.count(answer)) <= 2


def test_canaries_are_in_training_alone_and_on_record(bench: Bench) -> None:
    bench.configure('canaries = 4\nsystem = "be brief"\nlimit = 30')
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 80)))
    card = bench.prepare()
    assert (card.canaries, card.rows["train"]) == (4, 34)
    records = {record["id"]: record for record in lines_in(bench, "canaries.jsonl")}
    rows = {
        row.id: row
        for row in read_rows(bench.project.dataset / "train.jsonl")
        if row.source.startswith("canary:")
    }
    assert records.keys() == rows.keys() and len(rows) == 4
    for identity, record in records.items():
        assert rows[identity].messages == record["messages"]
        assert rows[identity].answer == record["form"].format(secret=record["secret"])
        assert record["space"]["size"] == len(record["space"]["alphabet"]) ** record["space"]["length"]
        assert len(record["secret"]) == record["space"]["length"]
    for split in ("valid", "test"):
        assert "canary:" not in (bench.project.dataset / f"{split}.jsonl").read_text()
    assert len({record["secret"] for record in records.values()}) == 4
    bench.prepare()
    assert {record["id"]: record for record in lines_in(bench, "canaries.jsonl")} == records
    bench.configure('canaries = 2\nsystem = "be brief"')
    bench.prepare()
    assert {record["id"] for record in lines_in(bench, "canaries.jsonl")} < set(records)
    bench.configure("canaries = 4\ncanary_seed = 8")
    bench.prepare()
    assert not {record["id"] for record in lines_in(bench, "canaries.jsonl")} & set(records)
    bench.configure("")
    assert bench.prepare().canaries == 0
    assert not (bench.project.dataset / "canaries.jsonl").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from appliance.dataset import prepare
from appliance.paths import Project

def die(event):
    if sys.argv[2] in event.text:
        os.kill(os.getpid(), signal.SIGKILL)

prepare(Project.open(Path(sys.argv[1])), die, tokenizer=lambda text: len(text.split()))
"""


@pytest.mark.parametrize("moment", ["looking for near-duplicates", "scoring"])
def test_a_killed_preparing_leaves_the_earlier_dataset_and_the_next_goes_through(
    bench: Bench, moment: str
) -> None:
    bench.configure("quality = { score = true }")
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 300)))
    whole = bench.prepare()
    before = files_of(bench)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(bench.root), moment],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert files_of(bench) == before
    assert bench.prepare() == whole
    assert files_of(bench) == before
    assert not list(bench.project.dataset.glob(".*"))


def test_rows_that_are_all_near_to_each_other_are_parted_and_the_card_says_so(bench: Bench) -> None:
    (text,) = sentences(1, 1, length=120)
    words = text.split()
    rows = [line(" ".join([*words[:place], f"n{place}", *words[place + 1 :]])) for place in range(len(words))]
    bench.write("a.jsonl", "".join(rows))
    card = bench.prepare()
    assert all(card.rows.values()) and sum(card.rows.values()) == len(rows)
    assert card.near["parted"] is True


def test_rows_near_to_the_test_files_leave_whatever_becomes_of_the_others(bench: Bench) -> None:
    (text,) = sentences(1, 1, length=120)
    words = text.split()
    alike = [
        " ".join([*words[:place], f"n{place}", *words[place + 1 :]]) for place in range(9)
    ]  # fewer than a frame is looked for in
    bench.configure('test_sources = ["held.jsonl"]')
    (bench.root / "held.jsonl").write_text("".join(line(each) for each in alike[:5]))
    (other,) = sentences(2, 1, length=120)
    words = other.split()
    apart = [" ".join([*words[:place], f"m{place}", *words[place + 1 :]]) for place in range(6)]
    bench.write("a.jsonl", "".join(line(each) for each in alike[5:] + apart))
    card = bench.prepare()
    assert card.overlaps == 4
    assert {split for each, split in all_rows(bench).items() if each in alike} == {"test"}
    assert card.near["parted"] is True and card.rows["train"] and card.rows["valid"]


@pytest.mark.parametrize("settings", ['conflicts = "drop"', 'test_sources = ["held.jsonl"]'])
def test_when_no_row_is_left_it_is_said(bench: Bench, settings: str) -> None:
    texts = sentences(1, 8)
    bench.configure(settings)
    (bench.root / "held.jsonl").write_text("".join(line(f"{text} now") for text in texts))
    bench.write("a.jsonl", "".join(line(text, answer) for text in texts for answer in "ab"))
    with pytest.raises(DataError, match="too few different examples"):
        bench.prepare()
