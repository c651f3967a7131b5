"""A token classifier that the builder brings: a tiny one that was taught a rule, read from its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.dataset.redaction import Options, find
from appliance.dataset.redaction.tagger import CheckpointTagger
from appliance.errors import ConfigError
from tests.dataset.conftest import Bench

LABELS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-ORG"}
NAMES = ["zorblat", "quixom"]  # no list holds them, and nothing around them tells


def make_tagger(folder: Path, labels: dict[int, str] = LABELS, positions: int = 40) -> Path:
    """A two-layer BERT over whole words that has learnt to tag `NAMES` as persons."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", *NAMES, "the", "box", "is", "red", "and", "blue", "of", "."]
    plain = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    torch.manual_seed(1)
    model = BertForTokenClassification(
        BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=positions, id2label=labels, label2id={label: place for place,
            label in labels.items()},
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip
    ids = torch.randint(1, len(words), (32, 16))
    wanted = ((ids == 2) | (ids == 3)).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(60):
        loss = model(input_ids=ids, labels=wanted).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tagger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tagger(tmp_path_factory.mktemp("tagger") / "tiny")


def test_its_spans_are_added_to_ours(tagger_folder: Path) -> None:
    tagger = CheckpointTagger.load(tagger_folder)
    text = "the box of Zorblat Quixom is red . mail jane@posteo.de"
    assert [text[span.start : span.end] for span in tagger(text)] == ["Zorblat Quixom"]
    found = [(span.kind, text[span.start : span.end]) for span in find(text, Options(tagger=tagger))]
    assert found == [("name", "Zorblat Quixom"), ("email", "jane@posteo.de")]
    assert tagger("") == []


def test_a_long_text_is_read_to_its_end(tagger_folder: Path) -> None:
    text = "the box is red and blue . " * 40 + "zorblat"
    assert [(span.start, span.end) for span in CheckpointTagger.load(tagger_folder)(text)] == [
        (len(text) - 7, len(text))
    ]


def test_a_decoder_that_was_taught_to_look_both_ways_does(tagger_folder: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForTokenClassification

    tokenizer = AutoTokenizer.from_pretrained(tagger_folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, id2label={0: "O", 1: "PER"}, label2id={"O": 0, "PER": 1},
    )  # fmt: skip
    config.is_causal = False
    LlamaForTokenClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = CheckpointTagger.load(tmp_path).model
    first = []
    for last in ("red", "blue"):
        encoded = tokenizer(f"the box is {last}", return_tensors="pt")
        with torch.inference_mode():
            first.append(model(**encoded).logits[0, 0])
    assert not torch.allclose(first[0], first[1])


def test_a_folder_without_a_tagger_is_named(tagger_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.redact\.tagger"):
        CheckpointTagger.load(tmp_path)
    with pytest.raises(ConfigError, match="no label of personal data among O, B-ORG"):
        CheckpointTagger.load(make_tagger(tmp_path / "other", {0: "O", 1: "B-ORG"}))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for path in tagger_folder.iterdir():
        if path.suffix != ".safetensors":
            (pickled / path.name).write_bytes(path.read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="safetensors"):
        CheckpointTagger.load(pickled)


def test_a_project_names_its_tagger(bench: Bench, tagger_folder: Path) -> None:
    bench.configure(f'[dataset.redact]\nmode = "placeholder"\ntagger = "{tagger_folder}"\n')
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"the box of zorblat is {n}"},
                {"role": "assistant", "content": "blue"},
            ]
        }
        for n in range(12)
    ]
    bench.write("a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert bench.prepare().redactions["found"] == {"name": 12}
    bench.configure('[dataset.redact]\nmode = "placeholder"\ntagger = "nowhere"\n')
    with pytest.raises(ConfigError, match="no such folder"):
        bench.prepare()
