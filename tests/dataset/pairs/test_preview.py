"""What `anchorhold dataset pairs` shows, by the real command, and what real collections give."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.commands.dataset import command
from appliance.config import DatasetSection
from appliance.dataset.near.normal import normalise
from appliance.dataset.pairs.previewing import preview
from appliance.dataset.reading import Document, read_file
from appliance.events import ignore
from tests.dataset.conftest import Bench
from tests.dataset.pairs.test_documents import PUMP


def _text(path: Path) -> str:
    found = read_file(path, path.name, DatasetSection(), lambda _: None)
    return normalise(
        "\n".join(block.text for one in found if isinstance(one, Document) for block in one.blocks)
    )


def _count(text: str) -> int:
    return len(text.split())


def test_the_preview_shows_counts_and_samples_and_writes_nothing(bench: Bench) -> None:
    bench.write("manual.md", PUMP)
    bench.write("talk\x1b[2J.log", "Customer: my \x1b[31mpump leaks\nAgent: close the inlet valve\n")
    bench.write("rows.csv", "prompt,answer\na,b\n")
    found = preview(bench.project, ignore, tokenizer=_count)
    assert {source.name for source in found.sources} == {"data/manual.md", "data/talk\x1b[2J.log"}
    manual = next(source for source in found.sources if source.name == "data/manual.md")
    assert manual.made["qa"] > 5
    assert {kind for _, kind, _ in manual.samples} == {"qa", "extract"}
    assert not [line for line in found.lines() if "\x1b" in line]
    assert not (bench.root / "build").exists()
    card = bench.prepare()
    made = Counter(card.pairs["made"])
    shown = sum((source.made for source in found.sources), Counter())
    assert made == Counter({kind: count for kind, count in shown.items() if kind != "held"})


def test_the_split_is_the_same_wherever_the_documents_lie(bench: Bench, tmp_path: Path) -> None:
    splits = []
    for folder in (tmp_path / "disk", tmp_path / "mnt" / "copy"):
        manuals = folder / "manuals"
        manuals.mkdir(parents=True)
        for number in range(12):
            (manuals / f"p{number}.md").write_text(
                PUMP.replace("P3", f"P{number}").replace("12", f"{number}7")
            )
        (manuals / "talk.log").write_text(
            "Customer: my pump leaks at the shaft\nAgent: close the inlet valve\n"
        )
        (folder / "project").mkdir()
        project = Bench(folder / "project")
        project.configure(f'sources = ["{manuals}"]\n[dataset.duplicates]\nnear = "ignore"')
        project.prepare()
        rows = {}
        for path in sorted(project.project.dataset.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                row = json.loads(line)
                if "group" in row:
                    rows[row["id"]] = (path.stem, row["group"])
        splits.append(rows)
    assert len({split for split, _ in splits[0].values()}) > 1
    assert splits[0] == splits[1]


@pytest.mark.slow
def test_the_command_prints_json(bench: Bench, base_checkpoint: Path) -> None:
    bench.write("manual.md", PUMP)
    toml = bench.root / "anchorhold.toml"
    toml.write_text(toml.read_text() + f'[base]\npath = "{base_checkpoint}"\n')
    done = CliRunner().invoke(command, ["--project", str(bench.root), "pairs", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sources"][0]["file"] == "data/manual.md"
    assert told["made"]["qa"] == told["sources"][0]["pairs"]["qa"]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "least"), [("docs_survival_manual", 1000), ("docs_nasa_fprime", 700)])
def test_pairs_of_real_documents_say_what_the_documents_say(
    name: str, least: int, bench: Bench, shared_data: Path
) -> None:
    bench.configure(f'sources = ["{shared_data / name}"]')
    card = bench.prepare()
    assert sum(card.pairs["made"].values()) > least
    assert card.held_back > 10  # of what falls into training, which the split decides
    assert not card.unpaired
    texts = {path.name: _text(path) for path in (shared_data / name).iterdir()}
    for split in card.rows:
        for line in (bench.project.dataset / f"{split}.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["kind"] in {"qa", "extract", "cloze"}:
                file = row["source"].rpartition(":")[0].rpartition("/")[2]
                answer = normalise(row["messages"][-1]["content"])
                assert all(word in texts[file] for word in answer.split()), row


@pytest.mark.shared
def test_pairs_of_real_chats(bench: Bench, shared_data: Path) -> None:
    bench.configure(f'sources = ["{shared_data}/raw_irc_ubuntu_*.txt"]')
    card = bench.prepare()
    assert card.pairs["made"]["turns"] > 150
    assert sum(card.groups.values()) > 80
    assert len([text for text in bench.warnings if "a conversation of many" in text]) == 3
