"""Each known pre-tokenizer cuts in llama.cpp as it does in tokenizers: equal token ids on awkward texts."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from convert import ConvertError, pretokenizers, to_checkpoint, to_gguf, vocabulary
from convert.gguf_file import read
from tests.convert.conftest import OpenLlama

FIXED = [
    "Pump P-101 tripped 3x, 12:45. Don't restart!",
    "  two  spaces\n\n\n\tand\r\nlines   ",
    "1234567890 3.14 ½ ² Ⅷ ٣",
    "naïve café Größe ÀÉÎ İstanbul",
    "日本語 한국어 العربية हिन्दी 🙂🙃👩‍🚒",
    "I'll WE'VE they're it's 'S 'Re x'y",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "half <|im_start| a tag <|im_end|><|im_end|>",
    "def f(x):\n    return x**2  # a_b->c\n",
    "bytes without a token: a\x04b\x06\x13c\x14th\x16e\x1d th\U00090000e \U00050000",
    "no\u00a0break \u2003 space \u3000 \u200b zero",
    "e\u0301 combining, \u0130\u0131 \ufb01",
    "",
    " ",
    "\n",
]


def texts(count: int) -> list[str]:
    """The fixed ones, and random ones of all of Unicode."""
    chance = random.Random(17)
    words = [
        " the",
        "ing",
        "\n",
        "'s",
        "'LL",
        " 12",
        "<|im_end|>",
        " ",
        "  ",
        "\r\n",
        "...",
        "Don't",
        "٣",
        "²",
    ]

    def character() -> str:
        if chance.random() < 0.7:
            return chr(chance.randint(1, 0x2FF))
        return chr(chance.choice([chance.randint(1, 0xD7FF), chance.randint(0xE000, 0x10FFFF)]))

    made = [
        "".join(
            character() if chance.random() < 0.6 else chance.choice(words)
            for _ in range(chance.randint(1, 40))
        )
        for _ in range(count)
    ]
    return FIXED + made


def differing(model: Any, folder: Path, samples: list[str]) -> list[str]:
    """The texts that llama.cpp and transformers cut differently."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = []
    for text in samples:
        # add_bos asks the file whether it wants one, as tokenizers does by itself.
        theirs = model.tokenize(text.encode(), add_bos=True, special=True)
        if theirs != tokenizer(text)["input_ids"]:
            found.append(text)
    return found


def copy_of(source: Path, folder: Path, change: Any) -> Path:
    """A copy of a checkpoint whose tokenizer.json went through `change`."""
    shutil.copytree(source, folder)
    path = folder / "tokenizer.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))
    return folder


@pytest.mark.parametrize("known", pretokenizers.KNOWN, ids=lambda known: known.name)
def test_token_ids_equal_llama_cpp(
    small: Path, tmp_path: Path, open_llama: OpenLlama, known: pretokenizers.PreTokenizer
) -> None:
    missing = vocabulary.missing_characters(
        list(json.loads((small / "tokenizer.json").read_text())["model"]["vocab"])
    )

    def change(described: dict[str, Any]) -> None:
        described["pre_tokenizer"] = pretokenizers.describe(known, missing)
        described["model"]["ignore_merges"] = known.ignore_merges

    folder = copy_of(small, tmp_path / "model", change)
    out = to_gguf.convert(folder, tmp_path / "m.gguf").path
    assert read(out).get("tokenizer.ggml.pre") == known.name
    again = to_checkpoint.convert(out, tmp_path / "again")
    model = open_llama(out, vocab_only=True)
    try:
        assert differing(model, folder, texts(400)) == []
        assert differing(model, again, texts(400)) == []
    finally:
        model.close()


def test_a_beginning_token_of_the_template_is_written(
    small: Path, tmp_path: Path, open_llama: OpenLlama
) -> None:
    def change(described: dict[str, Any]) -> None:
        special = [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}]
        described["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [*special, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {
                "<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}
            },
        }

    folder = copy_of(small, tmp_path / "model", change)
    out = to_gguf.convert(folder, tmp_path / "m.gguf").path
    assert read(out).get("tokenizer.ggml.add_bos_token") is True
    again = to_checkpoint.convert(out, tmp_path / "again")
    model = open_llama(out, vocab_only=True)
    try:
        assert model.tokenize(b"hi", add_bos=True)[0] == 1
        assert differing(model, folder, FIXED) == [] and differing(model, again, FIXED) == []
    finally:
        model.close()


def _unknown_cut(described: dict[str, Any]) -> None:
    described["pre_tokenizer"] = {"type": "Whitespace"}


def _normalized(described: dict[str, Any]) -> None:
    described["normalizer"] = {"type": "NFC"}


def _unigram(described: dict[str, Any]) -> None:
    described["model"]["type"] = "Unigram"


def _greedy(described: dict[str, Any]) -> None:
    described["added_tokens"][3]["lstrip"] = True


def _bert(described: dict[str, Any]) -> None:
    described["post_processor"] = {"type": "BertProcessing"}


def _no_merges(described: dict[str, Any]) -> None:
    del described["model"]["merges"]


def _ignoring(described: dict[str, Any]) -> None:
    described["model"]["ignore_merges"] = True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_unknown_cut, "Whitespace"),
        (_normalized, "NFC"),
        (_unigram, "Unigram"),
        (_greedy, "swallows"),
        (_bert, "BertProcessing"),
        (_no_merges, "merges"),
        (_ignoring, "ignore_merges"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_tokenizer_that_would_differ_is_refused(
    small: Path, tmp_path: Path, change: Any, message: str
) -> None:
    folder = copy_of(small, tmp_path / "model", change)
    with pytest.raises(ConvertError, match=message):
        to_gguf.convert(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_an_unknown_cut_can_be_named(small: Path, tmp_path: Path) -> None:
    folder = copy_of(small, tmp_path / "model", _unknown_cut)
    with pytest.raises(ConvertError) as caught:
        to_gguf.convert(folder, tmp_path / "m.gguf")
    assert "smollm" in caught.value.hint and "--pre" in caught.value.hint
    out = to_gguf.convert(folder, tmp_path / "m.gguf", pre="gpt-2").path
    assert read(out).get("tokenizer.ggml.pre") == "gpt-2"
    with pytest.raises(ConvertError, match="mystery"):
        to_gguf.convert(folder, tmp_path / "m.gguf", pre="mystery")


def test_a_tokenizer_without_an_end_is_refused(small: Path, tmp_path: Path) -> None:
    folder = copy_of(small, tmp_path / "model", lambda described: None)
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        content = {key: value for key, value in content.items() if not key.startswith("eos")}
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(ConvertError, match="no end token"):
        to_gguf.convert(folder, tmp_path / "m.gguf")
