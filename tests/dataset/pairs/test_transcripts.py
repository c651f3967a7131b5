"""Who is the assistant, what is one conversation, and which rows it makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from appliance.config import PairsSection
from appliance.dataset import read_rows
from appliance.dataset.pairs.pair import Tally
from appliance.dataset.pairs.speakers import Speakers
from appliance.dataset.pairs.threads import threads
from appliance.dataset.pairs.times import Clock, minutes
from appliance.dataset.pairs.transcripts import Conversation, conversations, rows_of
from appliance.dataset.reading.material import Transcript, Turn
from tests.dataset.conftest import Bench
from tests.dataset.pairs.conftest import turns


def talk(*said: tuple[str, str], name: str = "") -> Transcript:
    return Transcript("a.log", 1, name, turns(*said))


def found(transcript: Transcript, **settings: Any) -> list[list[tuple[str, str]]]:
    section = PairsSection.model_validate(settings)
    speakers = Speakers(section.assistant)
    speakers.see(transcript)
    made = conversations(transcript, speakers.sides(transcript), section, Tally())
    return [[(turn["role"], turn["content"]) for turn in one.messages] for one in made]


@pytest.mark.parametrize(
    ("names", "assistant"),
    [
        (("Customer", "Agent"), "Agent"),
        (("support (ada)", "bo"), "support (ada)"),
        (("Bo", "client 7"), "Bo"),
        (("user", "system"), "system"),
    ],
)
def test_the_assistant_is_known_by_role(names: tuple[str, str], assistant: str) -> None:
    sides = Speakers().sides(talk((names[0], "a b c"), (names[1], "d e f")))
    assert sides.names == {assistant}
    assert sides.how == "role"


def test_the_assistant_can_be_told_by_name_or_by_a_column_of_roles() -> None:
    told = Speakers(["DESK-*"])
    assert told.sides(talk(("ada", "hi"), ("desk-3", "hello"))).names == {"desk-3"}
    with_roles = Transcript(
        "a.tsv",
        1,
        "",
        tuple(
            Turn(who, "text", n, fields={"author_role": role})
            for n, (who, role) in enumerate([("ada", "x"), ("bo", "desk-1")])
        ),
    )
    assert told.sides(with_roles).names == {"bo"}
    assert told.sides(talk(("ada", "hi"), ("bo", "hello"))).how == "nobody"


def test_who_is_in_every_conversation_is_the_assistant() -> None:
    speakers = Speakers()
    talks = [talk(("nora", "how are you?"), (f"room {n}", "fine?")) for n in ("ada", "bo", "cy", "di")]
    for one in talks:
        speakers.see(one)
    assert {name for one in talks for name in speakers.sides(one).names} == {"nora"}
    assert speakers.sides(talks[0]).how == "everywhere"


def test_turns_of_one_side_are_joined_and_noise_goes() -> None:
    transcript = Transcript(
        "a.log",
        1,
        "",
        (
            *turns(
                ("Agent", "Welcome!"),
                ("Customer", "my pump"),
                ("Customer", "leaks"),
                ("Customer", "<Media omitted>"),
            ),
            Turn("", "Customer has joined", 5, kind="event"),
            *turns(("Agent", "Close the valve."), ("Customer", "thanks")),
        ),
    )
    assert found(transcript) == [[("user", "my pump\nleaks"), ("assistant", "Close the valve.")]]


def test_several_on_the_users_side_keep_their_names() -> None:
    transcript = talk(("ada", "is it up?"), ("bo", "mine isn't"), ("Agent", "Press reset."))
    assert found(transcript) == [[("user", "ada: is it up?\nbo: mine isn't"), ("assistant", "Press reset.")]]


def test_a_silence_ends_a_conversation() -> None:
    said = [
        ("10:00", "Customer", "one?"),
        ("10:01", "Agent", "1 of them"),
        ("14:30", "Customer", "two?"),
        ("14:31", "Agent", "2"),
    ]
    transcript = Transcript(
        "a.log", 1, "", tuple(Turn(who, text, n, time) for n, (time, who, text) in enumerate(said))
    )
    assert len(found(transcript)) == 2
    assert len(found(transcript, gap_minutes=600)) == 1


def test_times_are_read_as_logs_write_them() -> None:
    assert (
        minutes("2026-03-04T10:30:00")[0]
        == minutes("04.03.2026, 10:30")[0]
        == minutes("3/14/26, 10:30 AM")[0] - 10 * 1440
    )  # type: ignore[operator]
    assert minutes("1700000000") == (1700000000 / 60, True)
    assert minutes("soon") == (None, False)
    clock = Clock()
    before, after = clock.read("23:58"), clock.read("00:02")
    assert before is not None
    assert after == before + 4


IRC = (
    ("ada", "hello all"),
    ("ada", "how do I mount an ISO file?"),
    ("zed-9", "nice weather here"),
    ("bo", "ada: use mount -o loop file.iso /mnt"),
    ("bo", "it needs root"),
    ("cy", "is the wiki down for anybody?"),
    ("ada", "bo: and to unmount it?"),
    ("dan42", "cy: yes, it is being moved today"),
    ("bo", "ada, umount /mnt"),
    ("cy", "thanks"),
)


def test_a_chat_of_many_is_parted_by_who_answers_whom() -> None:
    by_asker = {
        asker: [(role, text) for role, text, _ in said] for asker, _, said in threads(turns(*IRC), 30)
    }
    assert by_asker["ada"] == [
        ("user", "hello all"),
        ("user", "how do I mount an ISO file?"),
        ("assistant", "use mount -o loop file.iso /mnt"),
        ("assistant", "it needs root"),
        ("user", "and to unmount it?"),
        ("assistant", "umount /mnt"),
    ]
    assert by_asker["cy"] == [
        ("user", "is the wiki down for anybody?"),
        ("assistant", "yes, it is being moved today"),
    ]


def test_an_answer_comes_within_so_many_turns() -> None:
    late = (
        ("ada", "how do I mount an ISO file?"),
        *[("bo", f"line {n}") for n in range(9)],
        ("cy", "ada: use mount -o loop"),
    )
    assert len(list(threads(turns(*late), 30))) == 1
    assert not list(threads(turns(*late), 5))


def test_an_answer_that_asks_back_or_says_nothing_makes_no_row() -> None:
    tally = Tally()
    section = PairsSection()
    transcript = talk(
        ("ada", "how do I mount it?"),
        ("bo", "ada: which file do you have?"),
        ("cy", "is the wiki down?"),
        ("dan", "cy: no"),
    )
    assert not list(conversations(transcript, Speakers().sides(transcript), section, tally))
    assert dict(tally.dropped) == {"asks-back": 1, "short-answer": 1}


def _count(rows: Sequence[Sequence[dict[str, Any]]]) -> list[int]:
    return [sum(len(str(turn["content"]).split()) for turn in row) for row in rows]


def test_a_conversation_that_fits_is_one_row_and_a_long_one_is_cut_with_context() -> None:
    messages = tuple(
        {"role": role, "content": f"{role} says number {n}"}
        for n in range(20)
        for role in ("user", "assistant")
    )
    one = Conversation("a.log", "g", messages, tuple(range(40)))
    assert [len(row) for row, _ in rows_of(one, 6, 1000, _count)] == [40]
    rows = list(rows_of(one, 2, 40, _count))
    assert all(
        _count([row])[0] <= 40 and row[0]["role"] == "user" and row[-1]["role"] == "assistant"
        for row, _ in rows
    )
    assert rows[1][0][:2] == rows[0][0][-2:]  # two turns of context
    fresh = [turn["content"] for place, (row, _) in enumerate(rows) for turn in (row[2:] if place else row)]
    assert fresh == [turn["content"] for turn in messages]  # each turn is learnt anew once
    assert [len(row) for row, _ in rows_of(one, 0, 40, _count)] == [10, 10, 10, 10]


def _chat(number: int) -> str:
    return (
        f"Customer: valve {number} of line {number % 7} leaks again since the storm\n"
        f"Agent: close valve {number}, then change its seal and open line {number % 7} slowly\n"
    )


def test_transcripts_become_rows_of_the_dataset_and_the_card_says_so(bench: Bench) -> None:
    for number in range(30):
        bench.write(
            f"chat{number}.txt",
            _chat(number) + f"Customer: and pump {number}?\nAgent: pump {number} stays off\n",
        )
    card = bench.prepare()
    assert sum(card.rows.values()) == 30 == card.pairs["made"]["turns"]
    rows = [row for name in card.rows for row in read_rows(bench.project.dataset / f"{name}.jsonl")]
    assert {row.kind for row in rows} == {"turns"}
    assert all(len(row.messages) == 4 for row in rows)
    assert {row.source.split(":")[1] for row in rows} == {"1"}
    assert all(source["pairs"] == {"turns": 1} for source in card.sources)
    assert any("taken for the assistant's side by the role: Agent" in text for text in bench.warnings)


def test_chatter_is_shown_before_it_goes(bench: Bench) -> None:
    for number in range(30):
        small = "Customer: thanks a lot!\nAgent: you're welcome, bye\n"
        odd = "Customer: watched yesterday's cricket final?\nAgent: Tendulkar batted gorgeously, marvellous innings\n"
        bench.write(
            f"chat{number}.txt", _chat(number) + (odd if number == 3 else small if number < 6 else "")
        )
    kept = bench.prepare()
    listed = (bench.project.dataset / "chatter.jsonl").read_text()
    shown = [json.loads(line) for line in listed.splitlines()]
    assert kept.pairs["chatter"] == {"shown": 6} and len(shown) == 6
    assert {line["reason"] for line in shown if "thanks" in line["text"]} == {"greetings and thanks alone"}
    assert [line["file"] for line in shown if "cricket" in line["text"]] == ["data/chat3.txt"]
    bench.configure('[dataset.pairs]\nchatter = "drop"')
    dropped = bench.prepare()
    assert dropped.pairs["chatter"] == {"dropped": 6}
    rows = [row for name in dropped.rows for row in read_rows(bench.project.dataset / f"{name}.jsonl")]
    assert len(rows) == 30 and {len(row.messages) for row in rows} == {2}
    bench.configure('[dataset.pairs]\nchatter = "keep"')
    bench.prepare()
    assert not (bench.project.dataset / "chatter.jsonl").exists()


def test_what_is_shown_of_chatter_is_redacted_too(bench: Bench) -> None:
    for number in range(30):
        odd = (
            "Customer: write ada@example.org about yesterday's cricket\nAgent: Tendulkar batted gorgeously\n"
        )
        bench.write(f"chat{number}.txt", _chat(number) + (odd if number == 3 else ""))
    bench.configure('[dataset.redact]\nmode = "placeholder"')
    bench.prepare()
    text = (bench.project.dataset / "chatter.jsonl").read_text()
    assert "cricket" in text
    assert "ada@example.org" not in text


def test_without_names_nothing_can_be_learnt_and_the_person_is_told(bench: Bench) -> None:
    lines = "".join(f"c{n % 4}\t{n}\tsaid number {n}\n" for n in range(40))
    bench.write("turns.tsv", "conversationId\tturnNumber\tutterance\n" + lines)
    bench.write("rows.csv", "prompt,answer\n" + "".join(f"question {n},answer {n}\n" for n in range(20)))
    card = bench.prepare()
    assert card.unpaired == {"transcripts": 4, "turns": 40}
    assert card.pairs["dropped"] == {"nobody-to-learn-from": 4}
    assert any("who speaks for the assistant" in text for text in bench.warnings)
