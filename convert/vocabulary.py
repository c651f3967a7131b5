"""Tokenizers of byte-level BPE: Hugging Face's files to GGUF's keys, and back.

The keys are llama.cpp's (`tokenizer.ggml.*`, docs/formats/gguf.md). Both sides must give the same token ids
for every text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from convert import pretokenizers
from convert.errors import ConvertError
from convert.gguf_file import Gguf, Value, boolean, i32s, string, strings, u32


class TokenType(IntEnum):
    """`tokenizer.ggml.token_type` (llama.h, `enum llama_token_type`)."""

    NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


# (attribute of tokenizer_config.json, key of config.json, key of GGUF)
_SPECIAL = (
    ("bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id"),
)
_EOT = "tokenizer.ggml.eot_token_id"
_MAX_JSON = 256 * 1024 * 1024


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE (GPT-2's table), by byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    stands = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [stands[byte] for byte in range(256)]


def missing_characters(tokens: Sequence[str]) -> str:
    """Characters of the byte alphabet that are no token.

    Such a byte has no token id and is dropped. llama.cpp keeps it in place while merging and drops it
    afterwards, tokenizers drops it first, so that its neighbours could merge; a pre-tokenizer step keeps them
    apart there too.
    """
    known = set(tokens)
    return "".join(character for character in byte_alphabet() if character not in known)


def read_json(path: Path, *, required: bool = True) -> dict[str, Any]:
    """A JSON object from a checkpoint's file; empty if it may be missing and is.

    Raises:
        ConvertError: missing, or no JSON object.
    """
    if not path.is_file():
        if required:
            raise ConvertError(f"{path}: no such file", f"a checkpoint's folder has a {path.name}")
        return {}
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ConvertError(f"{path}: {path.stat().st_size} bytes are too many")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConvertError(
            f"{path}: no valid JSON ({error})", "copy the file again from its source"
        ) from error
    if not isinstance(found, dict):
        raise ConvertError(f"{path}: no JSON object", "copy the file again from its source")
    return found


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, neither side's files.

    Attributes:
        tokens: by id, as byte-level text (special ones as they are).
        types: by id.
        merges: pairs in order of rank.
        pre: the name of its pre-tokenizer.
        special: GGUF key -> id, for beginning, end, unknown and padding.
        add_bos, add_eos: whether a text gets one by itself.
        chat_template: Jinja; empty if there is none.
    """

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str
    special: dict[str, int]
    add_bos: bool
    add_eos: bool
    chat_template: str

    def metadata(self) -> dict[str, Value]:
        """The keys of a GGUF file."""
        keys = {
            "tokenizer.ggml.model": string("gpt2"),
            "tokenizer.ggml.pre": string(self.pre),
            "tokenizer.ggml.tokens": strings(self.tokens),
            "tokenizer.ggml.token_type": i32s(self.types),
            "tokenizer.ggml.merges": strings(self.merges),
            **{key: u32(number) for key, number in self.special.items()},
            "tokenizer.ggml.add_space_prefix": boolean(False),
            "tokenizer.ggml.add_bos_token": boolean(self.add_bos),
            "tokenizer.ggml.add_eos_token": boolean(self.add_eos),
        }
        if self.chat_template:
            keys["tokenizer.chat_template"] = string(self.chat_template)
        return keys


def _content(token: Any) -> str | None:
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None


def _tokens(tokenizer: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    tokens: dict[int, tuple[str, int]] = {}
    for text, number in tokenizer["model"]["vocab"].items():
        tokens[number] = (text, TokenType.NORMAL)
    for added in tokenizer.get("added_tokens") or []:
        if added.get("lstrip") or added.get("rstrip") or added.get("single_word"):
            reason = f"tokenizer.json: the added token {added.get('content')!r} swallows its surroundings"
            raise ConvertError(reason, "llama.cpp has no such tokens, so that the token ids would differ")
        kind = TokenType.CONTROL if added.get("special") else TokenType.USER_DEFINED
        tokens[added["id"]] = (added["content"], kind)
    if not tokens or min(tokens) < 0 or max(tokens) >= size:
        last = max(tokens, default=-1)
        raise ConvertError(f"tokenizer.json: token {last} has no row in embeddings of {size}")
    listed = [tokens.get(number, (f"[PAD{number}]", TokenType.UNUSED)) for number in range(size)]
    if len({text for text, _ in listed}) != size:
        raise ConvertError("tokenizer.json: two tokens have the same text")
    return [text for text, _ in listed], [int(kind) for _, kind in listed]


def _merges(model: Mapping[str, Any]) -> list[str]:
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def _automatic(tokenizer: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether beginning and end tokens are added to a text by themselves."""
    processor = tokenizer.get("post_processor")
    steps = processor.get("processors", [processor]) if processor else []
    for step in steps:
        if step.get("type") == "TemplateProcessing":
            order = ["SpecialToken" in part for part in step.get("single", [])]
            if False not in order:
                raise ConvertError("tokenizer.json: its post-processor has no place for the text")
            before, after = order.index(False), len(order) - 1 - order.index(False)
            if before > 1 or after > 1:
                raise ConvertError(
                    "tokenizer.json: its post-processor adds more than one token before or after a text"
                )
            return before == 1, after == 1
        if step.get("type") != "ByteLevel":
            raise ConvertError(f"tokenizer.json: the post-processor {step.get('type')!r} is not known")
    return bool(settings.get("add_bos_token", False)), bool(settings.get("add_eos_token", False))


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    found = settings.get("chat_template") or ""
    if isinstance(found, list):  # several, by name
        found = next((each.get("template") for each in found if each.get("name") == "default"), "")
    return str(found)


def _special(
    tokens: Sequence[str],
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    generation: Mapping[str, Any],
) -> dict[str, int]:
    numbers = {text: number for number, text in enumerate(tokens)}
    special: dict[str, int] = {}
    for attribute, config_key, key in _SPECIAL:
        text = _content(settings.get(attribute))
        if text is not None:
            if text not in numbers:
                raise ConvertError(f"tokenizer_config.json: {attribute} {text!r} is no token")
            special[key] = numbers[text]
            continue
        number = config.get(config_key) if config_key else None
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int) and 0 <= number < len(tokens):
            special[key] = number
    if "tokenizer.ggml.eos_token_id" not in special:
        hint = "name it as eos_token in tokenizer_config.json"
        raise ConvertError("the tokenizer has no end token: an answer would never stop", hint)
    ends = generation.get("eos_token_id")
    others = (
        [end for end in ends if end != special["tokenizer.ggml.eos_token_id"]]
        if isinstance(ends, list)
        else []
    )
    if others and isinstance(others[0], int) and 0 <= others[0] < len(tokens):
        special[_EOT] = others[0]
    return special


def from_checkpoint(folder: Path, config: Mapping[str, Any], *, pre: str = "") -> Vocabulary:
    """Read the tokenizer of a checkpoint.

    Args:
        folder: holds tokenizer.json and tokenizer_config.json.
        config: the parsed config.json.
        pre: the name of the pre-tokenizer, for one that isn't recognized.

    Raises:
        ConvertError: no byte-level BPE, or one whose token ids llama.cpp would not reproduce.
    """
    path = folder / "tokenizer.json"
    if not path.is_file() and (folder / "tokenizer.model").is_file():
        raise ConvertError(
            f"{folder}: a SentencePiece tokenizer is not known", "byte-level BPE (tokenizer.json) is"
        )
    tokenizer = read_json(path)
    settings = read_json(folder / "tokenizer_config.json", required=False)
    generation = read_json(folder / "generation_config.json", required=False)
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = model.get("type") if isinstance(model, dict) else None
        raise ConvertError(f"{path}: a tokenizer of type {kind!r} is not known", "byte-level BPE is")
    try:
        tokens, types = _tokens(tokenizer, config["vocab_size"])
        merges = _merges(model)
        add_bos, add_eos = _automatic(tokenizer, settings)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConvertError(f"{path}: not as a tokenizer should be ({error!r})", "copy it again") from error
    known = (
        pretokenizers.by_name(pre) if pre else pretokenizers.recognize(tokenizer, missing_characters(tokens))
    )
    if bool(model.get("ignore_merges")) != known.ignore_merges and not pre:
        reason = f"{path}: ignore_merges is {model.get('ignore_merges')!r}, {known.name} has it otherwise"
        raise ConvertError(reason, "the token ids would differ; --pre NAME names another pre-tokenizer")
    special = _special(tokens, settings, config, generation)
    template = _chat_template(folder, settings)
    return Vocabulary(tokens, types, merges, known.name, special, add_bos, add_eos, template)


def from_gguf(gguf: Gguf) -> Vocabulary:
    """Read the tokenizer of a GGUF file.

    Raises:
        ConvertError: no byte-level BPE, an unknown pre-tokenizer, or lists that don't fit each other.
    """
    model = gguf.text("tokenizer.ggml.model", "none")
    if model != "gpt2":
        raise ConvertError(
            f"{gguf.path}: a tokenizer of type {model!r} is not known", "byte-level BPE (gpt2) is"
        )
    tokens, merges = gguf.get("tokenizer.ggml.tokens"), gguf.get("tokenizer.ggml.merges")
    types = gguf.get("tokenizer.ggml.token_type")
    if not _all(tokens, str) or not _all(merges, str) or not tokens:
        raise ConvertError(f"{gguf.path}: tokens or merges are missing")
    types = [int(TokenType.NORMAL)] * len(tokens) if types is None else types
    if not _all(types, int) or len(types) != len(tokens):
        raise ConvertError(f"{gguf.path}: {len(tokens)} tokens have another number of types")
    if len(set(tokens)) != len(tokens):
        raise ConvertError(f"{gguf.path}: two tokens have the same text")
    special = {}
    for key in (*(key for _, _, key in _SPECIAL), _EOT):
        number = gguf.get(key)
        if number is not None:
            if not isinstance(number, int) or not 0 <= number < len(tokens):
                raise ConvertError(f"{gguf.path}: {key} is {number!r}, which is no token")
            special[key] = number
    pre = pretokenizers.by_name(gguf.text("tokenizer.ggml.pre", "default")).name
    add_bos = gguf.get("tokenizer.ggml.add_bos_token", pre == "llama-bpe")
    add_eos = gguf.get("tokenizer.ggml.add_eos_token", False)
    template = gguf.text("tokenizer.chat_template")
    return Vocabulary(
        list(tokens), list(types), list(merges), pre, special, bool(add_bos), bool(add_eos), template
    )


def _all(found: Any, kind: type) -> bool:
    return isinstance(found, list) and all(isinstance(each, kind) for each in found)


def _post_processor(vocabulary: Vocabulary) -> dict[str, Any] | None:
    def part(attribute: str) -> list[dict[str, Any]]:
        number = vocabulary.special.get(f"tokenizer.ggml.{attribute}_token_id")
        if number is None:
            raise ConvertError(f"a text gets a {attribute} token by itself, but there is none")
        used.append(number)
        return [{"SpecialToken": {"id": vocabulary.tokens[number], "type_id": 0}}]

    used: list[int] = []
    before = part("bos") if vocabulary.add_bos else []
    after = part("eos") if vocabulary.add_eos else []
    if not used:
        return None
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B")]
    names = {vocabulary.tokens[number]: number for number in used}
    return {
        "type": "TemplateProcessing",
        "single": [*before, texts[0], *after],
        "pair": [*before, texts[0], *after, *before, texts[1], *after],
        "special_tokens": {
            text: {"id": text, "ids": [number], "tokens": [text]} for text, number in names.items()
        },
    }


def _tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    known = pretokenizers.by_name(vocabulary.pre)
    vocab = {
        text: number
        for number, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind != TokenType.UNUSED
    }
    added = [
        {
            "id": number,
            "content": vocabulary.tokens[number],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == TokenType.CONTROL,
        }
        for number, kind in enumerate(vocabulary.types)
        if kind in {TokenType.CONTROL, TokenType.USER_DEFINED}
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": pretokenizers.describe(known, missing_characters(vocabulary.tokens)),
        "post_processor": _post_processor(vocabulary),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": known.ignore_merges,
            "vocab": vocab,
            "merges": [merge.split(" ", 1) for merge in vocabulary.merges],
        },
    }


def to_files(vocabulary: Vocabulary, context: int) -> dict[str, dict[str, Any]]:
    """The tokenizer's files of a checkpoint, by name.

    Args:
        context: most tokens of a text.
    """
    named = {
        attribute: vocabulary.tokens[vocabulary.special[key]]
        for attribute, _, key in _SPECIAL
        if key in vocabulary.special
    }
    special = [
        text
        for text, kind in zip(vocabulary.tokens, vocabulary.types, strict=True)
        if kind == TokenType.CONTROL
    ]
    settings: dict[str, Any] = {
        # The class that takes tokenizer.json as it stands; a family's own class would put its own
        # pre-tokenizer in.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "additional_special_tokens": [text for text in special if text not in named.values()],
        **named,
    }
    if vocabulary.chat_template:
        settings["chat_template"] = vocabulary.chat_template
    return {
        "tokenizer.json": _tokenizer_json(vocabulary),
        "tokenizer_config.json": settings,
        "special_tokens_map.json": named,
    }


def generation_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """generation_config.json, and the token ids of config.json."""
    ids = {
        key: vocabulary.special.get(f"tokenizer.ggml.{name}_token_id") for key, name in _GENERATION.items()
    }
    if _EOT in vocabulary.special and vocabulary.special[_EOT] != ids["eos_token_id"]:
        return {**ids, "eos_token_id": [ids["eos_token_id"], vocabulary.special[_EOT]]}
    return dict(ids)


_GENERATION = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
