"""Every raw file of the measuring data, read without being told what it is: format, rows, fields as its README says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from appliance.config import DatasetSection
from appliance.dataset.reading import BadRow, Document, RawRow, Transcript, detect, inspect_file, read_file
from tests.dataset.reading.conftest import said

pytestmark = pytest.mark.shared
SECTION = DatasetSection()

# file -> (format, rows), as the data's README counts them
ROWS = {
    "banking77.train.csv": ("table prompt-completion", 9468),
    "bitext_support.train.jsonl": ("jsonl messages", 1993),
    "clinc150.train.json": ("json text-label", 11997),
    "coffee_order_json.train.jsonl": ("jsonl messages", 1741),
    "hardening_rules.train.alpaca.json": ("json alpaca", 745),
    "medquad.train.jsonl": ("jsonl messages", 551),
    "multidogo_json.train.jsonl": ("jsonl messages", 2176),
    "nist_800_53r5.csv": ("table prompt-completion", 270),
    "pref_hh_harmless.train.jsonl": ("jsonl preference", 600),
    "qmsum_meetings.train.jsonl": ("jsonl messages", 201),
    "selfinstruct_human.train.alpaca.json": ("json alpaca", 223),
    "sgd_dialogues.train.jsonl": ("jsonl messages", 290),
    "snips_json.train.jsonl": ("jsonl messages", 2198),
    "taskmaster4_sharegpt.train.json": ("json sharegpt", 1200),
    "tldr_commands.train.jsonl": ("jsonl messages", 4598),
    "usaddress_json.train.jsonl": ("jsonl messages", 1130),
}
# file -> (format, transcripts, turns); the README's 2,541 rows of the TSV count its header
TRANSCRIPTS = {
    "raw_irc_ubuntu_2005-12-23.train-c.txt": ("transcript irc", 1, 1500),
    "raw_irc_ubuntu_2012-02-03.train-a.txt": ("transcript irc", 1, 1242),
    "raw_irc_ubuntu_2013-10-11.train-a.txt": ("transcript irc", 1, 1084),
    "raw_multidogo_insurance.tsv": ("table turns", 330, 2540),
}
DOCUMENTS = {"docs_18f_handbook": 62, "docs_nasa_fprime": 19, "docs_survival_manual": 15}
LABELS = {"banking77.labels.json", "bitext_support.labels.json", "clinc150.labels.json"}


def rows_of(path: Path) -> list[RawRow]:
    things = list(read_file(path, path.name, SECTION, lambda _: None))
    assert all(isinstance(thing, RawRow) for thing in things), [
        str(one) for one in things if isinstance(one, BadRow)
    ]
    return [thing for thing in things if isinstance(thing, RawRow)]


def transcripts_of(path: Path) -> list[Transcript]:
    things = list(read_file(path, path.name, SECTION, lambda _: None))
    assert all(isinstance(thing, Transcript) for thing in things)
    return [thing for thing in things if isinstance(thing, Transcript)]


def documents_of(folder: Path) -> dict[str, Document]:
    found = {}
    for path in sorted(folder.iterdir()):
        things = list(read_file(path, path.name, SECTION, lambda _: None))
        assert {one.kind for one in things if isinstance(one, BadRow)} <= {"include"}
        (document,) = [one for one in things if not isinstance(one, BadRow)]
        assert isinstance(document, Document)
        found[path.name] = document
    return found


def test_no_raw_file_is_forgotten_here(shared_data: Path) -> None:
    raw = {path.name for kind in ("csv", "tsv", "json", "txt") for path in shared_data.glob(f"*.{kind}")}
    raw |= {path.name for path in shared_data.glob("*.train.jsonl")}
    assert raw == {*ROWS, *TRANSCRIPTS, *LABELS}
    assert {path.name for path in shared_data.glob("docs_*")} == set(DOCUMENTS)


@pytest.mark.parametrize("name", ROWS)
def test_rows(shared_data: Path, name: str) -> None:
    told = inspect_file(shared_data / name, name, SECTION)
    assert (told.found.format, told.rows) == ROWS[name]
    assert not told.bad
    assert told.found.evidence


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcripts(shared_data: Path, name: str) -> None:
    told = inspect_file(shared_data / name, name, SECTION)
    assert (told.found.format, told.transcripts, told.turns) == TRANSCRIPTS[name]
    assert not told.bad


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(shared_data: Path, name: str) -> None:
    documents = documents_of(shared_data / name)
    assert len(documents) == DOCUMENTS[name]
    formats = {detect(path, path.name, SECTION).format for path in (shared_data / name).iterdir()}
    assert formats == {"markdown"}
    # Almost all of the text is there, and nothing of the pages' machinery.
    size = sum(path.stat().st_size for path in (shared_data / name).iterdir())
    blocks = [block for document in documents.values() for block in document.blocks]
    assert sum(len(block.text) for block in blocks) > 0.7 * size
    prose = [block.text for block in blocks if block.kind != "code"]
    assert not [
        text for text in prose if "<div" in text or "<!--" in text or "{% alert" in text or "](http" in text
    ]


@pytest.mark.parametrize("name", sorted(LABELS))
def test_lists_of_labels_are_named_and_left_out(shared_data: Path, name: str) -> None:
    (bad,) = read_file(shared_data / name, name, SECTION, lambda _: None)
    assert isinstance(bad, BadRow) and bad.kind == "values"
    assert "a list of str values" in bad.reason


def test_every_chat_file_gives_what_json_gives(shared_data: Path) -> None:
    files = [
        path for path in sorted(shared_data.glob("*.jsonl")) if path.read_bytes().startswith(b'{"messages"')
    ]
    assert len(files) > 20
    for path in files:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [row.messages for row in rows_of(path)] == [line["messages"] for line in lines], path.name


def test_banking77(shared_data: Path) -> None:
    path = shared_data / "banking77.train.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        expected = list(csv.DictReader(stream))
    rows = rows_of(path)
    assert [said(row) for row in rows] == [
        [("user", line["text"]), ("assistant", line["category"])] for line in expected
    ]
    assert rows[1].line == 3
    assert said(rows[1]) == [("user", "what is the limit for top-ups?"), ("assistant", "top_up_limits")]


def test_clinc150_with_the_prompt_of_its_dev_rows(shared_data: Path) -> None:
    path = shared_data / "clinc150.train.json"
    pairs = json.loads(path.read_text(encoding="utf-8"))
    assert [[text for _, text in said(row)] for row in rows_of(path)] == pairs
    section = DatasetSection(prompt_template="Classify.\n\nRequest: {prompt}")
    first = next(iter(read_file(path, path.name, section, lambda _: None)))
    assert isinstance(first, RawRow) and first.line == 2
    assert said(first)[0][1] == f"Classify.\n\nRequest: {pairs[0][0]}"


def test_sharegpt_and_alpaca(shared_data: Path) -> None:
    path = shared_data / "taskmaster4_sharegpt.train.json"
    roles = {"human": "user", "gpt": "assistant"}
    expected = [
        [(roles[turn["from"]], turn["value"]) for turn in one["conversations"]]
        for one in json.loads(path.read_text(encoding="utf-8"))
    ]
    assert [said(row) for row in rows_of(path)] == expected
    path = shared_data / "hardening_rules.train.alpaca.json"
    first = json.loads(path.read_text(encoding="utf-8"))[0]
    row = rows_of(path)[0]
    assert row.line == 2
    assert said(row) == [
        ("user", f"{first['instruction']}\n\n{first['input']}"),
        ("assistant", first["output"]),
    ]
    path = shared_data / "selfinstruct_human.train.alpaca.json"
    alone = [
        number for number, one in enumerate(json.loads(path.read_text(encoding="utf-8"))) if not one["input"]
    ]
    assert alone
    rows = rows_of(path)
    assert all("\n\n" not in said(rows[number])[0][1][-2:] for number in alone)


def test_preference_pairs_keep_their_rejected_side(shared_data: Path) -> None:
    path = shared_data / "pref_hh_harmless.train.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row, line in zip(rows_of(path), lines, strict=True):
        assert row.messages == [*line["prompt"], {"role": "assistant", "content": line["chosen"]}]
        assert row.rejected == line["rejected"]


def test_nist_cells_over_several_lines(shared_data: Path) -> None:
    path = shared_data / "nist_800_53r5.csv"
    rows = rows_of(path)
    assert said(rows[0])[0] == ("user", "Policy and Procedures")
    assert said(rows[0])[1][1].startswith("a. Develop, document, and disseminate to [organization-defined")
    assert said(rows[0])[1][1].count("\n") > 5
    found = detect(path, path.name, SECTION)
    assert found.columns == ("control", "family", "title", "statement", "guidance")
    assert found.assumed == ["prompt and answer guessed"]
    told = DatasetSection(prompt_column="control", answer_column="title")
    first = next(iter(read_file(path, path.name, told, lambda _: None)))
    assert isinstance(first, RawRow)
    assert [text for _, text in said(first)] == ["AC-1", "Policy and Procedures"]


def test_irc(shared_data: Path) -> None:
    (log,) = transcripts_of(shared_data / "raw_irc_ubuntu_2005-12-23.train-c.txt")
    first = log.turns[0]
    assert (first.time, first.speaker, first.text) == ("00:21", "Chousuke", "melonipoika: that's dangerous")
    assert (first.line, first.kind) == (1, "said")
    path = shared_data / "raw_irc_ubuntu_2013-10-11.train-a.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    (log,) = transcripts_of(path)
    assert [turn.line for turn in log.turns] == list(range(1, len(lines) + 1))
    kinds = {kind: [turn for turn in log.turns if turn.kind == kind] for kind in ("said", "action", "event")}
    assert len(kinds["said"]) == sum(line.startswith("[") and "] <" in line[:9] for line in lines)
    assert [turn.text for turn in kinds["event"]] == [line for line in lines if line.startswith("===")]
    action = kinds["action"][-1]
    assert lines[action.line - 1] == f"[{action.time}]  * {action.speaker} {action.text}"


def test_a_table_of_turns(shared_data: Path) -> None:
    path = shared_data / "raw_multidogo_insurance.tsv"
    with path.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = transcripts_of(path)
    assert [one.name for one in found] == list(dict.fromkeys(line["conversationId"] for line in lines))
    assert [turn.text for one in found for turn in one.turns] == [line["utterance"] for line in lines]
    turn = found[0].turns[1]
    assert turn.fields["intent"] == "getproofofinsurance"
    assert turn.fields["slot-labels"] == "O O O O O O O O O"
    assert (turn.line, turn.speaker) == (3, "")


def test_pages_of_the_handbook(shared_data: Path) -> None:
    documents = documents_of(shared_data / "docs_18f_handbook")
    page = documents["updating-the-handbook__components.md"]
    assert page.title == "Components"
    assert page.blocks[1].headings == ("FISMA low banner",)
    assert page.blocks[1].line == 25
    code = [block for block in page.blocks if block.kind == "code"]
    assert code[0].text == '{% include "low-system.html" %}'
    table = documents["general-information-and-resources__san-francisco.md"].blocks[0]
    assert table.kind == "table"
    assert table.text.startswith(
        "Location | 50 United Nations Plaza Suite #5685, 5 South San Francisco, CA 94102\n"
    )


def test_pages_of_the_manuals(shared_data: Path) -> None:
    manual = documents_of(shared_data / "docs_survival_manual")
    assert manual["Water.md"].title == "Water"
    quote = manual["Water.md"].blocks[0]
    assert quote.kind == "quote" and quote.text.startswith("Water is one of your most urgent needs")
    assert any(
        block.headings[:1] == ("WATER SOURCES",) and block.kind == "table"
        for block in manual["Water.md"].blocks
    )
    pages = documents_of(shared_data / "docs_nasa_fprime")
    page = pages["UsersGuide__gds__gds-custom-addons.md"]
    assert page.title == "GDS Custom Add-Ons"
    assert page.blocks[0].text.startswith("The HTML GUI of the GDS is built around Vue.js components.")
    assert any("{{ key1 }}" in block.text for block in page.blocks if block.kind == "code")
