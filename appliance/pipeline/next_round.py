"""The next round: rows from corrections and failures looked at, put among the sources, and walked."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.config_file import FILE_NAME
from appliance.dataset import read_rows
from appliance.dataset.cleaning import BadConversation, clean_messages
from appliance.dataset.reading import BadRow, Material, RawRow, Transcript, find_files, read_file
from appliance.errors import DataError
from appliance.paths import Project
from appliance.registry import version as versions

FOLDER = "rounds"  # below data/
_FEW = 20  # rows; fewer move little
_SHOWN = 40  # rows that can't be used, as an audit shows faults


@dataclass(frozen=True)
class Proposal:
    """What a round would learn.

    Attributes:
        rows: JSON values of the rows to add.
        counts: rows by kind ("conversation", "preference"), and those left out by reason.
        version: of the release that the round would make.
        seconds: what the training should take, by the last one; 0 where there was none.
        file: where the rows would go, relative to the project.
        read: whether the project's sources name that file.
        faults: `file:line: why` of each row that can't be used, ready for a terminal.
    """

    rows: tuple[dict[str, Any], ...]
    counts: dict[str, int]
    version: str
    seconds: float
    file: str
    read: bool
    faults: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For a terminal."""
        told = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())) or "nothing"
        lines = [f"rows      {told}", f"into      {self.file}", f"version   {self.version}"]
        lines += [f"unusable  {fault}" for fault in _first(self.faults)]
        if self.seconds:
            from appliance.progress import duration

            lines.append(f"training  about {duration(self.seconds)}, by the last round")
        if 0 < len(self.rows) < _FEW:
            lines.append(f"note      {len(self.rows)} rows move little; {_FEW} or more are worth a round")
        return lines


def _first(faults: Sequence[str]) -> list[str]:
    more = len(faults) - _SHOWN
    return [*faults[:_SHOWN], *([f"… and {more} more"] if more > 0 else [])]


def _asked(messages: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(" ".join(str(turn["content"]).split()).casefold() for turn in messages[:-1])


def _value(raw: RawRow, messages: list[dict[str, Any]]) -> dict[str, Any]:
    group = {"group": raw.group} if raw.group else {}
    if raw.rejected:
        chosen, rejected = messages[-1], {"role": "assistant", "content": raw.rejected}
        return {"prompt": messages[:-1], "chosen": [chosen], "rejected": [rejected], **group}
    return {"messages": messages, **group}


def propose(project: Project, files: Sequence[Path]) -> Proposal:
    """Look at the rows of some files, and say what a round with them would be.

    Questions of the test split are left out: what judges the next release must not be learnt. So are rows that are
    learnt already.

    Raises:
        DataError: a file isn't there, or holds no row.
    """
    learnt, tested = set[tuple[tuple[str, ...], str]](), set[tuple[str, ...]]()
    if project.dataset.is_dir():
        for name in ("train", "valid"):
            path = project.dataset / f"{name}.jsonl"
            for row in read_rows(path) if path.is_file() else ():
                learnt.add((_asked(row.messages), row.answer))
        path = project.dataset / "test.jsonl"
        tested = {_asked(row.messages) for row in read_rows(path)} if path.is_file() else set()
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for file in files:
        if not file.is_file():
            raise DataError(
                f"{file}: no such file", "give files of `anchorhold corrections export` or `redteam rows`"
            )
        for thing in read_file(file, file.name, project.config.dataset, lambda _: None):
            messages = _messages(thing, file, faults)
            if messages is None or not isinstance(thing, RawRow):
                counts["left out: unreadable"] += 1
                continue
            asked = _asked(messages)
            answer = str(messages[-1]["content"])
            if asked in tested:
                counts["left out: of the test split"] += 1
            elif (asked, answer) in learnt:
                counts["left out: learnt already"] += 1
            else:
                learnt.add((asked, answer))
                rows.append(_value(thing, messages))
                counts["preference pairs" if thing.rejected else "conversations"] += 1
    if not rows:
        told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "no rows"
        raise DataError(
            "\n".join([f"nothing new to learn: {told}", *(f"  {fault}" for fault in _first(faults))]),
            "collect corrections first: Ctrl+T and Ctrl+O in the UI",
        )
    following = versions.propose_next(versions.parse(project.config.project.version), "minor")
    file_name = _file_of(project)
    return Proposal(
        tuple(rows),
        dict(counts),
        str(following),
        _seconds(project),
        file_name,
        _is_source(project, file_name),
        tuple(faults),
    )


def _messages(thing: Material, file: Path, faults: list[str]) -> list[dict[str, Any]] | None:
    """A row's conversation, cleaned; None, and why among the faults, where there is none to learn."""
    if isinstance(thing, RawRow):
        try:
            return clean_messages(thing.messages)
        except BadConversation as error:
            thing = BadRow(thing.file, thing.line, error.kind, error.reason)
    if not isinstance(thing, BadRow):
        what = "a transcript" if isinstance(thing, Transcript) else "a document"
        line = thing.line if isinstance(thing, Transcript) else 0
        reason = f"{what}, not rows to learn; put the file into the project's data, where `dataset` makes rows of it"
        thing = BadRow(thing.file, line, "material", reason)
    faults.append(str(replace(thing, file=str(file))))  # two of one name may be given
    return None


def _file_of(project: Project) -> str:
    folder = project.root / "data" / FOLDER
    taken = [int(path.stem) for path in folder.glob("*.jsonl") if path.stem.isdecimal()]
    return f"data/{FOLDER}/{max(taken, default=0) + 1:03d}.jsonl"


def _is_source(project: Project, name: str) -> bool:
    """Whether a file of that name would be read; asked with a file that is there for a moment."""
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(exist_ok=False)
    try:
        found = find_files(project.root, project.config.dataset.sources, "sources", own=project.own)
        return path.resolve() in {each.resolve() for each in found}
    except DataError:
        return False
    finally:
        path.unlink()
        with contextlib.suppress(OSError):  # rows of earlier rounds lie there
            path.parent.rmdir()


def _seconds(project: Project) -> float:
    try:
        return float(json.loads((project.training / "training.json").read_bytes())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def take(project: Project, proposal: Proposal) -> Project:
    """Put the rows among the project's sources and give it the next version; the project as it is then.

    Raises:
        DataError: the project's sources don't name the file, or anchorhold.toml holds no version to change.
    """
    if not proposal.read:
        raise DataError(
            f"{project.root / FILE_NAME}: dataset.sources doesn't name {proposal.file}",
            f'add "data/{FOLDER}" to dataset.sources',
        )
    toml = project.root / FILE_NAME
    text = toml.read_text(encoding="utf-8")
    section = re.search(r"^\[project\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    found = section and re.search(r'^(\s*version\s*=\s*)(["\']).*?\2', section[1], re.MULTILINE)
    if section is None or found is None:
        raise DataError(
            f"{toml}: no `version` under [project]", f'write version = "{proposal.version}" there'
        )
    begin = section.start(1)
    changed = text[: begin + found.start()] + f'{found[1]}"{proposal.version}"' + text[begin + found.end() :]
    storage.write_bytes(
        project.root / proposal.file, b"".join(map(storage.json_line, proposal.rows)), mode=0o600
    )
    storage.write_text(toml, changed)
    return Project.open(project.root)
