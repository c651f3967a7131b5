"""A preparing works in a folder of its own, and what it made takes the place of the earlier dataset at the very end.

So whatever stops it (a full disk, Ctrl-C, a bad row with --strict, the power) leaves the earlier dataset as it was,
card and all; for the moments in which files take their places there is no card, and a folder without one isn't whole.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from appliance import storage
from appliance.dataset import canaries, quality, remembered_places
from appliance.dataset.arranging import CONFLICTS_FILE, NEAR_FILE
from appliance.dataset.card import FILE_NAME
from appliance.dataset.card_page import PAGE_NAME
from appliance.dataset.pairs.holding_back import FILE_NAME as HELD_BACK_FILE
from appliance.dataset.pairs.making import CHATTER_FILE
from appliance.errors import DataError
from appliance.paths import Project

NEXT = ".next.part"
"""The folder, inside build/dataset, which may lie on another disk than the rest of the project."""
REJECTED_FILE = "rejected.jsonl"
CUT_FILE = "cut.jsonl"
# Written by some preparings only: what isn't there any more goes.
_AT_TIMES = (
    NEAR_FILE, CONFLICTS_FILE, CHATTER_FILE, HELD_BACK_FILE, canaries.FILE_NAME, quality.FILE_NAME,
    "flagged.jsonl", CUT_FILE, "redactions.jsonl",
)  # fmt: skip
_LAST = (PAGE_NAME, FILE_NAME)


class NextProject(Project):
    """The project, with the dataset that is being made for its dataset."""

    @property
    def dataset(self) -> Path:
        """The folder that becomes build/dataset."""
        return super().dataset / NEXT


@contextlib.contextmanager
def next_dataset(project: Project) -> Iterator[NextProject]:
    """Make a dataset beside the one that is there; on success it takes its place, on any error it is gone.

    The folder begins with what the earlier dataset remembers of places. Leftovers of a killed preparing go. Where the
    rows are at fault rejected.jsonl takes its place all the same.
    """
    project.dataset.mkdir(parents=True, exist_ok=True)
    storage.remove_leftovers(project.dataset)
    made = NextProject(project.root, project.config)
    _remove(made.dataset)
    try:
        made.dataset.mkdir()
        remembered = project.dataset / remembered_places.FILE_NAME
        if remembered.is_file():
            shutil.copyfile(remembered, made.dataset / remembered_places.FILE_NAME)
        yield made
        _take_place(made.dataset, project.dataset)
    except DataError:
        if (rejected := made.dataset / REJECTED_FILE).is_file():  # says which rows were wrong, and why
            rejected.replace(project.dataset / REJECTED_FILE)
        raise
    except OSError as error:
        if (
            error.errno in {errno.ENOSPC, errno.EDQUOT} and error.filename is None
        ):  # a write doesn't say where
            raise OSError(error.errno, error.strerror, str(project.dataset)) from error
        raise
    finally:
        _remove(made.dataset)


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def _take_place(made: Path, folder: Path) -> None:
    """Move files into `folder`, the card last; all of them were fsynced as they were written."""
    names = sorted(path.name for path in made.iterdir())
    for name in _LAST:
        (folder / name).unlink(missing_ok=True)
    storage.fsync_folder(folder)
    for name in names:
        if name not in _LAST:
            (made / name).replace(folder / name)
    for name in _AT_TIMES:
        if name not in names:
            (folder / name).unlink(missing_ok=True)
    storage.fsync_folder(folder)
    for name in _LAST:
        (made / name).replace(folder / name)
    storage.fsync_folder(folder)
