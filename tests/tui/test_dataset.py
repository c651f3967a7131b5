"""The dataset's screens: keys pressed, text read, decisions found on the disk; and once in a real terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.dataset import prepare
from appliance.errors import DataError
from appliance.events import ignore
from appliance.paths import Project
from tests.tui.conftest import Hands, shown, until, words
from tests.tui.test_end_to_end import ROOT, Tmux, _until
from tui.dataset.app import DatasetApp
from tui.dataset.browsed import Browsed

SIZES = [(80, 24), (120, 40)]
HOSTILE = "\x1b]0;owned\x07\x9b2J\u202eevil"
PEOPLE = ["Anna Schmidt", "Pieter Visser", "Ludwig Berg"]


def make_project(folder: Path, mode: str = "placeholder") -> Project:
    (folder / "data").mkdir(parents=True)
    lines = []
    for number in range(90):
        said = f"My name is {PEOPLE[number % 3]}. Item {number * 7919} of {number * number} is late: grubbel is away."
        if number == 4:
            said += f" {HOSTILE} Grüße, 東京"
        lines.append({"prompt": said, "completion": ["urgent", "routine"][number % 2]})
    lines += [{"prompt": "Which deck is it?", "completion": answer} for answer in ("urgent", "routine")]
    (folder / "data" / "a.jsonl").write_text("\n".join(map(json.dumps, lines)) + f"\n{{broken {HOSTILE}\n")
    (folder / "anchorhold.toml").write_text(
        '[project]\nname = "station"\n[dataset]\ncanaries = 1\nlicences = { "data/*" = "CC0-1.0" }\n'
        f'[dataset.quality]\ndrop_share = 0.05\n[dataset.redact]\nmode = "{mode}"\n'
    )
    project = Project.open(folder)
    prepare(project, ignore, tokenizer=lambda text: len(text.split()))
    return project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("made") / "station").root


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Project:
    shutil.copytree(made, tmp_path / "station")
    return Project.open(tmp_path / "station")


@asynccontextmanager
async def opened(
    project: Project, first: str = "card", size: tuple[int, int] = (80, 24), plain: bool = False
) -> AsyncIterator[tuple[DatasetApp, Hands]]:
    app = DatasetApp(Browsed.open(project), plain=plain, first=first)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: "Dataset" in shown(app))
        yield app, Hands(pilot)
    await asyncio.sleep(0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_every_screen_fits_says_where_one_is_and_obeys_nothing(project, size, plain) -> None:
    async with opened(project, size=size, plain=plain) as (app, hands):
        for digit, label in (
            ("1", "Splits"), ("2", "[train "), ("3", "[rejected 1]"), ("4", "[near rows "),
            ("5", "decided (all kinds)"), ("6", "PgUp PgDn"),
        ):  # fmt: skip
            await hands.press(digit)
            await until(
                hands, lambda label=label: label in shown(app) and len(shown(app).splitlines()) == size[1]
            )
            screen = shown(app)
            assert max(map(len, screen.splitlines())) <= size[0]
            assert not any(ord(char) < 32 and char != "\n" for char in screen) and "\u202e" not in screen
            if plain:
                assert screen.isascii(), sorted({char for char in screen if not char.isascii()})
        await hands.press("q")
        await until(hands, lambda: not app.is_running)


async def test_the_card_says_what_card_json_says(project) -> None:
    card = json.loads((project.dataset / "card.json").read_text())
    async with opened(project, size=(120, 200)) as (app, hands):
        await until(hands, lambda: card["digest"] in shown(app))
        lines = [" ".join(line.split()) for line in shown(app).splitlines()]
        for split, count in card["rows"].items():
            start = next(line for line in lines if line.startswith(f"{split} ") and "%" in line)
            assert (
                start.split()[1] == str(count) and start.split()[-1] == f"{card['tokens'][split]['total']:,}"
            )
        text = " ".join(lines)
        assert "CC0-1.0" in text and card["sources"][0]["sha256"] in text
        assert f"name {card['redactions']['found']['name']} " in text
        # The histogram's counts add up to the rows of each split.
        bars = [line.split() for line in lines if re.match(r"\d+-\d+ [\d,]+", line)]
        drawn = [int(bar[1]) for bar in bars]
        assert sum(drawn) == sum(card["rows"].values())


async def test_rows_are_listed_searched_and_opened_with_all_that_is_known(project) -> None:
    async with opened(project, "rows") as (app, hands):
        await until(hands, lambda: "[train " in shown(app) and "> " in shown(app))
        train = [json.loads(line) for line in (project.dataset / "train.jsonl").read_text().splitlines()]
        assert f"1 of {len(train)}" in shown(app)
        await hands.press("G")
        await until(hands, lambda: f"{len(train)} of {len(train)}" in shown(app))
        await hands.press("home", "slash")
        await until(hands, lambda: "Search in texts" in shown(app))
        await hands.ask("東京")
        holders = [n for n, row in enumerate(train, 1) if "東京" in row["messages"][0]["content"]]
        if holders:
            await until(hands, lambda: f"{holders[0]} of {len(train)}" in shown(app))
        else:
            await until(hands, lambda: "stands nowhere here" in shown(app))
        await hands.press("slash")
        await until(hands, lambda: "Search in texts" in shown(app))
        await hands.press(*["backspace"] * 4)
        await hands.ask("IS LATE")
        late = [n for n, row in enumerate(train, 1) if "is late" in row["messages"][0]["content"]]
        after = next(n for n in late if n > (holders[0] if holders else 1))
        await until(hands, lambda: f"{after} of {len(train)}" in shown(app))
        await hands.press("p", "n", "enter")
        await until(hands, lambda: "What is known of it" in shown(app))
        number = int(words(app).split(" of ")[0].rsplit(" ", 1)[-1])
        row = train[number - 1]
        assert row["id"] in shown(app) and row["source"] in shown(app)
        await until(
            hands, lambda: "replaced by [NAME_1] (turn 1" in words(app) and "counting" not in words(app)
        )
        assert "Tokens" in words(app) and "Score" in words(app)
        await hands.press("n")
        await until(hands, lambda: train[number]["id"] in shown(app))
        await hands.press("escape")
        await until(
            hands, lambda: f"{number + 1} of {len(train)}" in shown(app)
        )  # it stays where one read last
        await hands.press("right")
        await until(hands, lambda: "[valid " in shown(app))


async def test_what_was_left_out_is_told_with_its_reason_and_what_disagrees_is_opened(project) -> None:
    async with opened(project, "left") as (app, hands):
        await until(hands, lambda: "broken-json" in shown(app))
        await hands.press("enter")
        await until(hands, lambda: "Where" in shown(app) and "data/a.jsonl:93" in shown(app))
        await hands.press("escape")
        await until(hands, lambda: "[rejected 1]" in shown(app))
        await hands.press("right")
        await until(hands, lambda: "dropped" in shown(app))
        await hands.press("enter")
        await until(hands, lambda: "yes: it is in no split" in shown(app))
        await hands.press("escape")
        await until(hands, lambda: "[scored" in shown(app))
        await hands.press("4")
        await until(hands, lambda: "[near rows" in shown(app))
        await hands.press("right")
        await until(hands, lambda: "[conflicting answers " in shown(app) and "routine" in shown(app))
        await hands.press("enter")
        await until(hands, lambda: "Which deck is it?" in shown(app) and "=> urgent" in shown(app))


async def test_a_damaged_line_is_told_and_nothing_falls_over(project) -> None:
    path = project.dataset / "rejected.jsonl"
    async with opened(project, "card", size=(120, 40)) as (app, hands):
        path.write_text("no json\n[1]\n")  # somebody else writes meanwhile
        app.tabs["left"][0].total = 2
        await hands.press("3")
        await until(hands, lambda: shown(app).count("(a damaged line") == 2)
        await hands.press("end", "enter")
        await until(hands, lambda: "A damaged line" in shown(app))
    with pytest.raises(DataError, match=r"rejected\.jsonl:1: a damaged line"):
        Browsed.open(project)


def on_disk(project: Project) -> list[dict[str, str]]:
    path = project.redaction_decisions
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("plain", [False, True])
async def test_the_review_writes_each_decision_at_once_undoes_and_resumes(project, plain) -> None:
    browsed = Browsed.open(project)
    assert browsed.review is not None
    ids = [value.id for value in browsed.review.values]
    assert len(ids) == 3 and browsed.farewell() == ""
    async with opened(project, "review", plain=plain) as (app, hands):
        await until(hands, lambda: "0 of 3 decided" in shown(app))
        # What was replaced is marked, and seen where it stands.
        assert "My name is " in words(app) and (">>[NAME_1]<<" in shown(app)) == plain
        await hands.press("a")
        await until(hands, lambda: "1 of 3 decided" in shown(app))
        assert on_disk(project) == [{"id": ids[0], "decision": "redact"}]
        await hands.press("k")
        await until(hands, lambda: "2 of 3 decided" in shown(app))
        assert on_disk(project)[-1] == {"id": ids[1], "decision": "keep"}
        await hands.press("w")
        await until(hands, lambda: "What is it?" in shown(app))
        await hands.press("down", "enter")
        await until(hands, lambda: "3 of 3 decided" in shown(app))
        assert on_disk(project)[-1] == {"id": ids[2], "decision": "redact", "kind": "address"}
        await until(hands, lambda: "2 decisions apply" in words(app))
        await hands.press("u")
        await until(hands, lambda: "2 of 3 decided" in shown(app) and "value 3 of 3" in shown(app))
        assert len(on_disk(project)) == 2
    async with opened(project, "review", plain=plain) as (app, hands):
        await until(hands, lambda: "2 of 3 decided" in shown(app) and "value 3 of 3" in shown(app))
        await hands.press("right", "h")
        await until(hands, lambda: "place 3 of" in shown(app))
        assert on_disk(project)[-1]["decision"] == "keep" and on_disk(project)[-1]["id"] not in ids
        await hands.press("f")
        await until(hands, lambda: "name: 3 values, 2 decided" in shown(app))
        await hands.press("down", "enter")
        await until(hands, lambda: "decided (name)" in shown(app))


async def test_what_was_missed_must_stand_in_the_row_and_is_gone_after_the_next_preparing(project) -> None:
    async with opened(project, "review") as (app, hands):
        await until(hands, lambda: "0 of 3 decided" in shown(app))
        await hands.press("m")
        await until(hands, lambda: "What was missed" in shown(app))
        await hands.ask("grubel")
        await until(hands, lambda: "does not stand in this row" in words(app))
        assert not project.redaction_missed.exists()
        await hands.press("m")
        await until(hands, lambda: "What was missed" in shown(app))
        await hands.ask("grubbel")
        await until(hands, lambda: "What is it?" in shown(app))
        await hands.press("enter")
        await until(hands, lambda: "it is looked for in all rows" in words(app))
        assert app.browsed.farewell().endswith("again: 1 decision applies\n")
    assert json.loads(project.redaction_missed.read_text()) == {"value": "grubbel", "kind": "name"}
    assert "grubbel" in (project.dataset / "train.jsonl").read_text()
    prepare(project, ignore, tokenizer=len)
    assert not any("grubbel" in file.read_text() for file in project.dataset.iterdir())
    assert Browsed.open(project).farewell() == ""


async def test_redaction_that_is_off_is_said(tmp_path: Path) -> None:
    project = make_project(tmp_path / "plain", "off")
    async with opened(project, "review") as (app, hands):
        await until(hands, lambda: "Redaction is off" in shown(app))
        await hands.press("a", "k", "w", "m", "u", "n", "o", "f", "right")
        await hands.press("1")
        await until(hands, lambda: "Splits" in shown(app))
    assert on_disk(project) == []
    with pytest.raises(DataError, match=r"redactions\.jsonl: no such file"):
        Browsed.open(project, needs_review=True)


def test_it_needs_a_terminal_and_a_prepared_dataset(tmp_path: Path, made: Path) -> None:
    for screen in ("browse", "review"):
        done = subprocess.run(
            [sys.executable, "-m", "appliance", "dataset", "--project", str(made), screen],
            cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
            env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.startswith("error: the terminal UI needs a terminal\nhint: ")
    (tmp_path / "anchorhold.toml").write_text('[project]\nname = "empty"\n')
    with pytest.raises(DataError, match=r"card\.json: no such file"):
        Browsed.open(Project.open(tmp_path))


@pytest.mark.slow
def test_the_review_in_a_real_terminal(project: Project, tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    tmux = Tmux(tmp_path)
    command = f"{sys.executable} -m appliance dataset review --project {project.root}"
    tmux.start(f"sh -c '{command}; sleep 600'")  # what it says at its end stays on the screen
    try:
        tmux.until("0 of 3 decided")
        tmux.keys("k")
        tmux.until("1 of 3 decided")
        tmux.keys("2")
        tmux.until("[train ")
        tmux.keys("Enter")
        tmux.until("What is known of it")
        tmux.keys("Escape")
        tmux.until("[train ")
        tmux.keys("5")
        tmux.until("1 of 3 decided")
        tmux.keys("q")
        tmux.until("again: 1 decision applies")
        _until(lambda: len(on_disk(project)) == 1, tmux.screen)
    finally:
        if tmux.alive():
            tmux("kill-server")
