"""Looking into a prepared dataset: lines by number, rows by id, what is known of a row; without loading it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.dataset import read_rows
from appliance.dataset.browsing import IdIndex, LineFile, RowIndexes, about, find_row
from appliance.dataset.browsing.id_index import find_in_split
from appliance.dataset.browsing.line_file import EVERY
from tests.dataset.conftest import Bench


def write_lines(path: Path, count: int) -> list[bytes]:
    lines = [
        json.dumps({"n": n, "text": f"line {n} " + "x" * (n % 7)}).encode() + b"\n" for n in range(count)
    ]
    path.write_bytes(b"".join(lines))
    return lines


def texts(line: bytes) -> list[str]:
    return [json.loads(line)["text"]]


@pytest.mark.parametrize("count", [0, 1, EVERY - 1, EVERY, EVERY + 1, 5 * EVERY, 5 * EVERY + 3])
def test_any_window_is_what_the_file_holds(tmp_path: Path, count: int) -> None:
    lines = write_lines(tmp_path / "a", count)
    for first in (0, 1, EVERY - 1, EVERY, 3 * EVERY + 5, count - 1, count, count + EVERY):
        for many in (1, 30, EVERY + 1):
            held = LineFile(tmp_path / "a")  # a fresh one jumps there; it has passed nothing yet
            assert held.lines(first, many) == (lines[first : first + many] if first >= 0 else [])
            assert held.count() == count


def test_only_what_is_passed_is_read(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "a", 40 * EVERY)
    held = LineFile(tmp_path / "a")
    assert held.lines(3, 2) == lines[3:5]
    assert len(held._marks) == 2  # one block of forty
    assert held.lines(10 * EVERY, 1) == lines[10 * EVERY : 10 * EVERY + 1]
    assert len(held._marks) == 12
    assert held.lines(EVERY, 1) == lines[EVERY : EVERY + 1]


def test_a_missing_file_has_no_lines_and_a_cut_line_is_none(tmp_path: Path) -> None:
    missing = LineFile(tmp_path / "none")
    assert (missing.count(), missing.lines(0, 5), missing.search("x", -1, texts)) == (0, [], -1)
    lines = write_lines(tmp_path / "a", 3)
    (tmp_path / "a").write_bytes(b"".join(lines) + b'{"n": 3')
    cut = LineFile(tmp_path / "a")
    assert (cut.count(), cut.lines(0, 9)) == (3, lines)


def test_search_goes_on_and_back_and_round(tmp_path: Path) -> None:
    count = 3 * EVERY + 10
    wanted = {5, EVERY, 2 * EVERY + 1, count - 1}
    told = ['the Öl "pump" ß' if number in wanted else "text" for number in range(count)]
    lines = [json.dumps({"text": f"{text} {number}"}, ensure_ascii=False) for number, text in enumerate(told)]
    (tmp_path / "a").write_text("\n".join(lines) + "\n", encoding="utf-8")
    held = LineFile(tmp_path / "a")
    for words in ("PUMP", 'öl "p', '"pump" SS'):
        found, at = [], -1
        for _ in range(5):
            at = held.search(words, at, texts)
            found.append(at)
        assert found == [*sorted(wanted), 5]
        back = [at := held.search(words, at, texts, backwards=True) for _ in range(5)]
        assert back == [count - 1, 2 * EVERY + 1, EVERY, 5, count - 1]
    assert held.search(f"ß {EVERY}", EVERY, texts) == EVERY  # the only one is where it began
    assert held.search("nowhere", 7, texts) == -1
    assert held.search("text\\", 7, texts) == -1
    assert held.search("tex", 0, texts, stop=lambda: True) == -1
    assert held.search('"text"', 0, texts) == -1  # a key is no text


def row_line(number: int, size: int) -> bytes:
    fields = {
        "id": f"{number:016x}",
        "group": "g",
        "messages": [{"role": "user", "content": "x" * size}],
        "source": "s",
    }
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_a_row_is_found_by_its_id_among_lines_of_any_length(tmp_path: Path, count: int) -> None:
    numbers = [n * n * 977 + 3 for n in range(count)]
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"".join(row_line(n, (n * 7919) % 3000) for n in numbers))
    for number in numbers:
        found = find_in_split(path, f"{number:016x}")
        assert found is not None and found.id == f"{number:016x}"
        assert find_in_split(path, f"{number + 1:016x}") is None
    assert find_in_split(path, "0" * 16) is None and find_in_split(path, "f" * 16) is None
    assert find_in_split(tmp_path / "none", "0" * 16) is None


def test_an_index_gives_all_lines_about_an_id(tmp_path: Path) -> None:
    pairs = [("f" * 16, "0" * 16), ("00000000000000ab", "f" * 16), ("0" * 16, "0" * 16)]
    (tmp_path / "near").write_text("".join(json.dumps({"p": pair}) + "\n" for pair in pairs))
    index = IdIndex(tmp_path / "near", lambda line: line["p"])
    assert [line["p"] for line in index.lines("f" * 16)] == [list(pairs[0]), list(pairs[1])]
    assert [line["p"] for line in index.lines("00000000000000ab")] == [list(pairs[1])]
    assert index.lines("00000000000000ac") == [] and len(index.lines("0" * 16, most=2)) == 2
    assert IdIndex(tmp_path / "none", lambda line: line["p"]).lines("f" * 16) == []


def test_what_is_known_of_a_row(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n[dataset.quality]\nscore = true\n')
    said = (
        "Write to anna{}@posteo.de: the seal of the forward pump on deck {} leaks again since monday morning"
    )
    lines = [{"prompt": said.format(n, n % 3), "completion": f"order {n % 2}"} for n in range(12)] + [
        {"prompt": f"{n * 7919} of {n * n}", "completion": f"{n * 31}"} for n in range(40)
    ]
    bench.write("a.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
    bench.prepare()
    folder, indexes = bench.project.dataset, RowIndexes(bench.project.dataset)
    rows = {split: read_rows(folder / f"{split}.jsonl") for split in ("train", "valid", "test")}
    near = next(
        row
        for row in rows["train"] + rows["valid"] + rows["test"]
        if "forward pump" in row.messages[0]["content"]
    )
    facts = about(indexes, near.id)
    cluster = {row["id"] for row in facts.near}
    everyone = {
        row.id for held in rows.values() for row in held if "forward pump" in row.messages[0]["content"]
    }
    assert cluster == everyone - {near.id} and len(cluster) >= 3
    assert facts.redactions and {line["row"] for line in facts.redactions} == {near.id}
    assert facts.conflicts
    alone = next(row for row in rows["train"] if "forward pump" not in row.messages[0]["content"])
    facts = about(indexes, alone.id)
    assert (facts.near, facts.conflicts, facts.redactions) == ([], [], [])
    assert facts.quality["id"] == alone.id
    for split, held in rows.items():
        assert find_row(folder, held[-1].id) == (split, held[-1])
    assert find_row(folder, "0" * 16) is None
