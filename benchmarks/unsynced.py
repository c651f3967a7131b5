"""What a power cut may leave of a folder: a file system in memory that knows what was synced and what wasn't.

Fed with the system calls that strace saw, it keeps two states: what programs see, and what is on the disk for
certain. Data are certain after fsync or fdatasync of the file, names after fsync of the folder that holds them; POSIX
promises no more. (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, look for crash states so.)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance import storage

Tree = dict[str, bytes | None]
"""Path to bytes; None: a folder."""
WAYS = {"nothing unsynced": False, "names without data": True}

TRACED = (
    "open,openat,creat,dup,dup2,dup3,fcntl,lseek,close,write,pwrite64,writev,fsync,fdatasync,rename,renameat,"
    "renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,mkdir,mkdirat,ftruncate,truncate,fallocate,"
    "copy_file_range,sendfile,splice"
)
STRACE = ("-y", "-xx", "-s", "4000000")
_CALL = re.compile(r"^\d+\s+(\w+)\((.*)\)\s+= (-?\d+)(?:<([^>]*)>)?")
_FD = re.compile(r"^(AT_FDCWD|\d+)<([^>]*)>$")


@dataclass
class File:
    """A file: its bytes as programs see them, and as they are on the disk."""

    seen: bytearray = field(default_factory=bytearray)
    kept: bytes = b""


@dataclass
class Folder:
    """A folder: what it holds as programs see it, and on the disk."""

    seen: dict[str, File | Folder] = field(default_factory=dict)
    kept: dict[str, File | Folder] = field(default_factory=dict)


@dataclass
class _Open:
    file: File
    at: int
    append: bool


def _text(quoted: str) -> bytes:
    """The bytes of a string as `strace -xx` writes it."""
    return bytes.fromhex(quoted.strip('"').replace("\\x", ""))


def _arguments(text: str) -> list[str]:
    """Of a call; none of those looked at here holds a comma in a string, since all are in hex."""
    return [part.strip() for part in text.split(", ")]


class Disk:
    """A folder tree under two views. Files of other places are left out of account."""

    def __init__(self, root: Path) -> None:
        """Begin with what lies in `root`, all of it on the disk."""
        self._root = str(root)
        self.top = _read(root)
        self._fds: dict[int, _Open] = {}

    def apply(self, line: str) -> bool:
        """Take up a line of strace; whether it changed anything, also what is kept.

        Raises:
            ValueError: a call that isn't followed here.
        """
        match = _CALL.match(line)
        if match is None or int(match[3]) < 0:
            return False
        name, arguments, result = match[1], _arguments(match[2]), int(match[3])
        handler = getattr(self, f"_{name}", None)
        if handler is None:
            raise ValueError(f"{name} is not followed")
        return bool(handler(arguments, result))

    # Where things are

    def _inside(self, path: str) -> tuple[Folder, str] | None:
        """The folder that holds a path, and its name there; None outside of the tree."""
        path = path.removesuffix(" (deleted)")
        if not path.startswith(self._root + "/"):
            return None
        *folders, last = path[len(self._root) + 1 :].split("/")
        here = self.top
        for part in folders:
            found = here.seen.get(part)
            if not isinstance(found, Folder):
                return None
            here = found
        return here, last

    def _at(self, folder: str, name: str) -> tuple[Folder, str] | None:
        """A path given as a folder's descriptor and a name."""
        path = _text(name).decode()
        if path.startswith("/"):
            return self._inside(path)
        match = _FD.match(folder)
        return self._inside(f"{_plain(match[2])}/{path}") if match else None

    def _path(self, name: str) -> tuple[Folder, str] | None:
        return self._inside(_text(name).decode())

    def _node(self, descriptor: str) -> File | Folder | None:
        match = _FD.match(descriptor)
        if match is None:
            return None
        number = int(match[1]) if match[1].isdigit() else -1
        if number in self._fds:
            return self._fds[number].file
        if _plain(match[2]) == self._root:
            return self.top
        place = self._inside(_plain(match[2]))
        return place[0].seen.get(place[1]) if place else None

    # Descriptors

    def _openat(self, arguments: list[str], result: int) -> bool:
        return self._opened(self._at(arguments[0], arguments[1]), arguments[2], result)

    def _open(self, arguments: list[str], result: int) -> bool:
        return self._opened(self._path(arguments[0]), arguments[1], result)

    def _opened(self, place: tuple[Folder, str] | None, flags: str, result: int) -> bool:
        self._fds.pop(result, None)
        if place is None:
            return False
        folder, name = place
        changed = False
        if name not in folder.seen and "O_CREAT" in flags:
            folder.seen[name], changed = File(), True
        found = folder.seen.get(name)
        if not isinstance(found, File):
            return False
        if "O_TRUNC" in flags and found.seen:
            found.seen.clear()
            changed = True
        self._fds[result] = _Open(found, 0, "O_APPEND" in flags)
        return changed

    def _dup(self, arguments: list[str], result: int) -> bool:
        match = _FD.match(arguments[0])
        self._fds.pop(result, None)
        if match and int(match[1]) in self._fds:
            self._fds[result] = self._fds[int(match[1])]
        return False

    _dup2 = _dup3 = _dup

    def _fcntl(self, arguments: list[str], result: int) -> bool:
        return self._dup(arguments, result) if arguments[1].startswith("F_DUPFD") else False

    def _close(self, arguments: list[str], _result: int) -> bool:
        match = _FD.match(arguments[0])
        if match:
            self._fds.pop(int(match[1]), None)
        return False

    def _lseek(self, arguments: list[str], result: int) -> bool:
        opened = self._opened_as(arguments[0])
        if opened:
            opened.at = result
        return False

    def _opened_as(self, descriptor: str) -> _Open | None:
        match = _FD.match(descriptor)
        return self._fds.get(int(match[1])) if match and match[1].isdigit() else None

    # Data

    def _put(self, opened: _Open, data: bytes, at: int) -> None:
        file = opened.file.seen
        if len(file) < at:
            file.extend(bytes(at - len(file)))
        file[at : at + len(data)] = data

    def _write(self, arguments: list[str], result: int) -> bool:
        opened = self._opened_as(arguments[0])
        if opened is None:
            return False
        at = len(opened.file.seen) if opened.append else opened.at
        self._put(opened, _text(arguments[1])[:result], at)
        opened.at = at + result
        return True

    def _pwrite64(self, arguments: list[str], result: int) -> bool:
        opened = self._opened_as(arguments[0])
        if opened is None:
            return False
        self._put(opened, _text(arguments[1])[:result], int(arguments[3]))
        return True

    def _ftruncate(self, arguments: list[str], _result: int) -> bool:
        opened = self._opened_as(arguments[0])
        return self._cut(opened.file if opened else None, int(arguments[1]))

    def _truncate(self, arguments: list[str], _result: int) -> bool:
        place = self._path(arguments[0])
        found = place[0].seen.get(place[1]) if place else None
        return self._cut(found if isinstance(found, File) else None, int(arguments[1]))

    def _cut(self, file: File | None, size: int) -> bool:
        if file is None:
            return False
        del file.seen[size:]
        file.seen.extend(bytes(size - len(file.seen)))
        return True

    def _fallocate(self, arguments: list[str], _result: int) -> bool:
        opened = self._opened_as(arguments[0])
        if opened is None:
            return False
        if "KEEP_SIZE" not in arguments[1]:
            wanted = int(arguments[2]) + int(arguments[3])
            opened.file.seen.extend(bytes(max(0, wanted - len(opened.file.seen))))
        return True

    def _fsync(self, arguments: list[str], _result: int) -> bool:
        node = self._node(arguments[0])
        if isinstance(node, File):
            node.kept = bytes(node.seen)
        elif node is not None:
            node.kept = dict(node.seen)
        return node is not None

    _fdatasync = _fsync

    # Names

    def _moved(self, old: tuple[Folder, str] | None, new: tuple[Folder, str] | None) -> bool:
        if old is None or new is None:
            if old is not new:
                raise ValueError("a rename across the tree's border")
            return False
        new[0].seen[new[1]] = old[0].seen.pop(old[1])
        return True

    def _rename(self, arguments: list[str], _result: int) -> bool:
        return self._moved(self._path(arguments[0]), self._path(arguments[1]))

    def _renameat(self, arguments: list[str], _result: int) -> bool:
        return self._moved(self._at(arguments[0], arguments[1]), self._at(arguments[2], arguments[3]))

    _renameat2 = _renameat

    def _linkat(self, arguments: list[str], _result: int) -> bool:
        return self._linked(self._at(arguments[0], arguments[1]), self._at(arguments[2], arguments[3]))

    def _link(self, arguments: list[str], _result: int) -> bool:
        return self._linked(self._path(arguments[0]), self._path(arguments[1]))

    def _linked(self, old: tuple[Folder, str] | None, new: tuple[Folder, str] | None) -> bool:
        if old is None or new is None:
            return False
        new[0].seen[new[1]] = old[0].seen[old[1]]
        return True

    def _symlink(self, arguments: list[str], _result: int) -> bool:
        return self._symlinked(self._path(arguments[1]))

    def _symlinkat(self, arguments: list[str], _result: int) -> bool:
        return self._symlinked(self._at(arguments[1], arguments[2]))

    def _symlinked(self, place: tuple[Folder, str] | None) -> bool:
        if place is not None:
            raise ValueError("a symbolic link in the tree")
        return False

    def _gone(self, place: tuple[Folder, str] | None) -> bool:
        return place is not None and place[0].seen.pop(place[1], None) is not None

    def _unlink(self, arguments: list[str], _result: int) -> bool:
        return self._gone(self._path(arguments[0]))

    _rmdir = _unlink

    def _unlinkat(self, arguments: list[str], _result: int) -> bool:
        return self._gone(self._at(arguments[0], arguments[1]))

    def _made(self, place: tuple[Folder, str] | None) -> bool:
        if place is not None:
            place[0].seen[place[1]] = Folder()
        return place is not None

    def _mkdir(self, arguments: list[str], _result: int) -> bool:
        return self._made(self._path(arguments[0]))

    def _mkdirat(self, arguments: list[str], _result: int) -> bool:
        return self._made(self._at(arguments[0], arguments[1]))

    # What may be left

    def left(self, *, names: bool) -> Tree:
        """The tree after a power cut now.

        Args:
            names: the names as programs saw them, with synced data alone; else nothing at all that wasn't synced.
        """
        return dict(_walk(self.top, "", names))


def traced(act: Callable[[], int | None], log: Path, *words: str) -> int:
    """Do something in a child process under strace; its exit code (negative: the signal; 1: it raised something else).

    Args:
        act: returns its exit code, or anything else for 0.
        log: what strace writes.
        words: more of strace's options.

    Raises:
        RuntimeError: strace can't trace here.
    """
    start, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(begin)
        os.read(start, 1)
        code = 1
        try:
            code = int(act() or 0)
        finally:
            os._exit(code)
    os.close(start)
    command = ["strace", "-f", "-p", str(child), "-o", str(log), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            os.close(begin)
            os.waitpid(child, 0)
            raise RuntimeError(f"strace can't trace here: {said.strip()}")
        os.write(begin, b"!")
        _, status = os.waitpid(child, 0)
        os.close(begin)
        tracer.communicate()
    return os.waitstatus_to_exitcode(status)


def losses(act: Callable[[], int | None], root: Path, log: Path) -> Iterator[tuple[str, Tree, bool]]:
    """Do something under strace, and give each different state that a power cut may have left of a folder.

    Args:
        act: returns 0 or nothing.
        root: the folder; what is done to it stays done.
        log: what strace writes.

    Yields:
        Where the cut was and what was lost, the tree, and whether all had been done by then.

    Raises:
        ValueError: a call that isn't followed.
    """
    disk = Disk(root)
    code = traced(act, log, "-e", f"trace={TRACED}", *STRACE)
    assert code == 0, f"it ended with {code}"
    lines, seen = log.read_text().splitlines(), set[str]()
    for number, line in enumerate(lines, 1):
        changed, last = disk.apply(line), number == len(lines)
        for way, names in WAYS.items() if changed or last else ():
            left = disk.left(names=names)
            digest = storage.sha256_json({path: None if d is None else d.hex() for path, d in left.items()})
            if digest not in seen or last:
                seen.add(digest)
                yield f"{way}, after call {number} ({line[:100]})", left, last
    real = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert sorted(disk.left(names=True)) == real, "what was replayed isn't what was done"


def put_down(left: Tree, root: Path) -> None:
    """Make a folder of what a disk holds."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for path, data in left.items():
        if data is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(data)


def _plain(path: str) -> str:
    """A descriptor's path; strace -xx writes it in hex too."""
    return _text(path).decode() if path.startswith("\\x") else path


def _walk(folder: Folder, where: str, names: bool) -> Iterator[tuple[str, bytes | None]]:
    for name, node in sorted((folder.seen if names else folder.kept).items()):
        path = f"{where}{name}"
        if isinstance(node, File):
            yield path, node.kept
        else:
            yield path, None
            yield from _walk(node, f"{path}/", names)


def _read(path: Path) -> Folder:
    found: dict[str, File | Folder] = {}
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            found[entry.name] = _read(entry)
        else:
            data = entry.read_bytes()
            found[entry.name] = File(bytearray(data), data)
    return Folder(dict(found), found)
