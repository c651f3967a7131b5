"""YAML with line numbers, and without what YAML can do beyond plain values: no tags, no anchors, no aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from appliance.evaluation.suites.plain_values import (
    MOST_CHARACTERS,
    MOST_DEPTH,
    Entry,
    fault_of,
    too_long,
    utf8,
    without_bom,
)

_PLAIN: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": lambda text: text.casefold() in {"true", "yes", "on"},
    "tag:yaml.org,2002:int": lambda text: int(text.replace("_", ""), 0),
    "tag:yaml.org,2002:float": lambda text: float(text.replace("_", "")),
}
_OPENING = (
    yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken,
)  # fmt: skip
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_MOST_OPEN = 120  # levels in a file; PyYAML builds what is nested by recursion


class _NodeError(ValueError):
    """What is wrong, and at which line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _line(place: Any) -> int:
    return int(place.start_mark.line) + 1


def _value(node: Any, depth: int = 1) -> Any:
    if depth > MOST_DEPTH + 1:
        raise _NodeError(_line(node), f"nested too deeply: more than {MOST_DEPTH} levels")
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node)
            if key in found:
                raise _NodeError(_line(key_node), f"the key {key!r} stands there twice")
            found[key] = _value(value_node, depth + 1)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(entry, depth + 1) for entry in node.value]
    make = _PLAIN.get(node.tag)
    if make is not None:
        try:
            return make(node.value)
        except ValueError:
            return str(node.value)
    if node.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"}:
        raise _NodeError(_line(node), f"the tag {node.tag} is not taken; plain values only")
    return str(node.value)


def _key(node: Any) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _NodeError(_line(node), "a key is a plain text")
    return str(node.value)


def _scanned(text: str) -> list[Any]:
    """The anchors and aliases of a text, which cost those alone in whose case they stand."""
    depth, marks = 0, []
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, (yaml.AnchorToken, yaml.AliasToken)):
            marks.append(token)
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _MOST_OPEN:
            raise _NodeError(_line(token), f"nested too deeply: more than {MOST_DEPTH} levels")
    return marks


def _root(text: str) -> tuple[Any, list[Any]]:
    try:
        marks = _scanned(text)
        return yaml.compose(text, Loader=yaml.SafeLoader), marks
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise _NodeError(line, f"not YAML: the character {error.character:#04x} is not taken") from error
    except yaml.MarkedYAMLError as error:
        mark = error.context_mark or error.problem_mark
        words = " ".join(filter(None, (error.context, error.problem)))
        raise _NodeError(mark.line + 1 if mark is not None else 1, f"not YAML: {words}") from error
    except RecursionError as error:
        raise _NodeError(1, "nested too deeply") from error


def documents(data: bytes) -> tuple[Entry, list[Entry]]:
    """The head of a suite (all keys but `cases`) and its cases, each with the line that it begins at.

    What is wrong with a case costs that case alone; a fault of the head, or of the whole file, is the head's.
    """
    data, fault = without_bom(data)
    if fault:
        return Entry(1, None, fault), []
    text, fault = utf8(data)
    if fault:
        return Entry(_bad_line(data), None, fault), []
    try:
        root, marks = _root(text)
    except _NodeError as error:
        return Entry(error.line, None, str(error)), []
    if not isinstance(root, yaml.MappingNode):
        return Entry(1, None), []
    nodes = [node for key, node in root.value if key.value == "cases" and isinstance(node, yaml.SequenceNode)]
    inside = nodes[0].value if nodes else []
    cases = [_case(node, marks) for node in inside]
    return _head(root, [mark for mark in marks if not any(_holds(node, mark) for node in inside)]), cases


def _head(root: Any, marks: Sequence[Any]) -> Entry:
    found: dict[str, Any] = {}
    cases = 0
    try:
        if marks:
            raise _NodeError(_line(marks[0]), "anchors and aliases are not taken")
        for key_node, node in root.value:
            key = _key(key_node)
            cases += key == "cases"
            if key in found or (key == "cases" and cases > 1):
                raise _NodeError(_line(key_node), f"the key {key!r} stands there twice")
            if key != "cases":
                found[key] = _value(node)
            elif not isinstance(node, yaml.SequenceNode):
                raise _NodeError(_line(node), "`cases` is a list")
    except _NodeError as error:
        return Entry(error.line, None, str(error))
    wrong = fault_of(found)
    return Entry(_line(root), None if wrong else found, wrong)


def _bad_line(data: bytes) -> int:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data.count(b"\n", 0, error.start) + 1
    return 1


def _holds(node: Any, mark: Any) -> bool:
    return bool(node.start_mark.index <= mark.start_mark.index < node.end_mark.index)


def _case(node: Any, marks: Sequence[Any]) -> Entry:
    line = _line(node)
    length = node.end_mark.index - node.start_mark.index
    if length > MOST_CHARACTERS:
        return Entry(line, None, too_long(length))
    for mark in marks:  # before an alias is followed: a few lines of them can stand for billions of values
        if _holds(node, mark):
            return Entry(_line(mark), None, "anchors and aliases are not taken")
    try:
        value = _value(node)
    except _NodeError as error:
        return Entry(error.line, None, str(error))
    wrong = fault_of(value)
    return Entry(line, None if wrong else value, wrong)
