"""Which column is the prompt and which the answer, where names tell it: tickets, letters, what people write back."""

from __future__ import annotations

import csv
import io

import pytest

from appliance.dataset.reading import Document, RawRow, Transcript
from tests.dataset.reading.conftest import Shelf, said

CONSTANT = {"Status": "Closed"}
FEW = {"type": ["Incident", "Request"], "queue": ["IT", "HR", "Sales"]}


def cell(column: str, row: int) -> str:
    if column in FEW:
        return FEW[column][row % len(FEW[column])]
    return CONSTANT.get(column, f"{column} of ticket {row}, as it was written")


def table(*columns: str, **cells: list[str]) -> str:
    text = io.StringIO()
    rows = [
        [cells[column][row] if column in cells else cell(column, row) for column in columns]
        for row in range(12)
    ]
    csv.writer(text).writerows([columns, *rows])
    return text.getvalue()


@pytest.mark.parametrize(
    ("columns", "above", "prompt", "answer"),
    [
        ("subject,body,answer,type,queue", "subject", "body", "answer"),
        ("Subject,Body,Response,Status", "Subject", "Body", "Response"),
        ("title,description,response", "title", "description", "response"),
        ("Subject,Description,Resolution", "Subject", "Description", "Resolution"),
        ("response,title,description", "title", "description", "response"),
        (
            "Ticket Subject,Ticket Description,Agent Reply",
            "Ticket Subject",
            "Ticket Description",
            "Agent Reply",
        ),
        ("Betreff,Beschreibung,Lösung", "Betreff", "Beschreibung", "Lösung"),
        ("Asunto,Descripción,Respuesta", "Asunto", "Descripción", "Respuesta"),
        ("sujet,texte,réponse", "sujet", "texte", "réponse"),
        ("oggetto,messaggio,risposta", "oggetto", "messaggio", "risposta"),
        ("subject,message,reply", "subject", "message", "reply"),
        ("Subject,Question,Answer", "Subject", "Question", "Answer"),
        ("title,question,answer", "", "question", "answer"),
        ("body,reply", "", "body", "reply"),
        ("complaint,solution", "", "complaint", "solution"),
        ("user,message,response", "", "message", "response"),
    ],
)
def test_what_is_written_back_is_the_answer(
    shelf: Shelf, columns: str, above: str, prompt: str, answer: str
) -> None:
    path = shelf.write("a.csv", table(*columns.split(",")))
    found = shelf.detect(path)
    assert found.assumed == []
    assert f"columns `{prompt}` and `{answer}` by their names" in found.evidence
    assert (f"`{above}` in front" in found.evidence) == bool(above)
    assert found.shape is not None and found.shape.mapping.get("context", "") == above
    asked = f"{cell(above, 0)}\n\n{cell(prompt, 0)}" if above else cell(prompt, 0)
    assert said(shelf.all_of(RawRow, path)[0]) == [("user", asked), ("assistant", cell(answer, 0))]


def test_a_row_without_a_subject_or_an_answer(shelf: Shelf) -> None:
    text = table(
        "subject", "body", "reply", subject=["", *["s"] * 11], body=["b"] * 12, reply=[*["r"] * 11, ""]
    )
    rows = shelf.read(shelf.write("a.csv", text))
    assert isinstance(rows[0], RawRow) and said(rows[0])[0] == ("user", "b")
    assert str(rows[-1]) == "a.csv:13: empty answer (column `reply`)"


def test_numbers_dates_and_addresses_are_written_by_nobody(shelf: Shelf) -> None:
    """So `response` in minutes is no answer, and `First Response`, a date, none beside `Resolution`."""
    minutes = [str(row) for row in range(12)]
    found = shelf.detect(
        shelf.write("a.csv", table("title", "description", "response", "note", response=minutes))
    )
    assert found.shape is not None and found.shape.mapping["answer"] == "description"
    assert found.assumed == ["prompt and answer guessed"]
    dates, addresses = ["2023-06-01 11:14:38"] * 12, [f"a{row}@example.org" for row in range(12)]
    columns = ("Customer Email", "Description", "Time to Resolution", "First Response", "Resolution")
    told = {"Customer Email": addresses, "Time to Resolution": dates, "First Response": dates}
    found = shelf.detect(shelf.write("b.csv", table(*columns, **told)))
    assert found.shape is not None
    assert found.shape.mapping == {"prompt": "Description", "answer": "Resolution"}
    sums = shelf.write("c.csv", table("question", "answer", answer=minutes))
    assert said(shelf.all_of(RawRow, sums)[3])[1] == ("assistant", "3")


def test_a_title_is_no_question_to_its_text_where_something_else_is_the_answer(shelf: Shelf) -> None:
    found = shelf.detect(shelf.write("a.csv", table("title", "abstract", "answer")))
    assert not found.is_read and "dataset.prompt_column" in found.refusal
    assert shelf.all_of(Document, shelf.write("b.csv", table("title", "body", "summary")))


def test_rows_of_question_and_reply_are_no_turns(shelf: Shelf) -> None:
    who = ["ada", "bo"] * 6
    row, *_ = shelf.all_of(
        RawRow, shelf.write("a.csv", table("user", "date", "message", "response", user=who))
    )
    assert said(row) == [("user", cell("message", 0)), ("assistant", cell("response", 0))]
    few = ["", "", "", "late", *[""] * 8]
    turns = table("user", "date", "message", "response", user=who, response=few)
    (log,) = shelf.all_of(Transcript, shelf.write("b.csv", turns))
    assert len(log.turns) == 12
