"""YAML with line numbers, and without what YAML can do beyond plain values: no tags, no anchors, no aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

_MOST_DEPTH = 40
_PLAIN: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda _: None,
    "tag:yaml.org,2002:bool": lambda text: text.casefold() in {"true", "yes", "on"},
    "tag:yaml.org,2002:int": lambda text: int(text.replace("_", ""), 0),
    "tag:yaml.org,2002:float": lambda text: float(text.replace("_", "")),
}


def _value(node: Any, depth: int = 0) -> Any:
    line = node.start_mark.line + 1
    if depth > _MOST_DEPTH:
        raise ValueError(f"line {line}: nested too deeply")
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in found:
                raise ValueError(f"line {key_node.start_mark.line + 1}: the key {key!r} stands there twice")
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
        raise ValueError(f"line {line}: the tag {node.tag} is not taken; plain values only")
    return str(node.value)


def documents(text: str) -> tuple[tuple[int, Any], list[tuple[int, Any]]]:
    """The head of a suite (all keys but `cases`) and its cases, each with the line that it begins at.

    Raises:
        ValueError: not YAML, or more than plain values; the message names the line.
    """
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, (yaml.AnchorToken, yaml.AliasToken)):
                raise ValueError(f"line {token.start_mark.line + 1}: anchors and aliases are not taken")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{where}not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(root, yaml.MappingNode):
        return (1, None), []
    head: dict[str, Any] = {}
    cases: list[tuple[int, Any]] = []
    for key_node, value_node in root.value:
        key = str(key_node.value)
        if key in head or (key == "cases" and cases):
            raise ValueError(f"line {key_node.start_mark.line + 1}: the key {key!r} stands there twice")
        if key == "cases":
            if not isinstance(value_node, yaml.SequenceNode):
                raise ValueError(f"line {value_node.start_mark.line + 1}: `cases` is a list")
            cases = [(node.start_mark.line + 1, _value(node)) for node in value_node.value]
        else:
            head[key] = _value(value_node)
    return (root.start_mark.line + 1, head), cases
