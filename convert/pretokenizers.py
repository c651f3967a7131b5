"""The one table of known pre-tokenizers: how a text is cut before byte-pair merging.

llama.cpp has each built in under a name (`tokenizer.ggml.pre`), Hugging Face writes it out in tokenizer.json.
An entry is added here only with a test that token ids are equal on both sides
(tests/convert/test_pretokenizers.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convert.errors import ConvertError

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


@dataclass(frozen=True)
class PreTokenizer:
    """A way to cut text.

    Attributes:
        name: `tokenizer.ggml.pre`.
        steps: tokenizer.json's pre-tokenizers in order.
        ignore_merges: whether a piece that is a token as it stands is not merged anew.
    """

    name: str
    steps: tuple[Mapping[str, Any], ...]
    ignore_merges: bool = False


KNOWN: tuple[PreTokenizer, ...] = (
    PreTokenizer("smollm", ({"type": "Digits", "individual_digits": True}, _byte_level(True))),
    PreTokenizer("gpt-2", (_byte_level(True),)),
    PreTokenizer(
        "llama-bpe",
        (
            {"type": "Split", "pattern": {"Regex": _LLAMA3}, "behavior": "Isolated", "invert": False},
            _byte_level(False),
        ),
        ignore_merges=True,
    ),
)
"""Every pre-tokenizer that can be converted."""

_NAMES = ", ".join(each.name for each in KNOWN)
_HINT = f"known: {_NAMES}; if yours cuts text like one of them, name it (--pre NAME)"


def by_name(name: str) -> PreTokenizer:
    """The pre-tokenizer that llama.cpp calls `name`.

    Raises:
        ConvertError: not known.
    """
    for known in KNOWN:
        if known.name == name:
            return known
    raise ConvertError(f"the pre-tokenizer {name!r} is not known", _HINT)


def _steps(described: Any) -> list[dict[str, Any]]:
    if not isinstance(described, Mapping):
        return []
    if described.get("type") == "Sequence":
        return [step for inner in described.get("pretokenizers", []) for step in _steps(inner)]
    step = {
        key: value for key, value in described.items() if key != "trim_offsets"
    }  # offsets only, not tokens
    return [step]


def isolated(characters: str) -> dict[str, Any]:
    """A step that keeps each of `characters` apart, see `vocabulary.missing_characters`."""
    escaped = "".join(f"\\x{{{ord(character):04X}}}" for character in characters)
    return {"type": "Split", "pattern": {"Regex": f"[{escaped}]"}, "behavior": "Isolated", "invert": False}


def describe(known: PreTokenizer, missing: str) -> dict[str, Any]:
    """tokenizer.json's `pre_tokenizer` for a known one.

    Args:
        missing: characters of the byte alphabet for which the vocabulary has no token.
    """
    steps = [dict(step) for step in known.steps] + ([isolated(missing)] if missing else [])
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


def recognize(tokenizer: Mapping[str, Any], missing: str) -> PreTokenizer:
    """Which known pre-tokenizer a tokenizer.json describes.

    Args:
        tokenizer: the parsed file.
        missing: characters of the byte alphabet for which the vocabulary has no token.

    Raises:
        ConvertError: none of them.
    """
    found = _steps(tokenizer.get("pre_tokenizer"))
    if found and missing and found[-1] == isolated(missing):
        found.pop()
    if tokenizer.get("normalizer") is None:
        for known in KNOWN:
            if found == [step for each in known.steps for step in _steps(each)]:
                return known
    kinds = " + ".join(str(step.get("type")) for step in found) or "none"
    if tokenizer.get("normalizer") is not None:
        kinds = f"{tokenizer['normalizer'].get('type')} normalizer, {kinds}"
    raise ConvertError(f"tokenizer.json: the way it cuts text ({kinds}) is not known", _HINT)
