"""The system calls that a confined process keeps: Python, its libraries and llama.cpp once they are in memory.

Measured with strace of both trials (the model's with threads and a grammar, and the template's), and with what other
versions of glibc call in their place. Everything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

# Name: its number on x86-64 and on aarch64; None where the processor doesn't have it.
FREE: dict[str, tuple[int | None, int | None]] = {
    "futex": (202, 98),
    "read": (0, 63),
    "write": (1, 64),  # what is open already
    "newfstatat": (262, 79),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "close": (3, 57),
    "rt_sigprocmask": (14, 135),
    "sched_yield": (24, 124),
    # memory, one's own: a mapping to write of what is open to read alone is refused by the kernel
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "mseal": (462, 462),
    "brk": (12, 214),
    "mincore": (27, 232),
    "membarrier": (324, 283),
    # reading
    "readv": (19, 65),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "preadv2": (327, 286),
    "writev": (20, 66),
    "stat": (4, None),
    "lstat": (6, None),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents": (78, None),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "fadvise64": (221, 223),
    "close_range": (436, 436),
    "dup": (32, 23),
    # waiting
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "restart_syscall": (219, 128),
    "futex_waitv": (449, 449),
    "futex_wake": (454, 454),
    "futex_wait": (455, 455),
    "futex_requeue": (456, 456),
    # threads and signals of this process
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "arch_prctl": (158, None),
    "rt_sigaction": (13, 134),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "sched_getaffinity": (204, 123),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # what time it is, and who we are
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "uname": (63, 160),
}


@dataclass(frozen=True)
class Check:
    """What an argument of a call must be, in 32 bits.

    Attributes:
        word: which half of which argument: 2n is the lower half of the n-th from 0, 2n + 1 the upper one.
        mask: the bits that count.
        values: one of these; `OWN_PID` stands for the process's id.
    """

    word: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


OWN_PID = -1
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND
_THREAD, _SPACES = 0x00010000, 0x7E020000  # CLONE_THREAD, and what would be a namespace of its own
_TERMINAL_AND_LENGTH = (
    0x5401,
    0x5413,
    0x541B,
    0x5450,
    0x5451,
)  # TCGETS, TIOCGWINSZ, FIONREAD, FION- and FIOCLEX
_DESCRIPTOR = (
    0,
    1,
    2,
    3,
    4,
    1030,
)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC: no F_SETOWN
# PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (names of memory); and how wide SVE's and SME's registers are
# (PR_SVE_GET_VL, PR_SME_GET_VL), which ggml asks on aarch64 and takes any answer for.
_OWN = (3, 15, 16, 0x53564D41, 51, 64)
# NORMAL to WILLNEED, DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP, COLLAPSE, guard pages: no HWPOISON
_ADVICE = (0, 1, 2, 3, 4, 8, 14, 15, 16, 17, 25, 102, 103)

# As FREE, with what must hold of the arguments.
CHECKED: dict[str, tuple[tuple[int | None, int | None], tuple[Check, ...]]] = {
    "openat": ((257, 56), (Check(4, (0,), _WRITING),)),
    "open": ((2, None), (Check(2, (0,), _WRITING),)),
    "ioctl": ((16, 29), (Check(2, _TERMINAL_AND_LENGTH),)),
    "fcntl": ((72, 25), (Check(2, _DESCRIPTOR),)),
    "madvise": ((28, 233), (Check(4, _ADVICE),)),
    "prctl": ((157, 167), (Check(0, _OWN),)),
    "clone": ((56, 220), (Check(0, (_THREAD,), _THREAD | _SPACES),)),
    "prlimit64": ((302, 261), (Check(0, (0,)), Check(4, (0,)), Check(5, (0,)))),  # one's own, to be read
    "tgkill": ((234, 131), (Check(0, (OWN_PID,)),)),  # abort() is a signal to oneself
}

# From here on numbers are the same everywhere, and libraries know an older way: they are told "not known" (ENOSYS)
# and take it, as glibc does for clone3, whose flags a filter can't see. "Not allowed" would be an error to them.
FIRST_YOUNG = 424
