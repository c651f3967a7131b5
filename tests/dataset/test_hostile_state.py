"""A build folder that others left their things in, and what may reach a terminal or a file of ours."""

from __future__ import annotations

import fcntl
import io
import json
import os
from pathlib import Path

import pytest

from appliance import cli
from appliance.dataset import read_rows
from appliance.dataset.card import FILE_NAME
from appliance.errors import DataError, ExitCode
from appliance.events import Event
from appliance.progress import PlainProgress
from tests.dataset.conftest import Bench
from tests.dataset.test_prepare import line, many

PLANTED = ("Margaret Hughes", "box7@posteo.de", "+49 30 901820", "4111 1111 1111 1111")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b"[]",
        b"{}",
        b"\xff",
        b'{"format": 1, "splits": {"train": 5, "valid": [], "test": []}}',
        b'{"format": 1, "splits": []}',
        b'{"format": 1, "splits": {"train": [{}], "valid": [[]], "test": [null]}}',
        b'{"format": "\\u001b[2J\\u202e"}',
        b'{"format": ' + b"9" * 100_000 + b"}",
    ],
)
def test_places_of_any_shape_only_cost_the_memory_of_them(bench: Bench, content: bytes) -> None:
    bench.write("a.jsonl", many(40))
    bench.prepare()
    first = (bench.project.dataset / "train.jsonl").read_bytes()
    (bench.project.dataset / "places.json").write_bytes(content)
    bench.prepare()
    assert (bench.project.dataset / "train.jsonl").read_bytes() == first
    assert "\x1b" not in "".join(bench.warnings)
    assert json.loads((bench.project.dataset / "places.json").read_text())["format"] == 2


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff\xfe", b'{"id": ["a"], "decision": {}}', b"7"])
def test_decisions_of_any_shape_are_named(bench: Bench, content: bytes) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.write("a.jsonl", many(40))
    path = bench.project.redaction_decisions
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n" + content)
    with pytest.raises(DataError, match=r":2: no decision"):
        bench.prepare()


def test_links_in_the_build_folder_are_replaced_and_never_written_through(bench: Bench) -> None:
    bench.configure('[dataset.quality]\nscore = true\n[dataset.redact]\nmode = "placeholder"\n')
    bench.write("a.jsonl", many(40) + "broken\n" + line("write to anna@example.org"))
    bench.prepare()
    names = sorted(path.name for path in bench.project.dataset.iterdir())
    assert {"card.json", "places.json", "quality.jsonl", "redactions.jsonl", "rejected.jsonl"} < set(names)
    outside = bench.root / "outside"
    for name in names:
        (bench.project.dataset / name).unlink()
        (bench.project.dataset / name).symlink_to(outside)
        outside.write_text("not ours")
        bench.prepare()
        assert outside.read_text() == "not ours", name
        assert not (bench.project.dataset / name).is_symlink()


def test_one_preparing_at_a_time(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second would remove what the first has half written."""
    monkeypatch.setattr("appliance.offline.seal", lambda: None)
    bench.write("a.jsonl", many(40))
    bench.project.build.mkdir()
    kept = bench.root / "kept"
    kept.write_text("not ours")
    (bench.project.build / ".lock").symlink_to(kept)
    with kept.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit) as done:
            cli.main(["dataset", "--project", str(bench.root)])
    assert done.value.code == ExitCode.USAGE
    assert "another build is running here" in capsys.readouterr().err
    assert kept.read_text() == "not ours"


def test_reasons_and_evidence_tell_no_personal_value(bench: Bench) -> None:
    """What is refused is quoted, and a table without a header may be taken for one with names for its columns."""
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    name, mail, phone, card = PLANTED
    bench.write("good.jsonl", many(40))
    roles = [{"role": f"{name} {mail}", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    bench.write("roles.jsonl", json.dumps({"messages": roles}) + "\n" + line("note", "b"))
    parts = [{"role": "user", "content": [{"type": f"card {card}"}]}, {"role": "assistant", "content": "x"}]
    bench.write("parts.jsonl", json.dumps({"messages": parts}) + "\n" + line("note", "c"))
    bench.write("keys.jsonl", json.dumps({f"call {phone}": 1, name: 2}) + "\n" + line("note", "d"))
    bench.write(
        "table.csv", f"question,answer,{name}\n" + "".join(f"what {n},that {n},1\n" for n in range(9))
    )
    card_of_all = bench.prepare()
    assert not [warning for warning in bench.warnings if "looks like personal data" in warning]
    assert card_of_all.rejected_rows >= 3
    everything = "".join(
        path.read_text() for path in bench.project.build.rglob("*") if path.is_file()
    ) + "".join(str(event) for event in bench.events)
    assert [value for value in PLANTED if value in everything] == []
    with pytest.raises(DataError) as stopped:
        bench.prepare(strict=True)
    assert [value for value in PLANTED if value in stopped.value.message] == []


def test_a_value_in_a_files_name_is_warned_of(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.write("mail of box7@posteo.de.jsonl", many(40))
    bench.prepare()
    assert bench.warnings == [
        "data/mail of box7@posteo.de.jsonl: the file's name looks like personal data; names of files are not redacted"
    ]


def test_a_killed_preparing_leaves_nothing_to_read_and_nothing_in_the_way(bench: Bench) -> None:
    """Killed at each of the first steps in turn, in a process of its own."""
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.write("a.jsonl", "".join(line(f"mail box{n}@posteo.de, note {n}") for n in range(60)) + "broken\n")
    card = bench.prepare()
    whole = {path.name: path.read_bytes() for path in bench.project.dataset.iterdir()}
    for step in range(12):
        child = os.fork()
        if not child:
            seen = 0

            def emit(event: Event, step: int = step) -> None:
                nonlocal seen
                seen += 1
                if seen > step:
                    os.kill(os.getpid(), 9)

            try:
                from appliance.dataset import prepare

                prepare(bench.project, emit, tokenizer=lambda text: len(text.split()))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        left = "".join(path.read_text() for path in bench.project.dataset.rglob("*") if path.is_file())
        assert "posteo" not in left, step
        assert bench.prepare() == card
        assert {path.name: path.read_bytes() for path in bench.project.dataset.iterdir()} == whole
    assert FILE_NAME in whole and read_rows(bench.project.dataset / "train.jsonl")


def test_what_a_file_is_called_or_holds_reaches_no_terminal_raw(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.offline.seal", lambda: None)
    bench.configure('prompt_column = "question"\nanswer_column = "answer"')
    path = bench.write("a\x1b]0;owned\x07.csv", "na\x1b[2Jme,\u202ereply\none,two\nthree,four\nfive,six\n")
    with pytest.raises(SystemExit):
        cli.main(["dataset", "--project", str(bench.root), "inspect", str(path)])
    told = capsys.readouterr()
    assert "no column `question`" in told.err and "\\e[2J" in told.err
    assert not set("\x1b\x07\u202e") & set(told.out + told.err)


def test_an_events_text_reaches_no_terminal_raw() -> None:
    stream = io.StringIO()
    with PlainProgress(stream) as show:
        show(Event("dataset", "warning", "a\x1b[2J\u202e.csv:\nsecond line\r"))
    assert stream.getvalue() == "dataset   warning: a\\e[2J\\u202e.csv:\nsecond line\\r\n"


def test_outputs_that_cannot_be_replaced_are_an_error(bench: Bench, tmp_path: Path) -> None:
    bench.write("a.jsonl", many(40))
    (bench.project.dataset / "places.json").mkdir(parents=True)
    with pytest.raises(OSError, match=r"places\.json"):
        bench.prepare()
    assert not (bench.project.dataset / FILE_NAME).exists()
    assert not list(bench.project.dataset.glob(".*"))
