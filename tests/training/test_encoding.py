"""What is learnt: answers with their end token, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from appliance.errors import TrainingError
from appliance.training.encoding import encode_row


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path):
    return AutoTokenizer.from_pretrained(str(tiny_checkpoint), local_files_only=True)


def encode(tokenizer, messages):
    return encode_row(
        "r1",
        messages,
        lambda part, prompt: tokenizer.apply_chat_template(
            part, tokenize=False, add_generation_prompt=prompt
        ),
        lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        {tokenizer.eos_token_id},
    )


def test_only_the_answer_and_its_end_token_are_learnt(tokenizer):
    row = encode(
        tokenizer, [{"role": "user", "content": "pump?"}, {"role": "assistant", "content": "It leaks."}]
    )
    taught = [token for token, learnt in zip(row.ids, row.learnt, strict=True) if learnt]
    assert tokenizer.decode(taught) == "It leaks.<|im_end|>"


def test_every_answer_of_a_longer_conversation_is_learnt(tokenizer):
    row = encode(
        tokenizer,
        [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "first"},
            {"role": "user", "content": "two"},
            {"role": "assistant", "content": "second"},
        ],
    )
    taught = [token for token, learnt in zip(row.ids, row.learnt, strict=True) if learnt]
    assert tokenizer.decode(taught) == "first<|im_end|>second<|im_end|>"


def test_the_end_token_is_learnt_although_it_is_also_the_padding(tokenizer):
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    row = encode(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    last = max(place for place, learnt in enumerate(row.learnt) if learnt)
    assert row.ids[last] == tokenizer.eos_token_id


def test_a_row_without_an_answer_is_refused_by_name(tokenizer):
    with pytest.raises(TrainingError, match="row r1: it has no answer"):
        encode(tokenizer, [{"role": "user", "content": "a"}])


def test_a_template_without_an_end_token_is_refused():
    with pytest.raises(TrainingError, match="never learn to stop"):
        encode_row(
            "r2",
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            lambda part, prompt: "".join(m["content"] for m in part),
            lambda text: [ord(letter) for letter in text],
            {0},
        )


def test_a_template_that_rewrites_earlier_turns_is_refused():
    def render(part, prompt):
        return "".join(m["content"] for m in part[-2:]) + ("" if prompt else "\0")

    with pytest.raises(TrainingError, match="renders turn"):
        encode_row(
            "r3",
            [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
                {"role": "assistant", "content": "d"},
            ],
            render,
            lambda text: [ord(letter) for letter in text],
            {0},
        )
