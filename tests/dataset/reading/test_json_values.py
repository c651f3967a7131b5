"""JSON that isn't one object a line: streamed, with lines, and the rest goes on behind what is broken."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.dataset.reading import BadRow, RawRow
from appliance.dataset.reading.json_values import json_values
from tests.dataset.reading.conftest import Shelf, said
from tests.house.sources import ROOT


def values(text: str | bytes, longest: int = 1 << 20, inside: bool = True) -> list[Any]:
    raw = text.encode() if isinstance(text, str) else text
    return [(one.line, one.kind or one.value) for one in json_values(io.BytesIO(raw), longest, inside)]


def test_arrays_lists_inside_objects_and_one_by_one() -> None:
    assert values('[1,\n "a",\n {"b": [2]}]') == [(1, 1), (2, "a"), (3, {"b": [2]})]
    assert values('{"version": "1",\n "none": [],\n "data": [{"a": 1},\n {"a": 2}]}') == [
        (3, {"a": 1}),
        (4, {"a": 2}),
    ]
    assert values('{\n"a": 1}\n{"a":\n2}', inside=False) == [(1, {"a": 1}), (3, {"a": 2})]
    assert values("[]") == [] == values("  ")


def test_whatever_the_pieces_the_values_are_json_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(5)
    alphabet = 'aé"\\/\n[]{},:😀 0'

    def text() -> str:
        return "".join(random.choices(alphabet, k=random.randrange(12)))

    def value(depth: int) -> Any:
        kind = random.randrange(7 if depth else 4)
        if kind < 4:
            return (text(), random.randrange(10**9), -1.5e-7, None)[kind]
        if kind < 6:
            return {text(): value(depth - 1) for _ in range(random.randrange(4))}
        return [value(depth - 1) for _ in range(random.randrange(4))]

    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr("appliance.dataset.reading.json_values._CHUNK", size)
        whole = [value(3) for _ in range(60)]
        for indent in (None, 1):
            raw = json.dumps(whole, ensure_ascii=False, indent=indent)
            assert [one for _, one in values(raw)] == whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[{"a": 1},\n{"a": nope, "b": [1, 2]},\n{"a": 3}]',
            [(1, {"a": 1}), (2, "broken-json"), (3, {"a": 3})],
        ),
        ('[{"a": "\x01"},\n{"a": 3}]', [(1, "broken-json"), (2, {"a": 3})]),
        ('[{"a": 1},\n{"a": "x', [(1, {"a": 1}), (2, "broken-json"), (2, "broken-json")]),
        ('[{"a": 1}\n', [(1, {"a": 1}), (2, "broken-json")]),
        ('[{"a": 1}]\n}\n', [(1, {"a": 1}), (2, "broken-json")]),
        ('{"a": [{"x": 1}],\n "b": [{"x": 2}]}', [(1, {"x": 1}), (2, "second-list")]),
        ("[" * 100_000, [(1, "broken-json"), (1, "broken-json")]),
    ],
)
def test_broken_values_are_named_and_the_rest_goes_on(text: str, expected: list[Any]) -> None:
    assert values(text) == expected


def test_long_values_and_bytes_that_are_no_text_are_passed_by() -> None:
    long = json.dumps({"a": "x" * 5000, "b": [["]"] * 900]})
    assert values(f"[1,\n{long},\n2]", longest=2000) == [(1, 1), (2, "long-line"), (3, 2)]
    open_end = '["' + "y" * 9000
    assert values(f"[1,\n{open_end}", longest=2000)[:2] == [(1, 1), (2, "long-line")]
    assert values(b'["a",\n"\xff",\n"b"]') == [(1, "a"), (2, "encoding"), (3, "b")]


def test_an_array_from_a_file_keeps_its_lines_and_names_what_is_broken(shelf: Shelf) -> None:
    good = [{"prompt": f"note {number}", "completion": f"answer {number}"} for number in range(20)]
    lines = [json.dumps(row) for row in good]
    lines[7] = '{"prompt": "broken}'.replace("}", "") + '", "completion" "x"}'
    things = shelf.read(shelf.write("a.json", "[\n" + ",\n".join(lines) + "\n]\n"))
    assert sum(isinstance(thing, RawRow) for thing in things) == 19
    (bad,) = [thing for thing in things if isinstance(thing, BadRow)]
    assert (bad.line, bad.kind) == (9, "broken-json")
    assert [thing.line for thing in things] == list(range(2, 22))


def test_a_single_conversation_over_many_lines(shelf: Shelf) -> None:
    record = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (row,) = shelf.all_of(RawRow, shelf.write("a.json", json.dumps(record, indent=2)))
    assert said(row) == [("user", "a"), ("assistant", "b")]
    two = json.dumps(record, indent=2) + "\n" + json.dumps(record, indent=2)
    assert [row.line for row in shelf.all_of(RawRow, shelf.write("b.json", two))] == [1, 13]
    (row,) = shelf.all_of(RawRow, shelf.write("c.json", json.dumps({"version": 2, "rows": [record]})))
    assert said(row) == [("user", "a"), ("assistant", "b")]


LIMITED = """
import resource, sys
from pathlib import Path
from appliance.config import DatasetSection
from appliance.dataset.reading import RawRow, read_file
path = Path(sys.argv[1])
list(read_file(path.parent / "small.json", "small", DatasetSection(), lambda _: None))
held = int(Path("/proc/self/status").read_text().partition("VmSize:")[2].split()[0])
limit = held * 1024 + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(sum(isinstance(row, RawRow) for row in read_file(path, "a.json", DatasetSection(), lambda _: None)))
"""


def limited(path: Path, memory: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(memory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_large_array_is_read_in_little_memory(tmp_path: Path) -> None:
    record = {"prompt": "note", "completion": "answer " * 2000}
    (tmp_path / "small.json").write_text(json.dumps([record] * 3))
    line = json.dumps(record)
    count = 40_000_000 // len(line)
    for name, opening, closing in (("a.json", "[", "]"), ("b.json", '{"version": 1, "data": [', "]}")):
        with (tmp_path / name).open("w") as stream:
            stream.write(opening)
            stream.writelines(f"{line},\n" for _ in range(count))
            stream.write(line + closing)
        done = limited(tmp_path / name, 16_000_000)
        assert done.stdout.strip() == str(count + 1), done.stderr
    # The limit is real: a piece of the file is more than this one leaves.
    done = limited(tmp_path / "a.json", 200_000)
    assert "MemoryError" in done.stderr
