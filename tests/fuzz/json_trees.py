"""Changes to a JSON value, chosen by a stream of numbers: what a signer gone mad might have signed."""

from __future__ import annotations

import copy
from typing import Any, Protocol


class Chooser(Protocol):
    """Where choices come from: a fuzzer's bytes, or a random generator."""

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1."""

    def blob(self) -> bytes:
        """Up to some dozens of bytes."""


def _deep(levels: int, inner: Any = 0) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 2**31, 2**53, 2**63, 2**64, 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan"),
    "", " ", ".", "..", "../x", "/x", "a/b", "a\\b", "CON", "\0", "\x1b[2J", "\n", "\u202e", "\ud800", "é", "e\u0301",
    "0" * 64, "f" * 64, "F" * 64, "g" * 64, "1" * 5000, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z", "2026-11-01T00:00:00+00:00", [], {}, [{}],
    {"": ""}, {"sha256": "0" * 64}, [0] * 5000, _deep(40), "@deep@",
)  # fmt: skip


def spelt(data: bytes) -> bytes:
    """JSON with `"@deep@"` made what nobody's encoder writes: lists in lists, beyond any parser's depth."""
    return data.replace(b'"@deep@"', b"[" * 3000 + b"]" * 3000)


def _paths(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands, the whole first."""
    found = [where]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if len(where) < 12:
            found += _paths(inner, (*where, key))
    return found[:4000]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _text(value: str, choose: Chooser) -> str:
    at, extra = choose.below(len(value) + 1), choose.blob().decode("latin-1")
    return value[:at] + extra + value[at + choose.below(3) :]


def _other(value: Any, choose: Chooser) -> Any:
    """Something near `value`, or far from it."""
    way = choose.below(4)
    if way == 0 and isinstance(value, int) and not isinstance(value, bool):
        return value + choose.below(5) - 2
    if way == 0 and isinstance(value, str):
        return _text(value, choose)
    if way == 1 and isinstance(value, list | dict):
        return _deep(1 + choose.below(8), value)
    if way == 1 and isinstance(value, str):
        return value * (1 + choose.below(40))
    return copy.deepcopy(HOSTILE[choose.below(len(HOSTILE))])


def _edit(tree: Any, choose: Chooser) -> Any:
    paths = _paths(tree)
    path = paths[choose.below(len(paths))]
    if not path:
        return _other(tree, choose)
    parent, key = _at(tree, path[:-1]), path[-1]
    way = choose.below(6)
    if way == 0:
        del parent[key]
    elif way == 1 and isinstance(parent, list):
        parent.insert(choose.below(len(parent) + 1), copy.deepcopy(parent[key]))
    elif way == 1:
        parent[_text(str(key), choose)] = copy.deepcopy(parent[key])
    elif way == 2 and isinstance(parent, dict):
        parent[_text(str(key), choose)] = parent.pop(key)
    elif way == 3:  # what stands elsewhere
        parent[key] = copy.deepcopy(_at(tree, paths[choose.below(len(paths))]))
    else:
        parent[key] = _other(parent[key], choose)
    return tree


def changed(tree: Any, choose: Chooser) -> Any:
    """A copy of `tree` with one to four changes."""
    tree = copy.deepcopy(tree)
    for _ in range(1 + choose.below(4)):
        tree = _edit(tree, choose)
    return tree


def changed_bytes(data: bytes, choose: Chooser) -> bytes:
    """A copy of `data` with one to four changes."""
    found = bytearray(data)
    for _ in range(1 + choose.below(4)):
        at = choose.below(len(found) + 1)
        way = choose.below(6)
        if way == 0 and at < len(found):
            found[at] ^= 1 << choose.below(8)
        elif way == 1:
            found[at : at + 1 + choose.below(8)] = choose.blob()
        elif way == 2:
            del found[at : at + 1 + choose.below(64)]
        elif way == 3:
            begin = choose.below(len(found) + 1)
            found[at:at] = found[begin : begin + choose.below(256)]
        elif way == 4:
            number = (0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(found), choose.below(256))[
                choose.below(8)
            ]
            found[at : at + 8] = number.to_bytes(8, ("little", "big")[choose.below(2)])
        else:
            del found[at:]
    return bytes(found)
