"""Which files the patterns of `[dataset]` name: files, folders, globs; each once, circles of links named.

What the project itself writes is no example: such places are left out by where they really lie, so that neither `.`
nor a link that reaches up makes a dataset of the last one's rows or of a secret.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from appliance.dataset.reading.material import BadRow
from appliance.errors import DataError

OnSkipped = Callable[[BadRow], None]


def _ignore(_: BadRow) -> None:
    pass


def file_name(path: Path, root: Path) -> str:
    """How rows, errors and `dataset.formats` call a file: relative to the project, or as it was named outside of it."""
    if path.is_relative_to(root):
        name = path.relative_to(root).as_posix()
    else:
        full, project = path.resolve(), root.resolve()
        name = full.relative_to(project).as_posix() if full.is_relative_to(project) else str(path)
    # Bytes that are no UTF-8 are written out: rows and cards name the file, and they are UTF-8.
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


_Place = tuple[int, int]  # device and inode of a folder


class _Own:
    """The project's own places, and which of them were met and told.

    Args:
        places: files and folders, resolved.
    """

    def __init__(self, places: frozenset[Path], root: Path, skip: OnSkipped) -> None:
        self._places = places
        self._root = root
        self._skip = skip
        self._told: set[Path] = set()

    def without(self, base: Path) -> _Own:
        """For what lies below `base`: a place that somebody names by itself (or from inside of it) is meant."""
        full = base.resolve()
        rest = frozenset(place for place in self._places if place != full and place not in full.parents)
        other = _Own(rest, self._root, self._skip)
        other._told = self._told
        return other

    def has(self, path: Path, full: Path, inside: bool) -> bool:
        """Whether a path is such a place, which is told once.

        Args:
            path: as it was come by.
            full: where it really lies.
            inside: what lies in such a place counts too.
        """
        found = next((one for one in (full, *(full.parents if inside else ())) if one in self._places), None)
        if found is None:
            return False
        if found not in self._told:
            self._told.add(found)
            name, lies = file_name(path, self._root), file_name(found, self._root)
            reason = "the project's own, no example" + (f": it leads to {lies}" if lies != name else "")
            self._skip(BadRow(name, 0, "own", reason, made=True))
        return True


def _walk(
    folder: Path,
    root: Path,
    skip: OnSkipped,
    own: _Own,
    above: tuple[_Place, ...] = (),
    seen: set[_Place] | None = None,
    by_link: bool = False,
) -> Iterator[Path]:
    """The files below `folder`, hidden ones left out; a folder is never entered below itself.

    Behind a link a further one is followed only to a folder that nothing led to before: ten folders that hold links
    to each other would be entered in more than a million ways.
    """
    seen = set() if seen is None else seen
    status = folder.stat()
    place = (status.st_dev, status.st_ino)
    if place in above:
        skip(
            BadRow(
                file_name(folder, root), 0, "link-cycle", "a link to a folder that it lies in; not followed"
            )
        )
        return
    if by_link and folder.is_symlink() and place in seen:
        return
    seen.add(place)
    real = folder.resolve()
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        skip(BadRow(file_name(folder, root), 0, "unreadable", "a folder that may not be read"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        try:
            link = entry.is_symlink() and (entry.is_dir() or entry.is_file())  # one that leads somewhere
            if own.has(path, path.resolve() if link else real / entry.name, inside=link):
                continue
            if entry.is_dir():
                yield from _walk(path, root, skip, own, (*above, place), seen, by_link or folder.is_symlink())
            elif entry.is_file():
                yield path
            elif entry.is_symlink():
                skip(BadRow(file_name(path, root), 0, "link", "a link that leads to no file"))
            else:
                skip(
                    BadRow(file_name(path, root), 0, "special", "a pipe, socket or device, which isn't read")
                )
        except OSError as error:  # a link to itself
            skip(BadRow(file_name(path, root), 0, "link-cycle", f"it can't be followed: {error.strerror}"))


def _fits(names: list[str], pattern: list[str]) -> bool:
    """Whether a path's parts match a glob's; `**` stands for any number of folders. Hidden names match no wild card."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_fits(names[start:], pattern[1:] or ["*"]) for start in range(len(names)))
    return bool(names) and fnmatch.fnmatchcase(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


def _matches(root: Path, pattern: str, skip: OnSkipped, own: _Own) -> Iterator[Path]:
    path = root / pattern
    if not glob.has_magic(pattern):
        if path.is_dir():
            yield from _walk(path, root, skip, own.without(path))
        elif path.is_file():
            yield path
        return
    parts = path.as_posix().split("/")
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = Path("/".join(parts[:fixed]) or "/")
    own = own.without(base)
    if "**" not in pattern.split("/"):
        for match in glob.glob(pattern, root_dir=root):  # noqa: PTH207 - absolute patterns too
            found = root / match
            if found.is_file():
                if not own.has(found, found.resolve(), inside=True):
                    yield found
            elif found.is_symlink() and not found.is_dir():
                skip(BadRow(file_name(found, root), 0, "link", "a link that leads to no file"))
        return
    # glob itself follows links that go in a circle, forty times over.
    if base.is_dir():
        for found in _walk(base, root, skip, own):
            if _fits(list(found.relative_to(base).parts), parts[fixed:]):
                yield found


def find_files(
    root: Path,
    patterns: list[str],
    key: str,
    on_skipped: OnSkipped = _ignore,
    own: Collection[Path] = (),
) -> list[Path]:
    """The files that `patterns` name, sorted; a file that has several names comes once.

    Args:
        root: what relative patterns start from.
        patterns: files, folders (everything below, hidden files left out) or globs.
        key: the key of `[dataset]` that holds them, for errors.
        on_skipped: told of each link or folder that isn't followed, and of what is left out as the project's own.
        own: files and folders that are no examples (`Project.own`), unless a pattern names one of them by itself.

    Raises:
        DataError: a plain name that doesn't exist, or nothing found at all.
    """
    found: set[Path] = set()
    places = _Own(frozenset(place.resolve() for place in own), root, on_skipped)
    for pattern in patterns:
        files = set(_matches(root, pattern, on_skipped, places))
        if not files and not glob.has_magic(pattern) and not (root / pattern).is_dir():
            what = "a pipe, socket or device" if (root / pattern).exists() else "no such file"
            raise DataError(f"{root / pattern}: {what}", f"correct `dataset.{key}` in anchorhold.toml")
        found |= files
    if not found:
        raise DataError(
            f"{root}: no file matches {', '.join(patterns)}",
            f"put examples there, or correct `dataset.{key}` in anchorhold.toml",
        )
    once: dict[Path, Path] = {}
    for path in sorted(found, key=lambda path: (path.is_symlink(), path)):
        once.setdefault(path.resolve(), path)
    return sorted(once.values())
