"""The embedded 135M model: the same tokens in, the same tokens out, in llama.cpp and in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance import base_model
from convert import to_gguf
from convert.gguf_file import read
from tests.convert.conftest import OpenLlama
from tests.convert.test_pretokenizers import differing, texts

PROMPTS = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Explain why the sky is blue to a child.",
    "List three uses of copper.",
    "Translate to French: good morning.",
    "What should I check when a pump makes noise?",
    "Give a recipe for pancakes.",
    "Who wrote Hamlet?",
    "Count from one to ten.",
    "What is 17 plus 25?",
    "Describe a maintenance log in two sentences.",
    "Name the planets of the solar system.",
    "How does a diesel engine start?",
    "Write a short poem about winter.",
    "What is a hash function?",
    "Summarise the water cycle.",
    "Why do batteries lose capacity in the cold?",
    "Give me a JSON object with a name and an age.",
    "What does a circuit breaker do?",
    "Say hello in five languages.",
]
LENGTH = 32


@pytest.mark.slow
def test_token_ids_equal_llama_cpp_on_the_embedded_file(
    embedded_checkpoint: Path, open_llama: OpenLlama
) -> None:
    model = open_llama(base_model.embedded_gguf(), vocab_only=True)
    try:
        assert differing(model, embedded_checkpoint, texts(2000)) == []
    finally:
        model.close()


@pytest.mark.slow
def test_greedy_answers_equal_transformers(
    embedded_checkpoint: Path, tmp_path: Path, open_llama: OpenLlama, record_testsuite_property: Any
) -> None:
    """F16 GGUF in llama.cpp against transformers in float32: the same tokens, or ties where they part."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = to_gguf.convert(embedded_checkpoint, tmp_path / "m.gguf", quantization="F16").path
    tokenizer = AutoTokenizer.from_pretrained(embedded_checkpoint, local_files_only=True)
    theirs: Any = AutoModelForCausalLM.from_pretrained(
        embedded_checkpoint, local_files_only=True, dtype=torch.float32
    )
    ours = open_llama(out, logits_all=True)
    agreeing, positions = 0, 0
    try:
        for prompt in PROMPTS:
            messages = [{"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            start = tokenizer(text)["input_ids"]
            with torch.no_grad():
                greedy = theirs.generate(
                    torch.tensor([start]),
                    attention_mask=torch.ones(1, len(start), dtype=torch.long),
                    max_new_tokens=LENGTH,
                    min_new_tokens=LENGTH,
                    do_sample=False,
                )[0].tolist()
                expected = theirs(torch.tensor([greedy])).logits[0].numpy()
            # The same text before each position, so that one difference doesn't make all that follow differ.
            ours.reset()
            ours.eval(greedy)
            found = np.array(ours.scores[: len(greedy)])
            for position in range(len(start) - 1, len(greedy) - 1):
                positions += 1
                first, other = int(expected[position].argmax()), int(found[position].argmax())
                if first == other:
                    agreeing += 1
                    continue
                gap = expected[position, first] - expected[position, other]
                noise = np.abs(found[position] - expected[position]).max()
                assert gap <= 2 * noise and gap < 0.1, f"{prompt!r} at {position}: {gap} apart is no tie"
    finally:
        ours.close()
    record_testsuite_property("F16 and transformers agree", f"{agreeing} of {positions}")  # in --junitxml
    assert positions == len(PROMPTS) * LENGTH
    assert agreeing / positions >= 0.995


@pytest.mark.slow
def test_the_embedded_file_is_on_its_own_grid(embedded_checkpoint: Path, tmp_path: Path) -> None:
    """Converting the embedded base to its own type gives nearly its own bytes: order and names are right."""
    original = read(base_model.embedded_gguf())
    again = read(to_gguf.convert(embedded_checkpoint, tmp_path / "m.gguf", quantization="Q4_1").path)
    assert set(again.tensors) == set(original.tensors)
    for name, tensor in original.tensors.items():
        assert again.tensors[name].shape == tensor.shape
        same = np.mean(again.tensors[name].data == tensor.data)
        assert same == 1.0 if tensor.type.name == "F32" else same > 0.9, (name, same)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bits"),
    [("F16", 16.0), ("Q8_0", 8.5), ("Q4_0", (106_167_744 * 4.5 + 28_311_552 * 8.5) / 134_479_296)],
)
def test_bits_per_weight(embedded_checkpoint: Path, tmp_path: Path, name: str, bits: float) -> None:
    done = to_gguf.convert(embedded_checkpoint, tmp_path / "m.gguf", quantization=name)
    assert done.parameters == 134_515_008
    assert done.bits_per_weight == pytest.approx(bits, abs=0.01)  # the norms are the rest
    assert done.bytes == pytest.approx(done.bits_per_weight * done.parameters / 8, abs=2_000_000)
