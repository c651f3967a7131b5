"""The lists of words that the rules are made of."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.house.sources import parsed, python_files

_LISTS = [
    (f"{file.name}:{node.lineno}", node.args[0].value)
    for file in python_files("appliance")
    for node in ast.walk(parsed(file))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "words_in"
    if isinstance(node.args[0], ast.Constant)
]


@pytest.mark.parametrize(("where", "words"), _LISTS, ids=[where for where, _ in _LISTS])
def test_no_word_stands_twice_in_a_list(where: str, words: str) -> None:
    assert [word for word, count in Counter(words.split()).items() if count > 1] == []


def test_the_lists_are_found() -> None:
    assert len(_LISTS) > 5
