"""What the training split gives away of an evaluation set, and the command that says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.dataset import leakage, prepare, read_rows
from appliance.dataset.leakage import LeakReport, check_leakage
from appliance.errors import DataError, ExitCode, UsageError
from appliance.events import ignore
from tests.cli.test_program import run
from tests.dataset.conftest import Bench
from tests.dataset.test_arranging import sentences
from tests.dataset.test_prepare import line


def against(bench: Bench, content: str) -> LeakReport:
    path = bench.root / "other.jsonl"
    path.write_text(content)
    return check_leakage(bench.project, [path], ignore)


def train_of(bench: Bench) -> list[str]:
    return [str(row.messages[-2]["content"]) for row in read_rows(bench.project.dataset / "train.jsonl")]


def test_equal_and_near_prompts_are_shown_with_their_places(bench: Bench) -> None:
    bench.configure("canaries = 3")
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 100)))
    bench.prepare()
    train = [text for text in train_of(bench) if "seal number" not in text]
    canary = next(text for text in train_of(bench) if "seal number" in text)
    report = against(
        bench, line(train[0].upper(), "x") + line(f"{train[1]} now") + line("quite another") + line(canary)
    )
    assert [(leak.how, leak.against) for leak in report.leaks] == [
        ("exact", "other.jsonl:1"),
        ("near", "other.jsonl:2"),
    ]
    assert [leak.train_text for leak in report.leaks] == train[:2]
    assert report.leaks[1].against_text == f"{train[1]} now"
    assert 0.85 <= report.leaks[1].jaccard < 1
    assert (report.against_rows, report.rows, report.train_rows) == (4, 2, len(train))
    sources = {row.id: row.source for row in read_rows(bench.project.dataset / "train.jsonl")}
    assert all(sources[leak.train_id] == leak.train for leak in report.leaks)


def test_thirteen_words_in_a_row_are_found_in_long_texts(bench: Bench) -> None:
    pages = [" ".join(sentences(number, 12)) for number in range(30)]
    bench.write("a.jsonl", "".join(line(f"page {number}?", page) for number, page in enumerate(pages)))
    bench.prepare()
    answers = [row.answer for row in read_rows(bench.project.dataset / "train.jsonl")]
    quoted = answers[2].split()[40:53]
    unlike = sentences(99, 8)
    short = answers[3].split()[40:52]
    report = against(
        bench, line(" ".join([*unlike[:4], *quoted, *unlike[4:]])) + line(" ".join([*unlike, *short]))
    )
    (leak,) = report.leaks
    assert (leak.how, leak.against, leak.against_text) == ("window", "other.jsonl:1", " ".join(quoted))
    assert leak.jaccard < 0.6


def test_a_form_that_many_rows_share_is_no_leak(bench: Bench) -> None:
    form = " ".join(sentences(50, 1, length=16))
    texts = sentences(1, 60)
    bench.write(
        "a.jsonl", "".join(line(f"{text} {form} {n}" if n % 3 else text) for n, text in enumerate(texts))
    )
    bench.prepare()
    report = against(bench, line(f"{sentences(77, 1)[0]} {form} {sentences(78, 1)[0]}"))
    assert report.leaks == ()
    assert report.common_windows >= 4


def test_rows_that_cannot_be_read_are_counted(bench: Bench) -> None:
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 40)))
    bench.prepare()
    report = against(bench, line("quite another") + "{broken\n" + '{"messages": []}\n')
    assert report.against_rows == 1
    assert [text.split(": ")[0] for text in report.bad] == ["other.jsonl:2", "other.jsonl:3"]
    with pytest.raises(DataError, match="no row to check against"):
        against(bench, "{broken\n")
    with pytest.raises(UsageError, match="no such file"):
        check_leakage(bench.project, [bench.root / "missing.jsonl"], ignore)


def test_without_a_prepared_dataset(bench: Bench) -> None:
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 40)))
    with pytest.raises(DataError, match=r"train\.jsonl: no such file"):
        against(bench, line("quite another"))


def test_windows_are_the_stretches_of_thirteen_words() -> None:
    words = [f"w{number}" for number in range(20)]
    hashes, owners, begins = leakage._windows([" ".join(words), "too short", " ".join(words[3:17])])
    assert owners.tolist() == [0] * 8 + [2] * 2
    assert begins.tolist() == [*range(8), 0, 1]
    assert hashes[3:5].tolist() == hashes[8:].tolist()
    assert len(set(hashes[:8].tolist())) == 8


def test_the_command_exits_with_4_when_something_leaks(bench: Bench, tmp_path: Path) -> None:
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 60)))
    bench.prepare()
    train = train_of(bench)
    (tmp_path / "clean.jsonl").write_text(line("quite another"))
    (tmp_path / "leak.jsonl").write_text(line(train[0]))
    clean = run("dataset", "--project", str(bench.root), "--against", str(tmp_path / "clean.jsonl"))
    assert (clean.returncode, clean.stdout.count("\n")) == (0, 1), clean.stderr
    both = ["--against", str(tmp_path / "clean.jsonl"), "--against", str(tmp_path / "leak.jsonl")]
    leak = run("dataset", "--project", str(bench.root), *both)
    assert leak.returncode == ExitCode.DATA
    assert "leak.jsonl:1" in leak.stdout and train[0] in leak.stdout
    as_json = run("dataset", "--project", str(bench.root), *both, "--json")
    assert as_json.returncode == ExitCode.DATA
    report = json.loads(as_json.stdout)
    assert [(each["how"], each["against"]) for each in report["leaks"]] == [("exact", "leak.jsonl:1")]
    assert (bench.project.dataset / "card.json").exists()


def test_what_is_prepared_beside_its_test_file_gives_nothing_near_away(bench: Bench) -> None:
    texts = sentences(3, 80)
    bench.configure('sources = ["data/*.jsonl"]\ntest_sources = ["data/dev.jsonl"]')
    bench.write("dev.jsonl", "".join(line(text) for text in texts[:15]))
    bench.write("more.jsonl", "".join(line(f"{text} again") for text in texts))
    prepare(bench.project, ignore, tokenizer=len)
    report = check_leakage(bench.project, [bench.root / "data" / "dev.jsonl"], ignore)
    assert [leak for leak in report.leaks if leak.how != "window"] == []


@pytest.mark.parametrize("mode", ["placeholder", "surrogate"])
def test_an_evaluation_file_is_redacted_as_the_rows_it_is_compared_with(bench: Bench, mode: str) -> None:
    texts = [
        f"{text} for Mrs Anna Kowalski, write to a{n}@mail.example" for n, text in enumerate(sentences(1, 60))
    ]
    bench.configure(f'redact = {{ mode = "{mode}" }}')
    rows = "".join(line(text) for text in texts)
    bench.write("a.jsonl", rows)
    card = bench.prepare()
    assert card.redactions["rows"] == 60
    report = against(bench, rows)
    assert sum(leak.how == "exact" for leak in report.leaks) >= card.rows["train"]
    assert "Kowalski" not in str(report)


def test_what_a_leak_quotes_is_not_obeyed_by_a_terminal(bench: Bench) -> None:
    texts = [f"\x1b[31m\u202e{text}" for text in sentences(1, 40)]  # the second one is no control character
    bench.write("a.jsonl", "".join(line(text) for text in texts))
    bench.prepare()
    report = against(bench, "".join(line(text) for text in texts))
    lines = leakage.leak_lines(report)
    assert report.leaks and not any("\x1b" in text for text in lines)
    assert any("\\u202e" in text for text in lines) and not any("\u202e" in text for text in lines)


def test_a_file_is_told_by_the_name_it_has_in_the_project(bench: Bench) -> None:
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 40)))
    bench.prepare()
    bench.configure('formats = { "data/*.txt" = "skip" }')
    path = bench.root / "data" / "b.txt"
    path.write_text("".join(line(text) for text in sentences(1, 4)))
    with pytest.raises(DataError, match="no row to check against"):
        check_leakage(bench.project, [path], ignore)
