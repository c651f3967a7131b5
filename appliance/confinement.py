"""A process that gives up, for good, all but what `confined_calls` lists: it reads, computes, and starts threads.

A seccomp filter of Linux; it holds for all code in the process, libraries in C included, and needs no rights.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

from appliance.confined_calls import CHECKED, FIRST_YOUNG, FREE, OWN_PID, Check

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they stand in what the kernel shows the filter
_X32 = 0x40000000  # the mark of a second table of calls of the same architecture
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of numbers, AUDIT_ARCH_*
_NO_NEW_PRIVILEGES = 38  # of prctl
_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")  # there where the kernel has filters
_SECCOMP, _SET_FILTER, _ALL_THREADS = (317, 277), 1, 1


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


_REFUSE, _UNKNOWN = _step(_RETURN, _ERROR | errno.EPERM), _step(_RETURN, _ERROR | errno.ENOSYS)


def _checked(checks: tuple[Check, ...], pid: int) -> list[bytes]:
    """Steps that allow the call if all `checks` hold, and refuse it if one doesn't."""
    steps = []
    for check in checks:
        steps.append(_step(_LOAD, _ARGUMENTS + 4 * check.word))
        steps.append(_step(_AND, check.mask))
        values = [pid if value == OWN_PID else value for value in check.values]
        steps += [_step(_JUMP_EQUAL, value, len(values) - at) for at, value in enumerate(values)]
        steps.append(_REFUSE)
    return [*steps, _step(_RETURN, _ALLOW)]


def program(machine: str, pid: int) -> bytes:
    """The filter, in the kernel's form: 8 bytes a step.

    Args:
        machine: "x86_64" or "aarch64".
        pid: the process that it is for.
    """
    column, architecture = _MACHINES[machine]
    steps = [_step(_LOAD, _ARCHITECTURE), _step(_JUMP_EQUAL, architecture, 1), _REFUSE]
    steps += [_step(_LOAD, _NUMBER), _step(_JUMP_AT_LEAST, _X32, 0, 1), _REFUSE]
    for numbers in FREE.values():
        if (number := numbers[column]) is not None:
            steps += [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    for numbers, checks in CHECKED.values():
        if (number := numbers[column]) is not None:
            body = _checked(checks, pid)
            steps += [_step(_JUMP_EQUAL, number, 0, len(body)), *body]
    return b"".join([*steps, _step(_JUMP_AT_LEAST, FIRST_YOUNG, 0, 1), _UNKNOWN, _REFUSE])


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def possible() -> bool:
    """Whether `confine` can do it here; asked without doing it."""
    return platform.machine() in _MACHINES and struct.calcsize("P") == 8 and _ACTIONS.exists()


def confine() -> bool:
    """From now on this process, with all its threads, can do what `confined_calls` lists and nothing else.

    It opens nothing to write, makes no socket, pipe or shared memory, starts no process or program, and reaches into
    no other process: by no signal, no trace, no write to its memory. It may read files, start threads, and write to
    what is open already.

    Returns:
        False where the machine can't: another processor, or a kernel without seccomp filters.
    """
    if not possible():
        return False
    machine = platform.machine()
    libc = ctypes.CDLL(None, use_errno=True)
    steps = program(machine, os.getpid())
    filled = _Program(len(steps) // 8, steps)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    call = _SECCOMP[_MACHINES[machine][0]]
    return bool(libc.syscall(call, _SET_FILTER, _ALL_THREADS, ctypes.byref(filled)) == 0)
