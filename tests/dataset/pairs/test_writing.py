"""What a model writes is checked against the text, kept, and gone on with; the engine is a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.dataset import read_other_rows, read_rows
from appliance.dataset.pairs.grounding import fault_of, grounded_share
from appliance.dataset.pairs.passages import passages
from appliance.dataset.pairs.writing import parsed, sentences_to_ask, writer_model
from appliance.dataset.pairs.written import WrittenStore
from appliance.errors import ModelError
from tests.dataset.conftest import Bench
from tests.dataset.pairs.conftest import Maker

TEXT = (
    "The inlet valve of the P3 pump opens at 3.5 bar and closes when the pressure falls below"
    " 2 bar, to spare the seals."
)
GOOD = "When does the inlet valve of the P3 pump open?"


@pytest.mark.parametrize(
    ("question", "answer", "fault"),
    [
        (GOOD, "It opens at 3.5 bar.", ""),
        (GOOD, "3.5 bar", ""),
        (GOOD, "It opens at 4 bar.", "number-not-in-text"),
        (GOOD, "The operator turns a brass wheel to the left.", "not-in-text"),
        (GOOD, "The inlet valve of the P3 pump opens.", "answer-in-question"),
        (GOOD, "The inlet valve of the P3 pump opens with a lever.", "not-in-text"),
        (GOOD, "I'm sorry, but I can't answer that.", "refusal"),
        (GOOD, "", "no-answer"),
        (GOOD, "wet", "no-answer"),
        ("The inlet valve opens.", "It opens at 3.5 bar.", "no-question"),
        ("What does the text say about the valve?", "It opens at 3.5 bar.", "refers-to-text"),
        ("When does the above valve of the P3 open?", "It opens at 3.5 bar.", "refers-to-text"),
        ("When does it open again?", "It opens at 3.5 bar.", "not-by-itself"),
        ("What is the capital city of France?", "It opens at 3.5 bar.", "question-not-in-text"),
    ],
)
def test_checks(question: str, answer: str, fault: str) -> None:
    assert fault_of(question, answer, TEXT, 0.8) == fault


def test_the_grounded_share_counts_words_of_content() -> None:
    assert grounded_share("the pressure falls", TEXT) == 1.0
    assert grounded_share("the pressure rises", TEXT) == 0.5
    assert grounded_share("of the", TEXT) == 0.0


def test_what_was_written_is_taken_apart() -> None:
    assert parsed(" When does it\nopen?\nAnswer: At 3.5 bar.\n\nQuestion: x") == (
        "When does it open?",
        "At 3.5 bar.",
    )
    assert parsed(" no form") == ("no form", "")


def test_the_sentences_that_say_most_are_asked_about_in_their_order(maker: Maker) -> None:
    document = maker.read(
        f"# P3\n\n{TEXT} It is red. Every seal of the P3 pump is checked by two engineers on Monday.\n"
    )
    (passage,) = passages(document, 1000)
    assert sentences_to_ask(passage, 1) == [TEXT]
    assert sentences_to_ask(passage, 5) == [
        TEXT,
        "Every seal of the P3 pump is checked by two engineers on Monday.",
    ]


def test_a_store_forgets_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "written.jsonl"
    with WrittenStore(path) as store:
        store.put("a", ("one", "stop"))
        store.put("b", ("two", "length"))
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:-5])
    with WrittenStore(path) as store:
        assert (store.get("a"), store.get("b")) == (("one", "stop"), None)
        store.put("c", ("three", "stop"))
    with WrittenStore(path) as store:
        assert store.get("c") == ("three", "stop")


def test_a_writer_that_is_no_gguf_is_refused(bench: Bench) -> None:
    bench.configure('[dataset.pairs]\nwriter = "nowhere.gguf"')
    with pytest.raises(ModelError, match=r"nowhere\.gguf: no such model"):
        writer_model(bench.project)
    (bench.root / "model.bin").write_bytes(b"x")
    bench.configure('[dataset.pairs]\nwriter = "model.bin"')
    with pytest.raises(ModelError, match="no GGUF"):
        writer_model(bench.project)


@pytest.mark.slow
def test_a_model_writes_and_a_second_run_asks_nothing_again(bench: Bench, tiny_gguf: Path) -> None:
    parts = "".join(f"## Part {n}\n\n{TEXT.replace('P3', f'P{n}')}\n\n" for n in range(3, 13))
    bench.write("manual.md", f"# Pumps\n\n{parts}")
    bench.configure(f'[dataset.pairs]\nwriter = "{tiny_gguf}"\nwriter_pairs = 1')
    card = bench.prepare()
    written = bench.project.written_pairs / "written.jsonl"
    lines = written.read_bytes()
    assert len(lines.splitlines()) == 10
    # A model of random weights writes nothing that stands in the text: all of it is dropped, with reasons.
    assert (
        sum(count for reason, count in card.pairs["dropped"].items() if reason.startswith("written-")) == 10
    )
    log = (bench.project.written_pairs / "engine.log").read_bytes()
    cut = lines.splitlines(keepends=True)[0]
    assert bench.prepare().digest == card.digest
    assert written.read_bytes() == lines
    assert (bench.project.written_pairs / "engine.log").read_bytes() == log  # no engine was started
    written.write_bytes(lines[: len(lines) - len(cut) // 2])
    assert bench.prepare().digest == card.digest
    assert sorted(written.read_bytes().splitlines()) == sorted(lines.splitlines())


def test_held_back_questions_ask_for_what_is_trained_on(bench: Bench) -> None:
    names = (
        "ash",
        "birch",
        "cedar",
        "elm",
        "fir",
        "hazel",
        "larch",
        "maple",
        "oak",
        "pine",
        "rowan",
        "willow",
    )
    parts = "".join(
        f"## {name.title()} pump\n\nThe {name} pump is a pump for {name} oil in hall {n}. It holds"
        f" {n * 3} liters and was built by "
        f"{name} makers of the {n}th order.\n\n"
        for n, name in enumerate(names, start=4)
    )
    bench.write("manual.md", f"# Pumps\n\n{parts}")
    bench.configure("[dataset.pairs]\nhold_back = 1.0")
    card = bench.prepare()
    held = read_rows(bench.project.dataset / "held_back.jsonl")
    train = read_rows(bench.project.dataset / "train.jsonl")
    assert len(held) == card.held_back > 5
    assert {row.answer for row in held} <= {row.answer for row in train}
    everywhere = [row for name in card.rows for row in read_rows(bench.project.dataset / f"{name}.jsonl")]
    assert not {row.id for row in held} & {row.id for row in everywhere}
    assert not {row.prompt[-1]["content"] for row in held} & {row.prompt[-1]["content"] for row in everywhere}
    assert {row.kind for row in held} == {"qa"}
    asked = read_other_rows(bench.project, bench.project.dataset / "held_back.jsonl")
    assert {row.id for row in asked} == {row.id for row in held}  # as `evaluate --rows` reads them
    bench.configure("[dataset.pairs]\nhold_back = 0")
    assert bench.prepare().held_back == 0
    assert not (bench.project.dataset / "held_back.jsonl").exists()
