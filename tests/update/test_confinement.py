"""What a confined process can't do: each call made for real; and both processors' filters, step by step."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import confinement
from appliance.confined_calls import CHECKED, FREE

needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls' numbers are of x86-64")
ENOSYS, EPERM = errno.ENOSYS, errno.EPERM

# Run in the process that is to be confined: `calls` by name, [number, arguments]; it prints what each came to.
_TRIED = """
import ctypes, json, os, sys, threading, time
from appliance.confinement import confine
given = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
own = ctypes.create_string_buffer(b"overwritten")
place = [ctypes.addressof(own), 11]
local = (ctypes.c_size_t * 2)(*place)
remote = (ctypes.c_size_t * 2)(given["address"], 11)
text = ctypes.create_string_buffer(b"/tmp\\0")
zeros = ctypes.create_string_buffer(256)
known = {"local": ctypes.addressof(local), "remote": ctypes.addressof(remote), "parent": os.getppid(),
         "me": os.getpid(), "text": ctypes.addressof(text), "zeros": ctypes.addressof(zeros)}
assert confine()
came = {}
for name, (number, arguments) in given["calls"].items():
    words = [ctypes.c_long(known.get(each, each)) for each in arguments]
    ctypes.set_errno(0)
    returned = libc.syscall(ctypes.c_long(number), *words)
    if returned == 0 and name in {"fork", "vfork", "clone", "clone3"} and os.getpid() != known["me"]:
        os._exit(0)
    came[name] = ctypes.get_errno() if returned == -1 else 0
came["threads"] = []
beside = [threading.Thread(target=came["threads"].append, args=(number,)) for number in range(4)]
[each.start() for each in beside]
[each.join() for each in beside]
print(json.dumps(came))
"""
_PARENT, _ME = "parent", "me"
REFUSED: dict[str, tuple[int, list[int | str]]] = {
    "process_vm_readv": (310, [_PARENT, "local", 1, "remote", 1, 0]),
    "process_vm_writev": (311, [_PARENT, "local", 1, "remote", 1, 0]),
    "ptrace": (101, [16, _PARENT, 0, 0]),
    "kill": (62, [_PARENT, 0]),
    "tkill": (200, [_PARENT, 0]),
    "tgkill": (234, [_PARENT, _PARENT, 0]),
    "rt_sigqueueinfo": (129, [_PARENT, 0, "zeros"]),
    "rt_tgsigqueueinfo": (297, [_PARENT, _PARENT, 0, "zeros"]),
    "pidfd_open": (434, [_PARENT, 0]),
    "pidfd_getfd": (438, [0, 0, 0]),
    "pidfd_send_signal": (424, [0, 0, 0, 0]),
    "process_madvise": (440, [0, "local", 1, 4, 0]),
    "kcmp": (312, [_PARENT, _ME, 0, 0, 0]),
    "fork": (57, []),
    "vfork": (58, []),
    "clone": (56, [17, 0, 0, 0, 0]),  # SIGCHLD alone: a process
    "clone3": (435, ["zeros", 88]),
    "execve": (59, ["text", 0, 0]),
    "execveat": (322, [-100, "text", 0, 0, 0]),
    "memfd_create": (319, ["text", 0]),
    "mq_open": (240, ["text", 0o102, 0o600, 0]),
    "mq_unlink": (241, ["text"]),
    "shmget": (29, [0, 4096, 0o1600]),
    "semget": (64, [0, 1, 0o1600]),
    "msgget": (68, [0, 0o1600]),
    "socket": (41, [1, 1, 0]),
    "socketpair": (53, [1, 1, 0, "zeros"]),
    "pipe": (22, ["zeros"]),
    "eventfd2": (290, [0, 0]),
    "io_uring_setup": (425, [1, "zeros"]),
    "io_setup": (206, [1, "zeros"]),
    "bpf": (321, [0, "zeros", 48]),
    "userfaultfd": (323, [1]),
    "perf_event_open": (298, ["zeros", 0, -1, -1, 0]),
    "keyctl": (250, [0, -3, 0]),
    "add_key": (248, ["text", "text", "text", 1, -3]),
    "mount": (165, ["text", "text", "text", 0, 0]),
    "open_tree": (428, [-100, "text", 0]),
    "fsopen": (430, ["text", 0]),
    "unshare": (272, [0x10000000]),
    "setns": (308, [0, 0]),
    "chroot": (161, ["text"]),
    "prlimit64 of another": (302, [_PARENT, 7, 0, "zeros"]),
    "prlimit64 to set": (302, [0, 4, "zeros", 0]),
    "setpriority": (141, [0, _PARENT, 5]),
    "sched_setaffinity": (203, [_PARENT, 8, "zeros"]),
    "move_pages": (279, [_PARENT, 0, 0, 0, 0, 0]),
    "name_to_handle_at": (303, [-100, "text", "zeros", "zeros", 0]),
    "open_by_handle_at": (304, [0, "zeros", 0]),
    "openat to write": (257, [-100, "text", 0o2000002 | 0o20200000]),
    "openat to make": (257, [-100, "text", 0o100, 0o600]),
    "open to cut": (2, ["text", 0o1000]),
    "openat2": (437, [-100, "text", "zeros", 24]),
    "flock": (73, [0, 2]),
    "fcntl F_SETOWN": (72, [0, 8, _PARENT]),
    "ioctl TIOCSTI": (16, [0, 0x5412, "text"]),
    "prctl PR_SET_PTRACER": (157, [0x59616D61, -1]),
    "madvise MADV_HWPOISON": (28, [0, 4096, 100]),
    "unlink": (87, ["text"]),
    "chmod": (90, ["text", 0o777]),
    "getpid of x32": (0x40000000 | 39, []),
}
ALLOWED: dict[str, tuple[int, list[int | str]]] = {
    "tgkill to oneself": (234, [_ME, _ME, 0]),
    "getrlimit": (302, [0, 7, 0, "zeros"]),
    "openat to read": (257, [-100, "text", 0]),
    "getpid": (39, []),
}


@needs_x86
def test_each_way_out_is_refused_and_the_parent_stays_as_it_was() -> None:
    kept = ctypes.create_string_buffer(b"as it was")
    words = json.dumps({"address": ctypes.addressof(kept), "calls": {**REFUSED, **ALLOWED}})
    # A shell between would be the parent; this process is.
    done = subprocess.run(
        [sys.executable, "-c", _TRIED, words], capture_output=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr.decode()
    came = json.loads(done.stdout)
    assert sorted(came.pop("threads")) == [0, 1, 2, 3]  # by clone, after clone3 is "not known"
    let_through = {
        name: code for name, code in came.items() if name in REFUSED and code not in {EPERM, ENOSYS}
    }
    assert let_through == {}
    assert {name for name in ALLOWED if came[name] != 0} == set()
    assert came["clone3"] == ENOSYS and came["getpid of x32"] == EPERM
    assert kept.value == b"as it was"


@needs_x86
def test_the_table_of_32_bit_calls_is_refused(tmp_path: Path) -> None:
    code = """
import ctypes, mmap
from appliance.confinement import confine
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
assert confine()
print(call())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    # A kernel without that table ends the process.
    assert done.returncode == -11 or done.stdout.strip() == str(-EPERM).encode()


def answer(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: 0 allowed, else an error's number. The filter's steps, done one by one."""
    seen = struct.pack("<iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    steps = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    held = at = 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", seen, value)
        elif code == 0x54:
            held &= value
        elif code == 0x15:
            at += yes if held == value else no
        elif code == 0x35:
            at += yes if held >= value else no
        else:
            assert code == 0x06
            return 0 if value == 0x7FFF0000 else value & 0xFFFF


MACHINES = [("x86_64", 0, 0xC000003E), ("aarch64", 1, 0xC00000B7)]


@pytest.mark.parametrize(("machine", "column", "architecture"), MACHINES)
def test_both_processors_filters(machine: str, column: int, architecture: int) -> None:
    made = confinement.program(machine, 4242)
    assert len(made) % 8 == 0 and len(made) // 8 <= 4096  # the kernel's limit

    def of(name: str, *arguments: int) -> int:
        number = CHECKED[name][0][column]
        assert number is not None
        return answer(made, architecture, number, *arguments)

    known = {numbers[column] for numbers in FREE.values()} - {None}
    checked = {numbers[column] for numbers, _ in CHECKED.values()} - {None}
    for number in range(600):
        if number not in checked:
            assert answer(made, architecture, number) == (
                0 if number in known else EPERM if number < 424 else ENOSYS
            )
        assert answer(made, 0x40000003, number) == answer(made, 0x40000028, number) == EPERM  # i386, ARM
        assert answer(made, architecture, 0x40000000 | number) == EPERM
    thread = 0x3D0F00
    assert of("clone", thread) == 0 and of("clone", 17) == of("clone", thread | 0x10000000) == EPERM
    assert of("openat", 0, 0, 0o2000000) == 0 and of("openat", 0, 0, 1) == of("openat", 0, 0, 0o100) == EPERM
    assert of("tgkill", 4242, 4243, 6) == 0 and of("tgkill", 4241, 4241, 6) == EPERM
    assert of("prlimit64", 0, 7, 0, 1) == 0
    assert of("prlimit64", 1, 7) == of("prlimit64", 0, 7, 1 << 32) == of("prlimit64", 0, 7, 1) == EPERM
    assert of("ioctl", 0, 0x5401) == 0 and of("ioctl", 0, 0x5412) == EPERM
    assert of("fcntl", 0, 2) == 0 and of("fcntl", 0, 8) == EPERM
    assert of("madvise", 0, 0, 4) == 0 and of("madvise", 0, 0, 100) == EPERM
    assert of("prctl", 15) == of("prctl", 51) == 0 and of("prctl", 4) == EPERM


def test_processors_it_isn_t_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not confinement.possible() and not confinement.confine()
    assert os.getpid()
