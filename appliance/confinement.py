"""A process that gives up, for good, what it doesn't need: opening anything to write, sockets, starting programs.

A seccomp filter of Linux on x86-64; it holds for all code in the process, libraries in C included, and needs no rights.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from pathlib import Path

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they stand in what the kernel shows the filter
_X86_64, _X32 = 0xC000003E, 0x40000000
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND
_OPENING = {2: 1, 257: 2}  # open and openat: which argument has the flags
_REFUSED = (
    *(41, 53, 42, 49, 425, 437),  # socket, socketpair, connect, bind, io_uring_setup, openat2
    *(59, 322, 101, 62),  # execve, execveat, ptrace, kill
    *(85, 133, 259, 83, 258),  # creat, mknod, mknodat, mkdir, mkdirat
    *(82, 264, 316, 87, 263, 84),  # rename, renameat, renameat2, unlink, unlinkat, rmdir
    *(86, 265, 88, 266, 76, 77),  # link, linkat, symlink, symlinkat, truncate, ftruncate
    *(
        90,
        91,
        268,
        452,
        92,
        93,
        94,
        260,
    ),  # chmod, fchmod, fchmodat, fchmodat2, chown, fchown, lchown, fchownat
    *(188, 189, 190, 132, 235, 261, 280),  # setxattr and its kin, utime and its kin
    *(165, 428, 429, 304),  # mount, open_tree, move_mount, open_by_handle_at
)
_NO_NEW_PRIVILEGES = 38  # of prctl
_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")  # there where the kernel has filters
_SECCOMP, _SET_FILTER, _ALL_THREADS = 317, 1, 1


def _program() -> bytes:
    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    lines = [step(_LOAD, _ARCHITECTURE), step(_JUMP_EQUAL, _X86_64, 1), step(_RETURN, _REFUSE)]
    lines += [step(_LOAD, _NUMBER), step(_JUMP_AT_LEAST, _X32, 0, 1), step(_RETURN, _REFUSE)]
    for number in _REFUSED:
        lines += [step(_JUMP_EQUAL, number, 0, 1), step(_RETURN, _REFUSE)]
    for number, argument in _OPENING.items():
        lines += [step(_JUMP_EQUAL, number, 0, 4), step(_LOAD, _ARGUMENTS + 8 * argument)]
        lines += [step(_AND, _WRITING), step(_JUMP_EQUAL, 0, 1, 0), step(_RETURN, _REFUSE)]
        lines += [step(_LOAD, _NUMBER)]
    return b"".join([*lines, step(_RETURN, _ALLOW)])


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def possible() -> bool:
    """Whether `confine` can do it here; asked without doing it."""
    return platform.machine() == "x86_64" and _ACTIONS.exists()


def confine() -> bool:
    """From now on this process, with all its threads, opens nothing to write, makes no socket, starts no program.

    What is open already stays so.

    Returns:
        False where the machine can't: another processor than x86-64, or a kernel without seccomp filters.
    """
    if platform.machine() != "x86_64":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    steps = _program()
    program = _Program(len(steps) // 8, steps)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(_SECCOMP, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)) == 0)
