"""Questions and tasks on passages: what is asked, that the text answers it, and what is left alone."""

from __future__ import annotations

from appliance.dataset.near.normal import normalise
from appliance.dataset.pairs.boilerplate import Boilerplate
from appliance.dataset.pairs.passages import passages
from appliance.dataset.reading.material import Block, Document
from tests.dataset.pairs.conftest import Maker, questions

PUMP = """# Pump manual

The P3 is a centrifugal pump for sea water. It takes at most 40 liters per minute.

## Starting the pump

To start the pump, open the inlet valve and press the green button twice.
If you hear a rattling noise, close the valve at once and call the duty engineer on channel 12.

## How do I drain it?

Close the inlet, open the drain cock and wait until no water comes. Then close the drain cock again.

## Spare parts

Keep these parts near the pump at all times:

- two seals
- one impeller
"""


def test_each_form_of_a_fact_asks_its_question(maker: Maker) -> None:
    asked = questions(maker.pairs(PUMP, hold_back=0, wordings=1))
    assert asked["What is the P3?"].startswith("The P3 is a centrifugal pump")
    assert asked["How do you start the pump?"].startswith("To start the pump, open the inlet")
    assert asked["What should you do if you hear a rattling noise?"].endswith("channel 12.")
    assert asked["How do I drain it?"].startswith("Close the inlet")
    listed = [answer for question, answer in asked.items() if "Keep these parts" in question]
    assert listed == ["- two seals\n- one impeller"]


def test_every_answer_stands_in_its_text(maker: Maker) -> None:
    text = normalise(PUMP)
    for pair in maker.pairs(PUMP, hold_back=1.0):
        assert normalise(str(pair.row.messages[-1]["content"])) in text
        assert pair.row.line > 0
        assert pair.row.group


def test_a_passage_is_given_for_what_is_asked_of_it(maker: Maker) -> None:
    for prompt, answer in questions(maker.pairs(PUMP), "extract").items():
        assert answer in " ".join(prompt.split())
    for prompt, answer in questions(maker.pairs(PUMP), "continue").items():
        assert answer not in prompt


def test_what_the_question_would_not_say_is_not_asked(maker: Maker) -> None:
    asked = questions(
        maker.pairs(
            "# Notes\n\nThis is a list of things that matter to everybody here. The symptoms are a"
            " numb feeling in the "
            "toes and pain. It is a good idea to wait for help. To keep them warm, use a blanket of"
            " dry wool or a coat.\n",
            wordings=4,
        )
    )
    assert not [question for question in asked if question.startswith(("What is", "What are", "How do you"))]


def test_attributes_that_recur_are_asked_of_what_they_stand_under(maker: Maker) -> None:
    animals = "".join(
        f"**{name}**\n\nHabitat: {where}, all over the region.\n\nFood: {food} and little else.\n\n"
        for name, where, food in (
            ("Red fox", "woods", "mice"),
            ("Grey heron", "rivers", "fish"),
            ("Otter", "lakes", "crabs"),
        )
    )
    asked = questions(maker.pairs(f"# Animals\n\n{animals}", wordings=1))
    assert asked["What is the habitat of grey heron (Animals)?"] == "rivers, all over the region."
    assert asked["What is the food of otter (Animals)?"] == "crabs and little else."


def test_a_table_is_asked_row_by_row(maker: Maker) -> None:
    asked = questions(
        maker.pairs("# Ports\n\n| Port | Use |\n|---|---|\n| 22 | remote shell |\n| ssh2 | spare shell |\n")
    )
    assert [answer for question, answer in asked.items() if '"ssh2"' in question] == ["spare shell"] * 2
    assert not [question for question in asked if '"22"' in question]  # a bare number names nothing


def test_a_held_back_wording_is_of_a_fact_that_is_learnt(maker: Maker) -> None:
    pairs = maker.pairs(PUMP, hold_back=1.0)
    held = [pair.row for pair in pairs if pair.held]
    learnt = questions(pairs)
    assert held
    for row in held:
        assert row.messages[0]["content"] not in learnt
        assert row.messages[-1]["content"] in learnt.values()
    assert not [pair for pair in maker.pairs(PUMP, hold_back=0) if pair.held]


def test_what_is_not_wanted_is_not_looked_for(maker: Maker) -> None:
    steps = "".join(f"A clamp of size {n} is a device that holds pipes of class {n}. " for n in range(3, 20))
    text = (
        f"# Pipes\n\n## Clamps\n\nPipes are held by clamps in every workshop of the north station. {steps}\n"
    )
    assert {pair.row.kind for pair in maker.pairs(text, kinds=["continue"])} == {"continue"}
    assert not maker.tally.dropped
    maker.pairs(text)
    assert maker.tally.dropped["enough-of-passage"] > 0


def test_a_question_is_asked_once(maker: Maker) -> None:
    twice = PUMP + "\n# Again\n\nThe P3 is a pump that somebody describes a second time here.\n"
    assert (
        len(
            [
                question
                for question in questions(maker.pairs(twice, wordings=1))
                if question == "What is the P3?"
            ]
        )
        == 1
    )
    assert maker.tally.dropped["asked-before"] >= 1


def test_documents_in_other_languages_get_no_english_questions(maker: Maker) -> None:
    text = (
        "# Pumpe\n\nDie P3 ist eine Kreiselpumpe und sie steht in der Halle. Sie wird von der"
        " Werkstatt gewartet, wenn das "
        "Öl nicht mehr klar ist oder wenn sie laut wird. Der Filter ist alle vier Wochen zu"
        " wechseln, auch wenn er noch gut "
        "ist.\n\n## Wie starte ich die Pumpe?\n\nDas Ventil öffnen und den grünen Knopf zweimal"
        " drücken, dann warten.\n"
    )
    pairs = maker.pairs(text)
    assert questions(pairs) == {
        "Wie starte ich die Pumpe?": "Das Ventil öffnen und den grünen Knopf zweimal drücken, dann warten."
    }
    assert not [pair for pair in pairs if "passage" in str(pair.row.messages[0]["content"])]


def test_long_sections_come_in_passages_of_bounded_size(maker: Maker) -> None:
    sentence = "Every valve of the line is checked by two people before it is opened. "
    document = maker.read(f"# Valves\n\n{sentence * 40}\n\n{sentence * 3}\n")
    found = list(passages(document, 500))
    assert len(found) > 5
    assert all(len(passage.text) <= 500 for passage in found)
    assert "".join(passage.text for passage in found).count("Every valve") == 43
    assert {passage.parts for passage in found} == {len(found)}


def test_what_cannot_be_cut_is_left_out_with_its_reason(maker: Maker) -> None:
    pairs = maker.pairs(
        f"# Blob\n\n{'QUJD' * 5000}\n\n# Pump\n\nThe P3 is a centrifugal pump for sea water.\n"
    )
    assert maker.tally.dropped["long-passage"] == 1
    assert max(len(str(pair.row.messages[0]["content"])) for pair in pairs) < 1000


def _page(number: int) -> list[Block]:
    body = f"On page {number} something else is said about chapter {number * 7}, in words of its own: {'x' * number}."
    texts = ("ACME pump manual", body, f"Confidential, page {number} of 9")
    return [Block(text, (), page=number) for text in texts]


def test_headers_and_footers_of_pages_go() -> None:
    boilerplate = Boilerplate()
    document = Document("a.pdf", "Pump", tuple(block for number in range(1, 10) for block in _page(number)))
    boilerplate.count(document)
    left = boilerplate.strip(document)
    assert [block.page for block in left.blocks] == list(range(1, 10))
    assert all(block.text.startswith("On page") for block in left.blocks)
    assert boilerplate.taken["page"] == 18


def test_paragraphs_that_many_documents_share_go() -> None:
    boilerplate = Boilerplate()
    notice = "Licensed to the public under the terms of the station's general licence."
    documents = [
        Document(
            f"{n}.md",
            f"Part {n}",
            (Block(f"Part {n} is about the valve called {'ab' * (n + 3)}.", ()), Block(notice, ())),
        )
        for n in range(8)
    ]
    for document in documents:
        boilerplate.count(document)
    left = [boilerplate.strip(document) for document in documents]
    assert [len(document.blocks) for document in left] == [1] * 8
    assert boilerplate.taken["shared"] == 8
    assert notice in [text for text, _, _ in boilerplate.shown.values()]


def test_what_copies_say_and_what_differs_in_numbers_stays() -> None:
    sheets = [
        Document(f"{n}.md", "t", (Block(f"The valve of hall {n % 9} opens at {n % 9} bar and no less.", ()),))
        for n in range(18)
    ]
    copies = [
        Document(f"c{n}.md", "t", (Block("Close the main valve before anything else.", ()),))
        for n in range(9)
    ]
    boilerplate = Boilerplate()
    for document in [*sheets, *copies]:
        boilerplate.count(document)
    assert [boilerplate.strip(document) for document in [*sheets, *copies]] == [*sheets, *copies]


def test_what_three_of_many_documents_share_stays() -> None:
    boilerplate = Boilerplate()
    documents = [
        Document(
            f"{n}.md",
            "t",
            (Block("Distribution: worldwide, in warm places." if n < 3 else f"Own {'abc' * n} text.", ()),),
        )
        for n in range(20)
    ]
    for document in documents:
        boilerplate.count(document)
    assert all(boilerplate.strip(document).blocks for document in documents)
    assert not boilerplate.taken
