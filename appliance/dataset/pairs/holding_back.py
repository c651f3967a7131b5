"""Questions kept out of training while other wordings of them are learnt: what a model knows, not what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from appliance import storage
from appliance.dataset.near.normal import normalise
from appliance.dataset.near.views import user_text
from appliance.dataset.rows import Row
from appliance.paths import Project
from appliance.storage import sha256_bytes

FILE_NAME = "held_back.jsonl"


def _question(row: Row) -> str:
    return sha256_bytes(user_text(row.messages).encode())[:16]


def write_held_back(
    project: Project, held: Callable[[], Iterator[Row]], train: Callable[[set[str]], Iterator[Row]]
) -> int:
    """Write held_back.jsonl: the held rows whose answer a training row of the same group gives to another question.

    So each asks for something that was trained on, in words that were not. Without any the file goes.

    Args:
        project: gets the file.
        held: gives the rows kept back, by id; they are in no split.
        train: gives the training rows of some groups, as the split will be.

    Returns:
        how many were written.
    """
    path = project.dataset / FILE_NAME
    groups = {row.group for row in held()}
    learnt: set[tuple[str, str]] = set()
    asked: set[str] = set()
    for row in train(groups) if groups else ():
        learnt.add((row.group, normalise(row.answer)))
        asked.add(_question(row))
    rows = {
        row.id: row
        for row in held()
        if (row.group, normalise(row.answer)) in learnt and _question(row) not in asked
    }
    if not rows:
        path.unlink(missing_ok=True)
        return 0
    with storage.atomic_writer(path) as stream:
        stream.writelines(row.to_line() for row in rows.values())
    return len(rows)
